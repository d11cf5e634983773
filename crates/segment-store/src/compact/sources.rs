//! What the second stage reads: merged objects by their footers, and tenants' parts of them, some at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use storage_format::{Footer, PartitionEntry, Signal};
use telemetry::TenantId;

use super::context::{Context, LOST, Versioned};
use super::in_order::in_order;
use super::merge_fresh::quarantine;
use super::plan::UnitName;
use super::{CompactError, Footers, Step};
use crate::limits::{ABSORB_BYTES, ABSORB_READS, ABSORB_TENANT_SAMPLES};
use crate::merge::PartitionInput;
use crate::{BucketError, GetRange, Merged, ObjectId, ReadError, ShardManifest, read_footer};

/// A merged object and its footer.
pub(super) type Source = (Merged, Arc<Footer>);

/// A tenant's part of a merged object.
pub(super) type Part<'a> = (&'a Merged, &'a PartitionEntry);

/// What opening gave.
pub(super) enum Opened {
    All(Vec<Source>),
    /// One of them cannot be read: this was done about it.
    Instead(Step),
}

/// Reads the footers of merged objects, unless they are known.
pub(super) async fn open(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    ids: &[ObjectId],
    footers: &mut Footers,
) -> Result<Opened, CompactError> {
    let mut sources: Vec<Source> = Vec::with_capacity(ids.len());
    let read = ids.iter().map(|id| {
        let (merged, known) = (shard.manifest.merged(id), footers.get(id).cloned());
        async move {
            match (merged, known) {
                (None, _) => Ok(None),
                (Some(merged), Some(footer)) => Ok(Some((merged.clone(), footer))),
                (Some(merged), None) => {
                    let footer = footer_of(context, merged).await?;
                    Ok(Some((merged.clone(), Arc::new(footer))))
                }
            }
        }
    });
    let read: Vec<Result<Option<Source>, ReadError>> = in_order(read, ABSORB_READS).collect().await;
    for (id, read) in ids.iter().zip(read) {
        match read {
            Ok(Some((merged, footer))) => {
                footers.insert(merged.id, Arc::clone(&footer));
                sources.push((merged, footer));
            }
            Ok(None) => return Ok(Opened::Instead(Step::Overtaken)),
            Err(ReadError::Gone(key)) if context.is_current(shard).await? => {
                let lost = vec![(UnitName::Merged(*id), key, LOST.to_owned())];
                return quarantine(context, shard, lost).await.map(Opened::Instead);
            }
            Err(ReadError::Gone(_)) => return Ok(Opened::Instead(Step::Overtaken)),
            Err(ReadError::Segment { key, source }) => {
                let damaged = vec![(UnitName::Merged(*id), key, source.to_string())];
                return quarantine(context, shard, damaged).await.map(Opened::Instead);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Opened::All(sources))
}

async fn footer_of(context: &Context, merged: &Merged) -> Result<Footer, ReadError> {
    let key = ShardManifest::merged_key(context.shard, &merged.id);
    match read_footer(&*context.bucket, &key).await {
        // It may have been damaged on its way here only.
        Err(ReadError::Segment { .. }) => read_footer(&*context.bucket, &key).await,
        read => read,
    }
}

/// How many tenants have parts in `sources`.
pub(super) fn tenants(sources: &[Source]) -> u64 {
    let partitions = sources.iter().flat_map(|(_, footer)| footer.partitions());
    partitions.map(|entry| &entry.tenant).collect::<BTreeSet<_>>().len() as u64
}

/// Parts of one tenant that are absorbed together, from the earliest to the latest; one at least.
#[derive(Clone, Debug)]
pub(super) struct Share<'a> {
    pub(super) tenant: &'a TenantId,
    pub(super) parts: Vec<Part<'a>>,
}

/// All that is in `sources`, as shares that fit in memory, and these in rounds that do. A round has no more than one share of a tenant,
/// and the rounds are to be absorbed in their order: so are the shares of a tenant.
pub(super) fn rounds<'a>(sources: &'a [Source], deleted: &BTreeSet<TenantId>) -> Vec<Vec<Share<'a>>> {
    let mut of_tenants: BTreeMap<&TenantId, Vec<Part<'_>>> = BTreeMap::new();
    for (merged, footer) in sources {
        let metrics = footer.partitions().iter().filter(|entry| entry.signal == Signal::Metrics);
        for entry in metrics.filter(|entry| !deleted.contains(&entry.tenant)) {
            of_tenants.entry(&entry.tenant).or_default().push((merged, entry));
        }
    }
    let mut rounds: Vec<Vec<Share<'_>>> = Vec::new();
    let mut bytes = 0_u64;
    for (tenant, parts) in of_tenants {
        for parts in shares(parts) {
            let more = parts.iter().map(bytes_of).fold(0, u64::saturating_add);
            let share = Share { tenant, parts };
            match rounds.last_mut() {
                Some(round)
                    if bytes.saturating_add(more) <= ABSORB_BYTES
                        && round.last().is_none_or(|last| last.tenant != tenant) =>
                {
                    round.push(share);
                    bytes = bytes.saturating_add(more);
                }
                _ => {
                    rounds.push(vec![share]);
                    bytes = more;
                }
            }
        }
    }
    rounds
}

/// Cuts a tenant's parts where there are enough for once.
fn shares(parts: Vec<Part<'_>>) -> Vec<Vec<Part<'_>>> {
    let mut shares: Vec<Vec<Part<'_>>> = Vec::new();
    let (mut samples, mut bytes) = (0_u64, 0_u64);
    for part in parts {
        samples = samples.saturating_add(part.1.counts.samples);
        bytes = bytes.saturating_add(bytes_of(&part));
        match shares.last_mut() {
            Some(share) if samples <= ABSORB_TENANT_SAMPLES && bytes <= ABSORB_BYTES => share.push(part),
            _ => {
                (samples, bytes) = (part.1.counts.samples, bytes_of(&part));
                shares.push(vec![part]);
            }
        }
    }
    shares
}

fn bytes_of((_, entry): &Part<'_>) -> u64 {
    entry.range.end - entry.range.start
}

/// What a round needs of each merged object: from where on, and the bytes.
pub(super) struct Fetched(BTreeMap<ObjectId, (u64, Bytes)>);

impl Fetched {
    /// Reads what `round` needs, with one request an object: tenants have the same order in all of them. Nothing when one is gone.
    pub(super) async fn read(context: &Context, round: &[Share<'_>]) -> Result<Option<Self>, CompactError> {
        let mut ranges: BTreeMap<ObjectId, std::ops::Range<u64>> = BTreeMap::new();
        for (merged, entry) in round.iter().flat_map(|share| &share.parts) {
            let range = ranges.entry(merged.id).or_insert_with(|| entry.range.clone());
            *range = range.start.min(entry.range.start)..range.end.max(entry.range.end);
        }
        let reads = ranges.into_iter().map(|(id, range)| async move {
            let key = ShardManifest::merged_key(context.shard, &id);
            let read = context.bucket.get(&key, GetRange::Range(range.clone())).await;
            read.map(|object| (id, (range.start, object.body)))
        });
        let read: Vec<Result<_, BucketError>> = in_order(reads, ABSORB_READS).collect().await;
        Ok(found(read.into_iter().collect())?.map(Self))
    }

    /// A part that was read. An object that is too short has been damaged on its way: then the part is empty, which is no part.
    pub(super) fn part(&self, (merged, entry): Part<'_>) -> PartitionInput {
        let cut = |(from, bytes): &(u64, Bytes)| {
            let (start, end) = (entry.range.start.checked_sub(*from)?, entry.range.end.checked_sub(*from)?);
            let range = usize::try_from(start).ok()?..usize::try_from(end).ok()?;
            (range.end <= bytes.len()).then(|| bytes.slice(range))
        };
        let bytes = self.0.get(&merged.id).and_then(cut).unwrap_or_default();
        PartitionInput { entry: entry.clone(), bytes }
    }
}

/// What was read; nothing when something is gone.
pub(super) fn found<T>(read: Result<T, BucketError>) -> Result<Option<T>, CompactError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(BucketError::NotFound { .. }) => Ok(None),
        Err(error) => Err(ReadError::from(error).into()),
    }
}
