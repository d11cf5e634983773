//! Properties of the parser over arbitrary and over likely texts.

use proptest::prelude::*;

#[path = "../fuzz/checks.rs"]
mod checks;

/// Pieces of queries; put together they come near enough to PromQL to reach every corner of the parser.
const PIECES: [&str; 76] = [
    "a",
    "up",
    "job:x",
    "sum",
    "topk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "and",
    "or",
    "unless",
    "atan2",
    "start()",
    "end()",
    "rate",
    "abs",
    "time()",
    "info",
    "inf",
    "NaN",
    "1",
    "0x1f",
    "1e3",
    "1_0",
    ".5",
    "5m",
    "1h30m",
    "0s",
    "99999999999999y",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "[5m]",
    "[1h:1m]",
    "[1h:]",
    "{a=\"b\"}",
    "{a=~\"b|c.*\"}",
    "{}",
    "=",
    "=~",
    "!~",
    "!=",
    "==",
    ">",
    "<=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "@",
    ",",
    ":",
    "\"s\"",
    "'\\xff'",
    "`r`",
    "\"",
    "#c\n",
    "é",
    "\n",
    "@ 1.5",
    "offset 5m",
    "offset -(1m+2m)",
    "histogram_quantile(0.9, ",
    "label_replace(",
    "by (a)",
    "sort_by_label",
];

fn soup() -> impl Strategy<Value = String> {
    let piece = (prop::sample::select(&PIECES[..]), prop::bool::ANY)
        .prop_map(|(piece, space)| if space { format!("{piece} ") } else { piece.to_owned() });
    prop::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

/// Queries that are valid.
fn query() -> impl Strategy<Value = String> {
    let name =
        || prop::sample::select(vec!["a", "b:c", "up", "by", "start", "{\"x.y\"}", "z{l=\"v\",m!~\"w.*\"}"]);
    let duration = || prop::sample::select(vec!["5m", "1h30m", "90", "1.5", "(1m + 30s) * 2", "2 ^ 3"]);
    let modifier = || {
        prop::sample::select(vec![
            "",
            " offset 5m",
            " offset -1h",
            " @ 10",
            " @ end() offset (1m - 1s)",
            " @ -1.5",
        ])
    };
    // An operator behind the parentheses of an offset would belong to it.
    let selector = (name(), modifier()).prop_map(|(name, modifier)| {
        if modifier.ends_with(')') { format!("({name}{modifier})") } else { format!("{name}{modifier}") }
    });
    let range = (name(), duration(), modifier())
        .prop_map(|(name, duration, modifier)| format!("rate({name}[{duration}]{modifier})"));
    let number = prop::sample::select(vec!["1", "-2.5", "5m", "Inf", "NaN", "1e-9", "0x10"])
        .prop_map(|number| format!("vector({number})"));
    let leaf = prop_oneof![selector, range, number];
    leaf.prop_recursive(5, 40, 3, move |inner| {
        let binary = (
            inner.clone(),
            prop::sample::select(vec![
                "+",
                "-",
                "*",
                "/",
                "%",
                "^",
                "atan2",
                "==",
                "!= bool",
                "<",
                ">= bool",
                "and",
                "or",
                "unless",
                "+ on (l)",
                "* ignoring (m, \"n.o\") group_left (p)",
                "and on ()",
                "/ on () group_right ()",
            ]),
            inner.clone(),
        )
            .prop_map(|(lhs, op, rhs)| format!("{lhs} {op} {rhs}"));
        prop_oneof![
            binary,
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!("-({inner})")),
            inner.clone().prop_map(|inner| format!("abs({inner})")),
            inner.clone().prop_map(|inner| format!("sum by (l, \"n.o\") ({inner})")),
            inner.clone().prop_map(|inner| format!("topk without (l) (3, {inner})")),
            inner.clone().prop_map(|inner| format!("count_values(\"l\", {inner})")),
            (inner, duration())
                .prop_map(|(inner, duration)| format!("max_over_time(({inner})[{duration}:30s])")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        checks::parse_print(text.as_bytes());
    }

    #[test]
    fn likely_texts_survive_printing_where_they_parse(text in soup()) {
        checks::parse_print(text.as_bytes());
    }

    #[test]
    fn valid_queries_parse_and_survive_printing(text in query()) {
        prop_assert!(promql::parse(&text).is_ok(), "{text}: {:?}", promql::parse(&text));
        checks::parse_print(text.as_bytes());
    }

    #[test]
    fn errors_point_into_the_text(text in soup()) {
        if let Err(error) = promql::parse(&text) {
            prop_assert!(error.line >= 1 && error.column >= 1);
            prop_assert!(error.line as usize <= text.matches('\n').count() + 1);
            prop_assert!(error.span.0 as usize <= text.len());
        }
    }
}
