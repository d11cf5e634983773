use std::collections::BTreeMap;

use super::*;
use crate::testing::{
    Delayed, Faults, Faulty, Hook, Hooked, MemoryBucket, RecordingTail, Request, SimClock, TailEvent,
    float_rows, floats_of, tenant,
};
use crate::{BucketError, Counted, FlushOutcome, PutCondition, TailOffer, list_fresh, read_fresh_partitions};

const SHARD: ShardId = ShardId(0);
/// 2026-01-01
const EPOCH_MS: i64 = 1_767_225_600_000;

struct Setup {
    bucket: Arc<dyn Bucket>,
    tail: Arc<RecordingTail>,
    commit: Arc<GroupCommit>,
}

fn setup(bucket: Arc<dyn Bucket>, settings: GroupCommitSettings) -> Setup {
    let tail = Arc::new(RecordingTail::default());
    let commit = GroupCommit::start(GroupCommitParts {
        bucket: Arc::clone(&bucket),
        shard: SHARD,
        tail: Arc::clone(&tail) as _,
        clock: Arc::new(SimClock::new(EPOCH_MS, 0)),
        seed: Seed::from_number(1),
        work_on: WorkOn::SameThread,
        settings,
    });
    Setup { bucket, tail, commit: Arc::new(commit) }
}

impl Setup {
    /// Commits one sample of metric `name` in a task of its own.
    fn spawn(&self, of: &str, name: &str, value: f64) -> tokio::task::JoinHandle<Answer> {
        let (commit, of, name) = (Arc::clone(&self.commit), tenant(of), name.to_owned());
        tokio::spawn(async move { commit.commit(of, float_rows(&[(&name, 1, value)])).await })
    }

    /// Everything in the bucket: object by object, tenant → samples.
    async fn stored(&self) -> Vec<BTreeMap<String, Vec<(String, i64, f64)>>> {
        let mut all = Vec::new();
        for object in list_fresh(&*self.bucket, SHARD, None).await.unwrap() {
            let partitions = read_fresh_partitions(&*self.bucket, &object).await.unwrap();
            all.push(
                partitions
                    .iter()
                    .map(|(of, batch)| (of.to_string(), floats_of(batch.as_ref().unwrap())))
                    .collect(),
            );
        }
        all
    }
}

fn sample(name: &str, value: f64) -> Vec<(String, i64, f64)> {
    vec![(name.to_owned(), 1, value)]
}

#[tokio::test(start_paused = true)]
async fn requests_of_many_tenants_share_one_put() {
    let counted = Arc::new(Counted::new(Arc::new(MemoryBucket::default())));
    let setup = setup(Arc::clone(&counted) as _, GroupCommitSettings::default());
    let started = tokio::time::Instant::now();
    let requests: Vec<_> =
        (0..50).map(|n| setup.spawn(&format!("t{:02}", n % 25), &format!("m{n}"), 1.0)).collect();
    let mut keys = Vec::new();
    for request in requests {
        keys.push(request.await.unwrap().unwrap());
    }
    assert_eq!(started.elapsed(), Duration::from_millis(20));
    keys.dedup();
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].shard(), keys[0].time_ms()), (SHARD, EPOCH_MS + 20));
    assert_eq!(counted.counts().requests, [1, 0, 0, 0, 0], "one request a flush");

    let stored = setup.stored().await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].len(), 25);
    let expected = [("m28".to_owned(), 1, 1.0), ("m3".to_owned(), 1, 1.0)];
    assert_eq!(stored[0]["t03"], expected);
    let stats = setup.commit.stats();
    assert_eq!((stats.requests, stats.flushes, stats.pending_bytes, stats.flushes_in_flight), (50, 1, 0, 0));
    assert_eq!(stats.bytes, counted.counts().bytes_put);
}

/// Lets puts wait until they are let through, and knows how many wait. And it may give the first names that are put to somebody else.
#[derive(Debug)]
struct Gate {
    permits: Semaphore,
    thefts: AtomicUsize,
    waiting: AtomicUsize,
    waiting_most: AtomicUsize,
}

impl Gate {
    fn closed() -> Arc<Hooked<Self>> {
        let gate = Self {
            permits: Semaphore::new(0),
            thefts: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            waiting_most: AtomicUsize::new(0),
        };
        Arc::new(Hooked::new(Arc::new(MemoryBucket::default()), gate))
    }

    fn open(&self) {
        self.permits.add_permits(1_000);
    }

    /// Open, and the first `times` names are taken.
    fn with_thefts(times: usize) -> Arc<Hooked<Self>> {
        let bucket = Self::closed();
        bucket.open();
        bucket.thefts.store(times, Ordering::SeqCst);
        bucket
    }
}

#[async_trait::async_trait]
impl Hook for Gate {
    async fn before(&self, bucket: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError> {
        let Request::Put { key } = request else { return Ok(()) };
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.waiting_most.fetch_max(waiting, Ordering::SeqCst);
        self.permits.acquire().await.unwrap().forget();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        if self.thefts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(1)).is_ok()
        {
            let other = storage_format::encode_fresh(&[]).unwrap();
            let _ = bucket.put(key, other.into(), PutCondition::IfAbsent, Some(PutId([0xee; 16]))).await;
        }
        Ok(())
    }
}

/// Refuses puts while it is full.
#[derive(Debug, Default)]
struct Disk {
    is_full: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl Hook for Disk {
    async fn before(&self, _: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError> {
        match request {
            Request::Put { key } if self.is_full.load(Ordering::SeqCst) => Err(BucketError::NoRoom {
                operation: crate::Operation::Put,
                key: key.to_owned(),
                source: "full".into(),
            }),
            _ => Ok(()),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_bucket_is_answered_at_once_and_known_until_it_takes_something_again() {
    let disk = Arc::new(Hooked::new(Arc::new(MemoryBucket::default()), Disk::default()));
    let setup = setup(Arc::clone(&disk) as _, GroupCommitSettings::default());
    let full = |is_full| disk.is_full.store(is_full, Ordering::SeqCst);
    full(true);
    let started = tokio::time::Instant::now();
    let error = setup.spawn("acme", "m", 1.0).await.unwrap().unwrap_err();
    assert!(error.is_for_want_of_room() && error.is_retryable() && !error.may_be_stored(), "{error:?}");
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    assert!(setup.commit.has_no_room());
    tokio::time::sleep(NO_ROOM_FOR).await;
    assert!(!setup.commit.has_no_room(), "somebody has to try whether there is room again");
    setup.spawn("acme", "m", 1.0).await.unwrap().unwrap_err();
    full(false);
    assert!(setup.commit.has_no_room());
    setup.spawn("acme", "m", 1.0).await.unwrap().unwrap();
    assert!(!setup.commit.has_no_room());
}

/// Bytes that one request of [`Setup::spawn`] is charged with.
fn request_bytes() -> usize {
    float_rows(&[("m", 1, 1.0)]).memory_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_full_group_does_not_wait() {
    let settings = GroupCommitSettings {
        linger: Duration::from_secs(3_600),
        flush_bytes: 3 * request_bytes(),
        ..GroupCommitSettings::default()
    };
    let setup = setup(Arc::new(MemoryBucket::default()), settings);
    let started = tokio::time::Instant::now();
    let requests: Vec<_> = (0..6).map(|n| setup.spawn("a", &format!("m{n}"), 1.0)).collect();
    for request in requests {
        request.await.unwrap().unwrap();
    }
    assert_eq!(started.elapsed(), Duration::ZERO);
    let sizes: Vec<usize> = setup.stored().await.iter().map(|object| object["a"].len()).collect();
    assert_eq!(sizes, [3, 3]);
}

#[tokio::test(start_paused = true)]
async fn flushes_run_beside_each_other_up_to_a_bound_and_groups_grow_meanwhile() {
    let bucket = Gate::closed();
    let settings = GroupCommitSettings { flushes_in_flight: 3, ..GroupCommitSettings::default() };
    let setup = setup(Arc::clone(&bucket) as _, settings);
    let mut requests = Vec::new();
    for n in 0..10 {
        requests.push(setup.spawn("a", &format!("m{n}"), 1.0));
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(bucket.waiting.load(Ordering::SeqCst), 3);
    assert_eq!(setup.commit.stats().flushes_in_flight, 3);
    bucket.open();
    for request in requests {
        request.await.unwrap().unwrap();
    }
    assert_eq!(bucket.waiting_most.load(Ordering::SeqCst), 3);
    let sizes: Vec<usize> = setup.stored().await.iter().map(|object| object["a"].len()).collect();
    assert_eq!(sizes, [1, 1, 1, 7], "three flew alone, the others waited together");
}

#[tokio::test(start_paused = true)]
async fn what_is_pending_is_bounded_and_given_back() {
    let bucket = Gate::closed();
    let limit_bytes = 4 * request_bytes();
    let settings = GroupCommitSettings { pending_bytes: limit_bytes, ..GroupCommitSettings::default() };
    let setup = setup(Arc::clone(&bucket) as _, settings);
    let taken: Vec<_> = (0..4).map(|n| setup.spawn("a", &format!("m{n}"), 1.0)).collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let error = setup.spawn("a", "one-more", 1.0).await.unwrap().unwrap_err();
    assert!(matches!(error, CommitError::Overloaded { pending_bytes, .. } if pending_bytes == limit_bytes));
    assert!(error.is_retryable() && !error.may_be_stored());
    let stats = setup.commit.stats();
    assert_eq!((stats.pending_bytes, stats.requests_overloaded), (limit_bytes as u64, 1));

    let large = float_rows(&[("m", 1, 1.0); 5]);
    let error = setup.commit.commit(tenant("a"), large).await.unwrap_err();
    assert!(matches!(error, CommitError::TooLarge { .. }) && !error.is_retryable());
    let error = setup.commit.commit(tenant("a"), MetricRows::default()).await.unwrap_err();
    assert!(matches!(error, CommitError::Empty) && !error.is_retryable());

    bucket.open();
    for request in taken {
        request.await.unwrap().unwrap();
    }
    assert_eq!(setup.commit.stats().pending_bytes, 0);
    setup.spawn("a", "one-more", 1.0).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_tail_sees_data_before_the_put_and_durability_before_the_ack() {
    let bucket = Gate::closed();
    let setup = setup(Arc::clone(&bucket) as _, GroupCommitSettings::default());
    let request = setup.spawn("a", "m", 7.0);
    tokio::time::sleep(Duration::from_millis(21)).await;
    let events = setup.tail.events();
    let [TailEvent::Offered(TailOffer { segment, partitions })] = &events[..] else {
        unreachable!("one offer and no settlement: {events:?}")
    };
    assert_eq!(partitions.len(), 1);
    assert_eq!((partitions[0].0.as_str(), floats_of(&partitions[0].1)), ("a", sample("m", 7.0)));
    bucket.open();
    assert_eq!(request.await.unwrap().unwrap(), *segment);
    assert_eq!(setup.tail.settled(), [(*segment, FlushOutcome::Durable)]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_is_stored_all_the_same() {
    let setup = setup(Arc::new(MemoryBucket::default()), GroupCommitSettings::default());
    let kept = setup.spawn("a", "kept", 1.0);
    let dropped = setup.spawn("a", "dropped", 1.0);
    tokio::task::yield_now().await;
    dropped.abort();
    kept.await.unwrap().unwrap();
    let stored = setup.stored().await;
    assert_eq!(stored[0]["a"], [sample("dropped", 1.0), sample("kept", 1.0)].concat());
    assert_eq!(setup.commit.stats().pending_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn shutdown_flushes_at_once_and_takes_nothing_more() {
    let far = Delayed::new(Arc::new(MemoryBucket::default()), Duration::from_secs(5));
    let settings =
        GroupCommitSettings { linger: Duration::from_secs(3_600), ..GroupCommitSettings::default() };
    let setup = setup(Arc::new(far), settings);
    let started = tokio::time::Instant::now();
    let request = setup.spawn("a", "m", 1.0);
    tokio::task::yield_now().await;
    setup.commit.shutdown().await;
    assert_eq!(started.elapsed(), Duration::from_secs(5));
    assert!(request.is_finished());
    request.await.unwrap().unwrap();
    let error = setup.spawn("a", "late", 1.0).await.unwrap().unwrap_err();
    assert!(matches!(error, CommitError::ShuttingDown) && error.is_retryable());
    setup.commit.shutdown().await;
    assert_eq!(setup.stored().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn requests_wait_for_no_company_once_it_is_told_not_to_linger() {
    let hour = Duration::from_secs(3_600);
    let settings = GroupCommitSettings { linger: hour, ..GroupCommitSettings::default() };
    let setup = setup(Arc::new(MemoryBucket::default()), settings);
    let started = tokio::time::Instant::now();
    let pending = setup.spawn("a", "m", 1.0);
    tokio::task::yield_now().await;
    setup.commit.stop_lingering();
    pending.await.unwrap().unwrap();
    setup.spawn("a", "m", 2.0).await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(setup.stored().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_is_away_fails_requests_in_time_and_withdraws_them() {
    for (faults, may_be_stored) in [
        (Faults { refused: 1_000, ..Faults::default() }, false),
        (Faults { lost_before: 1_000, ..Faults::default() }, true),
        (Faults { lost_after: 1_000, ..Faults::default() }, false),
    ] {
        let inner = Arc::new(MemoryBucket::default());
        let stores = faults.lost_after > 0;
        let faulty = Faulty::new(Arc::clone(&inner) as _, faults, &Seed::from_number(1));
        let setup = setup(Arc::new(faulty), GroupCommitSettings::default());
        let started = tokio::time::Instant::now();
        let error = setup.spawn("a", "m", 1.0).await.unwrap().unwrap_err();
        assert!(started.elapsed() <= Duration::from_secs(31));
        assert!(error.is_retryable());
        assert_eq!(error.may_be_stored(), may_be_stored || stores, "{error:?}");
        let (settled, stats) = (setup.tail.settled(), setup.commit.stats());
        assert!(matches!(settled[..], [(_, FlushOutcome::Withdrawn)]), "{settled:?}");
        assert_eq!((stats.flushes, stats.flushes_failed, stats.pending_bytes), (0, 1, 0));
        assert_eq!(inner.list("fresh/", None, 10).await.unwrap().objects.len(), usize::from(stores));
    }
}

#[tokio::test(start_paused = true)]
async fn a_taken_name_is_replaced_by_another() {
    let setup = setup(Gate::with_thefts(2), GroupCommitSettings::default());
    let key = setup.spawn("a", "m", 1.0).await.unwrap().unwrap();
    assert_eq!(setup.commit.stats().names_taken, 2);
    let settled = setup.tail.settled();
    let outcomes: Vec<FlushOutcome> = settled.iter().map(|(_, outcome)| *outcome).collect();
    assert_eq!(outcomes, [FlushOutcome::Withdrawn, FlushOutcome::Withdrawn, FlushOutcome::Durable]);
    assert_eq!(settled[2].0, key);
    let stored = setup.stored().await;
    assert_eq!((stored.len(), &stored[2]["a"]), (3, &sample("m", 1.0)));
}

#[tokio::test(start_paused = true)]
async fn who_finds_every_name_taken_gives_up_and_says_so() {
    let setup = setup(Gate::with_thefts(100), GroupCommitSettings::default());
    let error = setup.spawn("a", "m", 1.0).await.unwrap().unwrap_err();
    assert!(matches!(error, CommitError::NotStored { .. }) && !error.may_be_stored());
    assert_eq!(setup.tail.settled().len(), crate::limits::MAX_SEGMENT_NAMES);
}

/// Breaks off whoever offers it anything.
#[derive(Debug)]
struct PanickingTail;

impl TailSink for PanickingTail {
    fn offer(&self, _offer: TailOffer) {
        panic!("the tail is broken");
    }
    fn settle(&self, _segment: &SegmentKey, _outcome: FlushOutcome) {}
}

#[tokio::test]
async fn a_flush_that_breaks_off_answers_and_gives_its_memory_back() {
    for work_on in [WorkOn::BlockingThreads, WorkOn::SameThread] {
        let commit = GroupCommit::start(GroupCommitParts {
            bucket: Arc::new(MemoryBucket::default()),
            shard: SHARD,
            tail: Arc::new(PanickingTail),
            clock: Arc::new(SimClock::new(EPOCH_MS, 0)),
            seed: Seed::from_number(1),
            work_on,
            settings: GroupCommitSettings::default(),
        });
        let error = commit.commit(tenant("a"), float_rows(&[("m", 1, 1.0)])).await.unwrap_err();
        assert!(matches!(error, CommitError::BrokenOff(_)) && error.is_retryable() && error.may_be_stored());
        commit.shutdown().await;
        let stats = commit.stats();
        assert_eq!((stats.pending_bytes, stats.flushes_in_flight), (0, 0));
    }
}

/// With real threads and a real directory: many clients, nothing lost, nothing twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn real_threads_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bucket: Arc<dyn Bucket> = Arc::new(crate::LocalBucket::open(dir.path()).unwrap());
    let tail = Arc::new(RecordingTail::default());
    let commit = Arc::new(GroupCommit::start(GroupCommitParts {
        bucket: Arc::clone(&bucket),
        shard: SHARD,
        tail: Arc::clone(&tail) as _,
        clock: Arc::new(crate::SystemClock::new()),
        seed: Seed::from_os().unwrap(),
        work_on: WorkOn::BlockingThreads,
        settings: GroupCommitSettings { linger: Duration::from_millis(2), ..GroupCommitSettings::default() },
    }));
    let setup = Setup { bucket, tail, commit };
    let clients: Vec<_> = (0..20)
        .map(|client| {
            let commit = Arc::clone(&setup.commit);
            tokio::spawn(async move {
                for at in 0..20 {
                    let rows = float_rows(&[(&format!("m{client:02}"), at, 1.0)]);
                    commit.commit(tenant("a"), rows).await.unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let mut found: Vec<(String, i64)> = Vec::new();
    for object in setup.stored().await {
        found.extend(object["a"].iter().map(|(name, at, _)| (name.clone(), *at)));
    }
    found.sort();
    let expected: Vec<(String, i64)> =
        (0..20).flat_map(|client| (0..20).map(move |at| (format!("m{client:02}"), at))).collect();
    assert_eq!(found, expected);
    assert_eq!(setup.tail.settled().len() as u64, setup.commit.stats().flushes);
}
