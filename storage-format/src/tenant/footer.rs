//! The footer of a tenant segment: what it holds, and where the sections of its index are.

use std::ops::Range;

use telemetry::{BatchCounts, TenantId};

use crate::cursor::{Reader, put_signed, put_text, put_varint};
use crate::error::FormatError;
use crate::footer::{Parsed, Signal};
use crate::section::{LEAST_SECTION_BYTES, Section};
use crate::trailer::{End, HEADER_BYTES, SegmentKind, find_footer};

/// What [`TenantFooter::parse`] makes of a suffix.
pub type TenantFooterParse = Parsed<TenantFooter>;

/// What the index has about one label name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameSection {
    /// The name.
    pub name: String,
    /// How many values it has.
    pub values: u64,
    /// The values, in order of first occurrence.
    pub dictionary: Section,
    /// Which series have which value.
    pub postings: Section,
}

/// The footer of a tenant segment of metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantFooter {
    /// Whose segment it is.
    pub tenant: TenantId,
    /// What it holds.
    pub signal: Signal,
    /// How much is in it.
    pub counts: BatchCounts,
    /// The earliest timestamp in it, ms; `i64::MAX` when there is none.
    pub min_time_ms: i64,
    /// The latest timestamp in it, ms; `i64::MIN` when there is none.
    pub max_time_ms: i64,
    /// How many data blocks there are.
    pub blocks: u64,
    /// Which label names and values each series has, as numbers.
    pub rows: Section,
    /// Which timestamps each series has.
    pub series: Section,
    /// Where the data blocks are.
    pub directory: Section,
    /// Metadata of metrics.
    pub metadata: Section,
    /// How many metrics have metadata.
    pub metadata_count: u64,
    /// The label names, in the order in which `rows` numbers them.
    pub names: Vec<NameSection>,
}

impl TenantFooter {
    /// How long a suffix to read, in bytes, so that one request usually does.
    pub const SUFFIX_HINT_BYTES: u64 = 64 << 10;

    /// Where the whole index is: one read brings every section.
    #[must_use]
    pub fn index_range(&self) -> Range<u64> {
        let end = self.names.last().map_or(self.metadata.range.end, |name| name.postings.range.end);
        self.rows.range.start..end
    }

    /// What the index has about label `name`.
    #[must_use]
    pub fn name(&self, name: &str) -> Option<&NameSection> {
        self.names.iter().find(|section| section.name == name)
    }

    /// Reads the footer from the last bytes (`suffix`) of a tenant segment of `object_len` bytes.
    ///
    /// # Errors
    /// Any [`FormatError`]: the object is not a segment, of a later version, damaged, or a fresh segment.
    pub fn parse(suffix: &[u8], object_len: u64) -> Result<TenantFooterParse, FormatError> {
        match find_footer(suffix, object_len)? {
            End::NeedSuffix(bytes) => Ok(Parsed::NeedSuffix(bytes)),
            End::Footer { kind: SegmentKind::Tenant, bytes, start } => {
                Self::read(bytes, start).map(Parsed::Done)
            }
            End::Footer { .. } => {
                Err(FormatError::NotASegment("it is a fresh segment, not a tenant segment"))
            }
        }
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_text(out, self.tenant.as_str());
        out.push(self.signal as u8);
        for count in [self.counts.series, self.counts.samples, self.counts.exemplars] {
            put_varint(out, count);
        }
        put_signed(out, self.min_time_ms);
        put_signed(out, self.max_time_ms.wrapping_sub(self.min_time_ms));
        put_varint(out, self.blocks);
        put_varint(out, self.rows.range.start);
        for section in [&self.rows, &self.series, &self.directory, &self.metadata] {
            section.put(out);
        }
        put_varint(out, self.metadata_count);
        put_varint(out, self.names.len() as u64);
        for name in &self.names {
            put_text(out, &name.name);
            put_varint(out, name.values);
            name.dictionary.put(out);
            name.postings.put(out);
        }
    }

    fn read(bytes: &[u8], end: u64) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes, "footer");
        let tenant = TenantId::new(reader.text()?).map_err(|_| reader.corrupt("an impossible tenant id"))?;
        let signal =
            Signal::from_persisted(reader.u8()?).ok_or(reader.corrupt("a signal that does not exist"))?;
        let counts =
            BatchCounts { series: reader.varint()?, samples: reader.varint()?, exemplars: reader.varint()? };
        let min_time_ms = reader.signed()?;
        let max_time_ms = min_time_ms.wrapping_add(reader.signed()?);
        let timeless = counts.samples == 0 && counts.exemplars == 0;
        if timeless != (max_time_ms < min_time_ms) {
            return Err(reader.corrupt("an impossible time range"));
        }
        let blocks = reader.varint()?;
        let mut offset = reader.varint()?;
        if offset < HEADER_BYTES as u64 || offset > end {
            return Err(reader.corrupt("an index beyond the segment"));
        }
        let rows = Section::read(&mut reader, &mut offset, end)?;
        let series = Section::read(&mut reader, &mut offset, end)?;
        let directory = Section::read(&mut reader, &mut offset, end)?;
        let metadata = Section::read(&mut reader, &mut offset, end)?;
        let metadata_count = reader.varint()?;
        let name_count = reader.count(2 + 2 * LEAST_SECTION_BYTES)?;
        let mut names = Vec::with_capacity(name_count);
        for _ in 0..name_count {
            names.push(NameSection {
                name: reader.text()?.to_owned(),
                values: reader.varint()?,
                dictionary: Section::read(&mut reader, &mut offset, end)?,
                postings: Section::read(&mut reader, &mut offset, end)?,
            });
        }
        if offset != end {
            return Err(reader.corrupt("bytes that no section owns"));
        }
        reader.finish()?;
        Ok(Self {
            tenant,
            signal,
            counts,
            min_time_ms,
            max_time_ms,
            blocks,
            rows,
            series,
            directory,
            metadata,
            metadata_count,
            names,
        })
    }
}
