//! The label table: label sets in ascending order, as dictionaries and columns of ids.
//!
//! For each label name there are a dictionary of its values, in order of first occurrence, and an id column over those
//! rows that have the name. Which names a row has (its shape) is an id column, too.

use std::sync::Arc;

use hashbrown::HashMap;
use telemetry::labels::{push_canonical_pair, split_canonical_pair};
use telemetry::{Labels, METRIC_NAME, Series};

use crate::cursor::{Budget, Reader, put_text, put_varint};
use crate::error::{EncodeError, FormatError};
use crate::frame::{BlockWriter, read_frame};
use crate::ids::{IdReader, IdWriter};

/// What a decoder holds for each series besides its text, in bytes.
const SERIES_BYTES: usize = 96;
/// What a decoder holds for each dictionary entry besides its text, in bytes.
const ENTRY_BYTES: usize = 48;
/// What a decoder holds for each name of a shape, in bytes.
const SHAPE_NAME_BYTES: usize = 8;

const BAD_ORDER: EncodeError = EncodeError::InvalidBatch("series are not in strictly ascending order");

/// All rows of one label name.
struct NameColumn<'a> {
    name: &'a str,
    /// Pairs in canonical form, by id.
    pairs: Vec<&'a str>,
    values: Vec<&'a str>,
    ids: HashMap<&'a str, u32>,
    column: IdWriter,
    /// Rows that have the name, before the current shape began.
    rows: u32,
}

impl<'a> NameColumn<'a> {
    fn new(name: &'a str) -> Self {
        Self {
            name,
            pairs: Vec::new(),
            values: Vec::new(),
            ids: HashMap::new(),
            column: IdWriter::default(),
            rows: 0,
        }
    }

    fn id_of(&mut self, pair: &'a str, value: &'a str) -> u32 {
        let next = self.pairs.len() as u32;
        let id = *self.ids.entry(value).or_insert(next);
        if id == next {
            self.pairs.push(pair);
            self.values.push(value);
        }
        id
    }
}

/// Collects label sets, which come in strictly ascending order.
#[derive(Default)]
pub(crate) struct LabelWriter<'a> {
    names: Vec<NameColumn<'a>>,
    name_ids: HashMap<&'a str, u32>,
    shapes: Vec<Vec<u32>>,
    shape_ids: HashMap<Vec<u32>, u32>,
    shape_column: IdWriter,
    /// The pairs of the row before: name id and canonical text.
    row: Vec<(u32, &'a str)>,
    rows: u32,
    shape_start: u32,
    text_bytes: u64,
    /// The id of the name `__name__`.
    metric: Option<u32>,
    /// For each metric the end of its rows; the last one is not there yet.
    metric_ends: Vec<u32>,
}

impl<'a> LabelWriter<'a> {
    /// Adds the next label set. The cost lies in the pairs that differ from those of the set before: equal pairs are
    /// compared as canonical text, and changed ones usually are what followed the old one the last time.
    pub(crate) fn push(&mut self, labels: &'a Labels) -> Result<(), EncodeError> {
        let mut rest = labels.as_canonical();
        self.text_bytes += rest.len() as u64;
        let mut ordered = self.rows == 0;
        let mut done = 0;
        while let Some((name, pair)) = self.row.get_mut(done) {
            if let Some(after) = rest.strip_prefix(*pair) {
                rest = after;
                done += 1;
                continue;
            }
            let column = &mut self.names[*name as usize];
            let at = column.rows + (self.rows - self.shape_start);
            let guess = column.column.guess().map(|id| (id, column.pairs[id as usize]));
            let (id, new_pair, after) =
                match guess.and_then(|(id, text)| Some((id, text, rest.strip_prefix(text)?))) {
                    Some(guessed) => guessed,
                    None => {
                        let Some((new_name, value, after)) = split_canonical_pair(rest) else { break };
                        if new_name != column.name {
                            break;
                        }
                        let new_pair = &rest[..rest.len() - after.len()];
                        (column.id_of(new_pair, value), new_pair, after)
                    }
                };
            if !ordered {
                let before = column.column.current().map(|id| column.values[id as usize]);
                if before >= Some(column.values[id as usize]) {
                    return Err(BAD_ORDER);
                }
                ordered = true;
            }
            if column.column.current() != Some(id) && self.metric == Some(*name) {
                self.metric_ends.push(self.rows);
            }
            column.column.change(at, id);
            *pair = new_pair;
            rest = after;
            done += 1;
        }
        if done < self.row.len() || !rest.is_empty() || self.rows == 0 {
            self.reshape(done, rest, ordered)?;
        } else if !ordered {
            return Err(BAD_ORDER);
        }
        self.rows += 1;
        Ok(())
    }

    /// Gives the current row a new shape: its first `done` pairs are there, `rest` has the others.
    fn reshape(&mut self, done: usize, mut rest: &'a str, ordered: bool) -> Result<(), EncodeError> {
        let in_shape = self.rows - self.shape_start;
        for (name, _) in &self.row {
            self.names[*name as usize].rows += in_shape;
        }
        self.shape_start = self.rows;
        if !ordered {
            let before = self.row.get(done).map(|(name, _)| self.names[*name as usize].name);
            let now = split_canonical_pair(rest).map(|(name, ..)| name);
            if before >= now {
                return Err(BAD_ORDER);
            }
        }
        let metric_before = self.metric_pair();
        self.row.truncate(done);
        while let Some((name, value, after)) = split_canonical_pair(rest) {
            let pair = &rest[..rest.len() - after.len()];
            let next = self.names.len() as u32;
            let id = *self.name_ids.entry(name).or_insert(next);
            if id == next {
                self.names.push(NameColumn::new(name));
                if name == METRIC_NAME {
                    self.metric = Some(id);
                }
            }
            let column = &mut self.names[id as usize];
            let value_id = column.id_of(pair, value);
            column.column.change(column.rows, value_id);
            self.row.push((id, pair));
            rest = after;
        }
        if self.rows > 0 && metric_before != self.metric_pair() {
            self.metric_ends.push(self.rows);
        }
        let shape: Vec<u32> = self.row.iter().map(|(name, _)| *name).collect();
        let next = self.shapes.len() as u32;
        let id = *self.shape_ids.entry(shape.clone()).or_insert(next);
        if id == next {
            self.shapes.push(shape);
        }
        self.shape_column.change(self.rows, id);
        Ok(())
    }

    /// The pair of the row at hand that says its metric.
    fn metric_pair(&self) -> Option<&'a str> {
        self.row.iter().find(|(name, _)| Some(*name) == self.metric).map(|(_, pair)| *pair)
    }

    /// For each metric the end of its rows, in order. Rows without a metric name go together.
    pub(crate) fn metric_ends(&self) -> Vec<u32> {
        let mut ends = self.metric_ends.clone();
        ends.push(self.rows);
        ends
    }

    /// Appends the table to `block`.
    pub(crate) fn put(&mut self, block: &mut BlockWriter) -> Result<(), EncodeError> {
        let in_shape = self.rows - self.shape_start;
        for (name, _) in &self.row {
            self.names[*name as usize].rows += in_shape;
        }
        let mut raw = Vec::new();
        put_varint(&mut raw, self.names.len() as u64);
        for column in &self.names {
            put_text(&mut raw, column.name);
        }
        put_varint(&mut raw, self.shapes.len() as u64);
        for shape in &self.shapes {
            put_varint(&mut raw, shape.len() as u64);
            for name in shape {
                put_varint(&mut raw, u64::from(*name));
            }
        }
        self.shape_column.put(self.rows, &mut raw);
        for column in &self.names {
            put_varint(&mut raw, column.values.len() as u64);
            for value in &column.values {
                put_varint(&mut raw, value.len() as u64);
            }
            for value in &column.values {
                raw.extend_from_slice(value.as_bytes());
            }
            column.column.put(column.rows, &mut raw);
        }
        let entries: usize = self.names.iter().map(|column| column.pairs.len() + 1).sum();
        let pairs_bytes: usize =
            self.names.iter().flat_map(|column| &column.pairs).map(|pair| pair.len()).sum();
        let shape_names: usize = self.shapes.iter().map(|shape| shape.len() + 3).sum();
        block.memory += u64::from(self.rows) * SERIES_BYTES as u64
            + self.text_bytes
            + (entries * ENTRY_BYTES + pairs_bytes + shape_names * SHAPE_NAME_BYTES) as u64;
        block.put_frame(&raw)
    }
}

/// A label name's dictionary and column, while rows are read.
struct NameReader<'a> {
    values: Vec<&'a str>,
    /// All pairs in canonical form, one after the other.
    pairs: String,
    pair_ends: Vec<u32>,
    ids: IdReader<'a>,
    /// Id of the value in the last row that had the name.
    current: u32,
}

impl NameReader<'_> {
    fn pair(&self, id: u32) -> &str {
        let id = id as usize;
        let start = if id == 0 { 0 } else { self.pair_ends[id - 1] as usize };
        &self.pairs[start..self.pair_ends[id] as usize]
    }
}

/// Reads a table of `rows` label sets.
pub(crate) fn read_labels(
    reader: &mut Reader<'_>,
    rows: usize,
    budget: &mut Budget,
) -> Result<Vec<Arc<Series>>, FormatError> {
    const WHAT: &str = "label table";
    budget.charge(WHAT, rows as u64, SERIES_BYTES)?;
    let raw = read_frame(reader, WHAT, budget)?;
    let mut table = Reader::new(&raw, WHAT);
    let name_count = table.count(1)?;
    budget.charge(WHAT, name_count as u64, ENTRY_BYTES)?;
    let names: Vec<&str> = (0..name_count).map(|_| table.text()).collect::<Result<_, _>>()?;
    if names.iter().any(|name| name.is_empty()) {
        return Err(table.corrupt("an empty label name"));
    }
    let shapes = read_shapes(&mut table, &names, budget)?;
    let mut shape_ids = IdReader::new(&mut table, shapes.len())?;
    let mut columns: Vec<NameReader<'_>> = Vec::with_capacity(name_count);
    for name in names {
        columns.push(read_column(&mut table, name, budget)?);
    }
    table.finish()?;

    let corrupt = |why| FormatError::Corrupt { what: WHAT, why };
    let mut series: Vec<Arc<Series>> = Vec::with_capacity(rows);
    let mut text = String::new();
    for row in 0..rows {
        let (shape, reshaped) = shape_ids.next()?;
        text.clear();
        let mut ordered = false;
        for &name in &shapes[shape as usize] {
            let column = &mut columns[name as usize];
            let (id, changed) = column.ids.next()?;
            if changed && !ordered && !reshaped {
                // The first difference decides the order of two rows of one shape.
                if column.values[column.current as usize] >= column.values[id as usize] {
                    return Err(corrupt("series that do not ascend"));
                }
                ordered = true;
            }
            column.current = id;
            text.push_str(column.pair(id));
        }
        budget.charge(WHAT, text.len() as u64, 1)?;
        let labels = Labels::from_canonical(&text).map_err(|_| corrupt("an impossible label set"))?;
        if !ordered && row > 0 && series.last().is_some_and(|last| *last.labels() >= labels) {
            return Err(corrupt("series that do not ascend"));
        }
        series.push(Arc::new(Series::new(labels)));
    }
    shape_ids.finish()?;
    columns.iter().try_for_each(|column| column.ids.finish())?;
    Ok(series)
}

fn read_shapes(
    table: &mut Reader<'_>,
    names: &[&str],
    budget: &mut Budget,
) -> Result<Vec<Vec<u32>>, FormatError> {
    let count = table.count(1)?;
    budget.charge("label table", count as u64 * 3, SHAPE_NAME_BYTES)?;
    let mut shapes = Vec::with_capacity(count);
    for _ in 0..count {
        let length = table.count(1)?;
        budget.charge("label table", length as u64, SHAPE_NAME_BYTES)?;
        let mut shape = Vec::with_capacity(length);
        for _ in 0..length {
            let name = table.size()?;
            if name >= names.len() {
                return Err(table.corrupt("a label name that does not exist"));
            }
            shape.push(name as u32);
        }
        shapes.push(shape);
    }
    Ok(shapes)
}

fn read_column<'a>(
    table: &mut Reader<'a>,
    name: &'a str,
    budget: &mut Budget,
) -> Result<NameReader<'a>, FormatError> {
    let count = table.count(2)?;
    budget.charge("label table", count as u64, ENTRY_BYTES)?;
    let mut lengths = Vec::with_capacity(count);
    for _ in 0..count {
        lengths.push(table.count(1)?);
    }
    let mut values = Vec::with_capacity(count);
    let mut pairs = String::new();
    let mut pair_ends = Vec::with_capacity(count);
    for length in lengths {
        let value =
            std::str::from_utf8(table.bytes(length)?).map_err(|_| table.corrupt("text that is not UTF-8"))?;
        let before = pairs.len();
        push_canonical_pair(&mut pairs, name, value);
        budget.charge("label table", (pairs.len() - before) as u64, 1)?;
        values.push(value);
        pair_ends
            .push(u32::try_from(pairs.len()).map_err(|_| table.corrupt("a dictionary that is too long"))?);
    }
    let ids = IdReader::new(table, count)?;
    Ok(NameReader { values, pairs, pair_ends, ids, current: 0 })
}
