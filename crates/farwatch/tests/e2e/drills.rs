//! Faults under load, each for some seconds: nothing that was acknowledged is lost, wrong or there twice, in every state that data
//! gets into, and the ledger counts each sample once. `loadtest drill` runs the same for as long as one likes.

use clap::Parser as _;
use loadtest::cli::Cli;
use loadtest::commands::{self, CommandError, Outcome};

use crate::harness::farwatch::BINARY;
use crate::harness::tools::{python, root};

/// The S3 server of the tests: when it is killed, its data stays.
fn moto() -> String {
    let starter = root().join("crates/segment-store/tests/support/moto_server.py");
    format!("{} {}", python().display(), starter.display())
}

/// Runs a drill; the words are its name and options.
async fn run(words: &str, s3_server: Option<String>) -> Result<Outcome, CommandError> {
    // What a failed drill keeps goes away with this; the findings say what was wrong.
    let dir = tempfile::tempdir().unwrap();
    let mut line: Vec<String> =
        format!("loadtest drill {words} --writers 6").split(' ').map(str::to_owned).collect();
    line.extend(["--binary".to_owned(), BINARY.to_owned()]);
    line.extend(["--work-dir".to_owned(), dir.path().display().to_string()]);
    line.extend(s3_server.into_iter().flat_map(|server| ["--s3-server".to_owned(), server]));
    let cli = Cli::try_parse_from(line).unwrap();
    let outcome = commands::run(&cli.command).await?;
    println!("{}", outcome.text);
    Ok(outcome)
}

/// Runs a drill that must go well and gives its figures.
async fn drill(words: &str, s3_server: Option<String>) -> serde_json::Value {
    let outcome = run(words, s3_server).await.unwrap();
    assert!(outcome.good, "{}", outcome.text);
    assert!(outcome.json["verdict"]["acked_found"].as_u64() > Some(500), "{}", outcome.text);
    assert!(outcome.json["queries"].as_u64() > Some(0), "{}", outcome.text);
    outcome.json["figures"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_killed() {
    drill("crash --rounds 22 --life 250ms", None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_object_store_is_killed() {
    drill("s3 --rounds 3 --life 600ms --fault-time 1500ms", Some(moto())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_to_the_object_store_is_bad() {
    let figures = drill("network --rounds 4 --life 1500ms --fault-time 1s", Some(moto())).await;
    let mishaps = ["requests to S3 cut", "answers of S3 lost", "requests to S3 delayed"];
    assert!(mishaps.iter().any(|mishap| figures[mishap].as_u64() > Some(0)), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disks_run_full() {
    let outcome = match run("disk --rounds 2 --life 600ms --fault-time 1500ms", None).await {
        Err(CommandError::NotRun(why)) => return println!("not run: {why}"),
        outcome => outcome.unwrap(),
    };
    assert!(outcome.good, "{}", outcome.text);
    let unwritten = &outcome.json["figures"]["pages that the full disk of the cache did not take"];
    assert!(unwritten.as_u64() > Some(0), "{}", outcome.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compactors_are_set_on_the_same_work() {
    let figures = drill("compactors --rounds 6 --life 500ms", None).await;
    assert!(figures["commits: absorptions"].as_u64() > Some(0), "{figures}");
    assert!(figures["commits that somebody else was faster with"].as_u64() > Some(0), "{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compactors_and_the_query_process_are_killed() {
    let figures = drill("roles --rounds 6 --life 1s", None).await;
    assert!(figures["kills of compactors"].as_u64() > Some(5), "{figures}");
}
