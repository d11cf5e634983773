//! One flush: name, columns, offer to the tail, bytes, put, settlement, answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use storage_format::{FreshPartition, encode_fresh};
use telemetry::{MetricBatch, MetricRows, TenantId};
use tokio::sync::oneshot;

use super::stats::add;
use super::turn::{Place, Turn};
use super::{CommitError, Shared};
use crate::limits::MAX_SEGMENT_NAMES;
use crate::put::{ConditionalPut, PutFailure};
use crate::{BucketError, FlushOutcome, PutCondition, PutId, SegmentKey, TailOffer, TailSink};

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

/// What a segment is called and how it is known again, and when it may be offered.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) key: SegmentKey,
    pub(super) put_id: PutId,
    pub(super) place: Place,
}

/// Makes `group`, which nothing is added to any more, durable and answers its requests.
pub(super) async fn flush(shared: &Arc<Shared>, group: Group) {
    let Group { rows, waiting, charge } = group;
    let answer = store(shared, rows).await;
    if answer.is_err() {
        add(&shared.counters.flushes_failed, 1);
    }
    drop(charge);
    for request in waiting {
        // Nobody listens when the client has gone; the rows are stored all the same.
        let _ = request.send(answer.clone());
    }
}

async fn store(shared: &Arc<Shared>, rows: BTreeMap<TenantId, Vec<MetricRows>>) -> Answer {
    let Name { mut key, mut put_id, place } = shared.next_name();
    let partitions = shared.work_on.run(move || columns(rows)).await;
    let turn = place.turn().await;
    let partitions = partitions?;
    let tail = Arc::clone(&shared.tail);
    let prepared = shared.work_on.run(move || {
        let offered = Offered::offer(&tail, key, &partitions, turn);
        encode(&partitions).map(|body| (partitions, body, offered))
    });
    let (partitions, body, mut offered) = prepared.await??;
    let mut rng = shared.rng_of_flush();
    let started = shared.clock.monotonic();
    let mut names_tried = 1;
    loop {
        let put = ConditionalPut {
            bucket: &*shared.bucket,
            clock: &*shared.clock,
            counters: &shared.counters.puts,
            key: &key.to_string(),
            body: &body,
            condition: PutCondition::IfAbsent,
            put_id,
            deadline: started + shared.settings.put_time,
        };
        match put.run(&mut rng).await {
            Ok(_) => {
                shared.counters.stored(body.len(), shared.clock.monotonic().saturating_sub(started));
                offered.settle(FlushOutcome::Durable);
                return Ok(key);
            }
            Err(PutFailure::Taken(error)) if names_tried < MAX_SEGMENT_NAMES => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a segment's name is taken");
                add(&shared.counters.names_taken, 1);
                offered.settle(FlushOutcome::Withdrawn);
                names_tried += 1;
                let place;
                Name { key, put_id, place } = shared.next_name();
                offered = Offered::offer(&shared.tail, key, &partitions, place.turn().await);
            }
            Err(failure) => {
                if matches!(failure, PutFailure::NotStored(BucketError::NoRoom { .. })) {
                    shared.counters.had_no_room(shared.clock.monotonic());
                }
                offered.settle(FlushOutcome::Withdrawn);
                return Err(commit_error(failure, key));
            }
        }
    }
}

fn commit_error(failure: PutFailure, segment: SegmentKey) -> CommitError {
    match failure {
        PutFailure::Taken(error) | PutFailure::NotStored(error) => {
            CommitError::NotStored { segment, source: Arc::new(error) }
        }
        PutFailure::Unknown(error) => CommitError::Unknown { segment, source: Arc::new(error) },
    }
}

/// Each tenant's part of a segment.
type Partitions = Vec<(TenantId, Arc<MetricBatch>)>;

fn columns(rows: BTreeMap<TenantId, Vec<MetricRows>>) -> Partitions {
    rows.into_iter().map(|(tenant, requests)| (tenant, Arc::new(MetricBatch::from_rows(requests)))).collect()
}

fn encode(partitions: &Partitions) -> Result<Bytes, CommitError> {
    let parts: Vec<FreshPartition<'_>> =
        partitions.iter().map(|(tenant, metrics)| FreshPartition { tenant, metrics }).collect();
    encode_fresh(&parts)
        .map(Bytes::from)
        .map_err(|error| CommitError::BrokenOff(Arc::from(error.to_string())))
}

/// An offer that the tail will get a settlement for, also when the flush breaks off.
struct Offered {
    tail: Arc<dyn TailSink>,
    key: SegmentKey,
    settled: bool,
}

impl Offered {
    /// Offers in its turn, and ends that.
    fn offer(tail: &Arc<dyn TailSink>, key: SegmentKey, partitions: &Partitions, turn: Turn) -> Self {
        tail.offer(TailOffer { segment: key, partitions: partitions.clone() });
        drop(turn);
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

#[cfg(test)]
mod tests;
