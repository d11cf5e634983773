//! Merges planned one after the other end, and never change which sample wins.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use telemetry::BatchCounts;

use super::*;
use crate::limits::{MERGE_FAN_IN, WAITING_TIER};
use crate::{
    FreshObject, Level, Merged, ObjectId, Resolution, SegmentEntry, ShardId, ShardManifest, TenantManifest,
};

const SHARD: ShardId = ShardId(0);
const HOUR_MS: i64 = 3_600_000;

/// Samples by name, and who wrote the one that wins: the number of the write.
type Samples = BTreeMap<u8, u64>;

/// A shard as far as planning sees it, and what is in its objects.
#[derive(Default)]
struct Shard {
    listed: Vec<FreshObject>,
    manifest: ShardManifest,
    contents: BTreeMap<UnitName, Samples>,
    /// Absorbed, in their order.
    segments: Vec<(SegmentKey, Samples)>,
    ids: u64,
}

impl Shard {
    fn write(&mut self, key: SegmentKey, len: u64, samples: &[u8], number: u64) {
        if self.contents.contains_key(&UnitName::Fresh(key)) {
            return;
        }
        self.listed.push(FreshObject { key, len });
        self.listed.sort_by_key(|object| object.key);
        self.contents.insert(UnitName::Fresh(key), samples.iter().map(|sample| (*sample, number)).collect());
    }

    fn units(&self) -> Vec<Unit> {
        units(&self.listed, &self.manifest, &|_| false)
    }

    /// Who wins each sample.
    fn winners(&self) -> Samples {
        let of_units = self.units();
        let units = of_units.iter().map(|unit| (unit.last, &self.contents[&unit.name]));
        let mut all: Vec<_> =
            units.chain(self.segments.iter().map(|(last, samples)| (*last, samples))).collect();
        all.sort_by_key(|(last, _)| *last);
        let mut winners = Samples::new();
        all.into_iter().for_each(|(_, samples)| winners.extend(samples));
        winners
    }

    fn merge(&mut self, plan: &MergePlan) {
        let mut samples = Samples::new();
        plan.inputs.iter().for_each(|unit| samples.extend(&self.contents[&unit.name]));
        for unit in &plan.inputs {
            match unit.name {
                UnitName::Fresh(key) => drop(self.manifest.absorbed.insert(key, 0)),
                UnitName::Merged(id) => self.manifest.merged.retain(|merged| merged.id != id),
            }
        }
        self.ids += 1;
        let id = ObjectId::new(self.ids as i64, 0);
        let merged = Merged {
            id,
            len: plan.inputs.iter().map(|unit| unit.len).sum(),
            tier: plan.tier,
            first: plan.inputs.iter().map(|unit| unit.first).min().unwrap(),
            last: plan.inputs.iter().map(|unit| unit.last).max().unwrap(),
            samples: plan.inputs.iter().map(|unit| unit.samples.unwrap_or(unit.len)).sum(),
            tenants: 1,
            fresh: plan.inputs.len() as u64,
        };
        self.manifest.merged.push(merged);
        self.contents.insert(UnitName::Merged(id), samples);
        assert!(self.manifest.encode().is_ok());
    }

    fn absorb(&mut self, plan: &AbsorbPlan) {
        let mut samples = Samples::new();
        let mut last = None;
        for id in &plan.merged {
            last = self.manifest.merged(id).map(|merged| merged.last).max(last);
            samples.extend(&self.contents[&UnitName::Merged(*id)]);
            self.manifest.merged.retain(|merged| merged.id != *id);
        }
        self.segments.push((last.unwrap(), samples));
        self.manifest.absorbed_to.insert(last.unwrap());
    }
}

fn key(minute: i64, unique: u64) -> SegmentKey {
    SegmentKey::new(SHARD, minute * 60_000, unique)
}

proptest! {
    #[test]
    fn the_first_stage_ends_and_changes_no_winner(
        batches in vec(vec((0..400_i64, 1..40_000_000_u64, vec(0..6_u8, 1..3)), 1..90), 1..4),
        everything_at_the_end in any::<bool>(),
        few in 0..2_u64,
    ) {
        let mut shard = Shard::default();
        let mut number = 0;
        let rounds = batches.len();
        for (round, batch) in batches.into_iter().enumerate() {
            // Later batches hold stragglers, too: any time may come at any time.
            for (minute, len, samples) in batch {
                number += 1;
                shard.write(key(minute, number), len, &samples, number);
            }
            let up_to = shard.listed.last().map(|object| object.key);
            let everything = everything_at_the_end && round + 1 == rounds;
            let reach = if everything { Reach::Everything { up_to } } else { Reach::Due };
            let before = shard.winners();
            let mut steps = 0;
            loop {
                let units = shard.units();
                if let Some(plan) = plan_merge(&units, &shard.manifest, reach, 410 * 60_000) {
                    let neighbours = units.windows(plan.inputs.len()).any(|run| run == plan.inputs);
                    prop_assert!(neighbours);
                    shard.merge(&plan);
                } else if let Some(plan) = plan_absorb(&units, &shard.manifest, reach, few) {
                    prop_assert!(plan.merged.len() <= shard.manifest.merged.len());
                    if plan.tenants >= 1 {
                        shard.absorb(&plan);
                    } else if let Some(plan) = plan_waiting(&units, &plan) {
                        prop_assert!(units.windows(plan.inputs.len()).any(|run| run == plan.inputs));
                        shard.merge(&plan);
                    } else {
                        break;
                    }
                } else {
                    break;
                }
                steps += 1;
                prop_assert!(steps < 2_000, "planning does not end");
                prop_assert_eq!(&shard.winners(), &before);
            }
            if everything {
                prop_assert_eq!(shard.units(), vec![]);
            } else {
                let waiting = shard.units().iter().filter(|unit| unit.tier == 0).count();
                prop_assert!(waiting < MERGE_FAN_IN, "{waiting} fresh segments are left");
            }
        }
    }
}

/// A segment of a tenant with the number `id`, of the window that begins at `start_hour`, last written by key `last`.
fn segment(id: i64, level: Level, start_hour: i64, last: u64, len: u64) -> SegmentEntry {
    let window = level.window_of(start_hour * HOUR_MS);
    SegmentEntry {
        id: ObjectId::new(id, 0),
        len,
        index_start: 0,
        window,
        min_time_ms: window.start_ms,
        max_time_ms: window.end_ms() - 1,
        first: key(last as i64, last),
        last: key(last as i64, last),
        counts: BatchCounts::default(),
        distinct: 0,
        resolution: Resolution::Raw,
    }
}

fn ids(numbers: &[i64]) -> Vec<ObjectId> {
    numbers.iter().map(|number| ObjectId::new(*number, 0)).collect()
}

proptest! {
    #[test]
    fn merging_segments_ends_and_joins_only_neighbours(
        given in vec((any::<bool>(), 0..40_i64, 0..60_u64, 1..1_000_000_u64), 0..24),
        everything in any::<bool>(),
        newest_hour in 0..60_i64,
    ) {
        let segments = (1..).zip(given).map(|(id, (day, hour, last, len))| {
            segment(id, if day { Level::Day } else { Level::TwoHours }, hour, last, len)
        });
        let mut manifest = TenantManifest { segments: segments.collect(), ..TenantManifest::default() };
        let reach = if everything { Reach::Everything { up_to: None } } else { Reach::Due };
        for round in 0..60 {
            let plan = plan_segments(&manifest, reach, newest_hour * HOUR_MS, &|_| false);
            let Some(plan) = plan else { break };
            prop_assert!(round < 50, "planning does not end");
            let taken = |id: &ObjectId| plan.inputs.contains(id);
            let inputs: Vec<&SegmentEntry> = plan.inputs.iter().map(|id| manifest.segment(id).unwrap()).collect();
            prop_assert!(inputs.windows(2).all(|pair| pair[0].last <= pair[1].last));
            let (first, last) = (inputs[0].last, inputs[inputs.len() - 1].last);
            for input in &inputs {
                prop_assert_eq!(input.window.day(), plan.window.day());
                prop_assert!(input.window == plan.window || plan.window.level == Level::Day);
            }
            // Nobody who may have the same samples stands between them.
            for other in manifest.segments.iter().filter(|other| !taken(&other.id)) {
                let shares = inputs.iter().any(|input| {
                    input.window.start_ms < other.window.end_ms() && other.window.start_ms < input.window.end_ms()
                });
                prop_assert!(!shares || other.last <= first || other.last >= last, "{other:?} in {plan:?}");
                prop_assert!(!plan.complete || !shares, "{other:?} is left out of {plan:?}");
            }
            let span_last = last;
            let mut merged = segment(100 + round, plan.window.level, 0, 0, inputs.iter().map(|one| one.len).sum());
            merged.window = plan.window;
            (merged.first, merged.last) = (inputs.iter().map(|one| one.first).min().unwrap(), span_last);
            manifest.segments.retain(|one| !plan.inputs.contains(&one.id));
            manifest.segments.push(merged);
            prop_assert!(manifest.encode().is_ok());
        }
        if everything {
            let mut days: Vec<_> = manifest.segments.iter().map(|one| (one.window.day(), one.first, one.last)).collect();
            days.sort_unstable();
            days.dedup();
            let of_days: std::collections::BTreeSet<_> = days.iter().map(|(day, _, _)| *day).collect();
            prop_assert_eq!(days.len(), of_days.len(), "a day with several sets is left");
        }
    }
}

#[test]
fn windows_are_merged_when_there_are_several_and_days_when_they_are_over() {
    let two_hours = |id, hour, last| segment(id, Level::TwoHours, hour, last, 100);
    let plan = |segments: Vec<SegmentEntry>, reach, newest_hour: i64| {
        let manifest = TenantManifest { segments, ..TenantManifest::default() };
        plan_segments(&manifest, reach, newest_hour * HOUR_MS, &|_| false)
    };
    let four = vec![two_hours(1, 0, 1), two_hours(2, 0, 2), two_hours(3, 0, 3), two_hours(4, 1, 4)];
    let merged = plan(four.clone(), Reach::Due, 3).unwrap();
    assert_eq!((merged.inputs, merged.complete), (ids(&[1, 2, 3, 4]), true));
    assert_eq!(merged.window, Level::TwoHours.window_of(0));
    assert_eq!(plan(four[..3].to_vec(), Reach::Due, 3), None);
    assert!(plan(four[..2].to_vec(), Reach::Everything { up_to: None }, 3).is_some());

    // One segment much larger than the rest is left alone until the rest has grown.
    let mut large = four.clone();
    large[0].len = 100_000;
    assert_eq!(plan(large.clone(), Reach::Due, 3), None);
    large.push(two_hours(5, 0, 5));
    let merged = plan(large, Reach::Due, 3).unwrap();
    assert_eq!((merged.inputs, merged.complete), (ids(&[2, 3, 4, 5]), false));

    let day = vec![two_hours(1, 0, 1), two_hours(2, 2, 2), two_hours(3, 4, 3)];
    assert_eq!(plan(day.clone(), Reach::Due, 24), None);
    let merged = plan(day.clone(), Reach::Due, 26).unwrap();
    assert_eq!((merged.inputs, merged.window), (ids(&[1, 2, 3]), Level::Day.window_of(0)));
    let mut late = vec![segment(9, Level::Day, 0, 3, 9_000), two_hours(10, 2, 4)];
    assert_eq!(plan(late.clone(), Reach::Due, 40), None);
    late.push(two_hours(11, 8, 5));
    assert_eq!(plan(late, Reach::Due, 40).unwrap().inputs, ids(&[10, 11]));
}

#[test]
fn merged_objects_are_absorbed_when_their_window_is_over_or_enough_waits() {
    let merged = |minute: i64, samples| Merged {
        id: ObjectId::new(minute, 0),
        len: 1,
        tier: 1,
        first: key(minute, 0),
        last: key(minute + 9, 0),
        samples,
        tenants: 1,
        fresh: 64,
    };
    let plan = |merged: Vec<Merged>, fresh: &[i64], reach| {
        let manifest = ShardManifest { merged, ..ShardManifest::default() };
        let listed: Vec<_> =
            fresh.iter().map(|minute| FreshObject { key: key(*minute, 1), len: 1 }).collect();
        let units = units(&listed, &manifest, &|_| false);
        plan_absorb(&units, &manifest, reach, 1).map(|plan| plan.merged)
    };
    let early = vec![merged(60, 5), merged(115, 5), merged(125, 5)];
    assert_eq!(plan(early.clone(), &[], Reach::Due), Some(ids(&[60, 115])));
    assert_eq!(plan(early[..2].to_vec(), &[], Reach::Due), None);
    assert_eq!(plan(early[..2].to_vec(), &[125], Reach::Due), Some(ids(&[60, 115])));
    // What is between must be merged first.
    assert_eq!(plan(early.clone(), &[100, 130], Reach::Due), Some(ids(&[60])));
    assert_eq!(plan(early.clone(), &[], Reach::Everything { up_to: None }), Some(ids(&[60, 115, 125])));
    let much = vec![merged(60, 4_000_000), merged(70, 4_000_000)];
    assert_eq!(plan(much.clone(), &[], Reach::Due), Some(ids(&[60, 70])));
    let of_many = much.into_iter().map(|of| Merged { tenants: 1_000, ..of }).collect();
    assert_eq!(plan(of_many, &[], Reach::Due), None);
}

#[test]
fn what_has_many_tenants_waits_for_flushes_or_for_long_and_is_merged_meanwhile() {
    let merged = |minute: i64, tier, fresh| Merged {
        id: ObjectId::new(minute, 0),
        len: 1,
        tier,
        first: key(minute, 0),
        last: key(minute + 9, 0),
        samples: 1_000,
        tenants: 300,
        fresh,
    };
    let plan = |merged: &[Merged], newest_hour: i64| {
        let manifest = ShardManifest { merged: merged.to_vec(), ..ShardManifest::default() };
        let newest = [FreshObject { key: key(newest_hour * 60, 1), len: 1 }];
        let units = units(&newest, &manifest, &|_| false);
        let plan = plan_absorb(&units, &manifest, Reach::Due, 200)?;
        let waiting = plan_waiting(&units, &plan).map(|plan| plan.inputs.len());
        Some((plan.merged.len(), plan.tenants, waiting))
    };
    let early = [merged(10, 2, 64), merged(20, 1, 64), merged(30, 1, 64)];
    assert_eq!(plan(&early, 1), None);
    assert_eq!(plan(&early, 3), Some((3, 200, Some(3))));
    assert_eq!(plan(&early, 9), Some((3, u64::MAX, Some(3))));
    let of_many_flushes = [merged(10, 2, 64 * 64), merged(20, 2, 64 * 64), merged(30, 2, 64 * 64)];
    assert_eq!(plan(&of_many_flushes, 3), Some((3, 307, Some(3))));
    // Once merged, they are not merged again and again.
    let waiting = [merged(10, WAITING_TIER, 200), merged(130, 1, 64), merged(140, 1, 64)];
    assert_eq!(plan(&waiting[..1], 5), Some((1, 200, None)));
    assert_eq!(plan(&waiting, 5), Some((3, 200, Some(2))));
}
