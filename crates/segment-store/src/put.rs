//! The put of a segment or manifest: one object, whatever happens on the way.
//!
//! Every put is conditional (there must be no such object, or a certain version of it) and carries a put-id. What an answer
//! means:
//!
//! | answer | meaning |
//! |---|---|
//! | ok | stored |
//! | condition does not hold | something else is there: HEAD it. Our put-id and length: an earlier put (or a doubled one) stored it. Another one, or nothing where a version was to be replaced: somebody else was first. A segment's name is taken then, and by that nothing of ours is or ever will be there; a manifest may have been ours for a while, if an earlier try had no answer |
//! | conflict, unavailable | try again under the same key; if the outcome was unknown, it stays so until an answer tells |
//! | no room, denied, invalid | no later try will soon do better; to the HEAD: nor does anybody know whose object it is |
//!
//! There is a bound on the total time, on the monotonic clock, far below the grace of deletion: a put that comes so late that
//! its object was stored, absorbed and deleted meanwhile would bring it back. Nothing is ever deleted here.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rand_chacha::ChaCha8Rng;

use crate::backoff::Backoff;
use crate::limits::PUT_BACKOFF;
use crate::{Bucket, BucketError, Clock, Etag, Operation, PutCondition, PutId, PutOutcome};

/// Why an object was not seen to be stored.
#[derive(Debug)]
pub(crate) enum PutFailure {
    /// The condition does not hold: another object, or another version, is there, and ours never will be (again).
    Taken(BucketError),
    /// It is certain that the object is not there and will not be.
    NotStored(BucketError),
    /// The object may be there, or may come.
    Unknown(BucketError),
}

/// What puts went through.
#[derive(Debug, Default)]
pub(crate) struct PutCounters {
    /// Puts beyond the first of each object.
    pub(crate) retries: AtomicU64,
    /// Puts that found the object there already and by its put-id their own.
    pub(crate) confirmed: AtomicU64,
}

/// One object's put.
pub(crate) struct ConditionalPut<'a> {
    pub(crate) bucket: &'a dyn Bucket,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) counters: &'a PutCounters,
    pub(crate) key: &'a str,
    pub(crate) body: &'a Bytes,
    /// Never [`PutCondition::Always`]: that one could undo what others did meanwhile.
    pub(crate) condition: PutCondition,
    pub(crate) put_id: PutId,
    /// On the monotonic clock.
    pub(crate) deadline: Duration,
}

/// What one attempt has shown.
enum Attempt {
    Stored(Etag),
    Taken(BucketError),
    /// Try again; whether this attempt may have stored the object.
    Again(BucketError, PutOutcome),
    /// No later try will do better; whether this attempt may have stored the object.
    Hopeless(BucketError, PutOutcome),
}

impl ConditionalPut<'_> {
    /// Puts the object until an answer or the time decides.
    pub(crate) async fn run(&self, rng: &mut ChaCha8Rng) -> Result<Etag, PutFailure> {
        let mut outcome = PutOutcome::NotDone;
        let mut backoff = Backoff::new(PUT_BACKOFF);
        loop {
            let error = match self.attempt().await {
                Attempt::Stored(etag) => return Ok(etag),
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
            tracing::debug!(error = &error as &dyn std::error::Error, "a put is tried again");
            tokio::time::sleep(wait).await;
            self.counters.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn attempt(&self) -> Attempt {
        let condition = self.condition.clone();
        let put = self.bucket.put(self.key, self.body.clone(), condition, Some(self.put_id));
        match self.in_time(Operation::Put, put).await {
            Ok(etag) => Attempt::Stored(etag),
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
            // As long as ours: a server may have kept the beginning of a request that was cut off.
            Ok(meta) if meta.put_id == Some(self.put_id) && meta.len == self.body.len() as u64 => {
                self.counters.confirmed.fetch_add(1, Ordering::Relaxed);
                Attempt::Stored(meta.etag)
            }
            Ok(_) => Attempt::Taken(precondition_failed),
            // The version that was to be replaced is gone for good.
            Err(BucketError::NotFound { .. }) if matches!(self.condition, PutCondition::IfMatch(_)) => {
                Attempt::Taken(precondition_failed)
            }
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

#[cfg(test)]
mod tests;
