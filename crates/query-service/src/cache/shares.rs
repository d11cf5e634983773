//! Who takes how much of the memory.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use foyer::{Event, EventListener};
use parking_lot::Mutex;
use telemetry::TenantId;

use super::page::{Page, PageKey};
use crate::limits::{LARGE_TENANT_ADMITS_ONE_IN, LARGE_TENANT_SHARE};

/// Counts each tenant's pages in memory. A tenant that holds a large part of it gets in with some of its new pages only, so that
/// those of others stay longer; what it needs again gets in after some tries.
#[derive(Debug)]
pub(super) struct Shares {
    capacity_bytes: usize,
    state: Mutex<State>,
    turned_away: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    by_owner: HashMap<u64, usize>,
    all: usize,
}

/// What stands for a tenant here, the same in each process.
pub(super) fn owner_of(tenant: &TenantId) -> u64 {
    let mut hasher = DefaultHasher::new();
    tenant.as_str().hash(&mut hasher);
    hasher.finish()
}

impl Shares {
    pub(super) fn new(capacity_bytes: usize) -> Self {
        Self { capacity_bytes, state: Mutex::default(), turned_away: AtomicU64::new(0) }
    }

    /// Whether the page may stay in memory; then it is counted.
    pub(super) fn admit(&self, page: &Page) -> bool {
        let bytes = page.bytes.len();
        let mut state = self.state.lock();
        let own = state.by_owner.get(&page.owner).copied().unwrap_or_default();
        let is_large = own + bytes > self.capacity_bytes / LARGE_TENANT_SHARE;
        // As long as there is room, and when nobody else is here, nobody suffers.
        let matters = state.all + bytes > self.capacity_bytes && state.all > own;
        if is_large && matters {
            let count = self.turned_away.fetch_add(1, Ordering::Relaxed);
            if !(count + 1).is_multiple_of(LARGE_TENANT_ADMITS_ONE_IN) {
                return false;
            }
        }
        if page.set_counted(true) {
            state.all += bytes;
            *state.by_owner.entry(page.owner).or_default() += bytes;
        }
        true
    }

    /// Bytes of all pages in memory.
    pub(super) fn resident_bytes(&self) -> usize {
        self.state.lock().all
    }
}

impl EventListener for Shares {
    type Key = PageKey;
    type Value = Page;

    fn on_leave(&self, _reason: Event, _key: &PageKey, page: &Page) {
        if !page.set_counted(false) {
            return;
        }
        let bytes = page.bytes.len();
        let mut state = self.state.lock();
        state.all = state.all.saturating_sub(bytes);
        if let Some(own) = state.by_owner.get_mut(&page.owner) {
            *own = own.saturating_sub(bytes);
            if *own == 0 {
                state.by_owner.remove(&page.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_tenant_gets_in_less_often_once_others_would_suffer() {
        let shares = Shares::new(100);
        let page = |owner| Page::copy_of(&[0; 10], owner);
        let mine: Vec<Page> = (0..10).map(|_| page(1)).collect();
        assert!(mine.iter().all(|page| shares.admit(page)), "alone it may have all");
        assert!(shares.admit(&page(1)), "and go on so when it is full");
        let key = PageKey { object: "o".into(), kind: super::super::PageKind::Data, number: 0 };
        shares.on_leave(Event::Evict, &key, &mine[0]);
        shares.on_leave(Event::Evict, &key, &mine[0]);
        assert_eq!(shares.resident_bytes(), 100, "what left twice is taken off once");

        assert!((0..5).all(|_| shares.admit(&page(2))), "a small tenant always gets in");
        let tries = 10 * LARGE_TENANT_ADMITS_ONE_IN;
        let admitted = (0..tries).filter(|_| shares.admit(&page(1))).count();
        assert_eq!(admitted, 10);
    }
}
