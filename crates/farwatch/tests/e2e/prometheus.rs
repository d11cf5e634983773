//! A real Prometheus scrapes itself and a real node_exporter and writes to Farwatch; the same questions get the same answers
//! from both, also after Farwatch was killed and started again.
//!
//! Debian's Prometheus may be older than 3.0, where a range selector's window was closed at both ends; since then, and in
//! Farwatch, it is open at its start. The two mean the same unless a sample lies exactly on the start, so every instant
//! and window here is chosen such that none does.

mod queries;
mod reference;

use std::time::Duration;

use crate::harness::promapi::{Answer, ask, difference};
use crate::harness::{Farwatch, eventually};
use queries::{INSTANT, RANGE};
use reference::Reference;

/// Scraping goes on for so long before anything is compared.
const SCRAPED: Duration = Duration::from_secs(46);
/// How long Farwatch may take to have what Prometheus has: Prometheus batches and retries.
const CATCH_UP: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn farwatch_answers_what_prometheus_answers_also_after_a_kill() {
    assert!(INSTANT.len() + RANGE.len() >= 40);
    let mut farwatch = Farwatch::start_with(reference::farwatch_options()).await;
    let reference = Reference::start(&farwatch).await;
    reference.wait_for_scrapes(SCRAPED).await;

    let end = reference.quiet_instant().await;
    wait_until_complete(&farwatch, &reference, end.seconds).await;
    compare_all(&farwatch, &reference, &end).await;

    farwatch.kill().await;
    farwatch.restart().await;
    compare_all(&farwatch, &reference, &end).await;

    // And it goes on: what was scraped while it was away and afterwards arrives.
    reference.wait_for_scrapes(SCRAPED + Duration::from_secs(5)).await;
    let later = reference.quiet_instant().await;
    wait_until_complete(&farwatch, &reference, later.seconds).await;
    compare_all(&farwatch, &reference, &later).await;
}

/// Waits until Farwatch has each sample that Prometheus has up to `at` (Unix seconds), with its time and value.
async fn wait_until_complete(farwatch: &Farwatch, reference: &Reference, at: f64) {
    let form = [("query", r#"{__name__=~".+"}[10m]"#.to_owned()), ("time", at.to_string())];
    let expected = ask(reference.post("/api/v1/query"), &form).await.unwrap();
    assert!(expected.len() > 500, "{} series from Prometheus and node_exporter", expected.len());
    eventually("every sample", CATCH_UP, async || {
        let found = ask(farwatch.post("/api/v1/query"), &form).await?;
        difference(&expected, &found).map_or(Ok(()), Err)
    })
    .await;
}

async fn compare_all(farwatch: &Farwatch, reference: &Reference, end: &reference::Instant) {
    let mut differences = Vec::new();
    let mut answered = 0;
    for query in INSTANT {
        let form = [("query", end.fill(query)), ("time", end.seconds.to_string())];
        let (expected, found) = both(farwatch, reference, "/api/v1/query", &form).await;
        check(query, expected, found, &mut differences);
        answered += 1;
    }
    for (query, step) in RANGE {
        let form = [
            ("query", end.fill(query)),
            ("start", (end.seconds - 18.0).to_string()),
            ("end", end.seconds.to_string()),
            ("step", (*step).to_string()),
        ];
        let (expected, found) = both(farwatch, reference, "/api/v1/query_range", &form).await;
        check(query, expected, found, &mut differences);
        answered += 1;
    }
    assert!(
        differences.is_empty(),
        "{} of {answered} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

async fn both(
    farwatch: &Farwatch,
    reference: &Reference,
    path: &str,
    form: &[(&str, String)],
) -> (Answer, Result<Answer, String>) {
    let expected = ask(reference.post(path), form).await;
    let expected = expected.unwrap_or_else(|error| panic!("Prometheus on {form:?}: {error}"));
    (expected, ask(farwatch.post(path), form).await)
}

fn check(query: &str, expected: Answer, found: Result<Answer, String>, differences: &mut Vec<String>) {
    if expected.is_empty() {
        differences.push(format!("{query}\n  Prometheus answers with nothing, which proves nothing"));
    }
    match found.map(|found| difference(&expected, &found)) {
        Ok(None) => {}
        Ok(Some(difference)) => differences.push(format!("{query}\n  {difference}")),
        Err(error) => differences.push(format!("{query}\n  {error}")),
    }
}
