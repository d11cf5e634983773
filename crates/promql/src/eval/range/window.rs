//! The window of each step, as ranges of a series' samples.

use std::ops::Range;

use crate::SeriesSamples;
use crate::plan::{Grid, Reference};

/// Samples with start < timestamp ≤ end.
#[derive(Clone, Debug)]
pub(super) struct Window {
    pub(super) step: usize,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) floats: Range<usize>,
    pub(super) histograms: Range<usize>,
}

impl Window {
    /// Samples in it.
    pub(super) fn len(&self) -> usize {
        self.floats.len() + self.histograms.len()
    }
}

/// Goes through the steps; both ends of the window only move forwards.
pub(super) struct Windows<'a> {
    samples: &'a SeriesSamples,
    grid: Grid,
    reference: Reference,
    range_ms: i64,
    step: usize,
    floats: Range<usize>,
    histograms: Range<usize>,
}

impl<'a> Windows<'a> {
    pub(super) fn new(samples: &'a SeriesSamples, grid: Grid, reference: Reference, range_ms: i64) -> Self {
        Self { samples, grid, reference, range_ms, step: 0, floats: 0..0, histograms: 0..0 }
    }

    /// The window of the next step, also where it is empty.
    #[inline]
    pub(super) fn next_window(&mut self) -> Option<Window> {
        if self.step >= self.grid.count {
            return None;
        }
        let step = self.step;
        self.step += 1;
        let end_ms = self.reference.time_ms(self.grid.time_ms(step));
        let start_ms = end_ms.saturating_sub(self.range_ms);
        let times = self.samples.timestamps_ms.as_slice();
        while self.floats.end < times.len() && times[self.floats.end] <= end_ms {
            self.floats.end += 1;
        }
        while self.floats.start < self.floats.end && times[self.floats.start] <= start_ms {
            self.floats.start += 1;
        }
        let histograms = self.samples.histograms.as_slice();
        if !histograms.is_empty() {
            while self.histograms.end < histograms.len() && histograms[self.histograms.end].0 <= end_ms {
                self.histograms.end += 1;
            }
            while self.histograms.start < self.histograms.end
                && histograms[self.histograms.start].0 <= start_ms
            {
                self.histograms.start += 1;
            }
        }
        Some(Window {
            step,
            start_ms,
            end_ms,
            floats: self.floats.clone(),
            histograms: self.histograms.clone(),
        })
    }
}

impl Iterator for Windows<'_> {
    type Item = Window;

    /// The next window with anything in it.
    #[inline]
    fn next(&mut self) -> Option<Window> {
        loop {
            let window = self.next_window()?;
            if !window.floats.is_empty() || !window.histograms.is_empty() {
                return Some(window);
            }
        }
    }
}
