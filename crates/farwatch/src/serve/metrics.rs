//! `/metrics`: what every part counts, on one page.

use query_service::{
    CacheStats, FollowerStats, KindStats, LATENCY_BOUNDS, PageKind, QueryMetrics, SegmentsStats, TailStats,
};
use segment_store::commit::{GroupCommitStats, PUT_LATENCY_BOUNDS_MS};
use segment_store::compact::CompactorStats;
use segment_store::{Operation, RequestCounts};

use super::exposition::{Exposition, Kind};
use super::node::Node;
use super::process::ProcessStats;

/// The content type of Prometheus's text format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const MICROS_A_SECOND: f64 = 1e6;
const MILLIS_A_SECOND: f64 = 1e3;

/// The page.
#[must_use]
pub fn page(node: &Node) -> String {
    let mut text = String::new();
    let mut page = Exposition::new(&mut text);
    build(&mut page);
    if let Some(stats) = ProcessStats::read() {
        process(&mut page, &stats);
    }
    bucket(&mut page, &node.bucket.counts());
    if let Some(commit) = &node.commit {
        group_commit(&mut page, &commit.stats());
    }
    if let Some(stats) = node.compactor_stats() {
        compactor(&mut page, &stats);
    }
    if let Some(query) = &node.query {
        queries(&mut page, &query.engine.metrics());
        tail(&mut page, &query.tail.stats());
        follower(&mut page, &query.follower_stats(&*node.clock));
        cache(&mut page, &query.cache.stats());
        segments(&mut page, &query.segments.stats());
    }
    if let Some(ingest) = &node.ingest {
        ingest.snapshot().write_prometheus(&mut text);
    }
    text
}

fn build(page: &mut Exposition<'_>) {
    let version = [(env!("CARGO_PKG_VERSION"), 1.0)];
    page.family(Kind::Gauge, "farwatch_build_info", "Which version runs.", "version", version);
}

fn process(page: &mut Exposition<'_>, stats: &ProcessStats) {
    let ProcessStats { cpu_seconds, resident_memory_bytes, open_fds, threads } = *stats;
    page.single(Kind::Counter, "process_cpu_seconds_total", "CPU time, user and system.", cpu_seconds);
    page.single(Kind::Gauge, "process_resident_memory_bytes", "Memory in RAM.", resident_memory_bytes as f64);
    page.single(Kind::Gauge, "process_open_fds", "Open file descriptors.", open_fds as f64);
    page.single(Kind::Gauge, "process_threads", "Threads.", threads as f64);
}

fn bucket(page: &mut Exposition<'_>, counts: &RequestCounts) {
    let of = |numbers: [u64; Operation::ALL.len()]| {
        Operation::ALL.into_iter().zip(numbers).map(|(operation, count)| (operation.as_str(), count as f64))
    };
    let name = "farwatch_bucket_requests_total";
    page.family(Kind::Counter, name, "Requests to the object store.", "operation", of(counts.requests));
    let name = "farwatch_bucket_errors_total";
    page.family(
        Kind::Counter,
        name,
        "Requests to the object store that failed.",
        "operation",
        of(counts.errors),
    );
    let bytes = [("sent", counts.bytes_put as f64), ("received", counts.bytes_got as f64)];
    let name = "farwatch_bucket_bytes_total";
    page.family(Kind::Counter, name, "Bytes of objects to and from the object store.", "direction", bytes);
}

fn compactor(page: &mut Exposition<'_>, stats: &CompactorStats) {
    let stages = |merge: u64, absorb: u64, segments: u64| {
        [("merge", merge as f64), ("absorb", absorb as f64), ("segments", segments as f64)]
    };
    let name = "farwatch_compaction_commits_total";
    let commits = stages(stats.merges, stats.absorptions, stats.segment_merges);
    page.family(Kind::Counter, name, "Merges that were committed, by stage.", "stage", commits);
    let name = "farwatch_compaction_read_samples_total";
    let read = stages(stats.merged_samples.0, stats.absorbed_samples.0, stats.segment_samples.0);
    page.family(Kind::Counter, name, "Samples read by compaction, by stage.", "stage", read);
    let counters = [
        ("new_samples", "Samples that went to the ledger.", stats.absorbed_samples.1),
        ("races_lost", "Manifests that somebody else replaced first.", stats.races_lost),
        ("written_bytes", "Bytes of objects that compaction wrote.", stats.bytes_written),
        ("deleted_objects", "Objects that were not needed any more.", stats.objects_deleted),
        ("unreadable_objects", "Objects or parts of them that were found damaged.", stats.quarantined),
        ("failures", "Steps of compaction that failed.", stats.failures),
    ];
    for (name, help, count) in counters {
        page.single(Kind::Counter, &format!("farwatch_compaction_{name}_total"), help, count as f64);
    }
    let gauges = [
        ("waiting_fresh_objects", "Fresh segments that wait to be merged.", stats.fresh_waiting),
        ("waiting_merged_objects", "Merged objects that wait to be absorbed.", stats.merged_waiting),
        ("waiting_deletions", "Objects that wait for the end of their grace.", stats.deletions_waiting),
    ];
    for (name, help, count) in gauges {
        page.single(Kind::Gauge, &format!("farwatch_compaction_{name}"), help, count as f64);
    }
}

fn group_commit(page: &mut Exposition<'_>, stats: &GroupCommitStats) {
    let counters = [
        ("requests", "Requests taken by group commit.", stats.requests),
        (
            "requests_overloaded",
            "Requests turned away because too much was pending.",
            stats.requests_overloaded,
        ),
        ("flushes", "Segments that became durable.", stats.flushes),
        ("flushes_failed", "Flushes that failed.", stats.flushes_failed),
        ("segment_bytes", "Bytes of durable segments.", stats.bytes),
        ("put_retries", "Puts of a segment beyond its first.", stats.put_retries),
        ("puts_confirmed", "Puts without an answer that turned out to have worked.", stats.puts_confirmed),
        ("names_taken", "Names of segments that somebody else had taken.", stats.names_taken),
    ];
    for (name, help, count) in counters {
        page.single(Kind::Counter, &format!("farwatch_commit_{name}_total"), help, count as f64);
    }
    let in_flight = stats.flushes_in_flight as f64;
    page.single(Kind::Gauge, "farwatch_commit_flushes_in_flight", "Flushes under way.", in_flight);
    let pending = stats.pending_bytes as f64;
    page.single(Kind::Gauge, "farwatch_commit_pending_bytes", "Memory of writes without an answer.", pending);
    page.histogram(
        "farwatch_commit_put_duration_seconds",
        "Time to make a segment durable, retries included.",
        PUT_LATENCY_BOUNDS_MS.into_iter().map(|bound_ms| bound_ms as f64 / MILLIS_A_SECOND),
        &stats.put_latency,
        stats.put_latency_sum_us as f64 / MICROS_A_SECOND,
    );
}

fn queries(page: &mut Exposition<'_>, metrics: &QueryMetrics) {
    let outcomes = query_service::Outcome::ALL.into_iter().zip(metrics.requests);
    let outcomes = outcomes.map(|(outcome, count)| (outcome.as_str(), count as f64));
    let name = "farwatch_query_requests_total";
    page.family(Kind::Counter, name, "Requests to the query API by how they ended.", "outcome", outcomes);
    page.histogram(
        "farwatch_query_duration_seconds",
        "Time of requests to the query API.",
        LATENCY_BOUNDS.into_iter().map(|bound| bound.as_secs_f64()),
        &metrics.latency_buckets,
        metrics.latency_sum_us as f64 / MICROS_A_SECOND,
    );
    let running = metrics.running as f64;
    page.single(Kind::Gauge, "farwatch_query_running", "Requests to the query API that run now.", running);
    let samples = metrics.samples as f64;
    page.single(Kind::Counter, "farwatch_query_samples_total", "Samples that queries read.", samples);
    let bytes = metrics.cold_bytes as f64;
    let help = "Bytes of segments that queries needed, from the cache or the object store.";
    page.single(Kind::Counter, "farwatch_query_cold_bytes_total", help, bytes);
}

fn tail(page: &mut Exposition<'_>, stats: &TailStats) {
    let gauges = [
        ("tenants", "Tenants with data in the tail.", stats.tenants),
        ("series", "Series in the tail; one in two generations counts twice.", stats.series),
        ("generations", "Generations of the tail.", stats.generations),
        ("memory_bytes", "Memory of series and samples in the tail.", stats.memory_bytes),
        ("provisional_batches", "Batches in the tail whose flush has not ended.", stats.provisional_batches),
        (
            "cold_partitions",
            "Partitions that are not in the tail and are read for queries.",
            stats.cold_partitions,
        ),
    ];
    for (name, help, number) in gauges {
        page.single(Kind::Gauge, &format!("farwatch_tail_{name}"), help, number as f64);
    }
}

fn follower(page: &mut Exposition<'_>, stats: &FollowerStats) {
    let caught_up = f64::from(u8::from(stats.is_caught_up));
    let help = "Whether the tail knows everything that was in the bucket at the start.";
    page.single(Kind::Gauge, "farwatch_tail_caught_up", help, caught_up);
    let help = "Time since the last listing that the tail worked through.";
    page.single(Kind::Gauge, "farwatch_tail_lag_seconds", help, stats.lag.as_secs_f64());
    let counters = [
        ("absorbed_segments", "Segments that the tail read from the bucket.", stats.absorbed_segments),
        ("failed_rounds", "Rounds of reading the bucket that failed and were repeated.", stats.failed_rounds),
        (
            "unreadable_segments",
            "Segments that are damaged and that queries lack.",
            stats.unreadable_segments,
        ),
    ];
    for (name, help, count) in counters {
        page.single(Kind::Counter, &format!("farwatch_tail_{name}_total"), help, count as f64);
    }
}

fn cache(page: &mut Exposition<'_>, stats: &CacheStats) {
    /// A number of one kind of pages.
    type Number = fn(&KindStats) -> u64;
    let of = |number: Number| {
        PageKind::ALL.into_iter().zip(&stats.kinds).map(move |(kind, of)| (kind.as_str(), number(of) as f64))
    };
    let counters: [(&str, &str, Number); 7] = [
        ("memory_hits", "Pages that were found in memory.", |kind| kind.memory_hits),
        ("disk_hits", "Pages that were found on disk.", |kind| kind.disk_hits),
        ("misses", "Pages that had to be fetched from the object store.", |kind| kind.misses),
        ("disk_written_bytes", "Bytes written to disk.", |kind| kind.disk_written_bytes),
        ("disk_read_bytes", "Bytes read from disk.", |kind| kind.disk_read_bytes),
        ("dropped_writes", "Pages that were not written to disk because too many were waiting.", |kind| {
            kind.dropped_writes
        }),
        ("disk_errors", "Errors of the disk; each was a page to be fetched again.", |kind| kind.disk_errors),
    ];
    for (name, help, number) in counters {
        page.family(Kind::Counter, &format!("farwatch_cache_{name}_total"), help, "pages", of(number));
    }
    let name = "farwatch_cache_memory_bytes";
    page.family(Kind::Gauge, name, "Memory of pages of objects.", "pages", of(|kind| kind.memory_bytes));
    let counters = [
        ("gets", "Requests for pages, second ones included.", stats.gets),
        ("got_bytes", "Bytes of pages from the object store.", stats.got_bytes),
        ("hedges", "Second requests for pages, made because the first was slow.", stats.hedges),
        ("hedges_won", "Second requests that were quicker than the first.", stats.hedges_won),
        (
            "unwritten_pages",
            "Pages that the disk did not take, such as when it is full.",
            super::logging::unwritten_pages(),
        ),
    ];
    for (name, help, count) in counters {
        page.single(Kind::Counter, &format!("farwatch_cache_{name}_total"), help, count as f64);
    }
}

fn segments(page: &mut Exposition<'_>, stats: &SegmentsStats) {
    let gauges = [
        ("open", "Objects at rest whose index is in memory.", stats.open_segments),
        ("index_memory_bytes", "Memory of indexes.", stats.index_memory_bytes),
        ("decoded_memory_bytes", "Memory of decoded data.", stats.decoded_memory_bytes),
        ("fetched_memory_bytes", "Memory of what running queries fetched.", stats.fetched_memory_bytes),
        (
            "manifest_generation",
            "Generation of the shard's manifest that queries see.",
            stats.manifest_generation,
        ),
    ];
    for (name, help, number) in gauges {
        page.single(Kind::Gauge, &format!("farwatch_segments_{name}"), help, number as f64);
    }
}
