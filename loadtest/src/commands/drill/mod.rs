//! `loadtest drill`: faults under load.
//!
//! Writers write without end and readers check answers without end, while a fault is made again and again; each drill is one kind
//! of fault. After each, what was acked since the last one is read back. In the end everything is read back three times: from the
//! servers as they are; after all of them were killed and started anew, when it comes from the bucket; and once more after
//! `farwatch compact --once`, when the ledger must count each sample that is there once, and the bucket may hold nothing that no
//! manifest needs, orphans of killed compactors included.
//!
//! About half of the requests that failed are sent again, as Prometheus would, so that what became durable without an ack is
//! written twice; some that were acked are, too.
//!
//! A killed process leaves its written files to the kernel: drills show what a crash of processes loses, not what a power cut would.

pub(super) mod cell;
mod compactors;
mod crash;
mod disk;
mod journal;
mod network;
mod proxy;
mod report;
mod roles;
mod s3;
pub(super) mod s3_server;
mod small_disk;
mod traffic;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use self::cell::{ALL, Cell, part_of};
pub use self::report::DrillReport;
use self::traffic::Traffic;
use super::{CommandError, Outcome, api, work_dir};
use crate::cli::{Drill, Fault};
use crate::clock;
use crate::progress::note;
use crate::stats::Latencies;

/// The first timestamp lies this long before the drill.
const PAST: Duration = Duration::from_secs(3600);
/// How long it may take after a fault until something is acked again.
const RECOVERY_MAX: Duration = Duration::from_secs(60);

/// When compaction has ended.
const AT_REST: &str = "after compaction";

/// Objects that a finding names at most.
const FINDINGS_NAMED: usize = 20;

/// What a drill counts beside what all have.
type Figures = BTreeMap<&'static str, u64>;

/// One kind of fault.
trait Strike: Sized {
    /// What was acked so long ago must be in answers.
    const VISIBLE_WITHIN: Duration = Duration::ZERO;

    /// Makes what the fault needs, and starts the servers.
    async fn set_up(args: &Drill, cell: &mut Cell) -> Result<Self, CommandError>;

    /// Makes the fault, waits, and ends it. Returns when it ended.
    async fn strike(
        &mut self,
        cell: &mut Cell,
        traffic: &Traffic,
        rng: &mut ChaCha8Rng,
    ) -> Result<Instant, CommandError>;

    /// What follows when writes go on again.
    async fn follow(&mut self, _cell: &mut Cell, _traffic: &Traffic) -> Result<(), CommandError> {
        Ok(())
    }

    /// Ends what disturbs, for good; the servers go on.
    async fn calm(&mut self, _cell: &mut Cell, _traffic: &Traffic) -> Result<(), CommandError> {
        Ok(())
    }

    /// What was counted.
    fn figures(&self) -> Figures {
        Figures::new()
    }
}

/// Runs the command.
///
/// # Errors
/// When the servers do not come back, or nothing can be read from them.
pub async fn run(args: &Drill) -> Result<Outcome, CommandError> {
    let dir = work_dir("loadtest-drill-", args.work_dir.as_deref())?;
    let report = match args.fault {
        Fault::Crash => conduct::<crash::Crash>(args, dir.path()).await,
        Fault::S3 => conduct::<s3::S3>(args, dir.path()).await,
        Fault::Network => conduct::<network::Network>(args, dir.path()).await,
        Fault::Disk => conduct::<disk::Disk>(args, dir.path()).await,
        Fault::Compactors => conduct::<compactors::Compactors>(args, dir.path()).await,
        Fault::Roles => conduct::<roles::Roles>(args, dir.path()).await,
    };
    let good = report.as_ref().is_ok_and(DrillReport::is_good);
    let not_run = matches!(report, Err(CommandError::NotRun(_)));
    if args.keep || (!good && !not_run) {
        note(&format!("the servers' data and logs are in {}", dir.keep().display()));
    }
    let report = report?;
    Ok(Outcome { text: report.to_string(), json: serde_json::to_value(&report)?, good })
}

async fn conduct<S: Strike>(args: &Drill, dir: &std::path::Path) -> Result<DrillReport, CommandError> {
    let name = args.fault.to_string();
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let mut cell = Cell::new(args, dir)?;
    let mut strike = S::set_up(args, &mut cell).await?;
    let mut traffic = Traffic::start(args, &cell.writes, &cell.reads, S::VISIBLE_WITHIN);
    let started = clock::now();
    let mut recovery = Latencies::default();
    for round in 1..=args.rounds {
        // The last request before may be sent again, and then counts anew. What need not be visible yet was not checked then.
        let is_new = |begun: &usize| if S::VISIBLE_WITHIN.is_zero() { begun.saturating_sub(1) } else { 0 };
        let from: Vec<usize> = traffic.begun().iter().map(is_new).collect();
        let after = format!("after fault {round}");
        tokio::time::sleep(part_of(args.life, &mut rng)).await;
        let healed = strike.strike(&mut cell, &traffic, &mut rng).await?;
        match traffic.ack_after(healed, RECOVERY_MAX).await {
            Some(after) => recovery.push(after),
            None => traffic.find(&after, format!("no ack within {} s", RECOVERY_MAX.as_secs())),
        }
        strike.follow(&mut cell, &traffic).await?;
        let verdict = traffic.read_back(&cell.reads, &from).await.map_err(api("reading back"))?;
        note(&format!(
            "{name} {round} of {}: {} requests acked so far, {} acked samples read back, {}",
            args.rounds,
            traffic.acked_requests(),
            verdict.acked_found,
            if verdict.is_good() { "none lost" } else { "FAILED" },
        ));
        for finding in verdict.findings {
            traffic.find(&after, finding);
        }
    }
    strike.calm(&mut cell, &traffic).await?;
    traffic.stop().await;
    let seconds = started.elapsed().as_secs_f64();
    let Settled { verdict, ledger_samples, objects } = settle::<S>(&mut cell, &traffic).await?;
    let counts = traffic.counts();
    Ok(DrillReport {
        drill: name,
        rounds: args.rounds,
        seconds,
        requests: traffic.begun().iter().sum(),
        requests_acked: traffic.acked_requests(),
        requests_resent: counts.resent,
        write_errors: counts.write_errors,
        queries: counts.queries,
        query_errors: counts.query_errors,
        longest_without_ack_ms: counts.longest_without_ack.as_secs_f64() * 1000.0,
        recovery: recovery.summary(),
        ready: cell.ready.summary(),
        figures: strike.figures(),
        ledger_samples,
        objects,
        verdict,
        findings: counts.findings,
    })
}

/// What `farwatch compact --once --json` says, as far as it counts here.
#[derive(Deserialize)]
struct Compacted {
    stored: Stored,
}

#[derive(Deserialize)]
struct Stored {
    samples: u64,
    segments: u64,
    thinned_segments: u64,
    fresh_objects: u64,
    merged_objects: u64,
    quarantined: Vec<String>,
}

/// What `farwatch usage --json` says, as far as it counts here.
#[derive(Deserialize)]
struct Usage {
    total: Total,
}

#[derive(Deserialize)]
struct Total {
    samples: u64,
}

struct Settled {
    verdict: crate::verify::Verdict,
    ledger_samples: u64,
    /// Objects that are needed, and there are no others.
    objects: u64,
}

/// Reads everything back in every state that data gets into, and compares the ledger with it.
async fn settle<S: Strike>(cell: &mut Cell, traffic: &Traffic) -> Result<Settled, CommandError> {
    let all: Vec<usize> = traffic.begun().iter().map(|_| 0).collect();
    let read = async |cell: &Cell, when: &str| {
        note(&format!("reading everything back, {when}"));
        let verdict = traffic.read_back(&cell.reads, &all).await.map_err(api("reading back"))?;
        for finding in &verdict.findings {
            traffic.find(when, finding);
        }
        Ok::<_, CommandError>(verdict)
    };
    tokio::time::sleep(S::VISIBLE_WITHIN).await;
    read(cell, "at the end").await?;
    cell.kill_all()?;
    cell.start(ALL).await?;
    let stored = read(cell, "after a restart").await?;
    cell.kill_all()?;
    let Compacted { stored: at_rest } = cell.ask(&["compact", "--once", "--grace", "0s", "--json"]).await?;
    let Usage { total } = cell.ask(&["usage", "--json"]).await?;
    let there = stored.acked_found + stored.unacked_found;
    for (what, count) in [("the ledger counts", total.samples), ("segments hold", at_rest.samples)] {
        if count != there {
            traffic.find(AT_REST, format!("{what} {count} samples, and {there} are there"));
        }
    }
    let left = at_rest.fresh_objects + at_rest.merged_objects;
    if left > 0 || !at_rest.quarantined.is_empty() {
        let unread = at_rest.quarantined;
        traffic.find(AT_REST, format!("{left} objects are left, and these could not be read: {unread:?}"));
    }
    let mut objects = cell.objects().await?;
    let needed = at_rest.segments + at_rest.thinned_segments;
    if objects.len() as u64 != needed {
        let found = objects.len();
        objects.truncate(FINDINGS_NAMED);
        traffic.find(
            AT_REST,
            format!("{needed} segments are needed, and {found} objects are there: {objects:?}"),
        );
    }
    cell.start(ALL).await?;
    let verdict = read(cell, AT_REST).await?;
    cell.kill_all()?;
    Ok(Settled { verdict, ledger_samples: total.samples, objects: needed })
}
