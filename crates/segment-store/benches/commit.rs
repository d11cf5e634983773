//! What does durability in a local directory cost, and what does a flush?
//!
//! Setup: a directory below the system's temporary one (set `TMPDIR` to choose the disk), real `fsync`s, one process. Prints latency of
//! puts by size, listings of many objects, and group commit from rows to ack with requests as Prometheus sends them: 3,000
//! samples each, 50,000 series, every series known. Durations are of wall time; throughput depends on the cores that are free.
//!
//! `cargo bench -p segment-store`. Run as a test (`cargo test --benches`) it does little and only shows that it works.
#![expect(clippy::unwrap_used, reason = "a benchmark that fails ends")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use segment_store::{
    Bucket, Clock, Counted, GroupCommit, GroupCommitParts, GroupCommitSettings, LocalBucket, NoTail,
    Operation, PutCondition, Seed, SegmentKey, ShardId, SystemClock, WorkOn, list_fresh,
};
use telemetry::{FloatRow, Labels, MetricRows, Series, TenantId};

const SERIES: usize = 50_000;
const SAMPLES_A_REQUEST: usize = 3_000;
const CLIENTS: usize = 16;

#[tokio::main]
async fn main() {
    let small = !std::env::args().any(|argument| argument == "--bench");
    let clock = Arc::new(SystemClock::new());
    let puts = if small { 10 } else { 300 };
    for size in [1 << 10, 64 << 10, 1 << 20] {
        put_latency(&clock, size, puts).await;
    }
    listing(&clock, if small { 100 } else { 20_000 }).await;
    group_commit(&clock, if small { 4 } else { 60 }).await;
}

fn quantile_ms(sorted: &[Duration], quantile: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * quantile) as usize].as_secs_f64() * 1_000.0
}

async fn put_latency(clock: &SystemClock, size: usize, puts: usize) {
    let dir = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(dir.path()).unwrap();
    let mut took = Vec::new();
    for number in 0..puts {
        let started = clock.monotonic();
        let (key, body) = (format!("fresh/0/{number}"), Bytes::from(vec![7; size]));
        bucket.put(&key, body, PutCondition::IfAbsent, None).await.unwrap();
        took.push(clock.monotonic() - started);
    }
    took.sort();
    let (p50, p99) = (quantile_ms(&took, 0.5), quantile_ms(&took, 0.99));
    println!("local put of {:>4} KiB: p50 {p50:.2} ms, p99 {p99:.2} ms", size >> 10);
}

async fn listing(clock: &SystemClock, objects: i64) {
    let dir = tempfile::tempdir().unwrap();
    let bucket = LocalBucket::open(dir.path()).unwrap();
    let key = |number: i64| SegmentKey::new(ShardId(0), number, 0);
    bucket.put(&key(0).to_string(), Bytes::new(), PutCondition::IfAbsent, None).await.unwrap();
    // Links to the first one: the listing sees no difference, and no `fsync` is waited for.
    let first = dir.path().join(key(0).to_string());
    for number in 1..objects {
        std::fs::hard_link(&first, dir.path().join(key(number).to_string())).unwrap();
    }
    for (what, after) in [("all", None), ("those after the last", Some(key(objects - 1)))] {
        let started = clock.monotonic();
        let found = list_fresh(&bucket, ShardId(0), after.as_ref()).await.unwrap().len();
        let took_ms = (clock.monotonic() - started).as_secs_f64() * 1_000.0;
        println!("local listing of {what} of {objects} objects: {found} in {took_ms:.1} ms");
    }
}

async fn group_commit(clock: &Arc<SystemClock>, requests_a_client: usize) {
    let dir = tempfile::tempdir().unwrap();
    let counted = Arc::new(Counted::new(Arc::new(LocalBucket::open(dir.path()).unwrap())));
    let commit = Arc::new(GroupCommit::start(GroupCommitParts {
        bucket: Arc::clone(&counted) as _,
        shard: ShardId(0),
        tail: Arc::new(NoTail),
        clock: Arc::clone(clock) as _,
        seed: Seed::from_os().unwrap(),
        work_on: WorkOn::BlockingThreads,
        settings: GroupCommitSettings::default(),
    }));
    let mut series: Vec<Arc<Series>> =
        (0..SERIES).map(|number| Arc::new(Series::new(labels(number)))).collect();
    series.sort_by(|a, b| a.labels().cmp(b.labels()));
    telemetry::series::assign_ranks(&series);
    let series = Arc::new(series);

    let started = clock.monotonic();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (commit, series, clock) = (Arc::clone(&commit), Arc::clone(&series), Arc::clone(clock));
            tokio::spawn(async move {
                let tenant = TenantId::new("bench").unwrap();
                let mut acks = Vec::new();
                for request in 0..requests_a_client {
                    let rows = request_rows(&series, client * requests_a_client + request);
                    let sent = clock.monotonic();
                    commit.commit(tenant.clone(), rows).await.unwrap();
                    acks.push(clock.monotonic() - sent);
                }
                acks
            })
        })
        .collect();
    let mut acks = Vec::new();
    for client in clients {
        acks.extend(client.await.unwrap());
    }
    commit.shutdown().await;
    let seconds = (clock.monotonic() - started).as_secs_f64();
    acks.sort();
    let samples = CLIENTS * requests_a_client * SAMPLES_A_REQUEST;
    let (stats, counts) = (commit.stats(), counted.counts());
    println!(
        "group commit, {CLIENTS} clients: {:.0} samples/s, ack p50 {:.1} ms, p99 {:.1} ms, put p50 within {} ms",
        samples as f64 / seconds,
        quantile_ms(&acks, 0.5),
        quantile_ms(&acks, 0.99),
        median_bound_ms(&stats.put_latency),
    );
    println!(
        "  {} requests in {} flushes of {:.0} KiB; {:.2} bucket requests a flush ({} puts)",
        stats.requests,
        stats.flushes,
        stats.bytes as f64 / stats.flushes as f64 / 1_024.0,
        counts.total() as f64 / stats.flushes as f64,
        counts.of(Operation::Put),
    );
}

fn median_bound_ms(buckets: &[u64]) -> u64 {
    let half = buckets.iter().sum::<u64>().div_ceil(2);
    let mut seen = 0;
    let median = buckets.iter().position(|count| {
        seen += count;
        seen >= half
    });
    median.and_then(|bucket| segment_store::PUT_LATENCY_BOUNDS_MS.get(bucket).copied()).unwrap_or(u64::MAX)
}

fn labels(number: usize) -> Labels {
    let (metric, instance) = (number % 200, number / 200);
    let name = format!("container_metric_{metric:03}_total");
    let (pod, node) =
        (format!("pod-{instance:04}-abcde"), format!("10.0.{}.{}", instance / 250, instance % 250));
    Labels::from_pairs([("__name__", &*name), ("pod", &*pod), ("instance", &*node), ("job", "cadvisor")])
        .unwrap()
}

fn request_rows(series: &[Arc<Series>], number: usize) -> MetricRows {
    let first = number * SAMPLES_A_REQUEST;
    let row = |index: usize| FloatRow {
        series: Arc::clone(&series[index % SERIES]),
        timestamp_ms: 1_767_225_600_000 + (index / SERIES) as i64 * 15_000,
        value: (index.wrapping_mul(2_654_435_761) % 100_000) as f64 / 100.0,
    };
    MetricRows { floats: (first..first + SAMPLES_A_REQUEST).map(row).collect(), ..MetricRows::default() }
}
