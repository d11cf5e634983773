//! Sends payloads over several connections, as fast as they are taken or at a fixed rate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;

use crate::api::Client;
use crate::clock;
use crate::http::Endpoint;
use crate::progress::Progress;
use crate::stats::{Latencies, LatencySummary};
use crate::workload::payloads::{Payload, Payloads};

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Each connection sends its next request when the last one is answered.
    FullSpeed,
    /// Requests are due at fixed times whether the server keeps up or not (an open loop), so that a slow server
    /// cannot hide by being asked less.
    SamplesPerSecond(f64),
}

/// What became of the requests of one connection, in order.
pub type Acks = Vec<bool>;

/// What a run of sending came to.
#[derive(Debug, Serialize)]
pub struct SendReport {
    /// Samples of acked requests.
    pub samples_acked: usize,
    /// Requests sent.
    pub requests: usize,
    /// Requests that were not acked, by what happened.
    pub errors: BTreeMap<String, usize>,
    /// What the first request that was not acked said.
    pub first_error: Option<String>,
    /// Requests that were sent more than one period of their connection after they were due.
    pub missed: usize,
    /// From the first request to the last answer.
    pub elapsed_s: f64,
    /// From when a request was sent (at a fixed rate: was due) to its ack.
    pub ack: LatencySummary,
    /// By connection and request.
    #[serde(skip)]
    pub acks: Vec<Acks>,
}

impl SendReport {
    /// Acked samples a second.
    #[must_use]
    pub fn samples_per_s(&self) -> f64 {
        self.samples_acked as f64 / self.elapsed_s.max(f64::EPSILON)
    }
}

/// Sends all payloads, or those that it comes to before `stop` is set. Nothing is sent twice.
pub async fn send_all(
    endpoint: &Endpoint,
    payloads: &Arc<Payloads>,
    pace: Pace,
    stop: &Arc<AtomicBool>,
    progress: Progress,
) -> SendReport {
    let progress = Arc::new(progress);
    let start = clock::now();
    let connections = payloads.by_connection.len();
    let tasks = (0..connections).map(|index| {
        let lane = Lane {
            client: Client::new(endpoint.clone()),
            payloads: payloads.clone(),
            index,
            schedule: Schedule::new(pace, connections, index),
            progress: progress.clone(),
            stop: stop.clone(),
        };
        tokio::spawn(lane.run())
    });
    let mut report = SendReport {
        samples_acked: 0,
        requests: 0,
        errors: BTreeMap::new(),
        first_error: None,
        missed: 0,
        elapsed_s: 0.0,
        ack: LatencySummary::default(),
        acks: Vec::new(),
    };
    let mut latencies = Latencies::default();
    for lane in join_all(tasks).await {
        let outcome = lane.unwrap_or_default();
        report.samples_acked += outcome.samples_acked;
        report.requests += outcome.acks.len();
        for (kind, count) in outcome.errors {
            *report.errors.entry(kind).or_default() += count;
        }
        report.first_error = report.first_error.or(outcome.first_error);
        report.missed += outcome.missed;
        report.acks.push(outcome.acks);
        latencies.merge(outcome.latencies);
    }
    report.elapsed_s = start.elapsed().as_secs_f64();
    report.ack = latencies.summary();
    report
}

/// When the requests of one connection are due, counted from the start.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    /// Samples a second on this connection; `None` at full speed.
    rate: Option<f64>,
    /// Connections begin one after another, so that they do not all send at once.
    phase: f64,
}

impl Schedule {
    fn new(pace: Pace, connections: usize, index: usize) -> Self {
        let rate = match pace {
            Pace::FullSpeed => None,
            Pace::SamplesPerSecond(rate) => Some((rate / connections as f64).max(f64::MIN_POSITIVE)),
        };
        Self { rate, phase: index as f64 / connections as f64 }
    }

    /// When a request with `samples` is due that has `samples_before` before it, and its period.
    fn due(&self, samples_before: usize, samples: u32) -> Option<(Duration, Duration)> {
        let rate = self.rate?;
        let period_s = f64::from(samples) / rate;
        let due_s = samples_before as f64 / rate + self.phase * period_s;
        let duration = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Some((duration(due_s), duration(period_s)))
    }
}

/// One connection with its part of the payloads.
struct Lane {
    client: Client,
    payloads: Arc<Payloads>,
    index: usize,
    schedule: Schedule,
    progress: Arc<Progress>,
    stop: Arc<AtomicBool>,
}

#[derive(Default)]
struct LaneOutcome {
    samples_acked: usize,
    errors: BTreeMap<String, usize>,
    first_error: Option<String>,
    missed: usize,
    acks: Acks,
    latencies: Latencies,
}

impl Lane {
    async fn run(mut self) -> LaneOutcome {
        let mut outcome = LaneOutcome::default();
        let start = clock::now();
        let mut samples_before = 0;
        for Payload { body, samples } in &self.payloads.by_connection[self.index] {
            let mut counts_from = clock::now();
            if let Some((due, period)) = self.schedule.due(samples_before, *samples) {
                let due = start + due;
                if counts_from < due {
                    tokio::time::sleep_until(due.into()).await;
                } else if counts_from > due + period {
                    outcome.missed += 1;
                }
                counts_from = due;
            }
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            samples_before += *samples as usize;
            let acked = self.client.write(body.clone()).await;
            outcome.latencies.push(counts_from.elapsed());
            outcome.acks.push(acked.is_ok());
            match acked {
                Ok(()) => outcome.samples_acked += *samples as usize,
                Err(error) => {
                    *outcome.errors.entry(error.kind()).or_default() += 1;
                    outcome.first_error.get_or_insert_with(|| crate::error_chain(&error));
                }
            }
            self.progress.add(*samples as usize);
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_a_rate_are_evenly_spread_over_time_and_connections() {
        let due_ms = |index, before| {
            let schedule = Schedule::new(Pace::SamplesPerSecond(2_000.0), 2, index);
            schedule.due(before, 100).map(|(due, period)| (due.as_millis(), period.as_millis()))
        };
        assert_eq!(due_ms(0, 0), Some((0, 100)));
        assert_eq!(due_ms(1, 0), Some((50, 100)));
        assert_eq!(due_ms(0, 100), Some((100, 100)));
        assert_eq!(due_ms(1, 1_000), Some((1_050, 100)));
        assert_eq!(Schedule::new(Pace::FullSpeed, 2, 1).due(100, 100), None);
    }
}
