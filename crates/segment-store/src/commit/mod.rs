//! Group commit: many requests, one object, acked when it is durable.
//!
//! Requests join the open group. The group is sealed when its linger is over and a place among the flushes in flight is free, or at
//! once when it is full; then it becomes one segment: named, sorted into columns, offered to the tail, encoded, put, settled,
//! acked. Flushes run beside each other and wait for each other only with their offers; when the bucket is slow, groups grow.
//!
//! Invariants:
//! - a request is acked only after its segment's put was answered or its put-id was found in the bucket;
//! - the tail hears "durable" before any request is acked;
//! - every request that was taken gets exactly one answer, unless the runtime ends;
//! - segments of one writer are offered to the tail in the order of their names (see `turn.rs`).
//!
//! Crash: what was not acked may be in the bucket or not; clients send it again, and equal samples count once. Nothing is
//! leaked: there is no object that is not a whole, visible segment.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use telemetry::{MetricRows, TenantId};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Bucket, Clock, KeyMaker, PutId, Seed, SegmentKey, ShardId, TailSink, WorkOn};

mod error;
mod flush;
mod stats;
mod turn;

pub use error::CommitError;
use flush::{Answer, Charge, Group, Name};
use stats::{Counters, add};
pub use stats::{GroupCommitStats, PUT_LATENCY_BOUNDS_MS};
use turn::Queue;

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

/// How requests are grouped.
#[derive(Clone, Debug)]
pub struct GroupCommitSettings {
    /// How long a group waits for company, from its first request on. Default 20 ms.
    pub linger: Duration,
    /// A group is sealed at once when its requests hold this much memory (bytes, [`MetricRows::memory_bytes`]). Default 8 MiB,
    /// some 350,000 float samples.
    pub flush_bytes: usize,
    /// Requests without an answer hold at most this much memory together (bytes, likewise); more are turned away. What flushes
    /// make of them takes about as much again. Default 64 MiB.
    pub pending_bytes: usize,
    /// At most so many flushes are encoded or put at the same time; at least 1. Default 8.
    pub flushes_in_flight: usize,
    /// How long the puts of a segment are tried, from the first one's start on the monotonic clock. Must stay far below the
    /// grace of deletion, so that a key that was deleted is never made anew. Default 30 s.
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

/// Commits requests in groups. One a shard and process.
#[derive(Debug)]
pub struct GroupCommit {
    shared: Arc<Shared>,
}

/// For how long a bucket counts as one that takes nothing after it said so: several tries of clients that try again each
/// second or so.
const NO_ROOM_FOR: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Shared {
    bucket: Arc<dyn Bucket>,
    tail: Arc<dyn TailSink>,
    clock: Arc<dyn Clock>,
    work_on: WorkOn,
    settings: GroupCommitSettings,
    state: Mutex<State>,
    pending_bytes: Arc<AtomicUsize>,
    flights: Semaphore,
    no_linger: CancellationToken,
    tasks: TaskTracker,
    counters: Counters,
}

#[derive(Debug)]
struct State {
    closed: bool,
    open: Option<Open>,
    groups: u64,
    keys: KeyMaker,
    offers: Queue,
    rng: ChaCha8Rng,
}

/// The group that requests join, and the task that will flush it: by its number when it takes the group itself, by the
/// channel when the group is sealed before that.
#[derive(Debug)]
struct Open {
    number: u64,
    group: Group,
    task: oneshot::Sender<Group>,
}

impl GroupCommit {
    /// Starts committing. [`Self::commit`] needs a tokio runtime with time.
    #[must_use]
    pub fn start(parts: GroupCommitParts) -> Self {
        let GroupCommitParts { bucket, shard, tail, clock, seed, work_on, settings } = parts;
        let mut rng = seed.rng();
        let keys = KeyMaker::new(shard, ChaCha8Rng::from_rng(&mut rng));
        let flights = Semaphore::new(settings.flushes_in_flight.clamp(1, Semaphore::MAX_PERMITS));
        let shared = Shared {
            bucket,
            tail,
            clock,
            work_on,
            settings,
            state: Mutex::new(State {
                closed: false,
                open: None,
                groups: 0,
                keys,
                offers: Queue::new(),
                rng,
            }),
            pending_bytes: Arc::default(),
            flights,
            no_linger: CancellationToken::new(),
            tasks: TaskTracker::new(),
            counters: Counters::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Stores `rows` of `tenant` and returns when they are durable, with the segment that holds them. When the returned
    /// future is dropped after its first poll, the rows are stored all the same.
    ///
    /// # Errors
    /// [`CommitError`]; unless [`CommitError::may_be_stored`], nothing was stored.
    pub async fn commit(&self, tenant: TenantId, rows: MetricRows) -> Result<SegmentKey, CommitError> {
        let answer = self.shared.join_group(tenant, rows)?;
        answer
            .await
            .unwrap_or_else(|_| Err(CommitError::BrokenOff(Arc::from("its task ended without an answer"))))
    }

    /// From now on flushes what is pending, and every request still to come, without linger: so that requests end soon where
    /// no more are expected.
    pub fn stop_lingering(&self) {
        self.shared.no_linger.cancel();
    }

    /// Takes no more requests, flushes what is pending without further linger, and returns when every request has its answer.
    pub async fn shutdown(&self) {
        {
            let mut state = self.shared.state.lock();
            state.closed = true;
            if let Some(open) = state.open.take() {
                seal(open);
            }
        }
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Whether writes fail because the bucket takes nothing. That is forgotten some seconds after the last one that failed, so that
    /// somebody who keeps writes away for it finds out when there is room again.
    #[must_use]
    pub fn has_no_room(&self) -> bool {
        let at = self.shared.counters.no_room_at();
        at.is_some_and(|at| self.shared.clock.monotonic().saturating_sub(at) < NO_ROOM_FOR)
    }

    /// Figures since the start.
    #[must_use]
    pub fn stats(&self) -> GroupCommitStats {
        let free = self.shared.flights.available_permits();
        let flushes_in_flight = self.shared.settings.flushes_in_flight.max(1).saturating_sub(free) as u64;
        let pending_bytes = self.shared.pending_bytes.load(Ordering::Relaxed) as u64;
        self.shared.counters.snapshot(flushes_in_flight, pending_bytes)
    }
}

impl Shared {
    /// Adds a request to the open group, and opens and seals groups as it needs.
    fn join_group(
        self: &Arc<Self>,
        tenant: TenantId,
        rows: MetricRows,
    ) -> Result<oneshot::Receiver<Answer>, CommitError> {
        if rows.is_empty() {
            return Err(CommitError::Empty);
        }
        let (bytes, limit_bytes) = (rows.memory_bytes(), self.settings.pending_bytes);
        if bytes > limit_bytes {
            return Err(CommitError::TooLarge { bytes, limit_bytes });
        }
        let mut state = self.state.lock();
        if state.closed {
            return Err(CommitError::ShuttingDown);
        }
        let pending_bytes = self.pending_bytes.load(Ordering::Relaxed);
        if pending_bytes + bytes > limit_bytes {
            add(&self.counters.requests_overloaded, 1);
            return Err(CommitError::Overloaded { pending_bytes, limit_bytes });
        }
        add(&self.counters.requests, 1);
        let mut open = match state.open.take() {
            Some(open) => open,
            None => self.open_group(&mut state),
        };
        let (request, answer) = oneshot::channel();
        open.group.rows.entry(tenant).or_default().push(rows);
        open.group.waiting.push(request);
        open.group.charge.add(bytes);
        if open.group.charge.bytes >= self.settings.flush_bytes {
            seal(open);
        } else {
            state.open = Some(open);
        }
        Ok(answer)
    }

    fn open_group(self: &Arc<Self>, state: &mut State) -> Open {
        let number = state.groups;
        state.groups += 1;
        let (task, sealed) = oneshot::channel();
        self.tasks.spawn(Arc::clone(self).run_group(number, sealed));
        let charge = Charge::new(&self.pending_bytes);
        Open { number, group: Group { rows: Default::default(), waiting: Vec::new(), charge }, task }
    }

    /// The life of group `number`: linger, wait for a place in flight, flush.
    async fn run_group(self: Arc<Self>, number: u64, mut sealed: oneshot::Receiver<Group>) {
        let full = tokio::select! {
            biased;
            full = &mut sealed => full.ok(),
            () = self.no_linger.cancelled() => None,
            () = tokio::time::sleep(self.settings.linger) => None,
        };
        // The semaphore is never closed; were it, flushing without a place would still be right.
        let _place = self.flights.acquire().await.ok();
        let group = match full {
            Some(group) => Some(group),
            None => match self.take_open(number) {
                Some(group) => Some(group),
                None => sealed.await.ok(),
            },
        };
        if let Some(group) = group {
            flush::flush(&self, group).await;
        }
    }

    /// Seals group `number`, if it is still open.
    fn take_open(&self, number: u64) -> Option<Group> {
        let mut state = self.state.lock();
        state.open.take_if(|open| open.number == number).map(|open| open.group)
    }

    /// A name that was never used, after all that were. Only a flush that holds its place in flight may take one.
    fn next_name(&self) -> Name {
        let state = &mut *self.state.lock();
        let mut put_id = PutId([0; 16]);
        state.rng.fill_bytes(&mut put_id.0);
        Name { key: state.keys.next_key(self.clock.now_ms()), put_id, place: state.offers.join() }
    }

    /// Randomness for the waits of one flush.
    fn rng_of_flush(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_rng(&mut self.state.lock().rng)
    }
}

/// Closes `open` to further requests and hands it to its task.
fn seal(open: Open) {
    // The task waits for it, unless the runtime has gone: then the requests' channels close with the group.
    let _ = open.task.send(open.group);
}

#[cfg(test)]
mod tests;
