//! What thinned series left out, as columns.

use telemetry::Omitted;

use crate::cursor::{Budget, Reader, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::frame::BlockWriter;
use crate::ints::{Effort, put_ints, read_ints};
use crate::values::{put_values, read_values};

const WHAT: &str = "what was left out";

/// Memory of a row with its series, and of the columns that it comes from, in bytes.
const ROW_BYTES: usize = 96;

/// Numbers of samples up to this are whole numbers in a double.
const MAX_COUNT: f64 = 9_007_199_254_740_992.0;

/// Appends rows, given as (number of the series, row), ascending by series and timestamp, to `block`.
pub(crate) fn put_omitted(rows: &[(u32, Omitted)], block: &mut BlockWriter) -> Result<(), EncodeError> {
    let mut ends: Vec<u32> = Vec::new();
    let (mut steps, mut counts) = (Vec::new(), Vec::new());
    let (mut firsts, mut differences) = (Vec::new(), Vec::new());
    let mut last_series = 0;
    for of_series in rows.chunk_by(|a, b| a.0 == b.0) {
        let Some((series, first)) = of_series.first() else { continue };
        steps.push(i64::from(series - last_series));
        counts.push(of_series.len() as i64);
        firsts.push(first.timestamp_ms);
        let pairs = of_series.windows(2);
        differences.extend(pairs.map(|pair| pair[1].1.timestamp_ms.wrapping_sub(pair[0].1.timestamp_ms)));
        ends.push(ends.last().copied().unwrap_or_default() + of_series.len() as u32);
        last_series = *series;
    }
    put_varint(&mut block.bytes, ends.len() as u64);
    for column in [&steps, &counts, &firsts, &differences] {
        put_ints(column, Effort::Compacted, &mut block.bytes)?;
    }
    let of: [fn(&Omitted) -> f64; 4] =
        [|row| row.count as f64, |row| row.sum, |row| row.lost, |row| row.resets as f64];
    for value in of {
        let values: Vec<f64> = rows.iter().map(|(_, row)| value(row)).collect();
        put_values(&values, &ends, &[ends.len() as u32], Effort::Compacted, block)?;
    }
    block.memory += (rows.len() * ROW_BYTES) as u64;
    Ok(())
}

/// Reads `count` rows of series with numbers below `series`.
pub(crate) fn read_omitted(
    reader: &mut Reader<'_>,
    count: usize,
    series: u64,
    budget: &mut Budget,
) -> Result<Vec<(u32, Omitted)>, FormatError> {
    budget.charge(WHAT, count as u64, ROW_BYTES)?;
    let with_rows = reader.size()?;
    if with_rows > count {
        return Err(reader.corrupt("more series than rows"));
    }
    let steps = read_ints(reader, with_rows)?;
    let counts = read_ints(reader, with_rows)?;
    let firsts = read_ints(reader, with_rows)?;
    let mut differences = read_ints(reader, count - with_rows)?.into_iter();
    let (mut ends, mut end) = (Vec::with_capacity(with_rows), 0_u32);
    for of_series in &counts {
        let left = count as i64 - i64::from(end);
        if !(1..=left).contains(of_series) {
            return Err(reader.corrupt("series without rows"));
        }
        end += *of_series as u32;
        ends.push(end);
    }
    if end as usize != count {
        return Err(reader.corrupt("rows without series"));
    }
    let mut column = || read_values(reader, &ends, budget);
    let (counts, sums, losts, resets) = (column()?, column()?, column()?, column()?);

    let mut rows = Vec::with_capacity(count);
    let (mut number, mut start) = (0_i64, 0);
    for (index, ((step, first_ms), end)) in steps.iter().zip(firsts).zip(&ends).enumerate() {
        let least = i64::from(index > 0);
        number = number.saturating_add(*step);
        if *step < least || number >= series.min(u32::MAX.into()) as i64 {
            return Err(reader.corrupt("a series that does not exist"));
        }
        let mut timestamp_ms = first_ms;
        for row in start..*end as usize {
            if row > start {
                let before_ms = timestamp_ms;
                timestamp_ms = before_ms.wrapping_add(differences.next().unwrap_or_default());
                if timestamp_ms <= before_ms {
                    return Err(reader.corrupt("timestamps that do not ascend"));
                }
            }
            let (count, sum, lost, resets) = (counts[row], sums[row], losts[row], resets[row]);
            let is_whole = |value: f64| value.trunc() == value && value.abs() <= MAX_COUNT;
            if !(is_whole(count) && count >= 1.0 && is_whole(resets) && sum.is_finite() && lost.is_finite()) {
                return Err(reader.corrupt("a number that cannot be"));
            }
            let row = Omitted { timestamp_ms, count: count as u64, sum, lost, resets: resets as i64 };
            rows.push((number as u32, row));
        }
        start = *end as usize;
    }
    Ok(rows)
}
