//! The series of a generation, by id: an array that only grows and that readers share without a lock.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use telemetry::Series;

use super::head::Head;

/// Cells of a page: few enough that a tenant with a handful of series costs little.
const PAGE_CELLS: usize = 64;

/// A series with its samples. Only the samples change, and the lock on them is held for one series' work at a time, so
/// that neither appending nor querying ever waits for the other for longer than that.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) series: Arc<Series>,
    pub(super) head: Mutex<Head>,
}

type Page = [OnceLock<Cell>; PAGE_CELLS];

/// Cheap to clone: a clone shows the cells there were at that moment, with whatever samples they get later.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    pages: Vec<Arc<Page>>,
    len: u32,
}

impl Cells {
    /// Memory of a cell in its page (bytes).
    pub(super) const CELL_BYTES: usize = size_of::<OnceLock<Cell>>();

    /// How many there are; ids are below.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<&Cell> {
        let id = id as usize;
        self.pages.get(id / PAGE_CELLS)?[id % PAGE_CELLS].get()
    }

    /// Appends a series without samples and returns its id.
    pub(super) fn push(&mut self, series: Arc<Series>) -> u32 {
        let id = self.len;
        if id as usize == self.pages.len() * PAGE_CELLS {
            self.pages.push(Arc::new(std::array::from_fn(|_| OnceLock::new())));
        }
        let cell = Cell { series, head: Mutex::default() };
        let place = &self.pages[id as usize / PAGE_CELLS][id as usize % PAGE_CELLS];
        let was_free = place.set(cell).is_ok();
        debug_assert!(was_free, "cells are filled once, in order");
        self.len += 1;
        id
    }
}
