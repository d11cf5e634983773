//! Finding series: by their labels when samples come in, by matchers when queries do.
//!
//! The index only grows. A reader therefore needs no lock for long: it remembers how many series there were at first,
//! reads a slice of a label's values at a time, and ignores ids that came later.

use hashbrown::hash_map::EntryRef;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;
use std::sync::Arc;

use parking_lot::Mutex;
use promql::Matcher;
use telemetry::{Labels, Series};

use super::cells::Cells;

/// Ids of the series that have one label value, ascending. Many values, such as those of an instance id, have one series.
#[derive(Debug)]
pub(super) enum Postings {
    One(u32),
    Many(Vec<u32>),
}

impl Postings {
    pub(super) fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }

    fn push(&mut self, id: u32) {
        match self {
            Self::One(first) => *self = Self::Many(vec![*first, id]),
            Self::Many(ids) => ids.push(id),
        }
    }
}

#[derive(Debug)]
pub(super) struct LabelValue {
    pub(super) text: Box<str>,
    pub(super) ids: Postings,
}

/// The values of one label name, in order of appearance.
#[derive(Debug, Default)]
pub(super) struct LabelIndex {
    by_text: HashTable<u32>,
    pub(super) values: Vec<LabelValue>,
    /// Places in `values` in ascending order of their texts: of the first so many of them, as of when it was last asked for.
    order: Mutex<Arc<[u32]>>,
}

impl LabelIndex {
    fn find(&self, hasher: &DefaultHashBuilder, text: &str) -> Option<usize> {
        let same = |&place: &u32| &*self.values[place as usize].text == text;
        self.by_text.find(hasher.hash_one(text), same).map(|&place| place as usize)
    }

    /// The order of the values as far as it is known: of the first so many of them.
    pub(super) fn known_order(&self) -> Arc<[u32]> {
        Arc::clone(&self.order.lock())
    }

    /// Notes the order of at least as many values as are there.
    pub(super) fn keep_order(&self, order: Arc<[u32]>) {
        let mut known = self.order.lock();
        if known.len() < order.len() {
            *known = order;
        }
    }

    /// Returns the bytes of memory newly held, roughly.
    fn push(&mut self, hasher: &DefaultHashBuilder, text: &str, id: u32) -> usize {
        if let Some(place) = self.find(hasher, text) {
            self.values[place].ids.push(id);
            return 2 * size_of::<u32>();
        }
        let place = self.values.len() as u32;
        self.values.push(LabelValue { text: text.into(), ids: Postings::One(id) });
        let values = &self.values;
        let hash_of = |&place: &u32| hasher.hash_one(&*values[place as usize].text);
        self.by_text.insert_unique(hasher.hash_one(text), place, hash_of);
        text.len() + size_of::<LabelValue>() + 3 * size_of::<u32>()
    }
}

/// A series' place in the table by hash: the upper half of the hash tells most strangers apart without a look at them.
#[derive(Debug)]
struct Slot {
    tag: u32,
    id: u32,
}

fn tag(series: &Series) -> u32 {
    (series.hash64() >> 32) as u32
}

/// Which label names series have: mostly those of many others, too.
#[derive(Debug, Default)]
struct NameSets {
    /// Names, each behind its end, of each set in order of appearance.
    numbers: HashMap<Box<[u8]>, u32, DefaultHashBuilder>,
    /// By id.
    of_series: Vec<u32>,
    key: Vec<u8>,
}

impl NameSets {
    /// Notes the names of the next series. Returns the bytes of memory newly held, roughly.
    fn push(&mut self, labels: &Labels) -> usize {
        /// No byte of UTF-8.
        const END: u8 = 0xff;
        self.key.clear();
        for (name, _) in labels {
            self.key.extend_from_slice(name.as_bytes());
            self.key.push(END);
        }
        let next = self.numbers.len() as u32;
        let (number, bytes) = match self.numbers.entry_ref(&self.key[..]) {
            EntryRef::Occupied(entry) => (*entry.get(), 0),
            EntryRef::Vacant(entry) => (*entry.insert(next), self.key.len() + 32),
        };
        self.of_series.push(number);
        bytes + size_of::<u32>()
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    by_hash: HashTable<Slot>,
    cells: Cells,
    name_sets: NameSets,
    labels: HashMap<Box<str>, LabelIndex, DefaultHashBuilder>,
    hasher: DefaultHashBuilder,
}

impl Index {
    pub(super) fn cells(&self) -> &Cells {
        &self.cells
    }

    pub(super) fn label(&self, name: &str) -> Option<&LabelIndex> {
        self.labels.get(name)
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = (&str, &LabelIndex)> {
        self.labels.iter().map(|(name, label)| (&**name, label))
    }

    /// The ids of the series with `name="text"`.
    pub(super) fn postings(&self, name: &str, text: &str) -> &[u32] {
        let label = self.labels.get(name);
        let place = label.and_then(|label| Some((label, label.find(&self.hasher, text)?)));
        place.map_or(&[], |(label, place)| label.values[place].ids.as_slice())
    }

    /// How many series have one of the texts that `matcher` names.
    pub(super) fn named_series(&self, matcher: &Matcher) -> usize {
        let texts = matcher.as_literals().unwrap_or_default();
        texts.iter().map(|text| self.postings(matcher.name(), text).len()).sum()
    }

    /// For each series of `ids` the number of its set of label names; equal names have equal numbers, which are small.
    pub(super) fn name_sets(&self, ids: &[u32]) -> Vec<u32> {
        ids.iter().map(|id| self.name_sets.of_series.get(*id as usize).copied().unwrap_or(u32::MAX)).collect()
    }

    #[inline]
    pub(super) fn find(&self, series: &Arc<Series>) -> Option<u32> {
        let tag = tag(series);
        let same = |slot: &Slot| {
            slot.tag == tag
                && self
                    .cells
                    .series(slot.id)
                    .is_some_and(|known| Arc::ptr_eq(known, series) || known == series)
        };
        self.by_hash.find(series.hash64(), same).map(|slot| slot.id)
    }

    /// Adds a series that is not there. Returns its id and the bytes of memory newly held, roughly.
    pub(super) fn insert(&mut self, series: &Arc<Series>) -> (u32, usize) {
        let id = self.cells.push(Arc::clone(series));
        let cells = &self.cells;
        let hash_of = |slot: &Slot| cells.series(slot.id).map_or(0, |series| series.hash64());
        self.by_hash.insert_unique(series.hash64(), Slot { tag: tag(series), id }, hash_of);
        let labels = series.labels();
        let mut bytes =
            Cells::CELL_BYTES + 2 * size_of::<Slot>() + size_of::<Series>() + labels.memory_bytes();
        bytes += self.name_sets.push(labels);
        for (name, value) in labels {
            let label = match self.labels.entry_ref(name) {
                EntryRef::Occupied(entry) => entry.into_mut(),
                EntryRef::Vacant(entry) => entry.insert(LabelIndex::default()),
            };
            bytes += label.push(&self.hasher, value, id);
        }
        (id, bytes)
    }
}
