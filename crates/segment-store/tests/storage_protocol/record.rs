//! What was sent, acked and stored, what must hold of it, and what was seen to be broken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::data::{Id, Item, Kind, Value};
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
    /// What is stored can be found at any moment, also exemplars, the ends of series, and what metrics say about themselves.
    NothingIsLost,
    /// What a manifest refers to is there, and is not deleted.
    ReferencedIsThere,
    /// What readers may still need is not deleted.
    GraceIsKept,
    /// A reader gets its answer, from a new snapshot if need be.
    ReadsSucceed,
    /// The ledger counts what came to the tenant's segments: each sample, histogram and exemplar once.
    LedgerIsExact,
    /// The tail hears of each segment once, and before the ack.
    TailHearsFirst,
    /// Compaction meets nothing that it cannot cope with.
    CompactionWorks,
    /// At rest there is one segment for each window, and nothing else.
    NothingIsLeft,
    /// At rest nothing changes any more.
    RestIsRest,
    /// Only what writers store changes which of equal samples wins.
    WinnersStay,
    /// Thinned segments say what the raw ones of their day say.
    ThinnedIsTrue,
    /// Who follows a shard's manifest sees by its numbers that something has come and gone.
    FollowersAreTold,
    /// Of a deleted tenant there is no byte.
    DeletedIsGone,
}

#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    pub(crate) what: String,
}

/// The tenant of that name as it is called here.
pub(crate) fn known_tenant(name: &str) -> &'static str {
    TENANTS.into_iter().find(|known| *known == name).expect("nobody else writes")
}

/// Something in a snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// The value that wins.
    pub(crate) value: Value,
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
    sent: BTreeMap<Id, BTreeSet<Value>>,
    /// What several requests had, with the same value.
    sent_again: BTreeSet<(Id, Value)>,
    acked: BTreeSet<Id>,
    failed: BTreeSet<(Id, Value)>,
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

    pub(crate) fn sent(&self, items: &[Item]) {
        let mut state = self.state.lock();
        for item in items {
            let (id, value) = (item.id(), item.value());
            if !state.sent.entry(id.clone()).or_default().insert(value) {
                state.sent_again.insert((id, value));
            }
        }
    }

    pub(crate) fn acked(&self, items: &[Item]) {
        self.state.lock().acked.extend(items.iter().map(Item::id));
    }

    /// Every try to store them ended with the certainty that it is not.
    pub(crate) fn failed(&self, items: &[Item]) {
        self.state.lock().failed.extend(items.iter().map(|item| (item.id(), item.value())));
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

    /// What the latest clock shows.
    fn latest_now_ms(&self) -> i64 {
        EPOCH_MS + (self.started.elapsed() + CLOCK_ERROR).as_millis() as i64
    }

    /// Whether `id` may have been dropped for its age, by somebody's clock.
    pub(crate) fn may_be_dropped(&self, id: &Id) -> bool {
        id.tenant == FORGETFUL && self.is_too_old(id.at_ms, 1)
    }

    /// Whether by somebody's clock what is of `at_ms` is too old for [`FORGETFUL`], or `times` that.
    pub(crate) fn is_too_old(&self, at_ms: i64, times: u32) -> bool {
        at_ms < self.latest_now_ms() - (RETENTION * times).as_millis() as i64
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
            let of_request = (id.clone(), seen.value);
            if state.failed.contains(&of_request) && !state.sent_again.contains(&of_request) {
                broken.push((Rule::FailedIsNotThere, id));
            }
            if !state.sent.get(id).is_some_and(|values| values.contains(&seen.value)) {
                broken.push((Rule::WasSent, id));
            }
            let landed = state.landed.get(id).copied().unwrap_or_default();
            if still && seen.places > landed && id.kind != Kind::Metadata {
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
