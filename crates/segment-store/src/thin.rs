//! Fewer samples for long ranges of time: thinned series.
//!
//! A thinned series has some of the samples of the series that it was made from, with their own timestamps and values; no sample
//! in it is made up. Time is cut in stretches (k·r, (k + 1)·r] of a resolution r. Of each stretch it keeps what is needed so
//! that a window of time made of whole stretches has the same first and last sample, the same least and greatest one, the
//! same staleness at its end, and the same resets of a counter. What sums over the window lack is in [`Omitted`] rows.
//!
//! A stretch may be cut anywhere (a day's segment begins at the first millisecond of a day, a stretch one later): kept samples
//! and rows of the parts together say the same as those of the whole.

use telemetry::{Omitted, is_stale_nan};

pub(crate) mod days;

pub use days::Days;

/// A stretch with more places than this where values do not ascend is no counter's. What it loses is then kept as a number.
const MAX_KEPT_BREAKS: usize = 4;

/// For fewer samples a row is not worth its bytes.
const MIN_OMITTED: usize = 3;

/// Thins series after series; keeps its memory.
#[derive(Debug, Default)]
pub struct Thinner {
    /// Timestamps that were kept, ms.
    pub timestamps_ms: Vec<i64>,
    /// Their values.
    pub values: Vec<f64>,
    /// What was left out, by ascending timestamp.
    pub omitted: Vec<Omitted>,
    /// Which samples of the stretch are kept.
    keep: Vec<bool>,
    /// Which samples of the stretch are not staleness markers.
    live: Vec<usize>,
}

impl Thinner {
    /// Thins a series of floats to `resolution_ms` (above 0). `histogram_times_ms` are the timestamps of its native histograms,
    /// which are all kept, and around which all floats are.
    pub fn thin(
        &mut self,
        resolution_ms: i64,
        timestamps_ms: &[i64],
        values: &[f64],
        histogram_times_ms: impl IntoIterator<Item = i64>,
    ) {
        self.timestamps_ms.clear();
        self.values.clear();
        self.omitted.clear();
        let stretch = |at_ms: &i64| at_ms.saturating_sub(1).div_euclid(resolution_ms);
        let mut mixed = histogram_times_ms.into_iter().map(|at_ms| stretch(&at_ms)).peekable();
        let mut start = 0;
        for times in timestamps_ms.chunk_by(|a, b| stretch(a) == stretch(b)) {
            let values = &values[start..start + times.len()];
            start += times.len();
            let number = times.first().map_or(0, stretch);
            while mixed.next_if(|histogram| *histogram < number).is_some() {}
            let omitted = if mixed.peek() == Some(&number) { None } else { self.choose(times, values) };
            match omitted {
                Some(row) => {
                    let kept = || self.keep.iter();
                    self.timestamps_ms
                        .extend(times.iter().zip(kept()).filter(|(_, keep)| **keep).map(|(at, _)| *at));
                    self.values.extend(
                        values.iter().zip(kept()).filter(|(_, keep)| **keep).map(|(value, _)| *value),
                    );
                    self.omitted.extend(Some(row).filter(|row| row.count > 0));
                }
                None => {
                    self.timestamps_ms.extend_from_slice(times);
                    self.values.extend_from_slice(values);
                }
            }
        }
    }

    /// Chooses which samples of a stretch are kept, and says what the others add to sums. `None` when all must be kept.
    fn choose(&mut self, times: &[i64], values: &[f64]) -> Option<Omitted> {
        self.live.clear();
        self.live.extend((0..values.len()).filter(|index| !is_stale_nan(values[*index])));
        self.keep.clear();
        self.keep.resize(values.len(), false);
        // A marker counts where it comes last.
        self.keep[values.len() - 1] = true;
        let (Some(&first), Some(&last)) = (self.live.first(), self.live.last()) else {
            return Some(Omitted { timestamp_ms: times[0], count: 0, sum: 0.0, lost: 0.0, resets: 0 });
        };
        self.keep[first] = true;
        self.keep[last] = true;
        let live = || self.live.iter().copied();
        let numbers = || live().filter(|index| !values[*index].is_nan());
        // Of equal ones the last, which is the one whose time is asked for.
        let least = numbers().reduce(|best, next| if values[next] <= values[best] { next } else { best });
        let greatest = numbers().reduce(|best, next| if values[next] >= values[best] { next } else { best });
        let nan = live().find(|index| values[*index].is_nan());
        for index in [least, greatest, nan].into_iter().flatten() {
            self.keep[index] = true;
        }
        // Comparisons with NaN are never true, so a NaN breaks the ascent twice.
        let breaks = || {
            let pairs = self.live.windows(2).map(|pair| (pair[0], pair[1]));
            pairs.filter(|(before, after)| !matches!(values[*before].partial_cmp(&values[*after]), Some(order) if order.is_le()))
        };
        let is_counter = breaks().nth(MAX_KEPT_BREAKS).is_none();
        if is_counter {
            for (before, after) in breaks() {
                self.keep[before] = true;
                self.keep[after] = true;
            }
        }
        let omitted = || self.live.iter().filter(|index| !self.keep[**index]).map(|index| values[*index]);
        let count = omitted().count();
        if count > 0 && count < MIN_OMITTED {
            return None;
        }
        let sum = sum(omitted().filter(|value| !value.is_nan()));
        let (mut lost, mut resets) = (0.0, 0);
        if !is_counter {
            let all = resets_of(self.live.iter().map(|index| values[*index]));
            let kept =
                resets_of(self.live.iter().filter(|index| self.keep[**index]).map(|index| values[*index]));
            (lost, resets) = (all.0 - kept.0, all.1 - kept.1);
        }
        // Infinite values that are not kept would have to be told apart.
        let row = Omitted { timestamp_ms: times[last], count: count as u64, sum, lost, resets };
        (sum.is_finite() && lost.is_finite()).then_some(row)
    }
}

/// The sum of the values before each reset, and how many resets there are.
fn resets_of(values: impl Iterator<Item = f64> + Clone) -> (f64, i64) {
    let resets = || values.clone().zip(values.clone().skip(1)).filter(|(before, after)| after < before);
    (sum(resets().map(|(before, _)| before)), resets().count() as i64)
}

/// A sum that loses little (Kahan's summation in Neumaier's variant).
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    sum + lost
}
