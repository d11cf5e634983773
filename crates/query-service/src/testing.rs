//! What this crate's tests share: a shard in a bucket, with tenants, keys, a tail and an engine.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use segment_store::{Bucket, Clock, ManualClock, PutCondition, SegmentKey, ShardId};
use storage_format::{FreshPartition, encode_fresh};
use telemetry::{FloatRow, Labels, MetricBatch, MetricRows, Series, TenantId};
use tenancy::{Access, ApiKey, DirectoryDocument, DirectorySigner, KeyEntry, Limits, Scope, TenantEntry};
use tokio::sync::watch;

use crate::{
    CacheParts, CacheSettings, EngineParts, PageCache, QueryEngine, QuerySettings, Segments, SegmentsParts,
    SegmentsSettings, Tail,
};

/// When tests happen: 2026-11-22 12:00 UTC.
pub(crate) const NOW_MS: i64 = 1_795_348_800_000;

pub(crate) fn tenant_id(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

pub(crate) fn series(pairs: &[(&str, &str)]) -> Arc<Series> {
    Arc::new(Series::new(Labels::from_pairs(pairs.iter().copied()).unwrap()))
}

/// A batch of float samples of `up{job=…}`: (job, timestamp, value).
pub(crate) fn up(samples: &[(&str, i64, f64)]) -> MetricBatch {
    let row = |&(job, timestamp_ms, value): &(&str, i64, f64)| FloatRow {
        series: series(&[("__name__", "up"), ("job", job)]),
        timestamp_ms,
        value,
    };
    MetricBatch::from_rows(vec![MetricRows {
        floats: samples.iter().map(row).collect(),
        ..MetricRows::default()
    }])
}

pub(crate) fn segment(number: i64) -> SegmentKey {
    SegmentKey::new(ShardId(0), NOW_MS + number, 7)
}

/// Stores a segment as a writer does.
pub(crate) async fn store(bucket: &dyn Bucket, key: SegmentKey, partitions: &[(&str, MetricBatch)]) {
    let tenants: Vec<TenantId> = partitions.iter().map(|(name, _)| tenant_id(name)).collect();
    let parts: Vec<FreshPartition<'_>> = tenants
        .iter()
        .zip(partitions)
        .map(|(tenant, (_, metrics))| FreshPartition { tenant, metrics })
        .collect();
    let body = Bytes::from(encode_fresh(&parts).unwrap());
    bucket.put(&key.to_string(), body, PutCondition::IfAbsent, None).await.unwrap();
}

/// What reads from `bucket` beside `tail`, with a cache in memory.
pub(crate) fn segments(tail: &Arc<Tail>, bucket: &Arc<dyn Bucket>, clock: Arc<dyn Clock>) -> Arc<Segments> {
    let parts = CacheParts {
        bucket: Arc::clone(bucket),
        clock: Arc::clone(&clock),
        settings: CacheSettings::default(),
    };
    // Nothing has to be waited for without a disk.
    let cache = PageCache::open(parts).now_or_never().unwrap().unwrap();
    Segments::new(SegmentsParts {
        bucket: Arc::clone(bucket),
        cache,
        shard: ShardId(0),
        tail: Arc::clone(tail),
        clock,
        settings: SegmentsSettings::default(),
    })
}

/// An engine over `tail` whose follower has caught up and warmed up, or never does.
pub(crate) fn engine(
    tail: &Arc<Tail>,
    bucket: Arc<dyn Bucket>,
    (caught_up, warm): (watch::Receiver<bool>, watch::Receiver<bool>),
    settings: QuerySettings,
) -> QueryEngine {
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW_MS));
    QueryEngine::new(EngineParts {
        segments: segments(tail, &bucket, Arc::clone(&clock)),
        warm,
        caught_up,
        shard: ShardId(0),
        clock,
        settings,
    })
}

pub(crate) fn always_caught_up() -> watch::Receiver<bool> {
    watch::channel(true).1
}

/// The directory of some tenants, each with a key for reading; and these keys as `Authorization` headers, by tenant.
pub(crate) fn directory(tenants: &[(&str, Limits, Scope)]) -> (Arc<Access>, Vec<String>) {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let signer = DirectorySigner::generate(&mut rng);
    let (mut entries, mut headers) = (Vec::new(), Vec::new());
    for (name, limits, scope) in tenants {
        let key = ApiKey::generate(&mut rng);
        headers.push(format!("Bearer {}", key.expose()));
        let key = KeyEntry::of(&key, [*scope]);
        entries.push(TenantEntry {
            id: (*name).to_owned(),
            shard: 0,
            retention_days: 30,
            home_cell: None,
            limits: limits.clone(),
            keys: vec![key],
        });
    }
    let document = DirectoryDocument { version: 1, issued_at_ms: NOW_MS, tenants: entries };
    let published = document.publish(&signer).unwrap();
    (Arc::new(Access::new(&published, signer.verifier(), None, NOW_MS).unwrap()), headers)
}
