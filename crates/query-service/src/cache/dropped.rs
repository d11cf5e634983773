//! Learns from `foyer` what it drops on the way to disk: it says so in its metrics alone, and what the disk refuses in its log alone.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mixtrics::metrics::{
    BoxedCounter, BoxedCounterVec, BoxedGaugeVec, BoxedHistogramVec, CounterOps, CounterVecOps, RegistryOps,
};
use mixtrics::registry::noop::NoopMetricsRegistry;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata};

/// Where `foyer` writes pages to disk.
const WRITER: &str = "foyer_storage::engine::block::flusher";
/// The field that lists the pages of a write that failed.
const PAGES: &str = "indices";

/// Whether a line of the log is about a write of pages that the disk did not take, such as when it is full. Each such line has
/// a backtrace of hundreds of lines and there is one for each write; so they are better counted by [`pages_not_written`].
#[must_use]
pub fn is_failed_write(line: &Metadata<'_>) -> bool {
    // One line has the pages and the error, another one only the error.
    let is_failure = || [PAGES, "e"].iter().any(|name| line.fields().field(name).is_some());
    line.target() == WRITER && *line.level() == Level::ERROR && is_failure()
}

/// How many pages a line of the log says that the disk did not take.
#[must_use]
pub fn pages_not_written(line: &Event<'_>) -> u64 {
    struct Pages(u64);
    impl Visit for Pages {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            if field.name() == PAGES {
                self.0 = format!("{value:?}").matches("hash:").count() as u64;
            }
        }
    }
    let mut pages = Pages(0);
    if is_failed_write(line.metadata()) {
        line.record(&mut pages);
    }
    pages.0
}

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
