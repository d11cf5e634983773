//! `loadtest queries`: the same questions over the same data to several servers.
//!
//! All servers run beside each other and are asked in turns, several times, so that whatever else the machine does meets
//! all of them. Nothing is written meanwhile, and result caches are off.

pub mod answer;
pub mod report;
pub mod shapes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use self::answer::Answer;
use self::report::{ServerAnswer, ShapeReport};
use self::shapes::{Agreement, SHAPES, Shape, Span};
use super::{CommandError, Outcome, api, chosen, work_dir, write};
use crate::api::{ApiError, Client, parse_json};
use crate::cli::Queries;
use crate::clock;
use crate::limits::{QUERIES_WARM_UP, QUERY_RUNS_MAX, QUERY_TURNS};
use crate::procfs;
use crate::progress::note;
use crate::sender::Pace;
use crate::server::{Launch, Product, Running};
use crate::stats::Latencies;
use crate::workload::Settings;
use crate::workload::payloads::Payloads;

/// A server with the data.
struct Subject {
    product: Product,
    running: Running,
    client: Client,
    /// Goes after the server.
    _dir: TempDir,
}

/// Runs the command.
///
/// # Errors
/// When a server cannot be started or does not take the data.
pub async fn run(args: &Queries) -> Result<Outcome, CommandError> {
    let settings = args.workload.settings(clock::unix_ms());
    let shape = args.workload.shape();
    let span = span(&settings, shape.samples);
    let payloads = Arc::new(Payloads::encode(settings, shape)?);
    let mut subjects = Vec::new();
    for (product, binary, mut extra_args) in chosen(&args.servers)? {
        extra_args.extend(more_args(product).iter().map(|&arg| arg.to_owned()));
        note(&format!("loading {}", product.name()));
        subjects.push(load(args, product, binary, extra_args, &payloads).await?);
    }
    drop(payloads);
    let mut reports = Vec::new();
    for shape in SHAPES.iter().filter(|shape| args.only.as_ref().is_none_or(|only| shape.name.contains(only)))
    {
        note(shape.name);
        reports.push(measure(args.budget, &mut subjects, shape, span).await?);
    }
    let agree = reports.iter().all(ShapeReport::is_right);
    let fast = reports.iter().all(|report| !report.is_slower());
    let good = agree && (fast || !args.strict);
    Ok(Outcome { text: report::table(&reports), json: serde_json::to_value(&reports)?, good })
}

/// What each server needs to be told besides.
fn more_args(product: Product) -> &'static [&'static str] {
    match product {
        Product::Farwatch => &["--enable-feature", "promql-experimental-functions"],
        // The defaults refuse what the larger data sets are asked.
        Product::VictoriaMetrics => &[
            "-search.maxUniqueTimeseries=5000000",
            "-search.maxSeries=5000000",
            "-search.maxLabelsAPISeries=5000000",
            "-search.maxQueryDuration=120s",
        ],
        Product::Prometheus => {
            &["--enable-feature=promql-experimental-functions", "--query.max-samples=500000000"]
        }
    }
}

/// From the first to the last whole step of the data, and all of it.
pub(super) fn span(settings: &Settings, samples: usize) -> Span {
    let step_s = (settings.interval.as_secs() as i64).max(1);
    let rounds = samples.div_ceil(settings.series).max(1) as i64;
    let start_s = settings.start_ms.div_euclid(1000);
    let data_end_s = start_s + rounds * settings.interval.as_millis() as i64 / 1000;
    let aligned = |seconds: i64| seconds.div_euclid(step_s) * step_s;
    let end_s = aligned(data_end_s);
    let whole_s = (aligned(start_s), end_s + 2 * step_s);
    Span { start_s: aligned(start_s + 2 * step_s).min(end_s), end_s, step_s, whole_s }
}

async fn load(
    args: &Queries,
    product: Product,
    binary: PathBuf,
    extra_args: Vec<String>,
    payloads: &Arc<Payloads>,
) -> Result<Subject, CommandError> {
    let dir = work_dir("loadtest-queries-", args.servers.work_dir.as_deref())?;
    let mut launch = Launch::new(product, binary, dir.path().into(), extra_args);
    let mut running = launch.start().await?;
    let endpoint = running.endpoint.clone();
    let report =
        write::measure(&endpoint, payloads, Pace::FullSpeed, Some(running.pid()), args.settle).await?;
    if report.send.samples_acked != payloads.samples {
        let error = report.send.first_error.unwrap_or_default();
        note(&format!("{} did not take everything: {error}", product.name()));
        return Err(CommandError::Usage("a server did not take all of the data"));
    }
    if args.compacted && product == Product::Farwatch {
        running.kill()?;
        launch.compact_once().await?;
        running = launch.start().await?;
    }
    let mut client = Client::new(running.endpoint.clone());
    if let Some(path) = product.flush_path() {
        client.ask(path, None).await.map_err(api("making what was written visible"))?;
    }
    Ok(Subject { product, running, client, _dir: dir })
}

/// What was measured of one server.
#[derive(Default)]
struct Measured {
    latencies: Latencies,
    peak_rss_bytes: u64,
    answer: Option<Result<(Answer, usize), ApiError>>,
}

async fn measure(
    budget: Duration,
    subjects: &mut [Subject],
    shape: &Shape,
    span: Span,
) -> Result<ShapeReport, CommandError> {
    let (path, form) = shape.ask.request(span);
    let mut measured: Vec<Measured> = subjects.iter().map(|_| Measured::default()).collect();
    for _ in 0..QUERY_TURNS {
        for (subject, measured) in subjects.iter_mut().zip(&mut measured) {
            turn(subject, measured, shape, (&path, form.as_deref()), budget / QUERY_TURNS).await?;
        }
    }
    let samples = match subjects.iter_mut().find(|subject| subject.product == Product::Farwatch) {
        Some(subject) if shape.ask.is_query() => {
            samples_read(&mut subject.client, &path, form.as_deref().unwrap_or_default()).await
        }
        _ => None,
    };
    let answers: Vec<ServerAnswer> = subjects
        .iter()
        .zip(&measured)
        .map(|(subject, measured)| ServerAnswer {
            name: subject.product.name(),
            latency: measured.latencies.summary(),
            peak_rss_bytes: measured.peak_rss_bytes,
            size: match &measured.answer {
                Some(Ok((answer, bytes))) => answer.size(*bytes),
                _ => answer::Size::default(),
            },
            error: match &measured.answer {
                Some(Err(error)) => Some(crate::error_chain(error)),
                _ => None,
            },
        })
        .collect();
    let differences = differences(subjects, &measured, shape);
    Ok(ShapeReport { name: shape.name, query: shape.ask.text(), answers, samples_read: samples, differences })
}

/// One server's turn: requests it is not measured by, and then as many as its share of the time allows.
async fn turn(
    subject: &mut Subject,
    measured: &mut Measured,
    shape: &Shape,
    (path, form): (&str, Option<&str>),
    budget: Duration,
) -> Result<(), CommandError> {
    if matches!(measured.answer, Some(Err(_))) {
        return Ok(());
    }
    let begun = clock::now();
    for _ in 0..QUERIES_WARM_UP {
        if measured.answer.is_some() && begun.elapsed() > budget {
            break;
        }
        let answer = subject.client.ask(path, form).await;
        if measured.answer.is_none() {
            let parsed = answer.and_then(|body| Ok((Answer::parse(&shape.ask, &body)?, body.len())));
            let failed = parsed.is_err();
            measured.answer = Some(parsed);
            if failed {
                return Ok(());
            }
        }
    }
    procfs::reset_peak_rss(subject.running.pid())?;
    let begun = clock::now();
    let mut runs = 0;
    while runs == 0 || (runs < QUERY_RUNS_MAX && begun.elapsed() < budget) {
        let sent = clock::now();
        if let Err(error) = subject.client.ask(path, form).await {
            measured.answer = Some(Err(error));
            return Ok(());
        }
        measured.latencies.push(sent.elapsed());
        runs += 1;
    }
    let peak = procfs::usage(subject.running.pid())?.peak_rss_bytes;
    measured.peak_rss_bytes = measured.peak_rss_bytes.max(peak);
    Ok(())
}

/// Where another server's answer is not the first one's. The first one is Farwatch where that is measured.
fn differences(subjects: &[Subject], measured: &[Measured], shape: &Shape) -> Vec<String> {
    let mut answers =
        subjects.iter().zip(measured).filter_map(|(subject, measured)| match &measured.answer {
            Some(Ok((answer, _))) => Some((subject.product, answer)),
            _ => None,
        });
    let Some((first, own)) = answers.next() else { return Vec::new() };
    let found = answers.filter_map(|(product, other)| {
        let agreement = match product {
            Product::VictoriaMetrics => shape.victoria_metrics,
            Product::Farwatch | Product::Prometheus if shape.is_ordered_by_chance() => Agreement::Nothing,
            Product::Farwatch | Product::Prometheus => Agreement::Values,
        };
        let numbers = own.numbers_only().filter(|_| product == Product::VictoriaMetrics);
        let difference = numbers.as_ref().unwrap_or(own).difference(other, agreement)?;
        Some(format!("{} and {}: {difference}", first.name(), product.name()))
    });
    found.collect()
}

#[derive(Deserialize)]
struct WithStats {
    data: StatsData,
}

#[derive(Deserialize)]
struct StatsData {
    stats: Stats,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    samples_read: u64,
}

/// How many samples Farwatch says that it reads for a query.
async fn samples_read(client: &mut Client, path: &str, form: &str) -> Option<u64> {
    let body = client.ask(path, Some(&format!("{form}&stats=all"))).await.ok()?;
    let answer: WithStats = parse_json(&body).ok()?;
    Some(answer.data.stats.samples_read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_span_is_whole_steps_within_the_data() {
        let settings = Settings {
            series: 10,
            interval: Duration::from_secs(15),
            jitter: Duration::ZERO,
            churn_per_hour: 0.0,
            seed: 1,
            cluster: String::new(),
            start_ms: 1_000_007_500,
        };
        let span = span(&settings, 95);
        assert_eq!((span.start_s, span.end_s, span.step_s), (1_000_035, 1_000_155, 15));
        assert_eq!(span.whole_s, (1_000_005, 1_000_185));
    }
}
