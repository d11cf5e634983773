//! A generation: one tenant's data of a stretch of segments, in memory, dropped as a whole.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use promql::Matcher;
use segment_store::SegmentKey;
use telemetry::MetricBatch;

use super::TailSettings;
use super::cells::Cells;
use super::head::Arrival;
use super::index::{Index, LabelValue};
use super::provisional::{Provisional, batch_overlaps};
use super::select::select;

/// Where in the bucket a tenant's part of a segment is, and which time it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionPlace {
    /// The segment.
    pub segment: SegmentKey,
    /// Earliest timestamp in it (ms).
    pub min_time_ms: i64,
    /// Latest timestamp in it (ms).
    pub max_time_ms: i64,
}

impl PartitionPlace {
    /// Whether there may be data from `start_ms` to `end_ms` (inclusive).
    #[must_use]
    pub fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.min_time_ms <= end_ms && self.max_time_ms >= start_ms
    }
}

/// What was folded into a generation.
#[derive(Debug, Default)]
struct Folded {
    /// Its segments, without those that compaction has taken over.
    places: Vec<PartitionPlace>,
    /// The last of all its segments, in segment order.
    last: Option<SegmentKey>,
    /// From the earliest to the latest timestamp (ms).
    time_range_ms: Option<(i64, i64)>,
}

impl Folded {
    fn add(&mut self, place: PartitionPlace) {
        let (min_ms, max_ms) = self.time_range_ms.unwrap_or((i64::MAX, i64::MIN));
        self.time_range_ms = Some((min_ms.min(place.min_time_ms), max_ms.max(place.max_time_ms)));
        self.last = self.last.max(Some(place.segment));
        self.places.push(place);
    }

    fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.time_range_ms.is_some_and(|(min_ms, max_ms)| min_ms <= end_ms && max_ms >= start_ms)
    }
}

/// Who made a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A writer in this process, which shares its series with the tail and ranks them.
    ThisProcess,
    /// The bucket.
    Elsewhere,
}

#[derive(Debug)]
pub(super) struct Generation {
    /// Ascends with age: of two generations of a tenant the one with the higher number wins at equal timestamps.
    pub(super) number: u64,
    index: RwLock<Index>,
    provisional: RwLock<Vec<Arc<Provisional>>>,
    folded: Mutex<Folded>,
    bytes: AtomicUsize,
    /// Memory of series and index, in `bytes` (bytes).
    index_bytes: AtomicUsize,
    /// Series that came from elsewhere, and those that had a rank after [`Self::rank_series`].
    foreign: AtomicU32,
    ranked: AtomicU32,
}

impl Generation {
    pub(super) fn new(number: u64) -> Self {
        Self {
            number,
            index: RwLock::default(),
            provisional: RwLock::default(),
            folded: Mutex::default(),
            bytes: AtomicUsize::new(0),
            index_bytes: AtomicUsize::new(0),
            foreign: AtomicU32::new(0),
            ranked: AtomicU32::new(0),
        }
    }

    /// Memory held, provisional batches left out (bytes).
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether the next generation should begin. Where there are very many series, a good part of this one must be samples by then, if
    /// there is room: the next one repeats the series, and there would soon be nothing else in memory.
    pub(super) fn is_full(&self, settings: &TailSettings) -> bool {
        let (bytes, index_bytes) = (self.bytes(), self.index_bytes.load(Ordering::Relaxed));
        let mostly_series = index_bytes > MANY_SERIES_BYTES.max(bytes / 4 * 3);
        bytes > settings.generation_bytes && !(mostly_series && bytes < settings.memory_bytes / 2)
    }

    pub(super) fn series(&self) -> u32 {
        self.index.read().cells().len()
    }

    /// Ranks the series when most come from elsewhere and a good part of them is new since the last time.
    pub(super) fn rank_series(&self) {
        let cells = self.index.read().cells().clone();
        let (foreign, ranked) = (self.foreign.load(Ordering::Relaxed), self.ranked.load(Ordering::Relaxed));
        if foreign < cells.len().div_ceil(2) || cells.len() - ranked <= ranked / 8 {
            return;
        }
        let series = (0..cells.len()).filter_map(|id| cells.series(id)).cloned();
        telemetry::series::rank(series.collect());
        self.ranked.store(cells.len(), Ordering::Relaxed);
    }

    pub(super) fn has_provisional(&self) -> bool {
        !self.provisional.read().is_empty()
    }

    pub(super) fn places(&self) -> Vec<PartitionPlace> {
        self.folded.lock().places.clone()
    }

    pub(super) fn last(&self) -> Option<SegmentKey> {
        self.folded.lock().last
    }

    /// When the generation is dropped, `absorbed` need not be read from the bucket.
    pub(super) fn take_over(&self, absorbed: &BTreeSet<SegmentKey>) {
        self.folded.lock().places.retain(|place| !absorbed.contains(&place.segment));
    }

    /// Makes `batch` visible. Returns it with the ids of its series, and the bytes of memory newly held.
    pub(super) fn offer(
        &self,
        segment: SegmentKey,
        batch: Arc<MetricBatch>,
        origin: Origin,
    ) -> (Arc<Provisional>, usize) {
        let (ids, new_series, bytes) = self.resolve(&batch);
        if origin == Origin::Elsewhere {
            self.foreign.fetch_add(new_series, Ordering::Relaxed);
        }
        let provisional = Arc::new(Provisional::new(segment, batch, ids));
        let mut all = self.provisional.write();
        let place = all.partition_point(|other| other.segment < segment);
        all.insert(place, Arc::clone(&provisional));
        (provisional, bytes)
    }

    /// Ids of the batch's series; those that are unknown get one. Also how many these are, and the bytes of memory newly
    /// held.
    fn resolve(&self, batch: &MetricBatch) -> (Vec<u32>, u32, usize) {
        let mut unknown: Vec<usize> = Vec::new();
        let mut ids: Vec<u32> = Vec::with_capacity(batch.series.len());
        {
            let index = self.index.read();
            for (place, series) in batch.series.iter().enumerate() {
                ids.push(index.find(series).unwrap_or_else(|| {
                    unknown.push(place);
                    u32::MAX
                }));
            }
        }
        let mut new_series = 0;
        let mut bytes = 0;
        for hold in unknown.chunks(NEW_SERIES_A_HOLD) {
            let mut index = self.index.write();
            for &place in hold {
                let series = &batch.series[place];
                // Another batch may have been quicker.
                ids[place] = index.find(series).unwrap_or_else(|| {
                    let (id, grown_bytes) = index.insert(series);
                    new_series += 1;
                    bytes += grown_bytes;
                    id
                });
            }
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.index_bytes.fetch_add(bytes, Ordering::Relaxed);
        (ids, new_series, bytes)
    }

    /// Appends a batch to its series, where it was visible as provisional. Returns the bytes of memory newly held.
    pub(super) fn fold(&self, provisional: &Arc<Provisional>, arrival: Arrival) -> usize {
        let cells = self.index.read().cells().clone();
        let batch = &provisional.batch;
        let mut bytes = 0;
        let mut histograms = batch.histograms.iter().peekable();
        let mut exemplars = batch.exemplars.iter().peekable();
        let mut appender = cells.appender();
        for (place, &id) in provisional.ids.iter().enumerate() {
            let Some(head) = appender.head(id) else { continue };
            let (timestamps_ms, values) = batch.floats_of(place);
            for (&timestamp_ms, &value) in timestamps_ms.iter().zip(values) {
                bytes += head.push_float(timestamp_ms, value, arrival);
            }
            while let Some((_, at, histogram)) = histograms.next_if(|next| next.0 as usize == place) {
                bytes += head.push_histogram(*at, Arc::clone(histogram), arrival);
            }
            while let Some((_, exemplar)) = exemplars.next_if(|next| next.0 as usize == place) {
                bytes += head.push_exemplar(exemplar);
            }
        }
        drop(appender);
        if let Some((min_time_ms, max_time_ms)) = batch.time_range_ms() {
            let segment = provisional.segment;
            self.folded.lock().add(PartitionPlace { segment, min_time_ms, max_time_ms });
            bytes += size_of::<PartitionPlace>();
        }
        self.remove(provisional);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        bytes
    }

    /// Takes a batch back, or away once it is folded.
    pub(super) fn remove(&self, provisional: &Arc<Provisional>) {
        self.provisional.write().retain(|other| !Arc::ptr_eq(other, provisional));
    }

    /// The generation as of now.
    pub(super) fn view(self: &Arc<Self>, with_provisional: bool) -> GenerationView {
        // Before anything else of the generation is read: a batch that is folded meanwhile is then seen twice, which is
        // harmless, and never missed.
        let mut provisional = self.provisional.read().clone();
        if !with_provisional {
            provisional.retain(|batch| batch.is_durable());
        }
        GenerationView { generation: Arc::clone(self), provisional }
    }
}

/// Memory of series that is worth sparing (bytes).
const MANY_SERIES_BYTES: usize = 64 << 20;

/// New series that are indexed under one hold of the lock: about a millisecond's work.
const NEW_SERIES_A_HOLD: usize = 512;

/// A generation as one query sees it.
#[derive(Clone, Debug)]
pub(super) struct GenerationView {
    generation: Arc<Generation>,
    /// In segment order.
    pub(super) provisional: Vec<Arc<Provisional>>,
}

impl GenerationView {
    /// The series that all matchers hold for: their ids, ascending, and the cells to find them in. Series without a
    /// sample may be among them.
    pub(super) fn select(&self, matchers: &[Matcher]) -> (Vec<u32>, Cells) {
        select(&self.generation.index, matchers)
    }

    /// For each of `ids` a number that tells its set of label names from others.
    pub(super) fn name_sets(&self, ids: &[u32]) -> Vec<u32> {
        self.generation.index.read().name_sets(ids)
    }

    /// Which series have samples in the time range (ms, both inclusive); `None` where none can have any.
    fn presence(&self, time_range_ms: (i64, i64)) -> Option<Presence> {
        let (start_ms, end_ms) = time_range_ms;
        let mut provisional = HashSet::new();
        for batch in &self.provisional {
            let within = |index: usize| batch_overlaps(&batch.batch, index, start_ms, end_ms);
            let ids = batch.ids.iter().enumerate();
            provisional.extend(ids.filter(|(index, _)| within(*index)).map(|(_, &id)| id));
        }
        let folded = self.generation.folded.lock().overlaps(start_ms, end_ms);
        let cells = self.generation.index.read().cells().clone();
        (folded || !provisional.is_empty()).then_some(Presence { cells, provisional, time_range_ms })
    }

    /// Whether there may be samples in the time range (ms, both inclusive).
    pub(super) fn may_have_samples(&self, time_range_ms: (i64, i64)) -> bool {
        self.presence(time_range_ms).is_some()
    }

    /// Calls `each` with every label name of a series with samples in the time range, in no order.
    pub(super) fn for_each_name(&self, time_range_ms: (i64, i64), mut each: impl FnMut(&str)) {
        let Some(presence) = self.presence(time_range_ms) else { return };
        let index = self.generation.index.read();
        for (name, label) in index.labels() {
            if label.values.iter().any(|value| presence.has_one_of(value.ids.as_slice())) {
                each(name);
            }
        }
    }

    /// Calls `each` with every value of label `name` that a series with samples in the time range has, in no order.
    pub(super) fn for_each_value(&self, name: &str, time_range_ms: (i64, i64), mut each: impl FnMut(&str)) {
        let Some(presence) = self.presence(time_range_ms) else { return };
        for_each_value_of(&self.generation.index, name, |value| {
            if presence.has_one_of(value.ids.as_slice()) {
                each(&value.text);
            }
        });
    }

    /// Calls `each` with every label name, value, and how many series have it, in no order. Counts series without samples,
    /// too.
    pub(super) fn for_each_pair(&self, mut each: impl FnMut(&str, &str, u64)) {
        let names: Vec<Box<str>> =
            self.generation.index.read().labels().map(|(name, _)| name.into()).collect();
        for name in names {
            for_each_value_of(&self.generation.index, &name, |value| {
                each(&name, &value.text, value.ids.as_slice().len() as u64);
            });
        }
    }

    /// How many series there are.
    pub(super) fn series(&self) -> u32 {
        self.generation.series()
    }
}

/// Calls `each` with every value of label `name`, in order of appearance, and lets others have the lock in between.
fn for_each_value_of(index: &RwLock<Index>, name: &str, mut each: impl FnMut(&LabelValue)) {
    let mut from = 0;
    loop {
        let index = index.read();
        let values = index.label(name).map_or(&[][..], |label| &label.values[from..]);
        let hold = &values[..values.len().min(VALUES_A_HOLD)];
        hold.iter().for_each(&mut each);
        if hold.len() == values.len() {
            return;
        }
        from += hold.len();
    }
}

/// Which series of a generation have samples in a time range.
struct Presence {
    cells: Cells,
    /// Those that have some in provisional batches.
    provisional: HashSet<u32>,
    time_range_ms: (i64, i64),
}

impl Presence {
    fn has_one_of(&self, ids: &[u32]) -> bool {
        let (start_ms, end_ms) = self.time_range_ms;
        let folded = |id| self.cells.read(id, |head| head.overlaps(start_ms, end_ms)) == Some(true);
        ids.iter().any(|&id| folded(id) || self.provisional.contains(&id))
    }
}

/// Label values that are looked at under one hold of the lock.
const VALUES_A_HOLD: usize = 4096;
