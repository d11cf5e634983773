//! What there is to note of operands whose series no result needs, and that they are read for that alone.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use promql::{EvalOptions, SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError, Window};
use telemetry::{Histogram, Labels};

/// A counter, a gauge and a native histogram, each of which has a job of its own.
struct Three {
    labels: Vec<Labels>,
    may_have_histograms: bool,
    reads: AtomicUsize,
}

impl Three {
    fn new(may_have_histograms: bool) -> Self {
        let labels = |name: &str| Labels::from_pairs([("__name__", name), ("job", name)]).unwrap();
        let labels = ["gauge", "native", "requests_total"].map(labels).to_vec();
        Self { labels, may_have_histograms, reads: AtomicUsize::new(0) }
    }
}

struct Selected<'s> {
    source: &'s Three,
    labels: Vec<&'s Labels>,
}

impl SeriesSource for Three {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        let matches = |labels: &&Labels| {
            selection.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
        };
        Ok(Box::new(Selected { source: self, labels: self.labels.iter().filter(matches).collect() }))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        self.labels[index]
    }

    fn may_have_histograms(&self) -> bool {
        self.source.may_have_histograms
    }

    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        self.source.reads.fetch_add(1, Ordering::Relaxed);
        for at_ms in (0..600_000).step_by(15_000) {
            if self.labels[index].get("job") == Some("native") {
                let histogram = Histogram { count: 1.0, sum: at_ms as f64, ..Histogram::default() };
                out.histograms.push((at_ms, Arc::new(histogram)));
            } else {
                out.timestamps_ms.push(at_ms);
                out.values.push(at_ms as f64);
            }
        }
        Ok(())
    }
}

/// The notes, and how often a series was read.
fn run(query: &str, source: &Three) -> (Vec<String>, usize) {
    let options = EvalOptions { experimental: true, ..EvalOptions::default() };
    let plan = promql::plan(&promql::parse(query).unwrap(), Window::instant(590_000), &options).unwrap();
    let output = promql::evaluate(&plan, source, &options).unwrap();
    let notes = output.warnings.into_iter().chain(output.infos).map(|note| note.message).collect();
    (notes, source.reads.load(Ordering::Relaxed))
}

#[test]
fn operands_that_find_no_partner_are_noted_all_the_same() {
    let not_a_counter = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"gauge\"";
    let incompatible =
        "PromQL info: incompatible sample types encountered for binary operator \"%\": histogram % float";
    for (query, note) in [
        ("rate(gauge[5m]) * requests_total", not_a_counter),
        ("requests_total * rate(gauge[5m])", not_a_counter),
        ("requests_total and rate(gauge[5m])", not_a_counter),
        ("rate(gauge[5m]) and requests_total", not_a_counter),
        ("requests_total unless rate(gauge[5m])", not_a_counter),
        ("topk(0, rate(gauge[5m]))", not_a_counter),
        ("limitk(0, rate(gauge[5m]))", not_a_counter),
        ("limit_ratio(0, rate(gauge[5m]))", not_a_counter),
        ("(native % 2) * on (job) requests_total", incompatible),
    ] {
        assert_eq!(run(query, &Three::new(true)).0, [note], "{query}");
    }
}

#[test]
fn operands_of_which_nothing_can_be_noted_are_not_read() {
    for query in [
        "gauge * on (job) requests_total",
        "abs(gauge) * on (job) requests_total",
        "rate(requests_total[5m]) * on (job) gauge",
        "(gauge + 1) and on (job) requests_total",
        "topk(0, gauge)",
    ] {
        assert_eq!(run(query, &Three::new(false)), (vec![], 0), "{query}");
    }
}
