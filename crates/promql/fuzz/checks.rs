//! What the fuzz targets check; `tests/fuzz_replay.rs` runs the same over the seeds, without a fuzzer.

/// Parses, prints, parses again. Both trees print alike, on one line and pretty.
pub(crate) fn parse_print(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Both must only not panic.
    let _ = promql::parse_matchers(text);
    let _ = promql::parse_duration_ms(text);
    let Ok(expr) = promql::parse(text) else { return };
    let printed = expr.to_string();
    let pretty = promql::format_query(text);
    for again in [Ok(printed.clone()), pretty] {
        let again = again.and_then(|text| promql::parse(&text)).map(|expr| expr.to_string());
        assert_eq!(again.as_deref(), Ok(printed.as_str()), "{text:?} does not survive printing");
    }
    let window = promql::Window { start_ms: 0, end_ms: 60_000, step_ms: 10_000 };
    let options = promql::EvalOptions { experimental: true, ..promql::EvalOptions::default() };
    let _ = promql::plan(&expr, window, &options);
}
