//! An in-memory store for the scripts' series.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql::{SelectedSeries, Selection, SeriesSamples, SeriesSource, SourceError};
use telemetry::{Histogram, Labels};

#[derive(Default)]
pub(crate) struct Store {
    series: BTreeMap<Labels, SeriesSamples>,
}

impl Store {
    pub(crate) fn insert(&mut self, labels: &Labels, more: &SeriesSamples) {
        let samples = self.series.entry(labels.clone()).or_default();
        for (at_ms, value) in more.timestamps_ms.iter().zip(&more.values) {
            insert_float(samples, *at_ms, *value);
        }
        for (at_ms, histogram) in &more.histograms {
            insert_histogram(samples, *at_ms, Arc::clone(histogram));
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
