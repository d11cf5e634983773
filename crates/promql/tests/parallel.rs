//! The number of threads does not show in results, to the last bit.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::num::NonZeroUsize;

use promql::{EvalOptions, SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError, Window};
use telemetry::Labels;

/// Enough series for work to be shared.
const SERIES: usize = 4_000;
const SAMPLES: i64 = 60;

struct Source {
    labels: Vec<Labels>,
}

impl Source {
    fn new() -> Self {
        let label = |number: usize| {
            let (number, group) = (number.to_string(), (number % 7).to_string());
            let le = ["0.1", "1", "+Inf"][number.len() % 3];
            Labels::from_pairs([("__name__", "m_total"), ("n", &number), ("g", &group), ("le", le)]).unwrap()
        };
        let mut labels: Vec<Labels> = (0..SERIES).map(label).collect();
        labels.sort();
        Self { labels }
    }
}

impl SeriesSource for Source {
    fn select(&self, _selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        Ok(Box::new(Selected(&self.labels)))
    }
}

struct Selected<'s>(&'s [Labels]);

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        &self.0[index]
    }

    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        for at in 0..SAMPLES {
            out.timestamps_ms.push(at * 10_000);
            // Values whose sums depend on the order in which they are added.
            out.values.push(((index as f64 + 0.1) * 1.1_f64.powi(at as i32 % 37)).fract() * 1e6);
        }
        Ok(())
    }
}

#[test]
fn results_are_equal_to_the_bit_for_any_number_of_threads() {
    let source = Source::new();
    let window = Window { start_ms: 0, end_ms: SAMPLES * 10_000, step_ms: 10_000 };
    for query in [
        "m_total",
        "sum(m_total)",
        "avg by (g) (rate(m_total[1m]))",
        "stddev(m_total) + quantile(0.9, m_total)",
        "topk(5, m_total)",
        "bottomk by (g) (3, rate(m_total[2m]))",
        "limitk(9, m_total)",
        "count_values(\"v\", floor(m_total / 100000))",
        "m_total > on (n) (m_total offset 1m)",
        "sum by (g) (m_total) * on (g) group_right () m_total",
        "m_total and on (n) (m_total > 500000)",
        "m_total unless m_total > 500000 or vector(1)",
        "histogram_quantile(0.5, sum by (g, le) (m_total))",
        "absent(m_total > 1e9)",
        "sum(max_over_time(m_total[5m]))",
        "sort(sum by (g) (m_total))",
    ] {
        let evaluate = |threads: usize| {
            let threads = NonZeroUsize::new(threads).unwrap();
            let options = EvalOptions { threads, experimental: true, ..EvalOptions::default() };
            let plan = promql::plan(&promql::parse(query).unwrap(), window, &options).unwrap();
            let output = promql::evaluate(&plan, &source, &options).unwrap();
            (format!("{:?}", output.value), output.stats.samples)
        };
        let alone = evaluate(1);
        for threads in [2, 5] {
            assert!(evaluate(threads) == alone, "{query} with {threads} threads");
        }
    }
}
