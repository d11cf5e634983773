//! The bucket itself, and what must hold of it after each change, seen with no process in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use segment_store::limits::{FIVE_MINUTES_RETENTION, ONE_HOUR_RETENTION};
use segment_store::testing::{Hook, Request, tenant};
use segment_store::{
    Bucket, BucketError, Ledger, Quarantined, Resolution, SegmentEntry, SegmentKey, ShardManifest,
    TenantManifest,
};
use telemetry::Omitted;
use tokio::time::Instant;

use crate::contents;
use crate::data::{Contents, Id, Kind, Value};
use crate::record::{FORGETFUL, Record, Rule, TENANTS, known_tenant};
use crate::thinned;
use crate::usage::usage_of_new;
use crate::world::{CLOCK_ERROR, GRACE, LATENESS, SHARD};

/// Checks what happens to a bucket.
#[derive(Debug)]
pub(crate) struct Watched {
    record: Arc<Record>,
    /// Whether nobody's request is done hours after it was made: then times in manifests are near the truth.
    grace_is_exact: bool,
    state: Mutex<State>,
}

/// An object by its place in the order: the last and the first fresh segment in it, and its key.
type Unit = (SegmentKey, SegmentKey, String);

/// What wins, and in which object it is.
type Winners = BTreeMap<Id, (Value, String)>;

#[derive(Debug, Default)]
struct State {
    shard: ShardManifest,
    tenants: BTreeMap<&'static str, TenantManifest>,
    contents: BTreeMap<String, Contents>,
    /// What segments were thinned by, by their keys.
    left_out: BTreeMap<String, Vec<(String, Omitted)>>,
    /// What everybody finds of each tenant: of equal samples the one that wins, and in which object.
    winners: BTreeMap<&'static str, Winners>,
    /// What the ledger must say, of each tenant.
    ledgers: BTreeMap<&'static str, Ledger>,
    /// Since when readers need not read an object any more.
    left: BTreeMap<String, Instant>,
}

impl Watched {
    pub(crate) fn new(record: Arc<Record>, grace_is_exact: bool) -> Self {
        Self { record, grace_is_exact, state: Mutex::default() }
    }

    /// How often the shard's manifest was replaced.
    pub(crate) fn shard_generation(&self) -> u64 {
        self.state.lock().shard.generation
    }

    fn check_stored(&self, key: &str, body: &Bytes) {
        let state = &mut *self.state.lock();
        if key.parse::<SegmentKey>().is_ok() {
            let contents = contents::of_fresh(body);
            self.record.landed(contents.iter().map(|(id, _)| id));
            let tenants: BTreeSet<&str> = contents.iter().map(|(id, _)| id.tenant).collect();
            state.contents.insert(key.to_owned(), contents);
            for of in tenants.into_iter().filter(|of| !self.record.is_deleted(of)) {
                let (winners, _) = self.look(state, of);
                state.winners.insert(of, winners);
            }
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
            let before = std::mem::replace(&mut state.shard, manifest);
            let shard = &state.shard;
            let new = shard.merged.iter().filter(|merged| before.merged(&merged.id).is_none());
            let new_to = new.map(|merged| merged.last).max();
            TENANTS.into_iter().for_each(|of| self.check(state, of, new_to));
            self.check_followers(&before, &state.shard);
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
                let before = state.tenants.insert(of, manifest.clone()).unwrap_or_default();
                let new = manifest.segments.iter().filter(|entry| before.segment(&entry.id).is_none());
                self.check(state, of, new.map(|entry| entry.last).max());
                if !self.is_deleted(state, of) {
                    self.check_ledger(state, of, &before, &manifest);
                    self.check_thinned(state, of, &manifest);
                    self.check_retention(of, &before, &manifest);
                }
            } else {
                let (contents, left_out) = contents::of_segment(of, body);
                state.contents.insert(key.to_owned(), contents);
                state.left_out.insert(key.to_owned(), left_out);
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

    fn is_deleted(&self, state: &State, of: &str) -> bool {
        self.record.is_deleted(of) || state.shard.deleted_tenants.contains(&tenant(of))
    }

    /// Whoever looked at everything at this moment would find each thing that `of` has once, and the same as before. What became
    /// one object just now goes up to `new_to`: what was stored too late to be part of that loses against it from now on.
    fn check(&self, state: &mut State, of: &'static str, new_to: Option<SegmentKey>) {
        if self.is_deleted(state, of) {
            return;
        }
        let (winners, places) = self.look(state, of);
        for (id, landed) in self.record.landed_of(of) {
            let places = places.get(&id).copied().unwrap_or_default();
            if places == 0 && !self.record.may_be_dropped(&id) {
                self.record.violation(Rule::NothingIsLost, format!("{id:?}"));
            }
            // What metrics say about themselves goes with each of their segments.
            if places > landed && id.kind != Kind::Metadata {
                self.record.violation(Rule::Once, format!("{id:?}: {places} places, written {landed} times"));
            }
        }
        let places: BTreeMap<String, SegmentKey> =
            self.fresh_and_merged(state, of).map(|(last, _, key)| (key, last)).collect();
        let is_late = |object: &String| places.get(object).copied() < new_to && places.contains_key(object);
        for (id, (was, object)) in state.winners.get(of).into_iter().flatten() {
            if id.kind != Kind::Sample || self.record.may_be_dropped(id) || is_late(object) {
                continue;
            }
            if let Some((is, now_in)) = winners.get(id).filter(|(is, _)| is != was) {
                let what = format!("{id:?} was {was:?} in {object} and is {is:?} in {now_in}");
                self.record.violation(Rule::WinnersStay, what);
            }
        }
        state.winners.insert(of, winners);
    }

    /// What there is of `of`, and in how many places.
    fn look(&self, state: &State, of: &'static str) -> (Winners, BTreeMap<Id, u32>) {
        let segments = state.tenants.get(of).into_iter().flat_map(|manifest| &manifest.segments);
        let segments = places_of(of, segments.filter(|entry| is_raw(entry)));
        let mut units: Vec<Unit> = self.fresh_and_merged(state, of).chain(segments).collect();
        units.sort_unstable();
        let (mut winners, mut places) = (Winners::new(), BTreeMap::new());
        for (_, _, key) in units {
            for (id, value) in self.contents(state, of, &key) {
                *places.entry(id.clone()).or_default() += 1;
                winners.insert(id.clone(), (value, key.clone()));
            }
        }
        (winners, places)
    }

    /// The fresh and merged objects that may hold something of `of` that its segments do not.
    fn fresh_and_merged<'a>(
        &self,
        state: &'a State,
        of: &'static str,
    ) -> impl Iterator<Item = Unit> + use<'a> {
        let absorbed = state.tenants.get(of).map(|manifest| &manifest.absorbed);
        let fresh = state.contents.keys().filter_map(|key| key.parse::<SegmentKey>().ok());
        let fresh = fresh.filter(|key| !state.shard.has_absorbed(key)).map(|key| (key, key, key.to_string()));
        let merged = state.shard.merged.iter();
        let merged =
            merged.filter(move |merged| absorbed.is_none_or(|absorbed| !absorbed.contains(&merged.id)));
        fresh.chain(
            merged.map(|merged| (merged.last, merged.first, ShardManifest::merged_key(SHARD, &merged.id))),
        )
    }

    /// What an object holds of `of`.
    fn contents<'a>(
        &self,
        state: &'a State,
        of: &'static str,
        key: &str,
    ) -> impl Iterator<Item = (&'a Id, Value)> + use<'a> {
        let contents = state.contents.get(key);
        if contents.is_none() {
            self.record.violation(Rule::ReferencedIsThere, key.to_owned());
        }
        let contents = contents.into_iter().flatten().map(|(id, value)| (id, *value));
        contents.filter(move |(id, _)| id.tenant == of)
    }

    /// What some of a tenant's segments hold, in their order.
    fn of_segments<'a>(
        &self,
        state: &State,
        of: &'static str,
        segments: impl Iterator<Item = &'a SegmentEntry>,
    ) -> BTreeMap<Id, Value> {
        let mut units: Vec<_> = places_of(of, segments).collect();
        units.sort_unstable();
        let contents = units.iter().flat_map(|(_, _, key)| self.contents(state, of, key));
        contents.map(|(id, value)| (id.clone(), value)).collect()
    }

    /// The ledger has gone up by what is new in the tenant's segments.
    fn check_ledger(
        &self,
        state: &mut State,
        of: &'static str,
        before: &TenantManifest,
        after: &TenantManifest,
    ) {
        let raw = |manifest: &TenantManifest| {
            self.of_segments(state, of, manifest.segments.iter().filter(|entry| is_raw(entry)))
        };
        let new = usage_of_new(&raw(before), &raw(after));
        let expected = state.ledgers.entry(of).or_default();
        expected.add(&new);
        if *expected != after.ledger {
            let found = &after.ledger;
            self.record.violation(Rule::LedgerIsExact, format!("{of}: {found:?}, it should be {expected:?}"));
        }
    }

    /// Thinned segments that count say what the raw ones of their day say.
    fn check_thinned(&self, state: &State, of: &'static str, manifest: &TenantManifest) {
        let thinned: BTreeSet<_> = manifest
            .segments
            .iter()
            .filter_map(|entry| Some((entry.window.day(), entry.resolution, entry.resolution.ms()?)))
            .collect();
        for (day, resolution, ms) in thinned {
            let of_day =
                |resolution| manifest.segments.iter().filter(move |entry| entry.resolution == resolution);
            let of_day = |resolution| of_day(resolution).filter(move |entry| entry.window.day() == day);
            // How many samples they were made from, and up to which segment: by that readers know whether they may be read.
            let made_from = |resolution| {
                let samples: u64 = of_day(resolution).map(|entry| entry.distinct).sum();
                (samples, of_day(resolution).map(|entry| entry.last).max())
            };
            let is_dropped = manifest.dropped_before_ms.is_some_and(|before_ms| before_ms > day.start_ms);
            if is_dropped || made_from(resolution) != made_from(Resolution::Raw) {
                continue;
            }
            let found = self.of_segments(state, of, of_day(resolution));
            let raw = self.of_segments(state, of, of_day(Resolution::Raw));
            let keys = places_of(of, of_day(resolution)).filter_map(|(_, _, key)| state.left_out.get(&key));
            let left_out: Vec<(String, Omitted)> = keys.flatten().cloned().collect();
            match thinned::compare(&raw, &found, &left_out, ms) {
                Ok(left_out) => self.record.count("samples left out by thinning", left_out),
                Err(what) => {
                    self.record
                        .violation(Rule::ThinnedIsTrue, format!("{of} {day:?} {resolution:?}: {what}"));
                }
            }
        }
    }

    /// What was thinned is replaced, or too old.
    fn check_retention(&self, of: &str, before: &TenantManifest, after: &TenantManifest) {
        if before.dropped_before_ms < after.dropped_before_ms {
            self.record.count("times that raw segments were too old", 1);
        }
        let place = |entry: &SegmentEntry| (entry.window.day(), entry.resolution);
        for gone in before.segments.iter().filter(|entry| after.segment(&entry.id).is_none()) {
            let times = match gone.resolution {
                Resolution::Raw => continue,
                Resolution::FiveMinutes => FIVE_MINUTES_RETENTION,
                Resolution::OneHour => ONE_HOUR_RETENTION,
            };
            if after.segments.iter().any(|entry| place(entry) == place(gone)) {
                continue;
            }
            if of == FORGETFUL && self.record.is_too_old(gone.window.end_ms() - 1, times) {
                self.record.count("times that thinned segments were too old", 1);
            } else {
                self.record.violation(Rule::NothingIsLost, format!("{of}: {gone:?}"));
            }
        }
    }

    /// Who follows the shard's manifest, and has not seen all of them, sees that something has come and gone.
    fn check_followers(&self, before: &ShardManifest, after: &ShardManifest) {
        let has_left = before.merged.iter().any(|merged| after.merged(&merged.id).is_none());
        if has_left && after.epoch <= before.epoch {
            self.record.violation(Rule::FollowersAreTold, format!("epoch {}", after.epoch));
        }
        let swept: Vec<_> = before.absorbed.keys().filter(|key| !after.has_absorbed(key)).collect();
        let counted = after.swept.checked_sub(before.swept);
        if counted != Some(swept.len() as u64) || after.swept_to < swept.last().map(|key| **key) {
            let what = format!("{swept:?} left, swept were {} and are {}", before.swept, after.swept);
            self.record.violation(Rule::FollowersAreTold, what);
        }
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

    /// Whether segments that left their manifests are still to be deleted.
    pub(crate) fn has_retired(&self) -> bool {
        self.state.lock().tenants.values().any(|manifest| !manifest.retired.is_empty())
    }

    /// At rest there are manifests, and segments that these name: one set for each day, since everything was merged.
    pub(crate) fn check_at_rest(&self, keys: &BTreeSet<String>) {
        let state = self.state.lock();
        let mut expected: BTreeSet<String> = [ShardManifest::key(SHARD)].into();
        for (of, manifest) in &state.tenants {
            let of = tenant(of);
            let mut days = BTreeMap::new();
            expected.insert(TenantManifest::key(&of));
            for entry in &manifest.segments {
                expected.insert(TenantManifest::segment_key(&of, &entry.id));
                let day = (entry.window.day(), entry.resolution);
                let set = days.insert(day, (entry.window, entry.first, entry.last));
                if set.is_some_and(|set| set != (entry.window, entry.first, entry.last)) {
                    self.record.violation(Rule::NothingIsLeft, format!("{of}: {:?}", manifest.segments));
                }
            }
        }
        for (of, manifest) in &state.tenants {
            // What was dropped for its age counts again when it is sent again.
            if *of == FORGETFUL || self.is_deleted(&state, of) {
                continue;
            }
            let landed = self.record.landed_of(of);
            let count = |is: fn(&Kind) -> bool| landed.keys().filter(|id| is(&id.kind)).count() as u64;
            let samples = count(|kind| *kind == Kind::Sample);
            let exemplars = count(|kind| matches!(kind, Kind::Exemplar(_)));
            let total = manifest.ledger.total();
            if (total.all_samples(), total.exemplars) != (samples, exemplars) {
                let what = format!("{of}: {total:?}, but {samples} samples and {exemplars} exemplars stored");
                self.record.violation(Rule::LedgerIsExact, what);
            }
        }
        if *keys != expected {
            let left: Vec<_> = keys.symmetric_difference(&expected).collect();
            self.record.violation(Rule::NothingIsLeft, format!("{left:?}"));
        }
    }
}

fn is_raw(entry: &SegmentEntry) -> bool {
    entry.resolution == Resolution::Raw
}

/// Segments by their order, with their keys.
fn places_of<'a>(of: &str, segments: impl Iterator<Item = &'a SegmentEntry>) -> impl Iterator<Item = Unit> {
    let of = tenant(of);
    segments.map(move |entry| (entry.last, entry.first, TenantManifest::segment_key(&of, &entry.id)))
}

#[async_trait]
impl Hook for Watched {
    async fn before(&self, _: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError> {
        if let Request::Delete { keys } = request {
            keys.iter().for_each(|key| self.before_deletion(key));
        }
        Ok(())
    }

    fn stored(&self, key: &str, body: &Bytes) {
        self.check_stored(key, body);
    }
}
