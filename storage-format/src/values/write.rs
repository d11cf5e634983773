//! From values to bytes.

use super::*;
use crate::cursor::{put_signed, put_varint};
use crate::decimal::{exponent_of, mantissa};
use crate::error::EncodeError;
use crate::frame::BlockWriter;
use crate::ints::{Effort, put_floats, put_ints};

/// With so many samples a series on average, each series of a metric gets a run of its own.
const SAMPLES_FOR_OWN_RUN: usize = 24;

/// Of so many values one may be an exception that needs all its bits, or the run is kept as doubles.
const VALUES_PER_EXCEPTION: usize = 8;

struct Writer {
    effort: Effort,
    runs: u64,
    lengths: Vec<u8>,
    heads: Vec<u8>,
    bases: Vec<u8>,
    exceptions: Vec<u8>,
    columns: Vec<Vec<i64>>,
    doubles: Vec<f64>,
    /// Mantissas of the run at hand.
    mantissas: Vec<i64>,
    /// Positions in the run at hand of values that are no decimals.
    odd: Vec<u32>,
}

/// Appends `values` of series to `block`. Series `i` has those up to `ends[i]`; `metric_ends` says which series are of one
/// metric, in the same way.
pub(crate) fn put_values(
    values: &[f64],
    ends: &[u32],
    metric_ends: &[u32],
    effort: Effort,
    block: &mut BlockWriter,
) -> Result<(), EncodeError> {
    let mut writer = Writer {
        effort,
        runs: 0,
        lengths: Vec::new(),
        heads: Vec::new(),
        bases: Vec::new(),
        exceptions: Vec::new(),
        columns: vec![Vec::new(); COLUMNS],
        doubles: Vec::new(),
        mantissas: Vec::new(),
        odd: Vec::new(),
    };
    let mut first = 0;
    let mut start = 0;
    for &metric_end in metric_ends {
        let series = &ends[first..metric_end as usize];
        let end = series.last().map_or(start, |end| *end as usize);
        if (end - start) >= SAMPLES_FOR_OWN_RUN * series.len() {
            for one in series {
                writer.push_run(&values[start..*one as usize], &[*one - start as u32]);
                start = *one as usize;
            }
        } else {
            let run_ends: Vec<u32> = series.iter().map(|end| end - start as u32).collect();
            writer.push_run(&values[start..end], &run_ends);
        }
        start = end;
        first = metric_end as usize;
    }
    block.memory += values.len() as u64 * 3 * size_of::<f64>() as u64 + writer.runs * 64;
    writer.put(block)
}

impl Writer {
    /// Adds a run of series, whose values end at `ends`.
    fn push_run(&mut self, values: &[f64], ends: &[u32]) {
        self.runs += 1;
        put_varint(&mut self.lengths, ends.len() as u64);
        let Some(first) = values.first() else {
            self.heads.push(CONSTANT);
            self.bases.push(0);
            return;
        };
        if values.iter().all(|value| value.to_bits() == first.to_bits()) {
            return self.push_constant(*first);
        }
        let Some(exponent) = self.find_mantissas(values) else {
            self.heads.push(DOUBLES);
            self.doubles.extend_from_slice(values);
            return;
        };
        let used: u64 = self.mantissas.iter().fold(0, |bits, mantissa| bits | mantissa.cast_unsigned());
        let shift = if used == 0 { 0 } else { used.trailing_zeros() };
        if shift > 0 {
            self.mantissas.iter_mut().for_each(|mantissa| *mantissa >>= shift);
        }
        let mut head = DECIMAL | exponent << EXPONENT_SHIFT;
        head |= if shift > 0 { HAS_SHIFT } else { 0 };
        head |= if self.odd.is_empty() { 0 } else { HAS_EXCEPTIONS };
        self.heads.push(head);
        if shift > 0 {
            self.heads.push(shift as u8);
        }
        self.push_exceptions(values);
        self.push_residuals(ends);
    }

    fn push_constant(&mut self, value: f64) {
        match exponent_of(value, 0) {
            Some(exponent) => {
                self.heads.push(CONSTANT | exponent << EXPONENT_SHIFT);
                put_signed(&mut self.bases, mantissa(value, exponent).unwrap_or_default());
            }
            None => {
                self.heads.push(CONSTANT_BITS);
                put_bits(&mut self.exceptions, value);
            }
        }
    }

    /// Fills `mantissas` and `odd`; `None` when the values are better kept as doubles.
    fn find_mantissas(&mut self, values: &[f64]) -> Option<u8> {
        let mut exponent = 0;
        let mut failures = 0;
        for (seen, &value) in values.iter().enumerate() {
            if mantissa(value, exponent).is_none() && value.to_bits() != SPECIALS[3] {
                match exponent_of(value, exponent) {
                    Some(larger) => exponent = larger,
                    None if value.is_finite() => {
                        failures += 1;
                        if failures > 4 && failures * VALUES_PER_EXCEPTION > seen {
                            return None;
                        }
                    }
                    None => {}
                }
            }
        }
        self.mantissas.clear();
        self.odd.clear();
        let mut other = 0;
        for (position, &value) in (0_u32..).zip(values) {
            let found = mantissa(value, exponent);
            if found.is_none() {
                self.odd.push(position);
                other += usize::from(!SPECIALS.contains(&value.to_bits()));
            }
            // An exception repeats the number before it, which costs next to nothing.
            self.mantissas.push(found.or(self.mantissas.last().copied()).unwrap_or_default());
        }
        (other * VALUES_PER_EXCEPTION <= values.len()).then_some(exponent)
    }

    fn push_exceptions(&mut self, values: &[f64]) {
        if self.odd.is_empty() {
            return;
        }
        put_varint(&mut self.exceptions, self.odd.len() as u64);
        let mut next = 0;
        for position in &self.odd {
            put_varint(&mut self.exceptions, u64::from(position - next));
            put_bits(&mut self.exceptions, values[*position as usize]);
            next = position + 1;
        }
    }

    /// Chooses predictions and columns for the first values of series and for the others, and adds the residuals.
    fn push_residuals(&mut self, ends: &[u32]) {
        let base = self.mantissas.iter().copied().min().unwrap_or_default();
        put_signed(&mut self.bases, base);
        // First values: against the base or against the series before.
        let mut firsts = Sizes::default();
        let mut others = Sizes::default();
        let mut before = base;
        for_each_series(&self.mantissas, ends, |series| {
            let Some((&first, rest)) = series.split_first() else { return };
            firsts.add(first.wrapping_sub(base), first.wrapping_sub(before), i64::MAX);
            before = first;
            let (mut previous, mut step) = (first, 0_i64);
            for &value in rest {
                let new_step = value.wrapping_sub(previous);
                others.add(value.wrapping_sub(base), new_step, new_step.wrapping_sub(step));
                (previous, step) = (value, new_step);
            }
        });
        let (first_prediction, first_column) = firsts.choose(2, self.effort);
        self.heads.push((first_prediction as u8) << PREDICTION_SHIFT | first_column as u8);
        let chosen = (others.count > 0).then(|| others.choose(3, self.effort));
        if let Some((prediction, column)) = chosen {
            self.heads.push((prediction as u8) << PREDICTION_SHIFT | column as u8);
        }
        before = base;
        let columns = &mut self.columns;
        for_each_series(&self.mantissas, ends, |series| {
            let Some((&first, rest)) = series.split_first() else { return };
            if first_column > 0 {
                let predicted = if first_prediction == Prediction::Base { base } else { before };
                columns[first_column].push(first.wrapping_sub(predicted));
            }
            before = first;
            let Some((prediction, column)) = chosen.filter(|(_, column)| *column > 0) else { return };
            let column = &mut columns[column];
            match prediction {
                Prediction::Base => column.extend(rest.iter().map(|value| value.wrapping_sub(base))),
                Prediction::Previous => {
                    column.extend(series.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])))
                }
                Prediction::Trend => {
                    let mut step = 0_i64;
                    column.extend(series.windows(2).map(|pair| {
                        let residual = pair[1].wrapping_sub(pair[0]).wrapping_sub(step);
                        step = pair[1].wrapping_sub(pair[0]);
                        residual
                    }));
                }
            }
        });
    }

    fn put(self, block: &mut BlockWriter) -> Result<(), EncodeError> {
        let mut raw = Vec::new();
        put_varint(&mut raw, self.runs);
        raw.extend_from_slice(&self.lengths);
        raw.extend_from_slice(&self.heads);
        put_varint(&mut raw, self.bases.len() as u64);
        raw.extend_from_slice(&self.bases);
        raw.extend_from_slice(&self.exceptions);
        block.put_frame(&raw)?;
        for column in &self.columns {
            put_ints(column, self.effort, &mut block.bytes)?;
        }
        put_floats(&self.doubles, self.effort, &mut block.bytes)
    }
}

fn put_bits(out: &mut Vec<u8>, value: f64) {
    match (0_u8..).zip(SPECIALS).find(|(_, bits)| *bits == value.to_bits()) {
        Some((code, _)) => out.push(code),
        None => {
            out.push(OTHER_BITS);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
}

fn for_each_series<'a>(mantissas: &'a [i64], ends: &[u32], mut each: impl FnMut(&'a [i64])) {
    let mut start = 0;
    for &end in ends {
        each(&mantissas[start..end as usize]);
        start = end as usize;
    }
}

/// How large residuals are, in bits, for each prediction.
#[derive(Default)]
struct Sizes {
    count: u64,
    bits: [u64; 3],
}

impl Sizes {
    #[inline]
    fn add(&mut self, base: i64, previous: i64, trend: i64) {
        self.count += 1;
        for (bits, residual) in self.bits.iter_mut().zip([base, previous, trend]) {
            *bits += bit_length(residual);
        }
    }

    /// The best of the first `predictions`, and the column for its residuals.
    fn choose(&self, predictions: usize, effort: Effort) -> (Prediction, usize) {
        let all = [Prediction::Base, Prediction::Previous, Prediction::Trend];
        let (prediction, bits) = all
            .into_iter()
            .zip(self.bits)
            .take(predictions)
            .min_by_key(|(_, bits)| *bits)
            .unwrap_or((Prediction::Base, 0));
        if bits == 0 {
            return (prediction, 0);
        }
        // Finer columns fit better, but only long ones pay for their tables of bins.
        let bits_per_column = match effort {
            Effort::Fresh => 2,
            Effort::Compacted => 1,
        };
        let column = 1 + (bits / self.count.max(1)) / bits_per_column;
        (prediction, (column as usize).min(COLUMNS - 1))
    }
}

/// Bits of a number's magnitude, sign included.
#[inline]
fn bit_length(value: i64) -> u64 {
    u64::from(u64::BITS - ((value << 1) ^ (value >> 63)).cast_unsigned().leading_zeros())
}
