//! A series: its labels, a hash computed once, and its cached place in the storage order.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::Labels;

/// A label set as it travels from a request to a segment: shared, hashed once.
///
/// Writers that see the same series again and again keep its `Arc<Series>`, and by [`assign_ranks`] give it a rank, so
/// that putting a batch in storage order compares integers instead of label sets.
pub struct Series {
    labels: Labels,
    hash: u64,
    /// `epoch << 32 | rank`; epoch 0 means that no rank was given.
    rank: AtomicU64,
}

/// Ranks of different calls of [`assign_ranks`] say nothing about each other; the epoch keeps them apart.
static NEXT_EPOCH: AtomicU32 = AtomicU32::new(1);

impl Series {
    /// A series without a rank.
    #[must_use]
    pub fn new(labels: Labels) -> Self {
        let hash = labels.hash64();
        Self { labels, hash, rank: AtomicU64::new(0) }
    }

    /// The labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// [`Labels::hash64`] of the labels: for look-up, not for integrity.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        self.hash
    }

    /// The rank as `(epoch, rank)`. Only ranks of the same epoch, and never of epoch 0, compare.
    #[must_use]
    pub(crate) fn rank(&self) -> (u32, u32) {
        let packed = self.rank.load(Ordering::Relaxed);
        ((packed >> 32) as u32, packed as u32)
    }
}

/// Gives every series its place in `sorted`, which must be in strictly ascending label order, as a rank of a new epoch.
pub fn assign_ranks(sorted: &[Arc<Series>]) {
    debug_assert!(sorted.windows(2).all(|pair| pair[0].labels < pair[1].labels));
    let mut epoch = NEXT_EPOCH.fetch_add(1, Ordering::Relaxed);
    while epoch == 0 {
        // The counter went round: epoch 0 stays reserved for "no rank".
        epoch = NEXT_EPOCH.fetch_add(1, Ordering::Relaxed);
    }
    for (rank, series) in (0_u32..=u32::MAX).zip(sorted) {
        series.rank.store(u64::from(epoch) << 32 | u64::from(rank), Ordering::Relaxed);
    }
}

/// Puts `series`, whose label sets all differ, in label order and gives each its rank in it ([`assign_ranks`]).
///
/// Those that the last call ranked are put in order by their ranks, so that with few new ones among many this costs one
/// comparison of labels a series.
pub fn rank(mut series: Vec<Arc<Series>>) {
    let latest = series.iter().map(|one| one.rank().0).max().unwrap_or_default();
    // Those of the latest epoch first, in their order; then the others in theirs: two runs, which a stable sort merges.
    series.sort_by_cached_key(|one| {
        let (epoch, rank) = one.rank();
        (epoch != latest || epoch == 0, rank)
    });
    let ranked = series.partition_point(|one| one.rank().0 == latest && latest != 0);
    series[ranked..].sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    assign_ranks(&series);
}

/// As [`read_ahead`](crate::labels::read_ahead), of series without their labels.
pub fn read_ahead<'a>(series: impl Iterator<Item = &'a Series>) {
    std::hint::black_box(series.fold(0, |all, one| all ^ one.hash));
}

impl PartialEq for Series {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.labels == other.labels
    }
}

impl Eq for Series {}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.labels, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: u32) -> Arc<Series> {
        let name = format!("metric_{name:03}");
        Arc::new(Series::new(Labels::from_pairs([("__name__", name)]).unwrap()))
    }

    #[test]
    fn ranks_follow_label_order_however_many_are_new() {
        let mut all: Vec<Arc<Series>> = Vec::new();
        for round in 0..5 {
            // Each round puts new series between, before and after the old ones.
            all.extend(
                (0..20).map(|i| series((i * 37 + round * 11 + 5) % 100 + 100 * (round % 2) + 200 * round)),
            );
            all.sort_by(|a, b| a.labels.cmp(&b.labels));
            all.dedup();
            let mut shuffled = all.clone();
            shuffled.rotate_left(all.len() / 3);
            rank(shuffled);
            let epoch = all[0].rank().0;
            let ranks: Vec<(u32, u32)> = all.iter().map(|one| one.rank()).collect();
            assert_eq!(ranks, (0..all.len() as u32).map(|rank| (epoch, rank)).collect::<Vec<_>>());
        }
        rank(Vec::new());
    }
}
