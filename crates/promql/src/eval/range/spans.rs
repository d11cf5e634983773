//! By what the increases between windows' first and last samples become those over whole windows, for all windows of a
//! series together: column by column a processor divides several numbers at once, and division is most of the work.

use super::window::{Window, Windows};
use crate::SeriesSamples;
use crate::plan::{Grid, Reference};

/// How much time the samples of a window stand for, in seconds.
///
/// Samples that come regularly stand for the time around them, too: where the gap to an end of the window is not much
/// longer than the gaps between samples, they reach up to there, else half a gap far.
#[derive(Clone, Copy)]
struct Reach {
    /// From the first sample to the last.
    interval: f64,
    /// From where they reach to the first sample.
    to_start: f64,
    /// From the last sample to where they reach.
    to_end: f64,
}

impl Reach {
    /// `to_start_ms` and `to_end_ms` are up to the ends of the window, `gaps` how many there are between the samples.
    #[inline]
    fn new(interval_ms: f64, to_start_ms: f64, to_end_ms: f64, gaps: f64) -> Self {
        let interval = interval_ms / 1_000.0;
        let average_gap = interval / gaps;
        let up_to = |end_ms: f64| {
            let end = end_ms / 1_000.0;
            if end >= average_gap * 1.1 { average_gap / 2.0 } else { end }
        };
        Self { interval, to_start: up_to(to_start_ms), to_end: up_to(to_end_ms) }
    }

    /// The same, but not to before a counter was 0 that grew by `increase` from `first`.
    #[inline]
    fn since_zero(self, first: f64, increase: f64) -> Self {
        Self { to_start: self.to_start.min(self.interval * (first / increase)), ..self }
    }

    /// Whether that may make a difference. Most counters are far from 0, which products show sooner than a quotient.
    #[inline]
    fn is_near_zero(self, first: f64, increase: f64) -> bool {
        increase > 0.0 && first >= 0.0 && first * self.interval <= self.to_start * increase * 1.001
    }

    #[inline]
    fn factor(self) -> f64 {
        (self.interval + self.to_start + self.to_end) / self.interval
    }
}

/// The factor for a window with these first and last samples, without regard to where a counter was 0.
pub(super) fn factor(window: &Window, first_ms: i64, last_ms: i64, count: usize, divisor: f64) -> f64 {
    let to_start_ms = (first_ms - window.start_ms) as f64;
    let to_end_ms = (window.end_ms - last_ms) as f64;
    Reach::new((last_ms - first_ms) as f64, to_start_ms, to_end_ms, (count - 1) as f64).factor() / divisor
}

/// How windows go through time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Course {
    pub(super) grid: Grid,
    pub(super) reference: Reference,
    pub(super) range_ms: i64,
    /// The length of a window in seconds where increases become rates, else 1.
    pub(super) divisor: f64,
}

/// Which samples are the first and the last one of a step's window. A series has far fewer than 2³² of them in memory.
#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    step: u32,
    first: u32,
    last: u32,
}

/// A row for each window of a series with two floats or more.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    divisor: f64,
    ends: Vec<Ends>,
    /// As in [`Reach`].
    intervals: Vec<f64>,
    to_starts: Vec<f64>,
    to_ends: Vec<f64>,
    factors: Vec<f64>,
}

impl Spans {
    /// Finds the spans of a series. `omitted` says of a window how many floats it had besides before the series was thinned.
    #[inline]
    pub(super) fn fill(
        &mut self,
        course: Course,
        samples: &SeriesSamples,
        mut omitted: impl FnMut(&Window) -> u64,
    ) {
        let most = course.grid.count;
        self.divisor = course.divisor;
        self.ends.resize(most, Ends::default());
        let columns = [&mut self.intervals, &mut self.to_starts, &mut self.to_ends, &mut self.factors];
        columns.into_iter().for_each(|column| column.resize(most, 0.0));
        let rows = self.ends.iter_mut().zip(&mut self.intervals);
        let mut rows = rows.zip(self.to_starts.iter_mut().zip(&mut self.to_ends)).zip(&mut self.factors);
        let timestamps_ms = samples.timestamps_ms.as_slice();
        let mut windows = Windows::new(samples, course.grid, course.reference, course.range_ms);
        let mut count = 0;
        while let Some(window) = windows.next_window() {
            if window.floats.len() < 2 || !window.histograms.is_empty() {
                continue;
            }
            let Some((((ends, interval), (to_start, to_end)), gaps)) = rows.next() else { break };
            let (first, last) = (window.floats.start, window.floats.end - 1);
            let (first_ms, last_ms) = (timestamps_ms[first], timestamps_ms[last]);
            *ends = Ends { step: window.step as u32, first: first as u32, last: last as u32 };
            *interval = (last_ms - first_ms) as f64;
            *to_start = (first_ms - window.start_ms) as f64;
            *to_end = (window.end_ms - last_ms) as f64;
            *gaps = ((last - first) as i64 + omitted(&window) as i64) as f64;
            count += 1;
        }
        self.ends.truncate(count);
        let columns = [&mut self.intervals, &mut self.to_starts, &mut self.to_ends, &mut self.factors];
        columns.into_iter().for_each(|column| column.truncate(count));
        settle(&mut self.intervals, &mut self.to_starts, &mut self.to_ends, &mut self.factors);
        self.factors.iter_mut().for_each(|factor| *factor /= course.divisor);
    }

    /// The step of each window, and which samples are its first and its last one.
    #[inline]
    pub(super) fn ends(&self) -> impl Iterator<Item = (usize, usize, usize)> {
        self.ends.iter().map(|ends| (ends.step as usize, ends.first as usize, ends.last as usize))
    }

    /// Multiplies the increase at each window's step by its factor. What counters grew by does not reach to before they were 0.
    #[inline]
    pub(super) fn extrapolate(&self, values: &[f64], is_counter: bool, increases: &mut [f64]) {
        let reaches = self.intervals.iter().zip(&self.to_starts).zip(&self.to_ends);
        for (((step, first, _), &factor), ((&interval, &to_start), &to_end)) in
            self.ends().zip(&self.factors).zip(reaches)
        {
            let (first, increase) = (values[first], increases[step]);
            let reach = Reach { interval, to_start, to_end };
            increases[step] = if is_counter && reach.is_near_zero(first, increase) {
                increase * (reach.since_zero(first, increase).factor() / self.divisor)
            } else {
                increase * factor
            };
        }
    }
}

/// Turns milliseconds and how many gaps there are into what [`Reach`] makes of them and factors. A function of its own, since of
/// arguments it is known that they do not overlap, so that several rows can be done at once.
#[inline(never)]
fn settle(intervals: &mut [f64], to_starts: &mut [f64], to_ends: &mut [f64], gaps_to_factors: &mut [f64]) {
    let rows = intervals.iter_mut().zip(to_starts).zip(to_ends).zip(gaps_to_factors);
    for (((interval, to_start), to_end), factor) in rows {
        let reach = Reach::new(*interval, *to_start, *to_end, *factor);
        (*interval, *to_start, *to_end) = (reach.interval, reach.to_start, reach.to_end);
        *factor = reach.factor();
    }
}

/// How many rows a thread keeps at most for series with the same timestamps (a few hundred kilobytes).
const KEPT_ROWS: usize = 8_192;
/// Keeping more than so many does not make it likelier that there is the right one.
const MOST_KEPT: usize = 32;

/// Spans, and what they were found from.
#[derive(Debug, Default)]
struct Kept {
    course: Option<Course>,
    timestamps_ms: Vec<i64>,
    spans: Spans,
}

/// Spans of several series: what was scraped together has the same timestamps, so that series share theirs.
#[derive(Debug, Default)]
pub(crate) struct KeptSpans {
    /// By a hash of the timestamps; a later one replaces an earlier one.
    places: Vec<Kept>,
}

impl KeptSpans {
    /// Spans of a series with these timestamps and nothing else. `fill` is called where they are not there.
    pub(super) fn of(
        &mut self,
        course: Course,
        timestamps_ms: &[i64],
        fill: impl FnOnce(&mut Spans),
    ) -> &Spans {
        let place = self.place(course, timestamps_ms);
        let kept = &mut self.places[place];
        if kept.course != Some(course) || kept.timestamps_ms != timestamps_ms {
            fill(&mut kept.spans);
            kept.course = Some(course);
            kept.timestamps_ms.clear();
            kept.timestamps_ms.extend_from_slice(timestamps_ms);
        }
        &kept.spans
    }

    /// Where spans belong that were found from these timestamps.
    fn place(&mut self, course: Course, timestamps_ms: &[i64]) -> usize {
        /// 2⁶⁴ by the golden ratio, which spreads what is close together.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let wanted = (KEPT_ROWS / course.grid.count.max(1)).clamp(1, MOST_KEPT);
        if self.places.len() < wanted {
            self.places.resize_with(wanted, Kept::default);
        }
        let ends = [timestamps_ms.first(), timestamps_ms.last()].map(|at| at.map_or(0, |at| *at as u64));
        let hash = (ends[0].wrapping_mul(SPREAD) ^ ends[1]).wrapping_mul(SPREAD);
        ((hash >> 32) % wanted as u64) as usize
    }
}
