//! The bucket itself, and what must hold of it after each change, seen with no process in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use segment_store::testing::{MemoryBucket, tenant};
use segment_store::{
    Bucket, BucketError, Etag, GetRange, Hour, HourUsage, ListPage, Object, ObjectMeta, PutCondition, PutId,
    Quarantined, Resolution, SegmentEntry, SegmentKey, ShardManifest, TenantManifest,
};
use tokio::time::Instant;

use crate::contents::{self, Contents};
use crate::record::{FORGETFUL, Id, Record, Rule, TENANTS, known_tenant};
use crate::world::{CLOCK_ERROR, GRACE, LATENESS, SHARD};

/// A bucket in memory that checks what happens to it.
#[derive(Debug)]
pub(crate) struct Watched {
    memory: MemoryBucket,
    record: Arc<Record>,
    /// Whether nobody's request is done hours after it was made: then times in manifests are near the truth.
    grace_is_exact: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shard: ShardManifest,
    tenants: BTreeMap<&'static str, TenantManifest>,
    contents: BTreeMap<String, Contents>,
    /// Since when readers need not read an object any more.
    left: BTreeMap<String, Instant>,
}

impl Watched {
    pub(crate) fn new(record: Arc<Record>, grace_is_exact: bool) -> Self {
        Self { memory: MemoryBucket::default(), record, grace_is_exact, state: Mutex::default() }
    }

    /// How often the shard's manifest was replaced.
    pub(crate) fn shard_generation(&self) -> u64 {
        self.state.lock().shard.generation
    }

    fn stored(&self, key: &str, body: &Bytes) {
        let state = &mut *self.state.lock();
        if key.parse::<SegmentKey>().is_ok() {
            let contents = contents::of_fresh(body);
            self.record.landed(contents.iter().map(|(id, _)| id));
            state.contents.insert(key.to_owned(), contents);
        } else if key.starts_with(&ShardManifest::merged_prefix(SHARD)) {
            state.contents.insert(key.to_owned(), contents::of_fresh(body));
        } else if key == ShardManifest::key(SHARD) {
            let manifest = ShardManifest::decode(body).unwrap();
            self.record.count("shard manifests", 1);
            self.record
                .count("orphans doomed", manifest.doomed.difference(&state.shard.doomed).count() as u64);
            self.leave(state, manifest.absorbed.keys().map(ToString::to_string));
            self.is_whole(&manifest.quarantined);
            let key = |id| ShardManifest::merged_key(SHARD, id);
            self.leave(state, manifest.retired.iter().map(|retired| key(&retired.id)));
            state.shard = manifest;
            TENANTS.into_iter().for_each(|of| self.check(state, of));
        } else if let Some((of, name)) = key.strip_prefix("t/").and_then(|rest| rest.split_once("/metrics/"))
        {
            let of = known_tenant(of);
            if name == "manifest" {
                let manifest = TenantManifest::decode(body).unwrap();
                self.record.count("tenant manifests", 1);
                self.record.count("orphans doomed", manifest.doomed.len() as u64);
                self.is_whole(&manifest.quarantined);
                let key = |id| TenantManifest::segment_key(&tenant(of), id);
                self.leave(state, manifest.retired.iter().map(|retired| key(&retired.id)));
                state.tenants.insert(of, manifest);
                self.check(state, of);
            } else {
                state.contents.insert(key.to_owned(), contents::of_segment(of, body));
            }
        }
    }

    /// Nothing is damaged.
    fn is_whole(&self, quarantined: &[Quarantined]) {
        quarantined.iter().for_each(|of| self.record.violation(Rule::CompactionWorks, of.to_string()));
    }

    fn leave(&self, state: &mut State, keys: impl Iterator<Item = String>) {
        for key in keys {
            state.left.entry(key).or_insert_with(Instant::now);
        }
    }

    /// Whoever looked at everything at this moment would find each sample of `of` once, and as many in the ledger as in its segments.
    fn check(&self, state: &State, of: &'static str) {
        if self.record.is_deleted(of) || state.shard.deleted_tenants.contains(&tenant(of)) {
            return;
        }
        let none = TenantManifest::default();
        let manifest = state.tenants.get(of).unwrap_or(&none);
        // Thinned segments have some of the raw ones' samples once more.
        let (raw, thinned): (Vec<_>, Vec<_>) =
            manifest.segments.iter().partition(|entry| entry.resolution == Resolution::Raw);
        let key = |entry: &SegmentEntry| TenantManifest::segment_key(&tenant(of), &entry.id);
        for key in thinned.into_iter().map(key).filter(|key| !state.contents.contains_key(key)) {
            self.record.violation(Rule::ReferencedIsThere, key);
        }
        let segments = raw.into_iter().map(key);
        let in_segments: BTreeSet<Id> = self.samples(state, of, segments.clone()).collect();
        self.check_ledger(of, manifest, &in_segments);

        let absorbed = |key: &String| key.parse().is_ok_and(|key| state.shard.has_absorbed(&key));
        let fresh = state.contents.keys().filter(|key| key.parse::<SegmentKey>().is_ok() && !absorbed(key));
        let merged = state.shard.merged.iter().filter(|merged| !manifest.has_absorbed(&merged.id));
        let merged = merged.map(|merged| ShardManifest::merged_key(SHARD, &merged.id));
        let mut places: BTreeMap<Id, u32> = BTreeMap::new();
        for id in self.samples(state, of, fresh.cloned().chain(merged).chain(segments)) {
            *places.entry(id).or_default() += 1;
        }
        for (id, landed) in self.record.landed_of(of) {
            let places = places.get(&id).copied().unwrap_or_default();
            if places == 0 && !self.record.may_be_dropped(&id) {
                self.record.violation(Rule::NothingIsLost, format!("{id:?}"));
            }
            if places > landed {
                self.record.violation(Rule::Once, format!("{id:?}: {places} places, written {landed} times"));
            }
        }
    }

    fn samples<'a>(
        &'a self,
        state: &'a State,
        of: &'static str,
        keys: impl Iterator<Item = String> + 'a,
    ) -> impl Iterator<Item = Id> + 'a {
        keys.flat_map(move |key| {
            let contents = state.contents.get(&key);
            if contents.is_none() {
                self.record.violation(Rule::ReferencedIsThere, key);
            }
            let of_tenant = contents.into_iter().flatten().filter(move |(id, _)| id.tenant == of);
            of_tenant.map(|(id, _)| id.clone())
        })
    }

    fn check_ledger(&self, of: &str, manifest: &TenantManifest, ids: &BTreeSet<Id>) {
        let mut hours: BTreeMap<Hour, (u64, BTreeSet<&str>)> = BTreeMap::new();
        for id in ids {
            let hour = hours.entry(Hour::of(id.at_ms)).or_default();
            hour.0 += 1;
            hour.1.insert(&id.name);
        }
        let usage = hours.into_iter().map(|(hour, (samples, series))| {
            let active_series = series.len() as u64;
            (hour, HourUsage { samples, active_series, bytes: 16 * samples, ..HourUsage::default() })
        });
        // What was dropped stays in the ledger, and counts again when it is sent again.
        let stays = |hour: &Hour| of != FORGETFUL || !self.may_be_dropped(*hour);
        let usage: BTreeMap<Hour, HourUsage> = usage.filter(|(hour, _)| stays(hour)).collect();
        let ledger: BTreeMap<Hour, HourUsage> = manifest
            .ledger
            .hours
            .iter()
            .filter(|(hour, _)| stays(hour))
            .map(|(hour, of)| (*hour, *of))
            .collect();
        if usage != ledger {
            self.record.violation(
                Rule::LedgerIsExact,
                format!("{of}: segments have {usage:?}, the ledger {ledger:?}"),
            );
        }
    }

    fn may_be_dropped(&self, hour: Hour) -> bool {
        let id = Id { tenant: FORGETFUL, at_ms: hour.start_ms(), name: String::new() };
        self.record.may_be_dropped(&id)
    }

    fn before_deletion(&self, key: &str) {
        let state = &mut *self.state.lock();
        let Some(contents) = state.contents.remove(key) else {
            if key == ShardManifest::key(SHARD) {
                self.record.violation(Rule::ReferencedIsThere, key.to_owned());
            } else if let Some(of) =
                key.strip_prefix("t/").and_then(|rest| rest.strip_suffix("/metrics/manifest"))
            {
                state.tenants.remove(known_tenant(of));
                if !self.record.is_deleted(of) {
                    self.record.violation(Rule::ReferencedIsThere, key.to_owned());
                }
            }
            return;
        };
        if contents.iter().all(|(id, _)| self.record.is_deleted(id.tenant)) {
            return;
        }
        let merged = |id| ShardManifest::merged_key(SHARD, id) == key;
        let segment = |of: &str, id| TenantManifest::segment_key(&tenant(of), id) == key;
        let referenced = key.parse().is_ok_and(|fresh| !state.shard.has_absorbed(&fresh))
            || state.shard.merged.iter().any(|entry| merged(&entry.id))
            || state.tenants.iter().any(|(of, m)| m.segments.iter().any(|entry| segment(of, &entry.id)));
        if referenced {
            self.record.violation(Rule::ReferencedIsThere, format!("{key} is deleted"));
        }
        let wrong_at_most = 2 * CLOCK_ERROR + LATENESS;
        let early = state.left.get(key).is_some_and(|left| left.elapsed() + wrong_at_most < GRACE);
        if early && self.grace_is_exact {
            self.record.violation(Rule::GraceIsKept, format!("{key} is deleted"));
        }
    }

    /// Everything in it.
    pub(crate) async fn everything(&self) -> Vec<(String, Bytes)> {
        let page = self.memory.list("", None, usize::MAX).await.unwrap();
        assert!(!page.truncated, "a run is smaller than a page");
        let mut contents = Vec::new();
        for object in page.objects {
            let body = self.memory.get(&object.key, GetRange::Full).await.unwrap().body;
            contents.push((object.key, body));
        }
        contents
    }

    /// At rest there are manifests, and segments that these name: one set for each day, since everything was merged.
    pub(crate) async fn check_at_rest(&self) {
        let (expected, keys): (BTreeSet<String>, BTreeSet<String>);
        {
            let everything = self.everything().await;
            let state = self.state.lock();
            let mut named: BTreeSet<String> = [ShardManifest::key(SHARD)].into();
            for (of, manifest) in &state.tenants {
                let of = tenant(of);
                let mut days = BTreeMap::new();
                named.insert(TenantManifest::key(&of));
                for entry in &manifest.segments {
                    named.insert(TenantManifest::segment_key(&of, &entry.id));
                    let day = (entry.window.day(), entry.resolution);
                    let set = days.insert(day, (entry.window, entry.first, entry.last));
                    if set.is_some_and(|set| set != (entry.window, entry.first, entry.last)) {
                        self.record.violation(Rule::NothingIsLeft, format!("{of}: {:?}", manifest.segments));
                    }
                }
            }
            expected = named;
            keys = everything.into_iter().map(|(key, _)| key).collect();
        }
        if keys != expected {
            let left: Vec<_> = keys.symmetric_difference(&expected).collect();
            self.record.violation(Rule::NothingIsLeft, format!("{left:?}"));
        }
    }
}

#[async_trait]
impl Bucket for Watched {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        let answer = self.memory.put(key, body.clone(), condition, put_id).await;
        if answer.is_ok() {
            self.stored(key, &body);
        }
        answer
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        self.memory.get(key, range).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        self.memory.get_if_changed(key, known).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.memory.head(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        self.memory.list(prefix, after, max_keys).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        keys.iter().for_each(|key| self.before_deletion(key));
        self.memory.delete_many(keys).await
    }
}
