//! Processes that compact, and one that deletes a tenant.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::compact::{
    CompactError, Compactor, CompactorParts, CompactorSettings, NoListener, RetentionPolicy, Step,
};
use segment_store::testing::tenant;
use segment_store::{Bucket, Seed, WorkOn};
use telemetry::TenantId;
use tokio_util::sync::CancellationToken;

use crate::breaks::Break;
use crate::process::Process;
use crate::record::{DELETED, Record, Rule};
use crate::world::{SHARD, World};

/// One tenant's data goes when it is old, unless there is a mistake.
#[derive(Debug)]
struct OneForgets(Break);

impl RetentionPolicy for OneForgets {
    fn retention(&self, tenant: &TenantId) -> Option<Duration> {
        self.0.retention(tenant)
    }
}

pub(crate) fn parts(
    bucket: Arc<dyn Bucket>,
    process: &Process,
    rng: &mut ChaCha8Rng,
    settings: CompactorSettings,
    broken: Break,
) -> CompactorParts {
    CompactorParts {
        bucket,
        shard: SHARD,
        clock: Arc::clone(&process.clock) as _,
        seed: Seed::from_number(rng.random()),
        work_on: WorkOn::SameThread,
        retention: Arc::new(OneForgets(broken)),
        listener: Arc::new(NoListener),
        settings,
    }
}

/// Some step, and what it means for the rules.
pub(crate) fn note_step(record: &Record, name: &str, step: &Step) {
    record.note(format!("{name} {step:?}"));
    let what = match step {
        Step::Merged { .. } => "merges of fresh objects",
        Step::Absorbed { stuck, .. } if !stuck.is_empty() => {
            record.violation(Rule::CompactionWorks, format!("{name}: {step:?}"));
            return;
        }
        Step::Absorbed { .. } => "absorptions",
        Step::SegmentsMerged { .. } => "merges of segments",
        Step::Thinned { .. } => "segments thinned",
        Step::Several(steps) => {
            steps.iter().for_each(|step| note_step(record, name, step));
            return;
        }
        Step::Deleted { .. } => "deletions",
        Step::Overtaken => "races lost",
        Step::Swept => "sweeps",
        Step::Rest => "rests",
        // Nothing is damaged.
        Step::Quarantined { .. } => {
            record.violation(Rule::CompactionWorks, format!("{name}: {step:?}"));
            return;
        }
    };
    record.count(what, 1);
}

pub(crate) fn note_error(record: &Record, name: &str, error: &CompactError) {
    record.note(format!("{name} {error:?}"));
    if !error.is_retryable() {
        record.violation(Rule::CompactionWorks, format!("{name}: {error:?}"));
    }
}

/// A machine on which a compactor is started whenever there is none.
pub(crate) async fn keep_compacting(
    mut world: World,
    number: usize,
    settings: CompactorSettings,
    stop: CancellationToken,
) {
    let mut life = 0;
    while !stop.is_cancelled() {
        life += 1;
        let name = format!("compactor {number}.{life}");
        let process = world.compactor_process(name.clone());
        let bucket = world.compactor_bucket(&process);
        let compactor =
            Compactor::new(parts(bucket, &process, &mut world.rng, settings.clone(), world.broken));
        let death = process.death.clone();
        tokio::select! {
            biased;
            () = death.cancelled() => {}
            () = compact(&mut world, &name, compactor, &process, &stop) => {}
        }
        world.sleep_up_to(Duration::from_secs(600)).await;
    }
}

async fn compact(
    world: &mut World,
    name: &str,
    mut compactor: Compactor,
    process: &Process,
    stop: &CancellationToken,
) {
    let record = Arc::clone(&world.record);
    while !stop.is_cancelled() {
        let dice = world.rng.random_range(0..40);
        let done = match dice {
            0 => {
                process.set_clock();
                Ok(())
            }
            1..15 => compactor.run_until_rest(|step| note_step(&record, name, step)).await,
            _ => compactor.step().await.map(|step| note_step(&record, name, &step)),
        };
        if let Err(error) = done {
            note_error(&record, name, &error);
        }
        let pause = match world.rng.random_range(0..3) {
            0 => Duration::from_secs(world.rng.random_range(0..10)),
            1 => Duration::from_secs(world.rng.random_range(0..600)),
            // Those who wait for the same moment begin together.
            _ => world.until_next(Duration::from_secs(300)),
        };
        tokio::select! { biased; () = stop.cancelled() => {} () = tokio::time::sleep(pause) => {} }
    }
}

/// Deletes a tenant, sooner or later.
pub(crate) async fn delete_tenant(mut world: World, settings: CompactorSettings) {
    world.sleep_up_to(Duration::from_secs(3 * 3_600)).await;
    world.record.deletion_begins();
    loop {
        let process = world.compactor_process("deleter".to_owned());
        let bucket = world.compactor_bucket(&process);
        let compactor =
            Compactor::new(parts(bucket, &process, &mut world.rng, settings.clone(), world.broken));
        let of = tenant(DELETED);
        let deleted = tokio::select! {
            biased;
            () = process.death.cancelled() => None,
            deleted = compactor.delete_tenant(&of) => Some(deleted),
        };
        match deleted {
            Some(Ok(objects)) => {
                world.record.note(format!("{DELETED} deleted: {objects} objects"));
                world.record.count("tenants deleted", 1);
                return;
            }
            Some(Err(error)) => note_error(&world.record, "deleter", &error),
            None => {}
        }
        world.sleep_up_to(Duration::from_secs(60)).await;
    }
}
