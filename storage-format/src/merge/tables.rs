//! Numbers for label pairs and label sets, the same over many partitions.

use std::cmp::Ordering;

use hashbrown::HashTable;
use telemetry::Labels;
use telemetry::labels::split_canonical_pair;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::FormatError;
use crate::labels::{LabelTable, corrupt_labels};

const NONE: u32 = u32::MAX;

/// Distinct pairs, numbered from 0.
#[derive(Default)]
struct PairTable {
    /// All pairs in canonical form, one after the other, and where each ends.
    text: String,
    ends: Vec<usize>,
    by_text: HashTable<u32>,
}

impl PairTable {
    fn text_of(&self, pair: u32) -> &str {
        pair_text(&self.text, &self.ends, pair)
    }

    fn number(&mut self, pair: &str) -> Result<u32, FormatError> {
        let Self { text, ends, by_text } = self;
        let hash = xxh3_64(pair.as_bytes());
        if let Some(number) = by_text.find(hash, |known| pair_text(text, ends, *known) == pair) {
            return Ok(*number);
        }
        let number = next_number(ends.len())?;
        text.push_str(pair);
        ends.push(text.len());
        by_text.insert_unique(hash, number, |known| xxh3_64(pair_text(text, ends, *known).as_bytes()));
        Ok(number)
    }

    /// For each pair its place among all, by name and then by value.
    fn ranks(&self) -> Vec<u32> {
        let mut order: Vec<(&str, &str, u32)> = (0..self.ends.len() as u32)
            .map(|pair| {
                let (name, value, _) = split_canonical_pair(self.text_of(pair)).unwrap_or_default();
                (name, value, pair)
            })
            .collect();
        order.sort_unstable();
        let mut ranks = vec![0; order.len()];
        for (rank, (_, _, pair)) in (0_u32..).zip(order) {
            ranks[pair as usize] = rank;
        }
        ranks
    }
}

fn pair_text<'a>(text: &'a str, ends: &[usize], pair: u32) -> &'a str {
    let pair = pair as usize;
    let start = if pair == 0 { 0 } else { ends[pair - 1] };
    &text[start..ends[pair]]
}

fn next_number(known: usize) -> Result<u32, FormatError> {
    u32::try_from(known)
        .ok()
        .filter(|number| *number != NONE)
        .ok_or_else(|| corrupt_labels("more label pairs or series than there are numbers"))
}

/// Distinct label sets, numbered from 0.
#[derive(Default)]
pub(super) struct SeriesTable {
    pairs: PairTable,
    /// The numbers of the pairs of each set, one set after the other, and where each set ends.
    sets: Vec<u32>,
    ends: Vec<usize>,
    by_set: HashTable<u32>,
    /// What came after each set when it was last seen: partitions of one tenant have the same series in the same order.
    successors: Vec<u32>,
}

impl SeriesTable {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Memory held, in bytes, about.
    pub(super) fn memory_bytes(&self) -> usize {
        self.pairs.text.len() + self.pairs.ends.len() * 20 + self.sets.len() * 4 + self.ends.len() * 24
    }

    /// The numbers of the `rows` label sets of `table`, which are checked to be sets, and to ascend.
    pub(super) fn number_rows(
        &mut self,
        table: &mut LabelTable<'_>,
        rows: usize,
    ) -> Result<Vec<u32>, FormatError> {
        let LabelTable { rows: reader, dictionaries } = table;
        for shape in reader.shapes() {
            let names = || shape.iter().map(|name| reader.names[*name as usize]);
            if names().any(str::is_empty) || !names().is_sorted_by(|a, b| a < b) {
                return Err(corrupt_labels("an impossible label set"));
            }
        }
        // The pairs of the partition's dictionaries by their numbers here.
        let mut numbers: Vec<Vec<u32>> = Vec::with_capacity(dictionaries.len());
        for dictionary in dictionaries.iter() {
            let ids = 0..dictionary.len() as u32;
            if ids.clone().any(|id| dictionary.value(id).is_empty()) {
                return Err(corrupt_labels("an impossible label set"));
            }
            numbers.push(ids.map(|id| self.pairs.number(dictionary.pair(id))).collect::<Result<_, _>>()?);
        }
        let mut series = Vec::with_capacity(rows);
        let mut set: Vec<u32> = Vec::new();
        let mut last = NONE;
        for _ in 0..rows {
            let row = reader.next()?;
            set.clear();
            set.extend(
                row.names.iter().map(|name| numbers[*name as usize][row.current[*name as usize] as usize]),
            );
            let before = last;
            last = self.number(&set, before)?;
            let ordered = row.check_order(dictionaries)?;
            if !ordered && before != NONE && self.compare(before, last) != Ordering::Less {
                return Err(corrupt_labels("series that do not ascend"));
            }
            series.push(last);
        }
        reader.finish()?;
        Ok(series)
    }

    /// The number of a set that comes after set `before` in its partition.
    #[inline]
    fn number(&mut self, set: &[u32], before: u32) -> Result<u32, FormatError> {
        if let Some(&guess) = self.successors.get(before as usize)
            && guess != NONE
            && set_of(&self.sets, &self.ends, guess) == set
        {
            return Ok(guess);
        }
        let number = self.find_or_add(set)?;
        if let Some(successor) = self.successors.get_mut(before as usize) {
            *successor = number;
        }
        Ok(number)
    }

    fn find_or_add(&mut self, set: &[u32]) -> Result<u32, FormatError> {
        let Self { sets, ends, by_set, .. } = self;
        let hash = hash_of(set);
        if let Some(number) = by_set.find(hash, |known| set_of(sets, ends, *known) == set) {
            return Ok(*number);
        }
        let number = next_number(ends.len())?;
        sets.extend_from_slice(set);
        ends.push(sets.len());
        by_set.insert_unique(hash, number, |known| hash_of(set_of(sets, ends, *known)));
        self.successors.push(NONE);
        Ok(number)
    }

    /// Compares two sets as [`Labels`] are compared.
    fn compare(&self, left: u32, right: u32) -> Ordering {
        let pairs = |series: u32| {
            let set = set_of(&self.sets, &self.ends, series);
            set.iter().map(|pair| {
                let (name, value, _) = split_canonical_pair(self.pairs.text_of(*pair)).unwrap_or_default();
                (name, value)
            })
        };
        pairs(left).cmp(pairs(right))
    }

    /// All numbers in label order.
    pub(super) fn in_order(&self) -> Vec<u32> {
        let ranks = self.pairs.ranks();
        let ranked: Vec<u32> = self.sets.iter().map(|pair| ranks[*pair as usize]).collect();
        let mut order: Vec<u32> = (0..self.len() as u32).collect();
        // Stable, since that sort finds the long ascending runs that the partitions are made of.
        order.sort_by(|left, right| {
            set_of(&ranked, &self.ends, *left).cmp(set_of(&ranked, &self.ends, *right))
        });
        order
    }

    /// The label set of `series`; `text` is used to put it together.
    pub(super) fn labels(&self, series: u32, text: &mut String) -> Result<Labels, FormatError> {
        text.clear();
        for pair in set_of(&self.sets, &self.ends, series) {
            text.push_str(self.pairs.text_of(*pair));
        }
        Labels::from_canonical(text).map_err(|_| corrupt_labels("an impossible label set"))
    }
}

fn set_of<'a>(sets: &'a [u32], ends: &[usize], series: u32) -> &'a [u32] {
    let series = series as usize;
    let start = if series == 0 { 0 } else { ends[series - 1] };
    &sets[start..ends[series]]
}

/// For look-up only; the table compares sets.
fn hash_of(set: &[u32]) -> u64 {
    let hash = set.iter().fold(set.len() as u64, |hash, pair| {
        (hash.rotate_left(5) ^ u64::from(*pair)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    // The table takes bits from both ends.
    hash ^ hash >> 32
}
