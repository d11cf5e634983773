//! Brings into the tail what it was not offered: segments from before a restart, and those of other writers.
//!
//! First the tail **catches up** with what is in the bucket: after a listing the shard's manifest is read, and of the segments
//! that it has not absorbed the footers, so that queries know what to read when. From then on queries are complete, and the
//! process is ready; queries that come earlier wait, up to their time limit. Writes do not.
//!
//! Then it **warms up**: the newest segments that take no more than half of the memory, so that there is room for what is
//! being written, are absorbed. Which those are is decided once. Until all of them are in, queries read them from the bucket.
//!
//! Meanwhile it **follows**: each second it lists what came since, absorbs what is unknown, and looks whether the shard's
//! manifest has changed. Most of the time there is nothing, because the writer beside it offered its segments before it stored
//! them. When a compactor in this process says that it has committed, the manifest is read at once.
//!
//! A listing shows what is stored when it is made, whole; but names come from writers' clocks, and from before a put. So what is
//! stored next may have a name before the newest known one, by as much as clocks differ and puts take, and a listing from the newest
//! known name on would never show it. How far a listing goes back is a matter of how soon such a segment is seen, not whether: most
//! go back some seconds, every tenth some minutes, every sixtieth to the beginning. Nothing that is acked waits for longer than that;
//! and should compaction absorb it sooner, the shard's manifest names it, and it is read for that (`Segments::refresh`).
//!
//! Listings are worked through page by page; of the first one the names are held. What fails for a reason that may pass is
//! tried again a second later, from where it got to.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use segment_store::{
    Bucket, Clock, FreshObject, FreshPartitions, ReadError, SegmentKey, ShardId, list_fresh_page,
    read_fresh_footer, read_fresh_partitions,
};
use storage_format::Signal;
use telemetry::{MetricBatch, TenantId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::limits::{
    FOLLOW_ALONE_EVERY, FOLLOW_EVERY, FOLLOW_LONG_OVERLAP_MS, FOLLOW_OVERLAP_MS, LONG_OVERLAP_EVERY,
    MEMORY_A_FRESH_BYTE, READS_AT_ONCE, WHOLE_LISTING_EVERY,
};
use crate::segments::Segments;
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
    /// What compaction made of them.
    pub segments: Arc<Segments>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Whether everything that is stored in the shard is offered to `tail` first, since nobody else writes there. Listings
    /// are then rare.
    pub is_only_writer: bool,
}

/// Keeps a tail up to date with the bucket until it is shut down.
#[derive(Debug)]
pub struct Follower {
    tail: Arc<Tail>,
    progress: Arc<Progress>,
    caught_up: watch::Receiver<bool>,
    warm: watch::Receiver<bool>,
    committed: Arc<Notify>,
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
        let (announce_caught_up, caught_up) = watch::channel(false);
        let (announce_warm, warm) = watch::channel(false);
        let stop = CancellationToken::new();
        let tail = Arc::clone(&parts.tail);
        let committed = Arc::new(Notify::new());
        let work = Work {
            parts,
            progress: Arc::clone(&progress),
            announce_caught_up,
            announce_warm,
            committed: Arc::clone(&committed),
        };
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = work.run() => {}
            }
        });
        Self { tail, progress, caught_up, warm, committed, stop, task }
    }

    /// Turns true once everything that was in the bucket at the start is known to the tail.
    #[must_use]
    pub fn caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.clone()
    }

    /// Turns true once the newest segments that fit are in memory.
    #[must_use]
    pub fn warm(&self) -> watch::Receiver<bool> {
        self.warm.clone()
    }

    /// To be notified by a compactor in this process whenever it has replaced a manifest of the shard.
    #[must_use]
    pub fn committed(&self) -> Arc<Notify> {
        Arc::clone(&self.committed)
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
    announce_caught_up: watch::Sender<bool>,
    announce_warm: watch::Sender<bool>,
    committed: Arc<Notify>,
}

impl Work {
    async fn run(self) {
        let hot = self.catch_up().await;
        self.announce_caught_up.send_replace(true);
        tracing::info!(hot = hot.len(), "caught up with the bucket");
        futures::join!(self.warm_up(hot), self.follow());
    }

    /// Notes all that is in the bucket, and that compaction has not absorbed, as cold. Returns the newest segments that fit in
    /// memory, in segment order.
    async fn catch_up(&self) -> VecDeque<FreshObject> {
        let started_ms = monotonic_ms(&*self.parts.clock);
        let FollowerParts { bucket, shard, segments, .. } = &self.parts;
        let mut listed = Vec::new();
        let mut start_after = None;
        loop {
            match list_fresh_page(&**bucket, *shard, start_after.as_deref()).await {
                Ok(page) => {
                    listed.extend(page.objects);
                    start_after = page.next;
                    if start_after.is_none() {
                        break;
                    }
                }
                Err(error) => self.failed(&error).await,
            }
        }
        // After the listing: what is absorbed meanwhile is then in both, and not in neither.
        while let Err(error) = segments.begin().await {
            self.failed(&error).await;
        }
        let manifest = segments.manifest();
        listed.retain(|object| !manifest.has_absorbed(&object.key));
        let mut newest = Newest::within(self.parts.tail.settings().memory_bytes as u64 / 2);
        let mut noted = 0;
        while let Err(error) = self.note_all(&listed, &mut noted, &mut newest).await {
            self.failed(&error).await;
        }
        self.progress.last_listing_ms.store(started_ms, Ordering::Relaxed);
        newest.in_order()
    }

    /// Notes the segments of `listed` from number `noted` on as cold; `noted` says how far it got.
    async fn note_all(
        &self,
        listed: &[FreshObject],
        noted: &mut usize,
        newest: &mut Newest,
    ) -> Result<(), ReadError> {
        let FollowerParts { bucket, tail, .. } = &self.parts;
        let footers = stream::iter(listed[*noted..].to_vec()).map(|object| async move {
            let is_known = tail.knows(&object.key);
            (object, if is_known { None } else { Some(read_fresh_footer(&**bucket, &object).await) })
        });
        let mut footers = std::pin::pin!(footers.buffered(READS_AT_ONCE));
        while let Some((object, footer)) = footers.next().await {
            match footer {
                Some(Ok(footer)) => {
                    let metrics = footer.partitions().iter().filter(|entry| entry.signal == Signal::Metrics);
                    let places = metrics.map(|entry| {
                        let (min_time_ms, max_time_ms) = (entry.min_time_ms, entry.max_time_ms);
                        (
                            entry.tenant.clone(),
                            PartitionPlace { segment: object.key, min_time_ms, max_time_ms },
                        )
                    });
                    tail.note_cold(object.key, places);
                    newest.push(object);
                }
                Some(Err(error)) => self.pass_over(object.key, error)?,
                None => {}
            }
            *noted += 1;
        }
        Ok(())
    }

    /// Takes `hot` into memory, and lets queries read it there once all of it is.
    async fn warm_up(&self, mut hot: VecDeque<FreshObject>) {
        while let Err(error) = self.absorb_backlog(&mut hot).await {
            self.failed(&error).await;
        }
        self.rank_series().await;
        self.parts.tail.show_backlog();
        self.announce_warm.send_replace(true);
        tracing::info!("the newest segments are in memory");
    }

    /// Absorbs the segments of `hot` in their order and takes them off it; reading runs ahead.
    async fn absorb_backlog(&self, hot: &mut VecDeque<FreshObject>) -> Result<(), ReadError> {
        let mut reads = std::pin::pin!(self.reads(hot.iter().copied().collect()));
        while let Some((segment, partitions)) = reads.next().await {
            match partitions {
                Ok(partitions) => {
                    self.parts.tail.absorb_backlog(segment, self.readable(segment, partitions));
                    self.progress.absorbed_segments.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
                Err(error) if error.is_retryable() && !matches!(error, ReadError::Gone(_)) => {
                    return Err(error);
                }
                // It stays cold, and a query that needs it says so.
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(%segment, error, "a segment cannot be taken into memory");
                }
            }
            hot.pop_front();
        }
        Ok(())
    }

    async fn follow(&self) {
        let FollowerParts { shard, tail, segments, clock, is_only_writer, .. } = &self.parts;
        let every = if *is_only_writer { FOLLOW_ALONE_EVERY } else { FOLLOW_EVERY };
        // A whole listing that failed goes on where it was when its turn comes again.
        let mut whole_from = None;
        for round in 1_u64.. {
            self.until_next_round(every).await;
            let started_ms = monotonic_ms(&**clock);
            let listed = if round.is_multiple_of(WHOLE_LISTING_EVERY) {
                self.absorb_after(&mut whole_from).await
            } else {
                let is_long = *is_only_writer || round.is_multiple_of(LONG_OVERLAP_EVERY);
                let overlap_ms = if is_long { FOLLOW_LONG_OVERLAP_MS } else { FOLLOW_OVERLAP_MS };
                let last = tail.last_known();
                let from =
                    last.map(|last| SegmentKey::earliest_at(*shard, last.time_ms() - overlap_ms).to_string());
                self.absorb_after(&mut { from }).await
            };
            // After the listing, as always.
            let looked = match listed {
                Ok(()) => segments.refresh().await,
                Err(error) => Err(error),
            };
            match looked {
                Ok(()) => {
                    self.progress.last_listing_ms.store(started_ms, Ordering::Relaxed);
                    self.rank_series().await;
                }
                Err(error) => self.failed(&error).await,
            }
        }
    }

    /// Waits for the next listing, and reads the shard's manifest whenever a compactor has committed meanwhile.
    async fn until_next_round(&self, every: Duration) {
        let mut round = std::pin::pin!(tokio::time::sleep(every));
        loop {
            tokio::select! {
                () = &mut round => return,
                () = self.committed.notified() => {
                    if let Err(error) = self.parts.segments.refresh().await {
                        self.failed(&error).await;
                    }
                }
            }
        }
    }

    /// Absorbs what is unknown after the key `from`, page by page. `from` says how far it got, and is `None` at the end.
    async fn absorb_after(&self, from: &mut Option<String>) -> Result<(), ReadError> {
        let FollowerParts { bucket, shard, tail, segments, .. } = &self.parts;
        loop {
            let page = list_fresh_page(&**bucket, *shard, from.as_deref()).await?;
            let is_unknown =
                |object: &FreshObject| !tail.knows(&object.key) && !segments.has_taken_over(&object.key);
            let unknown = page.objects.into_iter().filter(is_unknown);
            let mut reads = std::pin::pin!(self.reads(unknown.collect()));
            while let Some((segment, partitions)) = reads.next().await {
                match partitions {
                    Ok(partitions) => {
                        tail.absorb(segment, self.readable(segment, partitions));
                        self.progress.absorbed_segments.fetch_add(1, Ordering::Relaxed);
                        tokio::task::yield_now().await;
                    }
                    Err(error) => self.pass_over(segment, error)?,
                }
            }
            *from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    /// Reads segments, some at the same time, in order.
    fn reads(
        &self,
        objects: Vec<FreshObject>,
    ) -> impl Stream<Item = (SegmentKey, Result<FreshPartitions, ReadError>)> {
        let bucket = &self.parts.bucket;
        stream::iter(objects)
            .map(move |object| async move { (object.key, read_fresh_partitions(&**bucket, &object).await) })
            .buffered(READS_AT_ONCE)
    }

    /// Tells of a failure, and waits before the next try.
    async fn failed(&self, error: &ReadError) {
        self.progress.failed_rounds.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(error = error as &dyn std::error::Error, "following the bucket failed, trying again");
        tokio::time::sleep(FOLLOW_EVERY).await;
    }

    async fn rank_series(&self) {
        let tail = Arc::clone(&self.parts.tail);
        // Sorting a million series takes a second.
        let ranking = tokio::task::spawn_blocking(move || tail.rank_series());
        if let Err(error) = ranking.await {
            tracing::error!(%error, "ranking series ended badly");
        }
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

/// The newest segments that fit in memory.
#[derive(Debug)]
struct Newest {
    segments: VecDeque<FreshObject>,
    memory_bytes: u64,
    limit_bytes: u64,
}

impl Newest {
    fn within(limit_bytes: u64) -> Self {
        Self { segments: VecDeque::new(), memory_bytes: 0, limit_bytes }
    }

    fn push(&mut self, object: FreshObject) {
        self.memory_bytes = self.memory_bytes.saturating_add(memory_of(&object));
        self.segments.push_back(object);
        while self.memory_bytes > self.limit_bytes
            && let Some(oldest) = self.segments.pop_front()
        {
            self.memory_bytes -= memory_of(&oldest);
        }
    }

    /// In segment order, also if a page was listed twice and showed more the second time.
    fn in_order(mut self) -> VecDeque<FreshObject> {
        self.segments.make_contiguous().sort_unstable_by_key(|object| object.key);
        self.segments
    }
}

/// Memory that a segment takes in the tail, by and large (bytes); the bound keeps sums from overflowing.
fn memory_of(object: &FreshObject) -> u64 {
    object.len.saturating_mul(MEMORY_A_FRESH_BYTE).min(1 << 40)
}

#[cfg(test)]
mod tests;
