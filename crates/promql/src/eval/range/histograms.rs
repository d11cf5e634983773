//! Ranges of native histograms.

use std::sync::Arc;

use telemetry::{CounterResetHint, Histogram};

use super::sliding::Sliding;
use super::window::Window;
use super::{Call, RangeFunction, spans};
use crate::EvalError;
use crate::eval::notes::Note;
use crate::histogram::{self, Incompatible};

/// What to note when two histograms cannot be combined.
fn incompatible<'a>(why: Incompatible, metric: &'a str) -> Note<'a> {
    match why {
        Incompatible::Schema => Note::MixedExponentialCustom { metric },
        Incompatible::Bounds => Note::IncompatibleCustomBuckets { metric },
    }
}

/// Windows of up to so many histograms are added up one by one.
const SHORT: usize = 8;

type Combine = fn(Option<Arc<Histogram>>, Option<Arc<Histogram>>) -> Option<Arc<Histogram>>;

/// Sums and means of histograms.
pub(super) struct Totals<'c> {
    call: &'c Call<'c>,
    /// Sums; none of histograms that cannot be added.
    sums: Sliding<Option<Arc<Histogram>>, Combine>,
    /// Up to each histogram, how often the layout changed. Empty until asked for.
    layouts: Vec<u32>,
}

impl<'c> Totals<'c> {
    pub(super) fn new(call: &'c Call<'c>) -> Self {
        let combine: Combine = |a, b| {
            let mut sum = Arc::unwrap_or_clone(a?);
            histogram::add(&mut sum, &*b?).ok()?;
            Some(Arc::new(sum))
        };
        Self { call, sums: Sliding::new(combine), layouts: Vec::new() }
    }

    /// The sum of a window's histograms.
    pub(super) fn sum(&mut self, window: &Window) -> Result<Option<Histogram>, EvalError> {
        let all = &self.call.samples.histograms;
        // Where resolutions or zero buckets differ, another order may come to other buckets.
        if window.histograms.len() > SHORT && self.has_one_layout(window) {
            let sum = self.sums.fold(window.histograms.clone(), |index| Some(Arc::clone(&all[index].1)));
            if let Some(sum) = sum.flatten() {
                return Ok(Some(Arc::unwrap_or_clone(sum)));
            }
        }
        // What cannot be added is noted as it comes.
        self.one_by_one(window, |sum, next, _| histogram::add(sum, next))
    }

    /// The mean of a window's histograms.
    pub(super) fn mean(&mut self, window: &Window) -> Result<Option<Histogram>, EvalError> {
        if self.has_one_layout(window)
            && let Some(mut sum) = self.sum(window)?
            && sum.sum.is_finite()
            && sum.count.is_finite()
        {
            histogram::divide(&mut sum, window.histograms.len() as f64);
            return Ok(Some(sum));
        }
        self.one_by_one(window, histogram::add_to_mean)
    }

    fn one_by_one(
        &self,
        window: &Window,
        take_in: impl Fn(&mut Histogram, &Histogram, f64) -> Result<(), Incompatible>,
    ) -> Result<Option<Histogram>, EvalError> {
        self.call.worker.rescan(window.histograms.len())?;
        let mut histograms = self.call.samples.histograms[window.histograms.clone()].iter();
        let Some((_, first)) = histograms.next() else { return Ok(None) };
        let mut total = Histogram::clone(first);
        for (before, (_, histogram)) in histograms.enumerate() {
            if let Err(why) = take_in(&mut total, histogram, (before + 2) as f64) {
                self.call.note(incompatible(why, self.call.metric));
                return Ok(None);
            }
        }
        Ok(Some(total))
    }

    fn has_one_layout(&mut self, window: &Window) -> bool {
        if self.layouts.is_empty() {
            let mut changes = 0;
            let mut before: Option<&Histogram> = None;
            let same = |a: &Histogram, b: &Histogram| {
                a.schema == b.schema
                    && a.zero_threshold == b.zero_threshold
                    && a.custom_values == b.custom_values
            };
            for (_, histogram) in &self.call.samples.histograms {
                changes += u32::from(before.is_some_and(|before| !same(before, histogram)));
                self.layouts.push(changes);
                before = Some(histogram);
            }
        }
        self.layouts[window.histograms.start] == self.layouts[window.histograms.end - 1]
    }
}

/// Rates of histograms.
pub(super) struct Rates<'c> {
    call: &'c Call<'c>,
    /// Which histograms follow a reset.
    resets: Vec<usize>,
    /// Up to each histogram, how many gauges there are, and how many with custom buckets.
    gauges: Vec<u32>,
    customs: Vec<u32>,
    schemas: Sliding<i8, fn(i8, i8) -> i8>,
}

impl<'c> Rates<'c> {
    pub(super) fn new(call: &'c Call<'c>) -> Self {
        let all = &call.samples.histograms;
        let until = |holds: fn(&Histogram) -> bool| -> Vec<u32> {
            let mut total = 0;
            let counted = all.iter().map(|(_, histogram)| {
                total += u32::from(holds(histogram));
                total
            });
            counted.collect()
        };
        let is_reset = |index: &usize| histogram::is_reset(&all[*index].1, &all[index - 1].1);
        Self {
            call,
            resets: if call.is_counter() { (1..all.len()).filter(is_reset).collect() } else { Vec::new() },
            gauges: until(is_gauge),
            customs: until(Histogram::uses_custom_buckets),
            schemas: Sliding::new(i8::min),
        }
    }

    /// The increase, difference or rate over the window, which has at least two histograms.
    pub(super) fn rate(&mut self, window: &Window) -> Result<Option<Histogram>, EvalError> {
        let call = self.call;
        let metric = call.metric;
        let is_counter = call.is_counter();
        let all = &call.samples.histograms;
        let (start, end) = (window.histograms.start, window.histograms.end);
        let (first, last) = (&all[start].1, &all[end - 1].1);
        let resets = &self.resets[self.resets.partition_point(|reset| *reset <= start)..];
        let resets = &resets[..resets.partition_point(|reset| *reset < end)];
        // With a reset right after it, nothing of the first one matters, not even its layout.
        let second = &all[start + 1].1;
        let void = Histogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..Histogram::default()
        };
        let (base, resets) = match resets.split_first() {
            Some((reset, others)) if *reset == start + 1 => (&void, others),
            _ => (&**first, resets),
        };
        let custom = base.uses_custom_buckets();
        let between = start + 1..end - 1;
        let mut schema = last.schema.min(base.schema);
        let mut problem = (last.uses_custom_buckets() != custom).then_some(Incompatible::Schema);
        let at_the_end = problem.is_some();
        if is_counter && !between.is_empty() && !at_the_end {
            let customs = self.customs[between.end - 1] - self.customs[between.start - 1];
            if customs != if custom { between.len() as u32 } else { 0 } {
                problem = Some(Incompatible::Schema);
            }
            let least = self.schemas.fold(between.clone(), |index| all[index].1.schema);
            schema = schema.min(least.unwrap_or(schema));
        }
        let mut result = None;
        if problem.is_none() {
            call.worker.rescan(resets.len())?;
            match self.increase(base, last, schema, resets) {
                Ok(increase) => result = Some(increase),
                Err(why) => problem = Some(why),
            }
        }
        // Prometheus forgets what else there is to say where it finds histograms that do not fit, but for the last one.
        if problem.is_none() || at_the_end {
            let gauges = self.gauges[end - 1] - self.gauges[start] + u32::from(is_gauge(first));
            let ends_are_gauges = is_gauge(first) && is_gauge(last);
            let seen = if at_the_end { u32::from(is_gauge(first) || is_gauge(last)) } else { gauges };
            if is_counter && seen > 0 {
                call.note(Note::HistogramNotCounter { metric });
            } else if !is_counter && !ends_are_gauges && !at_the_end {
                call.note(Note::HistogramNotGauge { metric });
            }
        }
        if let Some(why) = problem {
            call.note(incompatible(why, metric));
        }
        let Some(mut result) = result else { return Ok(None) };
        result.counter_reset_hint = CounterResetHint::Gauge;
        histogram::compact(&mut result);
        // As in Prometheus 3.5, which looks for the counter's start with floats only.
        let factor = spans::factor(window, all[start].0, all[end - 1].0, end - start, call.divisor());
        histogram::scale(&mut result, factor);
        Ok(Some(result))
    }

    /// From `base` to `last`, with what was there before each reset.
    fn increase(
        &self,
        base: &Histogram,
        last: &Histogram,
        schema: i8,
        resets: &[usize],
    ) -> Result<Histogram, Incompatible> {
        let mut increase = histogram::copy_to_schema(last, schema);
        histogram::subtract(&mut increase, base)?;
        for reset in resets {
            histogram::add(&mut increase, &self.call.samples.histograms[reset - 1].1)?;
        }
        Ok(increase)
    }
}

fn is_gauge(histogram: &Histogram) -> bool {
    histogram.counter_reset_hint == CounterResetHint::Gauge
}

/// The increase between the last two histograms of a window.
pub(super) fn instant_increase(call: &Call<'_>, before: &Histogram, last: &Histogram) -> Option<Histogram> {
    let metric = call.metric;
    let is_rate = call.function == RangeFunction::Irate;
    if is_rate && (is_gauge(before) || is_gauge(last)) {
        call.note(Note::HistogramNotCounter { metric });
    }
    if !is_rate && (!is_gauge(before) || !is_gauge(last)) {
        call.note(Note::HistogramNotGauge { metric });
    }
    let mut increase = last.clone();
    if (!is_rate || !histogram::is_reset(last, before))
        && let Err(why) = histogram::subtract(&mut increase, before)
    {
        call.note(incompatible(why, metric));
        return None;
    }
    increase.counter_reset_hint = CounterResetHint::Gauge;
    histogram::compact(&mut increase);
    Some(increase)
}
