//! One flush: columns, offer to the tail, bytes, put, settlement, answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use storage_format::{FreshPartition, encode_fresh};
use telemetry::{MetricBatch, MetricRows, TenantId};
use tokio::sync::oneshot;

use super::put::{PutFailure, SegmentPut};
use super::stats::add;
use super::{CommitError, Shared, WorkOn};
use crate::limits::MAX_SEGMENT_NAMES;
use crate::{FlushOutcome, PutId, SegmentKey, TailOffer, TailSink};

pub(super) type Answer = Result<SegmentKey, CommitError>;

/// Requests that will be one segment.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) rows: BTreeMap<TenantId, Vec<MetricRows>>,
    pub(super) waiting: Vec<oneshot::Sender<Answer>>,
    pub(super) charge: Charge,
}

/// Memory that pending requests hold; given back when dropped, whatever became of them.
#[derive(Debug)]
pub(super) struct Charge {
    pub(super) bytes: usize,
    pending_bytes: Arc<AtomicUsize>,
}

impl Charge {
    pub(super) fn new(pending_bytes: &Arc<AtomicUsize>) -> Self {
        Self { bytes: 0, pending_bytes: Arc::clone(pending_bytes) }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.pending_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// What a segment is called and how it is known again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) key: SegmentKey,
    pub(super) put_id: PutId,
}

/// A group that nothing is added to any more.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) group: Group,
    pub(super) name: Name,
}

/// Makes `sealed` durable and answers its requests.
pub(super) async fn flush(shared: &Arc<Shared>, sealed: Sealed) {
    let Sealed { group: Group { rows, waiting, charge }, name } = sealed;
    let answer = store(shared, rows, name).await;
    if answer.is_err() {
        add(&shared.counters.flushes_failed, 1);
    }
    drop(charge);
    for request in waiting {
        // Nobody listens when the client has gone; the rows are stored all the same.
        let _ = request.send(answer.clone());
    }
}

/// The data of a flush, ready to be put.
struct Prepared {
    partitions: Vec<(TenantId, Arc<MetricBatch>)>,
    body: Bytes,
    offered: Offered,
}

async fn store(shared: &Arc<Shared>, rows: BTreeMap<TenantId, Vec<MetricRows>>, mut name: Name) -> Answer {
    let tail = Arc::clone(&shared.tail);
    let prepared = match shared.work_on {
        WorkOn::SameThread => prepare(rows, name.key, tail),
        WorkOn::BlockingThreads => tokio::task::spawn_blocking(move || prepare(rows, name.key, tail))
            .await
            .unwrap_or_else(|broken_off| Err(CommitError::BrokenOff(Arc::from(broken_off.to_string())))),
    };
    let Prepared { partitions, body, mut offered } = prepared?;
    let mut rng = shared.rng_of_flush();
    let started = shared.clock.monotonic();
    let mut names_tried = 1;
    loop {
        let put = SegmentPut {
            bucket: &*shared.bucket,
            clock: &*shared.clock,
            counters: &shared.counters,
            key: &name.key.to_string(),
            body: &body,
            put_id: name.put_id,
            deadline: started + shared.settings.put_time,
        };
        match put.run(&mut rng).await {
            Ok(()) => {
                shared.counters.stored(body.len(), shared.clock.monotonic().saturating_sub(started));
                offered.settle(FlushOutcome::Durable);
                return Ok(name.key);
            }
            Err(PutFailure::Taken(error)) if names_tried < MAX_SEGMENT_NAMES => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a segment's name is taken");
                add(&shared.counters.names_taken, 1);
                offered.settle(FlushOutcome::Withdrawn);
                names_tried += 1;
                name = shared.next_name();
                offered = Offered::offer(&shared.tail, name.key, &partitions);
            }
            Err(failure) => {
                offered.settle(FlushOutcome::Withdrawn);
                return Err(failure.into_commit_error(name.key));
            }
        }
    }
}

/// The part that only computes: rows to columns, then, already visible in the tail, to bytes.
fn prepare(
    rows: BTreeMap<TenantId, Vec<MetricRows>>,
    key: SegmentKey,
    tail: Arc<dyn TailSink>,
) -> Result<Prepared, CommitError> {
    let partitions: Vec<(TenantId, Arc<MetricBatch>)> = rows
        .into_iter()
        .map(|(tenant, requests)| (tenant, Arc::new(MetricBatch::from_rows(requests))))
        .collect();
    let offered = Offered::offer(&tail, key, &partitions);
    let parts: Vec<FreshPartition<'_>> =
        partitions.iter().map(|(tenant, metrics)| FreshPartition { tenant, metrics }).collect();
    let body = encode_fresh(&parts).map_err(|error| CommitError::BrokenOff(Arc::from(error.to_string())))?;
    Ok(Prepared { partitions, body: Bytes::from(body), offered })
}

/// An offer that the tail will get a settlement for, also when the flush breaks off.
struct Offered {
    tail: Arc<dyn TailSink>,
    key: SegmentKey,
    settled: bool,
}

impl Offered {
    fn offer(tail: &Arc<dyn TailSink>, key: SegmentKey, partitions: &[(TenantId, Arc<MetricBatch>)]) -> Self {
        tail.offer(TailOffer { segment: key, partitions: partitions.to_vec() });
        Self { tail: Arc::clone(tail), key, settled: false }
    }

    fn settle(&mut self, outcome: FlushOutcome) {
        self.settled = true;
        self.tail.settle(&self.key, outcome);
    }
}

impl Drop for Offered {
    fn drop(&mut self) {
        if !self.settled {
            self.tail.settle(&self.key, FlushOutcome::Withdrawn);
        }
    }
}
