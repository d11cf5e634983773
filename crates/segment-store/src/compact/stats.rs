//! What a compactor counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// Figures of one compactor since its start, and what waited when it last looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactorStats {
    /// Merges of the first stage.
    pub merges: u64,
    /// Samples read by them, and written.
    pub merged_samples: (u64, u64),
    /// Tenants' parts of merged objects that became tenant segments, counted by commit.
    pub absorptions: u64,
    /// Samples in them, and those of these that the ledger had not counted yet.
    pub absorbed_samples: (u64, u64),
    /// Merges of tenant segments.
    pub segment_merges: u64,
    /// Samples read by them, and written.
    pub segment_samples: (u64, u64),
    /// Days that were thinned.
    pub thinned_days: u64,
    /// Manifests replaced.
    pub commits: u64,
    /// Replacements that somebody else was faster with; the work was done in vain.
    pub races_lost: u64,
    /// Bytes of objects written, manifests not included.
    pub bytes_written: u64,
    /// Objects deleted.
    pub objects_deleted: u64,
    /// Objects, parts of objects and manifests that were found damaged.
    pub quarantined: u64,
    /// Steps that failed.
    pub failures: u64,
    /// Fresh segments that were waiting to be merged.
    pub fresh_waiting: u64,
    /// Merged objects that were waiting to be absorbed.
    pub merged_waiting: u64,
    /// Fresh and merged objects that no reader needs and that were waiting for the end of their grace.
    pub deletions_waiting: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) merges: AtomicU64,
    pub(super) merged_samples: [AtomicU64; 2],
    pub(super) absorptions: AtomicU64,
    pub(super) absorbed_samples: [AtomicU64; 2],
    pub(super) segment_merges: AtomicU64,
    pub(super) segment_samples: [AtomicU64; 2],
    pub(super) thinned_days: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) races_lost: AtomicU64,
    pub(super) bytes_written: AtomicU64,
    pub(super) objects_deleted: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) fresh_waiting: AtomicU64,
    pub(super) merged_waiting: AtomicU64,
    pub(super) deletions_waiting: AtomicU64,
}

impl Counters {
    pub(super) fn snapshot(&self) -> CompactorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let pair = |[from, to]: &[AtomicU64; 2]| (read(from), read(to));
        CompactorStats {
            merges: read(&self.merges),
            merged_samples: pair(&self.merged_samples),
            absorptions: read(&self.absorptions),
            absorbed_samples: pair(&self.absorbed_samples),
            segment_merges: read(&self.segment_merges),
            segment_samples: pair(&self.segment_samples),
            thinned_days: read(&self.thinned_days),
            commits: read(&self.commits),
            races_lost: read(&self.races_lost),
            bytes_written: read(&self.bytes_written),
            objects_deleted: read(&self.objects_deleted),
            quarantined: read(&self.quarantined),
            failures: read(&self.failures),
            fresh_waiting: read(&self.fresh_waiting),
            merged_waiting: read(&self.merged_waiting),
            deletions_waiting: read(&self.deletions_waiting),
        }
    }
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

pub(super) fn add_pair([from, to]: &[AtomicU64; 2], (read, written): (u64, u64)) {
    add(from, read);
    add(to, written);
}

pub(super) fn set(gauge: &AtomicU64, value: usize) {
    gauge.store(value as u64, Ordering::Relaxed);
}
