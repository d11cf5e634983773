//! Brings into the tail what it was not offered: segments from before a restart, and those of other writers.
//!
//! First the tail **catches up** with what is in the bucket: of the listing, the newest segments that fit in memory are
//! absorbed, and of the older ones only the footers are read, so that queries know what to read when. Queries wait for
//! that, up to their time limit; readiness and writes do not.
//!
//! Then it **follows**: each second it lists what came since, and absorbs what is unknown. Most of the time that is
//! nothing, because the writer beside it offered its segments before it stored them.
//!
//! Everything here is idempotent; what fails for a reason that may pass is done again a second later.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{StreamExt, stream};
use segment_store::{
    Bucket, Clock, FreshObject, FreshPartitions, ReadError, SegmentKey, ShardId, list_fresh,
    read_fresh_footer, read_fresh_partitions,
};
use storage_format::Signal;
use telemetry::{MetricBatch, TenantId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::limits::{
    FOLLOW_EVERY, FOLLOW_OVERLAP_MS, MEMORY_A_FRESH_BYTE, READS_AT_ONCE, WHOLE_LISTING_EVERY,
};
use crate::tail::{PartitionPlace, Tail};

/// What a follower works with.
#[derive(Clone, Debug)]
pub struct FollowerParts {
    /// Where segments are.
    pub bucket: Arc<dyn Bucket>,
    /// Which of them to follow.
    pub shard: ShardId,
    /// Where they go.
    pub tail: Arc<Tail>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// Keeps a tail up to date with the bucket until it is shut down.
#[derive(Debug)]
pub struct Follower {
    tail: Arc<Tail>,
    progress: Arc<Progress>,
    caught_up: watch::Receiver<bool>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// How far the follower is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowerStats {
    /// Whether everything that was in the bucket at the start is known.
    pub is_caught_up: bool,
    /// Since when the tail may lack what other writers stored: time since the last listing that was worked through.
    pub lag: Duration,
    /// Segments absorbed.
    pub absorbed_segments: u64,
    /// Rounds that failed and were repeated.
    pub failed_rounds: u64,
    /// Segments that are damaged, and that queries therefore lack in whole or in part.
    pub unreadable_segments: u64,
}

#[derive(Debug, Default)]
struct Progress {
    /// On the monotonic clock.
    last_listing_ms: AtomicU64,
    absorbed_segments: AtomicU64,
    failed_rounds: AtomicU64,
}

impl Follower {
    /// Starts following on the current tokio runtime.
    #[must_use]
    pub fn start(parts: FollowerParts) -> Self {
        let progress = Arc::new(Progress::default());
        progress.last_listing_ms.store(monotonic_ms(&*parts.clock), Ordering::Relaxed);
        let (announce, caught_up) = watch::channel(false);
        let stop = CancellationToken::new();
        let tail = Arc::clone(&parts.tail);
        let work = Work { parts, progress: Arc::clone(&progress), announce };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = work.run() => {}
            }
        });
        Self { tail, progress, caught_up, stop, task }
    }

    /// Turns true once everything that was in the bucket at the start is known to the tail.
    #[must_use]
    pub fn caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.clone()
    }

    /// How far it is, on the monotonic clock `clock`.
    #[must_use]
    pub fn stats(&self, clock: &dyn Clock) -> FollowerStats {
        let listed_ms = self.progress.last_listing_ms.load(Ordering::Relaxed);
        FollowerStats {
            is_caught_up: *self.caught_up.borrow(),
            lag: Duration::from_millis(monotonic_ms(clock).saturating_sub(listed_ms)),
            absorbed_segments: self.progress.absorbed_segments.load(Ordering::Relaxed),
            failed_rounds: self.progress.failed_rounds.load(Ordering::Relaxed),
            unreadable_segments: self.tail.damaged_segments() as u64,
        }
    }

    /// Stops following and returns when nothing is running any more.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "following the bucket ended badly");
        }
    }
}

fn monotonic_ms(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

struct Work {
    parts: FollowerParts,
    progress: Arc<Progress>,
    announce: watch::Sender<bool>,
}

/// Which segments a round takes in, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Round {
    CatchUp,
    Follow { whole: bool },
}

impl Work {
    async fn run(self) {
        let mut rounds = 0_u32;
        loop {
            let is_caught_up = *self.announce.borrow();
            let round = match is_caught_up {
                false => Round::CatchUp,
                true => Round::Follow { whole: rounds.is_multiple_of(WHOLE_LISTING_EVERY) },
            };
            match self.round(round).await {
                Ok(()) => {
                    rounds = rounds.wrapping_add(1);
                    self.rank_series().await;
                    if round == Round::CatchUp {
                        self.announce.send_replace(true);
                        tracing::info!(
                            segments = self.progress.absorbed_segments.load(Ordering::Relaxed),
                            "caught up with the bucket"
                        );
                    }
                }
                Err(error) => {
                    self.progress.failed_rounds.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "following the bucket failed, trying again"
                    );
                }
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }

    async fn rank_series(&self) {
        let tail = Arc::clone(&self.parts.tail);
        // Sorting a million series takes a second.
        let ranking = tokio::task::spawn_blocking(move || tail.rank_series());
        if let Err(error) = ranking.await {
            tracing::error!(%error, "ranking series ended badly");
        }
    }

    async fn round(&self, round: Round) -> Result<(), ReadError> {
        let FollowerParts { bucket, shard, tail, clock } = &self.parts;
        let started_ms = monotonic_ms(&**clock);
        let after = match round {
            Round::Follow { whole: false } => tail
                .last_known()
                .map(|last| SegmentKey::earliest_at(*shard, last.time_ms() - FOLLOW_OVERLAP_MS)),
            Round::CatchUp | Round::Follow { whole: true } => None,
        };
        let mut unknown = list_fresh(&**bucket, *shard, after.as_ref()).await?;
        unknown.retain(|object| !tail.knows(&object.key));
        if round == Round::CatchUp {
            let hot = newest_that_fit(&unknown, tail.settings().memory_bytes as u64);
            let older = unknown.len() - hot.len();
            self.absorb(hot, round).await?;
            self.note_cold(&unknown[..older]).await?;
        } else {
            self.absorb(&unknown, round).await?;
        }
        self.progress.last_listing_ms.store(started_ms, Ordering::Relaxed);
        Ok(())
    }

    /// Absorbs segments in their order; reading runs ahead.
    async fn absorb(&self, objects: &[FreshObject], round: Round) -> Result<(), ReadError> {
        let bucket = &self.parts.bucket;
        let reads = stream::iter(objects.to_vec())
            .map(|object| async move { (object.key, read_fresh_partitions(&**bucket, &object).await) });
        let mut reads = std::pin::pin!(reads.buffered(READS_AT_ONCE));
        while let Some((segment, partitions)) = reads.next().await {
            match partitions {
                Ok(partitions) => {
                    let partitions = self.readable(segment, partitions);
                    match round {
                        Round::CatchUp => self.parts.tail.absorb_backlog(segment, partitions),
                        Round::Follow { .. } => self.parts.tail.absorb(segment, partitions),
                    }
                    self.progress.absorbed_segments.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                Err(error) => self.pass_over(segment, error)?,
            }
        }
        Ok(())
    }

    /// Notes where the partitions of segments are that are too old for memory.
    async fn note_cold(&self, objects: &[FreshObject]) -> Result<(), ReadError> {
        let bucket = &self.parts.bucket;
        let reads = stream::iter(objects.to_vec())
            .map(|object| async move { (object.key, read_fresh_footer(&**bucket, &object).await) });
        let mut reads = std::pin::pin!(reads.buffered(READS_AT_ONCE));
        while let Some((segment, footer)) = reads.next().await {
            match footer {
                Ok(footer) => {
                    let metrics = footer.partitions().iter().filter(|entry| entry.signal == Signal::Metrics);
                    let places = metrics.map(|entry| {
                        let (min_time_ms, max_time_ms) = (entry.min_time_ms, entry.max_time_ms);
                        (entry.tenant.clone(), PartitionPlace { segment, min_time_ms, max_time_ms })
                    });
                    self.parts.tail.note_cold(segment, places);
                }
                Err(error) => self.pass_over(segment, error)?,
            }
        }
        Ok(())
    }

    /// The partitions that could be read; the others are noted as damaged.
    fn readable(&self, segment: SegmentKey, partitions: FreshPartitions) -> Vec<(TenantId, MetricBatch)> {
        let mut readable = Vec::with_capacity(partitions.len());
        for (tenant, batch) in partitions {
            match batch {
                Ok(batch) => readable.push((tenant, batch)),
                Err(error) => {
                    self.parts.tail.note_damaged(&tenant, segment);
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%tenant, %segment, error, "a tenant's part of a segment cannot be read; queries lack it");
                }
            }
        }
        readable
    }

    /// What to do about a segment that could not be read: nothing when it has gone, another try when that may help, and
    /// otherwise going on without it, loudly.
    fn pass_over(&self, segment: SegmentKey, error: ReadError) -> Result<(), ReadError> {
        if matches!(error, ReadError::Gone(_)) {
            return Ok(());
        }
        if error.is_retryable() {
            return Err(error);
        }
        self.parts.tail.note_unreadable(segment);
        tracing::error!(%segment, error = &error as &dyn std::error::Error, "a segment cannot be read; queries lack its data");
        Ok(())
    }
}

/// The newest of `objects` (in segment order) that take no more than half of the memory, so that there is room for what is
/// being written.
fn newest_that_fit(objects: &[FreshObject], memory_bytes: u64) -> &[FreshObject] {
    let mut left_bytes = memory_bytes / 2;
    let fit = objects.iter().rev().take_while(|object| {
        let taken = left_bytes.checked_sub(object.len.saturating_mul(MEMORY_A_FRESH_BYTE));
        left_bytes = taken.unwrap_or(0);
        taken.is_some()
    });
    &objects[objects.len() - fit.count()..]
}

#[cfg(test)]
mod tests;
