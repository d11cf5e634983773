//! `load_with_nhcb`: classic histograms as native histograms with custom buckets.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql::SeriesSamples;
use telemetry::histogram::CUSTOM_BUCKETS_SCHEMA;
use telemetry::{Histogram, Labels, METRIC_NAME, Span};

/// What the classic histograms among `series` are as native histograms with custom buckets.
pub(crate) fn converted(series: &[(Labels, SeriesSamples)]) -> Vec<(Labels, SeriesSamples)> {
    let mut classic: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for (labels, samples) in series {
        let name = labels.metric_name().unwrap_or("");
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find(|suffix| name.ends_with(suffix));
        let Some(suffix) = suffix else { continue };
        let bound: Option<f64> = labels.get("le").and_then(|le| le.parse().ok());
        if suffix == "_bucket" && bound.is_none_or(f64::is_nan) {
            continue;
        }
        let base_name = &name[..name.len() - suffix.len()];
        let others = labels.iter().filter(|(name, _)| *name != "le" && *name != METRIC_NAME);
        let base = Labels::from_pairs(others.chain([(METRIC_NAME, base_name)])).unwrap();
        let by_time = classic.entry(base).or_default();
        for (at_ms, value) in samples.timestamps_ms.iter().zip(&samples.values) {
            let histogram = by_time.entry(*at_ms).or_default();
            match suffix {
                "_bucket" => histogram.buckets.push((bound.unwrap(), *value)),
                "_sum" => histogram.sum = *value,
                _ => histogram.count = Some(*value),
            }
        }
    }
    let samples = |by_time: BTreeMap<i64, Classic>| SeriesSamples {
        histograms: by_time
            .into_iter()
            .map(|(at_ms, histogram)| (at_ms, Arc::new(histogram.convert())))
            .collect(),
        ..SeriesSamples::default()
    };
    classic.into_iter().map(|(labels, by_time)| (labels, samples(by_time))).collect()
}

#[derive(Default)]
struct Classic {
    buckets: Vec<(f64, f64)>,
    sum: f64,
    count: Option<f64>,
}

impl Classic {
    fn convert(mut self) -> Histogram {
        self.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        // Other notations of the same bound say nothing new.
        self.buckets.dedup_by_key(|(bound, _)| *bound);
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).unwrap_or(0.0);
        if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let mut before = 0.0;
        let mut counts = Vec::new();
        for (_, cumulative) in &self.buckets {
            counts.push(cumulative - before);
            before = *cumulative;
        }
        let custom_values = self.buckets[..self.buckets.len() - 1].iter().map(|(bound, _)| *bound).collect();
        Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            count,
            sum: self.sum,
            positive_spans: vec![Span { offset: 0, length: counts.len() as u32 }],
            positive_buckets: counts,
            custom_values,
            ..Histogram::default()
        }
    }
}
