use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use promql::{Matcher, SeriesSamples};
use segment_store::testing::{Hook, Hooked, MemoryBucket, Request};
use segment_store::{
    BucketError, FlushOutcome, GetRange, LocalBucket, Operation, PutCondition, PutOutcome, SystemClock,
    TailOffer, TailSink,
};
use tokio::time::timeout;

use super::*;
use crate::source::{FetchLimits, Needs, Scope, TenantSource};
use crate::tail::{Having, TailSettings};
use crate::testing::{NOW_MS, segment, segments, store, tenant_id, up};

const LONG: Duration = Duration::from_secs(20);
const EVER: (i64, i64) = (i64::MIN, i64::MAX);
const NO_LIMITS: FetchLimits = FetchLimits { bytes: u64::MAX, memory_bytes: u64::MAX };

fn follow(bucket: &Arc<dyn Bucket>, tail: &Arc<Tail>) -> Follower {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Follower::start(FollowerParts {
        bucket: Arc::clone(bucket),
        shard: ShardId(0),
        tail: Arc::clone(tail),
        segments: segments(tail, bucket, Arc::clone(&clock)),
        clock,
        is_only_writer: false,
    })
}

async fn until_caught_up(follower: &Follower) {
    let mut caught_up = follower.caught_up();
    timeout(LONG, caught_up.wait_for(|is| *is)).await.unwrap().unwrap();
}

async fn until_warm(follower: &Follower) {
    timeout(LONG, follower.warm().wait_for(|is| *is)).await.unwrap().unwrap();
}

/// All that a tenant has.
async fn everything(tail: &Arc<Tail>, bucket: &Arc<dyn Bucket>, tenant: &TenantId) -> TenantSource {
    let segments = segments(tail, bucket, Arc::new(SystemClock::new()));
    let scope = Scope { time_range_ms: EVER, with_provisional: true, needs: Needs::Labels };
    TenantSource::fetch(&segments, tenant, &scope, NO_LIMITS).await.unwrap()
}

async fn warnings(tail: &Arc<Tail>, bucket: &Arc<dyn Bucket>, tenant: &TenantId) -> Vec<String> {
    everything(tail, bucket, tenant).await.warnings()
}

/// (job, timestamp, value) of `up`, in order.
async fn read(tail: &Arc<Tail>, bucket: &Arc<dyn Bucket>, tenant: &TenantId) -> Vec<(String, i64, f64)> {
    let time_range_ms = EVER;
    let source = everything(tail, bucket, tenant).await;
    let selected = source.select(&[Matcher::equal("__name__", "up")], Having::Samples, time_range_ms);
    let mut out = Vec::new();
    for index in 0..selected.len() {
        let mut samples = SeriesSamples::default();
        selected.read(index, &mut samples);
        let job = selected.labels(index).get("job").unwrap();
        out.extend(
            samples.timestamps_ms.into_iter().zip(samples.values).map(|(at, v)| (job.to_owned(), at, v)),
        );
    }
    out
}

fn sample(job: &str, at: i64, value: f64) -> (String, i64, f64) {
    (job.to_owned(), at, value)
}

fn local(directory: &Path) -> Arc<dyn Bucket> {
    Arc::new(LocalBucket::open(directory).unwrap())
}

#[tokio::test]
async fn what_was_acked_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let acme = tenant_id("acme");
    let before = {
        let bucket = local(directory.path());
        let tail = Arc::new(Tail::default());
        for number in 0..20 {
            let batch = up(&[("a", NOW_MS + number, number as f64), ("b", NOW_MS + number / 2, 1.0)]);
            let partitions = vec![(acme.clone(), Arc::new(batch.clone()))];
            tail.offer(TailOffer { segment: segment(number), partitions });
            store(&*bucket, segment(number), &[("acme", batch), ("other", up(&[("x", 1, 1.0)]))]).await;
            tail.settle(&segment(number), FlushOutcome::Durable);
        }
        read(&tail, &bucket, &acme).await
    };
    assert_eq!(before.len(), 30);

    let bucket = local(directory.path());
    let tail = Arc::new(Tail::default());
    let follower = follow(&bucket, &tail);
    // What is written while the tail catches up wins over what it catches up with.
    let batch = up(&[("a", NOW_MS + 19, -1.0)]);
    tail.offer(TailOffer {
        segment: segment(100),
        partitions: vec![(acme.clone(), Arc::new(batch.clone()))],
    });
    store(&*bucket, segment(100), &[("acme", batch)]).await;
    tail.settle(&segment(100), FlushOutcome::Durable);
    until_caught_up(&follower).await;
    let mut expected = before;
    expected[19] = sample("a", NOW_MS + 19, -1.0);
    assert_eq!(read(&tail, &bucket, &acme).await, expected, "while it warms up");
    until_warm(&follower).await;
    assert_eq!(read(&tail, &bucket, &acme).await, expected, "and from memory");
    assert_eq!(read(&tail, &bucket, &tenant_id("other")).await, [sample("x", 1, 1.0)]);
    assert_eq!(read(&tail, &bucket, &tenant_id("nobody")).await, []);
    assert_eq!(tail.stats().cold_partitions, 0);
    follower.shutdown().await;
}

#[tokio::test]
async fn what_does_not_fit_in_memory_is_read_from_the_bucket() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = local(directory.path());
    let mut expected = Vec::new();
    for number in 0..50 {
        let value = (number as f64).sin();
        store(&*bucket, segment(number), &[("acme", up(&[("a", NOW_MS + number, value)]))]).await;
        expected.push(sample("a", NOW_MS + number, value));
    }
    for memory_bytes in [0, 10_000, 1 << 30] {
        let tail = Arc::new(Tail::new(TailSettings { memory_bytes, ..TailSettings::default() }));
        let follower = follow(&bucket, &tail);
        until_warm(&follower).await;
        let cold = tail.stats().cold_partitions;
        assert_eq!((cold == 0, cold == 50), (memory_bytes > 1 << 20, memory_bytes == 0), "{cold} cold");
        assert_eq!(read(&tail, &bucket, &tenant_id("acme")).await, expected);
        follower.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn segments_of_other_writers_are_absorbed_also_those_with_slow_clocks() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
    let tail = Arc::new(Tail::default());
    let follower = follow(&bucket, &tail);
    until_caught_up(&follower).await;
    let acme = tenant_id("acme");
    let key = |time_ms: i64| SegmentKey::new(ShardId(0), NOW_MS + time_ms, 1);
    store(&*bucket, key(0), &[("acme", up(&[("a", 1, 1.0)]))]).await;
    tokio::time::sleep(2 * FOLLOW_EVERY).await;
    assert_eq!(read(&tail, &bucket, &acme).await, [sample("a", 1, 1.0)]);
    // A little behind, more, and far behind.
    store(&*bucket, key(-FOLLOW_OVERLAP_MS / 2), &[("acme", up(&[("a", 2, 2.0)]))]).await;
    tokio::time::sleep(2 * FOLLOW_EVERY).await;
    assert_eq!(read(&tail, &bucket, &acme).await.len(), 2);
    store(&*bucket, key(-FOLLOW_LONG_OVERLAP_MS / 2), &[("acme", up(&[("a", 4, 4.0)]))]).await;
    tokio::time::sleep((LONG_OVERLAP_EVERY as u32 + 1) * FOLLOW_EVERY).await;
    assert_eq!(read(&tail, &bucket, &acme).await.len(), 3);
    store(&*bucket, key(-10 * FOLLOW_LONG_OVERLAP_MS), &[("acme", up(&[("a", 3, 3.0)]))]).await;
    tokio::time::sleep((WHOLE_LISTING_EVERY as u32 + 2) * FOLLOW_EVERY).await;
    assert_eq!(read(&tail, &bucket, &acme).await.len(), 4);
    assert_eq!(follower.stats(&SystemClock::new()).absorbed_segments, 4);
    follower.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn damage_costs_its_tenant_that_part_and_others_nothing() {
    let (acme, other) = (tenant_id("acme"), tenant_id("other"));
    // Whether the segments are in memory or are read from the bucket.
    for memory_bytes in [0, 1 << 30] {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        for number in 0..3 {
            let partitions = [("acme", up(&[("a", number, 1.0)])), ("other", up(&[("b", number, 1.0)]))];
            store(&*bucket, segment(number), &partitions).await;
        }
        let object = FreshObject { key: segment(1), len: 0 };
        let footer = read_fresh_footer(&*bucket, &object).await.unwrap();
        let part = footer.find(&acme, Signal::Metrics).unwrap().range.clone();
        flip(&*bucket, segment(1), (part.start + part.end) / 2).await;
        let tail = Arc::new(Tail::new(TailSettings { memory_bytes, ..TailSettings::default() }));
        let follower = follow(&bucket, &tail);
        until_warm(&follower).await;
        assert_eq!(read(&tail, &bucket, &acme).await, [sample("a", 0, 1.0), sample("a", 2, 1.0)]);
        let of_other = [sample("b", 0, 1.0), sample("b", 1, 1.0), sample("b", 2, 1.0)];
        assert_eq!(read(&tail, &bucket, &other).await, of_other);
        let of_acme = warnings(&tail, &bucket, &acme).await;
        assert!(of_acme[0].starts_with("1 damaged segments"), "{of_acme:?}");
        assert_eq!(warnings(&tail, &bucket, &other).await, [""; 0]);
        let stats = follower.stats(&SystemClock::new());
        assert_eq!((stats.unreadable_segments, stats.failed_rounds), (1, 0));
        follower.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_does_not_show_whose_it_is_may_be_anybodys() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
    for number in 0..3 {
        store(&*bucket, segment(number), &[("acme", up(&[("a", number, 1.0)]))]).await;
    }
    let len = bucket.head(&segment(1).to_string()).await.unwrap().len;
    flip(&*bucket, segment(1), len - 1).await;
    let tail = Arc::new(Tail::default());
    let follower = follow(&bucket, &tail);
    until_caught_up(&follower).await;
    assert_eq!(read(&tail, &bucket, &tenant_id("acme")).await, [sample("a", 0, 1.0), sample("a", 2, 1.0)]);
    for tenant in ["acme", "other"] {
        assert_eq!(warnings(&tail, &bucket, &tenant_id(tenant)).await.len(), 1, "{tenant}");
    }
    let stats = follower.stats(&SystemClock::new());
    assert_eq!((stats.unreadable_segments, stats.failed_rounds), (1, 0));
    follower.shutdown().await;
}

/// Changes a bit of byte `at` of a stored segment.
async fn flip(bucket: &dyn Bucket, segment: SegmentKey, at: u64) {
    let key = segment.to_string();
    let mut body = bucket.get(&key, GetRange::Full).await.unwrap().body.to_vec();
    body[at as usize] ^= 0x40;
    bucket.put(&key, body.into(), PutCondition::Always, None).await.unwrap();
}

#[test]
fn the_newest_segments_fit_first() {
    let object = |number: i64, len| FreshObject { key: segment(number), len };
    let objects = [object(1, 10), object(2, 1_000), object(3, 10), object(4, 10)];
    for (limit_bytes, expected) in [(0, 0), (40, 2), (5_000, 4), (2_039, 2), (u64::MAX, 4)] {
        let mut newest = Newest::within(limit_bytes);
        objects.iter().for_each(|object| newest.push(*object));
        assert_eq!(newest.in_order(), &objects[4 - expected..], "{limit_bytes}");
    }
    let mut newest = Newest::within(u64::MAX);
    [2, 0, 1, 3].iter().for_each(|&number| newest.push(objects[number]));
    assert_eq!(newest.in_order(), objects, "what a second look at a page showed comes in its place");
}

/// Makes an object unreadable for a while, and notes listings.
#[derive(Debug, Default)]
struct Moody {
    /// Which key cannot be read, and whether that concerns reads of a whole object alone.
    unreadable: Mutex<Option<(SegmentKey, bool)>>,
    /// From where listings began.
    listings: Mutex<Vec<Option<String>>>,
}

const KEYS_A_PAGE: usize = 4;

impl Moody {
    /// A moody bucket with short pages.
    fn bucket() -> Arc<Hooked<Self>> {
        Arc::new(Hooked::new(Arc::new(MemoryBucket::with_pages_of(KEYS_A_PAGE)), Self::default()))
    }

    fn pages(&self) -> usize {
        self.listings.lock().len()
    }

    fn whole_listings(&self) -> usize {
        self.listings.lock().iter().filter(|start_after| start_after.is_none()).count()
    }
}

#[async_trait]
impl Hook for Moody {
    async fn before(&self, _: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError> {
        match (request, *self.unreadable.lock()) {
            (Request::List { start_after }, _) => {
                self.listings.lock().push(start_after.map(str::to_owned));
                Ok(())
            }
            (Request::Get { key, range }, Some((segment, only_whole)))
                if segment.to_string() == key && (!only_whole || *range == GetRange::Full) =>
            {
                let (operation, key, outcome) = (Operation::Get, key.to_owned(), PutOutcome::NotDone);
                Err(BucketError::Unavailable { operation, key, outcome, source: "it is moody".into() })
            }
            _ => Ok(()),
        }
    }
}

/// Stores segments that all have a sample of one time, and each one of its own.
async fn store_rivals(bucket: &dyn Bucket, count: i64) {
    for number in 0..count {
        let batch = up(&[("a", NOW_MS, number as f64), ("a", NOW_MS + 1 + number, 1.0)]);
        store(bucket, segment(number), &[("acme", batch)]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn catching_up_goes_on_at_the_page_where_it_failed() {
    let moody = Moody::bucket();
    let bucket: Arc<dyn Bucket> = Arc::clone(&moody) as _;
    store_rivals(&*bucket, 30).await;
    *moody.unreadable.lock() = Some((segment(17), false));
    let tail = Arc::new(Tail::default());
    let follower = follow(&bucket, &tail);
    tokio::time::sleep(10 * FOLLOW_EVERY).await;
    let stats = follower.stats(&SystemClock::new());
    assert!(!stats.is_caught_up && stats.failed_rounds > 5, "{stats:?}");
    *moody.unreadable.lock() = None;
    until_caught_up(&follower).await;
    assert_eq!(moody.whole_listings(), 1);
    let found = read(&tail, &bucket, &tenant_id("acme")).await;
    assert_eq!((found.len(), &found[0]), (31, &sample("a", NOW_MS, 29.0)));
    follower.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn while_a_segment_cannot_be_taken_into_memory_answers_are_whole_and_later_segments_win() {
    let moody = Moody::bucket();
    let bucket: Arc<dyn Bucket> = Arc::clone(&moody) as _;
    store_rivals(&*bucket, 30).await;
    let acme = tenant_id("acme");
    let len = bucket.head(&segment(0).to_string()).await.unwrap().len;
    // Twenty fit, and after a failure in their middle others would, if that was decided anew.
    let memory_bytes = (2 * 20 * len * MEMORY_A_FRESH_BYTE) as usize;
    *moody.unreadable.lock() = Some((segment(17), true));
    let tail = Arc::new(Tail::new(TailSettings { memory_bytes, ..TailSettings::default() }));
    let follower = follow(&bucket, &tail);
    until_caught_up(&follower).await;
    tokio::time::sleep(10 * FOLLOW_EVERY).await;
    assert!(!*follower.warm().borrow());
    let found = read(&tail, &bucket, &acme).await;
    assert_eq!((found.len(), &found[0]), (31, &sample("a", NOW_MS, 29.0)));
    // Others are heard meanwhile.
    store(&*bucket, segment(100), &[("acme", up(&[("b", 1, 1.0)]))]).await;
    tokio::time::sleep(2 * FOLLOW_EVERY).await;
    assert_eq!(read(&tail, &bucket, &acme).await.len(), 32);

    *moody.unreadable.lock() = None;
    until_warm(&follower).await;
    let found = read(&tail, &bucket, &acme).await;
    assert_eq!((found.len(), &found[0]), (32, &sample("a", NOW_MS, 29.0)));
    assert_eq!(follower.stats(&SystemClock::new()).absorbed_segments, 21, "twenty, and the other's");
    follower.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_whole_listing_that_fails_is_not_repeated_at_once() {
    let moody = Moody::bucket();
    let bucket: Arc<dyn Bucket> = Arc::clone(&moody) as _;
    let tail = Arc::new(Tail::default());
    let follower = follow(&bucket, &tail);
    until_caught_up(&follower).await;
    let key = |time_ms: i64| SegmentKey::new(ShardId(0), NOW_MS + time_ms, 1);
    store(&*bucket, key(0), &[("acme", up(&[("a", 1, 1.0)]))]).await;
    tokio::time::sleep(2 * FOLLOW_EVERY).await;
    // Only a whole listing shows it.
    let straggler = key(-10 * FOLLOW_LONG_OVERLAP_MS);
    store(&*bucket, straggler, &[("acme", up(&[("a", 2, 1.0)]))]).await;
    *moody.unreadable.lock() = Some((straggler, false));
    let before = moody.whole_listings();
    tokio::time::sleep((2 * WHOLE_LISTING_EVERY as u32) * FOLLOW_EVERY).await;
    assert!((1..=2).contains(&(moody.whole_listings() - before)), "{:?}", moody.listings.lock());
    // What came since is seen as ever.
    store(&*bucket, key(5), &[("acme", up(&[("a", 3, 1.0)]))]).await;
    tokio::time::sleep(4 * FOLLOW_EVERY).await;
    assert_eq!(read(&tail, &bucket, &tenant_id("acme")).await.len(), 2);
    *moody.unreadable.lock() = None;
    tokio::time::sleep((WHOLE_LISTING_EVERY as u32 + 2) * FOLLOW_EVERY).await;
    assert_eq!(read(&tail, &bucket, &tenant_id("acme")).await.len(), 3);
    follower.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn who_writes_alone_lists_rarely() {
    let moody = Moody::bucket();
    let tail = Arc::new(Tail::default());
    let bucket: Arc<dyn Bucket> = Arc::clone(&moody) as _;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let parts = |is_only_writer| FollowerParts {
        bucket: Arc::clone(&bucket),
        shard: ShardId(0),
        tail: Arc::clone(&tail),
        segments: segments(&tail, &bucket, Arc::clone(&clock)),
        clock: Arc::clone(&clock),
        is_only_writer,
    };
    for (is_only_writer, every) in [(true, FOLLOW_ALONE_EVERY), (false, FOLLOW_EVERY)] {
        let follower = Follower::start(parts(is_only_writer));
        until_caught_up(&follower).await;
        let before = moody.pages();
        tokio::time::sleep(20 * every).await;
        assert!((19..=20).contains(&(moody.pages() - before)), "{is_only_writer}");
        follower.shutdown().await;
    }
}
