//! From columns to label sets.

use std::sync::Arc;

use telemetry::labels::push_canonical_pair;
use telemetry::{Labels, Series};

use super::{ENTRY_BYTES, SERIES_BYTES, SHAPE_BYTES, WHAT, corrupt_labels as corrupt};
use crate::cursor::{Budget, Reader};
use crate::error::FormatError;
use crate::frame::read_frame;
use crate::ids::IdReader;

/// The values of one label name, by id.
#[derive(Clone, Debug)]
pub(crate) struct Dictionary {
    /// All pairs in canonical form, one after the other.
    pairs: String,
    /// For each pair where its value begins and where it ends.
    bounds: Vec<(u32, u32)>,
}

impl Dictionary {
    /// Reads the `count` values of `name`.
    pub(crate) fn read(
        table: &mut Reader<'_>,
        name: &str,
        count: usize,
        budget: &mut Budget,
    ) -> Result<Self, FormatError> {
        budget.charge(WHAT, count as u64, ENTRY_BYTES)?;
        let mut lengths = table.clone();
        for _ in 0..count {
            table.varint()?;
        }
        let mut pairs = String::new();
        let mut bounds = Vec::with_capacity(count);
        for _ in 0..count {
            let value = table.bytes(lengths.size()?)?;
            let value = std::str::from_utf8(value).map_err(|_| corrupt("text that is not UTF-8"))?;
            // Two lengths of at most five digits and the texts.
            budget.charge(WHAT, (name.len() + value.len()) as u64, 1)?;
            push_canonical_pair(&mut pairs, name, value);
            let end = u32::try_from(pairs.len()).map_err(|_| corrupt("a dictionary that is too long"))?;
            bounds.push((end - value.len() as u32, end));
        }
        Ok(Self { pairs, bounds })
    }

    pub(crate) fn len(&self) -> usize {
        self.bounds.len()
    }

    /// Memory held, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.pairs.len() + size_of_val(self.bounds.as_slice())
    }

    pub(crate) fn value(&self, id: u32) -> &str {
        let (start, end) = self.bounds[id as usize];
        &self.pairs[start as usize..end as usize]
    }

    /// The pair in canonical form.
    pub(crate) fn pair(&self, id: u32) -> &str {
        let start = if id == 0 { 0 } else { self.bounds[id as usize - 1].1 };
        &self.pairs[start as usize..self.bounds[id as usize].1 as usize]
    }
}

/// Reads rows of name and value ids, without the dictionaries.
pub(crate) struct RowReader<'a> {
    pub(crate) names: Vec<&'a str>,
    /// How many values each name has.
    pub(crate) distinct: Vec<usize>,
    shapes: Vec<Vec<u32>>,
    shape_ids: IdReader<'a>,
    columns: Vec<IdReader<'a>>,
    /// For each name the value id of the last row that had it.
    current: Vec<u32>,
}

/// One row.
pub(crate) struct Row<'a> {
    /// The number of its shape.
    pub(crate) shape: u32,
    /// The numbers of its names; their values' ids are in `current`, by number of the name.
    pub(crate) names: &'a [u32],
    pub(crate) current: &'a [u32],
    /// The first difference from the row before, if that had the same shape: name, and its id before.
    first_change: Option<(u32, u32)>,
}

impl<'a> RowReader<'a> {
    /// Reads all but the dictionaries of a table of `rows` rows.
    pub(crate) fn new(table: &mut Reader<'a>, rows: usize, budget: &mut Budget) -> Result<Self, FormatError> {
        budget.charge(WHAT, rows as u64, SERIES_BYTES)?;
        let name_count = table.count(1)?;
        budget.charge(WHAT, name_count as u64, ENTRY_BYTES)?;
        let names: Vec<&str> = (0..name_count).map(|_| table.text()).collect::<Result<_, _>>()?;
        let shapes = read_shapes(table, name_count, budget)?;
        let mut read_ids = |table: &mut Reader<'a>, distinct| {
            budget.charge(WHAT, distinct as u64, size_of::<u32>())?;
            IdReader::new(table, distinct)
        };
        let shape_ids = read_ids(table, shapes.len())?;
        let mut columns = Vec::with_capacity(name_count);
        let mut distinct = Vec::with_capacity(name_count);
        for _ in 0..name_count {
            let count = table.count(1)?;
            distinct.push(count);
            columns.push(read_ids(table, count)?);
        }
        Ok(Self { names, distinct, shapes, shape_ids, columns, current: vec![0; name_count] })
    }

    /// The next row.
    pub(crate) fn next(&mut self) -> Result<Row<'_>, FormatError> {
        let (shape, reshaped) = self.shape_ids.next()?;
        let names = self.shapes[shape as usize].as_slice();
        let mut first_change = None;
        for &name in names {
            let (id, changed) = self.columns[name as usize].next()?;
            let current = &mut self.current[name as usize];
            if changed {
                if first_change.is_none() && !reshaped {
                    first_change = Some((name, *current));
                }
                *current = id;
            }
        }
        Ok(Row { shape, names, current: &self.current, first_change })
    }

    /// Checks that there are no more rows.
    pub(crate) fn finish(&self) -> Result<(), FormatError> {
        self.shape_ids.finish()?;
        self.columns.iter().try_for_each(IdReader::finish)
    }

    /// The names of each shape, as numbers.
    pub(crate) fn shapes(&self) -> &[Vec<u32>] {
        &self.shapes
    }

    pub(crate) fn into_shapes(self) -> Vec<Vec<u32>> {
        self.shapes
    }
}

impl Row<'_> {
    /// Appends the label set's canonical text, and says whether it is known to come after that of the row before: the
    /// first difference decides about two rows of one shape.
    pub(crate) fn write(
        &self,
        dictionaries: &[Dictionary],
        text: &mut String,
        budget: &mut Budget,
    ) -> Result<bool, FormatError> {
        for &name in self.names {
            text.push_str(dictionaries[name as usize].pair(self.current[name as usize]));
        }
        budget.charge(WHAT, text.len() as u64, 1)?;
        self.check_order(dictionaries)
    }

    /// Whether the set is known to come after that of the row before.
    pub(crate) fn check_order(&self, dictionaries: &[Dictionary]) -> Result<bool, FormatError> {
        match self.first_change {
            None => Ok(false),
            Some((name, before)) => {
                let dictionary = &dictionaries[name as usize];
                if dictionary.value(before) >= dictionary.value(self.current[name as usize]) {
                    return Err(corrupt("series that do not ascend"));
                }
                Ok(true)
            }
        }
    }
}

fn read_shapes(
    table: &mut Reader<'_>,
    names: usize,
    budget: &mut Budget,
) -> Result<Vec<Vec<u32>>, FormatError> {
    let count = table.count(1)?;
    budget.charge(WHAT, count as u64, SHAPE_BYTES)?;
    let mut shapes = Vec::with_capacity(count);
    for _ in 0..count {
        let length = table.count(1)?;
        budget.charge(WHAT, length as u64, SHAPE_BYTES)?;
        let mut shape = Vec::with_capacity(length);
        for _ in 0..length {
            let name = table.size()?;
            if name >= names {
                return Err(corrupt("a label name that does not exist"));
            }
            shape.push(name as u32);
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

/// A whole table: rows, and the dictionaries that they refer to.
pub(crate) struct LabelTable<'a> {
    pub(crate) rows: RowReader<'a>,
    pub(crate) dictionaries: Vec<Dictionary>,
}

impl<'a> LabelTable<'a> {
    /// Reads the table of `rows` label sets from the bytes of its frame.
    pub(crate) fn read(raw: &'a [u8], rows: usize, budget: &mut Budget) -> Result<Self, FormatError> {
        let mut table = Reader::new(raw, WHAT);
        let rows = RowReader::new(&mut table, rows, budget)?;
        let mut dictionaries = Vec::with_capacity(rows.names.len());
        for (name, count) in rows.names.iter().zip(&rows.distinct) {
            dictionaries.push(Dictionary::read(&mut table, name, *count, budget)?);
        }
        table.finish()?;
        Ok(Self { rows, dictionaries })
    }
}

/// Reads a whole table of `rows` label sets.
pub(crate) fn read_labels(
    reader: &mut Reader<'_>,
    rows: usize,
    budget: &mut Budget,
) -> Result<Vec<Arc<Series>>, FormatError> {
    let raw = read_frame(reader, WHAT, budget)?;
    let mut table = LabelTable::read(&raw, rows, budget)?;
    let mut series: Vec<Arc<Series>> = Vec::with_capacity(rows);
    let mut text = String::new();
    for _ in 0..rows {
        text.clear();
        let ordered = table.rows.next()?.write(&table.dictionaries, &mut text, budget)?;
        let labels = Labels::from_canonical(&text).map_err(|_| corrupt("an impossible label set"))?;
        if !ordered && series.last().is_some_and(|last| *last.labels() >= labels) {
            return Err(corrupt("series that do not ascend"));
        }
        series.push(Arc::new(Series::new(labels)));
    }
    table.rows.finish()?;
    Ok(series)
}
