#![expect(clippy::single_range_in_vec_init, reason = "what is read are ranges, also when it is one")]

use std::time::Duration;

use async_trait::async_trait;
use segment_store::testing::{Hook, Hooked, MemoryBucket, Request, SimClock};
use segment_store::{Operation, PutCondition, PutOutcome, SystemClock};

use super::*;
use crate::testing::tenant_id;

/// Notes what is asked of a bucket, and answers as it is told.
#[derive(Debug, Default)]
struct Noted {
    gets: Mutex<Vec<Range<u64>>>,
    /// How long the next requests take; those after them take a millisecond.
    delays: Mutex<Vec<Duration>>,
    /// How many of the next requests fail.
    failures: AtomicU64,
}

#[async_trait]
impl Hook for Noted {
    async fn before(&self, _: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError> {
        let Request::Get { key, range } = request else { return Ok(()) };
        if let GetRange::Range(range) = range {
            self.gets.lock().push(range.clone());
        }
        let delay = self.delays.lock().pop().unwrap_or(Duration::from_millis(1));
        tokio::time::sleep(delay).await;
        if self.failures.load(Ordering::Relaxed) == 0 {
            return Ok(());
        }
        self.failures.fetch_sub(1, Ordering::Relaxed);
        let (operation, key, outcome) = (Operation::Get, key.to_owned(), PutOutcome::NotDone);
        Err(BucketError::Unavailable { operation, key, outcome, source: "told to".into() })
    }
}

const KEY: &str = "t/acme/metrics/1";

fn content(len: usize) -> Bytes {
    (0..len).map(|at| (at / 7 + at) as u8).collect()
}

/// A bucket with one object.
async fn bucket_with(len: usize) -> (Arc<Hooked<Noted>>, ObjectRef) {
    let bucket = Arc::new(Hooked::new(Arc::new(MemoryBucket::default()), Noted::default()));
    bucket.put(KEY, content(len), PutCondition::IfAbsent, None).await.unwrap();
    (bucket, ObjectRef { key: KEY.into(), len: len as u64 })
}

async fn cache_over(bucket: &Arc<Hooked<Noted>>, disk: Option<(PathBuf, u64)>) -> PageCache {
    let settings = CacheSettings { memory_bytes: 32 << 20, disk };
    let (bucket, clock) = (Arc::clone(bucket) as _, Arc::new(SystemClock::new()));
    PageCache::open(CacheParts { bucket, clock, settings }).await.unwrap()
}

const PAGE: u64 = 64 << 10;

#[tokio::test]
async fn neighbours_come_with_one_request_and_once() {
    let (bucket, object) = bucket_with(10 * PAGE as usize + 100).await;
    let cache = cache_over(&bucket, None).await;
    let acme = tenant_id("acme");
    let all = content(object.len as usize);
    let read = async |ranges: &[Range<u64>]| {
        let read = cache.read(&acme, &object, PageKind::Index, ranges).await.unwrap();
        for (range, bytes) in ranges.iter().zip(read) {
            assert_eq!(bytes, all.slice(range.start as usize..range.end as usize), "{range:?}");
        }
        std::mem::take(&mut *bucket.gets.lock())
    };
    // Two runs of neighbours; the pages between them are not needed.
    let fetched = read(&[10..20, PAGE - 5..2 * PAGE + 5, 9 * PAGE..object.len]).await;
    assert_eq!(fetched, [0..3 * PAGE, 9 * PAGE..object.len]);
    assert_eq!(read(&[0..3 * PAGE, 10 * PAGE..object.len, 5 * PAGE..5 * PAGE]).await, []);
    // What is there is not fetched again for what lies around it.
    assert_eq!(read(&[0..object.len]).await, [3 * PAGE..9 * PAGE]);
    let stats = cache.stats();
    assert_eq!(stats.gets, 3);
    assert_eq!(stats.got_bytes, object.len);
    let index = stats.kinds[PageKind::Index as usize];
    assert_eq!((index.misses, index.disk_hits, index.memory_bytes), (11, 0, object.len));
}

#[tokio::test(start_paused = true)]
async fn who_needs_a_page_that_is_being_fetched_waits_for_it() {
    let (bucket, object) = bucket_with(3 * PAGE as usize).await;
    let cache = cache_over(&bucket, None).await;
    let acme = tenant_id("acme");
    let (first, second) = (0..2 * PAGE, PAGE..3 * PAGE);
    let reads = [first.clone(), second.clone(), first, second].map(|range| {
        let (cache, acme, object) = (&cache, &acme, &object);
        async move { cache.read(acme, object, PageKind::Index, &[range]).await.unwrap() }
    });
    join_all(reads).await;
    assert_eq!(*bucket.gets.lock(), [0..2 * PAGE, 2 * PAGE..3 * PAGE]);

    // A failure is everybody's, and the next one tries again.
    let (bucket, object) = bucket_with(100).await;
    let cache = cache_over(&bucket, None).await;
    bucket.failures.store(1, Ordering::Relaxed);
    let reads = [0..10, 5..100].map(|range| {
        let (cache, acme, object) = (&cache, &acme, &object);
        async move { cache.read(acme, object, PageKind::Data, &[range]).await }
    });
    for read in join_all(reads).await {
        assert!(matches!(read, Err(FetchError::Bucket(_))), "{read:?}");
    }
    cache.read(&acme, &object, PageKind::Data, &[0..100]).await.unwrap();
    assert_eq!(*bucket.gets.lock(), [0..100, 0..100]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_is_made_a_second_time() {
    let (bucket, object) = bucket_with(40 * PAGE as usize).await;
    let clock = Arc::new(SimClock::new(0, 0));
    let parts = CacheParts { bucket: Arc::clone(&bucket) as _, clock, settings: CacheSettings::default() };
    let cache = PageCache::open(parts).await.unwrap();
    let acme = tenant_id("acme");
    let page = async |number: u64| {
        let started = tokio::time::Instant::now();
        let range = number * PAGE..(number + 1) * PAGE;
        cache.read(&acme, &object, PageKind::Index, &[range]).await.unwrap();
        started.elapsed()
    };
    for number in 0..30 {
        page(number).await;
    }
    // The first request takes ten seconds, the second one a millisecond.
    bucket.delays.lock().push(Duration::from_secs(10));
    let took = page(30).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!((cache.stats().hedges, cache.stats().hedges_won), (1, 1));
    // There is not always a second one: that would double the load when everything is slow.
    *bucket.delays.lock() = vec![Duration::from_secs(10); 4];
    assert!(page(31).await >= Duration::from_secs(10));
    assert_eq!(cache.stats().hedges, 1);
}

#[tokio::test]
async fn what_was_read_before_a_restart_is_on_disk_afterwards() {
    let (bucket, object) = bucket_with(5 << 20).await;
    let dir = tempfile::tempdir().unwrap();
    let disk = Some((dir.path().to_owned(), 512 << 20));
    let acme = tenant_id("acme");
    let ranges = [100..3 << 20, object.len - 5..object.len];
    let before = cache_over(&bucket, disk.clone()).await;
    before.read(&acme, &object, PageKind::Data, &ranges).await.unwrap();
    before.read(&acme, &object, PageKind::Index, &[0..PAGE]).await.unwrap();
    before.close().await;
    assert_eq!(before.stats().kinds.map(|kind| (kind.dropped_writes, kind.disk_errors)), [(0, 0); 2]);
    drop(before);
    bucket.gets.lock().clear();

    let after = cache_over(&bucket, disk).await;
    let read = after.read(&acme, &object, PageKind::Data, &ranges).await.unwrap();
    assert_eq!(read[0], content(5 << 20).slice(100..3 << 20));
    after.read(&acme, &object, PageKind::Index, &[0..PAGE]).await.unwrap();
    assert_eq!(*bucket.gets.lock(), []);
    assert_eq!(after.stats().kinds.map(|kind| (kind.disk_hits, kind.misses)), [(1, 0), (4, 0)]);
    after.close().await;
}

#[tokio::test]
async fn damage_on_disk_is_a_miss() {
    let (bucket, object) = bucket_with(2 << 20).await;
    let dir = tempfile::tempdir().unwrap();
    let disk = Some((dir.path().to_owned(), 256 << 20));
    let acme = tenant_id("acme");
    let before = cache_over(&bucket, disk.clone()).await;
    before.read(&acme, &object, PageKind::Data, &[0..object.len]).await.unwrap();
    before.close().await;
    drop(before);
    let mut damaged = 0;
    let files = std::fs::read_dir(dir.path().join("v1/data")).unwrap();
    for file in files.map(|file| file.unwrap().path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        // Every byte of the pages, and of what is beside them.
        for byte in bytes.iter_mut().filter(|byte| **byte != 0) {
            *byte ^= 0x55;
            damaged += 1;
        }
        std::fs::write(&file, bytes).unwrap();
    }
    assert!(damaged > 1 << 20);
    let after = cache_over(&bucket, disk).await;
    let read = after.read(&acme, &object, PageKind::Data, &[0..object.len]).await.unwrap();
    assert_eq!(read[0], content(2 << 20));
    assert_eq!(after.stats().gets, 1);
    after.close().await;
}

#[tokio::test]
async fn a_disk_that_cannot_be_used_is_done_without() {
    let (bucket, object) = bucket_with(100).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    // A file where the directory should be.
    let cache = cache_over(&bucket, Some((file.path().to_owned(), 256 << 20))).await;
    cache.read(&tenant_id("acme"), &object, PageKind::Data, &[0..100]).await.unwrap();
    assert_eq!(cache.stats().kinds.map(|kind| kind.disk_errors), [1, 1]);
    cache.close().await;
}

#[tokio::test]
async fn objects_that_are_not_what_they_should_be_are_told_apart() {
    let (bucket, object) = bucket_with(100).await;
    let cache = cache_over(&bucket, None).await;
    let acme = tenant_id("acme");
    let read = async |object: &ObjectRef, range: Range<u64>| {
        cache.read(&acme, object, PageKind::Data, &[range]).await.unwrap_err()
    };
    let longer = ObjectRef { len: 3 << 20, ..object.clone() };
    assert!(matches!(read(&longer, 0..3 << 20).await, FetchError::Short(_)));
    assert!(matches!(read(&longer, 2 << 20..3 << 20).await, FetchError::Short(_)));
    assert!(matches!(read(&object, 50..101).await, FetchError::Short(_)));
    let gone = ObjectRef { key: "t/acme/metrics/2".into(), len: 10 };
    assert!(matches!(read(&gone, 0..10).await, FetchError::Gone(_)));
}
