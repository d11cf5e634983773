//! Processes that write, and their clients.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::testing::{RecordingTail, tenant};
use segment_store::{
    Bucket, CommitError, FlushOutcome, GroupCommit, GroupCommitParts, GroupCommitSettings, Seed, SegmentKey,
    WorkOn,
};
use telemetry::{is_stale_nan, stale_nan};

use crate::data::{Data, Item, rows_of};
use crate::process::Process;
use crate::record::{Record, Rule, TENANTS};
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
                flush_bytes: rng.random_range(100..1_000),
                pending_bytes: rng.random_range(2_000..6_000),
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

/// How old samples are, mostly new; the oldest are beyond what [`crate::record::FORGETFUL`] keeps, also of thinned ones.
const AGES_HOURS: [i64; 8] = [0, 0, 0, 0, 1, 5, 40, 140];

impl Client {
    pub(crate) async fn run(mut self) {
        let mut before: Vec<Item> = Vec::new();
        for number in 0..REQUESTS {
            self.sleep(self.pause).await;
            let writer = self.rng.random_range(0..self.writers.len());
            if self.rng.random_range(0..20) == 0 {
                self.writers[writer].process.set_clock();
            }
            let items = if !before.is_empty() && self.rng.random_range(0..8) == 0 {
                self.record.count("requests made again", 1);
                before.into_iter().map(|item| self.again(item)).collect()
            } else {
                self.items(number)
            };
            self.record.sent(&items);
            self.send(&items, writer).await;
            before = items;
        }
    }

    /// The same, where it has a value of its time with another one.
    fn again(&mut self, item: Item) -> Item {
        let data = match item.data {
            Data::Float(_) | Data::Histogram(_) if self.rng.random_range(0..4) == 0 => {
                Item::random_histogram(&mut self.rng)
            }
            Data::Float(_) | Data::Histogram(_) => Data::Float(self.rng.random()),
            same @ (Data::Exemplar(_) | Data::Metadata(_)) => same,
        };
        Item { data, ..item }
    }

    /// What nobody sent before.
    fn items(&mut self, number: i64) -> Vec<Item> {
        let tenant = TENANTS[self.rng.random_range(0..TENANTS.len())];
        let age_ms = AGES_HOURS[self.rng.random_range(0..AGES_HOURS.len())] * 3_600_000;
        // A request every quarter of an hour of its own time.
        let from_ms = EPOCH_MS - age_ms + number * 900_000;
        let name = |n: i64| format!("{}{}", self.name, ["", "_total", "_seconds"][n as usize % 3]);
        let item = |n: i64, at_ms, data| Item { tenant, name: name(n), at_ms, data };
        let rng = &mut self.rng;
        let mut items: Vec<Item> = match rng.random_range(0..12) {
            0 => Vec::new(),
            // Many of one series, so close to each other that thinning leaves some out.
            1..3 => (0..rng.random_range(5..14))
                .map(|n| item(0, from_ms + n * 20_000, Data::Float(rng.random())))
                .collect(),
            3..5 => (0..rng.random_range(1..3))
                .map(|n| item(2, from_ms + n, Item::random_histogram(rng)))
                .collect(),
            _ => {
                (0..rng.random_range(1..4)).map(|n| item(n, from_ms + n, Data::Float(rng.random()))).collect()
            }
        };
        if let Some(last) = items.last_mut()
            && rng.random_range(0..6) == 0
        {
            last.data = Data::Float(stale_nan());
        }
        if rng.random_range(0..3) == 0 {
            for n in 0..rng.random_range(1..3) {
                // Some of a time of which there are no samples.
                let at_ms = from_ms - [0, 0, 3_600_000][rng.random_range(0..3_usize)];
                items.push(item(n, at_ms, Item::random_exemplar(at_ms, rng)));
            }
        }
        if items.is_empty() || rng.random_range(0..4) == 0 {
            items.push(item(0, 0, Item::random_metadata(rng)));
        }
        for item in &items {
            let what = match &item.data {
                Data::Float(value) if is_stale_nan(*value) => "ends of series sent",
                Data::Float(_) => "floats sent",
                Data::Histogram(_) => "histograms sent",
                Data::Exemplar(_) => "exemplars sent",
                Data::Metadata(_) => "metadata sent",
            };
            self.record.count(what, 1);
        }
        items
    }

    async fn send(&mut self, items: &[Item], writer: usize) {
        let of = items[0].tenant;
        let (mut acked, mut may_be_stored) = (false, false);
        for attempt in 0..self.rng.random_range(1..4_usize) {
            // The second time it is another process that gets it.
            let writer = &self.writers[(writer + attempt) % self.writers.len()];
            let patience_ms = if self.rng.random_range(0..20) == 0 { 30 } else { 60_000 };
            let commit = writer.commit.commit(tenant(of), rows_of(items));
            let answer = tokio::time::timeout(Duration::from_millis(patience_ms), commit).await;
            self.record.note(format!("{} {:?} {answer:?}", self.name, items[0].id()));
            match answer {
                Ok(Ok(segment)) => {
                    self.check_ack(writer, &segment);
                    self.record.acked(items);
                    acked = true;
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
        if acked {
            return;
        }
        if may_be_stored {
            self.record.count("requests with unknown outcome", 1);
        } else {
            self.record.failed(items);
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
