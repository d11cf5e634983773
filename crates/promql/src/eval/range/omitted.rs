//! What thinned series lack of sums, by windows.

use std::ops::Range;

use telemetry::Omitted;

use super::Call;
use super::sliding::Sliding;
use super::window::Window;
use crate::eval::kahan::Kahan;

/// Folds what was left out of each window, as the window slides along.
pub(super) struct Omissions<'a, T, F> {
    rows: &'a [Omitted],
    inside: Range<usize>,
    sliding: Sliding<T, F>,
    value: fn(&Omitted) -> T,
}

impl<'a> Call<'a> {
    pub(super) fn omissions<T: Copy, F: Fn(T, T) -> T>(
        &self,
        value: fn(&Omitted) -> T,
        combine: F,
    ) -> Omissions<'a, T, F> {
        Omissions { rows: &self.samples.omitted, inside: 0..0, sliding: Sliding::new(combine), value }
    }

    pub(super) fn omitted_sums(&self) -> Omissions<'a, Kahan, fn(Kahan, Kahan) -> Kahan> {
        self.omissions(|row| Kahan { sum: row.sum, lost: 0.0 }, Kahan::merge)
    }
}

impl<'a, T: Copy, F: Fn(T, T) -> T> Omissions<'a, T, F> {
    /// What was left out of the window of the last call of [`Self::of`].
    pub(super) fn rows(&self) -> &'a [Omitted] {
        &self.rows[self.inside.clone()]
    }

    /// The fold over a window, which is not before that of the last call; `None` where nothing was left out.
    pub(super) fn of(&mut self, window: &Window) -> Option<T> {
        if self.rows.is_empty() {
            return None;
        }
        while self.inside.end < self.rows.len() && self.rows[self.inside.end].timestamp_ms <= window.end_ms {
            self.inside.end += 1;
        }
        while self.inside.start < self.inside.end
            && self.rows[self.inside.start].timestamp_ms <= window.start_ms
        {
            self.inside.start += 1;
        }
        self.sliding.fold(self.inside.clone(), |index| (self.value)(&self.rows[index]))
    }
}
