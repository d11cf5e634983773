//! From bytes to values.

use super::*;
use crate::cursor::{Budget, Reader};
use crate::decimal::restore;
use crate::error::FormatError;
use crate::frame::read_frame;
use crate::ints::{read_floats, read_ints};

const WHAT: &str = "values";

/// What the head of a run says.
#[derive(Clone, Copy)]
struct Run {
    series: usize,
    values: usize,
    kind: u8,
    exponent: u8,
    shift: u32,
    has_exceptions: bool,
    firsts: (Prediction, usize),
    others: (Prediction, usize),
}

/// A column of residuals, which runs use up from front to back.
#[derive(Default)]
struct Column {
    residuals: Vec<i64>,
    next: usize,
}

impl Column {
    /// The next `count` residuals. There are as many as the runs need; column 0 has none.
    fn take(&mut self, count: usize) -> &[i64] {
        let start = self.next;
        self.next += count;
        self.residuals.get(start..self.next).unwrap_or_default()
    }
}

/// Reads the values of series, those of series `i` up to `ends[i]`.
pub(crate) fn read_values(
    reader: &mut Reader<'_>,
    ends: &[u32],
    budget: &mut Budget,
) -> Result<Vec<f64>, FormatError> {
    let total = ends.last().map_or(0, |end| *end as usize);
    // Values, and the columns that they come from.
    budget.charge(WHAT, total as u64, 3 * size_of::<f64>())?;
    let raw = read_frame(reader, WHAT, budget)?;
    let mut table = Reader::new(&raw, WHAT);
    let runs = read_runs(&mut table, ends, budget)?;
    let base_bytes = table.size()?;
    let mut bases = table.part(base_bytes, "bases of values")?;
    let mut exceptions = table;

    let mut counts = [0_usize; COLUMNS];
    let mut doubles = 0;
    let mut start = 0;
    for run in &runs {
        match run.kind {
            DECIMAL => {
                let firsts = series_with_values(ends, start, run.series);
                counts[run.firsts.1] += firsts;
                counts[run.others.1] += run.values - firsts;
            }
            DOUBLES => doubles += run.values,
            _ => {}
        }
        start += run.series;
    }
    let mut columns: Vec<Column> = Vec::with_capacity(COLUMNS);
    columns.push(Column::default());
    for count in &counts[1..] {
        columns.push(Column { residuals: read_ints(reader, *count)?, next: 0 });
    }
    let mut doubles = read_floats(reader, doubles)?.into_iter();

    let mut values = Vec::with_capacity(total);
    start = 0;
    for run in &runs {
        let first_value = values.len();
        match run.kind {
            CONSTANT => {
                let value = restore(bases.signed()?, run.exponent);
                values.extend(std::iter::repeat_n(value, run.values));
            }
            CONSTANT_BITS => {
                let value = read_bits(&mut exceptions)?;
                values.extend(std::iter::repeat_n(value, run.values));
            }
            DOUBLES => values.extend(doubles.by_ref().take(run.values)),
            _ => {
                let base = bases.signed()?;
                restore_run(run, base, start, ends, &mut columns, &mut values);
                if run.has_exceptions {
                    read_exceptions(&mut exceptions, &mut values[first_value..])?;
                }
            }
        }
        start += run.series;
    }
    bases.finish()?;
    exceptions.finish()?;
    Ok(values)
}

fn read_runs(table: &mut Reader<'_>, ends: &[u32], budget: &mut Budget) -> Result<Vec<Run>, FormatError> {
    let count = table.count(2)?;
    budget.charge(WHAT, count as u64, 64)?;
    let mut lengths = Vec::with_capacity(count);
    let mut series = 0_usize;
    for _ in 0..count {
        let length = table.size()?;
        series = series.checked_add(length).ok_or(table.corrupt("more runs than series"))?;
        lengths.push(length);
    }
    if series != ends.len() {
        return Err(table.corrupt("runs that are not all series"));
    }
    let mut runs = Vec::with_capacity(count);
    let mut start = 0;
    let mut first_value = 0;
    for series in lengths {
        let end_value = if series == 0 { first_value } else { ends[start + series - 1] as usize };
        let values = end_value - first_value;
        let head = table.u8()?;
        let kind = head & 3;
        let exponent = (head >> EXPONENT_SHIFT) & 15;
        let mut run = Run {
            series,
            values,
            kind,
            exponent,
            shift: 0,
            has_exceptions: head & HAS_EXCEPTIONS != 0,
            firsts: (Prediction::Base, 0),
            others: (Prediction::Base, 0),
        };
        let plain = match kind {
            CONSTANT => head & (HAS_SHIFT | HAS_EXCEPTIONS) == 0,
            DECIMAL => true,
            _ => head & !3 == 0,
        };
        if !plain {
            return Err(table.corrupt("an impossible run"));
        }
        if kind == DECIMAL {
            if head & HAS_SHIFT != 0 {
                run.shift = u32::from(table.u8()?);
                if !(1..64).contains(&run.shift) {
                    return Err(table.corrupt("an impossible shift"));
                }
            }
            run.firsts = read_column_byte(table)?;
            if values > series_with_values(ends, start, series) {
                run.others = read_column_byte(table)?;
            }
        }
        runs.push(run);
        start += series;
        first_value = end_value;
    }
    Ok(runs)
}

fn read_column_byte(table: &mut Reader<'_>) -> Result<(Prediction, usize), FormatError> {
    let byte = table.u8()?;
    let prediction = match byte >> PREDICTION_SHIFT {
        0 => Prediction::Base,
        1 => Prediction::Previous,
        2 => Prediction::Trend,
        _ => return Err(table.corrupt("a prediction that does not exist")),
    };
    Ok((prediction, usize::from(byte & COLUMN_MASK)))
}

/// How many of `count` series from `start` on have values.
fn series_with_values(ends: &[u32], start: usize, count: usize) -> usize {
    let mut before = if start == 0 { 0 } else { ends[start - 1] };
    ends[start..start + count]
        .iter()
        .filter(|end| {
            let some = **end > before;
            before = **end;
            some
        })
        .count()
}

/// Appends the values of a decimal run, whose series begin at `start`.
fn restore_run(
    run: &Run,
    base: i64,
    start: usize,
    ends: &[u32],
    columns: &mut [Column],
    values: &mut Vec<f64>,
) {
    let value_of = |mantissa: i64| restore(mantissa << run.shift, run.exponent);
    let mut before = base;
    for &end in &ends[start..start + run.series] {
        let count = (end as usize).saturating_sub(values.len());
        if count == 0 {
            continue;
        }
        let predicted = if run.firsts.0 == Prediction::Base { base } else { before };
        let first =
            predicted.wrapping_add(columns[run.firsts.1].take(1).first().copied().unwrap_or_default());
        before = first;
        values.push(value_of(first));
        let (prediction, column) = run.others;
        if column == 0 {
            let value = if prediction == Prediction::Base { base } else { first };
            values.extend(std::iter::repeat_n(value_of(value), count - 1));
            continue;
        }
        let residuals = columns[column].take(count - 1).iter();
        match prediction {
            Prediction::Base => {
                values.extend(residuals.map(|residual| value_of(base.wrapping_add(*residual))))
            }
            Prediction::Previous => {
                let mut value = first;
                values.extend(residuals.map(|residual| {
                    value = value.wrapping_add(*residual);
                    value_of(value)
                }));
            }
            Prediction::Trend => {
                let (mut value, mut step) = (first, 0_i64);
                values.extend(residuals.map(|residual| {
                    step = step.wrapping_add(*residual);
                    value = value.wrapping_add(step);
                    value_of(value)
                }));
            }
        }
    }
}

/// Puts exceptions in their places in the values of a run.
fn read_exceptions(exceptions: &mut Reader<'_>, values: &mut [f64]) -> Result<(), FormatError> {
    let count = exceptions.count(2)?;
    let mut rest = values;
    for _ in 0..count {
        let skip = exceptions.size()?;
        let value = read_bits(exceptions)?;
        let Some((slot, after)) = rest.get_mut(skip..).and_then(<[f64]>::split_first_mut) else {
            return Err(exceptions.corrupt("an exception beyond its run"));
        };
        *slot = value;
        rest = after;
    }
    Ok(())
}

fn read_bits(exceptions: &mut Reader<'_>) -> Result<f64, FormatError> {
    let code = exceptions.u8()?;
    let bits = match SPECIALS.get(usize::from(code)) {
        Some(bits) => *bits,
        None if code == OTHER_BITS => exceptions.u64()?,
        None => return Err(exceptions.corrupt("an exception that does not exist")),
    };
    Ok(f64::from_bits(bits))
}
