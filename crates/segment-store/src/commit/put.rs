//! The put of a segment: one object, whatever happens on the way.
//!
//! Every put is conditional (there must be no such object) and carries a put-id. What an answer means:
//!
//! | answer | meaning |
//! |---|---|
//! | ok | stored |
//! | condition does not hold | something is there: HEAD it. Our put-id: an earlier put (or a doubled one) stored it. Another one: the name is taken, and by that nothing of ours is or ever will be there |
//! | conflict, unavailable | try again under the same key; if the outcome was unknown, it stays so until an answer tells |
//! | denied, invalid | no later try will do better; to the HEAD: nor does anybody know whose object it is |
//!
//! There is a bound on the total time, on the monotonic clock, far below the grace of deletion: a put that comes so late that
//! its object was stored, absorbed and deleted meanwhile would bring it back. Nothing is ever deleted here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;

use super::stats::{Counters, add};
use crate::backoff::Backoff;
use crate::limits::PUT_BACKOFF;
use crate::{Bucket, BucketError, Clock, Operation, PutCondition, PutId, PutOutcome};

/// Why a segment was not seen to be stored.
#[derive(Debug)]
pub(super) enum PutFailure {
    /// Another object has the key; ours never will be there.
    Taken(BucketError),
    /// It is certain that the object is not there and will not be.
    NotStored(BucketError),
    /// The object may be there, or may come.
    Unknown(BucketError),
}

/// One segment's put.
pub(super) struct SegmentPut<'a> {
    pub(super) bucket: &'a dyn Bucket,
    pub(super) clock: &'a dyn Clock,
    pub(super) counters: &'a Counters,
    pub(super) key: &'a str,
    pub(super) body: &'a Bytes,
    pub(super) put_id: PutId,
    /// On the monotonic clock.
    pub(super) deadline: Duration,
}

/// What one attempt has shown.
enum Attempt {
    Stored,
    Taken(BucketError),
    /// Try again; whether this attempt may have stored the object.
    Again(BucketError, PutOutcome),
    /// No later try will do better; whether this attempt may have stored the object.
    Hopeless(BucketError, PutOutcome),
}

impl SegmentPut<'_> {
    /// Puts the object until an answer or the time decides.
    pub(super) async fn run(&self, rng: &mut ChaCha8Rng) -> Result<(), PutFailure> {
        let mut outcome = PutOutcome::NotDone;
        let mut backoff = Backoff::new(PUT_BACKOFF);
        loop {
            let error = match self.attempt().await {
                Attempt::Stored => return Ok(()),
                Attempt::Taken(error) => return Err(PutFailure::Taken(error)),
                Attempt::Hopeless(error, PutOutcome::NotDone) => return Err(failure(error, outcome)),
                Attempt::Hopeless(error, PutOutcome::Unknown) => return Err(PutFailure::Unknown(error)),
                Attempt::Again(error, PutOutcome::NotDone) => error,
                Attempt::Again(error, PutOutcome::Unknown) => {
                    outcome = PutOutcome::Unknown;
                    error
                }
            };
            let wait = backoff.next_wait(rng);
            if self.clock.monotonic() + wait >= self.deadline {
                return Err(failure(error, outcome));
            }
            tracing::debug!(error = &error as &dyn std::error::Error, "put of a segment is tried again");
            tokio::time::sleep(wait).await;
            add(&self.counters.put_retries, 1);
        }
    }

    async fn attempt(&self) -> Attempt {
        let put = self.bucket.put(self.key, self.body.clone(), PutCondition::IfAbsent, Some(self.put_id));
        match self.in_time(Operation::Put, put).await {
            Ok(_) => Attempt::Stored,
            Err(error @ BucketError::PreconditionFailed { .. }) => self.whose_is_it(error).await,
            Err(error) if error.is_retryable() => {
                let outcome = if error.outcome_unknown() { PutOutcome::Unknown } else { PutOutcome::NotDone };
                Attempt::Again(error, outcome)
            }
            Err(error) => Attempt::Hopeless(error, PutOutcome::NotDone),
        }
    }

    /// There is an object: is it ours?
    async fn whose_is_it(&self, precondition_failed: BucketError) -> Attempt {
        match self.in_time(Operation::Head, self.bucket.head(self.key)).await {
            Ok(meta) if meta.put_id == Some(self.put_id) => {
                add(&self.counters.puts_confirmed, 1);
                Attempt::Stored
            }
            Ok(_) => Attempt::Taken(precondition_failed),
            Err(error @ (BucketError::Denied { .. } | BucketError::Invalid { .. })) => {
                Attempt::Hopeless(error, PutOutcome::Unknown)
            }
            Err(error) => Attempt::Again(error, PutOutcome::Unknown),
        }
    }

    /// Waits for an answer, but not beyond the deadline.
    async fn in_time<T>(
        &self,
        operation: Operation,
        request: impl Future<Output = Result<T, BucketError>>,
    ) -> Result<T, BucketError> {
        let left = self.deadline.saturating_sub(self.clock.monotonic());
        match tokio::time::timeout(left, request).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(BucketError::Unavailable {
                operation,
                key: self.key.to_owned(),
                outcome: PutOutcome::Unknown,
                source: Box::new(elapsed),
            }),
        }
    }
}

fn failure(error: BucketError, outcome: PutOutcome) -> PutFailure {
    match outcome {
        PutOutcome::NotDone => PutFailure::NotStored(error),
        PutOutcome::Unknown => PutFailure::Unknown(error),
    }
}

impl PutFailure {
    pub(super) fn into_commit_error(self, segment: crate::SegmentKey) -> super::CommitError {
        match self {
            Self::Taken(error) | Self::NotStored(error) => {
                super::CommitError::NotStored { segment, source: Arc::new(error) }
            }
            Self::Unknown(error) => super::CommitError::Unknown { segment, source: Arc::new(error) },
        }
    }
}

#[cfg(test)]
mod tests;
