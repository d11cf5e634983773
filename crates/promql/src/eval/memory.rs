//! Counting what a query holds.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::LimitExceeded;

/// What is held now and was held at most, in bytes. What is held stays so until the query ends: operators live as long
/// as their query, so that nothing need be given back.
#[derive(Debug)]
pub(crate) struct Memory {
    held: AtomicU64,
    limit: u64,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Self {
        Self { held: AtomicU64::new(0), limit }
    }

    /// Counts `bytes` that are about to be held, or were just.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), LimitExceeded> {
        let bytes = bytes as u64;
        let before = self.held.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.limit {
            return Err(LimitExceeded::Memory { limit: self.limit });
        }
        Ok(())
    }

    /// The most that was held.
    pub(crate) fn peak(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}
