//! Learns from `foyer` what it drops on the way to disk: it says so in its metrics alone.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mixtrics::metrics::{
    BoxedCounter, BoxedCounterVec, BoxedGaugeVec, BoxedHistogramVec, CounterOps, CounterVecOps, RegistryOps,
};
use mixtrics::registry::noop::NoopMetricsRegistry;

/// Counts pages that were not written to disk because too many were waiting. All other metrics go nowhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Dropped(Arc<AtomicU64>);

impl Dropped {
    pub(super) fn pages(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl CounterOps for Dropped {
    fn increase(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

impl CounterVecOps for Dropped {
    fn counter(&self, labels: &[Cow<'static, str>]) -> BoxedCounter {
        let is_drop = labels.iter().any(|label| matches!(&**label, "buffer_overflow" | "channel_overflow"));
        if is_drop { Box::new(self.clone()) } else { Box::new(NoopMetricsRegistry) }
    }
}

impl RegistryOps for Dropped {
    fn register_counter_vec(
        &self,
        _name: Cow<'static, str>,
        _help: Cow<'static, str>,
        _labels: &'static [&'static str],
    ) -> BoxedCounterVec {
        Box::new(self.clone())
    }

    fn register_gauge_vec(
        &self,
        _name: Cow<'static, str>,
        _help: Cow<'static, str>,
        _labels: &'static [&'static str],
    ) -> BoxedGaugeVec {
        Box::new(NoopMetricsRegistry)
    }

    fn register_histogram_vec(
        &self,
        _name: Cow<'static, str>,
        _help: Cow<'static, str>,
        _labels: &'static [&'static str],
    ) -> BoxedHistogramVec {
        Box::new(NoopMetricsRegistry)
    }

    fn register_histogram_vec_with_buckets(
        &self,
        _name: Cow<'static, str>,
        _help: Cow<'static, str>,
        _labels: &'static [&'static str],
        _buckets: Vec<f64>,
    ) -> BoxedHistogramVec {
        Box::new(NoopMetricsRegistry)
    }
}
