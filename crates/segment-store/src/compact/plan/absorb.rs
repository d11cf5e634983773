//! The second stage: merged objects into segments of their tenants.

use super::Reach;
use super::fresh::{MergePlan, Unit, UnitName, fitting, neighbours};
use crate::limits::{
    ABSORB_FRESH_A_TENANT, ABSORB_OBJECTS, ABSORB_SAMPLES, ABSORB_SAMPLES_A_TENANT, ABSORB_SETTLE,
    ABSORB_WAIT, WAITING_TIER,
};
use crate::{Level, Merged, ObjectId, ShardManifest};

/// Merged objects to be divided among their tenants, from the earliest to the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsorbPlan {
    /// Which.
    pub merged: Vec<ObjectId>,
    /// For how many tenants that is worth its requests. When there are more, they wait ([`plan_waiting`]).
    pub tenants: u64,
}

/// The next merged objects to be absorbed, of a shard whose `units` are in order: neighbours, the earliest first. It is time
/// - when those that begin in a window of two hours that is over can be had: they are taken, if their tenants are few, or few for the
///   flushes that it took, or the earliest has waited for long,
/// - when so many samples wait that the requests (a few for each tenant) are well spent: all are taken,
/// - when everything is to be done: all are taken.
///
/// "Over" is said by the names of later segments, not by a clock here. `few` tenants are always worth it.
#[must_use]
pub fn plan_absorb(units: &[Unit], manifest: &ShardManifest, reach: Reach, few: u64) -> Option<AbsorbPlan> {
    let newest_ms = units.last()?.last.time_ms();
    let settle_ms = i64::try_from(ABSORB_SETTLE.as_millis()).unwrap_or(i64::MAX);
    let open_since_ms = Level::TwoHours.window_of(newest_ms.saturating_sub(settle_ms)).start_ms;
    let runs = units.chunk_by(|earlier, later| {
        is_merged(earlier) && is_merged(later) && neighbours(earlier, later, manifest)
    });
    runs.filter(|run| is_merged(&run[0])).find_map(|run| {
        let run = &run[..run.len().min(ABSORB_OBJECTS)];
        let (taken, tenants) = if reach.is_everything() || is_enough(run, manifest) {
            (run.len(), u64::MAX)
        } else {
            let over = run.partition_point(|unit| unit.first.time_ms() < open_since_ms);
            let waited_ms = newest_ms.saturating_sub(run[0].first.time_ms());
            let is_late = i128::from(waited_ms) >= ABSORB_WAIT.as_millis() as i128;
            let fresh =
                objects(&run[..over], manifest).map(|merged| merged.fresh).fold(0, u64::saturating_add);
            (over, if is_late { u64::MAX } else { few.max(fresh / ABSORB_FRESH_A_TENANT) })
        };
        let merged: Vec<ObjectId> = run[..taken].iter().filter_map(merged_id).collect();
        (!merged.is_empty()).then_some(AbsorbPlan { merged, tenants })
    })
}

/// The next merge of what is to wait, since the tenants in it are too many for `plan`: whatever their tiers, so that there is little to
/// read for whoever asks meanwhile, and later for whoever absorbs it.
#[must_use]
pub fn plan_waiting(units: &[Unit], plan: &AbsorbPlan) -> Option<MergePlan> {
    let waits = |unit: &&Unit| merged_id(unit).is_some_and(|id| plan.merged.contains(&id));
    let waiting: Vec<Unit> = units.iter().filter(waits).copied().collect();
    let runs = waiting.chunk_by(|earlier, later| earlier.tier.max(later.tier) < WAITING_TIER);
    runs.rev().find_map(|run| {
        let inputs = run[run.len() - fitting(run)..].to_vec();
        (inputs.len() > 1).then_some(MergePlan { inputs, tier: WAITING_TIER })
    })
}

/// The merged objects among `run`.
fn objects<'a>(run: &'a [Unit], manifest: &'a ShardManifest) -> impl Iterator<Item = &'a Merged> {
    run.iter().filter_map(|unit| manifest.merged(&merged_id(unit)?))
}

fn is_enough(run: &[Unit], manifest: &ShardManifest) -> bool {
    let samples = run.iter().filter_map(|unit| unit.samples).fold(0, u64::saturating_add);
    let tenants = objects(run, manifest).map(|merged| merged.tenants);
    let enough =
        tenants.max().unwrap_or_default().saturating_mul(ABSORB_SAMPLES_A_TENANT).max(ABSORB_SAMPLES);
    samples >= enough || run.len() == ABSORB_OBJECTS
}

fn merged_id(unit: &Unit) -> Option<ObjectId> {
    match unit.name {
        UnitName::Merged(id) => Some(id),
        UnitName::Fresh(_) => None,
    }
}

fn is_merged(unit: &Unit) -> bool {
    merged_id(unit).is_some()
}
