//! Queries made to hurt end with an error that names a limit, in bounded memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};

use promql::{
    EvalError, EvalOptions, LimitExceeded, Limits, PlanError, SelectedSeries, Selection, SeriesSamples,
    SeriesSource, SourceError, Window,
};
use telemetry::Labels;

/// So many series with a sample each second.
struct Many {
    labels: Vec<Labels>,
}

impl Many {
    fn new(count: usize) -> Self {
        let label = |number: usize| {
            let number = number.to_string();
            Labels::from_pairs([("__name__", "m"), ("n", number.as_str()), ("job", "j")]).unwrap()
        };
        let mut labels: Vec<Labels> = (0..count).map(label).collect();
        labels.sort();
        Self { labels }
    }
}

struct Selected<'s> {
    labels: &'s [Labels],
    start_ms: i64,
    end_ms: i64,
}

impl SeriesSource for Many {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        Ok(Box::new(Selected {
            labels: &self.labels,
            start_ms: selection.start_ms,
            end_ms: selection.end_ms,
        }))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        &self.labels[index]
    }

    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        let first = self.start_ms.max(0).div_euclid(1_000);
        for second in first..=self.end_ms.max(0).div_euclid(1_000).min(first + 100_000) {
            out.timestamps_ms.push(second * 1_000);
            out.values.push((index as i64 * second) as f64);
        }
        Ok(())
    }
}

fn options() -> EvalOptions<'static> {
    EvalOptions {
        experimental: true,
        threads: NonZeroUsize::new(2).unwrap(),
        limits: Limits {
            max_steps: 11_000,
            max_series: 20_000,
            max_samples: 5_000_000,
            max_memory_bytes: 64 << 20,
        },
        ..EvalOptions::default()
    }
}

fn run(query: &str, window: Window, source: &Many, options: &EvalOptions<'_>) -> Result<u64, EvalError> {
    let expr = promql::parse(query).unwrap();
    let plan = promql::plan(&expr, window, options).unwrap();
    promql::evaluate(&plan, source, options).map(|output| output.stats.peak_memory_bytes)
}

fn limit_of(query: &str, window: Window, source: &Many) -> LimitExceeded {
    match run(query, window, source, &options()) {
        Err(EvalError::Limit(limit)) => limit,
        other => panic!("{query}: {other:?}"),
    }
}

const HOUR: Window = Window { start_ms: 3_600_000, end_ms: 7_200_000, step_ms: 60_000 };

#[test]
fn too_many_steps_are_refused_before_anything_is_read() {
    let refused = |query: &str, window: Window| {
        let expr = promql::parse(query).unwrap();
        match promql::plan(&expr, window, &options()) {
            Err(PlanError::Limit(LimitExceeded::Steps { limit: 11_000, .. })) => {}
            other => panic!("{query}: {other:?}"),
        }
    };
    refused("m", Window { start_ms: 0, end_ms: i64::MAX / 8, step_ms: 1 });
    refused("max_over_time(m[100y:1ms])", HOUR);
    refused("sum_over_time(sum_over_time(m[1h:1s])[1d:1s])", HOUR);
    refused("m[10000d:1s]", Window::instant(0));
}

#[test]
fn times_at_the_end_of_the_world_do_not_overflow() {
    let source = Many::new(1);
    for query in [
        "m @ 9223372036854000",
        "m @ -9223372036854000 offset 292y",
        "rate(m[292y] offset -292y)",
        "m offset 292y",
        "max_over_time(m[5m:1m] @ 9223372036854000)",
    ] {
        for at_ms in [0, i64::MAX / 4, -(i64::MAX / 4)] {
            let _ = run(query, Window::instant(at_ms), &source, &options());
        }
    }
    let expr = promql::parse("m").unwrap();
    assert!(promql::plan(&expr, Window::instant(i64::MAX), &options()).is_err());
    let backwards = Window { start_ms: 1, end_ms: 0, step_ms: 1 };
    assert!(promql::plan(&expr, backwards, &options()).is_err());
}

#[test]
fn too_many_series_samples_or_bytes_end_the_query() {
    let many = Many::new(30_000);
    assert_eq!(limit_of("m", HOUR, &many), LimitExceeded::Series { limit: 20_000 });
    let some = Many::new(10_000);
    assert_eq!(limit_of("count(rate(m[1h]))", HOUR, &some), LimitExceeded::Samples { limit: 5_000_000 });
    let minute = Window { start_ms: 3_600_000, end_ms: 3_660_000, step_ms: 50 };
    let few = Many::new(9_000);
    for query in ["m", "sum by (n) (m)", "topk(5000, m)", "quantile(0.5, m)", "count_values(\"v\", m)"] {
        assert_eq!(limit_of(query, minute, &few), LimitExceeded::Memory { limit: 64 << 20 }, "{query}");
    }
}

#[test]
fn cartesian_matches_are_refused_without_being_made() {
    let source = Many::new(3_000);
    // Without a label in common each element would meet each other: 9 million pairs.
    for query in ["m * on () m", "m * on (job) m", "m + on () group_left () m"] {
        match run(query, Window::instant(3_600_000), &source, &options()) {
            Err(EvalError::Execution(message)) => {
                assert!(message.contains("found duplicate series"), "{message}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}

#[test]
fn a_cancelled_query_ends_soon() {
    let source = Many::new(5_000);
    let asked = AtomicU64::new(0);
    let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= 3;
    let options = EvalOptions { cancelled: &cancelled, ..options() };
    assert!(matches!(run("sum(rate(m[5m]))", HOUR, &source, &options), Err(EvalError::Cancelled)));
}

/// A day's window at each second of three hours: 900 million samples, gone through at each step.
const WIDE: Window = Window { start_ms: 86_400_000, end_ms: 97_200_000, step_ms: 1_000 };

#[test]
fn a_cancelled_query_ends_within_a_series() {
    let source = Many::new(2);
    let asked = AtomicU64::new(0);
    let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= 20;
    let options = EvalOptions { cancelled: &cancelled, ..options() };
    // The factors change, so that nothing is to be had but from going through each window.
    let query = "double_exponential_smoothing(m[1d], 0.5 + time() / 1e12, 0.5)";
    assert!(matches!(run(query, WIDE, &source, &options), Err(EvalError::Cancelled)));
}

#[test]
fn wide_windows_that_move_by_small_steps_are_not_gone_through_at_each() {
    let source = Many::new(2);
    for function in [
        "deriv(m[1d])",
        "predict_linear(m[1d], 60)",
        "double_exponential_smoothing(m[1d], 0.5, 0.5)",
        "mad_over_time(m[1d])",
        "quantile_over_time(0.9, m[1d])",
        "stddev_over_time(m[1d])",
        "avg_over_time(m[1d])",
        "max_over_time(m[1d])",
        "changes(m[1d])",
        "rate(m[1d])",
    ] {
        // A query asks whether it is cancelled at each million of samples that it goes through again.
        let asked = AtomicU64::new(0);
        let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= 20;
        let options = EvalOptions { cancelled: &cancelled, ..options() };
        assert!(run(function, WIDE, &source, &options).is_ok(), "{function}");
    }
}

#[test]
fn what_nests_too_deeply_is_refused() {
    for query in [
        format!("{}m{}", "(".repeat(100_000), ")".repeat(100_000)),
        format!("{}m", "-".repeat(100_000)),
        format!("m{}", " + m".repeat(100_000)),
        format!("{}m{}", "abs(".repeat(100_000), ")".repeat(100_000)),
        format!("m{}", "[1m:1s]".repeat(1_000)),
        format!("m[{}1m{}]", "(".repeat(100_000), ")".repeat(100_000)),
    ] {
        let error = promql::parse(&query).unwrap_err().to_string();
        assert!(error.len() < 300, "{}", error.len());
    }
    assert!(promql::parse(&"m".repeat(promql::limits::MAX_QUERY_BYTES + 1)).is_err());
}

#[test]
fn catastrophic_regular_expressions_are_linear_or_refused() {
    let source = Many::new(2_000);
    let hard = "count(m{n=~\"(((0|1|2|3|4|5|6|7|8|9)+)+)+x\"})";
    assert!(run(hard, Window::instant(3_600_000), &source, &options()).is_ok());
    assert!(promql::parse("m{n=~\"(((a{1000}){1000}){1000}){1000}\"}").is_err());
    assert!(
        promql::parse("label_replace(m, \"a\", \"$1\", \"n\", \"((a{1000}){1000}){1000}\")")
            .is_ok_and(|expr| promql::plan(&expr, HOUR, &options()).is_err())
    );
}

#[test]
fn the_deepest_expressions_that_parse_are_evaluated_on_a_small_stack() {
    let source = Many::new(2);
    let nested =
        |open: &str, close: &str, times: usize| format!("{}m{}", open.repeat(times), close.repeat(times));
    for query in [
        nested("abs(", ")", 250),
        nested("(", ")", 250),
        nested("-(", ")", 120),
        nested("sum by (n) (", ")", 250),
        format!("m{}", " or m".repeat(250)),
        format!("m{}", " + m".repeat(250)),
        nested("max_over_time(", "[1m:30s])", 120),
        nested("label_replace(", ", \"a\", \"b\", \"c\", \"d\")", 250),
    ] {
        // 2 MiB is what threads have by default.
        let outcome = std::thread::scope(|scope| {
            let evaluate = || run(&query, Window::instant(3_600_000), &source, &options());
            std::thread::Builder::new()
                .stack_size(2 << 20)
                .spawn_scoped(scope, evaluate)
                .unwrap()
                .join()
                .unwrap()
        });
        assert!(outcome.is_ok(), "{}…: {outcome:?}", &query[..40]);
    }
}
