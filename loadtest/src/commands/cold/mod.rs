//! `loadtest cold`: queries over compacted data in an S3 bucket that is some milliseconds away, by a process that has just started.
//!
//! The data is written through one server and compacted. Then, for each delay, question and run: a process that has nothing in its
//! cache is started and asked once (cold), then again (warm); it is started again with the cache it has on disk, and asked once
//! (restarted). No fresh segment is left, so nothing is answered from the tail.

mod far;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use self::far::Far;
use super::drill::cell::{S3_BUCKET, S3_VARIABLES};
use super::drill::s3_server::S3Server;
use super::queries::answer::Answer;
use super::queries::shapes::{SHAPES, Shape, Span};
use super::queries::span;
use super::{CommandError, Outcome, api, work_dir, write};
use crate::api::Client;
use crate::cli::Cold;
use crate::clock;
use crate::limits::{COLD_PAUSE, COLD_WARM_RUNS};
use crate::progress::note;
use crate::sender::Pace;
use crate::server::{Launch, Product};
use crate::stats::{Latencies, LatencySummary};
use crate::table::Table;
use crate::workload::payloads::Payloads;

/// What is asked, by the names of the shapes.
const ASKED: [&str; 10] = [
    "one series, instant",
    "one series",
    "regex on pods",
    "avg by node",
    "sum of one metric",
    "rate, sum by 1 label",
    "topk of rates",
    "histogram_quantile by pod",
    "values of pod of a service",
    "series of a metric",
];

/// One question at one delay.
#[derive(Debug, Serialize)]
pub struct ColdReport {
    /// What the shape is called.
    pub name: &'static str,
    /// How much later answers of the bucket come, in milliseconds.
    pub delay_ms: u128,
    /// The first answer of a process with an empty cache.
    pub cold: LatencySummary,
    /// Further ones.
    pub warm: LatencySummary,
    /// The first answer of a process that finds its cache on disk.
    pub restarted: LatencySummary,
    /// Most requests that one cold answer took, by the server's own count.
    pub gets: u64,
}

/// Runs the command.
///
/// # Errors
/// When a server cannot be started or does not take the data.
pub async fn run(args: &Cold) -> Result<Outcome, CommandError> {
    let settings = args.workload.settings(clock::unix_ms());
    let shape = args.workload.shape();
    let span = span(&settings, shape.samples);
    let dir = work_dir("loadtest-cold-", args.work_dir.as_deref())?;
    let s3 = S3Server::start(&args.s3_server).await?;
    let launch = |port: u16, more: &[&str]| {
        let mut launch_args = vec![
            "--bucket".to_owned(),
            format!("s3://{S3_BUCKET}"),
            "--s3-endpoint".to_owned(),
            endpoint(port),
        ];
        launch_args.extend(more.iter().map(|&arg| arg.to_owned()));
        let launch = Launch::new(Product::Farwatch, args.farwatch.clone(), dir.path().into(), launch_args);
        launch.with_variables(S3_VARIABLES)
    };
    {
        let payloads = Arc::new(Payloads::encode(settings, shape)?);
        let mut near = launch(s3.port, &[]);
        let running = near.start().await?;
        let settle = Duration::from_secs(30);
        let report =
            write::measure(&running.endpoint, &payloads, Pace::FullSpeed, Some(running.pid()), settle)
                .await?;
        if report.send.samples_acked != payloads.samples {
            return Err(CommandError::Usage("the server did not take all of the data"));
        }
        running.kill()?;
        note("compacting");
        let endpoint = endpoint(s3.port);
        let bucket = format!("s3://{S3_BUCKET}");
        let compact = ["compact", "--once", "--grace", "0s", "--bucket", &bucket, "--s3-endpoint", &endpoint];
        near.farwatch("farwatch compact", &compact).await?;
    }
    let mut reports = Vec::new();
    for delay in &args.delay {
        let far = Far::start(s3.port, *delay).await.map_err(CommandError::TempDir)?;
        let mut launch = launch(far.port, &["--role", "query"]);
        for shape in SHAPES.iter().filter(|shape| ASKED.contains(&shape.name)) {
            note(&format!("{} at {} ms", shape.name, delay.as_millis()));
            let report = measure(&mut launch, shape, span, *delay, args.runs).await?;
            reports.push(report);
        }
    }
    let text = table(&reports, &args.delay).to_string();
    Ok(Outcome { text, json: serde_json::to_value(&reports)?, good: true })
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

async fn measure(
    launch: &mut Launch,
    shape: &Shape,
    span: Span,
    delay: Duration,
    runs: u32,
) -> Result<ColdReport, CommandError> {
    let (path, form) = shape.ask.request(span);
    let (mut cold, mut warm, mut restarted) =
        (Latencies::default(), Latencies::default(), Latencies::default());
    let mut gets = 0;
    for _ in 0..runs {
        match std::fs::remove_dir_all(launch.data_dir().join("cache")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(CommandError::TempDir(error));
            }
            _ => {}
        }
        for again in [false, true] {
            let running = launch.start().await?;
            // What a start reads by itself is no part of a query.
            tokio::time::sleep(COLD_PAUSE).await;
            let mut client = Client::new(running.endpoint.clone());
            let before = gets_of(&mut client).await?;
            let sent = clock::now();
            let body = client.ask(&path, form.as_deref()).await.map_err(api("asking"))?;
            let latency = sent.elapsed();
            if again {
                restarted.push(latency);
            } else {
                cold.push(latency);
                gets = gets.max(gets_of(&mut client).await?.saturating_sub(before));
                let answer = Answer::parse(&shape.ask, &body).map_err(api("reading the answer"))?;
                if answer.size(0).series == 0 {
                    return Err(CommandError::Usage("a question was answered with nothing"));
                }
                for _ in 0..COLD_WARM_RUNS {
                    let sent = clock::now();
                    client.ask(&path, form.as_deref()).await.map_err(api("asking again"))?;
                    warm.push(sent.elapsed());
                }
                // What is in memory goes to disk meanwhile.
                tokio::time::sleep(COLD_PAUSE).await;
            }
            running.kill()?;
        }
    }
    Ok(ColdReport {
        name: shape.name,
        delay_ms: delay.as_millis(),
        cold: cold.summary(),
        warm: warm.summary(),
        restarted: restarted.summary(),
        gets,
    })
}

/// How many GETs the server has made.
async fn gets_of(client: &mut Client) -> Result<u64, CommandError> {
    let page = client.ask("/metrics", None).await.map_err(api("reading metrics"))?;
    let page = String::from_utf8_lossy(&page);
    let line =
        page.lines().find_map(|line| line.strip_prefix("farwatch_bucket_requests_total{operation=\"get\"}"));
    Ok(line.and_then(|count| count.trim().parse::<f64>().ok()).unwrap_or_default() as u64)
}

fn table(reports: &[ColdReport], delays: &[Duration]) -> Table {
    let mut heading = vec!["p50, ms: cold / restarted / warm".to_owned()];
    heading.extend(delays.iter().map(|delay| format!("{} ms a GET", delay.as_millis())));
    heading.extend(["GETs, cold".to_owned(), "one after the other".to_owned()]);
    let mut table = Table::new(heading);
    for name in ASKED {
        let of: Vec<&ColdReport> = reports.iter().filter(|report| report.name == name).collect();
        let mut cells: Vec<String> = of
            .iter()
            .map(|report| {
                let ColdReport { cold, warm, restarted, .. } = report;
                format!("{:.0} / {:.0} / {:.1}", cold.p50_ms, restarted.p50_ms, warm.p50_ms)
            })
            .collect();
        cells.push(of.iter().map(|report| report.gets).max().unwrap_or_default().to_string());
        cells.push(match (of.first(), of.last()) {
            (Some(near), Some(far)) if far.delay_ms > near.delay_ms => {
                let more_ms = far.cold.p50_ms - near.cold.p50_ms;
                format!("{:.1}", more_ms / (far.delay_ms - near.delay_ms) as f64)
            }
            _ => String::new(),
        });
        table.row(name, cells);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_asked_are_shapes() {
        for name in ASKED {
            assert!(SHAPES.iter().any(|shape| shape.name == name), "{name}");
        }
    }
}
