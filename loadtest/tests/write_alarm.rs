//! `loadtest write --verify` against servers that fail: its alarm must be able to ring.

mod fake;

use clap::Parser;
use fake::{FakeServer, Fault};
use loadtest::cli::Cli;
use loadtest::commands;

/// 3,000 samples in 30 requests.
const SMALL: &str = "--series 150 --samples 3000";

/// Writes to a server with a fault; whether all was well, and the result.
#[expect(clippy::unwrap_used, reason = "test code outside of test functions")]
async fn write(fault: Fault, workload: &str) -> (bool, serde_json::Value) {
    let address = FakeServer::new(fault, None).listen().await;
    let line = format!(
        "loadtest write --target http://{address} --samples-per-request 100 --connections 3 --verify {workload}"
    );
    let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
    let outcome = commands::run(&cli.command).await.unwrap();
    assert_eq!(outcome.text.contains("FAILED"), !outcome.good, "{}", outcome.text);
    (outcome.good, outcome.json)
}

#[tokio::test]
async fn a_server_that_keeps_all_passes() {
    let (good, json) = write(Fault::None, SMALL).await;
    assert!(good);
    assert_eq!(json["samples_acked"], 3000);
    assert_eq!(json["verdict"]["acked_found"], 3000);
    assert_eq!(json["errors"], serde_json::json!({}));
}

#[tokio::test]
async fn series_that_end_and_begin_are_followed() {
    let (good, json) = write(Fault::None, "--series 1000 --samples 10000 --churn 10 --interval 60s").await;
    assert!(good);
    let found = json["verdict"]["acked_found"].as_u64().unwrap();
    assert!((5_000..10_000).contains(&found), "{found}: staleness markers are no samples");
}

#[tokio::test]
async fn one_lost_sample_is_found() {
    let (good, json) = write(Fault::LoseOne, SMALL).await;
    assert!(!good);
    assert_eq!((&json["verdict"]["lost"], &json["verdict"]["acked_found"]), (&1.into(), &2999.into()));
    assert!(json["verdict"]["findings"][0].as_str().unwrap().starts_with("lost: "), "{json}");
}

#[tokio::test]
async fn one_wrong_value_is_found() {
    let (good, json) = write(Fault::AlterOne, SMALL).await;
    assert!(!good);
    assert_eq!((&json["verdict"]["wrong"], &json["verdict"]["acked_found"]), (&1.into(), &2999.into()));
}

#[tokio::test]
async fn one_sample_that_comes_twice_is_found() {
    let (good, json) = write(Fault::RepeatOne, SMALL).await;
    assert!(!good);
    assert_eq!(json["verdict"]["repeated"], 1);
}

#[tokio::test]
async fn what_was_refused_may_be_there_or_not() {
    let (good, json) = write(Fault::RefuseSome, SMALL).await;
    assert!(good);
    assert_eq!(json["errors"]["HTTP 503"], 10);
    assert_eq!(json["samples_acked"], 2000);
    assert_eq!(json["verdict"]["unacked_absent"], 1000);

    let (good, json) = write(Fault::RefuseSomeButKeep, SMALL).await;
    assert!(good);
    assert_eq!(json["verdict"]["unacked_found"], 1000);
    assert_eq!(json["first_error"], "answered 503 Service Unavailable: a message");
}

#[tokio::test]
async fn a_fixed_rate_is_kept() {
    let (good, json) = write(Fault::None, &format!("{SMALL} --rate 6000")).await;
    assert!(good);
    let elapsed_s = json["elapsed_s"].as_f64().unwrap();
    assert!((0.4..5.0).contains(&elapsed_s), "3,000 samples at 6,000/s took {elapsed_s} s");
}
