//! Timestamps alone: what a ledger needs to know which samples a segment has.

use std::sync::Arc;

use telemetry::{Exemplar, Histogram, Omitted};

use super::directory::{Block, BlockKind};
use super::index::MetricsIndex;
use super::lists::read_lists;
use super::read::{read_exemplar_block, read_histogram_block, read_omitted_block};
use crate::error::FormatError;

/// Which timestamps a series' float samples have, as far as the index knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesTimes {
    /// The number of the list that they are in.
    pub list: u32,
    /// How many of that list come before.
    pub skip: u32,
    /// How many there are.
    pub count: u32,
    /// The earliest and the latest timestamp of the list, ms: exactly the series' own when it has the whole list.
    pub list_range_ms: (i64, i64),
    /// Whether the series has the whole list.
    pub whole: bool,
}

impl SeriesTimes {
    /// The series' own timestamps in its list.
    #[must_use]
    pub fn of<'a>(&self, list: &'a [i64]) -> &'a [i64] {
        list.get(self.skip as usize..self.skip as usize + self.count as usize).unwrap_or_default()
    }
}

impl MetricsIndex {
    /// Which timestamps the float samples of `series` have; `None` when there are none, or no such series.
    #[must_use]
    pub fn times_of(&self, series: u32) -> Option<SeriesTimes> {
        let part = self.parts.get(series as usize).filter(|part| part.count > 0)?;
        let info = &self.lists[part.list as usize];
        Some(SeriesTimes {
            list: part.list,
            skip: part.skip,
            count: part.count,
            list_range_ms: (info.first_ms, info.last_ms),
            whole: part.count == info.count,
        })
    }

    /// The timestamp lists of a block of them, from number `block.first` on.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn read_times(&self, block: &Block, bytes: &[u8]) -> Result<Vec<Vec<i64>>, FormatError> {
        check(block, BlockKind::Times, bytes)?;
        read_lists(bytes, self.lists_of(block))
    }
}

/// The native histograms in a block of them, as (series, timestamp in ms, histogram), ascending.
///
/// # Errors
/// Any [`FormatError`].
pub fn read_histograms(block: &Block, bytes: &[u8]) -> Result<Vec<(u32, i64, Arc<Histogram>)>, FormatError> {
    check(block, BlockKind::Histograms, bytes)?;
    read_histogram_block(block, bytes)
}

/// The exemplars in a block of them, as (series, exemplar), ascending.
///
/// # Errors
/// Any [`FormatError`].
pub fn read_exemplars(block: &Block, bytes: &[u8]) -> Result<Vec<(u32, Exemplar)>, FormatError> {
    check(block, BlockKind::Exemplars, bytes)?;
    read_exemplar_block(block, bytes)
}

/// What thinned series left out, in a block of it, as (series, row), ascending.
///
/// # Errors
/// Any [`FormatError`].
pub fn read_omitted(block: &Block, bytes: &[u8]) -> Result<Vec<(u32, Omitted)>, FormatError> {
    check(block, BlockKind::Omitted, bytes)?;
    read_omitted_block(block, bytes)
}

fn check(block: &Block, kind: BlockKind, bytes: &[u8]) -> Result<(), FormatError> {
    if block.kind != kind {
        return Err(FormatError::Corrupt { what: "data block", why: "another kind of block is needed" });
    }
    block.section.check("data block", bytes)
}
