//! `loadtest visible`: from sending a sample until a query returns it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{CommandError, Outcome, api};
use crate::api::{ApiError, Client};
use crate::cli::{ProbeArgs, Visible, WorkloadArgs};
use crate::clock;
use crate::http::Endpoint;
use crate::limits::{REQUEST_TIMEOUT, VISIBLE_POLL};
use crate::progress::{Progress, note};
use crate::proto::{EncodedLabels, RequestBuilder};
use crate::sender::{Pace, SendReport, send_all};
use crate::stats::{Latencies, LatencySummary};
use crate::table::Table;
use crate::workload::payloads::{Payloads, Shape};

/// The pause between two probes is random, up to what the last probe took and at least up to this, so that probes do
/// not fall into step with the server's own rhythm.
const PAUSE_MAX_AT_LEAST: Duration = Duration::from_millis(100);

/// One kind of probes.
#[derive(Debug, Default, Serialize)]
pub struct KindReport {
    /// From sending a sample to the end of the first query that returned it.
    pub visible: LatencySummary,
    /// From sending it to its ack.
    pub ack: LatencySummary,
    /// Probes that no query returned in time.
    pub never_seen: usize,
}

/// Both kinds.
#[derive(Debug, Default, Serialize)]
pub struct VisibleReport {
    /// Samples of a series that the server knows.
    pub known: KindReport,
    /// Samples that begin a series.
    pub new: KindReport,
    /// What the background load came to.
    pub background: Option<SendReport>,
}

/// Load that runs beside the probes.
#[derive(Debug)]
pub struct Background {
    payloads: Arc<Payloads>,
    rate: f64,
}

impl Background {
    /// Encodes as much as the probes can take time for; `None` when no load is wanted.
    ///
    /// # Errors
    /// When the payloads cannot be made.
    pub fn prepare(
        probes: &ProbeArgs,
        workload: &WorkloadArgs,
        now_ms: i64,
    ) -> Result<Option<Self>, CommandError> {
        if probes.background_rate <= 0.0 {
            return Ok(None);
        }
        let longest = 2 * (probes.budget + REQUEST_TIMEOUT);
        let samples = (probes.background_rate * longest.as_secs_f64()).ceil() as usize;
        let shape = Shape { samples, ..workload.shape() };
        let mut settings = workload.settings(now_ms);
        settings.cluster.push_str("-background");
        let payloads = Arc::new(Payloads::encode(settings, shape)?);
        Ok(Some(Self { payloads, rate: probes.background_rate }))
    }
}

/// Runs all probes against a server.
///
/// # Errors
/// When a probe's request is refused.
pub async fn measure(
    endpoint: &Endpoint,
    probes: &ProbeArgs,
    seed: u64,
    background: Option<&Background>,
) -> Result<VisibleReport, CommandError> {
    let stop = Arc::new(AtomicBool::new(false));
    let load = async {
        match background {
            Some(Background { payloads, rate }) => {
                let pace = Pace::SamplesPerSecond(*rate);
                Some(send_all(endpoint, payloads, pace, &stop, Progress::silent()).await)
            }
            None => None,
        }
    };
    let probing = async {
        let mut prober = Prober {
            writer: Client::new(endpoint.clone()),
            reader: Client::new(endpoint.clone()),
            run: format!("{:x}", clock::unix_ms()),
            rng: ChaCha8Rng::seed_from_u64(seed),
            probes: 0,
        };
        note("probing a known series");
        let known = prober.series("known", probes, |_| "only".to_owned()).await;
        note("probing new series");
        let new = prober.series("new", probes, |probe| probe.to_string()).await;
        stop.store(true, Ordering::Relaxed);
        (known, new)
    };
    let ((known, new), background) = tokio::join!(probing, load);
    Ok(VisibleReport {
        known: known.map_err(api("probing a known series"))?,
        new: new.map_err(api("probing new series"))?,
        background,
    })
}

struct Prober {
    writer: Client,
    reader: Client,
    /// Keeps the series of this run apart from those of any other.
    run: String,
    rng: ChaCha8Rng,
    /// Probes up to now; each one's value.
    probes: u32,
}

impl Prober {
    /// Probes again and again; `name` names the series of the n-th probe. The first probe is not counted: it opens
    /// connections and makes a known series known.
    async fn series(
        &mut self,
        kind: &str,
        args: &ProbeArgs,
        name: impl Fn(u32) -> String,
    ) -> Result<KindReport, ApiError> {
        self.probe(kind, "warm-up").await?;
        let (_, seen_after) = self.probe(kind, &name(0)).await?;
        let mut pause_max = seen_after.unwrap_or_default();
        let (mut visible, mut ack) = (Latencies::default(), Latencies::default());
        let mut never_seen = 0;
        let start = clock::now();
        for probe in 1..=args.probes {
            if probe > 1 && start.elapsed() > args.budget {
                break;
            }
            tokio::time::sleep(pause_max.max(PAUSE_MAX_AT_LEAST).mul_f64(self.rng.random())).await;
            let (acked_after, seen_after) = self.probe(kind, &name(probe)).await?;
            ack.push(acked_after);
            match seen_after {
                Some(after) => {
                    visible.push(after);
                    pause_max = after;
                }
                None => never_seen += 1,
            }
        }
        Ok(KindReport { visible: visible.summary(), ack: ack.summary(), never_seen })
    }

    /// Writes one sample on one connection, and asks for it on the other until it is there.
    async fn probe(&mut self, kind: &str, series: &str) -> Result<(Duration, Option<Duration>), ApiError> {
        self.probes += 1;
        let value = f64::from(self.probes);
        let timestamp_ms = clock::unix_ms();
        let labels =
            [("__name__", "loadtest_visible"), ("kind", kind), ("run", &self.run), ("series", series)];
        let mut request = RequestBuilder::default();
        request.push(&EncodedLabels::new(labels), value, timestamp_ms);
        let body = request.finish().unwrap_or_default();
        let query = format!("loadtest_visible{{kind={kind:?},run={:?},series={series:?}}}", self.run);

        let start = clock::now();
        let (writer, reader) = (&mut self.writer, &mut self.reader);
        let write = async {
            writer.write(body).await?;
            Ok(start.elapsed())
        };
        let poll = async {
            while start.elapsed() < REQUEST_TIMEOUT {
                let answer = reader.query(&query, timestamp_ms).await?;
                if answer.iter().flat_map(|series| &series.samples).any(|(_, found)| *found == value) {
                    return Ok(Some(start.elapsed()));
                }
                tokio::time::sleep(VISIBLE_POLL).await;
            }
            Ok(None)
        };
        tokio::try_join!(write, poll)
    }
}

/// Runs the command.
///
/// # Errors
/// When nothing can be said about the server.
pub async fn run(args: &Visible) -> Result<Outcome, CommandError> {
    let endpoint = Endpoint::parse(&args.target.target, args.target.key.clone())?;
    let background = Background::prepare(&args.probes, &args.workload, clock::unix_ms())?;
    let report = measure(&endpoint, &args.probes, args.workload.seed, background.as_ref()).await?;
    let mut table = Table::new(["visible", "known series", "new series"]);
    let of = |cell: fn(&KindReport) -> String| [cell(&report.known), cell(&report.new)];
    table.row("probes", of(|kind| (kind.visible.count + kind.never_seen).to_string()));
    table.row("visible p50, ms", of(|kind| format!("{:.1}", kind.visible.p50_ms)));
    table.row("visible p99, ms", of(|kind| format!("{:.1}", kind.visible.p99_ms)));
    table.row("visible max, ms", of(|kind| format!("{:.1}", kind.visible.max_ms)));
    table.row("ack p50, ms", of(|kind| format!("{:.1}", kind.ack.p50_ms)));
    table.row("ack p99, ms", of(|kind| format!("{:.1}", kind.ack.p99_ms)));
    table.row("not seen in 30 s", of(|kind| kind.never_seen.to_string()));
    let mut text = table.to_string();
    if let Some(load) = &report.background {
        let errors: usize = load.errors.values().sum();
        text.push_str(&format!(
            "\nbackground load: {:.0} samples/s acked, {errors} errors, {} MISSED\n",
            load.samples_per_s(),
            load.missed
        ));
    }
    let good = report.known.never_seen + report.new.never_seen == 0;
    Ok(Outcome { text, json: serde_json::to_value(&report)?, good })
}
