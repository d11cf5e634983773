//! A generation: one tenant's data of a stretch of segments, in memory, dropped as a whole.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use promql::Matcher;
use segment_store::SegmentKey;
use telemetry::MetricBatch;

use super::TailSettings;
use super::cells::Cells;
use super::head::{Head, Held, Sample};
use super::index::{Index, LabelIndex, LabelValue};
use super::presence::Presence;
use super::provisional::{Provisional, batch_overlaps, histograms_of, samples_of};
use super::select::{names_its_values, select, select_within, series_at_most};
use crate::limits::{BRIEF_PROVISIONAL_SERIES, BRIEF_SERIES};

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
    /// Series that have a folded sample.
    sampled: AtomicU32,
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
            sampled: AtomicU32::new(0),
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
        let (ids, bytes) = self.resolve(&batch, origin);
        let provisional = Arc::new(Provisional::new(segment, batch, ids));
        let mut all = self.provisional.write();
        let place = all.partition_point(|other| other.segment < segment);
        all.insert(place, Arc::clone(&provisional));
        (provisional, bytes)
    }

    /// Ids of the batch's series; those that are unknown get one. Also the bytes of memory newly held.
    pub(super) fn resolve(&self, batch: &MetricBatch, origin: Origin) -> (Vec<u32>, usize) {
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
        if origin == Origin::Elsewhere {
            self.foreign.fetch_add(new_series, Ordering::Relaxed);
        }
        (ids, bytes)
    }

    /// Calls `each` with those samples of `batch` at the time of which something is held here: place of the series in the
    /// batch, timestamp (ms), and what is held.
    pub(super) fn compare(&self, batch: &MetricBatch, mut each: impl FnMut(usize, i64, Held)) {
        let overlaps = |(min_ms, max_ms)| self.folded.lock().overlaps(min_ms, max_ms);
        if !batch.time_range_ms().is_some_and(overlaps) {
            return;
        }
        let cells = self.index.read().cells().clone();
        for (place, series) in batch.series.iter().enumerate() {
            let Some(id) = self.index.read().find(series) else { continue };
            cells.read(id, |head| {
                let mut compare = |timestamp_ms, sample: &Sample| match head.compare(timestamp_ms, sample) {
                    Held::Nothing => {}
                    held => each(place, timestamp_ms, held),
                };
                let (timestamps_ms, values) = batch.floats_of(place);
                for (&at, &value) in timestamps_ms.iter().zip(values) {
                    compare(at, &Sample::Float(value));
                }
                for (_, at, histogram) in histograms_of(batch, place) {
                    compare(*at, &Sample::Histogram(Arc::clone(histogram)));
                }
            });
        }
    }

    /// Appends a batch, whose series have these `ids` here, to its series, without the samples that are `lost`: place of the
    /// series in the batch, and timestamp (ms). Returns the bytes of memory newly held.
    pub(super) fn fold(
        &self,
        segment: SegmentKey,
        batch: &MetricBatch,
        ids: &[u32],
        lost: &HashSet<(usize, i64)>,
    ) -> usize {
        let cells = self.index.read().cells().clone();
        let is_lost = |place, at| !lost.is_empty() && lost.contains(&(place, at));
        let mut bytes = 0;
        let mut first_sampled = 0;
        let mut histograms = batch.histograms.iter().peekable();
        let mut exemplars = batch.exemplars.iter().peekable();
        let mut appender = cells.appender();
        for (place, &id) in ids.iter().enumerate() {
            let Some(head) = appender.head(id) else { continue };
            let was_empty = head.is_empty();
            let (timestamps_ms, values) = batch.floats_of(place);
            for (&timestamp_ms, &value) in timestamps_ms.iter().zip(values) {
                if !is_lost(place, timestamp_ms) {
                    bytes += head.push_float(timestamp_ms, value);
                }
            }
            while let Some((_, at, histogram)) = histograms.next_if(|next| next.0 as usize == place) {
                if !is_lost(place, *at) {
                    bytes += head.push_histogram(*at, Arc::clone(histogram));
                }
            }
            while let Some((_, exemplar)) = exemplars.next_if(|next| next.0 as usize == place) {
                bytes += head.push_exemplar(exemplar);
            }
            first_sampled += u32::from(was_empty && !head.is_empty());
        }
        drop(appender);
        if let Some((min_time_ms, max_time_ms)) = batch.time_range_ms() {
            self.folded.lock().add(PartitionPlace { segment, min_time_ms, max_time_ms });
            bytes += size_of::<PartitionPlace>();
        }
        // After the time range, which is then never less than that of the samples of these series.
        self.sampled.fetch_add(first_sampled, Ordering::Release);
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

    /// Calls `each` with one stretch after the other of the series that all matchers hold for, each with its ids, ascending,
    /// until it breaks off: first a short one, so that who needs only a few does not pay for all.
    pub(super) fn select_in_stretches(
        &self,
        matchers: &[Matcher],
        mut each: impl FnMut(&[u32]) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let cells = self.generation.index.read().cells().clone();
        let (mut start, mut length) = (0, FIRST_STRETCH);
        while start < cells.len() {
            let end = start.saturating_add(length).min(cells.len());
            each(&select_within(&self.generation.index, &cells, matchers, start..end))?;
            (start, length) = (end, length.saturating_mul(STRETCH_GROWTH));
        }
        ControlFlow::Continue(())
    }

    /// How many samples the series that all matchers hold for have at most, whatever the time; `None` where that takes long
    /// to tell.
    pub(super) fn samples_at_most(&self, matchers: &[Matcher]) -> Option<u64> {
        if self.has_much_waiting() || series_at_most(&self.generation.index, matchers) > BRIEF_SERIES {
            return None;
        }
        let (ids, cells) = self.select(matchers);
        let mut samples: u64 = ids.iter().filter_map(|id| cells.read(*id, Head::samples_at_most)).sum();
        for batch in &self.provisional {
            batch.for_each_of(&ids, |_, index| samples += samples_of(&batch.batch, index));
        }
        Some(samples)
    }

    /// Whether it takes microseconds to tell which of the series that all matchers hold for, of at most so many, have samples
    /// in the time range.
    pub(super) fn is_brief(&self, matchers: &[Matcher], series: usize, time_range_ms: (i64, i64)) -> bool {
        let at_most = series_at_most(&self.generation.index, matchers);
        if at_most > BRIEF_SERIES && !matchers.iter().all(names_its_values) {
            return false;
        }
        let is_quick = || self.has_all_within(time_range_ms).is_some();
        (at_most <= series && is_quick()) || (at_most <= BRIEF_SERIES && !self.has_much_waiting())
    }

    fn has_much_waiting(&self) -> bool {
        let waiting: usize = self.provisional.iter().map(|batch| batch.ids.len()).sum();
        waiting > BRIEF_PROVISIONAL_SERIES
    }

    /// How many values label `name` has.
    pub(super) fn values(&self, name: &str) -> usize {
        self.generation.index.read().label(name).map_or(0, |label| label.values.len())
    }

    /// For each of `ids` a number that tells its set of label names from others; numbers are small.
    pub(super) fn name_sets(&self, ids: &[u32]) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(ids.len());
        for hold in ids.chunks(IDS_A_HOLD) {
            numbers.extend(self.generation.index.read().name_sets(hold));
        }
        numbers
    }

    /// The series there are, if all of them have samples in the time range (ms, both inclusive).
    fn has_all_within(&self, (start_ms, end_ms): (i64, i64)) -> Option<Cells> {
        // In this order: when so many had samples before there were so many, then these are all.
        let sampled = self.generation.sampled.load(Ordering::Acquire);
        let cells = self.generation.index.read().cells().clone();
        let time_range_ms = self.generation.folded.lock().time_range_ms;
        let is_within = time_range_ms.is_some_and(|(min_ms, max_ms)| start_ms <= min_ms && max_ms <= end_ms);
        (is_within && sampled == cells.len()).then_some(cells)
    }

    /// Which series have samples in the time range (ms, both inclusive), as far as they are in `ids` if that is given; `None`
    /// where none can have any.
    pub(super) fn presence(&self, ids: Option<&[u32]>, time_range_ms: (i64, i64)) -> Option<Presence> {
        if let Some(cells) = self.has_all_within(time_range_ms) {
            return Some(Presence::everywhere(cells, time_range_ms));
        }
        let (start_ms, end_ms) = time_range_ms;
        let folded = self.generation.folded.lock().overlaps(start_ms, end_ms);
        let cells = self.generation.index.read().cells().clone();
        let mut presence = Presence::here_and_there(cells, time_range_ms);
        let mut is_any_provisional = false;
        for batch in &self.provisional {
            let mut add = |id, index| {
                if batch_overlaps(&batch.batch, index, start_ms, end_ms) {
                    presence.add_provisional(id);
                    is_any_provisional = true;
                }
            };
            match ids {
                Some(ids) => batch.for_each_of(ids, add),
                None => batch.ids.iter().enumerate().for_each(|(index, &id)| add(id, index)),
            }
        }
        (folded || is_any_provisional).then_some(presence)
    }

    /// Whether there may be samples in the time range (ms, both inclusive).
    pub(super) fn may_have_samples(&self, time_range_ms: (i64, i64)) -> bool {
        let (start_ms, end_ms) = time_range_ms;
        let is_within = |batch: &Provisional| {
            batch.batch.time_range_ms().is_some_and(|(min_ms, max_ms)| min_ms <= end_ms && max_ms >= start_ms)
        };
        self.generation.folded.lock().overlaps(start_ms, end_ms)
            || self.provisional.iter().any(|batch| is_within(batch))
    }

    /// Calls `each` with every label name of a series with samples in the time range, in no order.
    pub(super) fn for_each_name(&self, time_range_ms: (i64, i64), mut each: impl FnMut(&str)) {
        let Some(presence) = self.presence(None, time_range_ms) else { return };
        let names: Vec<Box<str>> =
            self.generation.index.read().labels().map(|(name, _)| name.into()).collect();
        for name in names {
            let flow =
                for_each_present(&self.generation.index, &name, &presence, None, |_| ControlFlow::Break(()));
            if flow.is_break() {
                each(&name);
            }
        }
    }

    /// Calls `each` with every value of label `name` that a series with samples in the time range has, in ascending order.
    pub(super) fn for_each_value(&self, name: &str, time_range_ms: (i64, i64), mut each: impl FnMut(&str)) {
        let Some(presence) = self.presence(None, time_range_ms) else { return };
        let order = order_of_values(&self.generation.index, name);
        _ = for_each_present(&self.generation.index, name, &presence, Some(&order), |value| {
            each(value);
            ControlFlow::Continue(())
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

/// Calls `each` with every value of label `name` that a present series has, in `order` or else in order of appearance, until
/// it breaks off. Lets others have the lock in between, however many series a value has.
fn for_each_present(
    index: &RwLock<Index>,
    name: &str,
    presence: &Presence,
    order: Option<&[u32]>,
    mut each: impl FnMut(&str) -> ControlFlow<()>,
) -> ControlFlow<()> {
    // Which value is looked at, and which of its series comes next.
    let (mut at, mut from) = (0, 0);
    loop {
        let index = index.read();
        let Some(label) = index.label(name) else { return ControlFlow::Continue(()) };
        let mut left = IDS_A_HOLD;
        while left > 0 {
            let place = order.map_or(Some(at), |order| order.get(at).map(|place| *place as usize));
            let Some(value) = place.and_then(|place| label.values.get(place)) else {
                return ControlFlow::Continue(());
            };
            let ids = &value.ids.as_slice()[from..];
            let hold = &ids[..ids.len().min(left)];
            let is_present = presence.has_one_of(hold);
            if is_present {
                each(&value.text)?;
            }
            if is_present || hold.len() == ids.len() {
                (at, from) = (at + 1, 0);
            } else {
                from += hold.len();
            }
            left -= if is_present { 1 } else { hold.len() };
        }
    }
}

/// Places of the values of label `name` in ascending order of their texts: of all that there are, or more.
fn order_of_values(index: &RwLock<Index>, name: &str) -> Arc<[u32]> {
    let known = {
        let index = index.read();
        let Some(label) = index.label(name) else { return Arc::default() };
        let known = label.known_order();
        if known.len() == label.values.len() {
            return known;
        }
        known
    };
    // Copied, so that nobody waits for the sorting.
    let (mut texts, mut ends) = (String::new(), vec![0]);
    for_each_value_of(index, name, |value| {
        texts.push_str(&value.text);
        ends.push(texts.len());
    });
    let text = |place: &u32| &texts[ends[*place as usize]..ends[*place as usize + 1]];
    let mut order: Vec<u32> = (0..ends.len() as u32 - 1).collect();
    order[known.len()..].sort_unstable_by_key(text);
    order[..known.len()].copy_from_slice(&known);
    // Two runs, which it merges.
    order.sort_by_key(text);
    let order: Arc<[u32]> = order.into();
    index.read().label(name).into_iter().for_each(|label: &LabelIndex| label.keep_order(Arc::clone(&order)));
    order
}

/// Label values that are looked at under one hold of the lock.
const VALUES_A_HOLD: usize = 4096;
/// Series that are looked at under one hold of the lock: some hundred microseconds.
const IDS_A_HOLD: usize = 4096;
/// Ids of the first stretch of a selection that may be broken off: some times as many as people have listed.
const FIRST_STRETCH: u32 = 4096;
/// How many times as long as the one before each stretch is: expressions are tried on all values of a label for each.
const STRETCH_GROWTH: u32 = 16;
