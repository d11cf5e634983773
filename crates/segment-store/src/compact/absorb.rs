//! The second stage at work: each tenant's part of merged objects into segments of its own, by windows of time.
//!
//! Order, for each tenant: the shard's manifest, then the tenant's, then the inputs, then the segments are put, then the tenant's
//! manifest is replaced, if it is still the same: with the segments, what the ledger goes up by, and which merged objects are in
//! them. When all tenants have their parts, the merged objects leave the shard's manifest.
//!
//! Why nothing is absorbed twice: a merged object that has left the tenant's list of those absorbed had left the shard's manifest
//! before, and was deleted before that. Whoever still believes in it, from a manifest of the shard that was read earlier, does not find
//! the object when it reads the inputs, which it does last. So after a lost race everything is read anew, and inputs are never kept.
//!
//! Crash: segments that no manifest names are left behind; the sweep finds them. A tenant that had its part already is passed over the
//! next time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use storage_format::{Footer, MergeCounts, PartitionEntry, Signal};
use telemetry::{MetricBatch, TenantId};
use tokio::sync::Semaphore;

use super::context::{Context, LOST, Versioned};
use super::merge_fresh::quarantine;
use super::plan::{AbsorbPlan, UnitName};
use super::stats::{add, add_pair};
use super::work::in_order;
use super::{CompactError, Footers, Step};
use crate::limits::{ABSORB_MARKS, ABSORB_READS, ABSORB_TENANT_SAMPLES, ABSORB_TENANTS_AT_ONCE};
use crate::merge::{Absorption, MergeError, PartitionInput, SegmentInput, merge_partitions};
use crate::{
    BucketError, GetRange, Level, Merged, Quarantined, ReadError, Resolution, Retired, SegmentEntry,
    SegmentKey, ShardManifest, TenantManifest, TimeWindow, read_footer,
};

/// A merged object and its footer.
type Source = (Merged, Arc<Footer>);

/// How it went for one tenant.
enum OfTenant {
    /// Its parts are in its segments, whether by this or were already; except for those that cannot be read.
    Done { samples: u64, distinct: u64, unreadable: Vec<Quarantined> },
    /// Somebody else changed something meanwhile, or there is more: look again, from the beginning.
    Overtaken,
    /// Its manifest cannot be read. Its parts stay where they are; nobody else is concerned.
    Blocked(String),
}

/// Absorbs what `plan` says, or the first part of it.
pub(super) async fn absorb(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    plan: &AbsorbPlan,
    footers: &mut Footers,
) -> Result<Step, CompactError> {
    let mut sources: Vec<Source> = Vec::with_capacity(plan.merged.len());
    for id in &plan.merged {
        let Some(merged) = shard.manifest.merged(id) else { return Ok(Step::Overtaken) };
        match footer_of(context, merged, footers).await {
            Ok(footer) => sources.push((merged.clone(), footer)),
            Err(ReadError::Gone(key)) if context.is_current(shard).await? => {
                return quarantine(context, shard, vec![(UnitName::Merged(*id), key, LOST.to_owned())]).await;
            }
            Err(ReadError::Gone(_)) => return Ok(Step::Overtaken),
            Err(ReadError::Segment { key, source }) => {
                let damaged = vec![(UnitName::Merged(*id), key, source.to_string())];
                return quarantine(context, shard, damaged).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
    sources.truncate(fitting(&sources));
    let wanted = |tenant: &&TenantId| !shard.manifest.deleted_tenants.contains(*tenant);
    let tenants: BTreeSet<&TenantId> = sources
        .iter()
        .flat_map(|(_, footer)| footer.partitions())
        .map(|entry| &entry.tenant)
        .filter(wanted)
        .collect();
    // So many samples are in memory at a time, of however many tenants.
    let memory = Semaphore::new(permits(ABSORB_TENANT_SAMPLES));
    let work = tenants.iter().map(|tenant| absorb_tenant(context, &sources, tenant, &memory));
    let mut ended = in_order(work, ABSORB_TENANTS_AT_ONCE);
    let (mut blocked, mut overtaken) = (Vec::new(), false);
    let (mut parts, mut samples, mut distinct) = (0, 0, 0);
    let mut unreadable = Vec::new();
    let mut of_tenants = tenants.iter();
    let mut changed = BTreeSet::new();
    while let (Some(end), Some(tenant)) = (ended.next().await, of_tenants.next()) {
        match end? {
            OfTenant::Done { samples: of_tenant, distinct: new, unreadable: of } => {
                parts += 1;
                samples += of_tenant;
                distinct += new;
                unreadable.extend(of);
                changed.insert((*tenant).clone());
            }
            OfTenant::Overtaken => overtaken = true,
            OfTenant::Blocked(reason) => blocked.push(((*tenant).clone(), reason)),
        }
    }
    drop(ended);
    add(&context.counters.absorptions, parts);
    add_pair(&context.counters.absorbed_samples, (samples, distinct));
    if overtaken {
        // An object may be lost: its footer will tell.
        sources.iter().for_each(|(merged, _)| drop(footers.remove(&merged.id)));
        return Ok(Step::Overtaken);
    }
    let left = if blocked.is_empty() {
        retire(context, shard, &sources, unreadable).await?
    } else {
        note_blocked(context, shard, &blocked).await?
    };
    if !left {
        return Ok(Step::Overtaken);
    }
    let stuck =
        if blocked.is_empty() { Vec::new() } else { sources.iter().map(|(merged, _)| merged.id).collect() };
    Ok(Step::Absorbed { objects: sources.len(), tenants: changed, samples, distinct, stuck })
}

async fn footer_of(
    context: &Context,
    merged: &Merged,
    footers: &mut Footers,
) -> Result<Arc<Footer>, ReadError> {
    if let Some(footer) = footers.get(&merged.id) {
        return Ok(Arc::clone(footer));
    }
    let key = ShardManifest::merged_key(context.shard, &merged.id);
    let footer = match read_footer(&*context.bucket, &key).await {
        // It may have been damaged on its way here only.
        Err(ReadError::Segment { .. }) => read_footer(&*context.bucket, &key).await?,
        read => read?,
    };
    let footer = Arc::new(footer);
    footers.insert(merged.id, Arc::clone(&footer));
    Ok(footer)
}

/// How many of the first `sources` can be absorbed at once: no tenant's samples are more than memory is made for. At least one.
fn fitting(sources: &[Source]) -> usize {
    let mut of_tenants: BTreeMap<&TenantId, u64> = BTreeMap::new();
    for (taken, (_, footer)) in sources.iter().enumerate() {
        for entry in footer.partitions() {
            let samples = of_tenants.entry(&entry.tenant).or_default();
            *samples = samples.saturating_add(entry.counts.samples);
            if *samples > ABSORB_TENANT_SAMPLES {
                return taken.max(1);
            }
        }
    }
    sources.len()
}

/// Memory for so many samples, in thousands.
fn permits(samples: u64) -> usize {
    usize::try_from(samples / 1_000).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS)
}

async fn absorb_tenant(
    context: &Context,
    sources: &[Source],
    tenant: &TenantId,
    memory: &Semaphore,
) -> Result<OfTenant, CompactError> {
    match try_absorb_tenant(context, sources, tenant, memory).await {
        Err(error) if error.is_of_this_software() => Ok(OfTenant::Blocked(error.to_string())),
        end => end,
    }
}

async fn try_absorb_tenant(
    context: &Context,
    sources: &[Source],
    tenant: &TenantId,
    memory: &Semaphore,
) -> Result<OfTenant, CompactError> {
    let of = match context.read_tenant(tenant).await {
        Ok(of) => of,
        Err(CompactError::Read(ReadError::Manifest { source, .. })) => {
            return Ok(OfTenant::Blocked(source.to_string()));
        }
        Err(error) => return Err(error),
    };
    let absorbed = |part: &(&Merged, &PartitionEntry)| of.manifest.has_absorbed(&part.0.id);
    let all = sources
        .iter()
        .filter_map(|(merged, footer)| Some((merged, footer.find(tenant, Signal::Metrics)?)))
        .skip_while(absorbed);
    // Neighbours only: what was absorbed before, when somebody broke off, has its place between those that are left.
    let parts: Vec<(&Merged, &PartitionEntry)> = all.clone().take_while(|part| !absorbed(part)).collect();
    let is_last_run = all.skip(parts.len()).all(|part| absorbed(&part));
    if parts.is_empty() {
        let unreadable = unreadable(context, &of.manifest, sources);
        return Ok(OfTenant::Done { samples: 0, distinct: 0, unreadable });
    }
    let samples = parts.iter().map(|(_, entry)| entry.counts.samples).fold(0, u64::saturating_add);
    let permits = permits(samples.min(ABSORB_TENANT_SAMPLES)) as u32;
    // The semaphore is never closed; were it, going on would still be right.
    let _memory = memory.acquire_many(permits).await.ok();
    let mut work = TenantWork { context, tenant, of: &of, next: of.manifest.clone() };
    let Some((batch, counts)) = work.read_parts(&parts).await? else { return Ok(OfTenant::Overtaken) };
    let written = work.write(batch, span(&parts)).await?;
    let Some(distinct) = written else { return Ok(OfTenant::Overtaken) };
    work.next.absorbed.extend(parts.iter().map(|(merged, _)| merged.id));
    let next = work.next;
    let unreadable = unreadable(context, &next, sources);
    if context.commit_tenant(tenant, &of, next).await?.is_none() || !is_last_run {
        return Ok(OfTenant::Overtaken);
    }
    Ok(OfTenant::Done { samples: counts.samples_read, distinct, unreadable })
}

/// Which of `sources` hold a part of the tenant that cannot be read: they are kept.
fn unreadable(context: &Context, manifest: &TenantManifest, sources: &[Source]) -> Vec<Quarantined> {
    let keys = sources.iter().map(|(merged, _)| ShardManifest::merged_key(context.shard, &merged.id));
    let keys: BTreeSet<String> = keys.collect();
    manifest.quarantined.iter().filter(|of| keys.contains(&of.object)).cloned().collect()
}

/// One tenant's part of the work.
struct TenantWork<'a> {
    context: &'a Context,
    tenant: &'a TenantId,
    of: &'a Versioned<TenantManifest>,
    /// The manifest to be.
    next: TenantManifest,
}

impl TenantWork<'_> {
    /// Reads and merges the tenant's parts; nothing when an object is gone.
    async fn read_parts(
        &mut self,
        parts: &[(&Merged, &PartitionEntry)],
    ) -> Result<Option<(MetricBatch, MergeCounts)>, CompactError> {
        let mut read_before = false;
        loop {
            let Some(inputs) = self.fetch(parts).await? else { return Ok(None) };
            let (batch, counts, damaged) = merge_partitions(inputs, self.context.work_on).await?;
            if !damaged.is_empty() && !read_before {
                // It may have been damaged on its way here only.
                read_before = true;
                continue;
            }
            let mut expected: u64 = parts.iter().map(|(_, entry)| entry.counts.samples).sum();
            for error in damaged {
                let MergeError::Damaged { input, source } = error else { return Err(error.into()) };
                let Some((merged, entry)) = parts.get(input) else { continue };
                expected -= entry.counts.samples;
                let object = ShardManifest::merged_key(self.context.shard, &merged.id);
                self.quarantine(object, source.to_string());
            }
            let found = counts.samples_read;
            if found != expected || batch.counts().samples + counts.samples_replaced != found {
                let what = format!("merging {} parts of tenant {}", parts.len(), self.tenant);
                return Err(CompactError::NotConserved { what, found, expected });
            }
            return Ok(Some((batch, counts)));
        }
    }

    async fn fetch(
        &self,
        parts: &[(&Merged, &PartitionEntry)],
    ) -> Result<Option<Vec<PartitionInput>>, CompactError> {
        let reads = parts.iter().map(|(merged, entry)| async move {
            let key = ShardManifest::merged_key(self.context.shard, &merged.id);
            let read = self.context.bucket.get(&key, GetRange::Range(entry.range.clone())).await;
            read.map(|object| PartitionInput { entry: (*entry).clone(), bytes: object.body })
        });
        let read: Vec<Result<PartitionInput, BucketError>> = in_order(reads, ABSORB_READS).collect().await;
        match read.into_iter().collect() {
            Ok(inputs) => Ok(Some(inputs)),
            Err(BucketError::NotFound { .. }) => Ok(None),
            Err(error) => Err(ReadError::from(error).into()),
        }
    }

    /// Writes the segments of each window; says how many samples were not counted before. Nothing when a segment is gone that
    /// was to be compared with.
    async fn write(
        &mut self,
        batch: MetricBatch,
        (first, last): (SegmentKey, SegmentKey),
    ) -> Result<Option<u64>, CompactError> {
        let now_ms = self.context.clock.now_ms();
        let mut windows = Absorption::new(self.tenant.clone(), batch, Level::TwoHours, now_ms);
        let mut distinct = 0;
        let mut suspects = BTreeSet::new();
        loop {
            let Some(window) = windows.windows().next() else { break };
            let existing = self.existing(window);
            let inputs: Vec<SegmentInput> =
                existing.iter().map(|segment| input_of(self.tenant, segment)).collect();
            let written = match windows.next(&*self.context.bucket, &inputs, self.context.work_on).await {
                Ok(Some(written)) => written,
                Ok(None) => break,
                Err(MergeError::Bucket { input, source: BucketError::NotFound { .. } }) => {
                    if !self.context.is_current_of(self.tenant, self.of).await? {
                        return Ok(None);
                    }
                    self.quarantine(inputs[input].key.clone(), LOST.to_owned());
                    continue;
                }
                Err(MergeError::Damaged { input, source }) => {
                    // It may have been damaged on its way here only; if not, the window is counted without it.
                    let object = inputs[input].key.clone();
                    if !suspects.insert(object.clone()) {
                        self.quarantine(object, source.to_string());
                    }
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let mut new = written.distinct();
            distinct += new;
            for segment in written.segments {
                let id = self.context.new_id();
                let summary = segment.summary;
                let key = TenantManifest::segment_key(self.tenant, &id);
                self.context.put_new(&key, segment.body).await?;
                self.next.segments.push(SegmentEntry {
                    id,
                    len: summary.len_bytes,
                    index_start: summary.index_start,
                    window: written.window,
                    min_time_ms: summary.min_time_ms,
                    max_time_ms: summary.max_time_ms,
                    first,
                    last,
                    counts: summary.counts,
                    distinct: std::mem::take(&mut new),
                    resolution: Resolution::Raw,
                });
            }
            self.next.ledger.add(&written.usage);
        }
        self.next.segments.sort_unstable_by_key(|segment| segment.id);
        Ok(Some(distinct))
    }

    /// The segments that may hold samples of the hours of `window`.
    fn existing(&self, window: TimeWindow) -> Vec<SegmentEntry> {
        let raw = self.of.manifest.segments.iter().filter(|segment| segment.resolution == Resolution::Raw);
        raw.filter(|segment| segment.overlaps(window.start_ms, window.end_ms().saturating_sub(1)))
            .filter(|segment| {
                !is_quarantined(&self.next, &TenantManifest::segment_key(self.tenant, &segment.id))
            })
            .cloned()
            .collect()
    }

    fn quarantine(&mut self, object: String, reason: String) {
        tracing::error!(object, tenant = %self.tenant, reason, "an object cannot be read and is passed over");
        add(&self.context.counters.quarantined, 1);
        let (tenant, since_ms) = (Some(self.tenant.clone()), self.context.clock.now_ms());
        self.next.quarantined.push(Quarantined { object, tenant, reason, since_ms });
    }
}

/// Whether `object` is one of those that cannot be read.
pub(super) fn is_quarantined(manifest: &TenantManifest, object: &str) -> bool {
    manifest.quarantined.iter().any(|quarantined| quarantined.object == object)
}

/// How the engine is told of a segment.
pub(super) fn input_of(tenant: &TenantId, segment: &SegmentEntry) -> SegmentInput {
    let key = TenantManifest::segment_key(tenant, &segment.id);
    SegmentInput { key, len: segment.len, index_start: segment.index_start }
}

/// The first and the last fresh segment in `parts`, of which there is one at least. No two sets of a tenant's segments of a window have
/// the same: a fresh segment is in one merged object only, and that is absorbed once.
fn span(parts: &[(&Merged, &PartitionEntry)]) -> (SegmentKey, SegmentKey) {
    let mut span = (parts[0].0.first, parts[0].0.last);
    for (merged, _) in parts {
        span = (span.0.min(merged.first), span.1.max(merged.last));
    }
    span
}

/// Takes `sources`, which every tenant has absorbed, out of the shard's manifest; whether that was done.
async fn retire(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    sources: &[Source],
    unreadable: Vec<Quarantined>,
) -> Result<bool, CompactError> {
    let now_ms = context.clock.now_ms();
    let mut next = shard.manifest.clone();
    next.quarantined.extend(unreadable);
    next.merged.retain(|merged| !sources.iter().any(|(source, _)| source.id == merged.id));
    next.retired.extend(sources.iter().map(|(merged, _)| Retired { id: merged.id, since_ms: now_ms }));
    // A tenant's segments have the place of the last that it has a part in, or had not absorbed before.
    next.absorbed_to.extend(sources.iter().map(|(merged, _)| merged.last));
    while next.absorbed_to.len() > ABSORB_MARKS {
        next.absorbed_to.pop_first();
    }
    next.epoch += 1;
    Ok(context.commit_shard(shard, next).await?.is_some())
}

/// Notes whose manifests cannot be read, unless it is known; whether that was done.
async fn note_blocked(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    blocked: &[(TenantId, String)],
) -> Result<bool, CompactError> {
    let mut next = shard.manifest.clone();
    let since_ms = context.clock.now_ms();
    for (tenant, reason) in blocked {
        let object = TenantManifest::key(tenant);
        if !next.quarantined.iter().any(|known| known.object == object) {
            tracing::error!(
                object,
                reason,
                "a tenant's manifest cannot be read; its data waits in merged objects"
            );
            add(&context.counters.quarantined, 1);
            let tenant = Some(tenant.clone());
            next.quarantined.push(Quarantined { object, tenant, reason: reason.clone(), since_ms });
        }
    }
    if next.quarantined.len() == shard.manifest.quarantined.len() {
        return Ok(true);
    }
    Ok(context.commit_shard(shard, next).await?.is_some())
}
