//! Counting what a query holds.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::LimitExceeded;

/// What is held now and was held at most, in bytes. What operators hold stays so until the query ends, as they do; folds,
/// which are done before, give back what they held.
#[derive(Debug)]
pub(crate) struct Memory {
    held: AtomicU64,
    peak: AtomicU64,
    limit: u64,
}

impl Memory {
    pub(crate) fn new(limit: u64) -> Self {
        Self { held: AtomicU64::new(0), peak: AtomicU64::new(0), limit }
    }

    /// Counts `bytes` that are about to be held, or were just.
    pub(crate) fn hold(&self, bytes: usize) -> Result<(), LimitExceeded> {
        let bytes = bytes as u64;
        let held = self.held.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.peak.fetch_max(held, Ordering::Relaxed);
        if held > self.limit { Err(LimitExceeded::Memory { limit: self.limit }) } else { Ok(()) }
    }

    /// Counts `bytes` as no longer held.
    pub(crate) fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes as u64, Ordering::Relaxed);
    }

    /// Whether so many bytes more could be held.
    pub(crate) fn check(&self, bytes: usize) -> Result<(), LimitExceeded> {
        if self.held.load(Ordering::Relaxed).saturating_add(bytes as u64) > self.limit {
            return Err(LimitExceeded::Memory { limit: self.limit });
        }
        Ok(())
    }

    /// The most that was held.
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}
