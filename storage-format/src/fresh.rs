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
    let mut writer = FreshSegmentWriter::new()?;
    for partition in sorted {
        writer.push(partition.tenant, partition.metrics)?;
    }
    Ok(writer.finish())
}

/// Writes a fresh segment partition by partition, which come by ascending tenant.
///
/// Memory held: the bytes written, and columns of the partition at hand.
pub struct FreshSegmentWriter {
    out: Vec<u8>,
    block: BlockWriter,
    entries: Vec<PartitionEntry>,
}

impl std::fmt::Debug for FreshSegmentWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FreshSegmentWriter")
            .field("len_bytes", &self.out.len())
            .field("partitions", &self.entries.len())
            .finish_non_exhaustive()
    }
}

impl FreshSegmentWriter {
    /// A writer of an empty segment.
    ///
    /// # Errors
    /// [`EncodeError::Compression`] when there is no memory for a compressor.
    pub fn new() -> Result<Self, EncodeError> {
        let mut out = Vec::new();
        put_header(&mut out);
        Ok(Self { out, block: BlockWriter::new()?, entries: Vec::new() })
    }

    /// Adds the metrics of `tenant`. After an error the writer is of no more use.
    ///
    /// # Errors
    /// [`EncodeError`]: the tenant does not come after the one before, or a batch that breaks its invariants or is too
    /// large for one segment.
    pub fn push(&mut self, tenant: &TenantId, metrics: &MetricBatch) -> Result<(), EncodeError> {
        let start = self.out.len();
        partition::encode(metrics, &mut self.block)?;
        self.block.finish(&mut self.out);
        let bytes = &self.out[start..];
        if bytes.len() as u64 > MAX_PARTITION_BYTES {
            let (size, limit) = (bytes.len() as u64, MAX_PARTITION_BYTES);
            return Err(EncodeError::TooLarge { what: "a partition in bytes", size, limit });
        }
        let (min_time_ms, max_time_ms) = metrics.time_range_ms().unwrap_or((i64::MAX, i64::MIN));
        self.add(PartitionEntry {
            tenant: tenant.clone(),
            signal: Signal::Metrics,
            range: start as u64..self.out.len() as u64,
            counts: metrics.counts(),
            min_time_ms,
            max_time_ms,
            checksum: xxh3_64(bytes),
        })
    }

    /// Adds a partition of another segment as it is: `entry` is from that segment's footer, `bytes` are those of its range.
    /// They are checked against the entry, not decoded.
    ///
    /// # Errors
    /// [`CopyError`]: the bytes are not those of the entry, or the tenant does not come after the one before.
    pub fn copy(&mut self, entry: &PartitionEntry, bytes: &[u8]) -> Result<(), CopyError> {
        entry.check(bytes)?;
        let start = self.out.len();
        self.out.extend_from_slice(bytes);
        self.add(PartitionEntry { range: start as u64..self.out.len() as u64, ..entry.clone() })?;
        Ok(())
    }

    fn add(&mut self, entry: PartitionEntry) -> Result<(), EncodeError> {
        match self.entries.last() {
            Some(last) if (&last.tenant, last.signal) == (&entry.tenant, entry.signal) => {
                return Err(EncodeError::DuplicatePartition(entry.tenant.to_string()));
            }
            Some(last) if (&last.tenant, last.signal) > (&entry.tenant, entry.signal) => {
                return Err(EncodeError::InvalidBatch("tenants do not ascend"));
            }
            _ => {}
        }
        self.entries.push(entry);
        Ok(())
    }

    /// How long the object is so far, in bytes; the footer comes to it.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.out.len()
    }

    /// What is in it.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionEntry] {
        &self.entries
    }

    /// The whole object.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        let Self { mut out, entries, .. } = self;
        let footer_start = out.len();
        Footer::new(entries).put(&mut out);
        put_trailer(&mut out, footer_start, SegmentKind::Fresh);
        out
    }
}

/// Why a partition cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// The partition is damaged.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It does not fit where it should go.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Reads a whole partition; `bytes` are those of `entry.range`.
///
/// The batch keeps the invariants of [`MetricBatch`].
///
/// # Errors
/// Any [`FormatError`]: the bytes are not those that the footer means, or damaged.
pub fn decode_metrics_partition(entry: &PartitionEntry, bytes: &[u8]) -> Result<MetricBatch, FormatError> {
    decode_described(entry, bytes).map(|(batch, _)| batch)
}

/// As [`decode_metrics_partition`], with the bytes that each kind of column takes.
pub(crate) fn decode_described(
    entry: &PartitionEntry,
    bytes: &[u8],
) -> Result<(MetricBatch, ColumnBytes), FormatError> {
    entry.check_metrics(bytes)?;
    let (batch, columns) = partition::decode_measured(bytes)?;
    entry.check_content(batch.series.len(), &batch)?;
    Ok((batch, columns))
}
