//! Random queries over random series, answered by this crate and by a real Prometheus server; they must agree.
//!
//! `FARWATCH_PROMETHEUS` names the server's binary (3.5); without it the test is reported as ignored. Seeds count up from
//! `FARWATCH_DIFFERENTIAL_SEED` (default 1), `FARWATCH_DIFFERENTIAL_CASES` (default 2,000) of them. A difference is shown
//! with its seed and the smallest part of the query that still differs.
//!
//! A busy 3.5 server now and then answers with a native histogram whose buckets do not add up to its count, and does not
//! when asked again after a start. So a difference is asked of a second, new server; if that one agrees, it is counted
//! and printed as the server's own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test without libtest's harness is a test all the same"
)]

mod answer;
mod data;
mod generate;
mod random;
mod server;

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use answer::{Answer, Order};
use generate::Case;
use libtest_mimic::{Arguments, Failed, Trial};
use promql::{EvalOptions, Window};
use random::Random;
use server::Server;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> ExitCode {
    let binary = std::env::var_os("FARWATCH_PROMETHEUS");
    let missing = binary.is_none();
    let trial = Trial::test("random queries", move || compare(&binary.unwrap_or_default()));
    libtest_mimic::run(&Arguments::from_args(), vec![trial.with_ignored_flag(missing)]).exit_code()
}

fn compare(binary: &OsStr) -> Result<(), Failed> {
    let store = data::Store::new();
    let start = || -> Result<Server, Failed> {
        let server = Server::start(binary)?;
        server.load(&store)?;
        Ok(server)
    };
    let mut server = start()?;
    let mut contradictions = 0;
    let first = setting("FARWATCH_DIFFERENTIAL_SEED", 1);
    let cases = setting("FARWATCH_DIFFERENTIAL_CASES", 2_000);
    let mut differences = Vec::new();
    let (mut asked, mut with_samples, mut in_a_row) = (0, 0, 0);
    for seed in first..first + cases {
        asked += 1;
        let case = Case::random(&mut Random::new(seed));
        let (ours, theirs) = answers(&store, &server, &case.query, case.window)?;
        with_samples += usize::from(theirs.has_samples());
        in_a_row += 1;
        if ours.agrees_with(&theirs, case.order).is_err() {
            server = start()?;
            let (ours, theirs) = answers(&store, &server, &case.query, case.window)?;
            let Err(difference) = ours.agrees_with(&theirs, case.order) else {
                println!("seed {seed}: two servers differ about {}", case.query);
                contradictions += 1;
                continue;
            };
            in_a_row = 0;
            differences.push(report(&store, &server, seed, &case, &difference)?);
            if differences.len() >= 10 {
                break;
            }
        }
    }
    println!(
        "{asked} queries from seed {first}, {with_samples} of them with samples in the result; \
         about {contradictions} two servers differ; the last {in_a_row} in a row without a difference"
    );
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n\n").into()) }
}

fn answers(
    store: &data::Store,
    server: &Server,
    query: &str,
    window: Window,
) -> Result<(Answer, Answer), Failed> {
    Ok((ours(store, query, window), server.query(query, window)?))
}

fn ours(store: &data::Store, query: &str, window: Window) -> Answer {
    let options =
        EvalOptions { experimental: true, threads: NonZeroUsize::new(2).unwrap(), ..EvalOptions::default() };
    let evaluated = promql::parse(query)
        .map_err(|error| error.to_string())
        .and_then(|expr| promql::plan(&expr, window, &options).map_err(|error| error.to_string()))
        .and_then(|plan| promql::evaluate(&plan, store, &options).map_err(|error| error.to_string()));
    Answer::ours(evaluated)
}

/// The difference, in the smallest part of the query that shows one.
fn report(
    store: &data::Store,
    server: &Server,
    seed: u64,
    case: &Case,
    difference: &str,
) -> Result<String, Failed> {
    let mut smallest = (case.query.clone(), difference.to_owned());
    let mut parts = vec![case.query.clone()];
    while let Some(query) = parts.pop() {
        let Ok(expr) = promql::parse(&query) else { continue };
        for child in expr.root().children() {
            let part = child.to_string();
            let (ours, theirs) = answers(store, server, &part, case.window)?;
            if let Err(difference) = ours.agrees_with(&theirs, Order::Any) {
                if part.len() < smallest.0.len() {
                    smallest = (part.clone(), difference);
                }
                parts.push(part);
            }
        }
    }
    Ok(format!(
        "seed {seed}: {}\n  over {:?}\n  differs in: {}\n  {}",
        case.query, case.window, smallest.0, smallest.1
    ))
}
