//! An in-memory store for the scripts' series.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql::{SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError};
use telemetry::histogram::CUSTOM_BUCKETS_SCHEMA;
use telemetry::{Histogram, Labels, METRIC_NAME, Span};

use crate::notation::SequenceValue;

#[derive(Default)]
pub(crate) struct Store {
    series: BTreeMap<Labels, SeriesSamples>,
}

impl Store {
    pub(crate) fn clear(&mut self) {
        self.series.clear();
    }

    pub(crate) fn load(&mut self, step_ms: i64, with_nhcb: bool, series: &[(Labels, Vec<SequenceValue>)]) {
        for (labels, values) in series {
            let samples = self.series.entry(labels.clone()).or_default();
            for (index, value) in values.iter().enumerate() {
                let at_ms = step_ms * index as i64;
                match value {
                    SequenceValue::Omitted => {}
                    SequenceValue::Float(value) => insert_float(samples, at_ms, *value),
                    SequenceValue::Histogram { histogram, .. } => {
                        insert_histogram(samples, at_ms, Arc::new(histogram.clone()));
                    }
                }
            }
        }
        if with_nhcb {
            self.load_custom_buckets(step_ms, series);
        }
    }

    /// Adds what the classic histograms among `series` are as native histograms with custom buckets.
    fn load_custom_buckets(&mut self, step_ms: i64, series: &[(Labels, Vec<SequenceValue>)]) {
        let mut classic: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
        for (labels, values) in series {
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
            for (index, value) in values.iter().enumerate() {
                let SequenceValue::Float(value) = value else { continue };
                let histogram = by_time.entry(step_ms * index as i64).or_default();
                match suffix {
                    "_bucket" => histogram.buckets.push((bound.unwrap(), *value)),
                    "_sum" => histogram.sum = *value,
                    _ => histogram.count = Some(*value),
                }
            }
        }
        for (labels, by_time) in classic {
            let samples = self.series.entry(labels).or_default();
            for (at_ms, histogram) in by_time {
                insert_histogram(samples, at_ms, Arc::new(histogram.convert()));
            }
        }
    }
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

fn insert_float(samples: &mut SeriesSamples, at_ms: i64, value: f64) {
    let at = samples.timestamps_ms.partition_point(|time| *time < at_ms);
    if samples.timestamps_ms.get(at) == Some(&at_ms) {
        samples.values[at] = value;
    } else {
        samples.timestamps_ms.insert(at, at_ms);
        samples.values.insert(at, value);
    }
}

fn insert_histogram(samples: &mut SeriesSamples, at_ms: i64, histogram: Arc<Histogram>) {
    let at = samples.histograms.partition_point(|(time, _)| *time < at_ms);
    if samples.histograms.get(at).is_some_and(|(time, _)| *time == at_ms) {
        samples.histograms[at].1 = histogram;
    } else {
        samples.histograms.insert(at, (at_ms, histogram));
    }
}

struct Selected<'s> {
    series: Vec<(&'s Labels, &'s SeriesSamples)>,
    selection: Selection,
}

impl SeriesSource for Store {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        let matches = |labels: &Labels| {
            selection.matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
        };
        let series = self.series.iter().filter(|(labels, _)| matches(labels)).collect();
        Ok(Box::new(Selected { series, selection: selection.clone() }))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        self.series[index].0
    }

    /// Only what was asked for, so that a selection that asks for too little shows.
    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        let samples = self.series[index].1;
        let wanted = self.selection.start_ms..=self.selection.end_ms;
        for (at_ms, value) in samples.timestamps_ms.iter().zip(&samples.values) {
            if wanted.contains(at_ms) {
                out.timestamps_ms.push(*at_ms);
                out.values.push(*value);
            }
        }
        out.histograms.extend(samples.histograms.iter().filter(|(at_ms, _)| wanted.contains(at_ms)).cloned());
        Ok(())
    }
}
