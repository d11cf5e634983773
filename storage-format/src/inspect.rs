//! What is in a segment, for people; and whether all of it is as it should be.

use std::fmt;
use std::ops::Range;

use roaring::RoaringBitmap;
use telemetry::{BatchCounts, TenantId};

use crate::error::FormatError;
use crate::footer::{Footer, Parsed, PartitionEntry, Signal};
use crate::fresh::decode_described;
use crate::tenant::{MetricsIndex, Postings, TenantFooter};
use crate::trailer::{End, HEADER_BYTES, SegmentKind, VERSION, check_header, find_footer};

/// Bytes by kind of column, in order of first mention.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnBytes(Vec<(&'static str, u64)>);

impl ColumnBytes {
    pub(crate) fn add(&mut self, name: &'static str, bytes: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => *sum += bytes,
            None => self.0.push((name, bytes)),
        }
    }

    /// Kind of column and its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().copied()
    }
}

/// What one partition of a fresh segment, or a whole tenant segment, holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDescription {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it holds.
    pub signal: Signal,
    /// Where it is in the object.
    pub range: Range<u64>,
    /// How much is in it.
    pub counts: BatchCounts,
    /// The earliest timestamp in it, ms; after the latest one when there is none.
    pub min_time_ms: i64,
    /// The latest timestamp in it, ms.
    pub max_time_ms: i64,
    /// What its bytes are spent on.
    pub columns: ColumnBytes,
}

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentDescription {
    /// What the segment is.
    pub kind: SegmentKind,
    /// The version of its format.
    pub version: u8,
    /// Length of the object in bytes.
    pub len_bytes: u64,
    /// Length of the footer in bytes.
    pub footer_bytes: u64,
    /// Its partitions; a tenant segment has one.
    pub partitions: Vec<PartitionDescription>,
}

/// Checks every checksum of a segment, decodes everything in it, and says what there is.
///
/// # Errors
/// The first [`FormatError`] found.
pub fn inspect(object: &[u8]) -> Result<SegmentDescription, FormatError> {
    let len_bytes = object.len() as u64;
    let End::Footer { kind, bytes, .. } = find_footer(object, len_bytes)? else {
        return Err(FormatError::NotASegment("its footer is longer than itself"));
    };
    check_header(&object[..HEADER_BYTES])?;
    let partitions = match kind {
        SegmentKind::Fresh => match Footer::parse(object, len_bytes)? {
            Parsed::Done(footer) => {
                footer.partitions().iter().map(|entry| describe_partition(entry, object)).collect()
            }
            Parsed::NeedSuffix(_) => Ok(Vec::new()),
        }?,
        SegmentKind::Tenant => match TenantFooter::parse(object, len_bytes)? {
            Parsed::Done(footer) => vec![describe_tenant_segment(&footer, object)?],
            Parsed::NeedSuffix(_) => Vec::new(),
        },
    };
    Ok(SegmentDescription { kind, version: VERSION, len_bytes, footer_bytes: bytes.len() as u64, partitions })
}

/// The bytes of a range, which a footer has checked to lie within the object.
fn part(object: &[u8], range: Range<u64>) -> &[u8] {
    object.get(range.start as usize..range.end as usize).unwrap_or_default()
}

fn describe_partition(entry: &PartitionEntry, object: &[u8]) -> Result<PartitionDescription, FormatError> {
    let (_, columns) = decode_described(entry, part(object, entry.range.clone()))?;
    Ok(PartitionDescription {
        tenant: entry.tenant.clone(),
        signal: entry.signal,
        range: entry.range.clone(),
        counts: entry.counts,
        min_time_ms: entry.min_time_ms,
        max_time_ms: entry.max_time_ms,
        columns,
    })
}

fn describe_tenant_segment(
    footer: &TenantFooter,
    object: &[u8],
) -> Result<PartitionDescription, FormatError> {
    let corrupt = |why| FormatError::Corrupt { what: "tenant segment", why };
    let index = MetricsIndex::parse(footer, part(object, footer.index_range()))?;
    let series: RoaringBitmap = (0..index.series_count()).collect();
    // Some hundred series at a time, so that memory is bounded by them and not by the segment.
    let mut counts = BatchCounts::default();
    let mut range = (i64::MAX, i64::MIN);
    let mut numbers = series.iter().peekable();
    while numbers.peek().is_some() {
        let some: RoaringBitmap = numbers.by_ref().take(SERIES_AT_A_TIME).collect();
        let blocks = index.blocks_for(&some, i64::MIN, i64::MAX, true);
        let fetched: Vec<_> =
            blocks.into_iter().map(|block| (block, part(object, block.section.range.clone()))).collect();
        let batch = index.read(&some, i64::MIN, i64::MAX, &fetched)?;
        let more = batch.counts();
        counts.series += more.series;
        counts.samples += more.samples;
        counts.exemplars += more.exemplars;
        if let Some((min_ms, max_ms)) = batch.time_range_ms() {
            range = (range.0.min(min_ms), range.1.max(max_ms));
        }
    }
    if counts != footer.counts || range != (footer.min_time_ms, footer.max_time_ms) {
        return Err(corrupt("not what the footer says"));
    }
    check_postings(footer, &index, object)?;

    let mut columns = ColumnBytes::default();
    for block in index.blocks() {
        columns.add(block.kind.as_str(), block.section.len_bytes());
    }
    for (name, section) in [
        ("label rows", &footer.rows),
        ("series times", &footer.series),
        ("block directory", &footer.directory),
        ("metadata", &footer.metadata),
    ] {
        columns.add(name, section.len_bytes());
    }
    for name in &footer.names {
        columns.add("dictionaries", name.dictionary.len_bytes());
        columns.add("postings", name.postings.len_bytes());
    }
    Ok(PartitionDescription {
        tenant: footer.tenant.clone(),
        signal: footer.signal,
        range: HEADER_BYTES as u64..footer.index_range().end,
        counts: footer.counts,
        min_time_ms: footer.min_time_ms,
        max_time_ms: footer.max_time_ms,
        columns,
    })
}

/// How many series are decoded together.
const SERIES_AT_A_TIME: usize = 512;

/// Checks that postings say of every series what its labels say.
fn check_postings(footer: &TenantFooter, index: &MetricsIndex, object: &[u8]) -> Result<(), FormatError> {
    for name in &footer.names {
        let bytes = part(object, name.postings.range.clone());
        let postings = Postings::parse(name, footer.counts.series, bytes)?;
        let mut with_name = 0;
        for (number, value) in (0_u32..).zip(index.label_values(&name.name)) {
            for series in &postings.of(number)? {
                with_name += 1;
                if index.labels(series)?.get(&name.name) != Some(value) {
                    return Err(FormatError::Corrupt {
                        what: "postings",
                        why: "a series with another label",
                    });
                }
            }
        }
        let expected = index.series_with(&name.name);
        if with_name != expected {
            return Err(FormatError::Corrupt { what: "postings", why: "not all series with the label" });
        }
    }
    Ok(())
}

impl fmt::Display for SegmentDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            SegmentKind::Fresh => "fresh",
            SegmentKind::Tenant => "tenant",
        };
        writeln!(
            f,
            "{kind} segment, format version {}: {} bytes, {} of them footer, {} partition(s)",
            self.version,
            self.len_bytes,
            self.footer_bytes,
            self.partitions.len()
        )?;
        self.partitions.iter().try_for_each(|partition| write!(f, "{partition}"))
    }
}

impl fmt::Display for PartitionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.range.end - self.range.start;
        writeln!(
            f,
            "{} {}: bytes {}..{} ({bytes})",
            self.tenant,
            self.signal.as_str(),
            self.range.start,
            self.range.end
        )?;
        writeln!(
            f,
            "  {} series, {} samples, {} exemplars",
            self.counts.series, self.counts.samples, self.counts.exemplars
        )?;
        if self.min_time_ms <= self.max_time_ms {
            writeln!(f, "  {} ms to {} ms since the Unix epoch", self.min_time_ms, self.max_time_ms)?;
        }
        for (name, column_bytes) in self.columns.iter().filter(|(_, bytes)| *bytes > 0) {
            write!(f, "  {name:<16} {column_bytes:>12} bytes")?;
            match self.counts.samples {
                0 => writeln!(f)?,
                samples => writeln!(f, " {:>9.3} a sample", column_bytes as f64 / samples as f64)?,
            }
        }
        Ok(())
    }
}
