//! A process: the bucket as it sees it, while it stalls, dies, and has its requests done late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::testing::SimClock;
use segment_store::{Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, PutCondition, PutId};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::record::Record;
use crate::world::{CLOCK_ERROR, EPOCH_MS};

/// What happens to a process, in thousandths of its requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    /// It stands still, for up to [`STALL_MAX`].
    pub(crate) stalls: u32,
    /// It dies.
    pub(crate) dies: u32,
    /// When it stalls, puts and deletions that it was about to make are made when it wakes, though nobody waits for them any more.
    pub(crate) late_requests: bool,
}

/// Stalls last for seconds or hours.
const STALL_MAX: Duration = Duration::from_secs(3 * 3_600);

/// A process that is not quick never answers, which would be no simulation of a process.
const LATENCY: Duration = Duration::from_millis(1);

/// A process. It may be dead, or stand still.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    fate: Fate,
    rng: Mutex<ChaCha8Rng>,
    record: Arc<Record>,
    pub(crate) clock: Arc<SimClock>,
    /// Ends with its death.
    pub(crate) death: CancellationToken,
    stalled_until: Mutex<Instant>,
    /// Whether it may still stall: who reads stalls once at most while it reads.
    may_stall: AtomicBool,
}

impl Process {
    pub(crate) fn new(name: String, fate: Fate, mut rng: ChaCha8Rng, record: Arc<Record>) -> Arc<Self> {
        let now_ms = EPOCH_MS + record.started.elapsed().as_millis() as i64;
        let clock = Arc::new(SimClock::new(now_ms, skew_ms(&mut rng)));
        Arc::new(Self {
            name,
            fate,
            rng: Mutex::new(rng),
            record,
            clock,
            death: CancellationToken::new(),
            stalled_until: Mutex::new(Instant::now()),
            may_stall: AtomicBool::new(true),
        })
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.death.is_cancelled()
    }

    pub(crate) fn note(&self, text: &str) {
        self.record.note(format!("{} {text}", self.name));
    }

    /// May it stall once more?
    pub(crate) fn rest_from_stalling(&self) {
        self.may_stall.store(true, Ordering::Relaxed);
    }

    /// Its clock is set, for better or worse.
    pub(crate) fn set_clock(&self) {
        let skew_ms = skew_ms(&mut self.rng.lock());
        self.clock.set_skew_ms(skew_ms);
    }

    pub(crate) fn die(&self) {
        self.note("dies");
        self.record.count("processes killed", 1);
        self.death.cancel();
    }

    /// Draws what happens to it at its next request.
    fn meet_fate(&self, once: bool) {
        let mut rng = self.rng.lock();
        let dice = rng.random_range(0..1_000_u32);
        if dice < self.fate.dies {
            self.die();
        } else if dice < self.fate.dies + self.fate.stalls
            && (!once || self.may_stall.swap(false, Ordering::Relaxed))
        {
            // As many short stalls as long ones.
            let share = rng.random_range(0.0..=1.0_f64).powi(4);
            let stall = STALL_MAX.mul_f64(share);
            *self.stalled_until.lock() = Instant::now() + stall;
            self.record.count("stalls", 1);
            drop(rng);
            self.note(&format!("stalls for {} s", stall.as_secs()));
        }
    }

    /// Goes on when it runs.
    async fn runs(&self) {
        loop {
            if self.is_dead() {
                std::future::pending::<()>().await;
            }
            let until = *self.stalled_until.lock();
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }
}

fn skew_ms(rng: &mut ChaCha8Rng) -> i64 {
    let ms = CLOCK_ERROR.as_millis() as i64;
    rng.random_range(-ms..=ms)
}

/// The bucket as a process sees it. When it has died, requests that it made are still done, but no answer ever arrives.
#[derive(Debug)]
pub(crate) struct ProcessView {
    inner: Arc<dyn Bucket>,
    process: Arc<Process>,
    /// Keys in a page of a listing.
    page: usize,
    /// Whether it stalls once only, until it is allowed again.
    once: bool,
}

impl ProcessView {
    pub(crate) fn new(inner: Arc<dyn Bucket>, process: Arc<Process>, page: usize, once: bool) -> Self {
        Self { inner, process, page, once }
    }

    async fn request<T>(&self, request: impl Future<Output = T> + Send) -> T {
        self.process.meet_fate(self.once);
        self.process.runs().await;
        tokio::time::sleep(LATENCY).await;
        let answer = request.await;
        self.process.runs().await;
        answer
    }

    /// A request that changes something.
    async fn change<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> T {
        if !self.process.fate.late_requests {
            return self.request(request).await;
        }
        self.process.meet_fate(self.once);
        let process = Arc::clone(&self.process);
        let made = tokio::spawn(async move {
            process.runs().await;
            tokio::time::sleep(LATENCY).await;
            request.await
        });
        let answer = made.await.unwrap();
        self.process.runs().await;
        answer
    }
}

#[async_trait]
impl Bucket for ProcessView {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        let (inner, key) = (Arc::clone(&self.inner), key.to_owned());
        self.change(async move { inner.put(&key, body, condition, put_id).await }).await
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        self.request(self.inner.get(key, range)).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        self.request(self.inner.get_if_changed(key, known)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.request(self.inner.head(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        self.request(self.inner.list(prefix, after, max_keys.min(self.page))).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        let (inner, keys) = (Arc::clone(&self.inner), keys.to_vec());
        self.change(async move { inner.delete_many(&keys).await }).await
    }
}
