//! How many samples each step of the query looks at, for who asks what a query costs.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::plan::Grid;

/// Counts of the query's own steps; those of subqueries are not counted, as in Prometheus.
pub(crate) struct StepCounts {
    grid: Grid,
    counts: Vec<AtomicU64>,
}

impl StepCounts {
    pub(super) fn new(grid: Grid) -> Self {
        Self { grid, counts: (0..grid.count).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Adds what an operator at the steps of `grid` looks at: `samples` says how many at a step. What is the same at all steps
    /// counts at each of them.
    pub(super) fn add(&self, grid: Grid, samples: impl IntoIterator<Item = (usize, usize)>) {
        if grid == self.grid {
            for (step, samples) in samples {
                self.counts[step].fetch_add(samples as u64, Ordering::Relaxed);
            }
        } else if grid == self.grid.first() {
            let all: usize = samples.into_iter().map(|(_, samples)| samples).sum();
            for count in &self.counts {
                count.fetch_add(all as u64, Ordering::Relaxed);
            }
        }
    }

    /// Each step (ms) and its samples.
    pub(super) fn into_steps(self) -> Vec<(i64, u64)> {
        let steps = self.counts.into_iter().map(AtomicU64::into_inner).enumerate();
        steps.map(|(step, count)| (self.grid.time_ms(step), count)).collect()
    }
}
