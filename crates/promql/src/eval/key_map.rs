//! Numbers for keys, in order of appearance: groups, match signatures, label sets.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Gives equal keys equal numbers, counted from 0. All keys lie in one buffer.
#[derive(Default)]
pub(crate) struct KeyMap {
    table: HashTable<(u64, u32)>,
    ends: Vec<usize>,
    bytes: Vec<u8>,
}

/// Separates the parts of a key; it is no byte of UTF-8.
pub(crate) const SEPARATOR: u8 = 0xff;

impl KeyMap {
    /// The number of the key that `write` writes, and whether it is new.
    pub(crate) fn number(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> (usize, bool) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let (known, new) = self.bytes.split_at(start);
        let hash = xxh3_64(new);
        let ends = &self.ends;
        let key_of = |number: u32| {
            let number = number as usize;
            let start = if number == 0 { 0 } else { ends[number - 1] };
            &known[start..ends[number]]
        };
        if let Some((_, number)) =
            self.table.find(hash, |(other, number)| *other == hash && key_of(*number) == new)
        {
            let number = *number as usize;
            self.bytes.truncate(start);
            return (number, false);
        }
        let number = self.ends.len();
        self.ends.push(self.bytes.len());
        self.table.insert_unique(hash, (hash, number as u32), |(hash, _)| *hash);
        (number, true)
    }

    /// The number of the key that `write` writes, if there is one.
    pub(crate) fn find(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Option<usize> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let (known, new) = self.bytes.split_at(start);
        let hash = xxh3_64(new);
        let ends = &self.ends;
        let key_of = |number: u32| {
            let number = number as usize;
            let start = if number == 0 { 0 } else { ends[number - 1] };
            &known[start..ends[number]]
        };
        let found = self
            .table
            .find(hash, |(other, number)| *other == hash && key_of(*number) == new)
            .map(|(_, number)| *number as usize);
        self.bytes.truncate(start);
        found
    }
}

/// Writes pairs as a key.
pub(crate) fn write_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>, key: &mut Vec<u8>) {
    for (name, value) in pairs {
        key.extend_from_slice(name.as_bytes());
        key.push(SEPARATOR);
        key.extend_from_slice(value.as_bytes());
        key.push(SEPARATOR);
    }
}
