//! One run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::testing::{
    Faults, Faulty, MemoryBucket, RecordingTail, SimClock, float_rows, floats_of, tenant,
};
use segment_store::{
    Bucket, CommitError, FlushOutcome, GetRange, GroupCommit, GroupCommitParts, GroupCommitSettings,
    ReadError, Retrying, Seed, SegmentKey, ShardId, Snapshot, WorkOn, read_fresh_footer,
    read_fresh_partition, read_fresh_partitions, read_in_snapshot,
};
use storage_format::Signal;
use telemetry::{MetricBatch, TenantId};
use tokio::task::JoinSet;

use crate::breaks::Break;
use crate::bucket::{ProcessView, Rivals};
use crate::ledger::{Found, Ledger, Sample, TENANTS};

const SHARD: ShardId = ShardId(0);
/// 2026-01-01
const EPOCH_MS: i64 = 1_767_225_600_000;
const WRITERS: usize = 3;
const CLIENTS: usize = 3;
const REQUESTS: i64 = 12;
const READERS: usize = 2;
/// After this every put that was late is done.
const QUIET: Duration = Duration::from_secs(120);

/// How a run went.
#[derive(Clone, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<String>,
    pub(crate) trace: Vec<String>,
    pub(crate) contents: Vec<(String, bytes::Bytes)>,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
    pub(crate) snapshots: u64,
    pub(crate) put_retries: u64,
    pub(crate) puts_confirmed: u64,
    pub(crate) names_taken: u64,
    pub(crate) killed: u64,
}

impl Report {
    pub(crate) fn add(&mut self, other: &Self) {
        self.acked += other.acked;
        self.failed += other.failed;
        self.unknown += other.unknown;
        self.snapshots += other.snapshots;
        self.put_retries += other.put_retries;
        self.puts_confirmed += other.puts_confirmed;
        self.names_taken += other.names_taken;
        self.killed += other.killed;
    }
}

impl std::fmt::Debug for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            acked, failed, unknown, snapshots, put_retries, puts_confirmed, names_taken, killed, ..
        } = self;
        write!(f, "{acked} requests acked, {failed} certainly not stored, {unknown} unknown, ")?;
        write!(f, "{snapshots} snapshots, {put_retries} puts repeated, {puts_confirmed} confirmed, ")?;
        write!(f, "{names_taken} names taken, {killed} writers killed")
    }
}

/// Runs the world of `seed` to its end.
pub(crate) fn simulate(seed: u64, broken: Break) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(World::new(seed, broken).run())
}

struct World {
    rng: ChaCha8Rng,
    broken: Break,
    memory: Arc<MemoryBucket>,
    faulty: Arc<Faulty>,
    ledger: Arc<Ledger>,
}

/// One process that writes.
struct Writer {
    commit: GroupCommit,
    tail: Arc<RecordingTail>,
    dead: Arc<AtomicBool>,
    clock: Arc<SimClock>,
}

impl World {
    fn new(seed: u64, broken: Break) -> Self {
        let mut rng = Seed::from_number(seed).rng();
        let memory = Arc::new(MemoryBucket::default());
        let ledger = Arc::new(Ledger::default());
        let rivals = Rivals::new(Arc::clone(&memory) as _, &next_seed(&mut rng), Arc::clone(&ledger));
        let faults = match seed % 3 {
            0 => Faults::often(),
            // Half of what is asked fails: writers run out of time.
            1 => Faults { refused: 200, lost_before: 80, lost_after: 120, late: 60, ..Faults::often() },
            // Nearly nothing is served, but all is certain.
            _ => Faults { refused: 850, conflict: 50, doubled: 20, ..Faults::default() },
        };
        let faulty = Arc::new(Faulty::new(Arc::new(rivals), faults, &next_seed(&mut rng)));
        Self { rng, broken, memory, faulty, ledger }
    }

    async fn run(mut self) -> Report {
        let mut clients = JoinSet::new();
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            // The last writer dies in the middle of its work.
            let dies_after =
                (number == WRITERS - 1).then(|| Duration::from_millis(self.rng.random_range(1..4_000)));
            let writer = Arc::new(self.writer());
            for client in 0..CLIENTS {
                let client = Client {
                    name: format!("w{number}c{client}"),
                    rng: next_seed(&mut self.rng).rng(),
                    writer: Arc::clone(&writer),
                    ledger: Arc::clone(&self.ledger),
                    report: Report::default(),
                };
                clients.spawn(client.run());
            }
            if let Some(after) = dies_after {
                let dead = Arc::clone(&writer.dead);
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    dead.store(true, Ordering::Relaxed);
                });
            }
            writers.push(writer);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let mut readers = JoinSet::new();
        for number in 0..READERS {
            let bucket: Arc<dyn Bucket> = Arc::new(Retrying::new(
                Arc::clone(&self.faulty) as _,
                Arc::new(SimClock::new(EPOCH_MS, 0)),
                &next_seed(&mut self.rng),
            ));
            let rng = next_seed(&mut self.rng).rng();
            let reader =
                Reader { name: format!("reader {number}"), bucket, rng, ledger: Arc::clone(&self.ledger) };
            readers.spawn(reader.run(Arc::clone(&stop)));
        }

        let mut report = Report { killed: 1, ..Report::default() };
        while let Some(client) = clients.join_next().await {
            report.add(&client.unwrap());
        }
        for writer in writers.iter().filter(|writer| !writer.dead.load(Ordering::Relaxed)) {
            writer.commit.shutdown().await;
            self.check_tail(writer);
        }
        for writer in &writers {
            let stats = writer.commit.stats();
            report.put_retries += stats.put_retries;
            report.puts_confirmed += stats.puts_confirmed;
            report.names_taken += stats.names_taken;
        }
        stop.store(true, Ordering::Relaxed);
        while let Some(snapshots) = readers.join_next().await {
            report.snapshots += snapshots.unwrap();
        }
        self.faulty.heal();
        tokio::time::sleep(QUIET).await;
        self.check_at_the_end(&mut report).await;
        (report.violations, report.trace) = self.ledger.take();
        report
    }

    fn writer(&mut self) -> Writer {
        let dead = Arc::new(AtomicBool::new(false));
        let tail = Arc::new(RecordingTail::default());
        // Minutes of skew, either way.
        let clock = Arc::new(SimClock::new(EPOCH_MS, self.rng.random_range(-300_000..300_000)));
        let view = ProcessView::new(Arc::clone(&self.faulty) as _, self.broken, Arc::clone(&dead));
        let commit = GroupCommit::start(GroupCommitParts {
            bucket: Arc::new(view),
            shard: SHARD,
            tail: Arc::clone(&tail) as _,
            clock: Arc::clone(&clock) as _,
            seed: next_seed(&mut self.rng),
            work_on: WorkOn::SameThread,
            settings: GroupCommitSettings {
                linger: Duration::from_millis(self.rng.random_range(0..50)),
                flush_bytes: self.rng.random_range(50..400),
                pending_bytes: self.rng.random_range(400..2_000),
                flushes_in_flight: self.rng.random_range(1..5),
                put_time: Duration::from_millis(self.rng.random_range(300..6_000)),
            },
        });
        Writer { commit, tail, dead, clock }
    }

    /// Each segment that was offered was settled, and what was durable is in the bucket.
    fn check_tail(&self, writer: &Writer) {
        let (events, settled) = (writer.tail.events().len(), writer.tail.settled());
        if events != 2 * settled.len() {
            self.ledger.violation(format!("the tail has {events} events and {} settlements", settled.len()));
        }
    }

    async fn check_at_the_end(&self, report: &mut Report) {
        for of in TENANTS {
            let acked = self.ledger.acked_of(of);
            let snapshot = Snapshot::take(&*self.memory, SHARD, &tenant(of)).await.unwrap();
            let found = read(&*self.memory, &snapshot, &tenant(of), false).await.unwrap();
            self.ledger.check("at the end", &acked, &found);
        }
        let page = self.memory.list("", None, usize::MAX).await.unwrap();
        assert!(!page.truncated, "a run is smaller than a page");
        for object in page.objects {
            let body = self.memory.get(&object.key, GetRange::Full).await.unwrap().body;
            report.contents.push((object.key, body));
        }
    }
}

/// Sends requests one after another, and some of them again when they failed.
struct Client {
    name: String,
    rng: ChaCha8Rng,
    writer: Arc<Writer>,
    ledger: Arc<Ledger>,
    report: Report,
}

impl Client {
    async fn run(mut self) -> Report {
        for number in 0..REQUESTS {
            self.pause(400).await;
            if self.rng.random_range(0..20) == 0 {
                self.writer.clock.set_skew_ms(self.rng.random_range(-300_000..300_000));
            }
            let of = TENANTS[self.rng.random_range(0..TENANTS.len())];
            let samples: Vec<Sample> = (0..self.rng.random_range(1..4))
                .map(|n| Sample {
                    tenant: of,
                    name: self.name.clone(),
                    at_ms: number * 10 + n,
                    value: self.rng.random(),
                })
                .collect();
            self.ledger.sent(&samples);
            self.send(of, &samples).await;
        }
        self.report
    }

    async fn send(&mut self, of: &str, samples: &[Sample]) {
        let mut may_be_stored = false;
        for _ in 0..self.rng.random_range(1..4) {
            let rows: Vec<(&str, i64, f64)> =
                samples.iter().map(|sample| (sample.name.as_str(), sample.at_ms, sample.value)).collect();
            let patience_ms = if self.rng.random_range(0..20) == 0 { 30 } else { 60_000 };
            let commit = self.writer.commit.commit(tenant(of), float_rows(&rows));
            let answer = tokio::time::timeout(Duration::from_millis(patience_ms), commit).await;
            self.ledger.note(format!("{} {} {answer:?}", self.name, samples[0].at_ms));
            match answer {
                Ok(Ok(segment)) => {
                    self.check_ack(&segment);
                    self.ledger.acked(samples);
                    self.report.acked += 1;
                    return;
                }
                Ok(Err(error)) => {
                    if let CommitError::BrokenOff(why) = &error {
                        self.ledger.violation(format!("a flush broke off: {why}"));
                    }
                    may_be_stored |= error.may_be_stored();
                }
                // Went away, or the writer is dead.
                Err(_) => may_be_stored = true,
            }
            if self.writer.dead.load(Ordering::Relaxed) {
                break;
            }
            self.pause(300).await;
        }
        if may_be_stored {
            self.report.unknown += 1;
        } else {
            self.ledger.certainly_not_stored(samples);
            self.report.failed += 1;
        }
    }

    fn check_ack(&self, segment: &SegmentKey) {
        if !self.writer.tail.settled().contains(&(*segment, FlushOutcome::Durable)) {
            self.ledger.violation(format!("{segment} was acked before the tail heard that it is durable"));
        }
    }

    async fn pause(&mut self, at_most_ms: u64) {
        tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..at_most_ms))).await;
    }
}

/// Takes snapshots and checks them.
struct Reader {
    name: String,
    bucket: Arc<dyn Bucket>,
    rng: ChaCha8Rng,
    ledger: Arc<Ledger>,
}

impl Reader {
    async fn run(mut self, stop: Arc<AtomicBool>) -> u64 {
        let mut snapshots = 0;
        while !stop.load(Ordering::Relaxed) {
            let of = TENANTS[self.rng.random_range(0..TENANTS.len())];
            let (by_ranges, id) = (self.rng.random(), tenant(of));
            let acked = self.ledger.acked_of(of);
            let found = read_in_snapshot(&*self.bucket, SHARD, &id, |snapshot| {
                let (bucket, id) = (Arc::clone(&self.bucket), id.clone());
                async move { read(&*bucket, &snapshot, &id, by_ranges).await }
            });
            match found.await {
                Ok(found) => {
                    snapshots += 1;
                    self.ledger.check(&self.name, &acked, &found);
                    self.ledger.note(format!("{} {of} {}", self.name, found.len()));
                }
                Err(error) if error.is_retryable() => {}
                Err(error) => self.ledger.violation(format!("{}: {error:?}", self.name)),
            }
            let wait_ms = self.rng.random_range(0..500);
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        snapshots
    }
}

/// All samples of one tenant, merged in segment order.
async fn read(
    bucket: &dyn Bucket,
    snapshot: &Snapshot,
    of: &TenantId,
    by_ranges: bool,
) -> Result<Found, ReadError> {
    let mut found = Found::new();
    let mut merge = |batch: &MetricBatch| {
        for (name, at_ms, value) in floats_of(batch) {
            found.insert((of.to_string(), name, at_ms), value.to_bits());
        }
    };
    for object in &snapshot.fresh {
        if by_ranges {
            let footer = read_fresh_footer(bucket, object).await?;
            if let Some(entry) = footer.find(of, Signal::Metrics) {
                merge(&read_fresh_partition(bucket, object, entry).await?);
            }
        } else {
            let partitions = read_fresh_partitions(bucket, object).await?;
            for (_, batch) in partitions.into_iter().filter(|(id, _)| id == of) {
                merge(&batch?);
            }
        }
    }
    Ok(found)
}

fn next_seed(rng: &mut ChaCha8Rng) -> Seed {
    Seed::from_number(rng.random())
}
