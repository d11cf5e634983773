//! The bytes of one partition.

use std::sync::Arc;

use telemetry::{
    CounterResetHint, Exemplar, Histogram, Labels, Metadata, MetricBatch, MetricType, Series, Span,
};

use crate::cursor::{Budget, Reader, allowance, put_signed, put_text, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::frame::{BlockWriter, read_frame};

pub(crate) fn encode(batch: &MetricBatch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let mut raw = Vec::new();
    put_varint(&mut raw, batch.series.len() as u64);
    for (index, series) in batch.series.iter().enumerate() {
        put_text(&mut raw, series.labels().as_canonical());
        let (times, values) = batch.floats_of(index);
        put_varint(&mut raw, times.len() as u64);
        for (time, value) in times.iter().zip(values) {
            raw.extend_from_slice(&time.to_le_bytes());
            raw.extend_from_slice(&value.to_bits().to_le_bytes());
        }
    }
    put_varint(&mut raw, batch.histograms.len() as u64);
    for (series, time, histogram) in &batch.histograms {
        put_varint(&mut raw, u64::from(*series));
        put_signed(&mut raw, *time);
        raw.push(histogram.counter_reset_hint.to_persisted());
        raw.push(histogram.schema.cast_unsigned());
        for number in [histogram.zero_threshold, histogram.zero_count, histogram.count, histogram.sum] {
            raw.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        for spans in [&histogram.positive_spans, &histogram.negative_spans] {
            put_varint(&mut raw, spans.len() as u64);
            for span in spans {
                put_signed(&mut raw, span.offset.into());
                put_varint(&mut raw, span.length.into());
            }
        }
        for numbers in [&histogram.positive_buckets, &histogram.negative_buckets, &histogram.custom_values] {
            put_varint(&mut raw, numbers.len() as u64);
            for number in numbers {
                raw.extend_from_slice(&number.to_bits().to_le_bytes());
            }
        }
    }
    put_varint(&mut raw, batch.exemplars.len() as u64);
    for (series, exemplar) in &batch.exemplars {
        put_varint(&mut raw, u64::from(*series));
        put_signed(&mut raw, exemplar.timestamp_ms);
        raw.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_text(&mut raw, exemplar.labels.as_canonical());
    }
    put_varint(&mut raw, batch.metadata.len() as u64);
    for (name, metadata) in &batch.metadata {
        put_text(&mut raw, name);
        raw.push(metadata.metric_type.to_persisted());
        put_text(&mut raw, &metadata.help);
        put_text(&mut raw, &metadata.unit);
    }
    let mut block = BlockWriter::default();
    block.put_frame(&raw)?;
    while allowance(block.bytes.len() as u64) < block.memory * 64 {
        block.bytes.push(0);
    }
    out.extend_from_slice(&block.bytes);
    Ok(())
}

fn float(reader: &mut Reader<'_>) -> Result<f64, FormatError> {
    Ok(f64::from_bits(reader.u64()?))
}

pub(crate) fn decode(bytes: &[u8]) -> Result<MetricBatch, FormatError> {
    let mut budget = Budget::of(bytes.len());
    let mut outer = Reader::new(bytes, "partition");
    let raw = read_frame(&mut outer, "partition", &mut budget)?;
    let mut reader = Reader::new(&raw, "partition");
    let mut batch = MetricBatch::default();
    for _ in 0..reader.count(2)? {
        let labels = Labels::from_canonical(reader.text()?).map_err(|_| reader.corrupt("labels"))?;
        if batch.series.last().is_some_and(|last: &Arc<Series>| *last.labels() >= labels) {
            return Err(reader.corrupt("series that do not ascend"));
        }
        batch.series.push(Arc::new(Series::new(labels)));
        for _ in 0..reader.count(16)? {
            batch.timestamps_ms.push(reader.u64()?.cast_signed());
            batch.values.push(float(&mut reader)?);
        }
        batch.float_ends.push(batch.values.len() as u32);
    }
    for _ in 0..reader.count(38)? {
        let series = reader.varint()? as u32;
        let time = reader.signed()?;
        let counter_reset_hint =
            CounterResetHint::from_persisted(reader.u8()?).ok_or(reader.corrupt("reset hint"))?;
        let mut histogram =
            Histogram { counter_reset_hint, schema: reader.u8()?.cast_signed(), ..Histogram::default() };
        histogram.zero_threshold = float(&mut reader)?;
        histogram.zero_count = float(&mut reader)?;
        histogram.count = float(&mut reader)?;
        histogram.sum = float(&mut reader)?;
        for spans in [&mut histogram.positive_spans, &mut histogram.negative_spans] {
            for _ in 0..reader.count(2)? {
                let offset = i32::try_from(reader.signed()?).map_err(|_| reader.corrupt("span"))?;
                let length = u32::try_from(reader.varint()?).map_err(|_| reader.corrupt("span"))?;
                spans.push(Span { offset, length });
            }
        }
        for numbers in
            [&mut histogram.positive_buckets, &mut histogram.negative_buckets, &mut histogram.custom_values]
        {
            for _ in 0..reader.count(8)? {
                numbers.push(float(&mut reader)?);
            }
        }
        batch.histograms.push((series, time, Arc::new(histogram)));
    }
    for _ in 0..reader.count(11)? {
        let series = reader.varint()? as u32;
        let timestamp_ms = reader.signed()?;
        let value = float(&mut reader)?;
        let labels = Labels::from_canonical(reader.text()?).map_err(|_| reader.corrupt("labels"))?;
        batch.exemplars.push((series, Exemplar { labels, value, timestamp_ms }));
    }
    for _ in 0..reader.count(4)? {
        let name = reader.text()?.to_owned();
        let metric_type = MetricType::from_persisted(reader.u8()?).ok_or(reader.corrupt("metric type"))?;
        let (help, unit) = (reader.text()?.to_owned(), reader.text()?.to_owned());
        batch.metadata.insert(name, Metadata { metric_type, help, unit });
    }
    reader.finish()?;
    Ok(batch)
}
