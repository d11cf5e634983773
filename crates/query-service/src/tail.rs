//! The tail: the newest data of a shard in memory, visible before it is durable.
//!
//! ```text
//! offer ──► provisional batch ──settle(Durable)──► folded into its series, in segment order
//!                             └─settle(Withdrawn)─► gone without a trace
//! absorb = offer, durable from the start (segments of other writers, or from before a restart)
//! ```
//!
//! Each tenant has *generations*: a series index, postings, and compressed samples a series. New data goes to the newest
//! one. When it has reached its share of the memory budget, the next one begins, and when the budget is spent, the oldest
//! one is dropped as a whole: its segments are then read from the bucket.
//!
//! **Which sample wins.** Of samples with equal series and timestamp the one of the later segment wins, in whatever order segments
//! come. Flushes of this process are folded in segment order. A segment of another writer, which the listing shows up to a
//! second later, may be named before segments that are folded already: see `tail/order.rs`. Everything that is cold comes before
//! the generations, and an older generation before a newer one; what would not fit in that order stands apart as cold, in memory.
//!
//! **Locks.** `Tail::folding` → `Tail::flushes` (short) → a tenant's state → a generation's parts → a page of 64 series. Nothing is held
//! while a query reads a series' samples but the lock of that page, for reading.

mod cells;
mod chunk;
mod decimal;
mod generation;
mod head;
mod index;
mod order;
mod presence;
mod provisional;
mod select;
mod selected;
mod tenant;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use segment_store::{FlushOutcome, SegmentKey, TailOffer, TailSink};
use telemetry::{Metadata, MetricBatch, TenantId};

pub use generation::PartitionPlace;
use generation::{Generation, Origin};
use order::{Folding, Verdict};
use provisional::Provisional;
pub(crate) use provisional::batch_overlaps;
pub(crate) use selected::{Having, Selected, for_each_name_set, for_each_series};
pub(crate) use tenant::TenantView;
use tenant::{Apart, ColdPart, Numbers, Stream, TenantTail};

use crate::limits::{APART_BYTES, MAX_HELD_BYTES};

/// Numbers of the tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TailSettings {
    /// Memory (bytes) for series and samples of all tenants together, provisional batches left out. Above it the oldest
    /// generation is dropped. Default 1 GiB.
    pub memory_bytes: usize,
    /// Memory (bytes) at which a generation is full and the next one begins, unless it holds hardly
    /// more than very many series: then it goes on up to half of `memory_bytes`. Default 1/8 of `memory_bytes`' default.
    pub generation_bytes: usize,
}

impl Default for TailSettings {
    fn default() -> Self {
        Self { memory_bytes: 1 << 30, generation_bytes: 128 << 20 }
    }
}

/// What the tail holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailStats {
    /// Tenants with data.
    pub tenants: u64,
    /// Series in all generations; one that is in two counts twice.
    pub series: u64,
    /// Generations.
    pub generations: u64,
    /// Memory of series and samples (bytes).
    pub memory_bytes: u64,
    /// Batches that wait: for their flush to end, or for an earlier one.
    pub provisional_batches: u64,
    /// Partitions that queries read from the bucket.
    pub cold_partitions: u64,
}

/// The tail of one shard.
#[derive(Debug, Default)]
pub struct Tail {
    settings: TailSettings,
    tenants: RwLock<HashMap<TenantId, Arc<TenantTail>>>,
    numbers: Numbers,
    flushes: Mutex<Flushes>,
    /// Held by who folds, so that segments are folded one after the other.
    folding: Mutex<Folding>,
    memory_bytes: AtomicUsize,
    /// Memory of batches that stand apart.
    apart_bytes: Arc<AtomicUsize>,
    damage: Mutex<Damage>,
    /// Segments up to here may be missing whatever the tenants' own state says.
    floor: Mutex<Option<SegmentKey>>,
}

/// Segments that queries lack, in whole or in part.
#[derive(Debug, Default)]
struct Damage {
    /// Every one of them.
    segments: BTreeSet<SegmentKey>,
    /// Those of them that do not even show whose data they hold.
    of_unknown_tenants: BTreeSet<SegmentKey>,
}

/// A tenant's part of a flush.
type OfferedPart = (Arc<TenantTail>, Arc<Generation>, Arc<Provisional>);

#[derive(Debug, Default)]
struct Flushes {
    /// Offered and not yet folded or withdrawn.
    pending: BTreeMap<SegmentKey, Flush>,
    /// Memory of the durable ones among them (bytes).
    held_bytes: usize,
    /// The last segment that was folded.
    folded_up_to: Option<SegmentKey>,
    /// Every segment that is pending, folded or cold.
    known: BTreeSet<SegmentKey>,
}

#[derive(Debug)]
struct Flush {
    parts: Vec<OfferedPart>,
    bytes: usize,
    is_durable: bool,
    /// Whether the flushes behind it wait for it.
    holds_others: bool,
}

impl Flushes {
    /// The next flush to be folded: durable, and no flush before it may still hold it up.
    fn next_ready(&mut self) -> Option<Flush> {
        if self.held_bytes > MAX_HELD_BYTES {
            for flush in self.pending.values_mut().filter(|flush| !flush.is_durable) {
                flush.holds_others = false;
            }
        }
        let first = self.pending.iter().find(|(_, flush)| flush.is_durable || flush.holds_others);
        let segment = first.filter(|(_, flush)| flush.is_durable).map(|(segment, _)| *segment)?;
        let flush = self.pending.remove(&segment)?;
        self.held_bytes -= flush.bytes;
        self.folded_up_to = self.folded_up_to.max(Some(segment));
        Some(flush)
    }
}

impl TailSink for Tail {
    fn offer(&self, offer: TailOffer) {
        self.offer_from(Origin::ThisProcess, offer);
    }

    fn settle(&self, segment: &SegmentKey, outcome: FlushOutcome) {
        match outcome {
            FlushOutcome::Durable => {
                let mut flushes = self.flushes.lock();
                let Some(flush) = flushes.pending.get_mut(segment) else { return };
                flush.is_durable = true;
                let bytes = flush.bytes;
                for (_, _, provisional) in &flush.parts {
                    provisional.set_durable();
                }
                flushes.held_bytes += bytes;
            }
            FlushOutcome::Withdrawn => {
                let flush = {
                    let mut flushes = self.flushes.lock();
                    // When it is in the bucket all the same, a listing will show it.
                    flushes.known.remove(segment);
                    flushes.pending.remove(segment)
                };
                for (_, generation, provisional) in flush.into_iter().flat_map(|flush| flush.parts) {
                    generation.remove(&provisional);
                }
            }
        }
        self.fold_ready();
    }
}

impl Tail {
    /// An empty tail.
    #[must_use]
    pub fn new(settings: TailSettings) -> Self {
        Self { settings, ..Self::default() }
    }

    /// Folds what is ready, unless somebody else is at it, who then does this, too.
    fn fold_ready(&self) {
        loop {
            let Some(mut folding) = self.folding.try_lock() else { return };
            loop {
                let ready = self.flushes.lock().next_ready();
                let Some(flush) = ready else { break };
                for (tenant, generation, provisional) in flush.parts {
                    let part = (provisional.segment, &provisional.batch);
                    self.fold(&mut folding, &tenant, part, Some((&generation, &provisional)));
                }
            }
            self.drop_doomed(&mut folding);
            drop(folding);
            // What became ready after the last look, and before the lock was free, would otherwise be left lying.
            let more = {
                let flushes = self.flushes.lock();
                let mut holding = flushes.pending.values();
                holding
                    .find(|flush| flush.is_durable || flush.holds_others)
                    .is_some_and(|flush| flush.is_durable)
            };
            if !more {
                return;
            }
        }
    }

    /// Brings a tenant's part of a segment to where it belongs, unless that is where it is; `offered` is where it was visible
    /// as provisional.
    fn fold(
        &self,
        folding: &mut Folding,
        tenant: &Arc<TenantTail>,
        (segment, batch): (SegmentKey, &Arc<MetricBatch>),
        offered: Option<(&Arc<Generation>, &Arc<Provisional>)>,
    ) {
        tenant.add_metadata(segment, &batch.metadata);
        let verdict = if tenant.newest().max(self.floor()) > Some(segment) {
            let horizon = tenant.horizon().max(self.floor());
            folding.judge(tenant, (segment, batch), horizon > Some(segment))
        } else {
            Verdict::Fold(HashSet::new())
        };
        match &verdict {
            Verdict::Fold(lost) => return self.fold_in(folding, tenant, (segment, batch), offered, lost),
            Verdict::StandApart => self.set_apart(tenant, segment, batch),
            Verdict::Unknown => {
                tracing::info!(%segment, "an earlier segment than others in memory came late: its tenant's data is read from the bucket");
                self.set_apart(tenant, segment, batch);
                let doomed = tenant.begin_anew(&self.numbers);
                folding.doomed.extend(doomed.into_iter().map(|generation| (Arc::clone(tenant), generation)));
            }
        }
        if let Some((offered_to, provisional)) = offered {
            offered_to.remove(provisional);
        }
    }

    /// Puts a part in the newest generation, which wins over all others.
    fn fold_in(
        &self,
        folding: &mut Folding,
        tenant: &Arc<TenantTail>,
        (segment, batch): (SegmentKey, &Arc<MetricBatch>),
        offered: Option<(&Arc<Generation>, &Arc<Provisional>)>,
        lost: &HashSet<order::SamplePlace>,
    ) {
        let generation = tenant.open(Stream::Live, &self.numbers);
        let bytes = match offered.filter(|(offered_to, _)| Arc::ptr_eq(offered_to, &generation)) {
            Some((_, provisional)) => generation.fold(segment, batch, &provisional.ids, lost),
            None => {
                let (ids, bytes) = generation.resolve(batch, Origin::Elsewhere);
                bytes + generation.fold(segment, batch, &ids, lost)
            }
        };
        if let Some((offered_to, provisional)) = offered {
            offered_to.remove(provisional);
        }
        tenant.note_folded(segment);
        folding.note(segment, tenant, batch);
        self.grow(tenant, &generation, bytes);
    }

    /// Notes that `generation` takes so much more memory, and sees to it that there is room.
    fn grow(&self, tenant: &TenantTail, generation: &Arc<Generation>, bytes: usize) {
        self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
        if generation.is_full(&self.settings) {
            tenant.rotate(generation, &self.numbers);
        }
        if self.memory_bytes.load(Ordering::Relaxed) > self.settings.memory_bytes {
            self.make_room();
        }
    }

    /// Has a part read among the cold ones, in its place.
    fn set_apart(&self, tenant: &TenantTail, segment: SegmentKey, batch: &Arc<MetricBatch>) {
        if let Some((min_time_ms, max_time_ms)) = batch.time_range_ms() {
            let place = PartitionPlace { segment, min_time_ms, max_time_ms };
            let apart = Apart::new(batch, &self.apart_bytes, APART_BYTES);
            tenant.add_cold(ColdPart { place, apart });
        }
    }

    /// Drops the generations that were given up, the oldest first, but for those where something is provisional and newer ones.
    fn drop_doomed(&self, folding: &mut Folding) {
        let mut waiting: Vec<Arc<TenantTail>> = Vec::new();
        folding.doomed.retain(|(tenant, generation)| {
            if generation.has_provisional() || waiting.iter().any(|other| Arc::ptr_eq(other, tenant)) {
                waiting.push(Arc::clone(tenant));
                return true;
            }
            if tenant.drop_generation(generation) {
                self.memory_bytes.fetch_sub(generation.bytes(), Ordering::Relaxed);
            }
            false
        });
    }

    /// Drops generations until the budget holds: the oldest one of the tenant that holds most, again and again, so that a
    /// large tenant makes room for a small one and not the other way round. A generation with provisional batches
    /// stays until the next time, and so do the newer ones, which must not come before it.
    fn make_room(&self) {
        let mut tenants: Vec<(usize, Arc<TenantTail>, Vec<Arc<Generation>>)> = Vec::new();
        for tenant in self.tenants.read().values() {
            let mut generations = tenant.generations();
            let droppable = generations.iter().take_while(|generation| !generation.has_provisional()).count();
            generations.truncate(droppable);
            // The oldest one last, where it is taken from.
            generations.reverse();
            let bytes = generations.iter().map(|generation| generation.bytes()).sum();
            tenants.push((bytes, Arc::clone(tenant), generations));
        }
        while self.memory_bytes.load(Ordering::Relaxed) > self.settings.memory_bytes {
            let largest = tenants.iter_mut().max_by_key(|(bytes, _, _)| *bytes);
            let Some((bytes, tenant, generations)) = largest else { return };
            let Some(oldest) = generations.pop() else { return };
            *bytes -= oldest.bytes().min(*bytes);
            if tenant.drop_generation(&oldest) {
                self.memory_bytes.fetch_sub(oldest.bytes(), Ordering::Relaxed);
            }
        }
    }

    fn tenant_or_new(&self, tenant: &TenantId) -> Arc<TenantTail> {
        if let Some(known) = self.tenants.read().get(tenant) {
            return Arc::clone(known);
        }
        Arc::clone(self.tenants.write().entry(tenant.clone()).or_default())
    }

    /// Whether the segment is in the tail or noted as cold.
    #[must_use]
    pub fn knows(&self, segment: &SegmentKey) -> bool {
        self.flushes.lock().known.contains(segment)
    }

    /// The last segment in segment order that is known.
    #[must_use]
    pub fn last_known(&self) -> Option<SegmentKey> {
        self.flushes.lock().known.last().copied()
    }

    /// Takes in a segment that is in the bucket, unless it is known.
    pub fn absorb(&self, segment: SegmentKey, partitions: Vec<(TenantId, MetricBatch)>) {
        if self.knows(&segment) {
            return;
        }
        let partitions: Vec<_> =
            partitions.into_iter().map(|(tenant, batch)| (tenant, Arc::new(batch))).collect();
        let mut folding = self.folding.lock();
        folding.begin_keeping();
        let is_late = {
            let mut flushes = self.flushes.lock();
            let is_late = flushes.folded_up_to > Some(segment);
            if is_late && !flushes.known.insert(segment) {
                return;
            }
            is_late
        };
        if is_late {
            // At once: as provisional it would win over what comes after it.
            for (tenant, batch) in &partitions {
                let tenant = self.tenant_or_new(tenant);
                self.fold(&mut folding, &tenant, (segment, batch), None);
            }
            drop(folding);
            return self.fold_ready();
        }
        drop(folding);
        self.offer_from(Origin::Elsewhere, TailOffer { segment, partitions });
        self.settle(&segment, FlushOutcome::Durable);
    }

    /// Takes a segment from before the start into memory that was noted as cold. To be called in segment order, and once
    /// a segment. Queries go on reading it from the bucket until [`Self::show_backlog`]: with a part of the backlog in memory,
    /// later segments that are still cold would lose against earlier ones that are not.
    pub fn absorb_backlog(&self, segment: SegmentKey, partitions: Vec<(TenantId, MetricBatch)>) {
        let mut folding = self.folding.lock();
        for (tenant, batch) in partitions {
            let (tenant, batch) = (self.tenant_or_new(&tenant), Arc::new(batch));
            tenant.add_metadata(segment, &batch.metadata);
            let generation = tenant.open(Stream::Backlog, &self.numbers);
            let (ids, bytes) = generation.resolve(&batch, Origin::Elsewhere);
            let bytes = bytes + generation.fold(segment, &batch, &ids, &HashSet::new());
            folding.note(segment, &tenant, &batch);
            self.grow(&tenant, &generation, bytes);
        }
        drop(folding);
        self.fold_ready();
    }

    /// Lets queries read from memory what [`Self::absorb_backlog`] took in.
    pub fn show_backlog(&self) {
        let tenants: Vec<Arc<TenantTail>> = self.tenants.read().values().cloned().collect();
        let mut folding = self.folding.lock();
        for tenant in &tenants {
            for given_up in tenant.drop_given_up_backlog() {
                self.memory_bytes.fetch_sub(given_up.bytes(), Ordering::Relaxed);
            }
            for (segment, apart) in tenant.show_backlog() {
                let horizon = tenant.horizon().max(self.floor());
                match folding.judge(tenant, (segment, &apart.batch), horizon > Some(segment)) {
                    Verdict::Fold(lost) => {
                        self.fold_in(&mut folding, tenant, (segment, &apart.batch), None, &lost);
                        tenant.remove_cold(segment);
                    }
                    Verdict::StandApart => {}
                    Verdict::Unknown => {
                        let doomed = tenant.begin_anew(&self.numbers);
                        folding.doomed.extend(doomed.into_iter().map(|each| (Arc::clone(tenant), each)));
                        break;
                    }
                }
            }
        }
        drop(folding);
        self.fold_ready();
    }

    fn offer_from(&self, origin: Origin, offer: TailOffer) {
        let TailOffer { segment, partitions } = offer;
        let mut parts = Vec::with_capacity(partitions.len());
        for (tenant, batch) in partitions {
            let tenant = self.tenant_or_new(&tenant);
            let (generation, provisional) = self.offer_part(&tenant, segment, batch, origin);
            parts.push((tenant, generation, provisional));
        }
        let bytes = parts.iter().map(|(_, _, provisional)| provisional.memory_bytes()).sum();
        let flush = Flush { parts, bytes, is_durable: false, holds_others: true };
        let mut flushes = self.flushes.lock();
        flushes.pending.insert(segment, flush);
        flushes.known.insert(segment);
    }

    fn offer_part(
        &self,
        tenant: &TenantTail,
        segment: SegmentKey,
        batch: Arc<MetricBatch>,
        origin: Origin,
    ) -> (Arc<Generation>, Arc<Provisional>) {
        tenant.with_open(Stream::Live, &self.numbers, |open| {
            let (provisional, bytes) = open.offer(segment, batch, origin);
            self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
            (Arc::clone(open), provisional)
        })
    }

    /// Notes a segment that is not taken into memory: its partitions are read from the bucket when a query needs them.
    pub fn note_cold(
        &self,
        segment: SegmentKey,
        partitions: impl IntoIterator<Item = (TenantId, PartitionPlace)>,
    ) {
        if self.flushes.lock().known.insert(segment) {
            for (tenant, place) in partitions {
                self.tenant_or_new(&tenant).add_cold(place.into());
            }
        }
    }

    /// Notes a segment that does not even show whose data it holds. Queries of all tenants warn about it, since it may be
    /// anybody's.
    pub fn note_unreadable(&self, segment: SegmentKey) {
        self.flushes.lock().known.insert(segment);
        let mut damage = self.damage.lock();
        if damage.segments.insert(segment) {
            damage.of_unknown_tenants.insert(segment);
        }
    }

    /// Notes that `tenant`'s part of a segment cannot be read: it is not tried again, and this tenant's queries, and no
    /// other's, warn about it. Returns whether that is news.
    pub fn note_damaged(&self, tenant: &TenantId, segment: SegmentKey) -> bool {
        self.damage.lock().segments.insert(segment);
        self.tenant_or_new(tenant).add_damaged(segment)
    }

    /// How many segments cannot be read, in whole or in part.
    #[must_use]
    pub fn damaged_segments(&self) -> usize {
        self.damage.lock().segments.len()
    }

    /// The segments that `tenant`'s queries lack, in whole or in part.
    pub(crate) fn damage_of(&self, tenant: &TenantId) -> Vec<SegmentKey> {
        let of_tenant = self.tenants.read().get(tenant).map(|tenant| tenant.damaged_segments());
        let mut segments = of_tenant.unwrap_or_default();
        segments.extend(&self.damage.lock().of_unknown_tenants);
        segments
    }

    /// Segments up to `segment` need not be in the tail: queries find their data elsewhere.
    pub fn raise_floor(&self, segment: SegmentKey) {
        let mut floor = self.floor.lock();
        *floor = (*floor).max(Some(segment));
    }

    /// How far [`Self::raise_floor`] went.
    #[must_use]
    pub fn floor(&self) -> Option<SegmentKey> {
        *self.floor.lock()
    }

    /// The last segment whose part of `tenant` may not be in memory: all later ones are.
    pub(crate) fn horizon(&self, tenant: &TenantId) -> Option<SegmentKey> {
        let of_tenant = self.tenants.read().get(tenant).and_then(|tenant| tenant.horizon());
        of_tenant.max(self.floor())
    }

    /// Notes that compaction has absorbed these segments, and that queries find their data in what it made: they are no longer
    /// read from the bucket. What of them is in memory stays.
    pub fn take_over(&self, absorbed: &BTreeSet<SegmentKey>) {
        if absorbed.is_empty() {
            return;
        }
        let tenants: Vec<Arc<TenantTail>> = self.tenants.read().values().cloned().collect();
        tenants.iter().for_each(|tenant| tenant.take_over(absorbed));
    }

    /// Forgets names of segments that were deleted: no listing shows them any more.
    pub(crate) fn forget_names<'a>(&self, deleted: impl Iterator<Item = &'a SegmentKey>) {
        let mut flushes = self.flushes.lock();
        for segment in deleted.filter(|segment| !flushes.pending.contains_key(segment)).collect::<Vec<_>>() {
            flushes.known.remove(segment);
        }
    }

    /// Numbers of the tail.
    #[must_use]
    pub fn settings(&self) -> &TailSettings {
        &self.settings
    }

    /// Gives series their places in label order where no writer in this process does it, so that queries need not compare
    /// labels. Cheap where little is new.
    pub fn rank_series(&self) {
        let tenants: Vec<Arc<TenantTail>> = self.tenants.read().values().cloned().collect();
        for generation in tenants.iter().flat_map(|tenant| tenant.generations()) {
            generation.rank_series();
        }
    }

    /// What `tenant` has now from `start_ms` to `end_ms` (inclusive); nothing for a tenant without data.
    pub(crate) fn view(
        &self,
        tenant: &TenantId,
        with_provisional: bool,
        start_ms: i64,
        end_ms: i64,
    ) -> TenantView {
        let tenant = self.tenants.read().get(tenant).cloned();
        tenant.map_or_else(TenantView::default, |tenant| tenant.view(with_provisional, start_ms, end_ms))
    }

    /// Lets `read` see the tenant's metadata: metric family name → what it says about itself, and in which segment.
    pub(crate) fn metadata<T>(
        &self,
        tenant: &TenantId,
        read: impl FnOnce(&BTreeMap<String, (SegmentKey, Metadata)>) -> T,
    ) -> T {
        let tenant = self.tenants.read().get(tenant).cloned();
        match tenant {
            Some(tenant) => tenant.metadata(read),
            None => read(&BTreeMap::new()),
        }
    }

    /// What the tail holds now.
    #[must_use]
    pub fn stats(&self) -> TailStats {
        let tenants: Vec<Arc<TenantTail>> = self.tenants.read().values().cloned().collect();
        let mut stats = TailStats {
            tenants: tenants.len() as u64,
            memory_bytes: self.memory_bytes.load(Ordering::Relaxed) as u64,
            provisional_batches: self.flushes.lock().pending.len() as u64,
            ..TailStats::default()
        };
        for tenant in tenants {
            let generations = tenant.generations();
            stats.generations += generations.len() as u64;
            stats.series += generations.iter().map(|generation| u64::from(generation.series())).sum::<u64>();
            stats.cold_partitions += tenant.cold_partitions() as u64;
        }
        stats
    }
}

#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod tests;
