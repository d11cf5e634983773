//! Which metadata is durable already. Senders repeat metadata with every request or every minute; storing it each time
//! would cost more than the samples.

use std::time::Duration;

use hashbrown::HashMap;
use parking_lot::Mutex;
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

    /// The hashes to note once the metadata is durable, or `None` when the same was stored lately.
    pub(crate) fn to_store(
        &self,
        family: &wire::remote_write::MetadataRef<'_>,
        now: Duration,
    ) -> Option<FamilyHash> {
        let hash = |text: &str| xxh3_64_with_seed(text.as_bytes(), self.seed);
        let content = hash(family.help)
            .rotate_left(21)
            .wrapping_add(hash(family.unit))
            .rotate_left(21)
            .wrapping_add(u64::from(family.metric_type.to_persisted()));
        let found = FamilyHash { name: hash(family.family), content };
        match self.stored.lock().get(&found.name) {
            Some((content, at))
                if *content == found.content && now.saturating_sub(*at) < METADATA_INTERVAL =>
            {
                None
            }
            _ => Some(found),
        }
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
    use wire::remote_write::MetadataRef;

    use super::*;

    #[test]
    fn the_same_metadata_is_stored_once_in_a_while() {
        let families = StoredFamilies::new(7);
        let (start, later) = (Duration::from_secs(1000), Duration::from_secs(1001));
        let up = MetadataRef { family: "up", metric_type: MetricType::Gauge, help: "Is it?", unit: "" };
        let stored = families.to_store(&up, start).expect("nothing was stored yet");
        assert!(families.to_store(&up, start).is_some(), "what is not durable yet is stored again");
        families.note_stored(&[stored], start);
        assert!(families.to_store(&up, later).is_none());
        for changed in [
            MetadataRef { help: "", ..up },
            MetadataRef { help: "", unit: "Is it?", ..up },
            MetadataRef { metric_type: MetricType::Counter, ..up },
            MetadataRef { family: "down", ..up },
        ] {
            assert!(families.to_store(&changed, later).is_some(), "{changed:?}");
        }
        assert!(families.to_store(&up, start + METADATA_INTERVAL).is_some());
    }
}
