//! Requests that were turned away for their credentials, counted for the operator: nothing in it says who or with which key.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::access::AccessError;
use crate::directory::AuthError;

/// Why requests are turned away, in the words of a sentence that begins with their number.
const REASONS: [&str; 7] = [
    "without credentials",
    "with something that is no API key",
    "with an API key that is not known",
    "with an API key that has expired",
    "with an API key that is revoked",
    "with an API key that lacks the scope",
    "from networks that the API key is not for",
];

fn reason(error: &AccessError) -> usize {
    match error {
        AccessError::Missing => 0,
        AccessError::Credential(_) => 1,
        AccessError::Key(AuthError::Unknown) => 2,
        AccessError::Key(AuthError::Expired(_)) => 3,
        AccessError::Key(AuthError::Revoked(_)) => 4,
        AccessError::Scope(_) => 5,
        AccessError::Network(_) => 6,
    }
}

/// How many requests were turned away; its `Display` says for which reasons.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rejections([u64; REASONS.len()]);

impl Rejections {
    /// Whether there were none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }
}

impl fmt::Display for Rejections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.0.iter().zip(REASONS).filter(|(count, _)| **count > 0);
        for (place, (count, reason)) in counted.enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {reason}")?;
        }
        Ok(())
    }
}

/// Counts them.
#[derive(Debug, Default)]
pub(crate) struct RejectionLog([AtomicU64; REASONS.len()]);

impl RejectionLog {
    pub(crate) fn note(&self, error: &AccessError) {
        self.0[reason(error)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn take(&self) -> Rejections {
        Rejections(self.0.each_ref().map(|count| count.swap(0, Ordering::Relaxed)))
    }
}
