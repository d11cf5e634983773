//! Compaction: few large objects of many small ones, and the billing ledger.
//!
//! | stage | from | to |
//! |---|---|---|
//! | first (`merge_fresh`) | fresh objects of a shard, each with a part for each of its tenants | merged objects of the same kind |
//! | second (`absorb`) | merged objects | tenant segments by windows of two hours; what is new in them goes to the ledger |
//! | third (`merge_segments`) | a tenant's segments of a window, or of a day | one of each |
//! | `thin` | a tenant's segments of a day that is over | segments with fewer samples of it, for long ranges of time |
//! | `sweep` | what nobody needs any more | nothing |
//!
//! Each step reads manifests, plans ([`plan`], pure), writes objects, and commits by replacing one manifest on condition that nobody
//! else has. So any number of compactors may run; who loses a race has worked in vain and no more. There is no lock, and nothing is
//! remembered that a restart would miss: what the next step is, the bucket says.
//!
//! What cannot be read is noted in a manifest (`quarantined`), passed over, kept, and holds up nobody else.
//!
//! Clocks only say when it is worth looking, and when a grace is over, which is long beside any reader, put or skew.

mod absorb;
mod background;
mod context;
mod erase;
mod error;
mod in_order;
mod merge_fresh;
mod merge_segments;
mod noted;
pub mod plan;
mod sources;
mod stats;
mod step;
mod sweep;
mod tenants;
#[cfg(test)]
mod tests;
mod thin;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use storage_format::Footer;
use telemetry::TenantId;
use tokio::sync::Semaphore;

use crate::limits::{
    DAY_SETTLE, DIVIDING_TIER, FEW_TENANTS, LISTING_OVERLAP, MERGE_SEGMENTS_BYTES, ORPHAN_AGE,
    TENANTS_AT_ONCE, WHOLE_LISTING_INTERVAL,
};
use crate::{
    Bucket, Clock, FreshObject, Level, ObjectId, ReadError, Seed, SegmentKey, ShardId, ShardManifest,
    TenantManifest, TimeWindow, WorkOn, list_fresh,
};

pub use background::CompactorHandle;
use context::{Context, Versioned};
pub use erase::{DeletionProof, prove_deleted};
pub use error::CompactError;
use in_order::in_order;
use merge_fresh::{Inputs, merge_fresh};
use merge_segments::memory_bytes;
use plan::{
    AbsorbPlan, MergePlan, Reach, Unit, UnitName, plan_absorb, plan_merge, plan_segments, plan_thin,
    plan_waiting, units,
};
use sources::{Opened, Source};
pub use stats::CompactorStats;
use stats::set;
pub use step::Step;
use tenants::list_segments;
pub use tenants::list_tenants;

/// Footers of merged objects, which never change.
type Footers = BTreeMap<ObjectId, Arc<Footer>>;

/// How long a tenant's data is kept.
pub trait RetentionPolicy: Send + Sync + Debug {
    /// How long metrics of `tenant` are kept after their timestamp; `None` for ever.
    fn retention(&self, tenant: &TenantId) -> Option<Duration>;
}

/// Keeps everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepForever;

impl RetentionPolicy for KeepForever {
    fn retention(&self, _tenant: &TenantId) -> Option<Duration> {
        None
    }
}

/// Hears of each commit, so that a reader in the same process need not ask the bucket. Calls must be quick.
pub trait CommitListener: Send + Sync + Debug {
    /// The shard's manifest is this one now.
    fn shard_committed(&self, manifest: &ShardManifest);

    /// The tenant's manifest is this one now.
    fn tenant_committed(&self, tenant: &TenantId, manifest: &TenantManifest);
}

/// Nobody hears.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoListener;

impl CommitListener for NoListener {
    fn shard_committed(&self, _manifest: &ShardManifest) {}

    fn tenant_committed(&self, _tenant: &TenantId, _manifest: &TenantManifest) {}
}

/// What a compactor works with.
#[derive(Debug)]
pub struct CompactorParts {
    /// Where the data is.
    pub bucket: Arc<dyn Bucket>,
    /// The shard to compact, and its tenants.
    pub shard: ShardId,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, of this compactor alone.
    pub seed: Seed,
    /// Where merging is done.
    pub work_on: WorkOn,
    /// How long data is kept.
    pub retention: Arc<dyn RetentionPolicy>,
    /// Who hears of commits.
    pub listener: Arc<dyn CommitListener>,
    /// Numbers.
    pub settings: CompactorSettings,
}

/// How a compactor works.
#[derive(Clone, Debug)]
pub struct CompactorSettings {
    /// How long an object that no reader needs is kept: longer than any reader's snapshot, any put and any clock's error together.
    /// Default 10 minutes. Zero only where nobody else has the bucket.
    pub grace: Duration,
    /// How old an object that nobody refers to must be to be deleted. Default 1 hour.
    pub orphan_age: Duration,
    /// How long the puts of an object are tried. Must stay far below the grace. Default 30 s.
    pub put_time: Duration,
    /// How often a compactor in the background looks for work. Default 5 s.
    pub interval: Duration,
    /// How often it deletes what is due. Default 1 minute.
    pub expire_interval: Duration,
    /// How often it looks through everything: tenants' segments for retention, and for what nobody refers to. Default 1 hour.
    pub sweep_interval: Duration,
    /// Merged objects of so few tenants become tenant segments whenever a window of two hours is over. Where there are more, and not
    /// many flushes for each, they wait for up to 8 hours, as the requests grow with tenants and windows; usage is counted that much
    /// later. Default 200.
    pub few_tenants: u64,
}

impl Default for CompactorSettings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10 * 60),
            orphan_age: ORPHAN_AGE,
            put_time: Duration::from_secs(30),
            interval: Duration::from_secs(5),
            expire_interval: Duration::from_secs(60),
            sweep_interval: Duration::from_secs(60 * 60),
            few_tenants: FEW_TENANTS,
        }
    }
}

/// What was read for the merge that was foreseen.
///
/// Others may have merged those fresh segments since. While they are named in the shard's manifest, that shows; but once they are
/// deleted and forgotten, it shows only in how many have been: then what was read here must not be used.
#[derive(Debug)]
struct Ahead {
    inputs: Inputs,
    /// [`ShardManifest::swept`] before it was read.
    swept: u64,
}

/// Compacts one shard, step by step.
#[derive(Debug)]
pub struct Compactor {
    context: Arc<Context>,
    footers: Footers,
    ahead: Option<Ahead>,
    /// Tenants whose segments may be worth merging.
    tenants: BTreeSet<TenantId>,
    /// What failed for its own reasons, and is passed over until the next sweep.
    stuck: BTreeSet<UnitName>,
    /// Where the next listing of fresh segments begins: what is before was absorbed.
    listed_from: Option<SegmentKey>,
    /// When, on the monotonic clock, all were last listed.
    listed: Option<Duration>,
    /// The day, by the newest segment, in which all tenants were last looked at.
    looked_at_day: Option<TimeWindow>,
    /// When, on the monotonic clock, what is due was last deleted, and everything looked through.
    expired: Option<Duration>,
    swept: Option<Duration>,
}

impl Compactor {
    /// A compactor that has not begun.
    #[must_use]
    pub fn new(parts: CompactorParts) -> Self {
        Self {
            context: Arc::new(Context::new(parts)),
            footers: Footers::new(),
            ahead: None,
            tenants: BTreeSet::new(),
            stuck: BTreeSet::new(),
            listed_from: None,
            listed: None,
            looked_at_day: None,
            expired: None,
            swept: None,
        }
    }

    /// Figures since the start.
    #[must_use]
    pub fn stats(&self) -> CompactorStats {
        self.context.counters.snapshot()
    }

    /// Does the next thing that is worth its cost; [`Step::Rest`] when there is none.
    ///
    /// # Errors
    /// [`CompactError`]; the next step begins anew.
    pub async fn step(&mut self) -> Result<Step, CompactError> {
        if let Some(step) = self.compact(Reach::Due).await? {
            return Ok(step);
        }
        let now = self.context.clock.monotonic();
        let is_time = |last: Option<Duration>, interval| last.is_none_or(|last| now >= last + interval);
        if is_time(self.swept, self.context.settings.sweep_interval) {
            self.sweep(false).await?;
            self.swept = Some(now);
            self.stuck.clear();
            return Ok(Step::Swept);
        }
        if is_time(self.expired, self.context.settings.expire_interval) {
            self.expired = Some(now);
            let shard = self.context.read_shard().await?;
            if let Some(step) = sweep::expire(&self.context, &shard).await? {
                return Ok(step);
            }
        }
        Ok(Step::Rest)
    }

    /// Brings everything to rest that is there now: no fresh segment and no merged object is left, each day of a tenant is one segment
    /// (or a few that divide the series), and nothing is kept that could be deleted. `on_step` hears of each step.
    ///
    /// # Errors
    /// [`CompactError`]; it can be called again.
    pub async fn run_until_rest(&mut self, mut on_step: impl FnMut(&Step)) -> Result<(), CompactError> {
        let listed = list_fresh(&*self.context.bucket, self.context.shard, None).await?;
        let reach = Reach::Everything { up_to: listed.last().map(|object| object.key) };
        self.stuck.clear();
        self.listed = None;
        self.tenants = list_tenants(&*self.context.bucket).await?;
        while let Some(step) = self.compact(reach).await? {
            on_step(&step);
            if step == Step::Overtaken {
                self.context.pause().await;
            }
        }
        // Before the sweep, which lets tenants forget what is gone, and for what it dooms.
        self.expire(&mut on_step).await?;
        self.sweep(true).await?;
        self.expire(&mut on_step).await?;
        on_step(&Step::Rest);
        Ok(())
    }

    /// Deletes all that is due in the shard.
    async fn expire(&self, on_step: &mut impl FnMut(&Step)) -> Result<(), CompactError> {
        loop {
            let shard = self.context.read_shard().await?;
            match sweep::expire(&self.context, &shard).await? {
                Some(step) => on_step(&step),
                None => return Ok(()),
            }
        }
    }

    /// Marks `tenant` as deleted and deletes what is its alone. The rest goes when it is compacted; [`prove_deleted`] tells when.
    ///
    /// # Errors
    /// [`CompactError`]; it can be called again.
    pub async fn delete_tenant(&self, tenant: &TenantId) -> Result<usize, CompactError> {
        erase::mark(&self.context, tenant).await?;
        erase::erase(&self.context, tenant).await
    }

    /// Does one thing; nothing when there is nothing to do.
    async fn compact(&mut self, reach: Reach) -> Result<Option<Step>, CompactError> {
        let context = Arc::clone(&self.context);
        // The listing first: in that order nothing is missed, and nothing that has gone elsewhere is taken for waiting.
        let listed = self.list().await?;
        let shard = context.read_shard().await?;
        let manifest = &shard.manifest;
        self.footers.retain(|id, _| manifest.merged(id).is_some());
        let quarantined: BTreeSet<&str> = manifest
            .quarantined
            .iter()
            .filter(|of| of.tenant.is_none())
            .map(|of| of.object.as_str())
            .collect();
        let stuck = &self.stuck;
        let passed_over = |name: &UnitName| {
            stuck.contains(name)
                || (!quarantined.is_empty() && quarantined.contains(name.key(context.shard).as_str()))
        };
        let units = units(&listed, manifest, &passed_over);
        self.list_from(&listed, &units);
        let newest = [
            units.last().map(|unit| unit.last),
            manifest.absorbed_to(),
            manifest.absorbed_to.last().copied(),
        ];
        let newest_ms = newest.into_iter().flatten().max().map_or(0, |key| key.time_ms());
        let waiting_ms = units.iter().map(|unit| unit.first.time_ms()).min();
        let settled_ms = waiting_ms.map_or(newest_ms, |waiting_ms| waiting_ms.min(newest_ms));
        *context.settled_ms.lock() = settled_ms;
        set(&context.counters.fresh_waiting, units.iter().filter(|unit| unit.tier == 0).count());
        set(&context.counters.merged_waiting, manifest.merged.len());
        set(&context.counters.deletions_waiting, manifest.absorbed.len() + manifest.retired.len());

        if let Some(plan) = plan_merge(&units, manifest, reach, context.clock.now_ms()) {
            return self.merge_fresh(&shard, &units, plan, reach).await;
        }
        self.ahead = None;
        if let Some(plan) = plan_absorb(&units, manifest, reach, context.settings.few_tenants) {
            match self.worth_absorbing(&shard, &plan).await? {
                Some(Opened::All(sources)) => {
                    return self.absorb(&shard, &sources, reach).await.map(Some);
                }
                Some(Opened::Instead(step)) => return Ok(Some(step)),
                None => {
                    if let Some(plan) = plan_waiting(&units, &plan) {
                        return self.merge_fresh(&shard, &units, plan, reach).await;
                    }
                }
            }
        }
        self.merge_segments(reach, settled_ms, &shard).await
    }

    /// Merges what `plan` says, and reads what is to be merged next meanwhile.
    async fn merge_fresh(
        &mut self,
        shard: &Versioned<ShardManifest>,
        units: &[Unit],
        plan: MergePlan,
        reach: Reach,
    ) -> Result<Option<Step>, CompactError> {
        let context = Arc::clone(&self.context);
        let names: Vec<UnitName> = plan.inputs.iter().map(|unit| unit.name).collect();
        let swept = shard.manifest.swept;
        let ahead = self.ahead.take().filter(|ahead| ahead.swept == swept && ahead.inputs.are_of(&plan));
        let inputs = match ahead {
            Some(ahead) => ahead.inputs,
            None => Inputs::read(&context, plan).await?,
        };
        // The result takes the place of the last of them.
        let mut after = units.to_vec();
        let merged = inputs.units().to_vec();
        after.retain(|unit| !merged.contains(unit) || Some(unit) == merged.last());
        if let Some(result) = after.iter_mut().find(|unit| Some(&**unit) == merged.last()) {
            result.tier = DIVIDING_TIER;
        }
        let next = plan_merge(&after, &shard.manifest, reach, context.clock.now_ms());
        let next = next.filter(|next| next.inputs.iter().all(|unit| unit.tier != DIVIDING_TIER));
        let ahead = async {
            match next {
                // What fails now is read again when it is its turn.
                Some(next) => Inputs::read(&context, next).await.ok(),
                None => None,
            }
        };
        let (step, ahead) = futures::join!(merge_fresh(&context, shard, inputs), ahead);
        self.ahead = ahead.map(|inputs| Ahead { inputs, swept });
        self.or_stuck(step, names.into_iter())
    }

    /// Opens what `plan` says, unless there are too many tenants in it.
    async fn worth_absorbing(
        &mut self,
        shard: &Versioned<ShardManifest>,
        plan: &AbsorbPlan,
    ) -> Result<Option<Opened>, CompactError> {
        let of = |id: &ObjectId| shard.manifest.merged(id).map_or(0, |merged| merged.tenants);
        if plan.merged.iter().any(|id| of(id) > plan.tenants) {
            return Ok(None);
        }
        let opened = sources::open(&self.context, shard, &plan.merged, &mut self.footers).await?;
        Ok(match opened {
            Opened::All(sources) if plan.tenants < u64::MAX && sources::tenants(&sources) > plan.tenants => {
                None
            }
            opened => Some(opened),
        })
    }

    async fn absorb(
        &mut self,
        shard: &Versioned<ShardManifest>,
        sources: &[Source],
        reach: Reach,
    ) -> Result<Step, CompactError> {
        let step = absorb::absorb(&self.context, shard, sources).await?;
        match &step {
            Step::Absorbed { tenants, stuck, .. } => {
                let worth = |of: &&TenantId| reach.is_everything() || self.context.may_be_worth_merging(of);
                self.tenants.extend(tenants.iter().filter(worth).cloned());
                self.stuck.extend(stuck.iter().map(|id| UnitName::Merged(*id)));
            }
            // One may be lost: its footer will tell.
            _ => sources.iter().for_each(|(merged, _)| drop(self.footers.remove(&merged.id))),
        }
        Ok(step)
    }

    /// Lists fresh segments: all of them now and then, otherwise those that may not be absorbed yet. What is not listed has turned up
    /// late, for this compactor.
    async fn list(&mut self) -> Result<Vec<FreshObject>, CompactError> {
        let now = self.context.clock.monotonic();
        let whole = self.listed.is_none_or(|listed| now >= listed + WHOLE_LISTING_INTERVAL);
        if whole {
            self.listed_from = None;
        }
        let listed = list_fresh(&*self.context.bucket, self.context.shard, self.listed_from.as_ref()).await?;
        if whole {
            self.listed = Some(now);
        }
        Ok(listed)
    }

    /// Lets the next listing begin before all that waits, and before what may turn up late.
    fn list_from(&mut self, listed: &[FreshObject], units: &[Unit]) {
        let Some(newest) = listed.last() else { return };
        let waiting = units.iter().find(|unit| unit.tier == 0).map(|unit| unit.first.time_ms());
        let overlap_ms = i64::try_from(LISTING_OVERLAP.as_millis()).unwrap_or(i64::MAX);
        let late_ms = newest.key.time_ms().saturating_sub(overlap_ms);
        let from_ms = waiting.map_or(late_ms, |waiting_ms| waiting_ms.min(late_ms));
        self.listed_from = Some(SegmentKey::earliest_at(self.context.shard, from_ms));
    }

    /// Passes over `names` from now on, if a step with them failed for their sake.
    fn or_stuck(
        &mut self,
        step: Result<Step, CompactError>,
        names: impl Iterator<Item = UnitName>,
    ) -> Result<Option<Step>, CompactError> {
        match step {
            Err(error) if error.is_of_this_software() => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a merge failed; its inputs are passed over"
                );
                self.stuck.extend(names);
                Ok(Some(Step::Quarantined { objects: 0 }))
            }
            step => step.map(Some),
        }
    }

    /// Merges segments of some tenants that may be worth it.
    async fn merge_segments(
        &mut self,
        reach: Reach,
        settled_ms: i64,
        shard: &Versioned<ShardManifest>,
    ) -> Result<Option<Step>, CompactError> {
        const MEMORY_UNIT: u64 = 1 << 20;
        while !self.tenants.is_empty() {
            let some: Vec<TenantId> = self.tenants.iter().take(TENANTS_AT_ONCE).cloned().collect();
            let memory = Semaphore::new((MERGE_SEGMENTS_BYTES / MEMORY_UNIT) as usize);
            let (context, memory) = (&*self.context, &memory);
            let steps = some.iter().map(|tenant| async move {
                if shard.manifest.deleted_tenants.contains(tenant) {
                    return Ok(None);
                }
                let of = match context.read_tenant(tenant).await {
                    Ok(of) => of,
                    Err(CompactError::Read(ReadError::Manifest { .. })) => return Ok(None),
                    Err(error) => return Err(error),
                };
                let passed_over = |id: &ObjectId| {
                    absorb::is_quarantined(&of.manifest, &TenantManifest::segment_key(tenant, id))
                };
                let Some(plan) = plan_segments(&of.manifest, reach, settled_ms, &passed_over) else {
                    let Some(plan) = plan_thin(&of.manifest, settled_ms, &passed_over) else {
                        return Ok(None);
                    };
                    // What is thinned holds as much as what is merged: one after the other.
                    let all = (MERGE_SEGMENTS_BYTES / MEMORY_UNIT) as u32;
                    let _memory = memory.acquire_many(all).await.ok();
                    return thin::thin(context, tenant, &of, &plan).await;
                };
                let bytes = memory_bytes(&of.manifest, &plan);
                let permits = (bytes / MEMORY_UNIT).clamp(1, MERGE_SEGMENTS_BYTES / MEMORY_UNIT) as u32;
                // The semaphore is never closed; were it, going on would still be right.
                let _memory = memory.acquire_many(permits).await.ok();
                match merge_segments::merge_segments(context, tenant, &of, &plan).await {
                    Err(error) if error.is_of_this_software() => {
                        let objects = plan.inputs.iter().map(|id| TenantManifest::segment_key(tenant, id));
                        let objects = objects.map(|key| (key, error.to_string())).collect();
                        merge_segments::quarantine(context, tenant, &of, objects).await.map(Some)
                    }
                    step => step.map(Some),
                }
            });
            let steps: Vec<Result<Option<Step>, CompactError>> =
                in_order(steps, TENANTS_AT_ONCE).collect().await;
            let mut done: Vec<Step> = Vec::new();
            let mut failed = None;
            for (tenant, step) in some.iter().zip(steps) {
                match step {
                    // There is nothing to merge, until something is absorbed.
                    Ok(None) => drop(self.tenants.remove(tenant)),
                    Ok(Some(step)) => {
                        if !reach.is_everything() && !self.context.may_be_worth_merging(tenant) {
                            self.tenants.remove(tenant);
                        }
                        done.push(step);
                    }
                    Err(error) => failed = Some(error),
                }
            }
            if let Some(error) = failed {
                return Err(error);
            }
            if !done.is_empty() {
                return Ok(Some(Step::together(done)));
            }
        }
        Ok(None)
    }

    /// Looks through everything for what can be deleted.
    async fn sweep(&mut self, thorough: bool) -> Result<(), CompactError> {
        sweep::doom(&self.context).await?;
        let tenants = list_segments(&*self.context.bucket).await?;
        let shard = self.context.read_shard().await?;
        for tenant in &shard.manifest.deleted_tenants {
            erase::erase(&self.context, tenant).await?;
        }
        self.context.noted.lock().retain(|tenant, _| tenants.contains_key(tenant));
        // Days that are over since are put together.
        let settled_ms = *self.context.settled_ms.lock();
        let settle_ms = i64::try_from(DAY_SETTLE.as_millis()).unwrap_or(i64::MAX);
        let day = Some(Level::Day.window_of(settled_ms.saturating_sub(settle_ms)));
        if std::mem::replace(&mut self.looked_at_day, day) != day {
            self.tenants.extend(tenants.keys().cloned());
        }
        let live = tenants.into_iter().filter(|(tenant, _)| !shard.manifest.deleted_tenants.contains(tenant));
        let untidy = live.filter(|(tenant, listed)| thorough || !self.context.is_tidy(tenant, listed));
        let untidy: Vec<(TenantId, Vec<ObjectId>)> = untidy.collect();
        let tidied = untidy
            .iter()
            .map(|(tenant, listed)| sweep::tidy(&self.context, tenant, listed.clone(), thorough));
        let tidied: Vec<Result<(), CompactError>> = in_order(tidied, TENANTS_AT_ONCE).collect().await;
        tidied.into_iter().collect()
    }
}
