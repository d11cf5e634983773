//! Which metadata is durable already. Senders repeat metadata with every request or every minute; storing it each time
//! would cost more than the samples.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
use telemetry::Metadata;
use wire::remote_write::MetadataRef;
use xxhash_rust::xxh3::{Xxh3Builder, xxh3_64_with_seed};

use crate::limits::{MAX_REMEMBERED_FAMILIES, METADATA_INTERVAL};

/// The metric families of one tenant whose metadata was stored lately.
#[derive(Debug)]
pub(crate) struct StoredFamilies {
    seed: u64,
    /// Hash of the name → hash of what was stored, and when on the monotonic clock.
    stored: Mutex<HashMap<u64, (u64, Duration), Xxh3Builder>>,
}

/// One family's metadata as hashes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FamilyHash {
    name: u64,
    content: u64,
}

impl StoredFamilies {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, stored: Mutex::new(HashMap::with_hasher(Xxh3Builder::new().with_seed(seed))) }
    }

    /// Whether metadata is to be stored: the same was not stored lately.
    pub(crate) fn is_due(&self, family: &MetadataRef<'_>, now: Duration) -> bool {
        let found = self.hash_ref(family);
        let stored = self.stored.lock();
        stored.get(&found.name).is_none_or(|(content, at)| {
            *content != found.content || now.saturating_sub(*at) >= METADATA_INTERVAL
        })
    }

    /// What to note once the metadata is durable.
    pub(crate) fn hash(&self, family: &str, metadata: &Metadata) -> FamilyHash {
        let Metadata { metric_type, help, unit } = metadata;
        self.hash_ref(&MetadataRef { family, metric_type: *metric_type, help, unit })
    }

    fn hash_ref(&self, family: &MetadataRef<'_>) -> FamilyHash {
        let hash = |text: &str| xxh3_64_with_seed(text.as_bytes(), self.seed);
        let content = hash(family.help)
            .rotate_left(21)
            .wrapping_add(hash(family.unit))
            .rotate_left(21)
            .wrapping_add(u64::from(family.metric_type.to_persisted()));
        FamilyHash { name: hash(family.family), content }
    }

    /// Notes that metadata is durable.
    pub(crate) fn note_stored(&self, families: &[FamilyHash], now: Duration) {
        if families.is_empty() {
            return;
        }
        let mut stored = self.stored.lock();
        for family in families {
            if stored.len() >= MAX_REMEMBERED_FAMILIES {
                stored.clear();
            }
            stored.insert(family.name, (family.content, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use telemetry::MetricType;

    use super::*;

    #[test]
    fn the_same_metadata_is_stored_once_in_a_while() {
        let families = StoredFamilies::new(7);
        let (start, later) = (Duration::from_secs(1000), Duration::from_secs(1001));
        let up = MetadataRef { family: "up", metric_type: MetricType::Gauge, help: "Is it?", unit: "" };
        for _ in 0..2 {
            assert!(families.is_due(&up, start), "what is not durable yet is stored again");
        }
        families.note_stored(&[families.hash("up", &up.to_metadata())], start);
        assert!(!families.is_due(&up, later));
        for changed in [
            MetadataRef { help: "", ..up },
            MetadataRef { help: "", unit: "Is it?", ..up },
            MetadataRef { metric_type: MetricType::Counter, ..up },
            MetadataRef { family: "down", ..up },
        ] {
            assert!(families.is_due(&changed, later), "{changed:?}");
        }
        assert!(families.is_due(&up, start + METADATA_INTERVAL));
    }
}
