//! From a query to the data it needs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, stream};
use promql::{LimitExceeded, Matcher, Reading};
use roaring::RoaringBitmap;
use segment_store::limits::MAX_SNAPSHOTS;
use segment_store::thin::Days;
use segment_store::{
    FreshObject, ReadError, Resolution, SegmentEntry, SegmentKey, ShardManifest, TenantManifest, TimeWindow,
    read_fresh_footer, read_fresh_partition,
};
use storage_format::tenant::{Block, BlockKind};
use storage_format::{
    Footer, FooterParse, FormatError, PartitionEntry, Signal, TenantFooter, decode_metrics_partition,
};
use telemetry::{MetricBatch, TenantId};

use super::blocks::batch_memory_bytes;
use super::choice::{self, Service};
use super::part::HeldBlock;
use super::{Cold, MemoryShare, OpenSegment, Opened, SegmentPart, Segments};
use crate::cache::{FetchError, ObjectRef, PageKind};
use crate::error::QueryError;
use crate::limits::{OVERVIEW_SEGMENTS, READS_AT_ONCE};
use crate::source::{FetchLimits, Needs, Scope};
use crate::tail::{PartitionPlace, TenantView};

/// What a query reads from.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) view: TenantView,
    /// In the order in which they win.
    pub(crate) cold: Vec<Cold>,
    /// Bytes of segments that it needs, in the cache or not.
    pub(crate) cold_bytes: u64,
    /// Objects of this tenant that compaction could not read.
    pub(crate) quarantined: Vec<String>,
    /// Objects that are damaged, but in whose place others were read that say the same.
    pub(crate) spared: BTreeSet<Arc<str>>,
    /// What else answers have to say.
    pub(crate) notes: Vec<String>,
    /// Held as long as the data is.
    _memory: Option<MemoryShare>,
}

/// An object that may hold data of the query.
#[derive(Clone, Debug)]
struct Unit {
    first: SegmentKey,
    last: SegmentKey,
    key: Arc<str>,
    what: What,
    /// Of a segment of the tenant.
    service: Option<Service>,
    /// Of a fresh segment whose data is in memory all the same, in its place among the others.
    held: Option<Arc<MetricBatch>>,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// A fresh segment that is not in memory.
    Fresh(PartitionPlace),
    /// A merged object of this length.
    Merged(u64),
    /// A segment of the tenant: its length, and where its index begins.
    Segment(u64, u64),
}

/// Why loading stopped.
#[derive(Debug)]
enum Stop {
    /// Objects have gone: there are newer manifests.
    Gone(Vec<Unit>),
    /// Thinned segments turned out to be damaged, in whose place there may be others.
    Damaged,
    Query(QueryError),
}

impl From<QueryError> for Stop {
    fn from(error: QueryError) -> Self {
        Self::Query(error)
    }
}

/// What a unit needs, before any data of it is fetched.
enum Prepared {
    /// It has nothing of the query.
    Nothing,
    Held(Arc<MetricBatch>),
    Part {
        entry: PartitionEntry,
        decoded: Option<Arc<MetricBatch>>,
    },
    Segment {
        segment: Arc<OpenSegment>,
        service: Option<Service>,
        selections: Vec<(Vec<Matcher>, RoaringBitmap)>,
        held: Vec<(u32, HeldBlock)>,
        /// Blocks to fetch.
        wanted: Vec<u32>,
    },
}

/// Counts what a query takes, and stops it at a limit.
struct Counting {
    limits: FetchLimits,
    bytes: AtomicU64,
    memory_bytes: AtomicU64,
}

impl Counting {
    fn add_bytes(&self, bytes: u64) -> Result<(), QueryError> {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let limit_bytes = self.limits.bytes;
        if before.saturating_add(bytes) > limit_bytes {
            Err(QueryError::Bytes { limit_bytes })
        } else {
            Ok(())
        }
    }

    fn add_memory(&self, bytes: u64) -> Result<(), QueryError> {
        let before = self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
        let limit = self.limits.memory_bytes;
        if before.saturating_add(bytes) > limit {
            Err(LimitExceeded::Memory { limit }.into())
        } else {
            Ok(())
        }
    }

    /// Takes memory that the query can do without: only if less than half of the limit is in use then.
    fn has_room_for(&self, bytes: u64) -> bool {
        let taken = self.memory_bytes.load(Ordering::Relaxed).saturating_add(bytes);
        let is_so = taken <= self.limits.memory_bytes / 2;
        if is_so {
            self.memory_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        is_so
    }
}

impl Segments {
    /// Loads what `tenant`'s query in `scope` reads from.
    pub(crate) async fn load(
        self: &Arc<Self>,
        tenant: &TenantId,
        scope: &Scope,
        limits: FetchLimits,
    ) -> Result<Loaded, QueryError> {
        let mut snapshots = 1;
        loop {
            match self.load_once(tenant, scope, limits).await {
                Ok(loaded) => return Ok(loaded),
                Err(Stop::Gone(units)) if snapshots < MAX_SNAPSHOTS => {
                    snapshots += 1;
                    self.look_again(tenant, &units).await?;
                }
                Err(Stop::Gone(units)) => {
                    let objects: Vec<&Arc<str>> = units.iter().map(|unit| &unit.key).collect();
                    tracing::error!(%tenant, ?objects, "objects that a query needs are not there");
                    return Err(QueryError::Unavailable("stored data could not be read; try again later"));
                }
                // Each is noted once, and there is room to note so many.
                Err(Stop::Damaged) => {}
                Err(Stop::Query(error)) => return Err(error),
            }
        }
    }

    /// After `units` were found to be gone.
    async fn look_again(&self, tenant: &TenantId, units: &[Unit]) -> Result<(), QueryError> {
        self.refresh().await?;
        self.manifests.distrust(tenant);
        let swept_to = self.manifest().swept_to;
        let fresh = units.iter().filter(|unit| matches!(unit.what, What::Fresh(_))).map(|unit| unit.first);
        // They were absorbed and deleted between two looks at the manifest.
        self.tail.take_over(&fresh.filter(|segment| Some(*segment) <= swept_to).collect());
        Ok(())
    }

    async fn load_once(
        self: &Arc<Self>,
        tenant: &TenantId,
        scope: &Scope,
        limits: FetchLimits,
    ) -> Result<Loaded, Stop> {
        let (start_ms, end_ms) = scope.time_range_ms;
        // In this order: see the module's documentation.
        let view = self.tail.view(tenant, scope.with_provisional, start_ms, end_ms);
        let shard = self.manifests.shard();
        if shard.deleted_tenants.contains(tenant) {
            return Ok(Loaded::default());
        }
        let manifest = self.tenant_manifest(tenant, &shard, scope).await?;
        let damaged = self.damaged_of(tenant);
        let is_damaged = |entry: &SegmentEntry| {
            !damaged.is_empty() && damaged.contains(&*TenantManifest::segment_key(tenant, &entry.id))
        };
        // Days that have samples elsewhere than in segments of the tenant.
        let mut busy: BTreeSet<TimeWindow> = BTreeSet::new();
        let (days, units, prepared, counting) = loop {
            let is_busy = |day: TimeWindow| {
                busy.contains(&day) || view.may_have_samples((day.start_ms, day.end_ms() - 1))
            };
            let days = Arc::new(Days::of(&manifest, is_busy, is_damaged));
            let units = self.units(tenant, scope, &view, &shard, &manifest, &days);
            let counting = Counting { limits, bytes: AtomicU64::new(0), memory_bytes: AtomicU64::new(0) };
            let preparing = units.iter().map(|unit| self.prepare(tenant, scope, unit, &counting).boxed());
            let prepared = in_order(preparing.collect()).await?;
            // What their footers say is known only now. Days of which raw samples are gone stay as they are.
            let more = busy_days(&units, &prepared);
            if more.is_subset(&busy) {
                break (days, units, prepared, counting);
            }
            busy.extend(more);
        };
        let notes = match &scope.needs {
            Needs::Samples(selections) => choice::notes(&days, selections),
            _ => Vec::new(),
        };
        let memory = self.memory.take(counting.memory_bytes.load(Ordering::Relaxed)).await?;
        let loading = units.iter().zip(prepared);
        let loading =
            loading.map(|(unit, prepared)| self.load_unit(tenant, unit, prepared, &counting).boxed());
        let cold = in_order(loading.collect()).await?.into_iter().flatten().collect();
        let of_shard = shard.quarantined.iter();
        let of_shard = of_shard.filter(|each| each.tenant.as_ref().is_none_or(|whose| whose == tenant));
        let quarantined = of_shard.chain(&manifest.quarantined).map(|each| each.object.clone()).collect();
        let cold_bytes = counting.bytes.load(Ordering::Relaxed);
        let mut spared = damaged;
        if !spared.is_empty() {
            let thinned = manifest.segments.iter().filter(|entry| entry.resolution != Resolution::Raw);
            let thinned: BTreeSet<String> =
                thinned.map(|entry| TenantManifest::segment_key(tenant, &entry.id)).collect();
            let read: BTreeSet<&Arc<str>> = units.iter().map(|unit| &unit.key).collect();
            spared.retain(|object| thinned.contains(&**object) && !read.contains(object));
        }
        Ok(Loaded { view, cold, cold_bytes, quarantined, spared, notes, _memory: Some(memory) })
    }

    async fn tenant_manifest(
        self: &Arc<Self>,
        tenant: &TenantId,
        shard: &ShardManifest,
        scope: &Scope,
    ) -> Result<Arc<TenantManifest>, Stop> {
        let read = self.manifests.tenant(tenant, shard).await.map_err(QueryError::from)?;
        if let Some(before) = read.before {
            // Whoever asks again and again for the latest data will ask for that of these segments.
            let came = read.manifest.segments.iter().filter(|entry| before.segment(&entry.id).is_none());
            for entry in came.filter(|entry| entry.overlaps(scope.time_range_ms.0, scope.time_range_ms.1)) {
                let key = TenantManifest::segment_key(tenant, &entry.id).into();
                let object = ObjectRef { key, len: entry.len };
                self.cache.prefetch(tenant, object, PageKind::Index, entry.index_start..entry.len);
            }
        } else if self.manifests.ages(tenant) {
            // So that no query has to wait for it.
            let (segments, tenant) = (Arc::clone(self), tenant.clone());
            tokio::spawn(async move { segments.manifests.renew(&tenant).await });
        }
        Ok(read.manifest)
    }

    /// The units that may hold data of the query, in their order.
    fn units(
        &self,
        tenant: &TenantId,
        scope: &Scope,
        view: &TenantView,
        shard: &ShardManifest,
        manifest: &TenantManifest,
        days: &Arc<Days>,
    ) -> Vec<Unit> {
        let (start_ms, end_ms) = scope.time_range_ms;
        let horizon = self.tail.horizon(tenant);
        let absorbed_to = shard.absorbed_to();
        // What begins after all that is not in memory is in memory as a whole. What is newer than the shard's manifest
        // may hold what the tail does not know of yet.
        let is_in_memory =
            |first: SegmentKey, last: SegmentKey| Some(first) > horizon && Some(last) <= absorbed_to;
        let mut units = Vec::new();
        for part in view.cold.iter().filter(|part| !shard.has_absorbed(&part.place.segment)) {
            let key = part.place.segment.to_string().into();
            let (first, last, what) = (part.place.segment, part.place.segment, What::Fresh(part.place));
            let held = part.apart.as_ref().map(|apart| Arc::clone(&apart.batch));
            units.push(Unit { first, last, key, what, service: None, held });
        }
        for merged in shard.merged.iter().filter(|merged| !manifest.has_absorbed(&merged.id)) {
            if !is_in_memory(merged.first, merged.last) {
                let key = ShardManifest::merged_key(self.shard, &merged.id).into();
                let what = What::Merged(merged.len);
                let (first, last) = (merged.first, merged.last);
                units.push(Unit { first, last, key, what, service: None, held: None });
            }
        }
        let readings: Vec<Reading> = match &scope.needs {
            Needs::Samples(selections) => selections.iter().map(|selection| selection.reading).collect(),
            _ => vec![Reading::All],
        };
        let all = manifest.segments.iter().map(|entry| (entry, Service::new(days, entry)));
        let answers = |service: &Service| readings.iter().any(|reading| service.answers(*reading));
        let mut segments: Vec<_> = all.filter(|(_, service)| answers(service)).collect();
        match scope.needs {
            Needs::Overview => {
                segments.sort_by_key(|(entry, _)| std::cmp::Reverse(entry.last));
                segments.truncate(OVERVIEW_SEGMENTS);
            }
            _ => segments.retain(|(entry, _)| entry.overlaps(start_ms, end_ms)),
        }
        for (entry, service) in segments {
            if !is_in_memory(entry.first, entry.last) {
                let key = TenantManifest::segment_key(tenant, &entry.id).into();
                let what = What::Segment(entry.len, entry.index_start);
                let (first, last) = (entry.first, entry.last);
                units.push(Unit { first, last, key, what, service: Some(service), held: None });
            }
        }
        units.sort_by(|a, b| (a.last, a.first, &a.key).cmp(&(b.last, b.first, &b.key)));
        units
    }

    /// Notes damage; other errors stop the query, as does the first sight of damage of a thinned segment: others may do.
    fn unless_damaged<T>(
        &self,
        tenant: &TenantId,
        unit: &Unit,
        read: Result<T, UnitError>,
    ) -> Result<Option<T>, Stop> {
        let error = match read {
            Ok(read) => return Ok(Some(read)),
            Err(UnitError::Gone) => return Err(Stop::Gone(vec![unit.clone()])),
            Err(UnitError::Other(error)) => return Err(Stop::Query(error)),
            Err(UnitError::Damaged(error)) => error,
        };
        if let What::Fresh(place) = unit.what {
            self.tail.note_damaged(tenant, place.segment);
        }
        let is_news = self.note_damaged(tenant, &unit.key);
        let error = &*error as &dyn std::error::Error;
        if is_news && unit.service.as_ref().is_some_and(|service| service.thinned_day().is_some()) {
            tracing::error!(%tenant, object = %unit.key, error, "a thinned segment cannot be read");
            return Err(Stop::Damaged);
        }
        tracing::error!(%tenant, object = %unit.key, error, "an object cannot be read; queries lack its data");
        Ok(None)
    }

    /// Finds out what of a unit is needed.
    async fn prepare(
        &self,
        tenant: &TenantId,
        scope: &Scope,
        unit: &Unit,
        counting: &Counting,
    ) -> Result<Prepared, Stop> {
        if let Some(held) = &unit.held {
            return Ok(Prepared::Held(Arc::clone(held)));
        }
        match unit.what {
            What::Fresh(place) => {
                let object = FreshObject { key: place.segment, len: 0 };
                let footer = read_fresh_footer(&*self.bucket, &object).await.map_err(UnitError::from);
                let footer = self.unless_damaged(tenant, unit, footer)?;
                self.prepare_part(tenant, scope, unit, footer.as_ref(), counting)
            }
            What::Merged(len) => {
                let footer = self.footer(tenant, &unit.key, len).await;
                let footer = self.unless_damaged(tenant, unit, footer)?;
                self.prepare_part(tenant, scope, unit, footer.as_deref(), counting)
            }
            What::Segment(len, index_start) => {
                let opened = self.open(tenant, &unit.key, len, index_start).await;
                let Some(segment) = self.unless_damaged(tenant, unit, opened)? else {
                    return Ok(Prepared::Nothing);
                };
                counting.add_bytes(len - index_start)?;
                let needed = self.prepare_segment(scope, segment, unit.service.clone(), counting);
                Ok(self.unless_damaged(tenant, unit, needed)?.unwrap_or(Prepared::Nothing))
            }
        }
    }

    fn prepare_part(
        &self,
        tenant: &TenantId,
        scope: &Scope,
        unit: &Unit,
        footer: Option<&Footer>,
        counting: &Counting,
    ) -> Result<Prepared, Stop> {
        let (start_ms, end_ms) = scope.time_range_ms;
        let Some(entry) = footer.and_then(|footer| footer.find(tenant, Signal::Metrics)) else {
            return Ok(Prepared::Nothing);
        };
        let overlaps = entry.min_time_ms <= end_ms && entry.max_time_ms >= start_ms;
        if !overlaps && !matches!(scope.needs, Needs::Overview) {
            return Ok(Prepared::Nothing);
        }
        counting.add_bytes(entry.range.end - entry.range.start)?;
        let decoded = self.decoded.part(&unit.key, tenant);
        let memory_bytes = decoded.as_deref().map(|batch| batch_memory_bytes(batch) as u64);
        counting.add_memory(memory_bytes.unwrap_or_else(|| estimated_memory_bytes(entry)))?;
        Ok(Prepared::Part { entry: entry.clone(), decoded })
    }

    /// Selects the series of a segment, and the blocks that hold their samples.
    fn prepare_segment(
        &self,
        scope: &Scope,
        segment: Arc<OpenSegment>,
        service: Option<Service>,
        counting: &Counting,
    ) -> Result<Prepared, UnitError> {
        let index = segment.index();
        let mut selections = Vec::new();
        let mut numbers = RoaringBitmap::new();
        // Blocks are in the order of their bytes.
        let number_of = |block: &Block| {
            let begins_before = |other: &Block| other.section.range.start < block.section.range.start;
            index.blocks().partition_point(begins_before) as u32
        };
        let mut select =
            |matchers: &[Matcher], (start_ms, end_ms): (i64, i64), exemplars: bool, omitted: bool| {
                let selected = segment.select(matchers).map_err(UnitError::damaged)?;
                let blocks = index.blocks_for(&selected, start_ms, end_ms, exemplars);
                let blocks =
                    blocks.into_iter().filter(|block| (block.kind == BlockKind::Exemplars) == exemplars);
                numbers.extend(blocks.map(number_of));
                let is_needed = |block: &Block| {
                    omitted
                        && block.kind == BlockKind::Omitted
                        && block.overlaps(start_ms, end_ms)
                        && selected.range_cardinality(block.first..=block.last) > 0
                };
                numbers.extend(
                    (0..).zip(index.blocks()).filter(|(_, block)| is_needed(block)).map(|(number, _)| number),
                );
                selections.push((matchers.to_vec(), selected));
                Ok::<(), UnitError>(())
            };
        match &scope.needs {
            Needs::Overview | Needs::Labels => {}
            Needs::Samples(wanted) => {
                for selection in wanted.iter() {
                    let reading = selection.reading;
                    if service.as_ref().is_none_or(|service| service.answers(reading)) {
                        let omitted = service.as_ref().is_some_and(|service| service.has_omitted(reading));
                        let range_ms = (selection.start_ms, selection.end_ms);
                        select(&selection.matchers, range_ms, false, omitted)?;
                    }
                }
            }
            Needs::Exemplars(wanted) => {
                for matchers in wanted.iter() {
                    select(matchers, scope.time_range_ms, true, false)?;
                }
            }
        }
        let (mut held, mut wanted) = (Vec::new(), Vec::new());
        for number in numbers {
            let bytes = index.blocks()[number as usize].section.len_bytes();
            counting.add_bytes(bytes)?;
            let decoded = self.decoded.block(segment.number(), number);
            match decoded.filter(|decoded| counting.has_room_for(decoded.memory_bytes() as u64)) {
                Some(decoded) => held.push((number, HeldBlock::Decoded(decoded))),
                None => {
                    counting.add_memory(bytes)?;
                    wanted.push(number);
                }
            }
        }
        Ok(Prepared::Segment { segment, service, selections, held, wanted })
    }

    /// Fetches what of a unit is needed.
    async fn load_unit(
        &self,
        tenant: &TenantId,
        unit: &Unit,
        prepared: Prepared,
        counting: &Counting,
    ) -> Result<Option<Cold>, Stop> {
        match prepared {
            Prepared::Nothing => Ok(None),
            Prepared::Held(batch) => Ok(Some(Cold::Batch(batch))),
            Prepared::Part { decoded: Some(batch), .. } => Ok(Some(Cold::Batch(batch))),
            Prepared::Part { entry, decoded: None } => {
                let estimated_bytes = estimated_memory_bytes(&entry);
                let batch = match unit.what {
                    What::Merged(len) => self.part(tenant, &unit.key, len, entry).await,
                    _ => {
                        let object = FreshObject { key: unit.first, len: 0 };
                        read_fresh_partition(&*self.bucket, &object, &entry).await.map_err(UnitError::from)
                    }
                };
                tokio::task::yield_now().await;
                let Some(batch) = self.unless_damaged(tenant, unit, batch)? else { return Ok(None) };
                let batch = Arc::new(batch);
                counting.add_memory((batch_memory_bytes(&batch) as u64).saturating_sub(estimated_bytes))?;
                if matches!(unit.what, What::Merged(_)) {
                    self.decoded.keep_part(&unit.key, tenant, &batch);
                }
                Ok(Some(Cold::Batch(batch)))
            }
            Prepared::Segment { segment, service, selections, mut held, wanted } => {
                let blocks = segment.index().blocks();
                let ranges: Vec<_> =
                    wanted.iter().map(|number| blocks[*number as usize].section.range.clone()).collect();
                let What::Segment(len, _) = unit.what else { return Ok(None) };
                let object = ObjectRef { key: Arc::clone(&unit.key), len };
                let read = self.cache.read(tenant, &object, PageKind::Data, &ranges).await;
                let Some(bytes) = self.unless_damaged(tenant, unit, read.map_err(UnitError::from))? else {
                    return Ok(None);
                };
                held.extend(wanted.into_iter().zip(bytes.into_iter().map(HeldBlock::Bytes)));
                let part = SegmentPart::new(segment, held, selections, self.decoded.clone()).serving(service);
                Ok(Some(Cold::Segment(Arc::new(part))))
            }
        }
    }

    /// The tenant's part of a merged object, decoded.
    async fn part(
        &self,
        tenant: &TenantId,
        key: &Arc<str>,
        len: u64,
        entry: PartitionEntry,
    ) -> Result<MetricBatch, UnitError> {
        let object = ObjectRef { key: Arc::clone(key), len };
        let read =
            self.cache.read(tenant, &object, PageKind::Data, std::slice::from_ref(&entry.range)).await?;
        let bytes = read.into_iter().next().unwrap_or_default();
        on_blocking_thread(move || decode_metrics_partition(&entry, &bytes)).await
    }

    /// The footer of a merged object.
    async fn footer(&self, tenant: &TenantId, key: &Arc<str>, len: u64) -> Result<Arc<Footer>, UnitError> {
        let opened = self.opened_once(key, async || {
            let object = ObjectRef { key: Arc::clone(key), len };
            let mut suffix_len = Footer::SUFFIX_HINT_BYTES;
            loop {
                let range = len.saturating_sub(suffix_len)..len;
                let read = self.cache.read(tenant, &object, PageKind::Index, &[range]).await?;
                let suffix = read.into_iter().next().unwrap_or_default();
                match Footer::parse(&suffix, len).map_err(UnitError::damaged)? {
                    FooterParse::Done(footer) => {
                        let memory_bytes = 8 * suffix.len() + 1024;
                        return Ok(Opened::Footer(Arc::new(footer), memory_bytes));
                    }
                    FooterParse::NeedSuffix(more) if more > suffix_len && more <= len => suffix_len = more,
                    FooterParse::NeedSuffix(_) => {
                        return Err(UnitError::damaged(FormatError::NotASegment("its footer has no end")));
                    }
                }
            }
        });
        match opened.await? {
            Opened::Footer(footer, _) => Ok(footer),
            Opened::Segment(_) => Err(UnitError::damaged(FormatError::NotASegment("it is a tenant segment"))),
        }
    }

    /// A segment of the tenant, with its index.
    async fn open(
        &self,
        tenant: &TenantId,
        key: &Arc<str>,
        len: u64,
        index_start: u64,
    ) -> Result<Arc<OpenSegment>, UnitError> {
        let opened = self.opened_once(key, async || {
            let object = ObjectRef { key: Arc::clone(key), len };
            // The least that can be a footer: a manifest that says less is wrong, and the segment says so itself.
            let start = index_start.min(len.saturating_sub(TenantFooter::SUFFIX_HINT_BYTES.min(len)));
            let range = start..len;
            let read =
                self.cache.read(tenant, &object, PageKind::Index, std::slice::from_ref(&range)).await?;
            let end = read.into_iter().next().unwrap_or_default();
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            let (tenant, key) = (tenant.clone(), Arc::clone(key));
            let series_memory_bytes = self.index_memory_bytes / SERIES_SHARE_OF_INDEX_MEMORY;
            let parsing = on_blocking_thread(move || {
                OpenSegment::parse(&tenant, key, number, (end, start), series_memory_bytes)
            });
            Ok(Opened::Segment(Arc::new(parsing.await?)))
        });
        match opened.await? {
            Opened::Segment(segment) => Ok(segment),
            Opened::Footer(..) => Err(UnitError::damaged(FormatError::NotASegment("it is a fresh segment"))),
        }
    }

    /// What is known of object `key`, from memory or by `open`; of several who need it at once, one opens it.
    async fn opened_once(
        &self,
        key: &Arc<str>,
        open: impl AsyncFnOnce() -> Result<Opened, UnitError>,
    ) -> Result<Opened, UnitError> {
        let known = || self.opened.get(key).map(|entry| entry.value().clone());
        if let Some(known) = known() {
            return Ok(known);
        }
        let turn = Arc::clone(self.opening.lock().entry(Arc::clone(key)).or_default());
        let held = turn.lock().await;
        let opened = match known() {
            Some(known) => Ok(known),
            None => open().await.inspect(|opened| {
                self.opened.insert(Arc::clone(key), opened.clone());
            }),
        };
        drop(held);
        drop(turn);
        let mut opening = self.opening.lock();
        if opening.get(key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            opening.remove(key);
        }
        opened
    }
}

/// Runs some of `work` at the same time, and returns what comes of it in order. Finds out about everything that is gone.
async fn in_order<T>(work: Vec<BoxFuture<'_, Result<T, Stop>>>) -> Result<Vec<T>, Stop> {
    let (mut done, mut gone) = (Vec::with_capacity(work.len()), Vec::new());
    let mut working = stream::iter(work).buffered(READS_AT_ONCE);
    while let Some(next) = working.next().await {
        match next {
            Ok(next) => done.push(next),
            Err(Stop::Gone(units)) => gone.extend(units),
            Err(stop) => return Err(stop),
        }
    }
    if gone.is_empty() { Ok(done) } else { Err(Stop::Gone(gone)) }
}

/// Days of thinned segments that other units, by what their footers say, may have samples of.
fn busy_days(units: &[Unit], prepared: &[Prepared]) -> BTreeSet<TimeWindow> {
    let parts = prepared.iter().filter_map(|prepared| match prepared {
        Prepared::Part { entry, .. } => Some((entry.min_time_ms, entry.max_time_ms)),
        _ => None,
    });
    let parts: Vec<(i64, i64)> = parts.collect();
    let days = units.iter().filter_map(|unit| unit.service.as_ref()?.thinned_day());
    let is_busy = |day: &TimeWindow| {
        parts.iter().any(|(min_ms, max_ms)| *min_ms < day.end_ms() && *max_ms >= day.start_ms)
    };
    days.filter(is_busy).collect()
}

/// The series of one segment take at most this part (a quarter) of the memory for indexes; others are made anew for each query.
/// Together they would take all of it from some 100,000 on, and the segment would be opened anew for each query.
const SERIES_SHARE_OF_INDEX_MEMORY: usize = 4;

/// Memory of a sample and of a series of a decoded part, about, before it is decoded (bytes).
const PART_SAMPLE_BYTES: u64 = 16;
const PART_SERIES_BYTES: u64 = 400;

fn estimated_memory_bytes(entry: &PartitionEntry) -> u64 {
    let samples = entry.counts.samples.saturating_mul(PART_SAMPLE_BYTES);
    samples.saturating_add(entry.counts.series.saturating_mul(PART_SERIES_BYTES))
}

/// Why a unit cannot be read.
#[derive(Debug)]
enum UnitError {
    Gone,
    Damaged(Box<dyn std::error::Error + Send + Sync>),
    Other(QueryError),
}

impl UnitError {
    fn damaged(error: FormatError) -> Self {
        Self::Damaged(Box::new(error))
    }
}

impl From<QueryError> for UnitError {
    fn from(error: QueryError) -> Self {
        Self::Other(error)
    }
}

impl From<FetchError> for UnitError {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Gone(_) => Self::Gone,
            FetchError::Short(_) => Self::Damaged(Box::new(error)),
            FetchError::Bucket(_) | FetchError::Abandoned => Self::Other(error.into()),
        }
    }
}

impl From<ReadError> for UnitError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone(_) => Self::Gone,
            ReadError::Segment { .. } => Self::Damaged(Box::new(error)),
            error => Self::Other(error.into()),
        }
    }
}

/// Work that takes a thread for some milliseconds.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FormatError> + Send + 'static,
) -> Result<T, UnitError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(UnitError::damaged),
        Err(error) => {
            tracing::error!(%error, "decoding a segment ended badly");
            Err(UnitError::Other(QueryError::Internal))
        }
    }
}
