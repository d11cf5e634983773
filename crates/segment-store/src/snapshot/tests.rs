use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use storage_format::{FreshPartition, Signal, encode_fresh};
use telemetry::MetricBatch;

use super::*;
use crate::testing::{MemoryBucket, float_rows, floats_of, tenant};
use crate::{Counted, GetRange, ObjectId, PutCondition};

const SHARD: ShardId = ShardId(3);

fn batch(name: &str, value: f64) -> MetricBatch {
    MetricBatch::from_rows(vec![float_rows(&[(name, 5, value)])])
}

async fn put(bucket: &dyn Bucket, key: &str, body: impl Into<Bytes>) {
    bucket.put(key, body.into(), PutCondition::IfAbsent, None).await.unwrap();
}

/// Puts a segment of tenants `a` and `b` at `time_ms`.
async fn put_segment(bucket: &dyn Bucket, time_ms: i64) -> FreshObject {
    let (a, b) = (tenant("a"), tenant("b"));
    let (of_a, of_b) = (batch("of_a", time_ms as f64), batch("of_b", time_ms as f64));
    let parts =
        [FreshPartition { tenant: &a, metrics: &of_a }, FreshPartition { tenant: &b, metrics: &of_b }];
    let body = encode_fresh(&parts).unwrap();
    let object = FreshObject { key: SegmentKey::new(SHARD, time_ms, 1), len: body.len() as u64 };
    put(bucket, &object.key.to_string(), body).await;
    object
}

#[tokio::test]
async fn a_listing_is_in_segment_order_over_pages_and_passes_over_what_is_no_segment() {
    let bucket = Counted::new(Arc::new(MemoryBucket::default()));
    let keys: Vec<SegmentKey> = (0..2_500).map(|n| SegmentKey::new(SHARD, 1_000 + n / 3, n as u64)).collect();
    for key in keys.iter().rev() {
        put(&bucket, &key.to_string(), "x").await;
    }
    for stray in ["fresh/3/manifest", "fresh/3/a-stray-name", "fresh/30/x", "fresh/2/manifest"] {
        put(&bucket, stray, "stray").await;
    }
    let listed = list_fresh(&bucket, SHARD, None).await.unwrap();
    assert_eq!(listed.iter().map(|object| object.key).collect::<Vec<_>>(), keys);
    assert!(listed.iter().all(|object| object.len == 1));
    assert_eq!(bucket.counts().of(crate::Operation::List), 3);
    let after = list_fresh(&bucket, SHARD, Some(&keys[2_400])).await.unwrap();
    assert_eq!(after.iter().map(|object| object.key).collect::<Vec<_>>(), keys[2_401..]);
}

#[tokio::test]
async fn a_tenants_part_is_read_by_ranges_and_all_parts_at_once() {
    let bucket = Counted::new(Arc::new(MemoryBucket::default()));
    let object = put_segment(&bucket, 77).await;
    let footer = read_fresh_footer(&bucket, &object).await.unwrap();
    let entry = footer.find(&tenant("b"), Signal::Metrics).unwrap();
    let part = read_fresh_partition(&bucket, &object, entry).await.unwrap();
    assert_eq!(floats_of(&part), [("of_b".to_owned(), 5, 77.0)]);
    assert_eq!(bucket.counts().of(crate::Operation::Get), 2);

    let all = read_fresh_partitions(&bucket, &object).await.unwrap();
    let all: Vec<_> =
        all.iter().map(|(of, batch)| (of.as_str(), floats_of(batch.as_ref().unwrap()))).collect();
    assert_eq!(all, [("a", vec![("of_a".to_owned(), 5, 77.0)]), ("b", vec![("of_b".to_owned(), 5, 77.0)])]);
    assert_eq!(bucket.counts().of(crate::Operation::Get), 3);
}

#[tokio::test]
async fn a_damaged_part_is_damage_of_its_tenant_alone() {
    let bucket = MemoryBucket::default();
    let object = put_segment(&bucket, 77).await;
    let footer = read_fresh_footer(&bucket, &object).await.unwrap();
    let key = object.key.to_string();
    let mut body = bucket.get(&key, GetRange::Full).await.unwrap().body.to_vec();
    let of_a = footer.find(&tenant("a"), Signal::Metrics).unwrap().range.clone();
    body[(of_a.start + of_a.end) as usize / 2] ^= 1;
    bucket.put(&key, body.into(), PutCondition::Always, None).await.unwrap();
    let parts = read_fresh_partitions(&bucket, &object).await.unwrap();
    let [(a, of_a), (b, of_b)] = &parts[..] else { panic!("{parts:?}") };
    assert_eq!((a.as_str(), b.as_str()), ("a", "b"));
    assert!(
        matches!(of_a, Err(ReadError::Segment { key, .. }) if *key == object.key.to_string()),
        "{of_a:?}"
    );
    assert_eq!(floats_of(of_b.as_ref().unwrap()), [("of_b".to_owned(), 5, 77.0)]);
}

#[tokio::test]
async fn errors_name_the_object() {
    let bucket = MemoryBucket::default();
    let key = SegmentKey::new(SHARD, 9, 9);
    put(&bucket, &key.to_string(), "no segment at all").await;
    let damaged = FreshObject { key, len: 17 };
    let gone = FreshObject { key: SegmentKey::new(SHARD, 8, 8), len: 17 };
    let errors = [
        read_fresh_footer(&bucket, &damaged).await.err(),
        read_fresh_partitions(&bucket, &damaged).await.err(),
        read_fresh_footer(&bucket, &gone).await.err(),
        read_fresh_partitions(&bucket, &gone).await.err(),
    ];
    for (number, error) in errors.into_iter().enumerate() {
        let (error, is_gone) = (error.unwrap(), number >= 2);
        let named = if is_gone { gone.key } else { damaged.key };
        assert!(error.to_string().contains(&named.to_string()), "{error}");
        assert_eq!(matches!(error, ReadError::Gone(_)), is_gone, "{error:?}");
        assert_eq!(error.is_retryable(), is_gone);
    }
}

#[tokio::test]
async fn a_snapshot_lists_before_it_reads_manifests() {
    let memory = Arc::new(MemoryBucket::default());
    let object = put_segment(&*memory, 5).await;
    let bucket = Counted::new(Arc::clone(&memory) as _);
    let snapshot = Snapshot::take(&bucket, SHARD, &tenant("a")).await.unwrap();
    assert_eq!(snapshot.fresh, [object]);
    assert_eq!(bucket.counts().requests, [0, 2, 0, 1, 0]);

    // What manifests have absorbed is taken off.
    let (in_tenant, in_shard) = (ObjectId::new(6, 1), ObjectId::new(6, 2));
    let merged = |id| Merged {
        id,
        len: 1,
        tier: 1,
        first: object.key,
        last: object.key,
        samples: 1,
        tenants: 1,
        fresh: 1,
    };
    let shard = ShardManifest {
        merged: vec![merged(in_tenant), merged(in_shard)],
        absorbed: [(object.key, 1)].into(),
        ..ShardManifest::default()
    };
    let of_a = TenantManifest { absorbed: [in_tenant].into(), ..TenantManifest::default() };
    put(&*memory, &ShardManifest::key(SHARD), shard.encode().unwrap()).await;
    put(&*memory, &TenantManifest::key(&tenant("a")), of_a.encode().unwrap()).await;
    let snapshot = Snapshot::take(&bucket, SHARD, &tenant("a")).await.unwrap();
    assert_eq!((snapshot.fresh, snapshot.merged), (vec![], vec![merged(in_shard)]));
    let of_other = Snapshot::take(&bucket, SHARD, &tenant("b")).await.unwrap();
    assert_eq!(of_other.merged.len(), 2);

    // A manifest that this version cannot read is never taken for an empty one.
    let key = ShardManifest::key(SHARD);
    memory.put(&key, "from the future".into(), PutCondition::Always, None).await.unwrap();
    let error = Snapshot::take(&bucket, SHARD, &tenant("a")).await.unwrap_err();
    assert!(error.to_string().contains(&key) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn who_meets_a_deleted_object_starts_over_but_not_for_ever() {
    let bucket = MemoryBucket::default();
    let a = tenant("a");
    let (first, second) = (put_segment(&bucket, 1).await, put_segment(&bucket, 2).await);
    let reads = AtomicUsize::new(0);
    let found = read_in_snapshot(&bucket, SHARD, &a, async |snapshot| {
        if reads.fetch_add(1, Ordering::Relaxed) == 0 {
            bucket.delete_many(&[first.key.to_string()]).await?;
        }
        for object in &snapshot.fresh {
            read_fresh_partitions(&bucket, object).await?;
        }
        Ok(snapshot.fresh)
    });
    assert_eq!(found.await.unwrap(), [second]);
    assert_eq!(reads.load(Ordering::Relaxed), 2);

    let reads = AtomicUsize::new(0);
    let never = read_in_snapshot(&bucket, SHARD, &a, async |_| {
        reads.fetch_add(1, Ordering::Relaxed);
        Err::<(), _>(ReadError::Gone(first.key.to_string()))
    });
    assert!(matches!(never.await, Err(ReadError::Gone(key)) if key == first.key.to_string()));
    assert_eq!(reads.load(Ordering::Relaxed), MAX_SNAPSHOTS);
}
