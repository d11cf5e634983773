//! Series whose samples are deltas: their rates are sums, exactly.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are tests")]

use promql::{
    EvalOptions, Sample, SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError, Value, Window,
};
use telemetry::Labels;

/// One delta series with a sample every 10 s: 1, 2, 3, …
struct Source(Labels);

impl SeriesSource for Source {
    fn select(&self, _selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        Ok(Box::new(Selected(&self.0)))
    }
}

struct Selected<'s>(&'s Labels);

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        1
    }

    fn labels(&self, _index: usize) -> &Labels {
        self.0
    }

    fn read(&self, _index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        for at in 1..=12_u32 {
            out.timestamps_ms.push(i64::from(at) * 10_000);
            out.values.push(f64::from(at));
        }
        Ok(())
    }
}

fn one_value(query: &str) -> (Labels, f64) {
    let labels = [("__name__", "requests_total"), ("__temporality__", "delta"), ("job", "a")];
    let source = Source(Labels::from_pairs(labels).unwrap());
    let options = EvalOptions::default();
    let plan = promql::plan(&promql::parse(query).unwrap(), Window::instant(120_000), &options).unwrap();
    match promql::evaluate(&plan, &source, &options).unwrap().value {
        Value::Vector(vector) => match vector.as_slice() {
            [one] => match one.sample {
                Sample::Float(value) => (one.labels.clone(), value),
                Sample::Histogram(_) => panic!("{query}: a histogram"),
            },
            other => panic!("{query}: {other:?}"),
        },
        other => panic!("{query}: {other:?}"),
    }
}

#[test]
fn increases_are_the_sums_of_the_samples_in_the_window() {
    // The window is open at its start: of the last minute, the samples at 70 s to 120 s.
    let sum = f64::from(7 + 8 + 9 + 10 + 11 + 12);
    let without_reserved = Labels::from_pairs([("job", "a")]).unwrap();
    assert_eq!(one_value("increase(requests_total[1m])"), (without_reserved.clone(), sum));
    assert_eq!(one_value("rate(requests_total[1m])"), (without_reserved.clone(), sum / 60.0));
    // One sample is enough.
    assert_eq!(one_value("increase(requests_total[10s])"), (without_reserved.clone(), 12.0));
    assert_eq!(one_value("irate(requests_total[1m])"), (without_reserved, 1.2));
}

#[test]
fn the_temporality_goes_where_the_name_goes() {
    let has = |query: &str| one_value(query).0.get("__temporality__").is_some();
    assert!(has("requests_total"));
    assert!(has("last_over_time(requests_total[1m])"));
    assert!(!has("requests_total * 2"));
    assert!(!has("requests_total + requests_total"));
    assert!(!has("sum_over_time(requests_total[1m])"));
}
