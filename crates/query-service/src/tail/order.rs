//! Which of two segments comes later, where samples in memory no longer say from which they are.
//!
//! Nearly every segment is folded after all that come before it, and its samples then replace those with equal timestamps. A
//! *late* one, named before segments that are folded already, shares hardly a sample with them. Where it does, and the two differ,
//! the segments themselves are asked: the newest ones stay at hand for a while. When that is too long ago, the tenant's data in
//! memory is given up for the bucket's, where every segment is read in its place.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use segment_store::SegmentKey;
use telemetry::MetricBatch;

use super::generation::Generation;
use super::head::Held;
use super::provisional::{histograms_of, memory_bytes_of};
use super::tenant::TenantTail;
use crate::limits::{RECENT_BYTES, RECENT_MS};

/// A sample of a batch: the place of its series, and its timestamp (ms).
pub(super) type SamplePlace = (usize, i64);

/// What becomes of a late segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is folded without these samples.
    Fold(HashSet<SamplePlace>),
    /// It is read in its place among what is at rest.
    StandApart,
    /// Nobody here can tell.
    Unknown,
}

/// What who folds must know.
#[derive(Debug, Default)]
pub(super) struct Folding {
    /// Whether segments are kept, which takes another writer to be of use.
    is_keeping: bool,
    recent: BTreeMap<SegmentKey, Vec<Kept>>,
    recent_bytes: usize,
    /// Of the segments that were folded, all later ones are in `recent`.
    complete_after: Option<SegmentKey>,
    /// Generations that are to be dropped once nothing in them is provisional.
    pub(super) doomed: Vec<(Arc<TenantTail>, Arc<Generation>)>,
}

#[derive(Debug)]
struct Kept {
    tenant: Arc<TenantTail>,
    batch: Arc<MetricBatch>,
    time_range_ms: (i64, i64),
}

impl Kept {
    /// Whether it has a sample of the series that `batch` has at `place`.
    fn has(&self, batch: &MetricBatch, (place, at_ms): SamplePlace) -> bool {
        if at_ms < self.time_range_ms.0 || at_ms > self.time_range_ms.1 {
            return false;
        }
        let (kept, series) = (&self.batch, &batch.series[place]);
        let found = kept.series.binary_search_by(|other| other.labels().cmp(series.labels()));
        found.is_ok_and(|index| {
            kept.floats_of(index).0.binary_search(&at_ms).is_ok()
                || histograms_of(kept, index).iter().any(|(_, at, _)| *at == at_ms)
        })
    }
}

impl Folding {
    /// From now on keeps what is folded: there is another writer.
    pub(super) fn begin_keeping(&mut self) {
        self.is_keeping = true;
    }

    /// Notes that a tenant's part of a segment was folded.
    pub(super) fn note(&mut self, segment: SegmentKey, tenant: &Arc<TenantTail>, batch: &Arc<MetricBatch>) {
        if !self.is_keeping {
            self.complete_after = self.complete_after.max(Some(segment));
            return;
        }
        let Some(time_range_ms) = batch.time_range_ms() else { return };
        let kept = Kept { tenant: Arc::clone(tenant), batch: Arc::clone(batch), time_range_ms };
        self.recent_bytes += memory_bytes_of(batch);
        self.recent.entry(segment).or_default().push(kept);
        let newest_ms = self.recent.last_key_value().map_or(0, |(newest, _)| newest.time_ms());
        while let Some(oldest) = self.recent.first_entry()
            && (oldest.key().time_ms() < newest_ms.saturating_sub(RECENT_MS)
                || self.recent_bytes > RECENT_BYTES)
        {
            let (segment, gone) = oldest.remove_entry();
            self.recent_bytes -= gone.iter().map(|kept| memory_bytes_of(&kept.batch)).sum::<usize>();
            self.complete_after = self.complete_after.max(Some(segment));
        }
    }

    /// What becomes of `tenant`'s part of a late segment. `is_before_others_at_rest`: segments that come after it may not be in
    /// memory.
    pub(super) fn judge(
        &self,
        tenant: &Arc<TenantTail>,
        (segment, batch): (SegmentKey, &MetricBatch),
        is_before_others_at_rest: bool,
    ) -> Verdict {
        let generations = tenant.visible_generations();
        let mut all_held: HashMap<SamplePlace, (Held, bool)> = HashMap::new();
        for (age, generation) in generations.iter().rev().enumerate() {
            generation.compare(batch, |place, at_ms, held| {
                // What a newer generation holds counts.
                all_held.entry((place, at_ms)).or_insert((held, age == 0));
            });
        }
        let later: Vec<&Kept> = if all_held.is_empty() {
            Vec::new()
        } else {
            let later = self.recent.range((Bound::Excluded(segment), Bound::Unbounded)).rev();
            later.flat_map(|(_, kept)| kept).filter(|kept| Arc::ptr_eq(&kept.tenant, tenant)).collect()
        };
        let mut lost = HashSet::new();
        for (sample, (held, is_in_newest)) in all_held {
            if held == Held::Same {
                // In an older generation it may be an earlier segment's, and go before this one does.
                if is_in_newest {
                    lost.insert(sample);
                }
            } else if later.iter().any(|kept| kept.has(batch, sample)) {
                lost.insert(sample);
            } else if self.complete_after > Some(segment) || is_before_others_at_rest {
                return Verdict::Unknown;
            }
        }
        if is_before_others_at_rest { Verdict::StandApart } else { Verdict::Fold(lost) }
    }
}
