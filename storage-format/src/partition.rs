//! The bytes of one partition: the columns of one [`MetricBatch`].

use telemetry::MetricBatch;

use crate::cursor::{Budget, Reader, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::extras::{put_exemplars, put_metadata, read_exemplars, read_metadata};
use crate::frame::{BlockWriter, finish_block};
use crate::histograms::{put_histograms, read_histograms};
use crate::inspect::ColumnBytes;
use crate::ints::Effort;
use crate::labels::{LabelWriter, read_labels};
use crate::times::{TimeWriter, read_times};
use crate::values::{put_values, read_values};

const WHAT: &str = "partition";

const EMPTY_SERIES: &str = "a series without samples and exemplars";

/// Writes the partition that holds `batch` to an empty `block`.
pub(crate) fn encode(batch: &MetricBatch, block: &mut BlockWriter) -> Result<(), EncodeError> {
    check(batch)?;
    for count in [
        batch.series.len(),
        batch.values.len(),
        batch.histograms.len(),
        batch.exemplars.len(),
        batch.metadata.len(),
    ] {
        put_varint(&mut block.bytes, count as u64);
    }
    let mut labels = LabelWriter::<&str>::default();
    if !batch.series.is_empty() {
        for series in &batch.series {
            labels.push(series.labels())?;
        }
        labels.put(block)?;
    }
    if !batch.values.is_empty() {
        let mut times = TimeWriter::default();
        for index in 0..batch.series.len() {
            times.push(batch.floats_of(index).0)?;
        }
        times.put(Effort::Fresh, block)?;
        put_values(&batch.values, &batch.float_ends, &labels.metric_ends(), Effort::Fresh, block)?;
    }
    if !batch.histograms.is_empty() {
        put_histograms(&batch.histograms, block)?;
    }
    if !batch.exemplars.is_empty() {
        put_exemplars(&batch.exemplars, block)?;
    }
    if !batch.metadata.is_empty() {
        put_metadata(&batch.metadata, block)?;
    }
    Ok(())
}

/// Checks what the columns rely on.
fn check(batch: &MetricBatch) -> Result<(), EncodeError> {
    let bad = |why| Err(EncodeError::InvalidBatch(why));
    if u32::try_from(batch.values.len()).is_err() || u32::try_from(batch.series.len()).is_err() {
        let size = batch.values.len().max(batch.series.len()) as u64;
        return Err(EncodeError::TooLarge { what: "a batch in samples", size, limit: u32::MAX.into() });
    }
    if batch.float_ends.len() != batch.series.len()
        || batch.timestamps_ms.len() != batch.values.len()
        || batch.float_ends.last().map_or(0, |end| *end as usize) != batch.values.len()
        || batch.float_ends.windows(2).any(|pair| pair[0] > pair[1])
    {
        return bad("its columns do not fit together");
    }
    let series = batch.series.len() as u32;
    if batch.histograms.iter().any(|row| row.0 >= series) || batch.exemplars.iter().any(|row| row.0 >= series)
    {
        return bad("a histogram or exemplar without a series");
    }
    if batch.histograms.windows(2).any(|pair| (pair[0].0, pair[0].1) >= (pair[1].0, pair[1].1)) {
        return bad("native histograms do not ascend");
    }
    if batch
        .exemplars
        .windows(2)
        .any(|pair| (pair[0].0, pair[0].1.timestamp_ms) > (pair[1].0, pair[1].1.timestamp_ms))
    {
        return bad("exemplars do not ascend");
    }
    match has_invariants(batch) {
        Ok(()) => Ok(()),
        Err(why) => bad(why),
    }
}

/// Checks the invariants that no column holds by itself.
fn has_invariants(batch: &MetricBatch) -> Result<(), &'static str> {
    if batch.histograms.is_empty() && batch.exemplars.is_empty() {
        // The usual case: then only float samples can keep a series from being empty.
        let mut before = 0;
        let all = batch.float_ends.iter().all(|end| std::mem::replace(&mut before, *end) < *end);
        return if all { Ok(()) } else { Err(EMPTY_SERIES) };
    }
    let mut histograms = batch.histograms.iter().peekable();
    let mut exemplars = batch.exemplars.iter().peekable();
    let mut start = 0;
    for (index, &end) in (0_u32..).zip(&batch.float_ends) {
        let times = &batch.timestamps_ms[start..end as usize];
        start = end as usize;
        let mut some = !times.is_empty();
        while let Some((_, at_ms, _)) = histograms.next_if(|row| row.0 == index) {
            some = true;
            if times.binary_search(at_ms).is_ok() {
                return Err("a float and a histogram at the same time");
            }
        }
        while exemplars.next_if(|row| row.0 == index).is_some() {
            some = true;
        }
        if !some {
            return Err(EMPTY_SERIES);
        }
    }
    Ok(())
}

/// Reads a partition, whose checksum has been checked, which says nothing about who made it; and says how many bytes each
/// kind of column takes.
pub(crate) fn decode_measured(bytes: &[u8]) -> Result<(MetricBatch, ColumnBytes), FormatError> {
    let (series, mut batch, columns) = decode_with(bytes, read_labels)?;
    batch.series = series;
    Ok((batch, columns))
}

/// As [`decode_measured`], with the label table read by `read_series`, which is told how many rows it has. The batch's own
/// list of series stays empty.
pub(crate) fn decode_with<S: Default>(
    bytes: &[u8],
    read_series: impl FnOnce(&mut Reader<'_>, usize, &mut Budget) -> Result<S, FormatError>,
) -> Result<(S, MetricBatch, ColumnBytes), FormatError> {
    let mut budget = Budget::of(bytes.len());
    let mut reader = Reader::new(bytes, WHAT);
    let [series, values, histograms, exemplars, metadata] =
        [reader.size()?, reader.size()?, reader.size()?, reader.size()?, reader.size()?];
    let mut columns = ColumnBytes::default();
    let mut before = bytes.len();
    let mut measure = |columns: &mut ColumnBytes, name, reader: &Reader<'_>| {
        let after = reader.remaining();
        columns.add(name, (before - after) as u64);
        before = after;
    };
    measure(&mut columns, "counts", &reader);
    let mut batch = MetricBatch::default();
    let mut read = S::default();
    if series > 0 {
        read = read_series(&mut reader, series, &mut budget)?;
        measure(&mut columns, "labels", &reader);
    }
    if values > 0 {
        let times = read_times(&mut reader, series, &mut budget)?;
        if times.timestamps_ms.len() != values {
            return Err(reader.corrupt("not as many samples as it says"));
        }
        measure(&mut columns, "timestamps", &reader);
        batch.timestamps_ms = times.timestamps_ms;
        batch.float_ends = times.ends;
        batch.values = read_values(&mut reader, &batch.float_ends, &mut budget)?;
        measure(&mut columns, "values", &reader);
    } else {
        batch.float_ends = vec![0; series];
    }
    if histograms > 0 {
        batch.histograms = read_histograms(&mut reader, histograms, series, &mut budget)?;
        measure(&mut columns, "histograms", &reader);
    }
    if exemplars > 0 {
        batch.exemplars = read_exemplars(&mut reader, exemplars, series, &mut budget)?;
        measure(&mut columns, "exemplars", &reader);
    }
    if metadata > 0 {
        batch.metadata = read_metadata(&mut reader, metadata, &mut budget)?;
        measure(&mut columns, "metadata", &reader);
    }
    columns.add("padding", reader.remaining() as u64);
    finish_block(reader)?;
    has_invariants(&batch).map_err(|why| FormatError::Corrupt { what: WHAT, why })?;
    Ok((read, batch, columns))
}
