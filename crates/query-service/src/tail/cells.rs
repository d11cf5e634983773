//! The series of a generation, by id: an array that only grows and that readers share.

use std::sync::{Arc, OnceLock};

use parking_lot::{RwLock, RwLockWriteGuard};
use telemetry::Series;

use super::head::Head;

/// Series of a page: few enough that a tenant with a handful of series costs little.
const PAGE_SERIES: usize = 64;

/// Neighbours by age, which mostly come in together. Only the samples change. Their lock is held for writing while one
/// batch's samples of this page are appended, and for reading while one series is read: microseconds both.
#[derive(Debug)]
struct Page {
    series: [OnceLock<Arc<Series>>; PAGE_SERIES],
    heads: RwLock<[Head; PAGE_SERIES]>,
}

impl Page {
    fn new() -> Self {
        Self {
            series: std::array::from_fn(|_| OnceLock::new()),
            heads: RwLock::new(std::array::from_fn(|_| Head::default())),
        }
    }
}

/// Pages of a block: each query counts itself in at every block, so that a million series should not be many of them.
const BLOCK_PAGES: usize = 64;

/// Neighbouring pages, filled in order.
#[derive(Debug)]
struct Block {
    pages: [OnceLock<Box<Page>>; BLOCK_PAGES],
}

/// Cheap to clone: a clone shows the series there were at that moment, with whatever samples they get later.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    blocks: Vec<Arc<Block>>,
    len: u32,
}

fn place_of(id: u32) -> (usize, usize) {
    (id as usize / PAGE_SERIES, id as usize % PAGE_SERIES)
}

impl Cells {
    /// Memory of a series in its page (bytes).
    pub(super) const CELL_BYTES: usize = size_of::<Page>() / PAGE_SERIES;

    /// How many there are; ids are below.
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    fn page(&self, page: usize) -> Option<&Page> {
        self.blocks.get(page / BLOCK_PAGES)?.pages[page % BLOCK_PAGES].get().map(|page| &**page)
    }

    #[inline]
    pub(super) fn series(&self, id: u32) -> Option<&Arc<Series>> {
        let (page, place) = place_of(id);
        self.page(page)?.series[place].get()
    }

    /// Lets `read` look at the samples of a series; `None` where there is none.
    pub(super) fn read<T>(&self, id: u32, read: impl FnOnce(&Head) -> T) -> Option<T> {
        let (page, place) = place_of(id);
        Some(read(&self.page(page)?.heads.read()[place]))
    }

    /// Appends a series without samples and returns its id.
    pub(super) fn push(&mut self, series: Arc<Series>) -> u32 {
        let id = self.len;
        let (page, place) = place_of(id);
        let (block, page) = (page / BLOCK_PAGES, page % BLOCK_PAGES);
        if block == self.blocks.len() {
            self.blocks.push(Arc::new(Block { pages: std::array::from_fn(|_| OnceLock::new()) }));
        }
        let page = self.blocks[block].pages[page].get_or_init(|| Box::new(Page::new()));
        let was_free = page.series[place].set(series).is_ok();
        debug_assert!(was_free, "places are filled once, in order");
        self.len += 1;
        id
    }

    /// For appending samples to one series after the other: neighbours share a hold of the lock.
    pub(super) fn appender(&self) -> Appender<'_> {
        Appender { cells: self, held: None }
    }
}

/// Holds the lock of one page at a time.
pub(super) struct Appender<'a> {
    cells: &'a Cells,
    held: Option<(usize, RwLockWriteGuard<'a, [Head; PAGE_SERIES]>)>,
}

impl Appender<'_> {
    /// The samples of a series; `None` where there is none.
    #[inline]
    pub(super) fn head(&mut self, id: u32) -> Option<&mut Head> {
        let (page, place) = place_of(id);
        if self.held.as_ref().is_none_or(|(held, _)| *held != page) {
            // The one that is held goes first: nobody ever waits for a page with another in hand.
            self.held = None;
            self.held = Some((page, self.cells.page(page)?.heads.write()));
        }
        self.held.as_mut().map(|(_, heads)| &mut heads[place])
    }
}
