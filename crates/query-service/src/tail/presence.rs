//! Which series of a generation have samples in a time range.

use super::cells::Cells;

/// Asked for one series after the other: without a look at any of them where all have samples all the time.
#[derive(Debug)]
pub(super) struct Presence {
    cells: Cells,
    time_range_ms: (i64, i64),
    /// Whether every series has a sample in the time range.
    is_everywhere: bool,
    /// One bit for each series, set where provisional batches have some; empty where none has.
    provisional: Vec<u64>,
}

impl Presence {
    /// Of series that all have samples in the time range.
    pub(super) fn everywhere(cells: Cells, time_range_ms: (i64, i64)) -> Self {
        Self { cells, time_range_ms, is_everywhere: true, provisional: Vec::new() }
    }

    /// Of series that are to be looked at.
    pub(super) fn here_and_there(cells: Cells, time_range_ms: (i64, i64)) -> Self {
        Self { cells, time_range_ms, is_everywhere: false, provisional: Vec::new() }
    }

    pub(super) fn cells(&self) -> &Cells {
        &self.cells
    }

    /// Notes that a series has samples in a provisional batch.
    pub(super) fn add_provisional(&mut self, id: u32) {
        if self.provisional.is_empty() {
            self.provisional.resize(self.cells.len() as usize / 64 + 1, 0);
        }
        if let Some(word) = self.provisional.get_mut(id as usize / 64) {
            *word |= 1 << (id % 64);
        }
    }

    /// Whether series `id` has samples in the time range. Series that came after this was made have none.
    pub(super) fn has(&self, id: u32) -> bool {
        if self.is_everywhere {
            return id < self.cells.len();
        }
        let (start_ms, end_ms) = self.time_range_ms;
        let provisional =
            self.provisional.get(id as usize / 64).is_some_and(|word| word >> (id % 64) & 1 == 1);
        provisional || self.cells.read(id, |head| head.overlaps(start_ms, end_ms)) == Some(true)
    }

    /// Whether one of `ids` has.
    pub(super) fn has_one_of(&self, ids: &[u32]) -> bool {
        ids.iter().any(|&id| self.has(id))
    }
}
