//! One tenant's generations, and where the data is that no generation holds.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::RwLock;
use promql::Matcher;
use segment_store::SegmentKey;
use telemetry::{Metadata, MetricBatch};

use super::generation::{Generation, GenerationView, PartitionPlace};
use super::provisional::memory_bytes_of;
use crate::limits::MAX_METADATA_A_TENANT;

/// Which of two streams a segment came in by. While a restarted tail still reads what was there before it, new data goes
/// into generations of its own, so that both streams append in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// What was in the bucket at the start.
    Backlog,
    /// Everything else.
    Live,
}

/// Numbers of generations of [`Stream::Live`] begin here, so that they win over the backlog's.
const FIRST_LIVE_NUMBER: u64 = 1 << 48;

fn is_backlog(generation: &Generation) -> bool {
    generation.number < FIRST_LIVE_NUMBER
}

#[derive(Debug, Default)]
pub(super) struct TenantTail {
    state: RwLock<TenantState>,
    metadata: RwLock<BTreeMap<String, (SegmentKey, Metadata)>>,
}

#[derive(Debug, Default)]
struct TenantState {
    /// Ascending by number; the last one of each stream is open.
    generations: Vec<Arc<Generation>>,
    /// What is to be read from the bucket, in segment order but for stragglers.
    cold: Vec<ColdPart>,
    /// The last segment that was folded or noted as cold.
    newest: Option<SegmentKey>,
    /// Segments in which the tenant's part cannot be read.
    damaged: BTreeSet<SegmentKey>,
    /// Whether queries see generations of [`Stream::Backlog`]. Until then their segments are also in `cold`.
    shows_backlog: bool,
    /// Whether they never will: what is in them comes before segments that are cold.
    gives_up_backlog: bool,
    /// The last segment that was in memory, or noted as cold, and is in neither any more.
    gone_to: Option<SegmentKey>,
}

/// A tenant's part of a segment that no generation holds.
#[derive(Clone, Debug)]
pub(crate) struct ColdPart {
    pub(crate) place: PartitionPlace,
    /// Its data, where that stands apart in memory.
    pub(crate) apart: Option<Arc<Apart>>,
}

impl From<PartitionPlace> for ColdPart {
    fn from(place: PartitionPlace) -> Self {
        Self { place, apart: None }
    }
}

/// A batch that counts towards a total of memory as long as it is there.
#[derive(Debug)]
pub(crate) struct Apart {
    pub(crate) batch: Arc<MetricBatch>,
    bytes: usize,
    total_bytes: Arc<AtomicUsize>,
}

impl Apart {
    /// Nothing if there is no room: `total_bytes` are at most `limit_bytes`.
    pub(super) fn new(
        batch: &Arc<MetricBatch>,
        total_bytes: &Arc<AtomicUsize>,
        limit_bytes: usize,
    ) -> Option<Arc<Self>> {
        let bytes = memory_bytes_of(batch);
        let held = Self { batch: Arc::clone(batch), bytes, total_bytes: Arc::clone(total_bytes) };
        let before = total_bytes.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= limit_bytes).then(|| Arc::new(held))
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.total_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl TenantState {
    fn open(&self, stream: Stream) -> Option<&Arc<Generation>> {
        let is_live = stream == Stream::Live;
        self.generations.iter().rev().find(|generation| (generation.number >= FIRST_LIVE_NUMBER) == is_live)
    }
}

/// Gives generations their numbers.
#[derive(Debug)]
pub(super) struct Numbers {
    next: AtomicU64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { next: AtomicU64::new(1) }
    }
}

impl Numbers {
    fn next(&self, stream: Stream) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        match stream {
            Stream::Backlog => number,
            Stream::Live => FIRST_LIVE_NUMBER + number,
        }
    }
}

impl TenantTail {
    /// Lets `work` put something in the open generation of `stream`, which stays until `work` is done.
    pub(super) fn with_open<T>(
        &self,
        stream: Stream,
        numbers: &Numbers,
        work: impl FnOnce(&Arc<Generation>) -> T,
    ) -> T {
        {
            let state = self.state.read();
            if let Some(open) = state.open(stream) {
                return work(open);
            }
        }
        let mut state = self.state.write();
        let open = match state.open(stream) {
            Some(open) => Arc::clone(open),
            None => {
                let open = Arc::new(Generation::new(numbers.next(stream)));
                let place = state.generations.partition_point(|other| other.number < open.number);
                state.generations.insert(place, Arc::clone(&open));
                open
            }
        };
        // Nothing is dropped while the lock is held, and `open` is not empty when it is released.
        work(&open)
    }

    /// Begins a new generation of `open`'s stream if `open` is still the newest of it.
    pub(super) fn rotate(&self, open: &Arc<Generation>, numbers: &Numbers) {
        let stream = if is_backlog(open) { Stream::Backlog } else { Stream::Live };
        let mut state = self.state.write();
        if state.open(stream).is_some_and(|newest| Arc::ptr_eq(newest, open)) {
            let next = Arc::new(Generation::new(numbers.next(stream)));
            let place = state.generations.partition_point(|other| other.number < next.number);
            state.generations.insert(place, next);
        }
    }

    /// All generations, oldest first.
    pub(super) fn generations(&self) -> Vec<Arc<Generation>> {
        self.state.read().generations.clone()
    }

    /// The generation that new data of `stream` goes to.
    pub(super) fn open(&self, stream: Stream, numbers: &Numbers) -> Arc<Generation> {
        self.with_open(stream, numbers, Arc::clone)
    }

    /// The generations that queries see, oldest first.
    pub(super) fn visible_generations(&self) -> Vec<Arc<Generation>> {
        let state = self.state.read();
        let visible = state.generations.iter().filter(|each| state.shows_backlog || !is_backlog(each));
        visible.cloned().collect()
    }

    /// The last segment that was folded or noted as cold.
    pub(super) fn newest(&self) -> Option<SegmentKey> {
        self.state.read().newest
    }

    /// Notes that a segment was folded.
    pub(super) fn note_folded(&self, segment: SegmentKey) {
        let newest = &mut self.state.write().newest;
        *newest = (*newest).max(Some(segment));
    }

    /// Begins a new generation, and returns the others that queries see.
    pub(super) fn begin_anew(&self, numbers: &Numbers) -> Vec<Arc<Generation>> {
        let before = self.visible_generations();
        {
            let mut state = self.state.write();
            state.gives_up_backlog |= !state.shows_backlog;
        }
        self.rotate(&self.open(Stream::Live, numbers), numbers);
        before
    }

    /// Drops a generation; its segments are read from the bucket from now on. Returns whether it was dropped, which it is
    /// not while batches of it are provisional.
    pub(super) fn drop_generation(&self, generation: &Arc<Generation>) -> bool {
        let mut state = self.state.write();
        let place = state.generations.iter().position(|other| Arc::ptr_eq(other, generation));
        let Some(place) = place.filter(|_| !generation.has_provisional()) else { return false };
        state.generations.remove(place);
        state.gone_to = state.gone_to.max(generation.last());
        state.gives_up_backlog |= !state.shows_backlog && !is_backlog(generation);
        if state.shows_backlog || !is_backlog(generation) {
            let places = generation.places();
            state.cold.extend(places.into_iter().map(ColdPart::from));
        }
        true
    }

    /// Makes what the backlog's generations hold visible there, and no longer in the bucket. Returns the parts that stand
    /// apart and come after some of it, the last one first.
    pub(super) fn show_backlog(&self) -> Vec<(SegmentKey, Arc<Apart>)> {
        let mut state = self.state.write();
        let backlog = state.generations.iter().filter(|generation| is_backlog(generation));
        let held: HashSet<SegmentKey> =
            backlog.flat_map(|generation| generation.places()).map(|place| place.segment).collect();
        state.cold.retain(|part| !held.contains(&part.place.segment));
        state.shows_backlog = true;
        let first = held.into_iter().min();
        let apart = state.cold.iter().filter(|part| first.is_some_and(|first| first < part.place.segment));
        let mut apart: Vec<(SegmentKey, Arc<Apart>)> =
            apart.filter_map(|part| Some((part.place.segment, Arc::clone(part.apart.as_ref()?)))).collect();
        apart.sort_unstable_by_key(|(segment, _)| std::cmp::Reverse(*segment));
        apart
    }

    /// Drops the backlog's generations if they must not be seen, and returns them.
    pub(super) fn drop_given_up_backlog(&self) -> Vec<Arc<Generation>> {
        let mut state = self.state.write();
        if !std::mem::take(&mut state.gives_up_backlog) {
            return Vec::new();
        }
        state.shows_backlog = true;
        let all = std::mem::take(&mut state.generations);
        let (backlog, live) = all.into_iter().partition(|generation| is_backlog(generation));
        state.generations = live;
        backlog
    }

    /// No longer notes a part as cold: it was folded.
    pub(super) fn remove_cold(&self, segment: SegmentKey) {
        self.state.write().cold.retain(|part| part.place.segment != segment);
    }

    /// Notes a partition that is to be read from the bucket.
    pub(super) fn add_cold(&self, part: ColdPart) {
        let mut state = self.state.write();
        state.newest = state.newest.max(Some(part.place.segment));
        state.cold.push(part);
    }

    /// No longer reads `absorbed` from the bucket: their data is found elsewhere.
    pub(super) fn take_over(&self, absorbed: &BTreeSet<SegmentKey>) {
        let state = &mut *self.state.write();
        let gone_to = &mut state.gone_to;
        state.cold.retain(|ColdPart { place, .. }| {
            let is_absorbed = absorbed.contains(&place.segment);
            if is_absorbed {
                *gone_to = (*gone_to).max(Some(place.segment));
            }
            !is_absorbed
        });
        for generation in &state.generations {
            generation.take_over(absorbed);
        }
    }

    /// The last segment that is not in memory: all later ones are.
    pub(super) fn horizon(&self) -> Option<SegmentKey> {
        let state = self.state.read();
        state.cold.iter().map(|part| part.place.segment).max().max(state.gone_to)
    }

    /// Notes that the tenant's part of `segment` cannot be read. Returns whether that is news.
    pub(super) fn add_damaged(&self, segment: SegmentKey) -> bool {
        let mut state = self.state.write();
        state.cold.retain(|part| part.place.segment != segment);
        state.damaged.insert(segment)
    }

    pub(super) fn damaged_segments(&self) -> Vec<SegmentKey> {
        self.state.read().damaged.iter().copied().collect()
    }

    pub(super) fn view(&self, with_provisional: bool, start_ms: i64, end_ms: i64) -> TenantView {
        let state = self.state.read();
        let visible = state.generations.iter().filter(|each| state.shows_backlog || !is_backlog(each));
        let generations = visible.map(|each| each.view(with_provisional)).collect();
        let mut cold: Vec<ColdPart> =
            state.cold.iter().filter(|part| part.place.overlaps(start_ms, end_ms)).cloned().collect();
        cold.sort_unstable_by_key(|part| part.place.segment);
        TenantView { generations, cold }
    }

    /// Keeps what later segments say over what earlier ones said.
    pub(super) fn add_metadata(&self, segment: SegmentKey, metadata: &BTreeMap<String, Metadata>) {
        let is_news = {
            let known = self.metadata.read();
            let is_news = |since: SegmentKey, other: &Metadata, entry| since < segment || other != entry;
            metadata.iter().any(|(name, entry)| {
                known.get(name).is_none_or(|(since, other)| is_news(*since, other, entry))
            })
        };
        if !is_news {
            return;
        }
        let mut known = self.metadata.write();
        for (name, entry) in metadata {
            match known.get(name) {
                Some((since, _)) if *since > segment => {}
                None if known.len() >= MAX_METADATA_A_TENANT => {}
                // Said again: what an earlier segment says comes too late from now on.
                Some((_, other)) if other == entry => {
                    known.entry(name.clone()).and_modify(|(since, _)| *since = segment);
                }
                _ => _ = known.insert(name.clone(), (segment, entry.clone())),
            }
        }
    }

    pub(super) fn metadata<T>(&self, read: impl FnOnce(&BTreeMap<String, (SegmentKey, Metadata)>) -> T) -> T {
        read(&self.metadata.read())
    }

    pub(super) fn cold_partitions(&self) -> usize {
        self.state.read().cold.len()
    }
}

/// What one query sees of a tenant.
#[derive(Debug, Default)]
pub(crate) struct TenantView {
    /// Oldest first.
    pub(super) generations: Vec<GenerationView>,
    /// Partitions in the time asked for that are to be read from the bucket, in segment order. All of them come before
    /// the generations.
    pub(crate) cold: Vec<ColdPart>,
}

impl TenantView {
    /// Whether there may be samples in the time range (ms, both inclusive), which must be within the one of the view, or
    /// what of it is beyond does not matter.
    pub(crate) fn may_have_samples(&self, time_range_ms: (i64, i64)) -> bool {
        self.generations.iter().any(|generation| generation.may_have_samples(time_range_ms))
            || self.cold.iter().any(|part| part.place.overlaps(time_range_ms.0, time_range_ms.1))
    }

    /// Calls `each` with every label name in memory of series with samples in the time range (ms, both inclusive); several
    /// times, in no order.
    pub(crate) fn for_each_label_name(&self, time_range_ms: (i64, i64), mut each: impl FnMut(&str)) {
        for generation in &self.generations {
            generation.for_each_name(time_range_ms, &mut each);
        }
    }

    /// Calls `each` with every value in memory of label `name` of such series; several times, in no order.
    pub(crate) fn for_each_label_value(
        &self,
        name: &str,
        time_range_ms: (i64, i64),
        mut each: impl FnMut(&str),
    ) {
        for generation in &self.generations {
            generation.for_each_value(name, time_range_ms, &mut each);
        }
    }

    /// Calls `each` with every label name, value, and the number of series that have it, generation by generation.
    pub(crate) fn for_each_pair(&self, mut each: impl FnMut(&str, &str, u64)) {
        for generation in &self.generations {
            generation.for_each_pair(&mut each);
        }
    }

    /// How many samples the series that all matchers hold for have at most, whatever the time; `None` where that takes long to
    /// tell.
    pub(crate) fn samples_at_most(&self, matchers: &[Matcher]) -> Option<u64> {
        self.generations.iter().map(|generation| generation.samples_at_most(matchers)).sum()
    }

    /// Whether it takes microseconds to tell which of the series that all matchers hold for have samples in the time range:
    /// where there are no more than `series` of them, even if that takes few.
    pub(crate) fn is_brief(&self, matchers: &[Matcher], series: usize, time_range_ms: (i64, i64)) -> bool {
        self.generations.iter().all(|generation| generation.is_brief(matchers, series, time_range_ms))
    }

    /// How many values label `name` has in the generation where it has most.
    pub(crate) fn values(&self, name: &str) -> usize {
        self.generations.iter().map(|generation| generation.values(name)).max().unwrap_or(0)
    }

    /// Series in the largest generation.
    pub(crate) fn series(&self) -> u32 {
        self.generations.iter().map(GenerationView::series).max().unwrap_or(0)
    }
}
