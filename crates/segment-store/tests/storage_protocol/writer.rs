//! Processes that write, and their clients.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::testing::{RecordingTail, float_rows, tenant};
use segment_store::{
    Bucket, CommitError, FlushOutcome, GroupCommit, GroupCommitParts, GroupCommitSettings, Seed, SegmentKey,
    WorkOn,
};

use crate::process::Process;
use crate::record::{Id, Record, Rule, Sample, TENANTS};
use crate::world::{EPOCH_MS, SHARD};

/// One process that writes.
pub(crate) struct Writer {
    pub(crate) commit: GroupCommit,
    tail: Arc<RecordingTail>,
    pub(crate) process: Arc<Process>,
}

impl Writer {
    pub(crate) fn new(bucket: Arc<dyn Bucket>, process: Arc<Process>, rng: &mut ChaCha8Rng) -> Self {
        let tail = Arc::new(RecordingTail::default());
        let commit = GroupCommit::start(GroupCommitParts {
            bucket,
            shard: SHARD,
            tail: Arc::clone(&tail) as _,
            clock: Arc::clone(&process.clock) as _,
            seed: Seed::from_number(rng.random()),
            work_on: WorkOn::SameThread,
            settings: GroupCommitSettings {
                linger: Duration::from_millis(rng.random_range(0..50)),
                flush_bytes: rng.random_range(50..400),
                pending_bytes: rng.random_range(400..2_000),
                flushes_in_flight: rng.random_range(1..5),
                put_time: Duration::from_millis(rng.random_range(300..10_000)),
            },
        });
        Self { commit, tail, process }
    }

    /// Each segment that was offered was settled.
    pub(crate) fn check_tail(&self, record: &Record) {
        let (events, settled) = (self.tail.events().len(), self.tail.settled().len());
        if events != 2 * settled {
            record.violation(Rule::TailHearsFirst, format!("{events} events and {settled} settlements"));
        }
    }

    /// What it went through.
    pub(crate) fn count(&self, record: &Record) {
        let stats = self.commit.stats();
        record.count("puts of writers repeated", stats.put_retries);
        record.count("puts confirmed by their put-id", stats.puts_confirmed);
        record.count("names taken by others", stats.names_taken);
    }
}

/// Sends requests one after another, and some of them again when they failed.
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) writers: Arc<Vec<Writer>>,
    pub(crate) record: Arc<Record>,
    /// The longest wait between two requests.
    pub(crate) pause: Duration,
}

/// How many requests a client makes.
const REQUESTS: i64 = 8;

/// How old samples are, mostly new; the oldest are beyond what [`crate::record::FORGETFUL`] keeps.
const AGES_HOURS: [i64; 8] = [0, 0, 0, 0, 0, 1, 5, 40];

impl Client {
    pub(crate) async fn run(mut self) {
        let mut before: Vec<Sample> = Vec::new();
        for number in 0..REQUESTS {
            self.sleep(self.pause).await;
            let writer = self.rng.random_range(0..self.writers.len());
            if self.rng.random_range(0..20) == 0 {
                self.writers[writer].process.set_clock();
            }
            let samples = if !before.is_empty() && self.rng.random_range(0..8) == 0 {
                // The same again, with other values.
                before.iter().map(|sample| Sample { value: self.rng.random(), ..sample.clone() }).collect()
            } else {
                self.samples(number)
            };
            self.record.sent(&samples);
            self.send(&samples, writer).await;
            before = samples;
        }
    }

    /// Samples that nobody sent before.
    fn samples(&mut self, number: i64) -> Vec<Sample> {
        let tenant = TENANTS[self.rng.random_range(0..TENANTS.len())];
        let age_ms = AGES_HOURS[self.rng.random_range(0..AGES_HOURS.len())] * 3_600_000;
        let name = |n: i64| format!("{}{}", self.name, ["", "_total"][n as usize % 2]);
        let samples = (0..self.rng.random_range(1..4_i64)).map(|n| {
            // A request every quarter of an hour of its own time.
            let at_ms = EPOCH_MS - age_ms + number * 900_000 + n;
            (Id { tenant, at_ms, name: name(n) }, ())
        });
        let ids: Vec<Id> = samples.map(|(id, ())| id).collect();
        ids.into_iter().map(|id| Sample { id, value: self.rng.random() }).collect()
    }

    async fn send(&mut self, samples: &[Sample], writer: usize) {
        let rows: Vec<(&str, i64, f64)> =
            samples.iter().map(|sample| (sample.id.name.as_str(), sample.id.at_ms, sample.value)).collect();
        let mut may_be_stored = false;
        for attempt in 0..self.rng.random_range(1..4_usize) {
            // The second time it is another process that gets it.
            let writer = &self.writers[(writer + attempt) % self.writers.len()];
            let patience_ms = if self.rng.random_range(0..20) == 0 { 30 } else { 60_000 };
            let commit = writer.commit.commit(tenant(samples[0].id.tenant), float_rows(&rows));
            let answer = tokio::time::timeout(Duration::from_millis(patience_ms), commit).await;
            self.record.note(format!("{} {} {answer:?}", self.name, samples[0].id.at_ms));
            match answer {
                Ok(Ok(segment)) => {
                    self.check_ack(writer, &segment);
                    self.record.acked(samples);
                    self.record.count("requests acked", 1);
                    // Now and then the ack is lost on its way, and the client tries again.
                    if self.rng.random_range(0..10) > 0 {
                        return;
                    }
                }
                Ok(Err(error)) => {
                    if let CommitError::BrokenOff(why) = &error {
                        self.record.violation(Rule::TailHearsFirst, format!("a flush broke off: {why}"));
                    }
                    may_be_stored |= error.may_be_stored();
                }
                // Went away, or the writer is dead.
                Err(_) => may_be_stored = true,
            }
            self.sleep(Duration::from_millis(300)).await;
        }
        if self.record.acked_of(samples[0].id.tenant).contains(&samples[0].id) {
            return;
        }
        if may_be_stored {
            self.record.count("requests with unknown outcome", 1);
        } else {
            self.record.failed(samples);
            self.record.count("requests certainly not stored", 1);
        }
    }

    fn check_ack(&self, writer: &Writer, segment: &SegmentKey) {
        if !writer.tail.settled().contains(&(*segment, FlushOutcome::Durable)) {
            self.record.violation(Rule::TailHearsFirst, format!("{segment} was acked before"));
        }
    }

    async fn sleep(&mut self, at_most: Duration) {
        tokio::time::sleep(at_most.mul_f64(self.rng.random_range(0.0..=1.0))).await;
    }
}
