//! The footer of a fresh segment: whose partitions are where.

use std::ops::Range;

use telemetry::{BatchCounts, MetricBatch, TenantId};
use xxhash_rust::xxh3::xxh3_64;

use crate::cursor::{Reader, put_signed, put_text, put_varint};
use crate::error::FormatError;
use crate::limits::MAX_PARTITION_BYTES;
use crate::trailer::{End, HEADER_BYTES, SegmentKind, find_footer};

/// What kind of telemetry a partition or a tenant segment holds. The numbers are persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Samples, histograms, exemplars, metadata.
    Metrics = 1,
    /// Spans.
    Traces = 2,
}

impl Signal {
    /// The name in object keys and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }

    pub(crate) fn from_persisted(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Metrics),
            2 => Some(Self::Traces),
            _ => None,
        }
    }
}

/// One partition of a fresh segment: what one tenant has of one signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionEntry {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it holds.
    pub signal: Signal,
    /// Where its bytes are in the object.
    pub range: Range<u64>,
    /// How much is in it.
    pub counts: BatchCounts,
    /// The earliest timestamp in it, ms; `i64::MAX` when there is none (metadata alone), so that no time overlaps.
    pub min_time_ms: i64,
    /// The latest timestamp in it, ms; `i64::MIN` when there is none.
    pub max_time_ms: i64,
    /// xxh3-64 of its bytes.
    pub checksum: u64,
}

impl PartitionEntry {
    /// Whether a sample of the partition can lie in `start_ms..=end_ms`.
    #[must_use]
    pub fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.min_time_ms <= end_ms && self.max_time_ms >= start_ms
    }

    /// Checks that `bytes` are this partition's, and that it is one of metrics.
    pub(crate) fn check_metrics(&self, bytes: &[u8]) -> Result<(), FormatError> {
        if self.signal != Signal::Metrics {
            return Err(FormatError::Corrupt { what: "partition", why: "it does not hold metrics" });
        }
        self.check(bytes)
    }

    /// Checks that the columns of `batch`, with so many series, are what the footer says.
    pub(crate) fn check_content(&self, series: usize, batch: &MetricBatch) -> Result<(), FormatError> {
        let counts = BatchCounts { series: series as u64, ..batch.counts() };
        let range = batch.time_range_ms().unwrap_or((i64::MAX, i64::MIN));
        if counts != self.counts || range != (self.min_time_ms, self.max_time_ms) {
            return Err(FormatError::Corrupt { what: "partition", why: "not what the footer says" });
        }
        Ok(())
    }

    /// Checks that `bytes` are this partition's.
    pub(crate) fn check(&self, bytes: &[u8]) -> Result<(), FormatError> {
        if bytes.len() as u64 != self.range.end - self.range.start {
            return Err(FormatError::Corrupt { what: "partition", why: "not as long as the footer says" });
        }
        let found = xxh3_64(bytes);
        if found != self.checksum {
            return Err(FormatError::Checksum { what: "partition", expected: self.checksum, found });
        }
        Ok(())
    }
}

/// The footer of a fresh segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    partitions: Vec<PartitionEntry>,
}

/// What parsing a suffix makes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed<T> {
    /// The whole footer.
    Done(T),
    /// The suffix was too short: read the last so many bytes of the object.
    NeedSuffix(u64),
}

/// What [`Footer::parse`] makes of a suffix.
pub type FooterParse = Parsed<Footer>;

/// No entry of the footer is shorter, in bytes.
const LEAST_ENTRY_BYTES: usize = 17;

impl Footer {
    /// How long a suffix to read, in bytes, so that one request usually does: the footer of a thousand partitions.
    pub const SUFFIX_HINT_BYTES: u64 = 64 << 10;

    pub(crate) fn new(partitions: Vec<PartitionEntry>) -> Self {
        Self { partitions }
    }

    /// The partitions, by ascending tenant and signal; their ranges lie in the same order.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionEntry] {
        &self.partitions
    }

    /// What `tenant` has of `signal`.
    #[must_use]
    pub fn find(&self, tenant: &TenantId, signal: Signal) -> Option<&PartitionEntry> {
        let found = self
            .partitions
            .binary_search_by(|entry| (&entry.tenant, entry.signal).cmp(&(tenant, signal)))
            .ok()?;
        self.partitions.get(found)
    }

    /// Reads the footer from the last bytes (`suffix`) of a fresh segment of `object_len` bytes.
    ///
    /// # Errors
    /// Any [`FormatError`]: the object is not a segment, of a later version, damaged, or a tenant segment.
    pub fn parse(suffix: &[u8], object_len: u64) -> Result<FooterParse, FormatError> {
        match find_footer(suffix, object_len)? {
            End::NeedSuffix(bytes) => Ok(FooterParse::NeedSuffix(bytes)),
            End::Footer { kind: SegmentKind::Fresh, bytes, start } => {
                Self::read(bytes, start).map(FooterParse::Done)
            }
            End::Footer { .. } => Err(FormatError::NotASegment("it is a tenant segment, not a fresh one")),
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.partitions.len() as u64);
        for entry in &self.partitions {
            put_text(out, entry.tenant.as_str());
            out.push(entry.signal as u8);
            put_varint(out, entry.range.end - entry.range.start);
            put_varint(out, entry.counts.series);
            put_varint(out, entry.counts.samples);
            put_varint(out, entry.counts.exemplars);
            put_signed(out, entry.min_time_ms);
            // Wrapping, so that the whole range of times has a form.
            put_signed(out, entry.max_time_ms.wrapping_sub(entry.min_time_ms));
            out.extend_from_slice(&entry.checksum.to_le_bytes());
        }
    }

    fn read(bytes: &[u8], end: u64) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, "footer");
        let count = reader.count(LEAST_ENTRY_BYTES)?;
        let mut partitions: Vec<PartitionEntry> = Vec::with_capacity(count);
        let mut offset = HEADER_BYTES as u64;
        for _ in 0..count {
            let tenant =
                TenantId::new(reader.text()?).map_err(|_| reader.corrupt("an impossible tenant id"))?;
            let signal =
                Signal::from_persisted(reader.u8()?).ok_or(reader.corrupt("a signal that does not exist"))?;
            let length = reader.varint()?;
            if length > MAX_PARTITION_BYTES || length > end - offset {
                return Err(reader.corrupt("a partition beyond the segment"));
            }
            let range = offset..offset + length;
            offset = range.end;
            let counts = BatchCounts {
                series: reader.varint()?,
                samples: reader.varint()?,
                exemplars: reader.varint()?,
            };
            let min_time_ms = reader.signed()?;
            let max_time_ms = min_time_ms.wrapping_add(reader.signed()?);
            let timeless = counts.samples == 0 && counts.exemplars == 0;
            if timeless != (max_time_ms < min_time_ms) {
                return Err(reader.corrupt("an impossible time range"));
            }
            let checksum = reader.u64()?;
            if partitions.last().is_some_and(|last| (&last.tenant, last.signal) >= (&tenant, signal)) {
                return Err(reader.corrupt("partitions that do not ascend"));
            }
            partitions.push(PartitionEntry {
                tenant,
                signal,
                range,
                counts,
                min_time_ms,
                max_time_ms,
                checksum,
            });
        }
        if offset != end {
            return Err(reader.corrupt("bytes that no partition owns"));
        }
        reader.finish()?;
        Ok(Self { partitions })
    }
}
