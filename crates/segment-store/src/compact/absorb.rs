//! The second stage at work: each tenant's part of merged objects into segments of its own, by windows of time.
//!
//! Order: the shard's manifest notes that the inputs are being absorbed, so that nobody merges them with others. Tenants' parts of them
//! are read, those of many tenants with one request an object, and the next while these are worked on. Then, for some tenants at a time:
//! the tenants' manifests, then the shard's, which must still name the inputs; then each tenant's segments are put and its manifest is
//! replaced, if it is still the same: with the segments, what the ledger goes up by, and which merged objects are in them. When all tenants
//! have their parts, the merged objects leave the shard's manifest.
//!
//! Why nothing is absorbed twice: a merged object that has left the tenant's list of those absorbed had left the shard's manifest
//! before, for good. So when the shard's manifest names it after the tenant's was read, that one had not forgotten it; and if somebody
//! absorbs it after that, the tenant's manifest is not the same any more.
//!
//! Crash: segments that no manifest names are left behind; the sweep finds them. A tenant that had its part already is passed over the
//! next time.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use storage_format::MergeCounts;
use telemetry::{MetricBatch, TenantId};
use tokio::sync::Semaphore;

use super::context::{Context, LOST, Versioned};
use super::in_order::in_order;
use super::sources::{Fetched, Part, Share, Source, found, rounds};
use super::stats::{add, add_pair};
use super::{CompactError, Step};
use crate::limits::{
    ABSORB_DAY_SAMPLES, ABSORB_MANIFESTS, ABSORB_MARKS, ABSORB_READS, ABSORB_TENANT_SAMPLES,
    ABSORB_TENANTS_AT_ONCE,
};
use crate::merge::{Absorption, LostSegment, MergeError, PartitionInput, SegmentInput, merge_partitions};
use crate::{
    BucketError, GetRange, Level, ObjectId, Quarantined, ReadError, Resolution, Retired, SegmentEntry,
    SegmentKey, ShardManifest, TenantManifest, TimeWindow,
};

/// How it went for one tenant.
enum OfTenant {
    /// Its parts are in its segments, whether by this or were already; except for those that cannot be read.
    Done { samples: u64, distinct: u64, unreadable: Vec<Quarantined> },
    /// Somebody else changed something meanwhile, or there is more: look again, from the beginning.
    Overtaken,
    /// Its manifest cannot be read. Its parts stay where they are; nobody else is concerned.
    Blocked(String),
}

/// Absorbs `sources`.
pub(super) async fn absorb(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    sources: &[Source],
) -> Result<Step, CompactError> {
    let Some(shard) = &begin(context, shard, sources).await? else { return Ok(Step::Overtaken) };
    let rounds = rounds(sources, &shard.manifest.deleted_tenants);
    // So many samples are in memory at a time, of however many tenants.
    let memory = Semaphore::new(permits(ABSORB_TENANT_SAMPLES));
    let mut progress = Progress::default();
    let mut fetched = match rounds.first() {
        Some(first) => Fetched::read(context, first).await?,
        None => None,
    };
    for (number, round) in rounds.iter().enumerate() {
        let Some(objects) = fetched else { return Ok(Step::Overtaken) };
        let work = absorb_round(context, sources, round, &objects, &memory, &mut progress);
        let ahead = async {
            match rounds.get(number + 1) {
                Some(next) => Fetched::read(context, next).await,
                None => Ok(None),
            }
        };
        let (done, read) = futures::join!(work, ahead);
        done?;
        if progress.overtaken {
            // A later share of a tenant must not come before an earlier one.
            break;
        }
        fetched = read?;
    }
    let Progress { blocked, overtaken, parts, samples, distinct, unreadable, changed } = progress;
    add(&context.counters.absorptions, parts);
    add_pair(&context.counters.absorbed_samples, (samples, distinct));
    if overtaken {
        return Ok(Step::Overtaken);
    }
    let left = if blocked.is_empty() {
        retire(context, shard, sources, unreadable).await?
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

/// Notes that `sources` are being absorbed, unless that is known. Nothing when somebody else was first.
async fn begin(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    sources: &[Source],
) -> Result<Option<Versioned<ShardManifest>>, CompactError> {
    let mut next = shard.manifest.clone();
    next.dividing.extend(sources.iter().map(|(merged, _)| merged.id));
    if next.dividing == shard.manifest.dividing {
        return Ok(Some(shard.clone()));
    }
    context.commit_shard(shard, next).await
}

/// How far absorbing is.
#[derive(Default)]
struct Progress {
    /// Whose manifests cannot be read, and why.
    blocked: Vec<(TenantId, String)>,
    overtaken: bool,
    parts: u64,
    samples: u64,
    distinct: u64,
    unreadable: Vec<Quarantined>,
    changed: BTreeSet<TenantId>,
}

/// Absorbs the shares of `round`, whose bytes are in `objects`.
async fn absorb_round(
    context: &Context,
    sources: &[Source],
    round: &[Share<'_>],
    objects: &Fetched,
    memory: &Semaphore,
    progress: &mut Progress,
) -> Result<(), CompactError> {
    let is_blocked = |share: &Share<'_>| progress.blocked.iter().any(|(tenant, _)| tenant == share.tenant);
    let round: Vec<&Share<'_>> = round.iter().filter(|share| !is_blocked(share)).collect();
    for some in round.chunks(ABSORB_MANIFESTS) {
        let manifests =
            in_order(some.iter().map(|share| context.read_tenant(share.tenant)), ABSORB_TENANTS_AT_ONCE);
        let manifests: Vec<_> = manifests.collect().await;
        let shard = context.read_shard().await?.manifest;
        if sources.iter().any(|(merged, _)| shard.merged(&merged.id).is_none()) {
            progress.overtaken = true;
            return Ok(());
        }
        let inputs = Inputs { context, sources, objects, shard: &shard, memory };
        let work = some.iter().zip(manifests).map(|(share, of)| inputs.absorb(share, of));
        let ended: Vec<_> = in_order(work, ABSORB_TENANTS_AT_ONCE).collect().await;
        for (share, end) in some.iter().zip(ended) {
            match end? {
                OfTenant::Done { samples, distinct, unreadable } => {
                    progress.parts += 1;
                    progress.samples += samples;
                    progress.distinct += distinct;
                    progress.unreadable.extend(unreadable);
                    progress.changed.insert(share.tenant.clone());
                }
                OfTenant::Overtaken => progress.overtaken = true,
                OfTenant::Blocked(reason) => progress.blocked.push((share.tenant.clone(), reason)),
            }
        }
    }
    Ok(())
}

/// Memory for so many samples, in thousands.
fn permits(samples: u64) -> usize {
    usize::try_from(samples / 1_000).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS)
}

/// What is to be absorbed, and by what it is known that nobody had absorbed it and forgotten that.
#[derive(Clone, Copy)]
struct Inputs<'a> {
    context: &'a Context,
    sources: &'a [Source],
    objects: &'a Fetched,
    /// The shard's manifest, read after those of tenants.
    shard: &'a ShardManifest,
    memory: &'a Semaphore,
}

impl Inputs<'_> {
    async fn absorb(
        self,
        share: &Share<'_>,
        of: Result<Versioned<TenantManifest>, CompactError>,
    ) -> Result<OfTenant, CompactError> {
        if self.shard.deleted_tenants.contains(share.tenant) {
            return Ok(OfTenant::Done { samples: 0, distinct: 0, unreadable: Vec::new() });
        }
        let of = match of {
            Ok(of) => of,
            Err(CompactError::Read(ReadError::Manifest { source, .. })) => {
                return Ok(OfTenant::Blocked(source.to_string()));
            }
            Err(error) => return Err(error),
        };
        match absorb_share(self, share, &of).await {
            Err(error) if error.is_of_this_software() => Ok(OfTenant::Blocked(error.to_string())),
            end => end,
        }
    }
}

async fn absorb_share(
    inputs: Inputs<'_>,
    share: &Share<'_>,
    of: &Versioned<TenantManifest>,
) -> Result<OfTenant, CompactError> {
    let (Inputs { context, sources, memory, .. }, tenant) = (inputs, share.tenant);
    let absorbed = |part: &Part<'_>| of.manifest.has_absorbed(&part.0.id);
    let all = share.parts.iter().copied().skip_while(absorbed);
    // Neighbours only: what was absorbed before, when somebody broke off, has its place between those that are left.
    let parts: Vec<Part<'_>> = all.clone().take_while(|part| !absorbed(part)).collect();
    let is_last_run = all.skip(parts.len()).all(|part| absorbed(&part));
    if parts.is_empty() {
        let unreadable = unreadable(context, &of.manifest, sources);
        return Ok(OfTenant::Done { samples: 0, distinct: 0, unreadable });
    }
    let samples = parts.iter().map(|(_, entry)| entry.counts.samples).fold(0, u64::saturating_add);
    let permits = permits(samples.min(ABSORB_TENANT_SAMPLES)) as u32;
    // The semaphore is never closed; were it, going on would still be right.
    let _memory = memory.acquire_many(permits).await.ok();
    let mut work = TenantWork { context, tenant, of, next: of.manifest.clone() };
    let Some((batch, counts)) = work.read_parts(&parts, inputs.objects).await? else {
        return Ok(OfTenant::Overtaken);
    };
    let written = work.write(batch, &parts).await?;
    let Some(distinct) = written else { return Ok(OfTenant::Overtaken) };
    // What this manifest has absorbed and the shard's, read after it, does not name has left that for good.
    work.next.absorbed.retain(|id| inputs.shard.names(id));
    work.next.absorbed.extend(parts.iter().map(|(merged, _)| merged.id));
    let next = work.next;
    let unreadable = unreadable(context, &next, sources);
    if context.commit_tenant(tenant, of, next).await?.is_none() || !is_last_run {
        return Ok(OfTenant::Overtaken);
    }
    Ok(OfTenant::Done { samples: counts.samples_read, distinct, unreadable })
}

/// Which of `sources` hold a part of the tenant that cannot be read: they are kept.
fn unreadable(context: &Context, manifest: &TenantManifest, sources: &[Source]) -> Vec<Quarantined> {
    if manifest.quarantined.is_empty() {
        return Vec::new();
    }
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
    /// Merges the tenant's parts of `objects`; nothing when an object is gone.
    async fn read_parts(
        &mut self,
        parts: &[Part<'_>],
        objects: &Fetched,
    ) -> Result<Option<(MetricBatch, MergeCounts)>, CompactError> {
        let mut inputs: Vec<PartitionInput> = parts.iter().map(|part| objects.part(*part)).collect();
        let mut read_again = false;
        loop {
            let (batch, counts, damaged) = merge_partitions(inputs, self.context.work_on).await?;
            if !damaged.is_empty() && !read_again {
                // It may have been damaged on its way here only.
                let Some(again) = self.fetch(parts).await? else { return Ok(None) };
                (inputs, read_again) = (again, true);
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

    async fn fetch(&self, parts: &[Part<'_>]) -> Result<Option<Vec<PartitionInput>>, CompactError> {
        let reads = parts.iter().map(|(merged, entry)| async move {
            let key = ShardManifest::merged_key(self.context.shard, &merged.id);
            let read = self.context.bucket.get(&key, GetRange::Range(entry.range.clone())).await;
            read.map(|object| PartitionInput { entry: (*entry).clone(), bytes: object.body })
        });
        let read: Vec<Result<PartitionInput, BucketError>> = in_order(reads, ABSORB_READS).collect().await;
        found(read.into_iter().collect())
    }

    /// Writes the segments of each window; says how many samples were not counted before. Nothing when a segment is gone that
    /// was to be compared with.
    async fn write(&mut self, batch: MetricBatch, parts: &[Part<'_>]) -> Result<Option<u64>, CompactError> {
        let now_ms = self.context.clock.now_ms();
        let (first, last) = span(parts);
        let mut windows = Absorption::new(self.tenant.clone(), batch, level(parts), now_ms);
        let mut distinct = 0;
        let mut suspects = BTreeSet::new();
        loop {
            let Some(window) = windows.windows().next() else { break };
            let existing = self.existing(window);
            let inputs: Vec<SegmentInput> =
                existing.iter().map(|segment| input_of(self.tenant, segment)).collect();
            let lost = self.lost(window);
            let segments: Vec<LostSegment> = lost.iter().map(|(_, segment)| *segment).collect();
            let next = windows.next(&*self.context.bucket, &inputs, &segments, self.context.work_on);
            let written = match next.await {
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
            // What came again is from now on counted with the segments that can be read.
            for ((id, _), came_again) in lost.iter().zip(&written.known_of_lost) {
                let entry = self.next.segments.iter_mut().find(|segment| segment.id == *id);
                entry.into_iter().for_each(|segment| segment.distinct -= came_again);
            }
        }
        self.next.segments.sort_unstable_by_key(|segment| segment.id);
        Ok(Some(distinct))
    }

    /// The segments that may hold samples of the hours of `window`.
    fn existing(&self, window: TimeWindow) -> Vec<SegmentEntry> {
        self.of_window(window).filter(|segment| !self.is_lost(segment)).cloned().collect()
    }

    /// Likewise those that cannot be read.
    fn lost(&self, window: TimeWindow) -> Vec<(ObjectId, LostSegment)> {
        let lost = self.of_window(window).filter(|segment| self.is_lost(segment));
        // What of them came again with an earlier window is taken off there.
        let lost = lost.filter_map(|lost| self.next.segments.iter().find(|segment| segment.id == lost.id));
        lost.map(|segment| {
            let time_range_ms = (segment.min_time_ms, segment.max_time_ms);
            let has_exemplars = segment.counts.exemplars > 0;
            (segment.id, LostSegment { time_range_ms, samples: segment.distinct, has_exemplars })
        })
        .collect()
    }

    fn of_window(&self, window: TimeWindow) -> impl Iterator<Item = &SegmentEntry> {
        let raw = self.of.manifest.segments.iter().filter(|segment| segment.resolution == Resolution::Raw);
        raw.filter(move |segment| segment.overlaps(window.start_ms, window.end_ms().saturating_sub(1)))
    }

    fn is_lost(&self, segment: &SegmentEntry) -> bool {
        is_quarantined(&self.next, &TenantManifest::segment_key(self.tenant, &segment.id))
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
fn span(parts: &[Part<'_>]) -> (SegmentKey, SegmentKey) {
    let mut span = (parts[0].0.first, parts[0].0.last);
    for (merged, _) in parts {
        span = (span.0.min(merged.first), span.1.max(merged.last));
    }
    span
}

/// How long the windows are that `parts` are cut in: what is little and of several windows is not worth a segment for each.
fn level(parts: &[Part<'_>]) -> Level {
    let samples = parts.iter().map(|(_, entry)| entry.counts.samples).fold(0, u64::saturating_add);
    let first_ms = parts.iter().map(|(_, entry)| entry.min_time_ms).min().unwrap_or_default();
    let last_ms = parts.iter().map(|(_, entry)| entry.max_time_ms).max().unwrap_or_default();
    let is_short = last_ms.saturating_sub(first_ms) < 2 * Level::TwoHours.ms();
    if samples >= ABSORB_DAY_SAMPLES || is_short { Level::TwoHours } else { Level::Day }
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
    next.dividing.retain(|id| !sources.iter().any(|(source, _)| source.id == *id));
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
