//! What was sent, acked and stored, what must hold of it, and what was seen to be broken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::world::{CLOCK_ERROR, EPOCH_MS};

/// Of these one is deleted on the way, and one keeps its data for [`RETENTION`] only.
pub(crate) const TENANTS: [&str; 4] = ["ants", "bees", FORGETFUL, DELETED];
pub(crate) const FORGETFUL: &str = "cats";
pub(crate) const DELETED: &str = "dodos";
pub(crate) const RETENTION: Duration = Duration::from_secs(30 * 3_600);

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rule {
    /// What was acked before a snapshot was begun is in it.
    AckedIsThere,
    /// What every try said to be not stored is in no snapshot.
    FailedIsNotThere,
    /// What is in a snapshot was sent, with that value.
    WasSent,
    /// What was stored once is found in one place only.
    Once,
    /// What is stored can be found at any moment.
    NothingIsLost,
    /// What a manifest refers to is there, and is not deleted.
    ReferencedIsThere,
    /// What readers may still need is not deleted.
    GraceIsKept,
    /// A reader gets its answer, from a new snapshot if need be.
    ReadsSucceed,
    /// The ledger counts what is in the tenant's segments, each sample once.
    LedgerIsExact,
    /// The tail hears of each segment once, and before the ack.
    TailHearsFirst,
    /// Compaction meets nothing that it cannot cope with.
    CompactionWorks,
    /// At rest there is one segment for each window, and nothing else.
    NothingIsLeft,
    /// At rest nothing changes any more.
    RestIsRest,
    /// Merging does not change which of equal samples wins.
    WinnersStay,
    /// Of a deleted tenant there is no byte.
    DeletedIsGone,
}

#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) id: Id,
    pub(crate) value: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) tenant: &'static str,
    pub(crate) at_ms: i64,
    pub(crate) name: String,
}

/// The tenant of that name as it is called here.
pub(crate) fn known_tenant(name: &str) -> &'static str {
    TENANTS.into_iter().find(|known| *known == name).expect("nobody else writes")
}

/// A sample in a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The value that wins, by its bits.
    pub(crate) bits: u64,
    /// In how many places it is.
    pub(crate) places: u32,
}

pub(crate) type Found = BTreeMap<Id, Seen>;

#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) started: Instant,
    state: Mutex<State>,
    /// Ends with the first violation.
    pub(crate) violated: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    sent: BTreeMap<Id, BTreeSet<u64>>,
    acked: BTreeSet<Id>,
    failed: BTreeSet<(Id, u64)>,
    /// How many objects that a writer put hold it.
    landed: BTreeMap<Id, u32>,
    deleting: bool,
    violations: Vec<Violation>,
    trace: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
}

impl Record {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), state: Mutex::default(), violated: CancellationToken::new() }
    }

    pub(crate) fn sent(&self, samples: &[Sample]) {
        let mut state = self.state.lock();
        for sample in samples {
            state.sent.entry(sample.id.clone()).or_default().insert(sample.value.to_bits());
        }
    }

    pub(crate) fn acked(&self, samples: &[Sample]) {
        self.state.lock().acked.extend(samples.iter().map(|sample| sample.id.clone()));
    }

    /// Every try to store them ended with the certainty that it is not.
    pub(crate) fn failed(&self, samples: &[Sample]) {
        let failed = samples.iter().map(|sample| (sample.id.clone(), sample.value.to_bits()));
        self.state.lock().failed.extend(failed);
    }

    /// An object with these was put by a writer.
    pub(crate) fn landed<'a>(&self, ids: impl Iterator<Item = &'a Id>) {
        let mut state = self.state.lock();
        ids.for_each(|id| *state.landed.entry(id.clone()).or_default() += 1);
    }

    /// How often what of `tenant` was stored.
    pub(crate) fn landed_of(&self, tenant: &str) -> BTreeMap<Id, u32> {
        let state = self.state.lock();
        state.landed.iter().filter(|(id, _)| id.tenant == tenant).map(|(id, n)| (id.clone(), *n)).collect()
    }

    /// What was acked of `tenant` up to now.
    pub(crate) fn acked_of(&self, tenant: &str) -> BTreeSet<Id> {
        self.state.lock().acked.iter().filter(|id| id.tenant == tenant).cloned().collect()
    }

    /// From now on nothing is promised about [`DELETED`] until it is proven gone.
    pub(crate) fn deletion_begins(&self) {
        self.state.lock().deleting = true;
    }

    pub(crate) fn is_deleted(&self, tenant: &str) -> bool {
        tenant == DELETED && self.state.lock().deleting
    }

    /// Whether `id` may have been dropped for its age, by somebody's clock.
    pub(crate) fn may_be_dropped(&self, id: &Id) -> bool {
        let ms = |time: Duration| time.as_millis() as i64;
        let latest_now_ms = EPOCH_MS + ms(self.started.elapsed()) + ms(CLOCK_ERROR);
        id.tenant == FORGETFUL && id.at_ms < latest_now_ms - ms(RETENTION)
    }

    /// Checks a snapshot of one tenant, begun when `acked` was acked. In a `still` one nothing moved while it was taken, so that
    /// nothing may be seen in two places.
    pub(crate) fn check(&self, reader: &str, acked: &BTreeSet<Id>, found: &Found, still: bool) {
        let missing = acked.iter().filter(|id| !found.contains_key(*id) && !self.may_be_dropped(id));
        for id in missing {
            self.violation(Rule::AckedIsThere, format!("{reader}: {id:?}"));
        }
        let mut broken = Vec::new();
        let state = self.state.lock();
        for (id, seen) in found {
            if state.failed.contains(&(id.clone(), seen.bits)) {
                broken.push((Rule::FailedIsNotThere, id));
            }
            if !state.sent.get(id).is_some_and(|values| values.contains(&seen.bits)) {
                broken.push((Rule::WasSent, id));
            }
            if still && seen.places > state.landed.get(id).copied().unwrap_or_default() {
                broken.push((Rule::Once, id));
            }
        }
        drop(state);
        for (rule, id) in broken {
            self.violation(rule, format!("{reader}: {id:?} is seen as {:?}", found[id]));
        }
    }

    pub(crate) fn violation(&self, rule: Rule, what: String) {
        self.note(format!("{rule:?} is broken: {what}"));
        self.state.lock().violations.push(Violation { rule, what });
        self.violated.cancel();
    }

    /// Notes an event.
    pub(crate) fn note(&self, text: String) {
        let at = self.started.elapsed();
        self.state.lock().trace.push(format!("{:>12.3} {text}", at.as_secs_f64()));
    }

    /// Counts something that a simulation must have seen to prove anything.
    pub(crate) fn count(&self, what: &'static str, times: u64) {
        *self.state.lock().counts.entry(what).or_default() += times;
    }

    /// Violations, events, counts.
    pub(crate) fn take(&self) -> (Vec<Violation>, Vec<String>, BTreeMap<&'static str, u64>) {
        let state = &mut *self.state.lock();
        (
            std::mem::take(&mut state.violations),
            std::mem::take(&mut state.trace),
            std::mem::take(&mut state.counts),
        )
    }
}
