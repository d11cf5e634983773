//! Native histograms: counts as integers and differences, and bit by bit where they are none.
//!
//! Histograms of one series usually share their layout, and their counts grow slowly: so a histogram is written against
//! the one before it in the block where that fits, and the whole is compressed.

use std::sync::Arc;

use telemetry::{CounterResetHint, Histogram, Span};

use crate::cursor::{Budget, Reader, put_signed, put_varint};
use crate::decimal::{mantissa, restore};
use crate::error::{EncodeError, FormatError};
use crate::frame::{BlockWriter, read_frame};

const WHAT: &str = "native histograms";

/// Histogram samples as (index of the series, timestamp in ms, histogram), ascending.
pub(crate) type HistogramRows = Vec<(u32, i64, Arc<Histogram>)>;

/// Bits 0–1 of a histogram's flags: the reset hint.
const HINT_MASK: u8 = 3;
/// Schema, zero threshold, spans and custom boundaries are those of the histogram before.
const SAME_LAYOUT: u8 = 4;
/// All counts are integers, and differences stand for them.
const INTEGERS: u8 = 8;
const KNOWN_FLAGS: u8 = HINT_MASK | SAME_LAYOUT | INTEGERS;

/// Integer counts are differences to the histogram before only when both are below this, so that nothing overflows.
const MAX_INTEGER_COUNT: i64 = 1 << 53;

/// Memory of a row besides its histogram's, in bytes.
const ROW_BYTES: usize = 32;

fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive_spans == b.positive_spans
        && a.negative_spans == b.negative_spans
        && a.custom_values.len() == b.custom_values.len()
        && a.custom_values.iter().zip(&b.custom_values).all(|(x, y)| x.to_bits() == y.to_bits())
}

/// All counts of a histogram: total, zero bucket, buckets.
fn counts(histogram: &Histogram) -> impl Iterator<Item = f64> + '_ {
    let buckets = histogram.positive_buckets.iter().chain(&histogram.negative_buckets);
    [histogram.count, histogram.zero_count].into_iter().chain(buckets.copied())
}

fn integer(count: f64) -> Option<i64> {
    mantissa(count, 0).filter(|integer| (-MAX_INTEGER_COUNT..=MAX_INTEGER_COUNT).contains(integer))
}

/// Appends histogram samples to `block`.
pub(crate) fn put_histograms(rows: &HistogramRows, block: &mut BlockWriter) -> Result<(), EncodeError> {
    let mut raw = Vec::new();
    let mut doubles = Vec::new();
    let mut before: Option<&Histogram> = None;
    let (mut last_series, mut last_ms) = (0, 0_i64);
    for (series, at_ms, histogram) in rows {
        histogram.validate().map_err(|_| EncodeError::InvalidBatch("a native histogram is not valid"))?;
        put_varint(&mut raw, u64::from(series - last_series));
        put_signed(&mut raw, at_ms.wrapping_sub(last_ms));
        (last_series, last_ms) = (*series, *at_ms);
        let same = before.filter(|before| same_layout(before, histogram));
        let integers: Option<Vec<i64>> = counts(histogram).map(integer).collect();
        raw.push(
            histogram.counter_reset_hint.to_persisted()
                | if same.is_some() { SAME_LAYOUT } else { 0 }
                | if integers.is_some() { INTEGERS } else { 0 },
        );
        if same.is_none() {
            put_layout(histogram, &mut raw, &mut doubles);
        }
        doubles.push(histogram.sum);
        match integers {
            None => doubles.extend(counts(histogram)),
            Some(integers) => {
                let mut before =
                    same.into_iter().flat_map(counts).map(|count| integer(count).unwrap_or_default());
                let mut predicted = 0;
                for count in integers {
                    let difference = count - before.next().unwrap_or_default();
                    put_signed(&mut raw, difference - predicted);
                    predicted = if same.is_some() { 0 } else { count };
                }
            }
        }
        block.memory += (histogram_bytes(histogram) + ROW_BYTES) as u64;
        before = Some(histogram);
    }
    // Doubles apart from the small numbers: each compresses better among its like.
    let split = raw.len() as u64;
    for double in doubles {
        raw.extend_from_slice(&double.to_bits().to_le_bytes());
    }
    put_varint(&mut block.bytes, split);
    block.put_frame(&raw)
}

/// Memory of a histogram whose vectors are as long as they must be.
fn histogram_bytes(histogram: &Histogram) -> usize {
    size_of::<Histogram>()
        + (histogram.positive_spans.len() + histogram.negative_spans.len()) * size_of::<Span>()
        + (histogram.positive_buckets.len()
            + histogram.negative_buckets.len()
            + histogram.custom_values.len())
            * size_of::<f64>()
}

fn put_layout(histogram: &Histogram, raw: &mut Vec<u8>, doubles: &mut Vec<f64>) {
    raw.push(histogram.schema.cast_unsigned());
    doubles.push(histogram.zero_threshold);
    for spans in [&histogram.positive_spans, &histogram.negative_spans] {
        put_varint(raw, spans.len() as u64);
        for span in spans {
            put_signed(raw, span.offset.into());
            put_varint(raw, span.length.into());
        }
    }
    put_varint(raw, histogram.custom_values.len() as u64);
    doubles.extend_from_slice(&histogram.custom_values);
}

/// Reads `count` histogram samples of `series` series.
pub(crate) fn read_histograms(
    reader: &mut Reader<'_>,
    count: usize,
    series: usize,
    budget: &mut Budget,
) -> Result<HistogramRows, FormatError> {
    let split = reader.size()?;
    let raw = read_frame(reader, WHAT, budget)?;
    let Some((numbers, doubles)) = raw.split_at_checked(split) else {
        return Err(FormatError::Corrupt { what: WHAT, why: "cut short" });
    };
    let mut numbers = Reader::new(numbers, WHAT);
    let mut doubles = Reader::new(doubles, WHAT);
    // Each takes five bytes and a double at least.
    if count > raw.len() / 13 {
        return Err(numbers.corrupt("a count beyond its size"));
    }
    let mut rows = HistogramRows::with_capacity(count);
    let (mut last_series, mut last_ms) = (0_u64, 0_i64);
    for _ in 0..count {
        let step = numbers.varint()?;
        last_series = last_series.saturating_add(step);
        if last_series >= series as u64 {
            return Err(numbers.corrupt("a series that does not exist"));
        }
        let at_ms = last_ms.wrapping_add(numbers.signed()?);
        if step == 0 && !rows.is_empty() && at_ms <= last_ms {
            return Err(numbers.corrupt("timestamps that do not ascend"));
        }
        last_ms = at_ms;
        let before = rows.last().map(|(_, _, histogram)| &**histogram);
        let histogram = read_histogram(&mut numbers, &mut doubles, before, budget)?;
        histogram.validate().map_err(|_| numbers.corrupt("an invalid histogram"))?;
        rows.push((last_series as u32, at_ms, Arc::new(histogram)));
    }
    numbers.finish()?;
    doubles.finish()?;
    Ok(rows)
}

fn double(doubles: &mut Reader<'_>) -> Result<f64, FormatError> {
    doubles.u64().map(f64::from_bits)
}

fn read_histogram(
    numbers: &mut Reader<'_>,
    doubles: &mut Reader<'_>,
    before: Option<&Histogram>,
    budget: &mut Budget,
) -> Result<Histogram, FormatError> {
    budget.charge(WHAT, 1, size_of::<Histogram>() + ROW_BYTES)?;
    let flags = numbers.u8()?;
    if flags & !KNOWN_FLAGS != 0 {
        return Err(numbers.corrupt("flags that do not exist"));
    }
    let same = if flags & SAME_LAYOUT == 0 {
        None
    } else {
        Some(before.ok_or(numbers.corrupt("a layout that does not exist"))?)
    };
    let mut histogram = match same {
        Some(before) => {
            let spans = before.positive_spans.len() + before.negative_spans.len();
            budget.charge(WHAT, (spans + before.custom_values.len()) as u64, size_of::<Span>())?;
            Histogram {
                schema: before.schema,
                zero_threshold: before.zero_threshold,
                positive_spans: before.positive_spans.clone(),
                negative_spans: before.negative_spans.clone(),
                custom_values: before.custom_values.clone(),
                ..Histogram::default()
            }
        }
        None => read_layout(numbers, doubles, budget)?,
    };
    histogram.counter_reset_hint = CounterResetHint::from_persisted(flags & HINT_MASK)
        .ok_or(numbers.corrupt("a hint that does not exist"))?;
    histogram.sum = double(doubles)?;
    let length =
        |spans: &[Span]| spans.iter().fold(0_u64, |sum, span| sum.saturating_add(span.length.into()));
    let (positive, negative) = (length(&histogram.positive_spans), length(&histogram.negative_spans));
    let buckets = positive.saturating_add(negative);
    budget.charge(WHAT, buckets, size_of::<f64>())?;
    let total = buckets as usize + 2;
    let mut all = Vec::with_capacity(total.min(numbers.remaining() + doubles.remaining()));
    if flags & INTEGERS == 0 {
        for _ in 0..total {
            all.push(double(doubles)?);
        }
    } else {
        let mut before = same.into_iter().flat_map(counts).map(|count| integer(count).unwrap_or_default());
        let mut predicted = 0_i64;
        for _ in 0..total {
            let difference = numbers.signed()?.wrapping_add(predicted);
            let count = difference.wrapping_add(before.next().unwrap_or_default());
            predicted = if same.is_some() { 0 } else { count };
            all.push(restore(count, 0));
        }
    }
    let mut all = all.into_iter();
    histogram.count = all.next().unwrap_or_default();
    histogram.zero_count = all.next().unwrap_or_default();
    histogram.positive_buckets = all.by_ref().take(positive as usize).collect();
    histogram.negative_buckets = all.collect();
    Ok(histogram)
}

fn read_layout(
    numbers: &mut Reader<'_>,
    doubles: &mut Reader<'_>,
    budget: &mut Budget,
) -> Result<Histogram, FormatError> {
    let mut histogram = Histogram { schema: numbers.u8()?.cast_signed(), ..Histogram::default() };
    histogram.zero_threshold = double(doubles)?;
    for spans in [&mut histogram.positive_spans, &mut histogram.negative_spans] {
        let count = numbers.count(2)?;
        budget.charge(WHAT, count as u64, size_of::<Span>())?;
        spans.reserve_exact(count);
        for _ in 0..count {
            let offset =
                i32::try_from(numbers.signed()?).map_err(|_| numbers.corrupt("a span out of range"))?;
            let length =
                u32::try_from(numbers.varint()?).map_err(|_| numbers.corrupt("a span out of range"))?;
            spans.push(Span { offset, length });
        }
    }
    let custom = numbers.size()?;
    budget.charge(WHAT, custom as u64, size_of::<f64>())?;
    if custom > doubles.remaining() / 8 {
        return Err(numbers.corrupt("a count beyond its size"));
    }
    histogram.custom_values = (0..custom).map(|_| double(doubles)).collect::<Result<_, _>>()?;
    Ok(histogram)
}
