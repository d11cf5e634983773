//! How many requests to the object store does a flush cost, compaction and tailing included, with 1, 100 and 10,000 tenants?
//!
//! Setup: one process that writes, compacts and follows, in simulated time, over a bucket in memory that counts, whose listings have
//! pages of 1,000 keys as on S3, and which takes 30 ms a request. So many requests a second arrive, evenly, each with [`SAMPLES`] samples of one
//! tenant, the tenants in turns. It begins two hours before a day ends (UTC) and goes on until the day was put together and thinned, so
//! that all stages of compaction and all hourly looks through everything are in it.
//!
//! Run: `cargo bench -p query-service --bench requests [-- REQUESTS_A_SECOND [HOURS [TENANTS]]]`.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot be set up has nothing to say")]

use std::sync::Arc;
use std::time::Duration;

use query_service::{
    CacheParts, CacheSettings, Follower, FollowerParts, PageCache, Segments, SegmentsParts, SegmentsSettings,
    Tail, TailSettings,
};
use segment_store::compact::{
    CommitListener, Compactor, CompactorParts, CompactorSettings, CompactorStats, KeepForever,
};
use segment_store::testing::{Delayed, MemoryBucket, SimClock};
use segment_store::{
    Bucket, Clock, Counted, GroupCommit, GroupCommitParts, GroupCommitSettings, Operation, Retrying, Seed,
    ShardId, ShardManifest, TenantManifest, WorkOn,
};
use telemetry::{FloatRow, Labels, MetricRows, Series, TenantId};
use tokio::sync::Notify;

const SHARD: ShardId = ShardId(0);
/// Two hours before the end of a day.
const START_MS: i64 = 1_795_384_800_000;
const HOURS: u64 = 4;
const REQUESTS_A_SECOND: u64 = 100;
const DELAY: Duration = Duration::from_millis(30);
/// In a request, each of another series.
const SAMPLES: usize = 50;
const TENANTS: [usize; 3] = [1, 100, 10_000];

/// Tells the follower of each commit, as one process does.
#[derive(Debug)]
struct Notifier(Arc<Notify>);

impl CommitListener for Notifier {
    fn shard_committed(&self, _manifest: &ShardManifest) {
        self.0.notify_one();
    }

    fn tenant_committed(&self, _tenant: &TenantId, _manifest: &TenantManifest) {}
}

struct Tenant {
    id: TenantId,
    series: Vec<Arc<Series>>,
}

fn tenant(number: usize) -> Tenant {
    let series = |series: usize| {
        let (name, pod) = (format!("metric_{}", series % 10), format!("pod-{number}-{}", series / 10));
        Arc::new(Series::new(Labels::from_pairs([("__name__", name), ("pod", pod)]).unwrap()))
    };
    Tenant {
        id: TenantId::new(&format!("tenant-{number}")).unwrap(),
        series: (0..SAMPLES).map(series).collect(),
    }
}

/// What was counted.
struct Counts {
    flushes: u64,
    samples: u64,
    requests: [u64; Operation::ALL.len()],
    compaction: CompactorStats,
}

async fn run(tenants: usize, requests_a_second: u64, hours: u64) -> Counts {
    let counted = Arc::new(Counted::new(Arc::new(Delayed::new(Arc::new(MemoryBucket::default()), DELAY))));
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(START_MS, 0));
    let below: Arc<dyn Bucket> = Arc::clone(&counted) as _;
    let bucket: Arc<dyn Bucket> = Arc::new(Retrying::new(below, Arc::clone(&clock), &Seed::from_number(1)));
    let tail = Arc::new(Tail::new(TailSettings { memory_bytes: 64 << 20, ..TailSettings::default() }));
    let parts = CacheParts {
        bucket: Arc::clone(&bucket),
        clock: Arc::clone(&clock),
        settings: CacheSettings::default(),
    };
    let segments = Segments::new(SegmentsParts {
        bucket: Arc::clone(&bucket),
        cache: PageCache::open(parts).await.unwrap(),
        shard: SHARD,
        tail: Arc::clone(&tail),
        clock: Arc::clone(&clock),
        settings: SegmentsSettings::default(),
    });
    let follower = Follower::start(FollowerParts {
        bucket: Arc::clone(&bucket),
        shard: SHARD,
        tail: Arc::clone(&tail),
        segments,
        clock: Arc::clone(&clock),
        is_only_writer: false,
    });
    let commit = Arc::new(GroupCommit::start(GroupCommitParts {
        bucket: Arc::clone(&bucket),
        shard: SHARD,
        tail,
        clock: Arc::clone(&clock),
        seed: Seed::from_number(2),
        work_on: WorkOn::SameThread,
        settings: GroupCommitSettings::default(),
    }));
    let compactor = Compactor::new(CompactorParts {
        bucket,
        shard: SHARD,
        clock: Arc::clone(&clock),
        seed: Seed::from_number(3),
        work_on: WorkOn::SameThread,
        retention: Arc::new(KeepForever),
        listener: Arc::new(Notifier(follower.committed())),
        settings: CompactorSettings::default(),
    })
    .start();

    let tenants: Vec<Tenant> = (0..tenants).map(tenant).collect();
    let begun = tokio::time::Instant::now();
    let period = Duration::from_secs(1) / requests_a_second as u32;
    let mut samples = 0;
    for number in 0..hours * 3600 * requests_a_second {
        tokio::time::sleep_until(begun + period * number as u32).await;
        let of = &tenants[number as usize % tenants.len()];
        let timestamp_ms = clock.now_ms();
        let row = |series: &Arc<Series>| FloatRow {
            series: Arc::clone(series),
            timestamp_ms,
            value: (number % 1_000) as f64,
        };
        let rows = MetricRows { floats: of.series.iter().map(row).collect(), ..MetricRows::default() };
        samples += rows.floats.len() as u64;
        let (commit, id) = (Arc::clone(&commit), of.id.clone());
        tokio::spawn(async move { commit.commit(id, rows).await.unwrap() });
    }
    // The last request has been taken and answered.
    tokio::time::sleep(Duration::from_secs(1)).await;
    commit.shutdown().await;
    let counts = Counts {
        flushes: commit.stats().flushes,
        samples,
        requests: counted.counts().requests,
        compaction: compactor.stats(),
    };
    compactor.shutdown().await;
    follower.shutdown().await;
    counts
}

fn main() {
    // `cargo bench` adds an argument of its own.
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse::<u64>().ok());
    let requests_a_second = numbers.next().unwrap_or(REQUESTS_A_SECOND);
    let hours = numbers.next().unwrap_or(HOURS);
    println!(
        "| tenants | flushes | requests a flush | put | get | list | delete | requests / million samples | commits |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    let tenants = numbers.next().map_or(TENANTS.to_vec(), |tenants| vec![tenants as usize]);
    for tenants in tenants {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let counts = runtime.block_on(run(tenants, requests_a_second, hours));
        let a_flush = |requests: u64| requests as f64 / counts.flushes as f64;
        let total: u64 = counts.requests.iter().sum();
        let of = |operation: Operation| a_flush(counts.requests[operation as usize]);
        println!(
            "| {tenants} | {} | {:.2} | {:.2} | {:.2} | {:.3} | {:.3} | {:.0} | {} |",
            counts.flushes,
            a_flush(total),
            of(Operation::Put),
            of(Operation::Get) + of(Operation::Head),
            of(Operation::List),
            of(Operation::Delete),
            total as f64 / (counts.samples as f64 / 1e6),
            counts.compaction.commits,
        );
    }
}
