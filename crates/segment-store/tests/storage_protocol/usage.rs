//! What the ledger must say.

use std::collections::{BTreeMap, BTreeSet};

use segment_store::{Hour, HourUsage, Ledger};

use crate::data::{Id, Kind, Value};

/// What `after` has and `before` had not.
pub(crate) fn usage_of_new(before: &BTreeMap<Id, Value>, after: &BTreeMap<Id, Value>) -> Ledger {
    let mut ledger = Ledger::default();
    for (id, value) in after.iter().filter(|(id, _)| !before.contains_key(*id)) {
        let usage = match value {
            Value::Float(_) => HourUsage { samples: 1, bytes: 16, ..HourUsage::default() },
            Value::Histogram { numbers, .. } => {
                HourUsage { histogram_samples: 1, bytes: 8 * numbers, ..HourUsage::default() }
            }
            Value::Exemplar => HourUsage { exemplars: 1, ..HourUsage::default() },
            Value::Metadata(_) => continue,
        };
        ledger.hours.entry(Hour::of(id.at_ms)).or_default().add(&usage);
    }
    for (hour, _) in active(after).difference(&active(before)) {
        ledger.hours.entry(*hour).or_default().active_series += 1;
    }
    ledger
}

/// Which series have a sample in which hour.
fn active(of: &BTreeMap<Id, Value>) -> BTreeSet<(Hour, &str)> {
    let samples = of.keys().filter(|id| id.kind == Kind::Sample);
    samples.map(|id| (Hour::of(id.at_ms), id.name.as_str())).collect()
}
