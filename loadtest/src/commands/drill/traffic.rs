//! Writers and readers that never stop, whatever happens to the servers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::cell::Place;
use super::journal::Journal;
use crate::api::{ApiError, Client};
use crate::cli::Drill;
use crate::clock;
use crate::verify::{Group, Verdict, verify};

/// How often a request that failed is sent again; otherwise it stays open whether its samples are there.
const RESEND_PROBABILITY: f64 = 0.5;
/// How often a request that was acked is sent again, as by a client that did not hear the ack.
const REPEAT_PROBABILITY: f64 = 0.02;
/// Pause after a request that failed, so that a server that refuses at once is not asked without end.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Pause between two questions of a reader.
const READ_PAUSE: Duration = Duration::from_millis(20);
/// Requests of one writer that a reader asks for.
const READ_REQUESTS: usize = 300;
/// Findings that are listed of each round or step.
const FINDINGS_A_TIME: usize = 5;
/// Findings that are listed at most.
const FINDINGS_MAX: usize = 200;
/// When writers and readers find something.
const UNDER_LOAD: &str = "under load";
/// How often the servers are asked when everything is read back and they do not answer.
const READ_BACK_TRIES: u32 = 60;
/// Pause between these.
const READ_BACK_PAUSE: Duration = Duration::from_millis(500);

/// What happened so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    pub(super) resent: u64,
    pub(super) write_errors: BTreeMap<String, u64>,
    pub(super) queries: u64,
    pub(super) query_errors: BTreeMap<String, u64>,
    /// The longest time between two acks, of whatever writers.
    pub(super) longest_without_ack: Duration,
    /// What must not have happened, one line each.
    pub(super) findings: Vec<String>,
    last_ack: Option<Instant>,
}

impl Counts {
    fn acked(&mut self, at: Instant) {
        if let Some(last) = self.last_ack.replace(at) {
            self.longest_without_ack = self.longest_without_ack.max(at - last);
        }
    }

    /// Notes what must not be, found at a time that has a name. Of each time only the first are kept.
    fn find(&mut self, when: &str, finding: impl std::fmt::Display) {
        let of_that_time = self.findings.iter().filter(|known| known.starts_with(when)).count();
        if of_that_time < FINDINGS_A_TIME && self.findings.len() < FINDINGS_MAX {
            self.findings.push(format!("{when}: {finding}"));
        }
    }
}

/// What writers and readers share.
#[derive(Debug)]
struct Shared {
    journals: Vec<Mutex<Journal>>,
    counts: Mutex<Counts>,
    /// Told at each ack.
    acked: tokio::sync::Notify,
    stop: tokio::sync::watch::Sender<bool>,
    /// What was acked so long ago must be in answers.
    visible_within: Duration,
}

/// A lock whose holders do nothing that could panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writers and readers at work.
#[derive(Debug)]
pub(super) struct Traffic {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Traffic {
    /// Starts them.
    pub(super) fn start(args: &Drill, writes: &Place, reads: &Place, visible_within: Duration) -> Self {
        let now_ms = clock::unix_ms();
        let (run, first_ms) = (format!("{now_ms:x}"), now_ms - super::PAST.as_millis() as i64);
        let journal = |writer| Mutex::new(Journal::new(writer, args.series_per_writer, &run, first_ms));
        let shared = Arc::new(Shared {
            journals: (0..args.writers).map(journal).collect(),
            counts: Mutex::default(),
            acked: tokio::sync::Notify::new(),
            stop: tokio::sync::watch::Sender::new(false),
            visible_within,
        });
        let rng =
            |number: u32| ChaCha8Rng::seed_from_u64(args.seed ^ (u64::from(number) + 1).rotate_left(32));
        let mut tasks = JoinSet::new();
        for writer in 0..args.writers {
            tasks.spawn(write_on(shared.clone(), writer as usize, writes.clone(), rng(writer)));
        }
        for reader in 0..args.readers {
            tasks.spawn(read_on(shared.clone(), reads.clone(), rng(args.writers + reader)));
        }
        Self { shared, tasks }
    }

    /// Waits for an ack that comes after `since`; `None` when there is none within `longest`.
    pub(super) async fn ack_after(&self, since: Instant, longest: Duration) -> Option<Duration> {
        let acked = async {
            loop {
                let told = self.shared.acked.notified();
                let last = lock(&self.shared.counts).last_ack;
                if let Some(after) = last.and_then(|last| last.checked_duration_since(since)) {
                    return after;
                }
                told.await;
            }
        };
        tokio::time::timeout(longest, acked).await.ok()
    }

    /// Waits until readers got so many more answers, as long as that takes some time only.
    pub(super) async fn more_answers(&self, answers: u64) {
        let enough = lock(&self.shared.counts).queries + answers;
        let answered = async {
            while lock(&self.shared.counts).queries < enough {
                tokio::time::sleep(READ_PAUSE).await;
            }
        };
        // Why there are none is among the readers' errors.
        let _ = tokio::time::timeout(super::RECOVERY_MAX, answered).await;
    }

    /// Requests that were acked so far, sent again or not.
    pub(super) fn acked_requests(&self) -> usize {
        self.shared.journals.iter().map(|journal| lock(journal).acked_len()).sum()
    }

    /// Requests that each writer has begun.
    pub(super) fn begun(&self) -> Vec<usize> {
        self.shared.journals.iter().map(|journal| lock(journal).len()).collect()
    }

    /// Reads back each writer's requests from the one with the given number on, asking again while nobody answers.
    pub(super) async fn read_back(&self, reads: &Place, from: &[usize]) -> Result<Verdict, ApiError> {
        let groups = || -> Vec<Group> {
            let acked_by = clock::now() - self.shared.visible_within;
            let journals = self.shared.journals.iter().zip(from);
            journals.map(|(journal, from)| lock(journal).expected(*from..usize::MAX, acked_by)).collect()
        };
        let mut tries = 1;
        loop {
            match verify(&mut Client::new(reads.get()), &groups()).await {
                Err(error) if may_come_right(&error) && tries < READ_BACK_TRIES => {
                    tries += 1;
                    tokio::time::sleep(READ_BACK_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    /// What happened so far.
    pub(super) fn counts(&self) -> Counts {
        lock(&self.shared.counts).clone()
    }

    /// Notes what must not be, found at a time that has a name.
    pub(super) fn find(&self, when: &str, finding: impl std::fmt::Display) {
        lock(&self.shared.counts).find(when, finding);
    }

    /// Waits until every writer and reader has ended its last request.
    pub(super) async fn stop(&mut self) {
        self.shared.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Whether the same request may succeed later: there was no answer, or it says so.
fn may_come_right(error: &ApiError) -> bool {
    match error {
        ApiError::Unanswered(_) => true,
        ApiError::Refused { status, .. } => {
            status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
        }
        ApiError::NotUnderstood { .. } => false,
    }
}

/// A client for where the servers are now.
struct Moving {
    place: Place,
    at: crate::http::Endpoint,
    client: Client,
}

impl Moving {
    fn new(place: Place) -> Self {
        let at = place.get();
        Self { client: Client::new(at.clone()), at, place }
    }

    fn client(&mut self) -> &mut Client {
        let at = self.place.get();
        if at != self.at {
            self.client = Client::new(at.clone());
            self.at = at;
        }
        &mut self.client
    }
}

async fn write_on(shared: Arc<Shared>, writer: usize, place: Place, mut rng: ChaCha8Rng) {
    let mut server = Moving::new(place);
    let journal = &shared.journals[writer];
    let mut failed = None;
    while !*shared.stop.borrow() {
        let again = failed.take().filter(|_| rng.random_bool(RESEND_PROBABILITY));
        let request = match again {
            Some(request) => request,
            None if rng.random_bool(REPEAT_PROBABILITY) => lock(journal).len().saturating_sub(1),
            None => lock(journal).begin(),
        };
        lock(&shared.counts).resent += u64::from(again.is_some());
        let body = lock(journal).body(request);
        let answer = server.client().write(body).await;
        let now = clock::now();
        match answer {
            Ok(()) => {
                lock(journal).ack(request, now);
                lock(&shared.counts).acked(now);
                shared.acked.notify_waiters();
            }
            Err(error) => {
                {
                    let mut counts = lock(&shared.counts);
                    *counts.write_errors.entry(error.kind()).or_default() += 1;
                    if !may_come_right(&error) {
                        counts.find(
                            UNDER_LOAD,
                            format!("a good write was refused: {}", crate::error_chain(&error)),
                        );
                    }
                }
                failed = Some(request);
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn read_on(shared: Arc<Shared>, place: Place, mut rng: ChaCha8Rng) {
    let mut server = Moving::new(place);
    while !*shared.stop.borrow() {
        tokio::time::sleep(READ_PAUSE).await;
        let writer = rng.random_range(0..shared.journals.len());
        let group = {
            let journal = lock(&shared.journals[writer]);
            // The newest, or any.
            let last_first = journal.len().saturating_sub(READ_REQUESTS);
            let first = if rng.random_bool(0.5) { last_first } else { rng.random_range(0..=last_first) };
            let acked_by = clock::now().checked_sub(shared.visible_within);
            let Some(acked_by) = acked_by else { continue };
            journal.expected(first..first + READ_REQUESTS, acked_by)
        };
        let answer = verify(server.client(), std::slice::from_ref(&group)).await;
        let mut counts = lock(&shared.counts);
        match answer {
            Ok(verdict) => {
                counts.queries += 1;
                for finding in verdict.findings {
                    counts.find(UNDER_LOAD, finding);
                }
            }
            Err(error) => {
                *counts.query_errors.entry(error.kind()).or_default() += 1;
                if !may_come_right(&error) {
                    counts.find(
                        UNDER_LOAD,
                        format!("a good query was refused: {}", crate::error_chain(&error)),
                    );
                }
            }
        }
    }
}
