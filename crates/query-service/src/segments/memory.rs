//! One bound of memory for what all queries of a process fetch.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::QueryError;

/// Memory is given out in pieces of so many bytes.
const PIECE_BYTES: u64 = 64 << 10;

/// Queries take what they need from it, all at once, and wait when there is not enough: none waits with a part in hand.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    limit_bytes: u64,
    pieces: Arc<Semaphore>,
}

/// A part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct MemoryShare(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl MemoryBudget {
    pub(super) fn new(limit_bytes: usize) -> Self {
        let limit_bytes = limit_bytes as u64;
        let pieces = usize::try_from(limit_bytes / PIECE_BYTES).unwrap_or(usize::MAX);
        let pieces = Arc::new(Semaphore::new(pieces.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS)));
        Self { limit_bytes, pieces }
    }

    /// Waits for `bytes` of it.
    ///
    /// # Errors
    /// [`QueryError::FetchedMemory`] for more than there ever is.
    pub(super) async fn take(&self, bytes: u64) -> Result<MemoryShare, QueryError> {
        let too_much = || QueryError::FetchedMemory { limit_bytes: self.limit_bytes };
        if bytes > self.limit_bytes {
            return Err(too_much());
        }
        let pieces = u32::try_from(bytes / PIECE_BYTES).map_err(|_| too_much())?;
        let share = Arc::clone(&self.pieces).acquire_many_owned(pieces).await;
        share.map(MemoryShare).map_err(|_| QueryError::Internal)
    }

    /// Bytes of it that queries hold now.
    pub(super) fn taken_bytes(&self) -> u64 {
        let free = self.pieces.available_permits() as u64 * PIECE_BYTES;
        self.limit_bytes.saturating_sub(free)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_who_never_would_is_told() {
        let budget = MemoryBudget::new(1 << 20);
        let first = budget.take(700 << 10).await.unwrap();
        assert_eq!(budget.taken_bytes(), 640 << 10);
        let second = tokio::time::timeout(Duration::from_secs(1), budget.take(500 << 10));
        assert!(second.await.is_err(), "there is no room");
        drop(first);
        budget.take(500 << 10).await.unwrap();
        let error = budget.take((1 << 20) + 1).await.unwrap_err();
        assert!(matches!(error, QueryError::FetchedMemory { limit_bytes: 1_048_576 }), "{error}");
    }
}
