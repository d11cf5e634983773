//! Native histograms. The message is the same in both versions.

use telemetry::{CounterResetHint, Histogram, Span};

use crate::error::SeriesProblem;
use crate::limits::Limits;
use crate::protobuf::{Field, Reader, zigzag};

const MESSAGE: &str = "prometheus.Histogram";

/// Reads a histogram sample as timestamp (ms) and histogram, valid and within the limits.
pub(super) fn read(message: &[u8], limits: &Limits) -> Result<(i64, Histogram), SeriesProblem> {
    let mut reader = Reader::new(message, MESSAGE);
    let mut histogram = Histogram::default();
    let mut timestamp_ms = 0;
    let mut schema = 0_i64;
    let mut float_count = false;
    let mut positive = Side::default();
    let mut negative = Side::default();
    let max = limits.max_histogram_buckets;
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => (histogram.count, float_count) = (field.varint()? as f64, false),
            2 => (histogram.count, float_count) = (field.double()?, true),
            3 => histogram.sum = field.double()?,
            4 => schema = field.zigzag()?,
            5 => histogram.zero_threshold = field.double()?,
            6 => histogram.zero_count = field.varint()? as f64,
            7 => histogram.zero_count = field.double()?,
            8 => negative.push_span(&field, max)?,
            9 => negative.push_deltas(&field, max)?,
            10 => negative.push_counts(&field, max)?,
            11 => positive.push_span(&field, max)?,
            12 => positive.push_deltas(&field, max)?,
            13 => positive.push_counts(&field, max)?,
            14 => histogram.counter_reset_hint = reset_hint(field.varint()?),
            15 => timestamp_ms = field.varint()? as i64,
            16 => push_doubles(&field, &mut histogram.custom_values, max)?,
            _ => {}
        }
    }
    histogram.schema = i8::try_from(schema).map_err(|_| {
        telemetry::histogram::HistogramError::Schema(schema.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
    })?;
    (histogram.positive_spans, histogram.positive_buckets) = positive.finish(float_count)?;
    (histogram.negative_spans, histogram.negative_buckets) = negative.finish(float_count)?;
    if histogram.positive_buckets.len() + histogram.negative_buckets.len() > max {
        return Err(SeriesProblem::TooManyBuckets { limit: max });
    }
    histogram.validate()?;
    Ok((timestamp_ms, histogram))
}

/// A hint that a later version may add counts as nothing known.
fn reset_hint(number: u64) -> CounterResetHint {
    u8::try_from(number).ok().and_then(CounterResetHint::from_persisted).unwrap_or_default()
}

/// Buckets on one side of zero as they are sent: integer counts as differences, float counts as they are.
#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Side {
    fn push_span(&mut self, field: &Field<'_>, max: usize) -> Result<(), SeriesProblem> {
        let mut reader = field.message("prometheus.BucketSpan")?;
        let mut span = Span::default();
        while let Some(field) = reader.next_field()? {
            match field.number {
                // A sint32: wider values are cut, as protobuf has it.
                1 => span.offset = field.zigzag()? as i32,
                2 => span.length = field.varint()? as u32,
                _ => {}
            }
        }
        push_bounded(&mut self.spans, span, max)
    }

    fn push_deltas(&mut self, field: &Field<'_>, max: usize) -> Result<(), SeriesProblem> {
        field.each_varint(|delta| push_bounded(&mut self.deltas, zigzag(delta), max))
    }

    fn push_counts(&mut self, field: &Field<'_>, max: usize) -> Result<(), SeriesProblem> {
        push_doubles(field, &mut self.counts, max)
    }

    /// The spans and the absolute counts. Which kind of counts holds, the type of the total count tells.
    fn finish(self, float_count: bool) -> Result<(Vec<Span>, Vec<f64>), SeriesProblem> {
        if float_count {
            return Ok((self.spans, self.counts));
        }
        let mut count = 0_i64;
        let mut counts = Vec::with_capacity(self.deltas.len());
        for delta in self.deltas {
            count = count.checked_add(delta).ok_or(SeriesProblem::BucketOverflow)?;
            counts.push(count as f64);
        }
        Ok((self.spans, counts))
    }
}

fn push_doubles(field: &Field<'_>, out: &mut Vec<f64>, max: usize) -> Result<(), SeriesProblem> {
    field.each_fixed64(|bits| push_bounded(out, f64::from_bits(bits), max))
}

fn push_bounded<T>(out: &mut Vec<T>, element: T, max: usize) -> Result<(), SeriesProblem> {
    if out.len() == max {
        return Err(SeriesProblem::TooManyBuckets { limit: max });
    }
    out.push(element);
    Ok(())
}
