//! Random PromQL over random series, answered by Farwatch and by a real Prometheus; any difference is a failure.
//!
//! A round starts both servers with nothing in them, writes the same data set to both by remote write, and asks both the
//! same queries. Everything follows from the seed; a failing expression is shrunk before it is shown.

mod compare;
mod dataset;
mod expression;
mod remote_write;

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::Value;

use super::{CommandError, Outcome, api};
use crate::api::Client;
use crate::cli::Differential;
use crate::progress::Progress;
use crate::server::{Launch, Product};
use dataset::Dataset;
use expression::{Expression, Generator};

/// Where the data of every round begins: any fixed time will do, and a fixed one makes a seed mean the same tomorrow.
const DATA_START_MS: i64 = 1_750_000_000_000;
/// Queries over one data set.
const CASES_A_ROUND: u32 = 2_000;
/// Steps of a range query at the most.
const STEPS_MAX: i64 = 40;
/// After so many differences the run ends: one cause shows in many queries.
const FAILURES_MAX: usize = 10;
/// Attempts at shrinking one failing expression.
const SHRINK_ATTEMPTS_MAX: u32 = 300;

/// What a run came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Queries that both servers were asked.
    pub cases: u32,
    /// How many of them had a result that was neither empty nor an error.
    pub with_result: u32,
    /// The differences found.
    pub failures: Vec<Failure>,
}

/// A query that the two answered differently.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The round's seed and the number of the query in it.
    pub case: (u64, u32),
    /// The expression, shrunk.
    pub expression: String,
    /// When it was evaluated.
    pub when: When,
    /// How the answers differ.
    pub difference: String,
}

/// The times at which a query is evaluated (ms since the Unix epoch).
#[derive(Debug, Clone, Copy, Serialize)]
pub enum When {
    /// Once.
    Instant(i64),
    /// From start to end by step.
    Range(i64, i64, i64),
}

impl When {
    fn random(rng: &mut ChaCha8Rng, span_ms: (i64, i64)) -> Self {
        // A little before and after the data, so that beginnings, ends and nothing at all are asked for, too.
        let (first, last) = (span_ms.0 - 120_000, span_ms.1 + 400_000);
        let mut time = || {
            let ms = rng.random_range(first..last);
            if rng.random_bool(0.5) { ms - ms % 15_000 } else { ms }
        };
        let start = time();
        if rng.random_bool(0.5) {
            return Self::Instant(start);
        }
        let step =
            *[1_000, 7_000, 15_000, 30_000, 60_000, 137_000].get(rng.random_range(0..6)).unwrap_or(&15_000);
        Self::Range(start, start + step * rng.random_range(0..STEPS_MAX), step)
    }

    fn path(self) -> &'static str {
        match self {
            Self::Instant(_) => "/api/v1/query",
            Self::Range(..) => "/api/v1/query_range",
        }
    }

    fn parameters(self) -> Vec<(&'static str, String)> {
        let seconds = |ms: i64| format!("{}.{:03}", ms.div_euclid(1_000), ms.rem_euclid(1_000));
        match self {
            Self::Instant(at) => vec![("time", seconds(at))],
            Self::Range(start, end, step) => {
                vec![("start", seconds(start)), ("end", seconds(end)), ("step", seconds(step))]
            }
        }
    }
}

/// Runs the cases, rounds of [`CASES_A_ROUND`], until they are done or too many differ.
///
/// # Errors
/// [`CommandError`] when there is nothing to compare.
pub async fn run(options: &Differential) -> Result<Outcome, CommandError> {
    let mut report = Report { cases: 0, with_result: 0, failures: Vec::new() };
    let progress = Progress::new("queries compared", options.cases as usize);
    let mut round = 0;
    while report.cases < options.cases && report.failures.len() < FAILURES_MAX {
        let cases = CASES_A_ROUND.min(options.cases - report.cases);
        one_round(options, options.seed.wrapping_add(round), cases, &mut report, &progress).await?;
        round += 1;
    }
    Ok(Outcome {
        text: report.text(),
        json: serde_json::to_value(&report)?,
        good: report.failures.is_empty() && report.with_result > 0,
    })
}

async fn one_round(
    options: &Differential,
    seed: u64,
    cases: u32,
    report: &mut Report,
    progress: &Progress,
) -> Result<(), CommandError> {
    let dir = tempfile::tempdir().map_err(CommandError::TempDir)?;
    let dataset = Dataset::new(seed, DATA_START_MS);
    let mut pair = Pair::start(options, dir.path(), &dataset).await?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for case in 0..cases {
        let span_s = (dataset.span_ms.0 / 1_000, dataset.span_ms.1 / 1_000);
        let expression = Generator::new(&mut rng, span_s).expression();
        let when = When::random(&mut rng, dataset.span_ms);
        let answers = pair.ask(&expression.to_string(), when).await?;
        report.cases += 1;
        report.with_result += u32::from(has_result(&answers.0));
        progress.add(1);
        if let Some(difference) = compare::difference(&answers.0, &answers.1) {
            let (expression, difference) = pair.shrink(expression, when, difference).await?;
            report.failures.push(Failure {
                case: (seed, case),
                expression: expression.to_string(),
                when,
                difference,
            });
            if report.failures.len() >= FAILURES_MAX {
                break;
            }
        }
    }
    Ok(())
}

fn has_result(answer: &Value) -> bool {
    let result = &answer["data"]["result"];
    result.as_array().is_some_and(|series| !series.is_empty())
}

/// Both servers with the same data.
struct Pair {
    theirs: Client,
    ours: Client,
    /// Killed when they are dropped.
    _servers: [crate::server::Running; 2],
}

impl Pair {
    async fn start(options: &Differential, dir: &Path, dataset: &Dataset) -> Result<Self, CommandError> {
        let launch = |product: Product, binary: &Path, args: &[&str]| {
            let own_dir = dir.join(product.name());
            std::fs::create_dir_all(&own_dir).map_err(CommandError::TempDir)?;
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            Ok::<_, CommandError>(Launch::new(product, binary.to_owned(), own_dir, args))
        };
        let prometheus = launch(
            Product::Prometheus,
            &options.prometheus,
            &[
                "--enable-feature=promql-experimental-functions,native-histograms",
                "--storage.tsdb.retention.time=100y",
            ],
        )?
        .start()
        .await?;
        let farwatch = launch(
            Product::Farwatch,
            &options.farwatch,
            &["--out-of-order-window=unlimited", "--enable-feature=promql-experimental-functions"],
        )?
        .start()
        .await?;
        let mut pair = Self {
            theirs: Client::new(prometheus.endpoint.clone()),
            ours: Client::new(farwatch.endpoint.clone()),
            _servers: [prometheus, farwatch],
        };
        let raw = dataset.request.encode_to_vec();
        let body = Bytes::from(snap::raw::Encoder::new().compress_vec(&raw).map_err(CommandError::Snappy)?);
        for (product, client) in
            [("the write to prometheus", &mut pair.theirs), ("the write to farwatch", &mut pair.ours)]
        {
            client.write(body.clone()).await.map_err(api(product))?;
        }
        Ok(pair)
    }

    /// The answers of Prometheus and of Farwatch.
    async fn ask(&mut self, query: &str, when: When) -> Result<(Value, Value), CommandError> {
        let mut parameters = when.parameters();
        parameters.push(("query", query.to_owned()));
        let theirs = self.theirs.post_form(when.path(), &parameters).await;
        let theirs = theirs.map_err(api("a query to prometheus"))?;
        // Whatever comes instead of an answer of ours is a finding, not the end of the run.
        let ours = match self.ours.post_form(when.path(), &parameters).await {
            Ok(answer) => answer,
            Err(error) => serde_json::json!({"status": "none", "error": crate::error_chain(&error)}),
        };
        Ok((theirs, ours))
    }

    /// The simplest expression found that still differs, and how.
    async fn shrink(
        &mut self,
        mut expression: Expression,
        when: When,
        mut difference: String,
    ) -> Result<(Expression, String), CommandError> {
        let mut attempts = 0;
        'simpler: loop {
            for candidate in expression.simpler() {
                attempts += 1;
                if attempts > SHRINK_ATTEMPTS_MAX {
                    return Ok((expression, difference));
                }
                let (theirs, ours) = self.ask(&candidate.to_string(), when).await?;
                if let Some(still) = compare::difference(&theirs, &ours) {
                    (expression, difference) = (candidate, still);
                    continue 'simpler;
                }
            }
            return Ok((expression, difference));
        }
    }
}

impl Report {
    /// The report for people.
    fn text(&self) -> String {
        let mut text = format!(
            "{} queries, {} with a result, {} differences\n",
            self.cases,
            self.with_result,
            self.failures.len()
        );
        for failure in &self.failures {
            let (seed, case) = failure.case;
            let _ = write!(
                text,
                "\nseed {seed}, case {case}: {}\n  at {:?}\n  {}\n",
                failure.expression, failure.when, failure.difference
            );
        }
        text
    }
}
