//! All deletion of what nobody needs any more.
//!
//! | what | when | in this order |
//! |---|---|---|
//! | absorbed fresh objects, merged objects and segments that were retired | after the grace: no reader's snapshot is that old | deleted, then taken out of the manifest |
//! | objects that no manifest names: of a crash, or of a lost race | some time after they were named | listed; manifest read; noted in it as doomed, so that a commit under way that would refer to them fails; deleted; taken out |
//! | segments older than their tenant's retention | when their whole window is | retired |
//! | everything of a deleted tenant | at once, and again as long as something turns up | deleted |
//!
//! What is in quarantine stays. Crash at any point: the next sweep goes on, since deleting what is gone is no error.

use std::collections::BTreeSet;
use std::time::Duration;

use telemetry::TenantId;

use super::absorb::is_quarantined;
use super::context::{Context, Versioned};
use super::stats::add;
use super::{CompactError, Step};
use crate::limits::{DELETE_OBJECTS, FIVE_MINUTES_RETENTION, LIST_PAGE_KEYS, ONE_HOUR_RETENTION};
use crate::{ObjectId, ReadError, Resolution, Retired, SegmentKey, ShardManifest, TenantManifest};

impl Context {
    /// Deletes objects, however many.
    pub(super) async fn delete(&self, keys: &[String]) -> Result<(), CompactError> {
        for some in keys.chunks(DELETE_OBJECTS) {
            self.bucket.delete_many(some).await.map_err(CompactError::Delete)?;
            add(&self.counters.objects_deleted, some.len() as u64);
        }
        Ok(())
    }

    fn is_over(&self, since_ms: i64, grace: Duration, now_ms: i64) -> bool {
        i128::from(now_ms) - i128::from(since_ms) >= grace.as_millis() as i128
    }

    fn due(&self, retired: &[Retired], kept: impl Fn(&ObjectId) -> bool) -> BTreeSet<ObjectId> {
        let now_ms = self.clock.now_ms();
        let due = retired.iter().filter(|of| self.is_over(of.since_ms, self.settings.grace, now_ms));
        due.map(|of| of.id).filter(|id| !kept(id)).collect()
    }

    /// The ids of all objects below `prefix`.
    async fn list_ids(&self, prefix: &str) -> Result<Vec<ObjectId>, CompactError> {
        let mut ids = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.bucket.list(prefix, after.as_deref(), LIST_PAGE_KEYS).await;
            let page = page.map_err(ReadError::from)?;
            let id = |key: &str| key.strip_prefix(prefix)?.parse::<ObjectId>().ok();
            ids.extend(page.objects.iter().filter_map(|object| id(&object.key)));
            match page.objects.into_iter().next_back() {
                Some(last) if page.truncated => after = Some(last.key),
                _ => return Ok(ids),
            }
        }
    }

    fn orphans(&self, listed: Vec<ObjectId>, named: impl Fn(&ObjectId) -> bool) -> BTreeSet<ObjectId> {
        let now_ms = self.clock.now_ms();
        let old =
            listed.into_iter().filter(|id| self.is_over(id.time_ms(), self.settings.orphan_age, now_ms));
        old.filter(|id| !named(id)).collect()
    }
}

/// Deletes what the shard's manifest names and no reader needs.
pub(super) async fn expire(
    context: &Context,
    shard: &Versioned<ShardManifest>,
) -> Result<Option<Step>, CompactError> {
    let manifest = &shard.manifest;
    let kept: BTreeSet<&str> = manifest.quarantined.iter().map(|of| of.object.as_str()).collect();
    let now_ms = context.clock.now_ms();
    let fresh = manifest.absorbed.iter();
    let fresh: Vec<SegmentKey> = fresh
        .filter(|(_, since_ms)| context.is_over(**since_ms, context.settings.grace, now_ms))
        .map(|(key, _)| *key)
        .filter(|key| !kept.contains(key.to_string().as_str()))
        .collect();
    let merged_key = |id: &ObjectId| ShardManifest::merged_key(context.shard, id);
    let mut merged = context.due(&manifest.retired, |id| kept.contains(merged_key(id).as_str()));
    merged.extend(&manifest.doomed);
    if fresh.is_empty() && merged.is_empty() {
        return Ok(None);
    }
    let keys: Vec<String> =
        fresh.iter().map(ToString::to_string).chain(merged.iter().map(merged_key)).collect();
    context.delete(&keys).await?;
    let mut next = manifest.clone();
    next.forget_deleted(&fresh);
    next.retired.retain(|of| !merged.contains(&of.id));
    next.doomed.clear();
    let committed = context.commit_shard(shard, next).await?;
    Ok(Some(if committed.is_some() { Step::Deleted { objects: keys.len() } } else { Step::Overtaken }))
}

/// Dooms merged objects that nobody refers to.
pub(super) async fn doom(context: &Context) -> Result<(), CompactError> {
    let listed = context.list_ids(&ShardManifest::merged_prefix(context.shard)).await?;
    let shard = context.read_shard().await?;
    let orphans = context.orphans(listed, |id| shard.manifest.names(id));
    if !orphans.is_empty() {
        let mut next = shard.manifest.clone();
        next.doomed.extend(orphans);
        // When somebody else was first, the next sweep does it.
        context.commit_shard(&shard, next).await?;
    }
    Ok(())
}

/// Tidies what belongs to a tenant, whose segments were `listed` before: retention, what nobody refers to, what is to be deleted. If it is
/// `thorough`, also what was absorbed long ago, which whoever absorbs next forgets anyway.
pub(super) async fn tidy(
    context: &Context,
    tenant: &TenantId,
    listed: Vec<ObjectId>,
    thorough: bool,
) -> Result<(), CompactError> {
    let of = match context.read_tenant(tenant).await {
        Ok(of) => of,
        // Known to whoever absorbs; here nothing can be done about it.
        Err(CompactError::Read(ReadError::Manifest { .. })) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut next = of.manifest.clone();
    if thorough && !next.absorbed.is_empty() {
        // Read after the tenant's: what that one has absorbed and this one does not name has left it for good.
        let shard = context.read_shard().await?;
        next.absorbed.retain(|id| shard.manifest.names(id));
    }
    retain(context, tenant, &mut next);
    next.doomed.extend(context.orphans(listed, |id| of.manifest.names(id)));
    let of = if next == of.manifest {
        of
    } else {
        match context.commit_tenant(tenant, &of, next).await? {
            Some(of) => of,
            None => return Ok(()),
        }
    };
    let key = |id: &ObjectId| TenantManifest::segment_key(tenant, id);
    let mut due = context.due(&of.manifest.retired, |id| is_quarantined(&of.manifest, &key(id)));
    due.extend(&of.manifest.doomed);
    if due.is_empty() {
        return Ok(());
    }
    context.delete(&due.iter().map(key).collect::<Vec<_>>()).await?;
    let mut next = of.manifest.clone();
    next.retired.retain(|of| !due.contains(&of.id));
    next.doomed.clear();
    context.commit_tenant(tenant, &of, next).await?;
    Ok(())
}

/// Retires segments whose whole window is older than the tenant's retention, or some times that if they are thinned. What they held
/// stays in the ledger.
fn retain(context: &Context, tenant: &TenantId, manifest: &mut TenantManifest) {
    let Some(retention) = context.retention.retention(tenant) else { return };
    let now_ms = context.clock.now_ms();
    let before_ms = |resolution| {
        let kept_ms = kept_for(retention, resolution).as_millis();
        now_ms.saturating_sub(i64::try_from(kept_ms).unwrap_or(i64::MAX))
    };
    let (old, kept): (Vec<_>, Vec<_>) = manifest
        .segments
        .drain(..)
        .partition(|segment| segment.window.end_ms() <= before_ms(segment.resolution));
    manifest.segments = kept;
    if old.is_empty() {
        return;
    }
    manifest.retired.extend(old.iter().map(|segment| Retired { id: segment.id, since_ms: now_ms }));
    let raw = old.iter().filter(|segment| segment.resolution == Resolution::Raw);
    let ends = raw.map(|segment| segment.window.end_ms()).max();
    manifest.dropped_before_ms = manifest.dropped_before_ms.max(ends);
}

/// How long segments of this resolution are kept.
pub(super) fn kept_for(retention: Duration, resolution: Resolution) -> Duration {
    let times = match resolution {
        Resolution::Raw => 1,
        Resolution::FiveMinutes => FIVE_MINUTES_RETENTION,
        Resolution::OneHour => ONE_HOUR_RETENTION,
    };
    retention.saturating_mul(times)
}
