//! One series as a column of steps.

use std::sync::Arc;

use telemetry::{Histogram, STALE_NAN_BITS};

/// A sample at one step.
#[derive(Clone, Debug)]
pub(crate) enum Point {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// Whether a float of a column says that there is none.
///
/// Its bits are those of the staleness marker. No sample has them, since markers end at the selectors, and no
/// arithmetic makes them: they are those of a signalling NaN, and results are quiet.
#[inline]
pub(crate) fn is_absent(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

pub(crate) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// At each step a float, a histogram or nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    /// As many as steps; [`ABSENT`] where there is no float.
    pub(crate) floats: Vec<f64>,
    /// Empty when there is no histogram, else as many as steps.
    pub(crate) histograms: Vec<Option<Arc<Histogram>>>,
}

impl Column {
    pub(crate) fn absent(steps: usize) -> Self {
        Self { floats: vec![ABSENT; steps], histograms: Vec::new() }
    }

    /// Makes it a column of `steps` steps with nothing in it.
    pub(crate) fn reset(&mut self, steps: usize) {
        self.floats.clear();
        self.floats.resize(steps, ABSENT);
        self.histograms.clear();
    }

    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.floats.clone_from(&other.floats);
        self.histograms.clone_from(&other.histograms);
    }

    #[inline]
    pub(crate) fn histogram(&self, step: usize) -> Option<&Arc<Histogram>> {
        self.histograms.get(step)?.as_ref()
    }

    #[inline]
    pub(crate) fn is_present(&self, step: usize) -> bool {
        !is_absent(self.floats[step]) || self.histogram(step).is_some()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.floats.iter().all(|value| is_absent(*value)) && self.histograms.iter().all(Option::is_none)
    }

    pub(crate) fn get(&self, step: usize) -> Option<Point> {
        if let Some(histogram) = self.histogram(step) {
            return Some(Point::Histogram(Arc::clone(histogram)));
        }
        let value = *self.floats.get(step)?;
        (!is_absent(value)).then_some(Point::Float(value))
    }

    pub(crate) fn set(&mut self, step: usize, point: Point) {
        match point {
            Point::Float(value) => self.floats[step] = value,
            Point::Histogram(histogram) => self.set_histogram(step, histogram),
        }
    }

    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.floats.len(), None);
        }
        self.histograms[step] = Some(histogram);
    }

    /// Memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let histograms: usize = self.histograms.iter().flatten().map(|h| h.memory_bytes()).sum();
        (self.floats.capacity() + self.histograms.capacity()) * 8 + histograms
    }
}
