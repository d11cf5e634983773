//! The storage protocol in simulation: processes that write, compact, read and delete a tenant, over one bucket that fails, in
//! simulated time, from one seed.
//!
//! | file | what |
//! |---|---|
//! | `world` | one run: who takes part, what is between them and the bucket, how it ends |
//! | `writer`, `reader`, `compactor` | who takes part |
//! | `process` | how they stall (for hours), die, have wrong clocks, and have their requests done when nobody waits any more |
//! | `rivals` | others who take a segment's name |
//! | `watched` | the bucket itself, and what must hold after each change |
//! | `data`, `contents` | what is sent, and what objects hold: floats, native histograms, ends of series, exemplars, metadata |
//! | `record`, `usage`, `thinned` | what was sent, acked and stored, and what must hold of it: [`record::Rule`] |
//! | `breaks` | mistakes, to see that they are found |
//!
//! The same seed gives the same run, to the byte. And the simulation finds what it is there to find: each mistake in [`breaks`] is
//! caught.
//!
//! `FARWATCH_SIM_SEEDS=10000 cargo test --release -p segment-store --test storage_protocol seeds` runs as many seeds;
//! `FARWATCH_SIM_FIRST_SEED` says where to begin: `.ci/run` takes it from the commit, so that each commit tries others.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failing check ends the test")]

mod breaks;
mod compactor;
mod contents;
mod data;
mod process;
mod reader;
mod record;
mod rivals;
mod thinned;
mod usage;
mod watched;
mod world;
mod writer;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use breaks::Break;
use record::{Rule, Violation};
use world::{Report, simulate};

/// Without a wish, so many: some seconds in a debug build.
const SEEDS: u64 = 100;

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn first_seed() -> u64 {
    number_from_env("FARWATCH_SIM_FIRST_SEED").unwrap_or(0)
}

/// What `work` gives for each of `items`, in their order, done on all cores.
fn on_all_cores<I: Copy + Sync, T: Send>(items: &[I], work: impl Fn(I) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let number = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(number)
        {
            done.push((number, work(*item)));
        }
        done
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a simulation panicked")).collect()
    });
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, of_item)| of_item).collect()
}

#[test]
fn seeds_hold_all_rules() {
    let seeds = number_from_env("FARWATCH_SIM_SEEDS").unwrap_or(SEEDS);
    let first = first_seed();
    let reports = on_all_cores(&Vec::from_iter(first..first + seeds), |seed| {
        let report = simulate(seed, Break::Nothing);
        (seed, what_is_broken(&report), report.counts)
    });
    let (mut counts, mut broken) = (BTreeMap::<&str, u64>::new(), BTreeMap::new());
    for (seed, what, of_seed) in reports {
        of_seed.into_iter().for_each(|(what, times)| *counts.entry(what).or_default() += times);
        if !what.is_empty() {
            broken.insert(seed, what);
        }
    }
    assert!(broken.is_empty(), "{} of {seeds} seeds from {first}: {broken:#?}", broken.len());
    println!("{seeds} seeds from {first}: {counts:#?}");
    // A simulation in which nothing happens proves nothing.
    if seeds >= SEEDS {
        for (what, times) in HAPPENS {
            let happened = counts.get(what).copied().unwrap_or_default();
            assert!(happened * 100 >= times * seeds, "only {happened} {what} in {seeds} seeds");
        }
    }
}

/// What happens, and how often at least in a hundred seeds.
const HAPPENS: [(&str, u64); 26] = [
    ("histograms sent", 300),
    ("ends of series sent", 200),
    ("exemplars sent", 700),
    ("metadata sent", 400),
    ("requests made again", 150),
    ("requests acked", 2_000),
    ("requests with unknown outcome", 200),
    ("requests certainly not stored", 5),
    ("puts of writers repeated", 500),
    ("puts confirmed by their put-id", 50),
    ("names taken by others", 30),
    ("processes killed", 200),
    ("stalls", 500),
    ("snapshots", 500),
    ("objects gone while a reader slept", 15),
    ("merges of fresh objects", 250),
    ("absorptions", 150),
    ("merges of segments", 250),
    ("races lost", 40),
    ("orphans doomed", 150),
    ("deletions", 100),
    ("segments thinned", 100),
    ("samples left out by thinning", 500),
    ("times that raw segments were too old", 15),
    ("times that thinned segments were too old", 5),
    ("tenants deleted", 25),
];

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in [1, 2, 3] {
        let (first, second) = (simulate(seed, Break::Nothing), simulate(seed, Break::Nothing));
        assert_eq!(first.trace, second.trace, "seed {seed}: other events");
        assert_eq!(first.contents, second.contents, "seed {seed}: other bytes in the bucket");
        assert!(first.trace.len() > 100);
    }
    assert_ne!(simulate(1, Break::Nothing).contents, simulate(2, Break::Nothing).contents);
}

/// Each broken protocol, a seed that catches it, and the rule that it breaks first.
const CAUGHT_BY: [(Break, u64, Rule); 49] = [
    (Break::AckBeforePut, 0, Rule::AckedIsThere),
    (Break::NoPutIdCheck, 0, Rule::AckedIsThere),
    (Break::NoCondition, 1, Rule::NothingIsLost),
    (Break::NoPutId, 180, Rule::FailedIsNotThere),
    (Break::UnknownIsFailure, 314, Rule::FailedIsNotThere),
    (Break::UnknownIsSuccess, 0, Rule::AckedIsThere),
    (Break::ListAfterManifests, 34, Rule::AckedIsThere),
    (Break::TenantManifestFirst, 3, Rule::AckedIsThere),
    (Break::AbsorbedFreshIsRead, 0, Rule::Once),
    (Break::AbsorbedMergedIsRead, 1, Rule::Once),
    (Break::NoNewSnapshot, 2, Rule::ReadsSucceed),
    (Break::NoGrace, 1, Rule::GraceIsKept),
    (Break::NoEtag, 2, Rule::FollowersAreTold),
    (Break::LostRaceIsWon, 153, Rule::NothingIsLost),
    (Break::UnknownCommitIsSuccess, 6, Rule::NothingIsLost),
    (Break::CommitBeforePut, 0, Rule::ReferencedIsThere),
    (Break::RetireBeforeAbsorbed, 0, Rule::NothingIsLost),
    (Break::RetireWithoutOne, 0, Rule::NothingIsLost),
    (Break::DeleteBeforeCommit, 0, Rule::ReferencedIsThere),
    (Break::ForgetBeforeDelete, 0, Rule::Once),
    (Break::LookedOnce, 85, Rule::Once),
    (Break::AbsorbedIsNotNoted, 0, Rule::Once),
    (Break::OrphansAreNotDoomed, 649, Rule::RestIsRest),
    (Break::OrphansAreKept, 0, Rule::NothingIsLeft),
    (Break::LedgerLater, 0, Rule::LedgerIsExact),
    (Break::LedgerCountsDuplicates, 0, Rule::LedgerIsExact),
    (Break::DeletionIsNotNoted, 1, Rule::DeletedIsGone),
    (Break::ConflictIsSuccess, 0, Rule::AckedIsThere),
    (Break::UnknownIsDeleted, 0, Rule::ReferencedIsThere),
    (Break::GoneIsEmpty, 5, Rule::AckedIsThere),
    (Break::LedgerOfLostRace, 123, Rule::LedgerIsExact),
    (Break::LedgerCountsThinned, 0, Rule::LedgerIsExact),
    (Break::GraceFromBirth, 1, Rule::GraceIsKept),
    (Break::ForgottenEarly, 3, Rule::Once),
    (Break::OutputsOfUnknownAreDeleted, 0, Rule::ReferencedIsThere),
    (Break::HistogramsAreLost, 0, Rule::NothingIsLost),
    (Break::EndsAreLost, 0, Rule::WinnersStay),
    (Break::MetadataIsLost, 0, Rule::NothingIsLost),
    (Break::ExemplarsAreDoubled, 0, Rule::Once),
    (Break::PlaceOfFirst, 284, Rule::WinnersStay),
    (Break::AbsorbedPlaceOfFirst, 30, Rule::ThinnedIsTrue),
    (Break::EpochStays, 0, Rule::FollowersAreTold),
    (Break::SweptIsNotCounted, 0, Rule::FollowersAreTold),
    (Break::ThinnedOnce, 0, Rule::ThinnedIsTrue),
    (Break::RawGoesWhenThinned, 0, Rule::NothingIsLost),
    (Break::ThinnedGoesWithRaw, 1, Rule::NothingIsLost),
    (Break::RetentionOfAnother, 0, Rule::NothingIsLost),
    (Break::RetentionByStart, 0, Rule::NothingIsLost),
    (Break::DeletionIsForgotten, 1, Rule::DeletedIsGone),
];

fn first_broken(report: &Report) -> Option<Rule> {
    report.violations.first().map(|violation| violation.rule)
}

fn what_is_broken(report: &Report) -> String {
    report.violations.iter().map(|of| format!("{:?}: {}\n", of.rule, of.what)).collect()
}

#[test]
fn every_broken_protocol_is_caught() {
    let wrong = on_all_cores(&CAUGHT_BY, |(broken, seed, rule)| {
        let (report, whole) = (simulate(seed, broken), simulate(seed, Break::Nothing));
        let is_right = first_broken(&report) == Some(rule) && whole.violations.is_empty();
        let what = || {
            format!("{broken:?}, seed {seed}: {}\nwhole: {}", what_is_broken(&report), what_is_broken(&whole))
        };
        (!is_right).then(what)
    });
    let wrong: Vec<String> = wrong.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Prints a table for [`CAUGHT_BY`]: `cargo test … -- --ignored --nocapture find_seeds`; of one mistake, `FARWATCH_SIM_BREAK`.
#[test]
#[ignore = "a tool: finds the seeds for CAUGHT_BY after the simulation has changed"]
fn find_seeds() {
    let only = std::env::var("FARWATCH_SIM_BREAK").ok();
    let is_wanted =
        |(broken, ..): &&(Break, u64, Rule)| only.as_ref().is_none_or(|only| format!("{broken:?}") == *only);
    let wanted: Vec<_> = CAUGHT_BY.iter().filter(is_wanted).copied().collect();
    let found = on_all_cores(&wanted, |(broken, _, expected)| {
        let first = |seed| simulate(seed, broken).violations.into_iter().next().map(|first| (seed, first));
        let is_whole = |seed: &u64| simulate(*seed, Break::Nothing).violations.is_empty();
        let mut of_seeds = (0..2_000).filter_map(first).filter(|(seed, _)| is_whole(seed)).peekable();
        let any = of_seeds.peek().cloned();
        let caught = of_seeds.take(8).find(|(_, first)| first.rule == expected).or(any);
        match caught {
            Some((seed, Violation { rule, what })) => {
                format!("    (Break::{broken:?}, {seed}, Rule::{rule:?}),\n        // {what}")
            }
            None => format!("    // {broken:?} is not caught"),
        }
    });
    println!("{}", found.join("\n"));
}

/// Prints what happens in the world of `FARWATCH_SIM_FIRST_SEED`, with the mistake `FARWATCH_SIM_BREAK`.
#[test]
#[ignore = "a tool: prints the trace of a seed"]
fn trace() {
    let name = std::env::var("FARWATCH_SIM_BREAK").unwrap_or_default();
    let broken = CAUGHT_BY.iter().map(|(broken, ..)| *broken).find(|broken| format!("{broken:?}") == name);
    let report = simulate(first_seed(), broken.unwrap_or(Break::Nothing));
    report.trace.iter().for_each(|line| println!("{line}"));
}
