//! Exemplars and metadata: little beside the samples, so they are written plainly and compressed.

use std::collections::BTreeMap;

use telemetry::{Exemplar, Labels, Metadata, MetricType};

use crate::cursor::{Budget, Reader, put_signed, put_text, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::frame::{BlockWriter, read_frame};

/// Memory of an exemplar besides its labels' text, in bytes.
const EXEMPLAR_BYTES: usize = 72;
/// Memory of a metric's metadata besides its texts, in bytes.
const METADATA_BYTES: usize = 160;

/// Appends exemplars, given as (index of the series, exemplar) in ascending order, to `block`.
pub(crate) fn put_exemplars(rows: &[(u32, Exemplar)], block: &mut BlockWriter) -> Result<(), EncodeError> {
    let mut raw = Vec::new();
    let mut last_series = 0;
    let mut last_ms = 0_i64;
    for (series, exemplar) in rows {
        put_varint(&mut raw, u64::from(series - last_series));
        put_signed(&mut raw, exemplar.timestamp_ms.wrapping_sub(last_ms));
        raw.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
        put_text(&mut raw, exemplar.labels.as_canonical());
        (last_series, last_ms) = (*series, exemplar.timestamp_ms);
        block.memory += (EXEMPLAR_BYTES + exemplar.labels.as_canonical().len()) as u64;
    }
    block.put_frame(&raw)
}

/// Reads `count` exemplars of `series` series.
pub(crate) fn read_exemplars(
    reader: &mut Reader<'_>,
    count: usize,
    series: usize,
    budget: &mut Budget,
) -> Result<Vec<(u32, Exemplar)>, FormatError> {
    const WHAT: &str = "exemplars";
    budget.charge(WHAT, count as u64, EXEMPLAR_BYTES)?;
    let raw = read_frame(reader, WHAT, budget)?;
    let mut reader = Reader::new(&raw, WHAT);
    let mut rows: Vec<(u32, Exemplar)> = Vec::with_capacity(count);
    let (mut last_series, mut last_ms) = (0_u64, 0_i64);
    for _ in 0..count {
        let step = reader.varint()?;
        last_series = last_series.saturating_add(step);
        if last_series >= series as u64 {
            return Err(reader.corrupt("a series that does not exist"));
        }
        let timestamp_ms = last_ms.wrapping_add(reader.signed()?);
        if step == 0 && !rows.is_empty() && timestamp_ms < last_ms {
            return Err(reader.corrupt("timestamps that do not ascend"));
        }
        last_ms = timestamp_ms;
        let value = f64::from_bits(reader.u64()?);
        let text = reader.text()?;
        budget.charge(WHAT, text.len() as u64, 1)?;
        let labels = Labels::from_canonical(text).map_err(|_| reader.corrupt("an impossible label set"))?;
        rows.push((last_series as u32, Exemplar { labels, value, timestamp_ms }));
    }
    reader.finish()?;
    Ok(rows)
}

/// Appends metadata to `block`.
pub(crate) fn put_metadata(
    metadata: &BTreeMap<String, Metadata>,
    block: &mut BlockWriter,
) -> Result<(), EncodeError> {
    let mut raw = Vec::new();
    for (name, of) in metadata {
        put_text(&mut raw, name);
        raw.push(of.metric_type.to_persisted());
        put_text(&mut raw, &of.unit);
        put_text(&mut raw, &of.help);
    }
    block.memory += (metadata.len() * METADATA_BYTES) as u64;
    block.put_frame(&raw)
}

/// Reads the metadata of `count` metrics.
pub(crate) fn read_metadata(
    reader: &mut Reader<'_>,
    count: usize,
    budget: &mut Budget,
) -> Result<BTreeMap<String, Metadata>, FormatError> {
    const WHAT: &str = "metadata";
    budget.charge(WHAT, count as u64, METADATA_BYTES)?;
    let raw = read_frame(reader, WHAT, budget)?;
    let mut reader = Reader::new(&raw, WHAT);
    let mut metadata: BTreeMap<String, Metadata> = BTreeMap::new();
    for _ in 0..count {
        let name = reader.text()?;
        if metadata.last_key_value().is_some_and(|(last, _)| last.as_str() >= name) {
            return Err(reader.corrupt("metric names that do not ascend"));
        }
        let metric_type = MetricType::from_persisted(reader.u8()?)
            .ok_or(reader.corrupt("a metric type that does not exist"))?;
        let unit = reader.text()?.to_owned();
        let help = reader.text()?.to_owned();
        metadata.insert(name.to_owned(), Metadata { metric_type, help, unit });
    }
    reader.finish()?;
    Ok(metadata)
}
