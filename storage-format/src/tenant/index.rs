//! The index of a tenant segment in memory: series, label values, and which blocks to read.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;
use telemetry::{Labels, Metadata};

use super::directory::{Block, BlockKind, read_directory};
use super::footer::{NameSection, TenantFooter};
use super::lists::{ListInfo, ListPart, read_series};
use crate::cursor::{Budget, Reader};
use crate::error::FormatError;
use crate::extras::read_metadata;
use crate::footer::Signal;
use crate::frame::{finish_block, read_frame};
use crate::labels::{Dictionary, RowReader};
use crate::section::Section;

const WHAT: &str = "index";

/// The index of a tenant segment of metrics, without the postings (see [`super::Postings`]).
///
/// Series are numbered from 0 in label order.
#[derive(Clone, Debug)]
pub struct MetricsIndex {
    pub(super) names: Vec<String>,
    pub(super) dictionaries: Vec<Dictionary>,
    pub(super) shapes: Vec<Vec<u32>>,
    /// For each series its shape, and where its value ids end in `ids`.
    pub(super) rows: Vec<(u32, u32)>,
    pub(super) ids: Vec<u32>,
    pub(super) lists: Vec<ListInfo>,
    pub(super) parts: Vec<ListPart>,
    blocks: Vec<Block>,
    metadata: BTreeMap<String, Metadata>,
}

impl MetricsIndex {
    /// Reads the index; `bytes` are those of [`TenantFooter::index_range`].
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn parse(footer: &TenantFooter, bytes: &[u8]) -> Result<Self, FormatError> {
        if footer.signal != Signal::Metrics {
            return Err(FormatError::Corrupt { what: WHAT, why: "it is not of metrics" });
        }
        let part = |section: &Section, what| slice(footer, bytes, section, what);
        let (lists, parts) = read_series(part(&footer.series, "series times")?, footer.counts.series)?;
        let index_start = footer.index_range().start;
        let blocks = read_directory(part(&footer.directory, "block directory")?, footer.blocks, index_start)?;
        check_blocks(&blocks, footer.counts.series, &lists)?;
        let metadata = part(&footer.metadata, "metadata")?;
        let mut budget = Budget::of(metadata.len());
        let mut reader = Reader::new(metadata, "metadata");
        let metadata = read_metadata(&mut reader, footer.metadata_count as usize, &mut budget)?;
        finish_block(reader)?;

        let mut index = Self {
            names: footer.names.iter().map(|section| section.name.clone()).collect(),
            dictionaries: Vec::with_capacity(footer.names.len()),
            shapes: Vec::new(),
            rows: Vec::new(),
            ids: Vec::new(),
            lists,
            parts,
            blocks,
            metadata,
        };
        for section in &footer.names {
            index.dictionaries.push(read_dictionary(section, part(&section.dictionary, "dictionary")?)?);
        }
        index.read_rows(part(&footer.rows, "label rows")?, footer.counts.series)?;
        Ok(index)
    }

    fn read_rows(&mut self, bytes: &[u8], series: u64) -> Result<(), FormatError> {
        const WHAT: &str = "label rows";
        let corrupt = |why| FormatError::Corrupt { what: WHAT, why };
        let mut budget = Budget::of(bytes.len());
        let mut outer = Reader::new(bytes, WHAT);
        let raw = read_frame(&mut outer, WHAT, &mut budget)?;
        finish_block(outer)?;
        let mut table = Reader::new(&raw, WHAT);
        let mut reader = RowReader::new(&mut table, series as usize, &mut budget)?;
        table.finish()?;
        if reader.names != self.names
            || !reader.distinct.iter().eq(self
                .dictionaries
                .iter()
                .map(|d| d.len())
                .collect::<Vec<_>>()
                .iter())
        {
            return Err(corrupt("names or values that the footer does not have"));
        }
        self.rows.reserve_exact(series as usize);
        for _ in 0..series {
            let row = reader.next()?;
            budget.charge(WHAT, row.names.len() as u64, size_of::<u32>())?;
            self.ids.extend(row.names.iter().map(|name| row.current[*name as usize]));
            let end = u32::try_from(self.ids.len()).map_err(|_| corrupt("too many labels"))?;
            self.rows.push((row.shape, end));
            let ordered = row.check_order(&self.dictionaries)?;
            if !ordered {
                self.shapes.resize_with(self.shapes.len().max(row.shape as usize + 1), Vec::new);
                self.shapes[row.shape as usize] = row.names.to_vec();
                let number = self.rows.len() as u32 - 1;
                let labels = self.labels(number)?;
                if number > 0 && self.labels(number - 1)? >= labels {
                    return Err(corrupt("series that do not ascend"));
                }
            }
        }
        reader.finish()?;
        self.shapes = reader.into_shapes();
        Ok(())
    }

    /// How many series there are.
    #[must_use]
    pub fn series_count(&self) -> u32 {
        self.rows.len() as u32
    }

    /// Memory held, in bytes, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let texts: usize = self.dictionaries.iter().map(Dictionary::memory_bytes).sum();
        texts
            + size_of_val(self.rows.as_slice())
            + size_of_val(self.ids.as_slice())
            + size_of_val(self.lists.as_slice())
            + size_of_val(self.parts.as_slice())
            + size_of_val(self.blocks.as_slice())
    }

    /// The labels of series `series`.
    ///
    /// # Errors
    /// [`FormatError::Corrupt`] when there is no such series, or its labels are impossible.
    pub fn labels(&self, series: u32) -> Result<Labels, FormatError> {
        let corrupt = |why| FormatError::Corrupt { what: WHAT, why };
        let series = series as usize;
        let &(shape, end) = self.rows.get(series).ok_or(corrupt("a series that does not exist"))?;
        let start = if series == 0 { 0 } else { self.rows[series - 1].1 };
        let ids = &self.ids[start as usize..end as usize];
        let mut text = String::new();
        for (name, id) in self.shapes[shape as usize].iter().zip(ids) {
            text.push_str(self.dictionaries[*name as usize].pair(*id));
        }
        Labels::from_canonical(&text).map_err(|_| corrupt("an impossible label set"))
    }

    /// How many series have label `name`.
    #[must_use]
    pub fn series_with(&self, name: &str) -> u64 {
        let Some(number) = self.names.iter().position(|candidate| candidate == name) else { return 0 };
        let has: Vec<bool> = self.shapes.iter().map(|shape| shape.contains(&(number as u32))).collect();
        self.rows.iter().filter(|(shape, _)| has[*shape as usize]).count() as u64
    }

    /// All label names, in no particular order.
    pub fn label_names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The values of label `name` by their numbers from 0, in order of first occurrence.
    pub fn label_values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let found = self.names.iter().position(|candidate| candidate == name);
        let dictionary = found.map(|number| &self.dictionaries[number]);
        dictionary
            .into_iter()
            .flat_map(|dictionary| (0..dictionary.len() as u32).map(|id| dictionary.value(id)))
    }

    /// Metadata of metrics by name.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, Metadata> {
        &self.metadata
    }

    /// All data blocks, in the order of their bytes.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The blocks that hold samples of `series` (and exemplars, if wanted) in `start_ms..=end_ms`, in the order of their
    /// bytes.
    #[must_use]
    pub fn blocks_for(
        &self,
        series: &RoaringBitmap,
        start_ms: i64,
        end_ms: i64,
        with_exemplars: bool,
    ) -> Vec<&Block> {
        let mut lists = RoaringBitmap::new();
        for number in series {
            let Some(part) = self.parts.get(number as usize) else { continue };
            let info = &self.lists[part.list as usize];
            if part.count > 0 && info.first_ms <= end_ms && info.last_ms >= start_ms {
                lists.insert(part.list);
            }
        }
        let wanted = |block: &&Block| {
            let numbers = match block.kind {
                BlockKind::Times => &lists,
                BlockKind::Values | BlockKind::Histograms => series,
                BlockKind::Exemplars if with_exemplars => series,
                BlockKind::Exemplars | BlockKind::Omitted => return false,
            };
            block.overlaps(start_ms, end_ms) && numbers.range_cardinality(block.first..=block.last) > 0
        };
        self.blocks.iter().filter(wanted).collect()
    }
}

/// Reads the values of a label name alone; `bytes` are those of [`NameSection::dictionary`].
pub(super) fn read_dictionary(section: &NameSection, bytes: &[u8]) -> Result<Dictionary, FormatError> {
    const WHAT: &str = "dictionary";
    section.dictionary.check(WHAT, bytes)?;
    let mut budget = Budget::of(bytes.len());
    let mut outer = Reader::new(bytes, WHAT);
    let raw = read_frame(&mut outer, WHAT, &mut budget)?;
    finish_block(outer)?;
    let mut reader = Reader::new(&raw, WHAT);
    let count = usize::try_from(section.values).unwrap_or(usize::MAX);
    let dictionary = Dictionary::read(&mut reader, &section.name, count, &mut budget)?;
    reader.finish()?;
    Ok(dictionary)
}

impl NameSection {
    /// The values of the label, in order of first occurrence, from the dictionary's bytes alone.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn values(&self, bytes: &[u8]) -> Result<Vec<String>, FormatError> {
        let dictionary = read_dictionary(self, bytes)?;
        Ok((0..dictionary.len() as u32).map(|id| dictionary.value(id).to_owned()).collect())
    }
}

fn slice<'a>(
    footer: &TenantFooter,
    bytes: &'a [u8],
    section: &Section,
    what: &'static str,
) -> Result<&'a [u8], FormatError> {
    let start = (section.range.start - footer.index_range().start) as usize;
    let end = (section.range.end - footer.index_range().start) as usize;
    let part = bytes.get(start..end).ok_or(FormatError::Corrupt { what, why: "cut short" })?;
    section.check(what, part)?;
    Ok(part)
}

/// Checks that blocks speak of series and lists that exist, each at most once.
fn check_blocks(blocks: &[Block], series: u64, lists: &[ListInfo]) -> Result<(), FormatError> {
    let corrupt = |why| Err(FormatError::Corrupt { what: "block directory", why });
    let mut next_list = 0;
    for block in blocks {
        if block.kind == BlockKind::Times {
            if block.first != next_list || block.last as usize >= lists.len() {
                return corrupt("timestamp lists out of order");
            }
            next_list = block.last + 1;
        } else if u64::from(block.last) >= series {
            return corrupt("a series that does not exist");
        }
    }
    if next_list as usize != lists.len() {
        return corrupt("timestamp lists without a block");
    }
    Ok(())
}
