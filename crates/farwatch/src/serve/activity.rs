//! What this process tells the control plane of its use: when API keys were used, samples by key and metric name, requests and CPU,
//! where telemetry comes from, and limits that are nearly reached.
//!
//! It goes by way of the bucket, which both have, as a small object at most each minute. All of this is statistics: what a process
//! counted when it crashed is lost, and bills are made of the ledger.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use control_plane::billing::{Attribution, Dimension, Resource, ResourceUse, Signal};
use control_plane::placement::Observation;
use control_plane::ports::{Activity, FootprintSeen, KeyUse, LimitNear};
use ingest_service::{CloudPlace, Ingest, Sightings};
use parking_lot::Mutex;
use segment_store::{
    Bucket, Clock, Counted, FlushOutcome, Operation, PutCondition, RequestCounts, SegmentKey, TailOffer,
    TailSink,
};
use telemetry::{MetricBatch, TenantId};
use tenancy::{Access, Nearly};
use tokio_util::sync::CancellationToken;

use super::control::ControlNews;
use super::limits::{
    ACTIVITY_LOOK, ACTIVITY_PAUSE, MAX_COUNTED_NAMES, MAX_FLUSHES_COUNTED, MAX_REPORTS_KEPT, RESOURCES_PAUSE,
};
use super::process::ProcessStats;
use super::usage::ACTIVITY_PREFIX;

/// Samples by metric name. An empty name is that of all beyond the most that are counted apart.
type ByName = HashMap<Box<str>, u64>;

/// Counts durable samples by metric name on their way to the tail.
pub(super) struct NameCounter {
    tail: Arc<dyn TailSink>,
    /// Of flushes under way.
    pending: Mutex<HashMap<SegmentKey, Vec<(TenantId, ByName)>>>,
    counted: Mutex<HashMap<TenantId, ByName>>,
}

impl NameCounter {
    pub(super) fn new(tail: Arc<dyn TailSink>) -> Self {
        Self { tail, pending: Mutex::default(), counted: Mutex::default() }
    }

    fn take(&self) -> HashMap<TenantId, ByName> {
        mem::take(&mut *self.counted.lock())
    }
}

impl fmt::Debug for NameCounter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NameCounter").finish_non_exhaustive()
    }
}

impl TailSink for NameCounter {
    fn offer(&self, offer: TailOffer) {
        let counts =
            offer.partitions.iter().map(|(tenant, batch)| (tenant.clone(), samples_by_name(batch))).collect();
        let mut pending = self.pending.lock();
        // Of flushes that broke off nobody tells; there are never that many under way.
        if pending.len() >= MAX_FLUSHES_COUNTED {
            pending.clear();
        }
        pending.insert(offer.segment, counts);
        drop(pending);
        self.tail.offer(offer);
    }

    fn settle(&self, segment: &SegmentKey, outcome: FlushOutcome) {
        self.tail.settle(segment, outcome);
        let Some(counts) = self.pending.lock().remove(segment) else { return };
        if outcome != FlushOutcome::Durable {
            return;
        }
        let mut counted = self.counted.lock();
        for (tenant, names) in counts {
            let sums = counted.entry(tenant).or_default();
            for (name, samples) in names {
                let full = sums.len() >= MAX_COUNTED_NAMES && !sums.contains_key(&name);
                let sum = sums.entry(if full { Box::default() } else { name }).or_default();
                *sum = sum.saturating_add(samples);
            }
        }
    }
}

/// How many samples a batch has of each metric name. Series of a name mostly follow each other.
fn samples_by_name(batch: &MetricBatch) -> ByName {
    let mut names = ByName::new();
    let mut add = |name: &str, samples: u64| {
        if samples > 0 {
            match names.get_mut(name) {
                Some(sum) => *sum += samples,
                None => _ = names.insert(name.into(), samples),
            }
        }
    };
    let name_of = |index: usize| batch.series.get(index).and_then(|series| series.labels().metric_name());
    let (mut run, mut in_run, mut start) = ("", 0_u64, 0_u32);
    for (index, end) in batch.float_ends.iter().enumerate() {
        let name = name_of(index).unwrap_or_default();
        if name != run {
            add(run, in_run);
            (run, in_run) = (name, 0);
        }
        in_run += u64::from(end.saturating_sub(start));
        start = *end;
    }
    add(run, in_run);
    for (index, _, _) in &batch.histograms {
        add(name_of(*index as usize).unwrap_or_default(), 1);
    }
    names
}

fn footprint((tenant, place, seen): (TenantId, CloudPlace, Sightings)) -> FootprintSeen {
    FootprintSeen {
        tenant: tenant.to_string(),
        seen: Observation {
            provider: place.provider,
            region: place.region,
            zone: place.zone,
            samples: seen.samples,
            first_seen_ms: seen.first_ms,
            last_seen_ms: seen.last_ms,
        },
    }
}

fn limit((tenant, near): (TenantId, Nearly)) -> LimitNear {
    let limit = near.limit.as_str().to_owned();
    LimitNear { tenant: tenant.to_string(), limit, allowed: near.allowed, used: near.used }
}

/// Makes reports of what a process does.
pub(super) struct Reporter {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) access: Arc<Access>,
    pub(super) names: Option<Arc<NameCounter>>,
    pub(super) ingest: Option<Arc<Ingest>>,
    pub(super) requests: Arc<Counted>,
    pub(super) clock: Arc<dyn Clock>,
    /// Unlike that of any other process.
    pub(super) process: String,
    /// The control plane of this process, if it has one: it is told.
    pub(super) control: Option<ControlNews>,
}

/// What was reported of resources.
#[derive(Default)]
struct Reported {
    requests: RequestCounts,
    cpu_ms: u64,
}

impl Reporter {
    /// Reports until told to stop, and then once more.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut reported = Reported::default();
        let mut kept: VecDeque<String> = VecDeque::new();
        let (mut made, mut next) = (0_u64, Duration::ZERO);
        let mut resources_due = self.clock.monotonic() + RESOURCES_PAUSE;
        loop {
            let stopping = tokio::select! {
                biased;
                () = stop.cancelled() => true,
                () = tokio::time::sleep(ACTIVITY_LOOK) => false,
            };
            let now = self.clock.monotonic();
            if !stopping && now < next {
                continue;
            }
            let mut activity = self.activity();
            let is_quiet = activity.keys.is_empty()
                && activity.counts.is_empty()
                && activity.footprints.is_empty()
                && activity.limits.is_empty();
            // What is used up while nobody asks for anything is reported now and then.
            if !is_quiet || (now >= resources_due && !stopping) {
                activity.resources = self.resources(&mut reported);
                let key = format!("{ACTIVITY_PREFIX}{}-{made:08}", self.process);
                made += 1;
                self.report(&key, &activity).await;
                kept.push_back(key);
                (next, resources_due) = (now + ACTIVITY_PAUSE, now + RESOURCES_PAUSE);
            }
            if stopping {
                return;
            }
            // Where no control plane collects reports, they do not pile up.
            if kept.len() > MAX_REPORTS_KEPT
                && let Some(old) = kept.pop_front()
            {
                let _ = self.bucket.delete_many(&[old]).await;
            }
        }
    }

    async fn report(&self, key: &str, activity: &Activity) {
        match self.put(key, activity).await {
            Ok(()) => {
                if let Some(control) = &self.control {
                    control.activity_reported();
                }
            }
            Err(error) => {
                tracing::debug!(error = &*error as &dyn std::error::Error, "a report of activity got lost")
            }
        }
    }

    fn activity(&self) -> Activity {
        let mut activity = Activity { at_ms: self.clock.now_ms(), ..Activity::default() };
        let mut count = |tenant: &TenantId, dimension, name: &str, count| {
            activity.counts.push(Attribution {
                tenant: tenant.to_string(),
                signal: Signal::Metrics,
                dimension,
                name: name.to_owned(),
                count,
            });
        };
        for (key, used) in self.access.take_key_activity() {
            let id = key.to_string();
            if used.samples > 0 {
                count(&used.tenant, Dimension::ApiKey, &id, used.samples);
            }
            activity.keys.push(KeyUse { id, at_ms: used.last_used_ms });
        }
        for (tenant, names) in self.names.iter().flat_map(|names| names.take()) {
            for (name, samples) in names {
                count(&tenant, Dimension::Metric, &name, samples);
            }
        }
        if let Some(ingest) = &self.ingest {
            activity.footprints = ingest.take_footprints().into_iter().map(footprint).collect();
            activity.limits = ingest.take_nearly().into_iter().map(limit).collect();
        }
        activity
    }

    /// What was used up since the last report.
    fn resources(&self, reported: &mut Reported) -> Vec<ResourceUse> {
        let now = Reported {
            requests: self.requests.counts(),
            cpu_ms: ProcessStats::read().map_or(0, |stats| (stats.cpu_seconds * 1000.0) as u64),
        };
        let more = |operations: &[Operation]| -> u64 {
            operations.iter().map(|of| now.requests.of(*of).saturating_sub(reported.requests.of(*of))).sum()
        };
        let uses = [
            (Resource::WriteRequests, more(&[Operation::Put, Operation::List])),
            (Resource::ReadRequests, more(&[Operation::Get, Operation::Head])),
            (Resource::CpuMs, now.cpu_ms.saturating_sub(reported.cpu_ms)),
        ];
        *reported = now;
        uses.into_iter()
            .filter(|(_, quantity)| *quantity > 0)
            .map(|(resource, quantity)| ResourceUse { tenant: None, resource, quantity })
            .collect()
    }

    async fn put(
        &self,
        key: &str,
        activity: &Activity,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let body = serde_json::to_vec(activity)?;
        self.bucket.put(key, body.into(), PutCondition::IfAbsent, None).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use segment_store::{NoTail, ShardId};
    use telemetry::{Labels, MetricRows, Series};

    use super::*;

    fn batch(rows: &[(&str, &str, usize)]) -> Arc<MetricBatch> {
        let mut all = MetricRows::default();
        for (name, job, samples) in rows {
            let labels = Labels::from_pairs([("__name__", *name), ("job", *job)]).unwrap();
            let series = Arc::new(Series::new(labels));
            for at_ms in 0..*samples {
                all.floats.push(telemetry::FloatRow {
                    series: Arc::clone(&series),
                    timestamp_ms: at_ms as i64,
                    value: 1.0,
                });
            }
        }
        Arc::new(MetricBatch::from_rows(vec![all]))
    }

    #[test]
    fn samples_count_by_name_once_they_are_durable() {
        let counter = NameCounter::new(Arc::new(NoTail));
        let acme = TenantId::new("acme").unwrap();
        let segment = |at_ms| SegmentKey::new(ShardId(0), at_ms, 7);
        for (at_ms, outcome) in
            [(1, FlushOutcome::Durable), (2, FlushOutcome::Withdrawn), (3, FlushOutcome::Durable)]
        {
            let batch = batch(&[("up", "a", 3), ("http_requests_total", "a", 2), ("up", "b", 1)]);
            let partitions = vec![(acme.clone(), batch)];
            counter.offer(TailOffer { segment: segment(at_ms), partitions });
            counter.settle(&segment(at_ms), outcome);
        }
        let counted = counter.take();
        assert_eq!(counted[&acme].get("up"), Some(&8));
        assert_eq!(counted[&acme].get("http_requests_total"), Some(&4));
        assert!(counter.take().is_empty() && counter.pending.lock().is_empty());
    }

    #[test]
    fn names_without_bound_take_bounded_memory() {
        let counter = NameCounter::new(Arc::new(NoTail));
        let acme = TenantId::new("acme").unwrap();
        let names: Vec<String> = (0..MAX_COUNTED_NAMES + 10).map(|at| format!("name_{at:05}")).collect();
        let rows: Vec<_> = names.iter().map(|name| (name.as_str(), "a", 1)).collect();
        let segment = SegmentKey::new(ShardId(0), 1, 7);
        counter.offer(TailOffer { segment, partitions: vec![(acme.clone(), batch(&rows))] });
        counter.settle(&segment, FlushOutcome::Durable);
        let counted = counter.take();
        assert_eq!(counted[&acme].len(), MAX_COUNTED_NAMES + 1);
        assert_eq!(counted[&acme].values().sum::<u64>(), rows.len() as u64);
    }
}
