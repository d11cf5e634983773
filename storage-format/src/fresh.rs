//! Fresh segments: what one flush holds, of one or many tenants, each in a partition of its own.

use telemetry::{MetricBatch, TenantId};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{EncodeError, FormatError};
use crate::footer::{Footer, PartitionEntry, Signal};
use crate::frame::BlockWriter;
use crate::inspect::ColumnBytes;
use crate::limits::MAX_PARTITION_BYTES;
use crate::partition;
use crate::trailer::{SegmentKind, put_header, put_trailer};

/// What goes into one partition.
#[derive(Clone, Copy, Debug)]
pub struct FreshPartition<'a> {
    /// Whose it is.
    pub tenant: &'a TenantId,
    /// What it holds.
    pub metrics: &'a MetricBatch,
}

/// Writes a fresh segment, the whole object. The partitions may come in any order, one a tenant.
///
/// The same input gives the same bytes.
///
/// # Errors
/// [`EncodeError`]: a tenant twice, or a batch that breaks its invariants or is too large for one segment.
pub fn encode_fresh(partitions: &[FreshPartition<'_>]) -> Result<Vec<u8>, EncodeError> {
    let mut sorted: Vec<&FreshPartition<'_>> = partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.tenant);
    let mut out = Vec::new();
    put_header(&mut out);
    let mut block = BlockWriter::new()?;
    let mut entries: Vec<PartitionEntry> = Vec::with_capacity(sorted.len());
    for partition in sorted {
        if entries.last().is_some_and(|last| last.tenant == *partition.tenant) {
            return Err(EncodeError::DuplicatePartition(partition.tenant.to_string()));
        }
        let start = out.len();
        partition::encode(partition.metrics, &mut block)?;
        block.finish(&mut out);
        let bytes = &out[start..];
        if bytes.len() as u64 > MAX_PARTITION_BYTES {
            let (size, limit) = (bytes.len() as u64, MAX_PARTITION_BYTES);
            return Err(EncodeError::TooLarge { what: "a partition in bytes", size, limit });
        }
        let (min_time_ms, max_time_ms) = partition.metrics.time_range_ms().unwrap_or((i64::MAX, i64::MIN));
        entries.push(PartitionEntry {
            tenant: partition.tenant.clone(),
            signal: Signal::Metrics,
            range: start as u64..out.len() as u64,
            counts: partition.metrics.counts(),
            min_time_ms,
            max_time_ms,
            checksum: xxh3_64(bytes),
        });
    }
    let footer_start = out.len();
    Footer::new(entries).put(&mut out);
    put_trailer(&mut out, footer_start, SegmentKind::Fresh);
    Ok(out)
}

/// Reads a whole partition; `bytes` are those of `entry.range`.
///
/// The batch keeps the invariants of [`MetricBatch`].
///
/// # Errors
/// Any [`FormatError`]: the bytes are not those that the footer means, or damaged.
pub fn decode_metrics_partition(entry: &PartitionEntry, bytes: &[u8]) -> Result<MetricBatch, FormatError> {
    if entry.signal != Signal::Metrics {
        return Err(FormatError::Corrupt { what: "partition", why: "it does not hold metrics" });
    }
    decode_described(entry, bytes).map(|(batch, _)| batch)
}

/// As [`decode_metrics_partition`], with the bytes that each kind of column takes.
pub(crate) fn decode_described(
    entry: &PartitionEntry,
    bytes: &[u8],
) -> Result<(MetricBatch, ColumnBytes), FormatError> {
    entry.check(bytes)?;
    let (batch, columns) = partition::decode_measured(bytes)?;
    let range = batch.time_range_ms().unwrap_or((i64::MAX, i64::MIN));
    if batch.counts() != entry.counts || range != (entry.min_time_ms, entry.max_time_ms) {
        return Err(FormatError::Corrupt { what: "partition", why: "not what the footer says" });
    }
    Ok((batch, columns))
}
