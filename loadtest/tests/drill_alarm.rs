//! `loadtest drill` against a server that keeps its word and against some that do not. The server that the drill starts, kills and
//! tells to compact is this very program, so it has no test harness.

mod fake;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use fake::{FakeServer, Fault};
use loadtest::cli::Cli;
use loadtest::commands;
use serde_json::{Value, json};

/// The file in the data directory that says how this server fails, for the commands that are told nothing.
const FAULT: &str = "fault";
/// A ledger that counts what was sent again once more.
const COUNT_TWICE: &str = "count-twice";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(&args).await,
        Some("compact") => compact(&args),
        Some("usage") => usage(&args),
        // What asks a test program for its tests finds one.
        Some("--list") => {
            println!("drill_alarm: test");
            ExitCode::SUCCESS
        }
        _ => check().await,
    }
}

fn data_dir(args: &[String]) -> PathBuf {
    args.iter().skip_while(|arg| *arg != "--data-dir").nth(1).map(PathBuf::from).unwrap_or_default()
}

/// The server with all that was kept, as the fault has it.
fn fake(data_dir: &Path) -> std::sync::Arc<FakeServer> {
    let fault = match std::fs::read_to_string(data_dir.join(FAULT)).unwrap_or_default().as_str() {
        "ack-first" => Fault::AckFirst,
        "lose-one" => Fault::LoseOne,
        "alter-one" => Fault::AlterOne,
        "repeat-one" => Fault::RepeatOne,
        _ => Fault::None,
    };
    FakeServer::new(fault, Some(data_dir.join("journal")))
}

/// `serve --data-dir DIR ... FAULT`
async fn serve(args: &[String]) -> ExitCode {
    let data_dir = data_dir(args);
    let fault = args.last().map_or("", String::as_str);
    if std::fs::create_dir_all(&data_dir).and_then(|()| std::fs::write(data_dir.join(FAULT), fault)).is_err()
    {
        return ExitCode::FAILURE;
    }
    let address = fake(&data_dir).listen().await;
    println!("listening on http://{address}");
    std::future::pending().await
}

/// `compact --once --json --data-dir DIR`
fn compact(args: &[String]) -> ExitCode {
    let samples = fake(&data_dir(args)).distinct_samples();
    let none: [&str; 0] = [];
    let stored = json!({
        "samples": samples, "segments": 0, "thinned_segments": 0, "fresh_objects": 0, "merged_objects": 0, "quarantined": none,
    });
    println!("{}", json!({ "stored": stored }));
    ExitCode::SUCCESS
}

/// `usage --json --data-dir DIR`
fn usage(args: &[String]) -> ExitCode {
    let data_dir = data_dir(args);
    let twice = std::fs::read_to_string(data_dir.join(FAULT)).is_ok_and(|fault| fault == COUNT_TWICE);
    let samples = fake(&data_dir).distinct_samples() + u64::from(twice);
    println!("{}", json!({ "total": { "samples": samples } }));
    ExitCode::SUCCESS
}

async fn check() -> ExitCode {
    let honest = drill("honest").await;
    let hasty = drill("ack-first").await;
    let loser = drill("lose-one").await;
    let forger = drill("alter-one").await;
    let doubler = drill("repeat-one").await;
    let counter = drill(COUNT_TWICE).await;
    let of = |outcome: &commands::Outcome, field: &str| outcome.json["verdict"][field].as_u64();
    let finds = |outcome: &commands::Outcome, what: &str| {
        let findings = outcome.json["findings"].as_array().into_iter().flatten();
        findings.filter_map(Value::as_str).any(|finding| finding.contains(what))
            && outcome.text.contains(what)
    };
    let checks = [
        ("a server that keeps its word passes", honest.good),
        ("it was killed as often as asked for", honest.json["rounds"] == 3),
        ("much was written", of(&honest, "acked_found") > Some(200)),
        ("its answers were checked", honest.json["queries"].as_u64() > Some(3)),
        (
            "what was sent again counts once",
            honest.json["ledger_samples"].as_u64() >= of(&honest, "acked_found"),
        ),
        ("a server that acks too early fails", !hasty.good),
        ("what it has lost is counted", of(&hasty, "lost") > Some(0)),
        ("and listed", hasty.text.contains("\n  lost: ") && finds(&hasty, "after fault ")),
        ("one lost sample fails", !loser.good && of(&loser, "lost") == Some(1) && finds(&loser, "lost: ")),
        (
            "one wrong sample fails",
            !forger.good && of(&forger, "wrong") == Some(1) && finds(&forger, "wrong: "),
        ),
        ("one doubled sample fails", !doubler.good && of(&doubler, "repeated") == Some(1)),
        ("and is listed", finds(&doubler, "more than once: ")),
        ("a sample that is counted twice fails", !counter.good && finds(&counter, "the ledger counts ")),
    ];
    for (what, holds) in checks {
        println!("drill_alarm: {what} ... {}", if holds { "ok" } else { "FAILED" });
    }
    if checks.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::unwrap_used, reason = "test code outside of test functions")]
async fn drill(fault: &str) -> commands::Outcome {
    let this_program = std::env::current_exe().unwrap();
    // What a failed drill keeps goes away with this.
    let dir = tempfile::tempdir().unwrap();
    let words = "loadtest drill crash --rounds 3 --life 150ms --writers 3 --readers 1 --server-arg";
    let line = words.split(' ').chain([fault]);
    let paths: [std::ffi::OsString; 4] =
        ["--binary".into(), this_program.into(), "--work-dir".into(), dir.path().into()];
    let cli = Cli::try_parse_from(line.map(Into::into).chain(paths)).unwrap();
    commands::run(&cli.command).await.unwrap()
}
