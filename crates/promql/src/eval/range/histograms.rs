//! Ranges of native histograms.

use telemetry::{CounterResetHint, Histogram};

use super::counter::Sampled;
use super::window::Window;
use super::{Call, RangeFunction};
use crate::eval::notes::Note;
use crate::histogram::{self, Incompatible};

/// What to note when two histograms cannot be combined.
fn incompatible<'a>(why: Incompatible, metric: &'a str) -> Note<'a> {
    match why {
        Incompatible::Schema => Note::MixedExponentialCustom { metric },
        Incompatible::Bounds => Note::IncompatibleCustomBuckets { metric },
    }
}

pub(super) fn sum(call: &Call<'_>, window: &Window) -> Option<Histogram> {
    let mut histograms = call.samples.histograms[window.histograms.clone()].iter();
    let mut sum = Histogram::clone(&histograms.next()?.1);
    for (_, histogram) in histograms {
        if let Err(why) = histogram::add(&mut sum, histogram) {
            call.note(incompatible(why, call.metric));
            return None;
        }
    }
    Some(sum)
}

pub(super) fn average(call: &Call<'_>, window: &Window) -> Option<Histogram> {
    let mut average = sum(call, window)?;
    histogram::divide(&mut average, window.histograms.len() as f64);
    Some(average)
}

/// Rates of histograms; whether one follows a reset is found out once.
pub(super) struct Rates<'c> {
    call: &'c Call<'c>,
    /// For each histogram whether it follows a reset, as far as that was asked.
    resets: Vec<Option<bool>>,
}

impl<'c> Rates<'c> {
    pub(super) fn new(call: &'c Call<'c>) -> Self {
        Self { call, resets: vec![None; call.samples.histograms.len()] }
    }

    fn is_reset(&mut self, index: usize) -> bool {
        let histograms = &self.call.samples.histograms;
        *self.resets[index]
            .get_or_insert_with(|| histogram::is_reset(&histograms[index].1, &histograms[index - 1].1))
    }

    /// The increase, difference or rate over the window, which has at least two histograms.
    pub(super) fn rate(&mut self, window: &Window) -> Option<Histogram> {
        let call = self.call;
        let metric = call.metric;
        let is_counter = call.is_counter();
        let all = &call.samples.histograms;
        let (start, end) = (window.histograms.start, window.histograms.end);
        let first = &all[start].1;
        let last = &all[end - 1].1;
        let is_gauge = |h: &Histogram| h.counter_reset_hint == CounterResetHint::Gauge;
        if is_counter && (is_gauge(first) || is_gauge(last)) {
            call.note(Note::HistogramNotCounter { metric });
        }
        // With a reset right after it, nothing of the first one matters, not even its layout.
        let first_is_void = is_counter && self.is_reset(start + 1);
        let second = &all[start + 1].1;
        let void = Histogram {
            schema: second.schema,
            custom_values: second.custom_values.clone(),
            ..Histogram::default()
        };
        let base = if first_is_void { &void } else { &**first };
        let custom = base.uses_custom_buckets();
        if last.uses_custom_buckets() != custom {
            call.note(Note::MixedExponentialCustom { metric });
            return None;
        }
        let mut schema = last.schema.min(base.schema);
        if is_counter {
            for (_, histogram) in &all[start + 1..end - 1] {
                if is_gauge(histogram) {
                    call.note(Note::HistogramNotCounter { metric });
                }
                schema = schema.min(histogram.schema);
                if histogram.uses_custom_buckets() != custom {
                    call.note(Note::MixedExponentialCustom { metric });
                    return None;
                }
            }
        }
        let mut result = histogram::copy_to_schema(last, schema);
        let combined = |outcome: Result<(), Incompatible>| match outcome {
            Ok(()) => Some(()),
            Err(why) => {
                call.note(incompatible(why, metric));
                None
            }
        };
        combined(histogram::subtract(&mut result, base))?;
        if is_counter {
            for index in start + 1..end {
                let before = if index == start + 1 { base } else { &*all[index - 1].1 };
                let reset = if index == start + 1 && first_is_void {
                    histogram::is_reset(&all[index].1, before)
                } else {
                    self.is_reset(index)
                };
                if reset {
                    combined(histogram::add(&mut result, before))?;
                }
            }
        } else if !is_gauge(first) || !is_gauge(last) {
            call.note(Note::HistogramNotGauge { metric });
        }
        result.counter_reset_hint = CounterResetHint::Gauge;
        histogram::compact(&mut result);
        let sampled = Sampled {
            first_ms: all[start].0,
            last_ms: all[end - 1].0,
            count: end - start,
            // As in Prometheus 3.5, which looks for the counter's start with floats only.
            counter: None,
        };
        let factor = call.factor(window, &sampled);
        histogram::scale(&mut result, factor);
        Some(result)
    }
}

/// The increase between the last two histograms of a window.
pub(super) fn instant_increase(call: &Call<'_>, before: &Histogram, last: &Histogram) -> Option<Histogram> {
    let metric = call.metric;
    let is_rate = call.function == RangeFunction::Irate;
    let is_gauge = |h: &Histogram| h.counter_reset_hint == CounterResetHint::Gauge;
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
