//! Runs Prometheus's own PromQL test scripts (`promql/promqltest/testdata`, unmodified) against an [`Engine`].
//!
//! The scripts are not part of this project: they are read from `FARWATCH_PROMQLTEST_DIR`, by default from
//! `../shared/promqltest` beside the workspace. Where there is no such folder the tests are reported as ignored, never
//! as passed. What does not pass is in a list of the engine's, with reasons; a listed case that passes fails the run, so
//! that the list cannot grow stale.
//!
//! ```text
//! script ── notation ──► commands ── run ──► Engine ──► Answer ── compare ──► problems
//! ```
//!
//! Only tests depend on this crate.

#![allow(clippy::unwrap_used, clippy::panic, reason = "it is part of tests")]

mod answer;
mod compare;
mod custom_buckets;
mod engine;
mod known_failures;
mod notation;
mod run;
mod script;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use known_failures::KnownFailures;
use libtest_mimic::{Arguments, Failed, Trial};

pub use answer::{Answer, FoundHistogram, Sample, Series, Value};
pub use engine::Engine;

/// The scripts of Prometheus 3.5. Without the folder these are the tests that did not run.
const FILES: [&str; 17] = [
    "aggregators.test",
    "at_modifier.test",
    "collision.test",
    "duration_expression.test",
    "functions.test",
    "histograms.test",
    "limit.test",
    "literals.test",
    "name_label_dropping.test",
    "native_histograms.test",
    "operators.test",
    "range_queries.test",
    "selectors.test",
    "staleness.test",
    "subquery.test",
    "trig_functions.test",
    "type_and_unit.test",
];

fn folder() -> PathBuf {
    match std::env::var_os("FARWATCH_PROMQLTEST_DIR") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/promqltest"),
    }
}

/// The `main` of a test without libtest's harness: one test a script, each with an engine of its own.
///
/// `known_failures` lists what does not pass, a line each: `file.test:line: reason`. `#` begins a comment.
pub fn main<E: Engine>(
    known_failures: &str,
    engine: impl Fn() -> E + Clone + Send + Sync + 'static,
) -> ExitCode {
    let arguments = Arguments::from_args();
    let folder = folder();
    let known = Arc::new(KnownFailures::parse(known_failures));
    let totals = Arc::new(Mutex::new(run::Totals::default()));
    let trials = FILES
        .into_iter()
        .map(|file| {
            let path = folder.join(file);
            let missing = !path.is_file();
            let (known, totals, engine) = (Arc::clone(&known), Arc::clone(&totals), engine.clone());
            let check = move || check_file(file, &path, &mut engine(), &known, &totals);
            Trial::test(file, check).with_ignored_flag(missing)
        })
        .collect();
    let prints = !arguments.list;
    if prints && !folder.is_dir() {
        println!("no test scripts in {}: not run", folder.display());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    let totals = totals.lock().unwrap();
    if prints {
        println!("test scripts: {} cases; {} known failures", totals.cases, totals.known_failures);
    }
    conclusion.exit_code()
}

fn check_file(
    file: &str,
    path: &Path,
    engine: &mut dyn Engine,
    known: &KnownFailures,
    totals: &Mutex<run::Totals>,
) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path)?;
    let commands = script::parse(&text)?;
    let outcome = run::run(file, &commands, engine, known);
    let mut totals = totals.lock().unwrap();
    totals.cases += outcome.totals.cases;
    totals.known_failures += outcome.totals.known_failures;
    if outcome.problems.is_empty() { Ok(()) } else { Err(outcome.problems.join("\n").into()) }
}
