//! What compaction has done, as this process knows it.
//!
//! The **shard's manifest** is read after each listing, and when a compactor in this process says that it has committed. Before
//! it counts, the tail learns of it: fresh segments that it names as absorbed must be in memory, or the tail must know that
//! they are not ([`Tail::raise_floor`]).
//!
//! A **tenant's manifest** is read when a query needs it, and then holds for a minute, or until merged objects leave the shard's
//! manifest (its epoch): until then the data that a newer one would show is still found in them. So a warm query reads
//! no manifest at all. A minute is much shorter than the grace after which what a manifest named may be deleted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use segment_store::{
    Bucket, Clock, Etag, FreshObject, ReadError, SegmentKey, ShardId, ShardManifest, TenantManifest,
    read_fresh_partitions, read_manifest,
};
use telemetry::TenantId;
use tokio::sync::watch;

use crate::limits::{MAX_MISSED_SEGMENTS, MAX_TENANT_MANIFESTS, TENANT_MANIFEST_AGE};
use crate::tail::Tail;

/// The manifests of a shard and its tenants.
#[derive(Debug)]
pub(super) struct Manifests {
    bucket: Arc<dyn Bucket>,
    shard: ShardId,
    tail: Arc<Tail>,
    clock: Arc<dyn Clock>,
    current: RwLock<Arc<ShardManifest>>,
    /// The etag of `current`; held by who reads a newer one.
    refreshing: tokio::sync::Mutex<Option<Etag>>,
    tenants: Mutex<HashMap<TenantId, Arc<Tenant>>>,
    /// The key of the shard's manifest while that is damaged.
    damaged: watch::Sender<Option<String>>,
}

#[derive(Debug, Default)]
struct Tenant {
    known: RwLock<Option<Known>>,
    /// Held by who reads a newer one.
    refreshing: tokio::sync::Mutex<()>,
}

/// A tenant's manifest and what it is good for.
#[derive(Clone, Debug)]
struct Known {
    manifest: Arc<TenantManifest>,
    etag: Option<Etag>,
    /// The epoch of a shard manifest that was read before it.
    epoch: u64,
    /// When it was asked for, on the monotonic clock; `None` when it must not be used again.
    asked_at: Option<Duration>,
}

/// A tenant's manifest, and which segments came with it that the one before did not have.
pub(super) struct TenantRead {
    pub(super) manifest: Arc<TenantManifest>,
    pub(super) before: Option<Arc<TenantManifest>>,
}

impl Manifests {
    pub(super) fn new(
        bucket: Arc<dyn Bucket>,
        shard: ShardId,
        tail: Arc<Tail>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            bucket,
            shard,
            tail,
            clock,
            current: RwLock::default(),
            refreshing: tokio::sync::Mutex::default(),
            tenants: Mutex::default(),
            damaged: watch::Sender::default(),
        }
    }

    /// The key of the shard's manifest while that is damaged.
    pub(super) fn damaged(&self) -> watch::Receiver<Option<String>> {
        self.damaged.subscribe()
    }

    pub(super) fn shard(&self) -> Arc<ShardManifest> {
        Arc::clone(&self.current.read())
    }

    /// Reads the shard's manifest for the first time, after the first listing: what is absorbed by then is not in memory.
    pub(super) async fn begin(&self) -> Result<(), ReadError> {
        let mut etag = self.refreshing.lock().await;
        if let Some((manifest, new_etag)) = self.read_newer(etag.as_ref()).await? {
            if let Some(absorbed_to) = manifest.absorbed_to() {
                self.tail.raise_floor(absorbed_to);
            }
            self.publish(manifest);
            *etag = Some(new_etag);
        }
        Ok(())
    }

    /// Reads the shard's manifest if it has changed.
    pub(super) async fn refresh(&self) -> Result<(), ReadError> {
        let mut etag = self.refreshing.lock().await;
        if let Some((manifest, new_etag)) = self.read_newer(etag.as_ref()).await? {
            self.bring_in(&manifest).await?;
            self.publish(manifest);
            *etag = Some(new_etag);
        }
        Ok(())
    }

    async fn read_newer(&self, known: Option<&Etag>) -> Result<Option<(ShardManifest, Etag)>, ReadError> {
        let key = ShardManifest::key(self.shard);
        let read = read_manifest(&*self.bucket, &key, known, ShardManifest::decode).await;
        let is_damaged = matches!(read, Err(ReadError::Manifest { .. }));
        if is_damaged || read.is_ok() {
            self.damaged.send_replace(is_damaged.then_some(key));
        }
        read
    }

    /// Sees to it that everything that the tail claims to hold is in it: what came and was absorbed between two looks is read,
    /// and where that is not possible any more, the tail claims less.
    async fn bring_in(&self, manifest: &ShardManifest) -> Result<(), ReadError> {
        let before = self.shard();
        let floor = self.tail.floor();
        let is_missing = |segment: &&SegmentKey| {
            Some(**segment) > floor && !before.has_absorbed(segment) && !self.tail.knows(segment)
        };
        let missing: Vec<SegmentKey> = manifest.absorbed.keys().filter(is_missing).copied().collect();
        if let Some(last) = missing.last().filter(|_| missing.len() > MAX_MISSED_SEGMENTS) {
            self.tail.raise_floor(*last);
        } else {
            for key in missing {
                match read_fresh_partitions(&*self.bucket, &FreshObject { key, len: 0 }).await {
                    Ok(partitions) => {
                        // A part that is damaged was left out by who absorbed the segment, too.
                        let readable =
                            partitions.into_iter().filter_map(|(tenant, batch)| Some((tenant, batch.ok()?)));
                        self.tail.absorb(key, readable.collect());
                    }
                    Err(error) if error.is_retryable() && !matches!(error, ReadError::Gone(_)) => {
                        return Err(error);
                    }
                    Err(_) => self.tail.raise_floor(key),
                }
            }
        }
        // What left since the last look and was not there then came and went unseen.
        let left = before.absorbed.keys().filter(|segment| !manifest.has_absorbed(segment)).count() as u64;
        if let Some(swept_to) = manifest.swept_to
            && manifest.swept.saturating_sub(before.swept) != left
        {
            self.tail.raise_floor(swept_to);
        }
        Ok(())
    }

    fn publish(&self, manifest: ShardManifest) {
        let manifest = Arc::new(manifest);
        let before = std::mem::replace(&mut *self.current.write(), Arc::clone(&manifest));
        // After the manifest: who no longer finds a segment in the tail finds it there.
        let came = manifest.absorbed.keys().filter(|segment| !before.has_absorbed(segment));
        self.tail.take_over(&came.copied().collect());
        let left = before.absorbed.keys().filter(|segment| !manifest.has_absorbed(segment));
        self.tail.forget_names(left);
    }

    /// The manifest of `tenant`, good for a query that sees the shard as `shard`.
    pub(super) async fn tenant(
        &self,
        tenant: &TenantId,
        shard: &ShardManifest,
    ) -> Result<TenantRead, ReadError> {
        if shard.generation == 0 {
            // Nothing was ever compacted.
            return Ok(TenantRead { manifest: Arc::default(), before: None });
        }
        let entry = self.entry(tenant);
        let is_good = |known: &Known| known.epoch >= shard.epoch && self.age(known) < TENANT_MANIFEST_AGE;
        if let Some(known) = entry.known.read().as_ref().filter(|known| is_good(known)) {
            return Ok(TenantRead { manifest: Arc::clone(&known.manifest), before: None });
        }
        let _refreshing = entry.refreshing.lock().await;
        if let Some(known) = entry.known.read().as_ref().filter(|known| is_good(known)) {
            return Ok(TenantRead { manifest: Arc::clone(&known.manifest), before: None });
        }
        self.read_tenant(tenant, &entry, shard.epoch).await
    }

    /// Reads the manifest of `tenant` anew unless somebody is at it; until then the one before holds.
    pub(super) async fn renew(&self, tenant: &TenantId) {
        let entry = self.entry(tenant);
        if let Ok(_refreshing) = entry.refreshing.try_lock() {
            // What fails now is tried again when it is needed.
            _ = self.read_tenant(tenant, &entry, self.shard().epoch).await;
        }
    }

    async fn read_tenant(
        &self,
        tenant: &TenantId,
        entry: &Tenant,
        epoch: u64,
    ) -> Result<TenantRead, ReadError> {
        let known = entry.known.read().clone();
        let asked_at = self.clock.monotonic();
        let etag = known.as_ref().and_then(|known| known.etag.as_ref());
        let key = TenantManifest::key(tenant);
        let read = read_manifest(&*self.bucket, &key, etag, TenantManifest::decode).await?;
        let before = known.as_ref().map(|known| Arc::clone(&known.manifest));
        let (manifest, etag) = match (read, known) {
            (Some((mut manifest, etag)), _) => {
                // Much of it, and nothing that a query asks for.
                manifest.ledger = Default::default();
                (Arc::new(manifest), Some(etag))
            }
            (None, Some(known)) => (known.manifest, known.etag),
            (None, None) => (Arc::default(), None),
        };
        let asked_at = Some(asked_at);
        *entry.known.write() = Some(Known { manifest: Arc::clone(&manifest), etag, epoch, asked_at });
        Ok(TenantRead { manifest, before })
    }

    /// Whether the manifest of `tenant` will soon have to be read anew.
    pub(super) fn ages(&self, tenant: &TenantId) -> bool {
        let entry = self.entry(tenant);
        let known = entry.known.read();
        known.as_ref().is_some_and(|known| self.age(known) > TENANT_MANIFEST_AGE / 2)
    }

    /// Has the manifest of `tenant` read anew before the next query.
    pub(super) fn distrust(&self, tenant: &TenantId) {
        if let Some(known) = &mut *self.entry(tenant).known.write() {
            known.asked_at = None;
        }
    }

    fn age(&self, known: &Known) -> Duration {
        known.asked_at.map_or(Duration::MAX, |asked_at| self.clock.monotonic().saturating_sub(asked_at))
    }

    fn entry(&self, tenant: &TenantId) -> Arc<Tenant> {
        let mut tenants = self.tenants.lock();
        if let Some(entry) = tenants.get(tenant) {
            return Arc::clone(entry);
        }
        if tenants.len() >= MAX_TENANT_MANIFESTS {
            // Those that nobody asked for lately; if all are in use, some all the same.
            let is_old = |entry: &Tenant| {
                entry.known.read().as_ref().is_none_or(|known| self.age(known) > TENANT_MANIFEST_AGE)
            };
            tenants.retain(|_, entry| !is_old(entry));
            let mut place = 0;
            let is_full = tenants.len() >= MAX_TENANT_MANIFESTS;
            tenants.retain(|_, _| {
                place += 1;
                !is_full || place % 8 != 0
            });
        }
        Arc::clone(tenants.entry(tenant.clone()).or_default())
    }
}
