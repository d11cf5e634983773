//! The label table: label sets in ascending order, as dictionaries and columns of ids.
//!
//! For each label name there are a dictionary of its values, in order of first occurrence, and an id column over those
//! rows that have the name. Which names a row has (its *shape*) is an id column, too.

mod read;
mod write;

pub(crate) use read::{Dictionary, LabelTable, RowReader, read_labels};
pub(crate) use write::LabelWriter;

const WHAT: &str = "label table";

/// What a decoder holds for each series besides its text, in bytes.
const SERIES_BYTES: usize = 96;
/// What a decoder holds for each dictionary entry and each name besides its text, in bytes.
const ENTRY_BYTES: usize = 64;
/// What a decoder holds for each shape and for each name of a shape, in bytes.
const SHAPE_BYTES: usize = 24;

/// An error of the label table.
pub(crate) fn corrupt_labels(why: &'static str) -> crate::FormatError {
    crate::FormatError::Corrupt { what: WHAT, why }
}

#[cfg(test)]
mod tests;
