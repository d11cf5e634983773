//! Small data for tests.

use std::sync::Arc;

use telemetry::{FloatRow, Labels, MetricBatch, MetricRows, Series, TenantId};

/// Rows of float samples: metric name, timestamp in ms, value.
///
/// # Panics
/// When a name is empty.
#[must_use]
pub fn float_rows(samples: &[(&str, i64, f64)]) -> MetricRows {
    let floats = samples.iter().map(|&(name, timestamp_ms, value)| {
        let labels = Labels::from_pairs([(telemetry::METRIC_NAME, name)]).unwrap();
        FloatRow { series: Arc::new(Series::new(labels)), timestamp_ms, value }
    });
    MetricRows { floats: floats.collect(), ..MetricRows::default() }
}

/// The float samples of `batch` as [`float_rows`] takes them, in storage order.
#[must_use]
pub fn floats_of(batch: &MetricBatch) -> Vec<(String, i64, f64)> {
    let series = batch.series.iter().enumerate();
    series
        .flat_map(|(index, series)| {
            let name = series.labels().metric_name().unwrap_or_default();
            let (timestamps, values) = batch.floats_of(index);
            timestamps.iter().zip(values).map(move |(&at, &value)| (name.to_owned(), at, value))
        })
        .collect()
}

/// A tenant.
///
/// # Panics
/// When `name` is no tenant id.
#[must_use]
pub fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}
