//! From label sets to columns.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use hashbrown::HashMap;
use telemetry::labels::split_canonical_pair;
use telemetry::{Labels, METRIC_NAME};

use super::{ENTRY_BYTES, SERIES_BYTES, SHAPE_BYTES};
use crate::cursor::{put_text, put_varint};
use crate::error::EncodeError;
use crate::frame::BlockWriter;
use crate::ids::IdWriter;

const BAD_ORDER: EncodeError = EncodeError::InvalidBatch("series are not in strictly ascending order");

/// How dictionary text is kept: borrowed where the label sets stay, shared where they only pass by.
pub(crate) trait Keep<'a>: Clone + Eq + Hash + Borrow<str> {
    fn keep(text: &'a str) -> Self;
}

impl<'a> Keep<'a> for &'a str {
    fn keep(text: &'a str) -> Self {
        text
    }
}

impl<'a> Keep<'a> for Arc<str> {
    fn keep(text: &'a str) -> Self {
        Self::from(text)
    }
}

/// A pair of a dictionary.
struct Entry<T> {
    /// The pair in canonical form.
    pair: T,
    /// Where its value begins.
    value_start: u32,
}

impl<T: Borrow<str>> Entry<T> {
    fn value(&self) -> &str {
        &self.pair.borrow()[self.value_start as usize..]
    }
}

/// All rows of one label name.
struct NameColumn<T> {
    name: T,
    entries: Vec<Entry<T>>,
    /// By canonical form of the pair.
    ids: HashMap<T, u32>,
    column: IdWriter,
    /// Rows that have the name, before the current shape began.
    rows: u32,
}

impl<T: Borrow<str> + Clone + Eq + Hash> NameColumn<T> {
    fn id_of<'a>(&mut self, pair: &'a str, value: &'a str, pair_bytes: &mut u64) -> u32
    where
        T: Keep<'a>,
    {
        if let Some(id) = self.ids.get(pair) {
            return *id;
        }
        let id = self.entries.len() as u32;
        let kept = T::keep(pair);
        self.ids.insert(kept.clone(), id);
        self.entries.push(Entry { pair: kept, value_start: (pair.len() - value.len()) as u32 });
        *pair_bytes += pair.len() as u64;
        id
    }
}

/// A pair of the row at hand.
struct Slot<T> {
    /// The number of its name.
    name: u32,
    /// The pair in canonical form.
    pair: T,
    /// Whether it differs from that of the row before.
    changed: bool,
}

/// Collects label sets, which come in strictly ascending order.
pub(crate) struct LabelWriter<T> {
    names: Vec<NameColumn<T>>,
    name_ids: HashMap<T, u32>,
    shapes: Vec<Vec<u32>>,
    shape_ids: HashMap<Vec<u32>, u32>,
    shape_column: IdWriter,
    /// The pairs of the row before.
    row: Vec<Slot<T>>,
    rows: u32,
    shape_start: u32,
    text_bytes: u64,
    pair_bytes: u64,
    /// The id of the name `__name__`.
    metric: Option<u32>,
    /// For each metric the end of its rows; the last one is not there yet.
    metric_ends: Vec<u32>,
}

impl<T> Default for LabelWriter<T> {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            name_ids: HashMap::new(),
            shapes: Vec::new(),
            shape_ids: HashMap::new(),
            shape_column: IdWriter::default(),
            row: Vec::new(),
            rows: 0,
            shape_start: 0,
            text_bytes: 0,
            pair_bytes: 0,
            metric: None,
            metric_ends: Vec::new(),
        }
    }
}

impl<T: Borrow<str> + Clone + Eq + Hash> LabelWriter<T> {
    /// Adds the next label set. The cost lies in the pairs that differ from those of the set before: equal pairs are
    /// compared as canonical text, and changed ones usually are what followed the old one the last time.
    pub(crate) fn push<'a>(&mut self, labels: &'a Labels) -> Result<(), EncodeError>
    where
        T: Keep<'a>,
    {
        let mut rest = labels.as_canonical();
        self.text_bytes += rest.len() as u64;
        let mut ordered = self.rows == 0;
        let mut done = 0;
        while let Some(slot) = self.row.get_mut(done) {
            // What changed in the row before will most likely change again: then the guess is tried first.
            if !slot.changed
                && let Some(after) = rest.strip_prefix(slot.pair.borrow())
            {
                rest = after;
                done += 1;
                continue;
            }
            let column = &mut self.names[slot.name as usize];
            let at = column.rows + (self.rows - self.shape_start);
            let guess = column.column.guess().and_then(|id| {
                let pair = &column.entries[id as usize].pair;
                Some((id, pair, rest.strip_prefix(pair.borrow())?))
            });
            let before = column.column.current();
            if let Some((id, pair, after)) = guess {
                slot.pair = pair.clone();
                slot.changed = true;
                rest = after;
                column.column.follow(at, id);
            } else if slot.changed
                && let Some(after) = rest.strip_prefix(slot.pair.borrow())
            {
                slot.changed = false;
                rest = after;
                done += 1;
                continue;
            } else {
                let Some((new_name, value, after)) = split_canonical_pair(rest) else { break };
                if new_name != column.name.borrow() {
                    break;
                }
                let id = column.id_of(&rest[..rest.len() - after.len()], value, &mut self.pair_bytes);
                slot.pair = column.entries[id as usize].pair.clone();
                slot.changed = true;
                rest = after;
                column.column.change(at, id);
            }
            if !ordered {
                let value_of = |id: Option<u32>| id.map(|id| column.entries[id as usize].value());
                if value_of(before) >= value_of(column.column.current()) {
                    return Err(BAD_ORDER);
                }
                ordered = true;
            }
            if self.metric == Some(slot.name) {
                self.metric_ends.push(self.rows);
            }
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
    fn reshape<'a>(&mut self, done: usize, mut rest: &'a str, ordered: bool) -> Result<(), EncodeError>
    where
        T: Keep<'a>,
    {
        self.close_shape();
        if !ordered {
            let before = self.row.get(done).map(|slot| self.names[slot.name as usize].name.borrow());
            if before >= split_canonical_pair(rest).map(|(name, ..)| name) {
                return Err(BAD_ORDER);
            }
        }
        let metric_before = self.metric_pair();
        self.row.truncate(done);
        while let Some((name, value, after)) = split_canonical_pair(rest) {
            let id = match self.name_ids.get(name) {
                Some(id) => *id,
                None => self.add_name(name),
            };
            let column = &mut self.names[id as usize];
            let value_id = column.id_of(&rest[..rest.len() - after.len()], value, &mut self.pair_bytes);
            column.column.change(column.rows, value_id);
            let pair = column.entries[value_id as usize].pair.clone();
            self.row.push(Slot { name: id, pair, changed: true });
            rest = after;
        }
        if self.rows > 0 && metric_before != self.metric_pair() {
            self.metric_ends.push(self.rows);
        }
        let shape: Vec<u32> = self.row.iter().map(|slot| slot.name).collect();
        let next = self.shapes.len() as u32;
        let id = *self.shape_ids.entry(shape.clone()).or_insert(next);
        if id == next {
            self.shapes.push(shape);
        }
        self.shape_column.change(self.rows, id);
        Ok(())
    }

    fn add_name<'a>(&mut self, name: &'a str) -> u32
    where
        T: Keep<'a>,
    {
        let id = self.names.len() as u32;
        let kept = T::keep(name);
        if name == METRIC_NAME {
            self.metric = Some(id);
        }
        self.name_ids.insert(kept.clone(), id);
        self.names.push(NameColumn {
            name: kept,
            entries: Vec::new(),
            ids: HashMap::new(),
            column: IdWriter::default(),
            rows: 0,
        });
        id
    }

    /// Counts the rows of the current shape for each of its names.
    fn close_shape(&mut self) {
        let in_shape = self.rows - self.shape_start;
        for slot in &self.row {
            self.names[slot.name as usize].rows += in_shape;
        }
        self.shape_start = self.rows;
    }

    /// The pair of the row at hand that says its metric.
    fn metric_pair(&self) -> Option<T> {
        self.row.iter().find(|slot| Some(slot.name) == self.metric).map(|slot| slot.pair.clone())
    }

    /// How many label sets there are.
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }

    /// For each metric the end of its rows, in order. Rows without a metric name go together.
    pub(crate) fn metric_ends(&self) -> Vec<u32> {
        let mut ends = self.metric_ends.clone();
        ends.push(self.rows);
        ends
    }

    /// Appends the whole table to `block`, as one frame.
    pub(crate) fn put(&mut self, block: &mut BlockWriter) -> Result<(), EncodeError> {
        let mut raw = Vec::new();
        block.memory += self.put_rows(&mut raw) + self.text_bytes;
        for name in 0..self.names.len() {
            block.memory += self.put_dictionary(name, &mut raw);
        }
        block.put_frame(&raw)
    }

    /// Appends all but the dictionaries; returns what a decoder charges for it.
    pub(crate) fn put_rows(&mut self, raw: &mut Vec<u8>) -> u64 {
        self.close_shape();
        put_varint(raw, self.names.len() as u64);
        for column in &self.names {
            put_text(raw, column.name.borrow());
        }
        put_varint(raw, self.shapes.len() as u64);
        let mut shape_names = 0;
        for shape in &self.shapes {
            put_varint(raw, shape.len() as u64);
            for name in shape {
                put_varint(raw, u64::from(*name));
            }
            shape_names += shape.len() + 1;
        }
        self.shape_column.put(self.rows, raw);
        for column in &self.names {
            put_varint(raw, column.entries.len() as u64);
            column.column.put(column.rows, raw);
        }
        u64::from(self.rows) * SERIES_BYTES as u64
            + (self.names.len() * ENTRY_BYTES + shape_names * SHAPE_BYTES) as u64
            + (self.shapes.len() as u64 + self.entries()) * size_of::<u32>() as u64
    }

    /// Appends the dictionary of name number `name`; returns what a decoder charges for it.
    pub(crate) fn put_dictionary(&self, name: usize, raw: &mut Vec<u8>) -> u64 {
        let entries = &self.names[name].entries;
        for entry in entries {
            put_varint(raw, entry.value().len() as u64);
        }
        let mut pair_bytes = 0;
        for entry in entries {
            raw.extend_from_slice(entry.value().as_bytes());
            pair_bytes += entry.pair.borrow().len();
        }
        (entries.len() * ENTRY_BYTES + pair_bytes) as u64
    }

    /// Text of all dictionaries, in bytes.
    pub(crate) fn pair_bytes(&self) -> u64 {
        self.pair_bytes
    }

    /// How many entries all dictionaries have.
    pub(crate) fn entries(&self) -> u64 {
        self.names.iter().map(|column| column.entries.len() as u64).sum()
    }

    /// How many pairs all label sets have together; after [`LabelWriter::put_rows`].
    pub(crate) fn row_ids(&self) -> u64 {
        self.names.iter().map(|column| u64::from(column.rows)).sum()
    }

    /// For each label name, in the order of their numbers: the name and how many values it has.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, usize)> {
        self.names.iter().map(|column| (column.name.borrow(), column.entries.len()))
    }
}
