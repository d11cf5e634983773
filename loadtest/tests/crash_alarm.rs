//! `loadtest crash` against a server that keeps its word and one that acks too early. The server that the drill starts
//! and kills is this very program, so it has no test harness.

mod fake;

use std::process::ExitCode;

use clap::Parser;
use fake::{FakeServer, Fault};
use loadtest::cli::Cli;
use loadtest::commands;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        Some("serve") => serve(&args).await,
        // What asks a test program for its tests finds one.
        Some("--list") => {
            println!("crash_alarm: test");
            ExitCode::SUCCESS
        }
        _ => check().await,
    }
}

/// `serve --data-dir DIR ... [ack-first]`
async fn serve(args: &[String]) -> ExitCode {
    let data_dir = args.iter().skip_while(|arg| *arg != "--data-dir").nth(1);
    let Some(data_dir) = data_dir else { return ExitCode::FAILURE };
    if std::fs::create_dir_all(data_dir).is_err() {
        return ExitCode::FAILURE;
    }
    let fault = if args.iter().any(|arg| arg == "ack-first") { Fault::AckFirst } else { Fault::None };
    let journal = std::path::Path::new(data_dir).join("journal");
    let address = FakeServer::new(fault, Some(journal)).listen().await;
    println!("listening on http://{address}");
    std::future::pending().await
}

async fn check() -> ExitCode {
    let honest = drill("honest").await;
    let hasty = drill("ack-first").await;
    let verdict = |json: &serde_json::Value, field: &str| json["verdict"][field].as_u64();
    let checks = [
        ("a server that keeps its word passes", honest.good),
        ("it was killed as often as asked for", honest.json["kills"] == 4),
        ("much was written", verdict(&honest.json, "acked_found") > Some(200)),
        ("a server that acks too early fails", !hasty.good),
        ("what it has lost is counted", verdict(&hasty.json, "lost") > Some(0)),
        ("and listed", hasty.text.contains("\n  lost: ") && hasty.text.contains("\n  after kill ")),
    ];
    for (what, holds) in checks {
        println!("crash_alarm: {what} ... {}", if holds { "ok" } else { "FAILED" });
    }
    if checks.iter().all(|(_, holds)| *holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::unwrap_used, reason = "test code outside of test functions")]
async fn drill(fault: &str) -> commands::Outcome {
    let this_program = std::env::current_exe().unwrap();
    // What a failed drill keeps goes away with this.
    let dir = tempfile::tempdir().unwrap();
    let line =
        ["loadtest", "crash", "--kills", "4", "--life", "150ms", "--writers", "3", "--server-arg", fault];
    let paths: [std::ffi::OsString; 4] =
        ["--binary".into(), this_program.into(), "--work-dir".into(), dir.path().into()];
    let cli = Cli::try_parse_from(line.into_iter().map(Into::into).chain(paths)).unwrap();
    commands::run(&cli.command).await.unwrap()
}
