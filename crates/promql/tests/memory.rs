//! Queries whose results or intermediate results explode end at their memory limit, and the process has never held much
//! more than that. Each query is alone in a process, so that what the process held at most is the query's, and not what the
//! allocator kept of others.

#![expect(clippy::unwrap_used, reason = "what a test calls is part of the test")]

use std::num::NonZeroUsize;
use std::process::Command;

use promql::{
    EvalError, EvalOptions, LimitExceeded, Limits, SelectedSeries, Selection, SeriesSamples, SeriesSource,
    SourceError, Window,
};
use telemetry::Labels;

/// Says which query a process is for.
const NUMBER: &str = "FARWATCH_MEMORY_QUERY";
const SERIES: usize = 6_000;
const LIMIT_BYTES: u64 = 32 << 20;
/// What is not counted: samples being read, columns of threads.
const SLACK_BYTES: u64 = 32 << 20;

/// Series of values that are all different.
struct Many {
    labels: Vec<Labels>,
}

struct Selected<'s>(&'s [Labels], Selection);

impl SeriesSource for Many {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        Ok(Box::new(Selected(&self.labels, selection.clone())))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        &self.0[index]
    }

    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        for second in self.1.start_ms.div_euclid(1_000)..=self.1.end_ms.div_euclid(1_000) {
            out.timestamps_ms.push(second * 1_000);
            out.values.push((index as i64 * 1_000_003 + second) as f64 + 0.25);
        }
        Ok(())
    }
}

/// A size of this process, in bytes; `None` where the system does not say.
fn process_bytes(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(field))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1_024)
}

/// Queries, and whether they explode.
fn queries() -> Vec<(String, bool)> {
    let repeated = "$1".repeat(20_000);
    let mut doubling = "m".to_owned();
    for _ in 0..60 {
        doubling = format!("label_replace({doubling}, \"n\", \"$1$1\", \"n\", \"(.*)\")");
    }
    let separator = "x".repeat(100_000);
    let sources = ", \"job\"".repeat(10_000);
    let nested = format!("{}m{}", "abs(".repeat(200), ")".repeat(200));
    let products: Vec<String> = (0..1_000).map(|number| format!("m * {number}")).collect();
    let sums: Vec<String> = products.chunks(50).map(|chunk| format!("({})", chunk.join(" + "))).collect();
    let explode = [
        "m",
        "quantile(0.5, m)",
        "count_values(\"v\", m)",
        "count_values by (n) (\"v\", m)",
        "topk(1000000, m)",
        "limitk(1000000, m)",
        "limit_ratio(1, m)",
        "sort(m)",
        "sum by (n) (m)",
        "m * on (n) group_left () (m > 0)",
        &format!("label_replace(m, \"a\", \"{repeated}\", \"n\", \"(.*)\")"),
        &doubling,
        &format!("label_join(m, \"a\", \"{separator}\"{sources})"),
        &nested,
        &sums.join(" + "),
    ];
    // These need little, however much they read.
    let harmless = ["absent(m)", "count(m and m)", "count(m unless on (n) m)", "max(m)"];
    let explode = explode.into_iter().map(|query| (query.to_owned(), true));
    explode.chain(harmless.map(|query| (query.to_owned(), false))).collect()
}

fn run(query: &str, explodes: bool) {
    let label = |number: usize| {
        let number = number.to_string();
        Labels::from_pairs([("__name__", "m"), ("n", number.as_str()), ("job", "j")]).unwrap()
    };
    let mut labels: Vec<Labels> = (0..SERIES).map(label).collect();
    labels.sort();
    let source = Many { labels };
    let options = EvalOptions {
        experimental: true,
        threads: NonZeroUsize::new(2).unwrap(),
        limits: Limits { max_memory_bytes: LIMIT_BYTES, max_samples: u64::MAX, ..Limits::default() },
        ..EvalOptions::default()
    };
    // Ten minutes, each second.
    let window = Window { start_ms: 3_600_000, end_ms: 4_200_000, step_ms: 1_000 };
    let before = process_bytes("VmRSS:");
    let name: String = query.chars().take(60).collect();
    let expr = promql::parse(query).unwrap();
    let plan = promql::plan(&expr, window, &options).unwrap();
    let outcome = promql::evaluate(&plan, &source, &options);
    let limited = matches!(outcome, Err(EvalError::Limit(LimitExceeded::Memory { limit: LIMIT_BYTES })));
    assert!(limited == explodes, "{name}: {:?}", outcome.map(|output| output.stats));
    if let (Some(before), Some(peak)) = (before, process_bytes("VmHWM:")) {
        let more = peak.saturating_sub(before);
        assert!(more < LIMIT_BYTES + SLACK_BYTES, "{name} took {} MiB", more >> 20);
    }
}

#[test]
fn what_explodes_ends_at_the_memory_limit() {
    let queries = queries();
    if let Ok(number) = std::env::var(NUMBER) {
        let (query, explodes) = &queries[number.parse::<usize>().unwrap()];
        return run(query, *explodes);
    }
    for number in 0..queries.len() {
        let mut process = Command::new(std::env::current_exe().unwrap());
        // Threads of one query come and go, too: with an arena for all, glibc gives one what another has freed.
        process.env(NUMBER, number.to_string()).env("MALLOC_ARENA_MAX", "1").arg("--nocapture");
        let output = process.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
