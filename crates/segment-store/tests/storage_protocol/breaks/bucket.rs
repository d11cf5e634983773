//! The bucket as a process with a mistake sees it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use segment_store::testing::tenant;
use segment_store::{
    Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, PutCondition, PutId, PutOutcome,
    ShardManifest, TenantManifest,
};
use storage_format::encode_fresh;

use super::{Break, stored};
use crate::record::{TENANTS, known_tenant};
use crate::world::SHARD;

/// A bucket behind a mistake.
#[derive(Debug)]
pub(super) struct Broken {
    inner: Arc<dyn Bucket>,
    how: Break,
    /// Manifests that were read too early, or once for all.
    early: Mutex<BTreeMap<String, Object>>,
    /// Whether a tenant's manifest was read since the shard's was.
    looked_at_tenants: AtomicBool,
    /// What will be deleted too late.
    postponed: Mutex<Vec<String>>,
    /// What was put since the last manifest.
    outputs: Mutex<Vec<String>>,
}

/// How much later is too late.
const LATER: Duration = Duration::from_secs(60);

fn is_manifest(key: &str) -> bool {
    key.ends_with("/manifest")
}

fn of_tenant(key: &str) -> Option<&'static str> {
    Some(known_tenant(key.strip_prefix("t/")?.split_once('/')?.0))
}

impl Broken {
    pub(super) fn new(inner: Arc<dyn Bucket>, how: Break) -> Self {
        Self {
            inner,
            how,
            early: Mutex::default(),
            looked_at_tenants: AtomicBool::new(false),
            postponed: Mutex::default(),
            outputs: Mutex::default(),
        }
    }

    /// What is stored instead of `body`.
    async fn body(&self, key: &str, body: Bytes) -> Bytes {
        if key.starts_with(&ShardManifest::merged_prefix(SHARD)) {
            return stored::merged(self.how, body);
        }
        if !is_manifest(key) {
            return body;
        }
        let before = self.inner.get(key, GetRange::Full).await.ok().map(|object| object.body);
        if key == ShardManifest::key(SHARD) {
            let before = before.map(|body| ShardManifest::decode(&body).unwrap()).unwrap_or_default();
            let manifest = ShardManifest::decode(&body).unwrap();
            return stored::shard(self.how, &before, manifest).encode().unwrap().into();
        }
        let before = before.map(|body| TenantManifest::decode(&body).unwrap()).unwrap_or_default();
        let manifest = TenantManifest::decode(&body).unwrap();
        stored::tenant(self.how, &before, manifest).encode().unwrap().into()
    }

    /// What follows the answer to a put.
    async fn after(&self, key: &str, body: &Bytes, answer: &Result<Etag, BucketError>) {
        let is_unknown = answer.as_ref().is_err_and(BucketError::outcome_unknown);
        match (self.how, answer) {
            (Break::UnknownIsDeleted, Err(_)) if is_unknown => {
                drop(self.inner.delete_many(&[key.to_owned()]).await);
            }
            (Break::OutputsOfUnknownAreDeleted, _) if !is_manifest(key) => {
                self.outputs.lock().push(key.to_owned());
            }
            (Break::OutputsOfUnknownAreDeleted, _) => {
                let outputs = std::mem::take(&mut *self.outputs.lock());
                if is_unknown {
                    drop(self.inner.delete_many(&outputs).await);
                }
            }
            (Break::LedgerOfLostRace, Err(BucketError::PreconditionFailed { .. }))
                if key.starts_with("t/") && is_manifest(key) =>
            {
                self.count_what_lost(key, body).await;
            }
            _ => {}
        }
    }

    /// Adds to the ledger of a tenant's manifest what that of `lost`, which did not replace it, has more.
    async fn count_what_lost(&self, key: &str, lost: &Bytes) {
        let Ok(object) = self.inner.get(key, GetRange::Full).await else { return };
        let mut manifest = TenantManifest::decode(&object.body).unwrap();
        let lost = TenantManifest::decode(lost).unwrap();
        if lost.generation == manifest.generation && lost.segments != manifest.segments {
            for (hour, usage) in lost.ledger.hours {
                let known = manifest.ledger.hours.entry(hour).or_default();
                known.samples += usage.samples.saturating_sub(known.samples);
            }
            manifest.generation += 1;
            let body = manifest.encode().unwrap().into();
            drop(self.inner.put(key, body, PutCondition::IfMatch(object.etag), None).await);
        }
    }

    /// Deletes what this manifest is about to say something about.
    async fn delete_early(&self, key: &str, body: &Bytes) {
        let fresh = key == ShardManifest::key(SHARD);
        let keys: Vec<String> = match self.how {
            Break::DeleteBeforeCommit if fresh => {
                let manifest = ShardManifest::decode(body).unwrap();
                manifest.absorbed.keys().map(ToString::to_string).collect()
            }
            Break::OrphansAreNotDoomed if fresh => {
                let manifest = ShardManifest::decode(body).unwrap();
                manifest.doomed.iter().map(|id| ShardManifest::merged_key(SHARD, id)).collect()
            }
            Break::OrphansAreNotDoomed if is_manifest(key) => {
                let of = tenant(of_tenant(key).unwrap());
                let manifest = TenantManifest::decode(body).unwrap();
                manifest.doomed.iter().map(|id| TenantManifest::segment_key(&of, id)).collect()
            }
            _ => return,
        };
        drop(self.inner.delete_many(&keys).await);
    }

    /// Whether the put of `key` is reported as done, and done later.
    fn is_put_later(&self, key: &str) -> bool {
        match self.how {
            Break::AckBeforePut => true,
            Break::CommitBeforePut => key.starts_with(&ShardManifest::merged_prefix(SHARD)),
            Break::RetireBeforeAbsorbed => key.starts_with("t/") && is_manifest(key),
            _ => false,
        }
    }

    fn answer(&self, key: &str, answer: Result<Etag, BucketError>) -> Result<Etag, BucketError> {
        match (self.how, answer) {
            (Break::NoPutIdCheck, Err(BucketError::PreconditionFailed { .. })) => Ok(Etag::new("")),
            (Break::LostRaceIsWon, Err(BucketError::PreconditionFailed { .. })) if is_manifest(key) => {
                Ok(Etag::new(""))
            }
            (Break::ConflictIsSuccess, Err(BucketError::Conflict { .. })) => Ok(Etag::new("")),
            (Break::UnknownIsSuccess | Break::UnknownCommitIsSuccess, Err(error))
                if error.outcome_unknown() =>
            {
                Ok(Etag::new(""))
            }
            (Break::UnknownIsFailure, Err(BucketError::Unavailable { operation, key, source, .. })) => {
                Err(BucketError::Unavailable { operation, key, outcome: PutOutcome::NotDone, source })
            }
            (_, answer) => answer,
        }
    }

    /// Reads manifests long before it is their turn.
    async fn read_early(&self, keys: impl Iterator<Item = String>) {
        for key in keys {
            if let Ok(object) = self.inner.get(&key, GetRange::Full).await {
                self.early.lock().insert(key, object);
            }
        }
    }
}

#[async_trait]
impl Bucket for Broken {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        let body = self.body(key, body).await;
        self.delete_early(key, &body).await;
        let condition = match self.how {
            Break::NoCondition => PutCondition::Always,
            Break::NoEtag if is_manifest(key) => PutCondition::Always,
            _ => condition,
        };
        let put_id = put_id.filter(|_| self.how != Break::NoPutId);
        if self.how == Break::RetireWithoutOne && is_manifest(key) && of_tenant(key) == Some(TENANTS[0]) {
            return Ok(Etag::new(""));
        }
        if self.is_put_later(key) {
            let (inner, key) = (Arc::clone(&self.inner), key.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(LATER).await;
                drop(inner.put(&key, body, condition, put_id).await);
            });
            return Ok(Etag::new(""));
        }
        let answer = self.inner.put(key, body.clone(), condition, put_id).await;
        self.after(key, &body, &answer).await;
        self.answer(key, answer)
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        match self.inner.get(key, range).await {
            Err(BucketError::NotFound { operation, key }) if self.how == Break::NoNewSnapshot => {
                let source = "there is no such object".into();
                Err(BucketError::Invalid { operation, key, source })
            }
            // Of a tenant's own segment the index would be missed.
            Err(BucketError::NotFound { .. }) if self.how == Break::GoneIsEmpty && !key.starts_with("t/") => {
                let body = Bytes::from(encode_fresh(&[]).unwrap());
                Ok(Object { len: body.len() as u64, etag: Etag::new(""), body })
            }
            answer => answer,
        }
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        let is_kept = self.how == Break::LookedOnce && key == ShardManifest::key(SHARD);
        if self.how == Break::LookedOnce && key.starts_with("t/") {
            self.looked_at_tenants.store(true, Ordering::Relaxed);
        } else if !is_kept || self.looked_at_tenants.swap(false, Ordering::Relaxed) {
            let early = self.early.lock().remove(key);
            if early.is_some() {
                return Ok(early);
            }
        }
        let Some(mut object) = self.inner.get_if_changed(key, known).await? else { return Ok(None) };
        if is_kept {
            self.early.lock().insert(key.to_owned(), object.clone());
        }
        if self.how == Break::AbsorbedFreshIsRead && key == ShardManifest::key(SHARD) {
            let mut manifest = ShardManifest::decode(&object.body).unwrap();
            manifest.absorbed.clear();
            object.body = manifest.encode().unwrap().into();
        }
        if self.how == Break::AbsorbedMergedIsRead && key.starts_with("t/") {
            let mut manifest = TenantManifest::decode(&object.body).unwrap();
            manifest.absorbed.clear();
            object.body = manifest.encode().unwrap().into();
        }
        Ok(Some(object))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.inner.head(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        let of_tenants = TENANTS.into_iter().map(|of| TenantManifest::key(&tenant(of)));
        match self.how {
            Break::ListAfterManifests if after.is_none() => {
                self.read_early([ShardManifest::key(SHARD)].into_iter().chain(of_tenants)).await;
            }
            Break::TenantManifestFirst => self.read_early(of_tenants).await,
            // Each step begins with a listing.
            Break::LookedOnce => self.early.lock().clear(),
            _ => {}
        }
        let mut page = self.inner.list(prefix, after, max_keys).await?;
        if self.how == Break::OrphansAreKept {
            // Nobody looks for them.
            let merged = ShardManifest::merged_prefix(SHARD);
            page.objects.retain(|object| {
                is_manifest(&object.key) || !(object.key.starts_with("t/") || object.key.starts_with(&merged))
            });
        }
        Ok(page)
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        if self.how != Break::ForgetBeforeDelete {
            return self.inner.delete_many(keys).await;
        }
        let before = std::mem::replace(&mut *self.postponed.lock(), keys.to_vec());
        self.inner.delete_many(&before).await
    }
}
