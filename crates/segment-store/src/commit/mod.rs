//! Group commit: many requests, one object, acked when it is durable.

use std::sync::Arc;
use std::time::Duration;

use telemetry::{MetricRows, TenantId};

use crate::{Bucket, BucketError, Clock, Seed, SegmentKey, ShardId, TailSink};

/// What group commit works with. Settings are numbers; these are parts.
#[derive(Debug)]
pub struct GroupCommitParts {
    /// Where segments go.
    pub bucket: Arc<dyn Bucket>,
    /// The shard whose tenants these are.
    pub shard: ShardId,
    /// Who sees the data first.
    pub tail: Arc<dyn TailSink>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness, of this writer alone.
    pub seed: Seed,
    /// Where columns are sorted and encoded.
    pub work_on: WorkOn,
    /// Numbers.
    pub settings: GroupCommitSettings,
}

/// Where the work of a flush that only computes is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkOn {
    /// On the runtime's threads for blocking work, so that it holds up no request.
    #[default]
    BlockingThreads,
    /// Where the flush runs: one thread alone, so that a simulation is repeatable.
    SameThread,
}

/// How requests are grouped.
#[derive(Clone, Debug)]
pub struct GroupCommitSettings {
    /// How long a flush waits for company, from its first request on.
    pub linger: Duration,
    /// A flush starts at once when its requests hold this much memory (bytes, [`MetricRows::memory_bytes`]).
    pub flush_bytes: usize,
    /// Requests that are not yet answered hold at most this much memory together (bytes); more are turned away.
    pub pending_bytes: usize,
    /// At most so many flushes are encoded or put at the same time. At least 1.
    pub flushes_in_flight: usize,
    /// How long a segment's puts are tried, from the first one's start on the monotonic clock. Must stay far below the
    /// grace of deletion, so that a key that was deleted is never made anew.
    pub put_time: Duration,
}

impl Default for GroupCommitSettings {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(20),
            flush_bytes: 8 << 20,
            pending_bytes: 64 << 20,
            flushes_in_flight: 8,
            put_time: Duration::from_secs(30),
        }
    }
}

/// Why a request was not committed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// There was nothing in it.
    #[error("the request holds no samples, exemplars or metadata")]
    Empty,
    /// It can never be taken.
    #[error(
        "the request holds {bytes} bytes in memory, more than the {limit_bytes} that may be pending: send less at a time"
    )]
    TooLarge {
        /// What it holds.
        bytes: usize,
        /// [`GroupCommitSettings::pending_bytes`]
        limit_bytes: usize,
    },
    /// Too much is waiting for the bucket. Nothing of the request was stored.
    #[error("{pending_bytes} of {limit_bytes} bytes are waiting for the object store: try again later")]
    Overloaded {
        /// What is waiting.
        pending_bytes: usize,
        /// [`GroupCommitSettings::pending_bytes`]
        limit_bytes: usize,
    },
    /// The process is going down. Nothing of the request was stored.
    #[error("the writer is shutting down: try again elsewhere")]
    ShuttingDown,
    /// It is certain that nothing was stored.
    #[error("segment {segment} was not stored")]
    NotStored {
        /// The segment.
        segment: SegmentKey,
        /// The last error.
        source: Arc<BucketError>,
    },
    /// Nobody knows whether it was stored. To send it again is harmless: equal samples count once.
    #[error("it is not known whether segment {segment} was stored")]
    Unknown {
        /// The segment.
        segment: SegmentKey,
        /// The last error.
        source: Arc<BucketError>,
    },
    /// A bug: the flush broke off, or its segment could not be encoded.
    #[error("the flush failed before its segment was put: {0}")]
    Internal(Arc<str>),
}

impl CommitError {
    /// Whether the client should send the same request again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Empty | Self::TooLarge { .. } => false,
            Self::Overloaded { .. }
            | Self::ShuttingDown
            | Self::NotStored { .. }
            | Self::Unknown { .. }
            | Self::Internal(_) => true,
        }
    }
}

/// Commits requests in groups. One a shard and process.
#[derive(Debug)]
pub struct GroupCommit {
    _parts: GroupCommitParts,
}

impl GroupCommit {
    /// Starts committing. Needs a tokio runtime when [`Self::commit`] is called.
    #[must_use]
    pub fn start(parts: GroupCommitParts) -> Self {
        Self { _parts: parts }
    }

    /// Stores `rows` of `tenant` and returns when they are durable, with the segment that holds them. When the returned
    /// future is dropped, the rows are stored all the same.
    ///
    /// # Errors
    /// [`CommitError`]; unless it is [`CommitError::Unknown`] or [`CommitError::Internal`], nothing was stored.
    pub async fn commit(&self, tenant: TenantId, rows: MetricRows) -> Result<SegmentKey, CommitError> {
        let _ = (tenant, rows);
        Err(CommitError::ShuttingDown)
    }

    /// Takes no more requests, flushes what is pending, and returns when every request has its answer.
    pub async fn shutdown(&self) {}
}
