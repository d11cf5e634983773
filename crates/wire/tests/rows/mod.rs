//! A visitor that keeps what it gets as text, so that tests can compare it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use telemetry::{Exemplar, Histogram, is_stale_nan};
use wire::otlp::{Format, MetricOptions, MetricVisitor, Outcome, PointTime, read_metrics};
use wire::{Limits, MetadataRef, RequestError, SeriesError, SeriesKey};

#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    limits: Limits,
    pub samples: Vec<String>,
    pub exemplars: Vec<String>,
    pub metadata: Vec<String>,
}

impl Rows {
    pub fn read(
        format: Format,
        body: &[u8],
        options: &MetricOptions,
        limits: &Limits,
    ) -> Result<(Self, Outcome), RequestError> {
        let mut rows = Self { limits: *limits, samples: vec![], exemplars: vec![], metadata: vec![] };
        let outcome = read_metrics(format, body, options, limits, &mut rows)?;
        Ok((rows, outcome))
    }

    fn sample(&mut self, series: SeriesKey<'_>, time: PointTime, value: &str) -> Result<(), SeriesError> {
        let labels = series.to_labels(&self.limits)?;
        let since = time.start_time_ms.map(|start| format!("since {start} ")).unwrap_or_default();
        self.samples.push(format!("{labels} @{} {since}{value}", time.timestamp_ms));
        Ok(())
    }
}

impl MetricVisitor for Rows {
    type Refusal = SeriesError;

    fn float(&mut self, series: SeriesKey<'_>, time: PointTime, value: f64) -> Result<(), SeriesError> {
        let value = if is_stale_nan(value) { "stale".to_owned() } else { value.to_string() };
        self.sample(series, time, &value)
    }

    fn histogram(
        &mut self,
        series: SeriesKey<'_>,
        time: PointTime,
        histogram: Histogram,
    ) -> Result<(), SeriesError> {
        histogram.validate().unwrap();
        self.sample(series, time, &format!("{histogram:?}"))
    }

    fn exemplar(&mut self, series: SeriesKey<'_>, exemplar: Exemplar) {
        let Ok(labels) = series.to_labels(&self.limits) else { return };
        let Exemplar { labels: own, timestamp_ms, value } = exemplar;
        self.exemplars.push(format!("{labels} {own} @{timestamp_ms} {value}"));
    }

    fn metadata(&mut self, metadata: MetadataRef<'_>) {
        let MetadataRef { family, metric_type, help, unit } = metadata;
        self.metadata.push(format!("{family} {} {help:?} {unit:?}", metric_type.as_str()));
    }
}
