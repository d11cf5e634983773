//! What every part of compaction works with: the bucket, names for new objects, manifests and their replacement.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use telemetry::TenantId;

use super::noted::Noted;
use super::stats::{Counters, add};
use super::{CommitListener, CompactError, CompactorParts, CompactorSettings, RetentionPolicy};
use crate::put::{ConditionalPut, PutCounters, PutFailure};
use crate::{
    Bucket, Clock, Etag, ManifestError, ObjectId, PutCondition, PutId, ShardId, ShardManifest,
    TenantManifest, WorkOn, read_manifest,
};

/// The parts of a compactor.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) shard: ShardId,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) work_on: WorkOn,
    pub(super) settings: CompactorSettings,
    pub(super) retention: Arc<dyn RetentionPolicy>,
    pub(super) listener: Arc<dyn CommitListener>,
    pub(super) counters: Counters,
    /// Up to when, by the names of fresh segments, everything is in tenants' segments.
    pub(super) settled_ms: Mutex<i64>,
    pub(super) noted: Mutex<BTreeMap<TenantId, Noted>>,
    puts: PutCounters,
    names: Mutex<Names>,
}

/// Why an object is passed over that a manifest names and that is not there.
pub(super) const LOST: &str = "there is no such object";

#[derive(Debug)]
struct Names {
    rng: ChaCha8Rng,
    last_ms: i64,
}

/// A manifest and its version; without one, there is no object.
#[derive(Clone, Debug)]
pub(super) struct Versioned<M> {
    pub(super) manifest: M,
    pub(super) etag: Option<Etag>,
}

impl Context {
    pub(super) fn new(parts: CompactorParts) -> Self {
        let CompactorParts { bucket, shard, clock, seed, work_on, retention, listener, settings } = parts;
        Self {
            bucket,
            shard,
            clock,
            work_on,
            settings,
            retention,
            listener,
            counters: Counters::default(),
            settled_ms: Mutex::new(i64::MIN),
            noted: Mutex::default(),
            puts: PutCounters::default(),
            names: Mutex::new(Names { rng: seed.rng(), last_ms: i64::MIN }),
        }
    }

    /// An id that nobody else has; ids of one compactor ascend.
    pub(super) fn new_id(&self) -> ObjectId {
        let names = &mut *self.names.lock();
        names.last_ms = self.clock.now_ms().max(names.last_ms.saturating_add(1));
        ObjectId::new(names.last_ms, names.rng.next_u64())
    }

    /// A generator for one use.
    pub(super) fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_rng(&mut self.names.lock().rng)
    }

    /// Stores a new object, whose key nobody else has.
    pub(super) async fn put_new(&self, key: &str, body: Bytes) -> Result<(), CompactError> {
        let len = body.len() as u64;
        self.put(key, body, PutCondition::IfAbsent).await.map_err(CompactError::from)?;
        add(&self.counters.bytes_written, len);
        Ok(())
    }

    async fn put(&self, key: &str, body: Bytes, condition: PutCondition) -> Result<Etag, PutFailure> {
        let mut rng = self.rng();
        let mut put_id = PutId([0; 16]);
        rng.fill_bytes(&mut put_id.0);
        let put = ConditionalPut {
            bucket: &*self.bucket,
            clock: &*self.clock,
            counters: &self.puts,
            key,
            body: &body,
            condition,
            put_id,
            deadline: self.clock.monotonic() + self.settings.put_time,
        };
        put.run(&mut rng).await
    }

    /// The shard's manifest as it is now.
    pub(super) async fn read_shard(&self) -> Result<Versioned<ShardManifest>, CompactError> {
        let read = read_manifest(&*self.bucket, &ShardManifest::key(self.shard), None, ShardManifest::decode)
            .await?;
        Ok(Versioned::from(read))
    }

    /// A tenant's manifest as it is now.
    pub(super) async fn read_tenant(
        &self,
        tenant: &TenantId,
    ) -> Result<Versioned<TenantManifest>, CompactError> {
        let read =
            read_manifest(&*self.bucket, &TenantManifest::key(tenant), None, TenantManifest::decode).await?;
        let read = Versioned::from(read);
        self.note(tenant, &read.manifest);
        Ok(read)
    }

    /// Whether `of` is still the shard's manifest. Then an object that it names and that is not there is lost.
    pub(super) async fn is_current(&self, of: &Versioned<ShardManifest>) -> Result<bool, CompactError> {
        Ok(self.read_shard().await?.etag == of.etag)
    }

    /// Replaces the shard's manifest by `next`, if it is still the version `of`. Nothing when somebody was first: look again, from
    /// the beginning.
    pub(super) async fn commit_shard(
        &self,
        of: &Versioned<ShardManifest>,
        mut next: ShardManifest,
    ) -> Result<Option<Versioned<ShardManifest>>, CompactError> {
        next.generation = of.manifest.generation + 1;
        let key = ShardManifest::key(self.shard);
        let Some(etag) = self.replace(&key, next.encode(), of.etag.clone()).await? else { return Ok(None) };
        self.listener.shard_committed(&next);
        Ok(Some(Versioned { manifest: next, etag: Some(etag) }))
    }

    /// As [`Self::is_current`] for a tenant's manifest.
    pub(super) async fn is_current_of(
        &self,
        tenant: &TenantId,
        of: &Versioned<TenantManifest>,
    ) -> Result<bool, CompactError> {
        Ok(self.read_tenant(tenant).await?.etag == of.etag)
    }

    /// As [`Self::commit_shard`] for a tenant's manifest.
    pub(super) async fn commit_tenant(
        &self,
        tenant: &TenantId,
        of: &Versioned<TenantManifest>,
        mut next: TenantManifest,
    ) -> Result<Option<Versioned<TenantManifest>>, CompactError> {
        next.generation = of.manifest.generation + 1;
        let key = TenantManifest::key(tenant);
        let Some(etag) = self.replace(&key, next.encode(), of.etag.clone()).await? else { return Ok(None) };
        self.listener.tenant_committed(tenant, &next);
        self.note(tenant, &next);
        Ok(Some(Versioned { manifest: next, etag: Some(etag) }))
    }

    async fn replace(
        &self,
        key: &str,
        bytes: Result<Vec<u8>, ManifestError>,
        version: Option<Etag>,
    ) -> Result<Option<Etag>, CompactError> {
        let bytes = bytes.map_err(|source| CompactError::Manifest { key: key.to_owned(), source })?;
        let condition = version.map_or(PutCondition::IfAbsent, PutCondition::IfMatch);
        match self.put(key, Bytes::from(bytes), condition).await {
            Ok(etag) => {
                add(&self.counters.commits, 1);
                Ok(Some(etag))
            }
            Err(PutFailure::Taken(_)) => {
                add(&self.counters.races_lost, 1);
                Ok(None)
            }
            Err(failure) => Err(failure.into()),
        }
    }
}

impl<M: Default> From<Option<(M, Etag)>> for Versioned<M> {
    fn from(read: Option<(M, Etag)>) -> Self {
        match read {
            Some((manifest, etag)) => Self { manifest, etag: Some(etag) },
            None => Self { manifest: M::default(), etag: None },
        }
    }
}
