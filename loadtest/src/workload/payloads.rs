//! Requests, all encoded before any clock is started, so that the client costs little while a server is measured.

use bytes::Bytes;

use super::{Point, Settings, Workload};
use crate::limits::PAYLOADS_BYTES_MAX;
use crate::progress::Progress;
use crate::proto::RequestBuilder;

/// How a workload's samples are spread over requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Samples in all.
    pub samples: usize,
    /// Samples in each request, but the last of each connection.
    pub samples_per_request: usize,
    /// Connections. A series belongs to one of them, as it does to a shard of Prometheus's own queue, so that its
    /// samples arrive in order.
    pub connections: usize,
}

/// One request.
#[derive(Debug, Clone)]
pub struct Payload {
    /// Snappy-compressed protobuf.
    pub body: Bytes,
    /// Samples in it.
    pub samples: u32,
}

/// All requests of a run, in order, for each connection.
#[derive(Debug, Clone)]
pub struct Payloads {
    /// By connection.
    pub by_connection: Vec<Vec<Payload>>,
    /// Samples in all.
    pub samples: usize,
    /// Bytes of all bodies.
    pub bytes: usize,
}

/// Payloads that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// More memory than is allowed.
    #[error(
        "the payloads need more than {} GiB, which are all made before the run: ask for fewer --samples",
        PAYLOADS_BYTES_MAX >> 30
    )]
    TooLarge,
    /// A request that snappy does not take.
    #[error("a request is too large to compress: lower --samples-per-request")]
    Compress(#[source] snap::Error),
}

/// A workload cut into requests: the samples of each, without encoding them.
///
/// Encoding and verification both walk this, so that what is expected is derived just as what was sent.
#[derive(Debug)]
pub struct Batches {
    workload: Workload,
    shape: Shape,
    left: usize,
    scraped: Vec<Point>,
    taken: usize,
    pending: Vec<Vec<Point>>,
    flushed: usize,
}

impl Batches {
    /// Begins with the first scrape.
    #[must_use]
    pub fn new(settings: Settings, shape: Shape) -> Self {
        let connections = shape.connections.max(1);
        Self {
            workload: Workload::new(settings),
            shape: Shape { connections, samples_per_request: shape.samples_per_request.max(1), ..shape },
            left: shape.samples,
            scraped: Vec::new(),
            taken: 0,
            pending: vec![Vec::new(); connections],
            flushed: 0,
        }
    }

    /// The workload up to the last batch.
    #[must_use]
    pub fn workload(&self) -> &Workload {
        &self.workload
    }
}

impl Iterator for Batches {
    /// A connection's index and its next request.
    type Item = (usize, Vec<Point>);

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            let Some(&point) = self.scraped.get(self.taken) else {
                self.scraped.clear();
                self.taken = 0;
                self.workload.scrape(&mut self.scraped);
                if self.scraped.is_empty() {
                    break;
                }
                continue;
            };
            self.taken += 1;
            self.left -= 1;
            let connection = point.series as usize % self.shape.connections;
            let pending = &mut self.pending[connection];
            pending.push(point);
            if pending.len() >= self.shape.samples_per_request {
                return Some((connection, std::mem::take(pending)));
            }
        }
        while let Some(pending) = self.pending.get_mut(self.flushed) {
            self.flushed += 1;
            if !pending.is_empty() {
                return Some((self.flushed - 1, std::mem::take(pending)));
            }
        }
        None
    }
}

impl Payloads {
    /// Makes all requests of a run.
    ///
    /// # Errors
    /// When they would need too much memory.
    pub fn encode(settings: Settings, shape: Shape) -> Result<Self, PayloadError> {
        let progress = Progress::new("samples encoded", shape.samples);
        let mut batches = Batches::new(settings, shape);
        let mut payloads =
            Self { by_connection: vec![Vec::new(); shape.connections.max(1)], samples: 0, bytes: 0 };
        let mut builder = RequestBuilder::default();
        while let Some((connection, points)) = batches.next() {
            for point in points {
                if let Some(labels) = batches.workload().labels(point.series) {
                    builder.push(labels, point.value, point.timestamp_ms);
                }
            }
            let samples = builder.samples();
            let body = builder.finish().map_err(PayloadError::Compress)?;
            progress.add(samples as usize);
            payloads.samples += samples as usize;
            payloads.bytes += body.len();
            if payloads.bytes > PAYLOADS_BYTES_MAX {
                return Err(PayloadError::TooLarge);
            }
            payloads.by_connection[connection].push(Payload { body, samples });
        }
        Ok(payloads)
    }
}
