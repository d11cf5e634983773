//! The second stage: merged objects into segments of their tenants.

use super::Reach;
use super::fresh::{Unit, UnitName, neighbours};
use crate::limits::{ABSORB_OBJECTS, ABSORB_SAMPLES, ABSORB_SAMPLES_A_TENANT, ABSORB_SETTLE};
use crate::{Level, ObjectId, ShardManifest};

/// Merged objects to be divided among their tenants, from the earliest to the latest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsorbPlan {
    /// Which.
    pub merged: Vec<ObjectId>,
}

/// The next merged objects to be absorbed, of a shard whose `units` are in order: neighbours, the earliest first. It is time
/// - when those that begin in a window of two hours that is over can be had: they are taken,
/// - when so many samples wait that the requests (a few for each tenant) are well spent: all are taken,
/// - when everything is to be done: all are taken.
///
/// "Over" is said by the names of later segments, not by a clock here.
#[must_use]
pub fn plan_absorb(units: &[Unit], manifest: &ShardManifest, reach: Reach) -> Option<AbsorbPlan> {
    let newest_ms = units.last()?.last.time_ms();
    let settle_ms = i64::try_from(ABSORB_SETTLE.as_millis()).unwrap_or(i64::MAX);
    let open_since_ms = Level::TwoHours.window_of(newest_ms.saturating_sub(settle_ms)).start_ms;
    let runs = units.chunk_by(|earlier, later| {
        is_merged(earlier) && is_merged(later) && neighbours(earlier, later, manifest)
    });
    runs.filter(|run| is_merged(&run[0])).find_map(|run| {
        let run = &run[..run.len().min(ABSORB_OBJECTS)];
        let taken = if reach.is_everything() || is_enough(run, manifest) {
            run.len()
        } else {
            run.partition_point(|unit| unit.first.time_ms() < open_since_ms)
        };
        let merged: Vec<ObjectId> = run[..taken].iter().filter_map(merged_id).collect();
        (!merged.is_empty()).then_some(AbsorbPlan { merged })
    })
}

fn is_enough(run: &[Unit], manifest: &ShardManifest) -> bool {
    let samples = run.iter().filter_map(|unit| unit.samples).fold(0, u64::saturating_add);
    let tenants =
        run.iter().filter_map(|unit| manifest.merged(&merged_id(unit)?)).map(|merged| merged.tenants);
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
