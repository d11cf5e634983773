//! What a compactor remembers of tenants' manifests that it read or wrote, so that it need not read them again to find that there is
//! nothing to do. It decides about nothing else: when it is wrong, since another compactor was at work, objects are looked at later.

use std::time::Duration;

use telemetry::TenantId;
use xxhash_rust::xxh3::xxh3_64;

use super::context::Context;
use super::plan::{Reach, plan_segments, plan_thin};
use super::sweep::kept_for;
use crate::{ObjectId, TenantManifest};

/// Of one tenant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noted {
    /// A hash of the ids of all objects that the manifest names.
    objects: u64,
    /// When, by the wall clock in milliseconds, something is to be deleted.
    due_ms: i64,
    /// For what retention that holds.
    retention: Option<Duration>,
    /// Whether segments were worth merging or thinning.
    is_worth_merging: bool,
}

impl Context {
    /// Remembers what follows from the tenant's manifest.
    pub(super) fn note(&self, tenant: &TenantId, manifest: &TenantManifest) {
        let retention = self.retention.retention(tenant);
        let grace_ms = i64::try_from(self.settings.grace.as_millis()).unwrap_or(i64::MAX);
        let retired = manifest.retired.iter().map(|of| of.since_ms.saturating_add(grace_ms));
        let doomed = manifest.doomed.first().map(|_| i64::MIN);
        let old = manifest.segments.iter().filter_map(|segment| {
            let kept_ms = kept_for(retention?, segment.resolution).as_millis();
            Some(segment.window.end_ms().saturating_add(i64::try_from(kept_ms).unwrap_or(i64::MAX)))
        });
        let named = manifest.segments.iter().map(|segment| segment.id);
        let named =
            named.chain(manifest.retired.iter().map(|of| of.id)).chain(manifest.doomed.iter().copied());
        let settled_ms = *self.settled_ms.lock();
        let nothing = |_: &ObjectId| false;
        let noted = Noted {
            objects: hash(named.collect()),
            due_ms: retired.chain(doomed).chain(old).min().unwrap_or(i64::MAX),
            retention,
            is_worth_merging: plan_segments(manifest, Reach::Due, settled_ms, &nothing).is_some()
                || plan_thin(manifest, settled_ms, &nothing).is_some(),
        };
        self.noted.lock().insert(tenant.clone(), noted);
    }

    /// Whether the tenant's segments may be worth merging or thinning.
    pub(super) fn may_be_worth_merging(&self, tenant: &TenantId) -> bool {
        self.noted.lock().get(tenant).is_none_or(|noted| noted.is_worth_merging)
    }

    /// Whether nothing is to be tidied of a tenant that has these segments.
    pub(super) fn is_tidy(&self, tenant: &TenantId, listed: &[ObjectId]) -> bool {
        let Some(noted) = self.noted.lock().get(tenant).copied() else { return false };
        noted.objects == hash(listed.to_vec())
            && self.clock.now_ms() < noted.due_ms
            && noted.retention == self.retention.retention(tenant)
    }
}

fn hash(mut ids: Vec<ObjectId>) -> u64 {
    ids.sort_unstable();
    let text: Vec<String> = ids.iter().map(ToString::to_string).collect();
    xxh3_64(text.concat().as_bytes())
}
