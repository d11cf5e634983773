//! How quickly are queries answered from a compacted segment: cold, with its bytes at hand, and with everything in memory?
//!
//! Setup: one tenant segment of 50,000 series (counters and gauges of 500 pods, ten labels), scraped every 15 s for an hour: 12
//! million samples. `sum by (namespace) (rate(…[5m]))` over all of them each 15 s of the hour, and for one instant. The bucket is
//! in memory and takes no time. And look-ups of labels and series of the same segment, warm, with the whole way of a request but the
//! socket. Run: `cargo bench -p query-service --bench segments`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http_body_util::BodyExt;
use promql::{EvalOptions, Window};
use query_service::{
    CacheParts, CacheSettings, EngineParts, FetchLimits, HttpParts, Needs, PageCache, QueryEngine,
    QuerySettings, Scope, Segments, SegmentsParts, SegmentsSettings, Tail, TenantSource, router,
};
use rand::{Rng, SeedableRng};
use rand_chacha::{ChaCha8Rng, ChaCha20Rng};
use segment_store::testing::MemoryBucket;
use segment_store::{
    Bucket, Clock, Level, ObjectId, PutCondition, Resolution, SegmentEntry, SegmentKey, ShardId,
    ShardManifest, SystemClock, TenantManifest,
};
use storage_format::TenantSegmentWriter;
use storage_format::tenant::SeriesSamples;
use telemetry::{Labels, TenantId};
use tenancy::{
    Access, ApiKey, DirectoryDocument, DirectorySigner, KeyEntry, Limits, Scope as KeyScope, TenantEntry,
};
use tokio::sync::watch;
use tower::ServiceExt;

const PODS: usize = 500;
const METRICS: usize = 100;
const SCRAPES: i64 = 240;
const SCRAPE_MS: i64 = 15_000;
const START_MS: i64 = 1_795_348_800_000;
const SHARD: ShardId = ShardId(0);
const QUERY: &str = "sum by (namespace) (rate({__name__=~\"container_metric_.*\"}[5m]))";

fn labels(pod: usize, metric: usize) -> Labels {
    let pairs = [
        ("__name__", format!("container_metric_{metric:03}_total")),
        ("cluster", "production-eu-1".to_owned()),
        ("namespace", format!("team-{}", pod % 20)),
        ("deployment", format!("service-{}", pod / 4)),
        ("pod", format!("service-{}-7d9f8b6c5-{:05x}", pod / 4, pod * 7919)),
        ("container", "app".to_owned()),
        ("instance", format!("10.0.{}.{}:9090", pod / 250, pod % 250)),
        ("job", "kubernetes-pods".to_owned()),
        ("node", format!("ip-10-0-0-{}.internal", pod % 50)),
        ("zone", format!("eu-1{}", ["a", "b", "c"][pod % 3])),
    ];
    Labels::from_pairs(pairs).unwrap()
}

/// A bucket with one compacted segment and the manifests that name it.
async fn compacted() -> Arc<dyn Bucket> {
    let bucket = MemoryBucket::default();
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let jitter: Vec<i64> = (0..PODS).map(|_| rng.random_range(0..SCRAPE_MS)).collect();
    let mut series: Vec<(Labels, usize)> =
        (0..PODS).flat_map(|pod| (0..METRICS).map(move |metric| (labels(pod, metric), pod))).collect();
    series.sort();
    let mut writer = TenantSegmentWriter::new(tenant()).unwrap();
    let mut object = Vec::new();
    for (place, (labels, pod)) in series.iter().enumerate() {
        let timestamps_ms: Vec<i64> =
            (0..SCRAPES).map(|scrape| START_MS + jitter[*pod] + scrape * SCRAPE_MS).collect();
        let mut value = 0.0;
        let values: Vec<f64> = (0..SCRAPES)
            .map(|_| {
                match place % 4 {
                    0 => value += f64::from(rng.random_range(0..200_u32)),
                    1 => value += 1.0,
                    2 => value = f64::from(rng.random_range(0..10_000_u32)) / 100.0,
                    _ => value = 1.0,
                }
                value
            })
            .collect();
        let samples = SeriesSamples {
            labels,
            timestamps_ms: &timestamps_ms,
            values: &values,
            histograms: &[],
            exemplars: &[],
            omitted: &[],
        };
        writer.push(samples).unwrap();
        object.extend(writer.take_output());
    }
    let (rest, summary) = writer.finish().unwrap();
    object.extend(rest);
    println!("segment: {:.2} B a sample", object.len() as f64 / summary.counts.samples as f64);
    let (id, key) = (ObjectId::new(START_MS, 1), SegmentKey::new(SHARD, START_MS, 1));
    let entry = SegmentEntry {
        id,
        len: summary.len_bytes,
        index_start: summary.index_start,
        window: Level::Day.window_of(START_MS),
        min_time_ms: summary.min_time_ms,
        max_time_ms: summary.max_time_ms,
        first: key,
        last: key,
        counts: summary.counts,
        distinct: summary.counts.samples,
        resolution: Resolution::Raw,
    };
    let tenants = TenantManifest { generation: 1, segments: vec![entry], ..TenantManifest::default() };
    let shards = ShardManifest { generation: 1, ..ShardManifest::default() };
    for (key, body) in [
        (TenantManifest::segment_key(&tenant(), &id), object),
        (TenantManifest::key(&tenant()), tenants.encode().unwrap()),
        (ShardManifest::key(SHARD), shards.encode().unwrap()),
    ] {
        bucket.put(&key, Bytes::from(body), PutCondition::IfAbsent, None).await.unwrap();
    }
    Arc::new(bucket)
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

/// A process that has just started; its decoded data takes `decoded_memory_bytes` at most.
async fn started(bucket: &Arc<dyn Bucket>, decoded_memory_bytes: usize) -> Arc<Segments> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let settings = CacheSettings::default();
    let parts = CacheParts { bucket: Arc::clone(bucket), clock: Arc::clone(&clock), settings };
    let segments = Segments::new(SegmentsParts {
        bucket: Arc::clone(bucket),
        cache: PageCache::open(parts).await.unwrap(),
        shard: SHARD,
        tail: Arc::new(Tail::default()),
        clock,
        settings: SegmentsSettings { decoded_memory_bytes, ..SegmentsSettings::default() },
    });
    segments.begin().await.unwrap();
    segments
}

/// Answers [`QUERY`]; returns how many series the answer has.
async fn ask(segments: &Arc<Segments>, window: Window) -> usize {
    let threads = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let options = EvalOptions { threads, ..EvalOptions::default() };
    let expr = promql::parse(QUERY).unwrap();
    let plan = promql::plan(&expr, window, &options).unwrap();
    let selections = plan.selections();
    let scope = Scope {
        time_range_ms: (selections[0].start_ms, selections[0].end_ms),
        with_provisional: true,
        needs: Needs::Samples(selections.into()),
    };
    let limits = FetchLimits { bytes: u64::MAX, memory_bytes: 2 << 30 };
    let source = TenantSource::fetch(segments, &tenant(), &scope, limits).await.unwrap();
    let output = promql::evaluate(&plan, &source, &options).unwrap();
    let samples = output.stats.samples;
    assert!(samples >= (PODS * METRICS * 19) as u64, "{samples}");
    samples as usize
}

fn queries(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    let bucket = runtime.block_on(compacted());
    let end_ms = START_MS + SCRAPES * SCRAPE_MS;
    let hour = Window { start_ms: START_MS, end_ms, step_ms: SCRAPE_MS };
    let mut group = c.benchmark_group("sum by (rate) over 50,000 series");
    group.sample_size(10).measurement_time(Duration::from_secs(10));
    for (name, window) in [("an hour", hour), ("an instant", Window::instant(end_ms))] {
        group.bench_function(format!("{name}, cold"), |b| {
            b.iter_batched(
                || runtime.block_on(started(&bucket, 256 << 20)),
                |segments| runtime.block_on(ask(&segments, window)),
                criterion::BatchSize::PerIteration,
            );
        });
        let undecoded = runtime.block_on(started(&bucket, 16 << 20));
        runtime.block_on(ask(&undecoded, window));
        group.bench_function(format!("{name}, bytes in memory"), |b| {
            b.iter(|| runtime.block_on(ask(&undecoded, window)));
        });
        let warm = runtime.block_on(started(&bucket, 256 << 20));
        runtime.block_on(ask(&warm, window));
        group.bench_function(format!("{name}, warm"), |b| {
            b.iter(|| runtime.block_on(ask(&warm, window)));
        });
    }
    group.finish();
}

/// The HTTP API over `segments`, and the credential for it.
fn served(segments: Arc<Segments>) -> (Router, String) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let (signer, key) = (DirectorySigner::generate(&mut rng), ApiKey::generate(&mut rng));
    let acme = TenantEntry {
        id: tenant().as_str().to_owned(),
        shard: SHARD.0,
        retention_days: 30,
        home_cell: None,
        limits: Limits::default(),
        keys: vec![KeyEntry::of(&key, [KeyScope::MetricsRead])],
    };
    let document = DirectoryDocument { version: 1, issued_at_ms: clock.now_ms(), tenants: vec![acme] };
    let published = document.publish(&signer).unwrap();
    let access = Access::new(&published, signer.verifier(), None, clock.now_ms()).unwrap();
    let ready = watch::channel(true).1;
    let engine = QueryEngine::new(EngineParts {
        caught_up: ready.clone(),
        warm: ready,
        segments,
        shard: SHARD,
        clock,
        settings: QuerySettings::default(),
    });
    let parts = HttpParts { engine: Arc::new(engine), access: Arc::new(access) };
    (router(parts), format!("Bearer {}", key.expose()))
}

fn look_ups(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let segments = runtime.block_on(async { started(&compacted().await, 256 << 20).await });
    let (router, credential) = served(segments);
    let ask = async |path: &str| {
        let request =
            Request::get(path).header(header::AUTHORIZATION, &credential).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.into_body().collect().await.unwrap().to_bytes().len()
    };
    let at = START_MS / 1000 + 1800;
    let mut group = c.benchmark_group("a segment of 50,000 series");
    for (name, path) in [
        ("label names", "/api/v1/labels".to_owned()),
        ("label names of a metric", "/api/v1/labels?match[]=container_metric_007_total".to_owned()),
        ("metric names", "/api/v1/label/__name__/values".to_owned()),
        ("values of pod", "/api/v1/label/pod/values".to_owned()),
        ("series of a metric", "/api/v1/series?match[]=container_metric_007_total".to_owned()),
        ("series by prefix", "/api/v1/series?match[]=%7Bpod=~%22service-1.*%22%7D".to_owned()),
        (
            "series of all, 1000 at most",
            "/api/v1/series?match[]=%7B__name__!=%22%22%7D&limit=1000".to_owned(),
        ),
        (
            "one series, instant",
            format!(
                "/api/v1/query?query=container_metric_007_total%7Binstance=%2210.0.0.7:9090%22%7D&time={at}"
            ),
        ),
    ] {
        assert!(runtime.block_on(ask(&path)) > 100, "{name}");
        group.bench_function(name, |b| b.iter(|| runtime.block_on(ask(&path))));
    }
    group.finish();
}

criterion_group!(benches, queries, look_ups);
criterion_main!(benches);
