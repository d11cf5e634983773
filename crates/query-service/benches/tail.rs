//! What does the tail cost: nanoseconds of CPU a sample from its offer to its place in a chunk, memory a series and a
//! sample, and how quickly queries get them back?
//!
//! Setup: 50,000 series of a Kubernetes-like cluster (counters, gauges, constants; ten labels), scraped every 15 s with a
//! jitter of a few ms, in batches of about 3,000 samples as requests bring them. Run:
//! `cargo bench -p query-service --bench tail`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use promql::{MatchOp, Matcher, Reading, Selection, SeriesSamples, SeriesSource};
use query_service::{
    CacheParts, CacheSettings, FetchLimits, Needs, PageCache, Scope, Segments, SegmentsParts,
    SegmentsSettings, Tail, TailSettings, TenantSource,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use segment_store::testing::MemoryBucket;
use segment_store::{Bucket, Clock, FlushOutcome, SegmentKey, ShardId, SystemClock, TailOffer, TailSink};
use telemetry::{FloatRow, Labels, MetricBatch, MetricRows, Series, TenantId};

const SERIES: usize = 50_000;
const BATCHES: usize = 17;
const SCRAPE_MS: i64 = 15_000;
const START_MS: i64 = 1_795_348_800_000;

/// Makes scrapes of the same series, one batch after the other.
struct Workload {
    series: Vec<Arc<Series>>,
    values: Vec<f64>,
    rng: ChaCha8Rng,
    batches: usize,
}

impl Workload {
    fn new() -> Self {
        let labels = |index: usize| {
            let (pod, metric) = (index / 100, index % 100);
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
            Arc::new(Series::new(Labels::from_pairs(pairs).unwrap()))
        };
        let series: Vec<Arc<Series>> = (0..SERIES).map(labels).collect();
        telemetry::series::rank(series.clone());
        let rng = ChaCha8Rng::seed_from_u64(1);
        Self { values: vec![0.0; series.len()], series, rng, batches: 0 }
    }

    fn next_batch(&mut self) -> MetricBatch {
        let (round, part) = (self.batches / BATCHES, self.batches % BATCHES);
        self.batches += 1;
        let mut rows = MetricRows::default();
        let mut timestamp_ms = 0;
        for index in part * SERIES / BATCHES..(part + 1) * SERIES / BATCHES {
            if index % 100 == 0 || timestamp_ms == 0 {
                // A target's samples share the time of its scrape.
                timestamp_ms = START_MS + round as i64 * SCRAPE_MS + self.rng.random_range(0..5);
            }
            let value = &mut self.values[index];
            match index % 4 {
                0 => *value += f64::from(self.rng.random_range(0..200_u32)),
                1 => *value += 1.0,
                2 => *value = f64::from(self.rng.random_range(0..10_000_u32)) / 100.0,
                _ => *value = 1.0,
            }
            rows.floats.push(FloatRow {
                series: Arc::clone(&self.series[index]),
                timestamp_ms,
                value: *value,
            });
        }
        MetricBatch::from_rows(vec![rows])
    }
}

fn tenant() -> TenantId {
    TenantId::new("acme").unwrap()
}

fn feed(tail: &Tail, number: usize, batch: MetricBatch) {
    let segment = SegmentKey::new(ShardId(0), START_MS + number as i64, 0);
    tail.offer(TailOffer { segment, partitions: vec![(tenant(), Arc::new(batch))] });
    tail.settle(&segment, FlushOutcome::Durable);
}

/// A tail with `rounds` scrapes.
fn filled(rounds: usize) -> (Tail, Workload) {
    let tail = Tail::new(TailSettings { memory_bytes: 1 << 30, generation_bytes: 1 << 30 });
    let mut workload = Workload::new();
    for number in 0..rounds * BATCHES {
        feed(&tail, number, workload.next_batch());
    }
    (tail, workload)
}

fn append(c: &mut Criterion) {
    let (tail, mut workload) = filled(2);
    let mut group = c.benchmark_group("tail");
    group.throughput(Throughput::Elements((SERIES / BATCHES) as u64));
    group.bench_function("offer and settle, known series", |b| {
        b.iter_batched(
            || (workload.batches, workload.next_batch()),
            |(number, batch)| feed(&tail, number, batch),
            BatchSize::NumIterations(1),
        );
    });
    group.bench_function("offer and settle, new series", |b| {
        b.iter_batched(
            || (Tail::default(), Workload::new().next_batch()),
            |(tail, batch)| {
                feed(&tail, 0, batch);
                tail
            },
            BatchSize::NumIterations(1),
        );
    });
    group.finish();
}

fn memory(_: &mut Criterion) {
    for rounds in [1, 20, 240] {
        let (tail, _) = filled(rounds);
        let bytes = tail.stats().memory_bytes as f64;
        let (a_series, a_sample) = (bytes / SERIES as f64, bytes / (SERIES * rounds) as f64);
        println!(
            "memory after {rounds} scrapes: {a_series:.0} B a series, labels and index included ({a_sample:.2} B a sample)"
        );
    }
}

fn read(c: &mut Criterion) {
    let (tail, _) = filled(240);
    let time_range_ms = (START_MS, START_MS + 240 * SCRAPE_MS);
    let scope = Scope { time_range_ms, with_provisional: true, needs: Needs::Labels };
    let no_limits = FetchLimits { bytes: 0, memory_bytes: 0 };
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let source = runtime.block_on(async {
        let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let settings = CacheSettings::default();
        let parts = CacheParts { bucket: Arc::clone(&bucket), clock: Arc::clone(&clock), settings };
        let cache = PageCache::open(parts).await.unwrap();
        let (shard, tail) = (ShardId(0), Arc::new(tail));
        let settings = SegmentsSettings::default();
        let segments = Segments::new(SegmentsParts { bucket, cache, shard, tail, clock, settings });
        TenantSource::fetch(&segments, &tenant(), &scope, no_limits).await.unwrap()
    });
    let selection = |matchers: Vec<Matcher>, minutes: i64| Selection {
        matchers,
        start_ms: time_range_ms.1 - minutes * 60_000,
        end_ms: time_range_ms.1,
        step_ms: 0,
        range_ms: 0,
        reading: Reading::All,
    };
    let run = |selection: &Selection| {
        let selected = source.select(selection).unwrap();
        let mut samples = SeriesSamples::default();
        let mut count = 0_u64;
        for index in 0..selected.len() {
            samples.clear();
            selected.read(index, &mut samples).unwrap();
            count += samples.len() as u64;
        }
        count
    };
    let regex = |name: &str, value: &str| Matcher::new(name, MatchOp::Regex, value).unwrap();
    let mut group = c.benchmark_group("tail");
    for (name, selection) in [
        (
            "one metric, 500 series, 5 min",
            selection(vec![Matcher::equal("__name__", "container_metric_002_total")], 5),
        ),
        (
            "one metric, 500 series, 1 h",
            selection(vec![Matcher::equal("__name__", "container_metric_002_total")], 60),
        ),
        ("one series, 1 h", {
            let name = Matcher::equal("__name__", "container_metric_002_total");
            selection(vec![name, Matcher::equal("instance", "10.0.0.7:9090")], 60)
        }),
        ("all 50,000 series, 5 min", selection(vec![regex("__name__", ".+")], 5)),
        ("all 50,000 series, 1 h", selection(vec![regex("__name__", ".+")], 60)),
    ] {
        group.throughput(Throughput::Elements(run(&selection)));
        group.bench_function(name, |b| b.iter(|| run(&selection)));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).sample_size(20);
    targets = append, memory, read
}
criterion_main!(benches);
