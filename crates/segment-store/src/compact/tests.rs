//! Compaction as a whole, over a bucket in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use rand::Rng as _;
use storage_format::{
    FreshPartition, MetricsIndex, Parsed, Signal, TenantFooter, decode_metrics_partition, encode_fresh,
};
use telemetry::MetricBatch;

use super::*;
use crate::testing::{
    Faults, Faulty, Hook, Hooked, MemoryBucket, Request, SimClock, float_rows, floats_of, tenant,
};
use crate::{
    BucketError, Counted, GetRange, PutCondition, Quarantined, Resolution, Retrying, SegmentKey, Snapshot,
    read_shard_manifest, read_tenant_manifest,
};

const SHARD: ShardId = ShardId(0);
/// Some day in 2026, at midnight.
const DAY_MS: i64 = 1_795_305_600_000;
const MINUTE_MS: i64 = 60_000;

/// A sample: metric name, timestamp, value.
type Sample = (&'static str, i64, f64);

struct World {
    bucket: Arc<MemoryBucket>,
    clock: Arc<SimClock>,
    /// No two compactors may share a seed.
    seeds: AtomicU64,
}

impl World {
    fn new() -> Self {
        let (bucket, clock) = (Arc::new(MemoryBucket::default()), Arc::new(SimClock::new(DAY_MS, 0)));
        Self { bucket, clock, seeds: AtomicU64::new(0) }
    }

    /// Puts a fresh segment that was named at `minute` of the day.
    async fn write(&self, minute: i64, partitions: &[(&str, &[Sample])]) -> SegmentKey {
        let batches: Vec<(TenantId, MetricBatch)> = partitions
            .iter()
            .map(|(of, samples)| (tenant(of), MetricBatch::from_rows(vec![float_rows(samples)])))
            .collect();
        let parts: Vec<FreshPartition<'_>> =
            batches.iter().map(|(tenant, metrics)| FreshPartition { tenant, metrics }).collect();
        let key = SegmentKey::new(SHARD, DAY_MS + minute * MINUTE_MS, 7);
        let body = encode_fresh(&parts).unwrap();
        self.bucket.put(&key.to_string(), body.into(), PutCondition::IfAbsent, None).await.unwrap();
        key
    }

    fn parts(&self, bucket: Arc<dyn Bucket>) -> CompactorParts {
        CompactorParts {
            bucket,
            shard: SHARD,
            clock: Arc::clone(&self.clock) as _,
            seed: Seed::from_number(self.seeds.fetch_add(1, Ordering::Relaxed)),
            work_on: WorkOn::SameThread,
            retention: Arc::new(KeepForever),
            listener: Arc::new(NoListener),
            settings: CompactorSettings {
                grace: Duration::ZERO,
                orphan_age: Duration::ZERO,
                ..CompactorSettings::default()
            },
        }
    }

    fn compactor(&self) -> Compactor {
        Compactor::new(self.parts(Arc::clone(&self.bucket) as _))
    }

    async fn rest(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.compactor().run_until_rest(|step| steps.push(step.clone())).await.unwrap();
        steps
    }

    async fn keys(&self) -> Vec<String> {
        let page = self.bucket.list("", None, 1_000).await.unwrap();
        assert!(!page.truncated);
        page.objects.into_iter().map(|object| object.key).collect()
    }

    async fn etags(&self) -> Vec<crate::Etag> {
        let mut etags = Vec::new();
        for key in self.keys().await {
            etags.push(self.bucket.head(&key).await.unwrap().etag);
        }
        etags
    }

    /// All samples in the tenant's segments, of equal ones the last.
    async fn stored(&self, of: &str) -> BTreeMap<(String, i64), f64> {
        let of = tenant(of);
        let manifest = read_tenant_manifest(&*self.bucket, &of).await.unwrap();
        let mut segments = manifest.segments;
        segments.sort_by_key(|segment| (segment.last, segment.id));
        let mut stored = BTreeMap::new();
        for segment in segments {
            let key = TenantManifest::segment_key(&of, &segment.id);
            let body = self.bucket.get(&key, GetRange::Full).await.unwrap().body;
            for (name, at_ms, value) in floats_of(&read_segment(&body)) {
                assert!(segment.window.start_ms <= at_ms && at_ms < segment.window.end_ms());
                stored.insert((name, at_ms), value);
            }
        }
        stored
    }

    /// All samples that a reader finds, of equal ones the one that wins.
    async fn seen(&self, of: &str) -> BTreeMap<(String, i64), f64> {
        let of = tenant(of);
        let snapshot = Snapshot::take(&*self.bucket, SHARD, &of).await.unwrap();
        let shared = snapshot.fresh.iter().map(|fresh| (fresh.key, fresh.key, fresh.key.to_string()));
        let merged = snapshot.merged.iter();
        let merged =
            merged.map(|merged| (merged.last, merged.first, ShardManifest::merged_key(SHARD, &merged.id)));
        let mut units = Vec::new();
        for (last, first, key) in shared.chain(merged) {
            let body = self.bucket.get(&key, GetRange::Full).await.unwrap().body;
            let Parsed::Done(footer) = Footer::parse(&body, body.len() as u64).unwrap() else { panic!() };
            if let Some(entry) = footer.find(&of, Signal::Metrics) {
                let part = &body[entry.range.start as usize..entry.range.end as usize];
                units.push((last, first, floats_of(&decode_metrics_partition(entry, part).unwrap())));
            }
        }
        let segments = snapshot.tenant.segments.iter();
        for segment in segments.filter(|segment| segment.resolution == Resolution::Raw) {
            let key = TenantManifest::segment_key(&of, &segment.id);
            let body = self.bucket.get(&key, GetRange::Full).await.unwrap().body;
            units.push((segment.last, segment.first, floats_of(&read_segment(&body))));
        }
        units.sort_by_key(|(last, first, _)| (*last, *first));
        let samples = units.into_iter().flat_map(|(_, _, samples)| samples);
        samples.map(|(name, at_ms, value)| ((name, at_ms), value)).collect()
    }

    async fn ledger(&self, of: &str) -> crate::HourUsage {
        read_tenant_manifest(&*self.bucket, &tenant(of)).await.unwrap().ledger.total()
    }
}

fn read_segment(body: &Bytes) -> MetricBatch {
    let Parsed::Done(footer) = TenantFooter::parse(body, body.len() as u64).unwrap() else { panic!() };
    let range = footer.index_range();
    let index = MetricsIndex::parse(&footer, &body[range.start as usize..range.end as usize]).unwrap();
    let all = (0..index.series_count()).collect();
    let blocks = index.blocks_for(&all, i64::MIN, i64::MAX, true);
    let bytes = |range: &std::ops::Range<u64>| &body[range.start as usize..range.end as usize];
    let fetched: Vec<_> = blocks.into_iter().map(|block| (block, bytes(&block.section.range))).collect();
    index.read(&all, i64::MIN, i64::MAX, &fetched).unwrap()
}

fn minute(minute: i64) -> i64 {
    DAY_MS + minute * MINUTE_MS
}

#[tokio::test(start_paused = true)]
async fn everything_comes_to_rest_with_each_sample_once() {
    let world = World::new();
    world
        .write(
            1,
            &[("a", &[("up", minute(0), 1.0), ("up", minute(1), 2.0)]), ("b", &[("up", minute(1), 5.0)])],
        )
        .await;
    // The same again, with another value for one of them; and something very late.
    world.write(2, &[("a", &[("up", minute(1), 3.0), ("down", minute(-3_000), 9.0)])]).await;
    world.write(200, &[("a", &[("up", minute(199), 4.0)])]).await;
    let steps = world.rest().await;
    assert!(
        steps.iter().any(|step| matches!(step, Step::Absorbed { samples: 5, distinct: 5, .. })),
        "{steps:?}"
    );
    let up = |at, value| ((String::from("up"), minute(at)), value);
    let expected = [(("down".to_owned(), minute(-3_000)), 9.0), up(0, 1.0), up(1, 3.0), up(199, 4.0)]
        .into_iter()
        .collect();
    assert_eq!(world.stored("a").await, expected);
    assert_eq!(world.stored("b").await, [up(1, 5.0)].into_iter().collect());
    let usage = world.ledger("a").await;
    assert_eq!((usage.samples, usage.active_series, usage.bytes), (4, 3, 64));
    // Of today two windows were merged to one segment; the late sample has a day of its own, which is over, and so has thinned
    // segments besides.
    let keys = world.keys().await;
    assert_eq!(keys.iter().filter(|key| key.starts_with("fresh/")).collect::<Vec<_>>(), ["fresh/0/manifest"]);
    assert_eq!(keys.iter().filter(|key| key.starts_with("t/a/")).count(), 5, "{keys:?}");
    // A second run finds nothing to do, and leaves every object as it is.
    let etags = world.etags().await;
    assert_eq!(world.rest().await, [Step::Rest]);
    assert_eq!(world.etags().await, etags);

    // The same samples once more, from a client that tries again: nothing is counted twice.
    world.write(300, &[("a", &[("up", minute(0), 1.0), ("up", minute(199), 4.5)])]).await;
    let steps = world.rest().await;
    assert!(
        steps.iter().any(|step| matches!(step, Step::Absorbed { samples: 2, distinct: 0, .. })),
        "{steps:?}"
    );
    assert_eq!(world.ledger("a").await, usage);
    assert_eq!(world.stored("a").await[&("up".to_owned(), minute(199))], 4.5);
}

#[tokio::test(start_paused = true)]
async fn what_is_damaged_is_kept_and_holds_up_nobody_else() {
    let world = World::new();
    let good = world.write(1, &[("a", &[("up", minute(0), 1.0)]), ("b", &[("up", minute(0), 2.0)])]).await;
    let half = world.write(2, &[("a", &[("up", minute(1), 1.0)]), ("b", &[("up", minute(1), 2.0)])]).await;
    let whole = world.write(3, &[("a", &[("up", minute(2), 1.0)])]).await;
    let body = world.bucket.get(&half.to_string(), GetRange::Full).await.unwrap().body;
    let Parsed::Done(footer) = storage_format::Footer::parse(&body, body.len() as u64).unwrap() else {
        panic!()
    };
    let of_b = footer.find(&tenant("b"), storage_format::Signal::Metrics).unwrap();
    let mut body = body.to_vec();
    body[of_b.range.start as usize + 3] ^= 1;
    world.bucket.put(&half.to_string(), body.into(), PutCondition::Always, None).await.unwrap();
    world.bucket.put(&whole.to_string(), Bytes::from_static(b"?"), PutCondition::Always, None).await.unwrap();
    // Another tenant's manifest is no manifest.
    let of_c = TenantManifest::key(&tenant("c"));
    world.write(4, &[("c", &[("up", minute(2), 1.0)])]).await;
    world.bucket.put(&of_c, Bytes::from_static(b"?"), PutCondition::Always, None).await.unwrap();

    world.rest().await;
    assert_eq!(world.stored("a").await.len(), 2);
    assert_eq!(world.stored("b").await.len(), 1);
    let manifest = read_shard_manifest(&*world.bucket, SHARD).await.unwrap();
    let named = |of: &Quarantined| (of.object.clone(), of.tenant.as_ref().map(ToString::to_string));
    let quarantined: BTreeMap<_, _> = manifest.quarantined.iter().map(named).collect();
    let expected =
        [(whole.to_string(), None), (half.to_string(), Some("b".to_owned())), (of_c, Some("c".to_owned()))];
    assert_eq!(quarantined, expected.into_iter().collect());
    let keys = world.keys().await;
    assert!(keys.contains(&whole.to_string()) && keys.contains(&half.to_string()));
    assert!(!keys.contains(&good.to_string()));
    // What waits for the broken manifest is still there.
    assert_eq!(manifest.merged.len(), 1);
    assert_eq!(world.rest().await.last(), Some(&Step::Rest));
}

#[tokio::test(start_paused = true)]
async fn a_damaged_segment_is_kept_and_its_window_goes_on() {
    let world = World::new();
    world.write(1, &[("a", &[("up", minute(0), 1.0)])]).await;
    world.rest().await;
    let manifest = read_tenant_manifest(&*world.bucket, &tenant("a")).await.unwrap();
    let key = TenantManifest::segment_key(&tenant("a"), &manifest.segments[0].id);
    let mut body = world.bucket.get(&key, GetRange::Full).await.unwrap().body.to_vec();
    let index = manifest.segments[0].index_start as usize;
    body[index + 2] ^= 1;
    world.bucket.put(&key, body.into(), PutCondition::Always, None).await.unwrap();
    world.write(2, &[("a", &[("up", minute(1), 1.0)])]).await;
    world.write(3, &[("a", &[("up", minute(2), 1.0)])]).await;
    world.rest().await;
    let manifest = read_tenant_manifest(&*world.bucket, &tenant("a")).await.unwrap();
    assert_eq!(manifest.quarantined.iter().map(|of| of.object.as_str()).collect::<Vec<_>>(), [key.as_str()]);
    assert_eq!((manifest.segments.len(), manifest.ledger.total().samples), (2, 3));
    assert!(world.keys().await.contains(&key));
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_told_and_holds_up_nothing() {
    let world = World::new();
    let patient = || {
        Compactor::new(CompactorParts {
            settings: CompactorSettings::default(),
            ..world.parts(Arc::clone(&world.bucket) as _)
        })
    };
    world.write(1, &[("a", &[("up", minute(0), 1.0)])]).await;
    patient().run_until_rest(|_| {}).await.unwrap();
    // A merged object that waits for a manifest which cannot be read, and a segment: both are lost.
    let of_b = TenantManifest::key(&tenant("b"));
    world.bucket.put(&of_b, Bytes::from_static(b"?"), PutCondition::Always, None).await.unwrap();
    world.write(2, &[("b", &[("up", minute(0), 1.0)])]).await;
    patient().run_until_rest(|_| {}).await.unwrap();
    let shard = read_shard_manifest(&*world.bucket, SHARD).await.unwrap();
    let lost = ShardManifest::merged_key(SHARD, &shard.merged[0].id);
    let of_a = read_tenant_manifest(&*world.bucket, &tenant("a")).await.unwrap();
    let segment = TenantManifest::segment_key(&tenant("a"), &of_a.segments[0].id);
    world.bucket.delete_many(&[lost.clone(), segment.clone()]).await.unwrap();

    world.write(3, &[("a", &[("up", minute(1), 1.0), ("up", minute(2), 1.0)])]).await;
    patient().run_until_rest(|_| {}).await.unwrap();
    let shard = read_shard_manifest(&*world.bucket, SHARD).await.unwrap();
    assert!(shard.quarantined.iter().any(|of| of.object == lost), "{:?}", shard.quarantined);
    let of_a = read_tenant_manifest(&*world.bucket, &tenant("a")).await.unwrap();
    assert_eq!(of_a.quarantined.iter().map(|of| of.object.as_str()).collect::<Vec<_>>(), [segment.as_str()]);
    assert_eq!(of_a.ledger.total().samples, 3);
}

/// A segment that was counted is damaged, and the client sends what was lost once more, and then again, with samples that are new.
#[tokio::test(start_paused = true)]
async fn what_was_lost_is_not_counted_again_when_it_is_sent_again() {
    let world = World::new();
    let sent: Vec<Sample> =
        (0..90).flat_map(|at| [("up", minute(at), 1.0), ("down", minute(at), 0.5)]).collect();
    world.write(100, &[("a", &sent)]).await;
    world.rest().await;
    let before = world.ledger("a").await;
    assert_eq!((before.samples, before.active_series), (180, 4));
    let manifest = read_tenant_manifest(&*world.bucket, &tenant("a")).await.unwrap();
    for segment in &manifest.segments {
        let key = TenantManifest::segment_key(&tenant("a"), &segment.id);
        let damaged = vec![0; segment.len as usize].into();
        world.bucket.put(&key, damaged, PutCondition::Always, None).await.unwrap();
    }
    // In parts, the second with half of the first.
    world.write(101, &[("a", &sent[..100])]).await;
    world.rest().await;
    assert_eq!(world.ledger("a").await, before);
    let new = [("up", minute(90), 1.0), ("left", minute(95), 2.0)];
    let again: Vec<Sample> = sent[50..].iter().chain(&new).copied().collect();
    world.write(102, &[("a", &again)]).await;
    world.rest().await;
    let after = world.ledger("a").await;
    assert_eq!((after.samples, after.active_series), (182, 5));
    // All that was lost has come: whatever comes now is new.
    let more = [("right", minute(10), 1.0)];
    world.write(103, &[("a", &[&more[..], &sent].concat())]).await;
    world.rest().await;
    assert_eq!(world.ledger("a").await.samples, 183);
}

/// A compactor broke off when one tenant had absorbed a merged object and another had not. What turns up late, from before its end,
/// still loses against it.
#[tokio::test(start_paused = true)]
async fn stragglers_lose_against_what_was_absorbed_in_part() {
    let world = World::new();
    let of_b = TenantManifest::key(&tenant("b"));
    world.bucket.put(&of_b, Bytes::from_static(b"?"), PutCondition::Always, None).await.unwrap();
    let (first, of_b) = (("up", minute(0), 1.0), ("up", minute(0), 9.0));
    world.write(10, &[("a", &[first]), ("b", &[of_b])]).await;
    world.write(30, &[("a", &[("down", minute(0), 1.0)])]).await;
    world.rest().await;
    assert_eq!(world.stored("a").await.len(), 2);
    // Alone, and then as the first of two with the other after what was absorbed.
    world.write(20, &[("a", &[("up", minute(0), 2.0), ("down", minute(0), 2.0)])]).await;
    world.rest().await;
    world.write(25, &[("a", &[("up", minute(0), 3.0)])]).await;
    world.write(40, &[("a", &[("down", minute(0), 4.0)])]).await;
    world.rest().await;

    let of = |name: &str, value| ((name.to_owned(), minute(0)), value);
    assert_eq!(world.stored("a").await, [of("up", 1.0), of("down", 4.0)].into_iter().collect());
    let manifest = read_tenant_manifest(&*world.bucket, &tenant("a")).await.unwrap();
    assert_eq!((manifest.quarantined, manifest.segments.len()), (Vec::new(), 1));
    assert_eq!(manifest.ledger.total().samples, 2);
    assert_eq!(read_shard_manifest(&*world.bucket, SHARD).await.unwrap().merged.len(), 4);
}

/// Lets so many puts through, and no more.
#[derive(Debug)]
struct Breaks(AtomicU64);

#[async_trait]
impl Hook for Breaks {
    async fn before(&self, _: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError> {
        let Request::Put { key } = request else { return Ok(()) };
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        let denied = |_| BucketError::Denied {
            operation: crate::Operation::Put,
            key: key.to_owned(),
            source: "it broke off".into(),
        };
        left.map(drop).map_err(denied)
    }
}

/// A compactor breaks off after each of its puts in turn: also when some tenants have absorbed their parts of merged objects and others
/// have not. Then clients send everything again, and the next compactor absorbs the rest at once, or merges what was absorbed in part
/// with other objects first, since it waits for many tenants. Readers see each sample once, and each is counted once, all the time.
#[tokio::test(start_paused = true)]
async fn what_was_absorbed_in_part_is_seen_and_counted_once() {
    const TENANTS: [&str; 3] = ["a", "b", "c"];
    let (mut breaks, mut in_part) = (0, 0);
    for next_waits in [false, true] {
        for puts in 0.. {
            let world = World::new();
            let (early, late) =
                ([("up", minute(0), 1.0)], [("up", minute(1), 1.0), ("down", minute(0), 1.0)]);
            world.write(10, &TENANTS.map(|of| (of, &early[..]))).await;
            world.write(30, &[("a", &late), ("b", &late)]).await;
            tokio::time::sleep(Duration::from_secs(40 * 60)).await;
            while world.compactor().step().await.unwrap() != Step::Swept {}
            world.write(50, &[("b", &late), ("c", &late)]).await;
            // By this one the window is over.
            world.write(130, &[("a", &[("up", minute(130), 1.0)])]).await;
            tokio::time::sleep(Duration::from_secs(100 * 60)).await;
            let mut before = BTreeMap::new();
            for of in TENANTS {
                before.insert(of, world.seen(of).await);
            }

            let breaking = Hooked::new(Arc::clone(&world.bucket) as _, Breaks(AtomicU64::new(puts)));
            let mut broken = Compactor::new(world.parts(Arc::new(breaking)));
            let ended = loop {
                match broken.step().await {
                    Ok(Step::Rest) => break true,
                    Ok(_) => {}
                    Err(_) => break false,
                }
            };
            let mut counted = 0;
            for of in TENANTS {
                assert_eq!(world.seen(of).await, before[of], "{of} after {puts} puts");
                let (samples, all) = (world.ledger(of).await.samples, before[of].len() as u64);
                assert!([0, all].contains(&samples), "{samples} of {of} after {puts} puts");
                counted += u64::from(samples > 0);
            }
            (breaks, in_part) = (breaks + 1, in_part + u64::from((1..3).contains(&counted)));

            // All is sent again, and one sample is another now.
            let again: Vec<Sample> = early.iter().chain(&late).copied().collect();
            world.write(140, &TENANTS.map(|of| (of, &again[..]))).await;
            world.write(141, &[("b", &[("up", minute(0), 2.0)])]).await;
            tokio::time::sleep(Duration::from_secs(60 * 60)).await;
            let few_tenants = if next_waits { 0 } else { 200 };
            let parts = world.parts(Arc::clone(&world.bucket) as _);
            let settings = CompactorSettings { few_tenants, ..parts.settings.clone() };
            let mut next = Compactor::new(CompactorParts { settings, ..parts });
            let mut all: BTreeMap<(String, i64), f64> =
                again.iter().map(|(name, at_ms, value)| (((*name).to_owned(), *at_ms), *value)).collect();
            while next.step().await.unwrap() != Step::Rest {
                for of in TENANTS {
                    let seen = world.seen(of).await;
                    assert!(all.keys().all(|sample| seen.contains_key(sample)), "{of} after {puts} puts");
                }
            }
            world.rest().await;
            for of in TENANTS {
                all.insert(("up".to_owned(), minute(0)), if of == "b" { 2.0 } else { 1.0 });
                let mut of_tenant = all.clone();
                if of == "a" {
                    of_tenant.insert(("up".to_owned(), minute(130)), 1.0);
                }
                assert_eq!(world.seen(of).await, of_tenant, "{of} after {puts} puts");
                assert_eq!(world.stored(of).await, of_tenant, "{of} after {puts} puts");
                assert_eq!(world.ledger(of).await.samples, of_tenant.len() as u64, "{of} after {puts} puts");
            }
            let keys = world.keys().await;
            assert_eq!(keys.iter().filter(|key| key.starts_with("fresh/")).count(), 1, "{keys:?}");
            if ended {
                break;
            }
        }
    }
    assert!(breaks > 10 && in_part >= 4, "{in_part} of {breaks} broke off between tenants");
}

#[tokio::test(start_paused = true)]
async fn of_a_deleted_tenant_no_byte_is_left() {
    let world = World::new();
    let of_both: &[(&str, &[Sample])] =
        &[("gone", &[("up", minute(0), 1.0)]), ("stays", &[("up", minute(0), 2.0)])];
    world.write(1, of_both).await;
    world.rest().await;
    world.write(2, of_both).await;
    let gone = tenant("gone");
    let proof = prove_deleted(&*world.bucket, SHARD, &gone).await.unwrap();
    assert_eq!((proof.holds(), proof.footers_read, proof.found.len()), (false, 1, 3), "{proof:?}");
    let deleted = world.compactor().delete_tenant(&gone).await.unwrap();
    assert_eq!(deleted, 2);
    let proof = prove_deleted(&*world.bucket, SHARD, &gone).await.unwrap();
    assert_eq!(proof.found.len(), 1, "{proof:?}");
    world.rest().await;
    assert!(prove_deleted(&*world.bucket, SHARD, &gone).await.unwrap().holds());
    assert_eq!(world.stored("stays").await.len(), 1);
    // What a slow client still sends is dropped, too.
    world.write(3, of_both).await;
    world.rest().await;
    assert!(prove_deleted(&*world.bucket, SHARD, &gone).await.unwrap().holds());
    assert!(world.keys().await.iter().all(|key| !key.contains("gone")));
}

#[derive(Debug)]
struct KeepTwoDays;

impl RetentionPolicy for KeepTwoDays {
    fn retention(&self, _: &TenantId) -> Option<Duration> {
        Some(Duration::from_secs(2 * 24 * 3_600))
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_goes_and_stays_in_the_ledger() {
    let world = World::new();
    world
        .write(
            1,
            &[("a", &[("up", minute(-3_500), 1.0), ("up", minute(-2_000), 2.0), ("up", minute(0), 3.0)])],
        )
        .await;
    let parts =
        CompactorParts { retention: Arc::new(KeepTwoDays), ..world.parts(Arc::clone(&world.bucket) as _) };
    Compactor::new(parts).run_until_rest(|_| {}).await.unwrap();
    assert_eq!(world.ledger("a").await.samples, 3);
    let left = async || {
        let manifest = read_tenant_manifest(&*world.bucket, &tenant("a")).await.unwrap();
        let of = |resolution| manifest.segments.iter().filter(|of| of.resolution == resolution).count();
        let counts = [Resolution::Raw, Resolution::FiveMinutes, Resolution::OneHour].map(of);
        let keys = world.keys().await.into_iter().filter(|key| key.starts_with("t/a/"));
        assert_eq!(keys.count(), counts.iter().sum::<usize>() + 1, "no more than what the manifest names");
        counts
    };
    // The days before today were thinned, and of the first that is what is left.
    assert_eq!(left().await, [2, 2, 2]);
    assert_eq!(world.stored("a").await.len(), 3);
    let after = async |days: u64| {
        tokio::time::sleep(Duration::from_secs(days * 24 * 3_600)).await;
        let bucket = Arc::clone(&world.bucket) as _;
        let parts = CompactorParts { retention: Arc::new(KeepTwoDays), ..world.parts(bucket) };
        Compactor::new(parts).run_until_rest(|_| {}).await.unwrap();
    };
    after(3).await;
    assert_eq!(left().await, [0, 2, 2]);
    after(5).await;
    assert_eq!(left().await, [0, 0, 2]);
    after(20).await;
    assert_eq!(left().await, [0, 0, 0]);
    assert_eq!(world.ledger("a").await.samples, 3);
}

#[tokio::test(start_paused = true)]
async fn what_is_left_behind_is_deleted_and_graces_are_kept() {
    let world = World::new();
    let key = world.write(1, &[("a", &[("up", minute(0), 1.0)])]).await;
    let left = |name: &str| format!("{name}{}", ObjectId::new(DAY_MS, 99));
    let orphans = [
        left(&ShardManifest::merged_prefix(SHARD)),
        left(&TenantManifest::prefix(&tenant("a"))),
        left(&TenantManifest::prefix(&tenant("never-committed"))),
    ];
    for key in &orphans {
        world.bucket.put(key, Bytes::from_static(b"x"), PutCondition::Always, None).await.unwrap();
    }
    let patient = || {
        let settings = CompactorSettings::default();
        Compactor::new(CompactorParts { settings, ..world.parts(Arc::clone(&world.bucket) as _) })
    };
    patient().run_until_rest(|_| {}).await.unwrap();
    let keys = world.keys().await;
    assert!(orphans.iter().chain([&key.to_string()]).all(|key| keys.contains(key)), "{keys:?}");
    tokio::time::sleep(Duration::from_secs(11 * 60)).await;
    patient().run_until_rest(|_| {}).await.unwrap();
    assert!(!world.keys().await.contains(&key.to_string()));
    tokio::time::sleep(Duration::from_secs(60 * 60)).await;
    patient().run_until_rest(|_| {}).await.unwrap();
    patient().run_until_rest(|_| {}).await.unwrap();
    let keys = world.keys().await;
    assert!(orphans.iter().all(|key| !keys.contains(key)), "{keys:?}");
    assert_eq!(world.stored("a").await.len(), 1);
}

/// What is asked of the bucket for each tenant is to read and to replace its manifest and to put its segment, and once a day to read its
/// manifest; and nothing when there is nothing to do.
#[tokio::test(start_paused = true)]
async fn few_requests_are_for_one_tenant_and_at_rest_none() {
    let mut asked = Vec::new();
    for tenants in [10_u64, 110] {
        let world = World::new();
        let names: Vec<String> = (0..tenants).map(|number| format!("t{number}")).collect();
        let samples = [("up", minute(0), 1.0)];
        let of_all: Vec<(&str, &[Sample])> = names.iter().map(|name| (name.as_str(), &samples[..])).collect();
        for at in 0..5 {
            world.write(at, &of_all).await;
        }
        // By this one the window is over.
        world.write(130, &of_all[..1]).await;
        tokio::time::sleep(Duration::from_secs(140 * 60)).await;
        let counted = Arc::new(Counted::new(Arc::clone(&world.bucket) as _));
        let settings = CompactorSettings::default();
        let parts = CompactorParts { settings, ..world.parts(Arc::clone(&counted) as _) };
        let mut compactor = Compactor::new(parts);
        let mut of_rounds = [0; 3];
        for of_round in &mut of_rounds {
            let before = counted.counts().total();
            while compactor.step().await.unwrap() != Step::Rest {}
            *of_round = counted.counts().total() - before;
            tokio::time::sleep(CompactorSettings::default().sweep_interval).await;
        }
        assert_eq!(compactor.stats().absorptions, tenants);
        asked.push(of_rounds);
    }
    // And one look at the shard's manifest for each few tenants.
    let more = asked[1][0] - asked[0][0];
    assert!((400..=410).contains(&more), "{asked:?}");
    assert_eq!(asked[1][1..], asked[0][1..], "looking through everything is a listing");
}

/// Compactors that race each other over a bucket that fails in every way: each sample is there once and counted once.
#[tokio::test(start_paused = true)]
async fn races_and_faults_lose_nothing_and_count_nothing_twice() {
    for seed in 0..4 {
        let world = World::new();
        let mut rng = Seed::from_number(seed).rng();
        let faulty = Arc::new(Faulty::new(
            Arc::clone(&world.bucket) as _,
            Faults::often(),
            &Seed::from_number(seed + 1_000),
        ));
        let mut expected: BTreeMap<(String, i64), f64> = BTreeMap::new();
        for round in 0..4_i64 {
            for number in 0..20_i64 {
                let at = minute(rng.random_range(0..300));
                let name = ["up", "down"][rng.random_range(0..2_usize)];
                let value = (round * 100 + number) as f64;
                world
                    .write(
                        round * 150 + number,
                        &[("a", &[(name, at, value)]), ("b", &[("other", at, value)])],
                    )
                    .await;
                expected.insert((name.to_owned(), at), value);
            }
            let compactors = (0..2).map(|number| {
                let bucket = Arc::clone(&faulty) as Arc<dyn Bucket>;
                let retrying = Retrying::new(
                    bucket,
                    Arc::clone(&world.clock) as _,
                    &Seed::from_number(seed * 7 + number),
                );
                let settings =
                    CompactorSettings { interval: Duration::from_secs(2), ..CompactorSettings::default() };
                let parts = world.parts(Arc::new(retrying));
                let mut compactor = Compactor::new(CompactorParts { settings, ..parts });
                async move {
                    for _ in 0..12 {
                        // Whatever went wrong, the next try begins anew.
                        let _ = compactor.run_until_rest(|_| {}).await;
                        tokio::time::sleep(Duration::from_secs(17)).await;
                    }
                }
            });
            futures::future::join_all(compactors).await;
        }
        faulty.heal();
        tokio::time::sleep(Duration::from_secs(2 * 3_600)).await;
        for _ in 0..3 {
            world.rest().await;
        }
        assert_eq!(world.stored("a").await, expected, "seed {seed}");
        assert_eq!(world.ledger("a").await.samples, expected.len() as u64, "seed {seed}");
        let keys = world.keys().await;
        assert_eq!(keys.iter().filter(|key| key.starts_with("fresh/")).count(), 1, "seed {seed}: {keys:?}");
        // One day, one segment; and the manifest.
        assert_eq!(keys.iter().filter(|key| key.starts_with("t/a/")).count(), 2, "seed {seed}: {keys:?}");
    }
}
