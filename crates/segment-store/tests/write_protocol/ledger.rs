//! What was sent, acked and certainly not stored; and the check of a snapshot against it.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

pub(crate) const TENANTS: [&str; 3] = ["ants", "bees", "cats"];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sample {
    pub(crate) tenant: &'static str,
    pub(crate) name: String,
    pub(crate) at_ms: i64,
    pub(crate) value: f64,
}

/// Tenant, metric, timestamp.
pub(crate) type Id = (String, String, i64);
/// The value by its bits.
pub(crate) type Found = BTreeMap<Id, u64>;

impl Sample {
    fn id(&self) -> Id {
        (self.tenant.to_owned(), self.name.clone(), self.at_ms)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sent: BTreeMap<Id, u64>,
    acked: BTreeSet<Id>,
    certainly_not_stored: BTreeSet<Id>,
    violations: Vec<String>,
    trace: Vec<String>,
}

impl Ledger {
    pub(crate) fn sent(&self, samples: &[Sample]) {
        let mut state = self.state.lock();
        for sample in samples {
            let before = state.sent.insert(sample.id(), sample.value.to_bits());
            assert!(before.is_none_or(|bits| bits == sample.value.to_bits()), "samples are unique");
        }
    }

    pub(crate) fn acked(&self, samples: &[Sample]) {
        self.state.lock().acked.extend(samples.iter().map(Sample::id));
    }

    pub(crate) fn certainly_not_stored(&self, samples: &[Sample]) {
        self.state.lock().certainly_not_stored.extend(samples.iter().map(Sample::id));
    }

    /// What was acked of `tenant` up to now.
    pub(crate) fn acked_of(&self, tenant: &str) -> BTreeSet<Id> {
        self.state.lock().acked.iter().filter(|id| id.0 == tenant).cloned().collect()
    }

    /// Checks a snapshot of one tenant, begun when `acked` was acked.
    pub(crate) fn check(&self, reader: &str, acked: &BTreeSet<Id>, found: &Found) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let violations = &mut state.violations;
        for id in acked.iter().filter(|id| !found.contains_key(*id)) {
            violations.push(format!("{reader}: {id:?} was acked and is not there"));
        }
        for (id, bits) in found {
            if state.certainly_not_stored.contains(id) {
                violations.push(format!("{reader}: {id:?} was certainly not stored and is there"));
            }
            if state.sent.get(id) != Some(bits) {
                violations.push(format!("{reader}: {id:?} has a value that nobody sent"));
            }
        }
    }

    pub(crate) fn violation(&self, text: String) {
        self.state.lock().violations.push(text);
    }

    /// Notes an event.
    pub(crate) fn note(&self, text: String) {
        self.state.lock().trace.push(text);
    }

    /// Violations and events.
    pub(crate) fn take(&self) -> (Vec<String>, Vec<String>) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.violations), std::mem::take(&mut state.trace))
    }
}
