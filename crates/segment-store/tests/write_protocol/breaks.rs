//! Ways to break the write protocol. Each is what a writer with that mistake would make of the bucket's requests and answers, so
//! the product itself needs no switches for them.

use segment_store::{BucketError, Etag, PutCondition, PutId, PutOutcome};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The protocol as it is.
    Nothing,
    /// The ack does not wait for the put's answer.
    AckBeforePut,
    /// "There is such an object" is taken for "it is mine".
    NoPutIdCheck,
    /// Puts replace what is there.
    NoCondition,
    /// Puts carry no put-id, so nobody's object is known again.
    NoPutId,
    /// A lost answer is taken for a failure.
    UnknownIsFailure,
    /// A lost answer is taken for a success.
    UnknownIsSuccess,
}

impl Break {
    pub(crate) fn request(
        self,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> (PutCondition, Option<PutId>) {
        match self {
            Self::NoCondition => (PutCondition::Always, put_id),
            Self::NoPutId => (condition, None),
            _ => (condition, put_id),
        }
    }

    pub(crate) fn answer(self, answer: Result<Etag, BucketError>) -> Result<Etag, BucketError> {
        match (self, answer) {
            (Self::NoPutIdCheck, Err(BucketError::PreconditionFailed { .. })) => Ok(Etag::new("")),
            (Self::UnknownIsSuccess, Err(error)) if error.outcome_unknown() => Ok(Etag::new("")),
            (Self::UnknownIsFailure, Err(BucketError::Unavailable { operation, key, source, .. })) => {
                Err(BucketError::Unavailable { operation, key, outcome: PutOutcome::NotDone, source })
            }
            (_, answer) => answer,
        }
    }
}
