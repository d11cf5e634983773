//! Looking labels up for series that were selected, and decoding values block by block: what a query asks of an index.

use roaring::RoaringBitmap;

use super::directory::{Block, BlockKind};
use super::index::MetricsIndex;
use super::read::ValueBlock;
use crate::error::FormatError;
use crate::labels::Dictionary;

/// The values of one label name, by their numbers from 0, in order of first occurrence.
#[derive(Clone, Copy, Debug)]
pub struct LabelValues<'a>(&'a Dictionary);

impl<'a> LabelValues<'a> {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.0.len() as u32
    }

    /// Value number `number`, which must be less than [`Self::count`].
    #[must_use]
    pub fn value(&self, number: u32) -> &'a str {
        self.0.value(number)
    }

    /// All of them, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &'a str)> + use<'a> {
        let dictionary = self.0;
        (0..dictionary.len() as u32).map(|number| (number, dictionary.value(number)))
    }
}

/// A decoded block of values.
#[derive(Debug)]
pub struct DecodedValues(ValueBlock);

impl DecodedValues {
    /// The values of series `series` in this block, and how many of its values are in blocks before; `None` when the block
    /// is not of this series.
    #[must_use]
    pub fn of(&self, series: u32) -> Option<(u32, &[f64])> {
        self.0.of(series)
    }

    /// Memory held, in bytes, about.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }
}

impl MetricsIndex {
    /// Decodes a block of values.
    ///
    /// # Errors
    /// Any [`FormatError`].
    pub fn read_values(&self, block: &Block, bytes: &[u8]) -> Result<DecodedValues, FormatError> {
        if block.kind != BlockKind::Values {
            return Err(FormatError::Corrupt { what: "data block", why: "another kind of block is needed" });
        }
        block.section.check("data block", bytes)?;
        self.read_value_block(block, bytes).map(DecodedValues)
    }

    /// The values of the label name that has number `name` in [`super::TenantFooter::names`].
    #[must_use]
    pub fn values_by_number(&self, name: usize) -> Option<LabelValues<'_>> {
        self.dictionaries.get(name).map(LabelValues)
    }

    /// Whether every series has the label name that has number `name` in [`super::TenantFooter::names`].
    #[must_use]
    pub fn all_have(&self, name: usize) -> bool {
        self.shapes.iter().all(|shape| shape.iter().any(|number| *number as usize == name))
    }

    /// The label names that series of `series` have for which `counts` holds, each once.
    #[must_use]
    pub fn names_of(&self, series: impl IntoIterator<Item = u32>, counts: impl Fn(u32) -> bool) -> Vec<&str> {
        let mut shapes = vec![false; self.shapes.len()];
        for series in series {
            let Some((shape, _)) = self.rows.get(series as usize) else { continue };
            let has = &mut shapes[*shape as usize];
            *has = *has || counts(series);
        }
        let mut names = vec![false; self.names.len()];
        for (shape, _) in self.shapes.iter().zip(shapes).filter(|(_, has)| *has) {
            shape.iter().for_each(|name| names[*name as usize] = true);
        }
        self.names.iter().zip(names).filter(|(_, has)| *has).map(|(name, _)| name.as_str()).collect()
    }

    /// The values of label `name` that series of `series` have, each once.
    #[must_use]
    pub fn values_of(&self, name: &str, series: &RoaringBitmap) -> Vec<&str> {
        let Some(number) = self.names.iter().position(|candidate| candidate == name) else {
            return Vec::new();
        };
        let dictionary = &self.dictionaries[number];
        let place_in: Vec<Option<usize>> = self
            .shapes
            .iter()
            .map(|shape| shape.iter().position(|candidate| *candidate as usize == number))
            .collect();
        let mut values = vec![false; dictionary.len()];
        for series in series.iter().map(|series| series as usize) {
            let Some(&(shape, _)) = self.rows.get(series) else { continue };
            let start = if series == 0 { 0 } else { self.rows[series - 1].1 };
            if let Some(place) = place_in[shape as usize] {
                values[self.ids[start as usize + place] as usize] = true;
            }
        }
        let values = values.iter().enumerate().filter(|(_, has)| **has);
        values.map(|(id, _)| dictionary.value(id as u32)).collect()
    }
}
