//! One run: who lives in the world of a seed, and how it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::compact::{Compactor, CompactorSettings, Step, prove_deleted};
use segment_store::testing::{Faults, Faulty, Hooked, MemoryBucket, tenant};
use segment_store::{Bucket, GetRange, Retrying, Seed, ShardId, Snapshot, TenantManifest};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::breaks::{Break, Role};
use crate::compactor::{self, delete_tenant, keep_compacting, note_error, note_step};
use crate::data::Kind;
use crate::process::{Fate, Process, ProcessView};
use crate::reader::{self, Reader};
use crate::record::{DELETED, Found, Record, Rule, TENANTS, Violation};
use crate::rivals::Rivals;
use crate::watched::Watched;
use crate::writer::{Client, Writer};

pub(crate) const SHARD: ShardId = ShardId(0);
/// 2026-01-02 00:40: some samples are of the day before.
pub(crate) const EPOCH_MS: i64 = 1_767_314_400_000;
/// By how much any clock is wrong at most.
pub(crate) const CLOCK_ERROR: Duration = Duration::from_secs(120);
/// The default.
pub(crate) const GRACE: Duration = Duration::from_secs(600);
/// How much later than it was made a request is done at most, where none is hours late: tries and one that comes late.
pub(crate) const LATENESS: Duration = Duration::from_secs(100);

const WRITERS: usize = 3;
const CLIENTS: usize = 6;
const READERS: usize = 2;
/// What is longer does not end at all.
const MAX_TIME: Duration = Duration::from_secs(60 * 3_600);
/// Compaction goes on for so long after the last request.
const AFTERMATH: Duration = Duration::from_secs(3_600);
/// After this everybody is awake, and what was late is done.
const QUIET: Duration = Duration::from_secs(4 * 3_600);

/// How a run went.
#[derive(Clone, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    pub(crate) trace: Vec<String>,
    pub(crate) contents: Vec<(String, Bytes)>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
}

/// Runs the world of `seed` to its end, or to the first violation.
pub(crate) fn simulate(seed: u64, broken: Break) -> Report {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, broken);
        let (record, watched) = (Arc::clone(&world.record), Arc::clone(&world.watched));
        tokio::select! {
            biased;
            () = record.violated.cancelled() => {}
            ended = tokio::time::timeout(MAX_TIME, world.run()) => {
                if ended.is_err() {
                    record.violation(Rule::RestIsRest, "the run does not end".to_owned());
                }
            }
        }
        let (violations, trace, counts) = record.take();
        Report { violations, trace, counts, contents: everything(&*watched).await }
    })
}

/// What all have in common, and a generator of one's own.
pub(crate) struct World {
    pub(crate) rng: ChaCha8Rng,
    pub(crate) record: Arc<Record>,
    /// The bucket itself, with no faults in between.
    watched: Arc<Hooked<Watched>>,
    faulty: Arc<Faulty>,
    pub(crate) broken: Break,
    late_requests: bool,
}

impl World {
    fn new(seed: u64, broken: Break) -> Self {
        let mut rng = Seed::from_number(seed).rng();
        let record = Arc::new(Record::new());
        let late_requests = rng.random_range(0..4) == 0;
        let watched = Watched::new(Arc::clone(&record), !late_requests);
        let watched = Arc::new(Hooked::new(Arc::new(MemoryBucket::default()), watched));
        let rivals = Rivals::new(&next_seed(&mut rng), Arc::clone(&record));
        let rivals = Hooked::new(Arc::clone(&watched) as _, rivals);
        let delay_max = [Duration::from_millis(150), Duration::from_secs(3)][rng.random_range(0..2_usize)];
        let faults = match rng.random_range(0..4) {
            // A third of what is asked fails: some run out of time.
            0 => Faults { refused: 150, lost_before: 60, lost_after: 90, late: 50, ..Faults::often() },
            // Much is not served, but all is certain.
            1 => Faults { refused: 650, conflict: 50, doubled: 20, ..Faults::default() },
            _ => Faults::often(),
        };
        let faults = Faults { delay_max, ..faults };
        let faulty = Arc::new(Faulty::new(Arc::new(rivals), faults, &next_seed(&mut rng)));
        Self { rng, record, watched, faulty, broken, late_requests }
    }

    /// The same world for somebody else.
    fn for_another(&mut self) -> Self {
        Self {
            rng: next_seed(&mut self.rng).rng(),
            record: Arc::clone(&self.record),
            watched: Arc::clone(&self.watched),
            faulty: Arc::clone(&self.faulty),
            broken: self.broken,
            late_requests: self.late_requests,
        }
    }

    async fn run(mut self) {
        let mut clients = JoinSet::new();
        let writers: Arc<Vec<Writer>> = Arc::new((0..WRITERS).map(|number| self.writer(number)).collect());
        let pause = Duration::from_secs([20, 300, 1_800][self.rng.random_range(0..3_usize)]);
        for number in 0..CLIENTS {
            let client = Client {
                name: format!("client_{number}"),
                rng: next_seed(&mut self.rng).rng(),
                writers: Arc::clone(&writers),
                record: Arc::clone(&self.record),
                pause,
            };
            clients.spawn(client.run());
        }
        let settings = self.settings();
        let stop = CancellationToken::new();
        let mut others = JoinSet::new();
        for number in 0..self.rng.random_range(2..4) {
            others.spawn(keep_compacting(self.for_another(), number, settings.clone(), stop.clone()));
        }
        for number in 0..READERS {
            others.spawn(self.reader(number).run(stop.clone()));
        }
        let mut deleter = JoinSet::new();
        if self.rng.random() {
            deleter.spawn(delete_tenant(self.for_another(), settings.clone()));
        }

        join(clients).await;
        tokio::time::sleep(AFTERMATH).await;
        stop.cancel();
        for writer in writers.iter() {
            if !writer.process.is_dead() {
                writer.commit.shutdown().await;
                writer.check_tail(&self.record);
            }
            writer.count(&self.record);
        }
        join(others).await;
        join(deleter).await;
        self.faulty.heal();
        self.record.note("all is quiet".to_owned());
        tokio::time::sleep(QUIET).await;
        self.come_to_rest(settings).await;
    }

    /// One compactor, no faults: everything comes to rest.
    async fn come_to_rest(&mut self, settings: CompactorSettings) {
        let before = self.read_all().await;
        for round in 0..5 {
            self.rest(&settings, round).await;
            tokio::time::sleep(GRACE + settings.orphan_age + 2 * CLOCK_ERROR).await;
            // What became too old in the last round is deleted with the next.
            if round >= 2 && !self.watched.has_retired() {
                break;
            }
        }
        let contents = everything(&*self.watched).await;
        self.watched.check_at_rest(&contents.iter().map(|(key, _)| key.clone()).collect());
        let after = self.read_all().await;
        for (of, found) in &after {
            self.record.check("at rest", &self.record.acked_of(of), found, true);
            let samples = before[of].iter().filter(|(id, _)| id.kind == Kind::Sample);
            for (id, was) in samples {
                // It may have become too old.
                if let Some(is) = found.get(id).filter(|is| is.value != was.value) {
                    self.record.violation(Rule::WinnersStay, format!("{id:?} was {was:?} and is {is:?}"));
                }
            }
        }
        if self.record.is_deleted(DELETED) {
            let proof = prove_deleted(&*self.watched, SHARD, &tenant(DELETED)).await.unwrap();
            if !proof.holds() {
                self.record.violation(Rule::DeletedIsGone, format!("{proof:?}"));
            }
        }
        let steps = self.rest(&settings, 3).await;
        if steps != [Step::Rest] || everything(&*self.watched).await != contents {
            self.record.violation(Rule::RestIsRest, format!("{steps:?}"));
        }
    }

    async fn rest(&mut self, settings: &CompactorSettings, round: usize) -> Vec<Step> {
        let name = format!("janitor {round}");
        let process = self.process(&name, Fate::default());
        let bucket: Arc<dyn Bucket> =
            Arc::new(ProcessView::new(Arc::clone(&self.faulty) as _, Arc::clone(&process), 1_000, false));
        let bucket = self.broken.seen_by(Role::Compactor, bucket);
        let mut janitor =
            Compactor::new(compactor::parts(bucket, &process, &mut self.rng, settings.clone(), self.broken));
        let mut steps = Vec::new();
        let record = Arc::clone(&self.record);
        let done = janitor.run_until_rest(|step| {
            note_step(&record, &name, step);
            steps.push(step.clone());
        });
        match tokio::time::timeout(Duration::from_secs(60), done).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => note_error(&self.record, &name, &error),
            Err(_) => self.record.violation(Rule::RestIsRest, format!("{name} does not end")),
        }
        steps
    }

    /// What all tenants have, at this moment.
    async fn read_all(&self) -> BTreeMap<&'static str, Found> {
        let mut all = BTreeMap::new();
        for of in TENANTS.into_iter().filter(|of| !self.record.is_deleted(of)) {
            let snapshot = Snapshot::take(&*self.watched, SHARD, &tenant(of)).await.unwrap();
            let Snapshot { fresh, merged, tenant: TenantManifest { segments, .. }, shard } = &snapshot;
            let places = &shard.absorbed_to;
            self.record.note(format!("{of}: {fresh:?}, {merged:?}, {segments:?}, places {places:?}"));
            all.insert(of, reader::read(&*self.watched, &snapshot, of).await.unwrap());
        }
        all
    }

    fn settings(&mut self) -> CompactorSettings {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let settings = CompactorSettings {
            grace: GRACE,
            orphan_age: minutes([1, 10, 60][self.rng.random_range(0..3_usize)]),
            put_time: Duration::from_secs(self.rng.random_range(2..30)),
            expire_interval: minutes(1),
            sweep_interval: minutes(self.rng.random_range(1..60)),
            few_tenants: [0, 200][self.rng.random_range(0..2_usize)],
            ..CompactorSettings::default()
        };
        self.broken.settings(settings)
    }

    fn process(&mut self, name: &str, fate: Fate) -> Arc<Process> {
        let rng = next_seed(&mut self.rng).rng();
        Process::new(name.to_owned(), fate, rng, Arc::clone(&self.record))
    }

    fn writer(&mut self, number: usize) -> Writer {
        // The last one dies in the middle of its work.
        let dies = if number == WRITERS - 1 { 60 } else { 0 };
        let process =
            self.process(&format!("writer {number}"), Fate { stalls: 4, dies, late_requests: false });
        let bucket = self.bucket(Role::Writer, &process, false);
        Writer::new(bucket, process, &mut self.rng)
    }

    fn reader(&mut self, number: usize) -> Reader {
        let name = format!("reader {number}");
        let process = self.process(&name, Fate { stalls: 40, ..Fate::default() });
        Reader {
            name,
            bucket: self.bucket(Role::Reader, &process, true),
            process,
            rng: next_seed(&mut self.rng).rng(),
            watched: Arc::clone(&self.watched),
            record: Arc::clone(&self.record),
        }
    }

    pub(crate) fn compactor_process(&mut self, name: String) -> Arc<Process> {
        let fate = Fate { stalls: 10, dies: 4, late_requests: self.late_requests };
        self.process(&name, fate)
    }

    pub(crate) fn compactor_bucket(&mut self, process: &Arc<Process>) -> Arc<dyn Bucket> {
        self.bucket(Role::Compactor, process, false)
    }

    /// The bucket with everything that lies between it and a process.
    fn bucket(&mut self, role: Role, process: &Arc<Process>, once: bool) -> Arc<dyn Bucket> {
        let page = [2, 7, 1_000][self.rng.random_range(0..3_usize)];
        let view = ProcessView::new(Arc::clone(&self.faulty) as _, Arc::clone(process), page, once);
        let clock = Arc::clone(&process.clock) as _;
        let retrying: Arc<dyn Bucket> = match role {
            Role::Writer => Arc::new(view),
            Role::Reader | Role::Compactor => {
                Arc::new(Retrying::new(Arc::new(view), clock, &next_seed(&mut self.rng)))
            }
        };
        self.broken.seen_by(role, retrying)
    }

    pub(crate) async fn sleep_up_to(&mut self, at_most: Duration) {
        tokio::time::sleep(at_most.mul_f64(self.rng.random_range(0.0..=1.0))).await;
    }

    /// The time until the next multiple of `interval`.
    pub(crate) fn until_next(&self, interval: Duration) -> Duration {
        let elapsed = self.record.started.elapsed().as_secs();
        Duration::from_secs((elapsed / interval.as_secs() + 1) * interval.as_secs())
            - Duration::from_secs(elapsed)
    }
}

/// All objects.
async fn everything(bucket: &dyn Bucket) -> Vec<(String, Bytes)> {
    let page = bucket.list("", None, usize::MAX).await.unwrap();
    assert!(!page.truncated, "a run is smaller than a page");
    let mut contents = Vec::new();
    for object in page.objects {
        let body = bucket.get(&object.key, GetRange::Full).await.unwrap().body;
        contents.push((object.key, body));
    }
    contents
}

async fn join(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

fn next_seed(rng: &mut ChaCha8Rng) -> Seed {
    Seed::from_number(rng.random())
}
