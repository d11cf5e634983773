//! Ways to break the protocol: each is what a process with that mistake would make of the bucket's requests and answers, so the product
//! itself needs no switches for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use segment_store::compact::CompactorSettings;
use segment_store::testing::tenant;
use segment_store::{
    Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, PutCondition, PutId, PutOutcome,
    ShardManifest, TenantManifest,
};

use crate::record::{TENANTS, known_tenant};
use crate::world::SHARD;

/// Whose mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
    Compactor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The protocol as it is.
    Nothing,

    /// A writer's ack does not wait for the put's answer.
    AckBeforePut,
    /// "There is such an object" is taken for "it is mine".
    NoPutIdCheck,
    /// Puts of writers replace what is there.
    NoCondition,
    /// Puts of writers carry no put-id, so nobody's object is known again.
    NoPutId,
    /// A lost answer to a writer is taken for a failure.
    UnknownIsFailure,
    /// A lost answer to a writer is taken for a success.
    UnknownIsSuccess,

    /// A reader lists after it has read the manifests.
    ListAfterManifests,
    /// A reader reads the tenant's manifest before the shard's.
    TenantManifestFirst,
    /// A reader does not take off what the shard's manifest has absorbed.
    AbsorbedFreshIsRead,
    /// A reader does not take off what the tenant's manifest has absorbed.
    AbsorbedMergedIsRead,
    /// A reader takes no new snapshot when an object is gone.
    NoNewSnapshot,

    /// Objects are deleted as soon as no manifest needs them.
    NoGrace,
    /// Manifests are replaced whoever has replaced them meanwhile.
    NoEtag,
    /// A lost race for a manifest is taken for a won one.
    LostRaceIsWon,
    /// A lost answer to a compactor is taken for a success.
    UnknownCommitIsSuccess,
    /// A merged object is referred to before it is stored.
    CommitBeforePut,
    /// Merged objects leave the shard's manifest before the tenants' manifests are stored.
    RetireBeforeAbsorbed,
    /// They do so when one of the tenants has not absorbed its part.
    RetireWithoutOne,
    /// Fresh objects are deleted before the manifest says that they are absorbed.
    DeleteBeforeCommit,
    /// What is to be deleted leaves the manifest before it is deleted.
    ForgetBeforeDelete,
    /// It is not looked after the tenants' manifests whether the shard's still names what is absorbed.
    LookedOnce,
    /// A tenant's manifest does not say what it has absorbed.
    AbsorbedIsNotNoted,
    /// Orphans are deleted before a manifest says that they will be.
    OrphansAreNotDoomed,
    /// What lost a race stays where it is.
    OrphansAreKept,
    /// The ledger goes up with a commit of its own.
    LedgerLater,
    /// The ledger counts what was there before.
    LedgerCountsDuplicates,
    /// A deleted tenant is not noted.
    DeletionIsNotNoted,
}

impl Break {
    pub(crate) fn settings(self, settings: CompactorSettings) -> CompactorSettings {
        match self {
            Self::NoGrace => CompactorSettings { grace: Duration::ZERO, ..settings },
            _ => settings,
        }
    }

    fn role(self) -> Option<Role> {
        match self {
            Self::Nothing => None,
            Self::AckBeforePut
            | Self::NoPutIdCheck
            | Self::NoCondition
            | Self::NoPutId
            | Self::UnknownIsFailure
            | Self::UnknownIsSuccess => Some(Role::Writer),
            Self::ListAfterManifests
            | Self::TenantManifestFirst
            | Self::AbsorbedFreshIsRead
            | Self::AbsorbedMergedIsRead
            | Self::NoNewSnapshot => Some(Role::Reader),
            _ => Some(Role::Compactor),
        }
    }

    /// The bucket as somebody in `role` with this mistake sees it.
    pub(crate) fn seen_by(self, role: Role, bucket: Arc<dyn Bucket>) -> Arc<dyn Bucket> {
        if self.role() != Some(role) {
            return bucket;
        }
        Arc::new(Broken {
            inner: bucket,
            how: self,
            early: Mutex::default(),
            looked_at_tenants: AtomicBool::new(false),
            postponed: Mutex::default(),
        })
    }
}

/// A bucket behind a mistake.
#[derive(Debug)]
struct Broken {
    inner: Arc<dyn Bucket>,
    how: Break,
    /// Manifests that were read too early, or once for all.
    early: Mutex<BTreeMap<String, Object>>,
    /// Whether a tenant's manifest was read since the shard's was.
    looked_at_tenants: AtomicBool,
    /// What will be deleted too late.
    postponed: Mutex<Vec<String>>,
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
    /// What a compactor with the mistake puts instead.
    async fn body(&self, key: &str, body: Bytes) -> Bytes {
        if key == ShardManifest::key(SHARD) && self.how == Break::DeletionIsNotNoted {
            let mut manifest = ShardManifest::decode(&body).unwrap();
            manifest.deleted_tenants.clear();
            return manifest.encode().unwrap().into();
        }
        if !key.starts_with("t/") || !is_manifest(key) {
            return body;
        }
        let mut manifest = TenantManifest::decode(&body).unwrap();
        let before = self.inner.get(key, GetRange::Full).await;
        let before = before.map_or_else(
            |_| TenantManifest::default(),
            |object| TenantManifest::decode(&object.body).unwrap(),
        );
        match self.how {
            Break::AbsorbedIsNotNoted => manifest.absorbed.clear(),
            Break::LedgerLater => manifest.ledger = before.ledger,
            Break::LedgerCountsDuplicates => {
                let new = manifest.segments.iter().filter(|entry| before.segment(&entry.id).is_none());
                let duplicates: u64 = new.map(|entry| entry.counts.samples - entry.distinct).sum();
                if manifest.retired.len() == before.retired.len()
                    && let Some(hour) = manifest.ledger.hours.values_mut().next()
                {
                    hour.samples += duplicates;
                }
            }
            _ => return body,
        }
        manifest.encode().unwrap().into()
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
        let answer = self.inner.put(key, body, condition, put_id).await;
        self.answer(key, answer)
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        match self.inner.get(key, range).await {
            Err(BucketError::NotFound { operation, key }) if self.how == Break::NoNewSnapshot => {
                let source = "there is no such object".into();
                Err(BucketError::Invalid { operation, key, source })
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
