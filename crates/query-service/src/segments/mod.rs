//! Data at rest: what compaction made, and how a query reads it.
//!
//! ```text
//! manifests ─► units ─► indexes, footers ─► blocks, parts ─► a query's source
//!   (1 GET)              (1 round of GETs)    (1 round of GETs)
//! ```
//!
//! A **unit** is an object that may hold data of the query: a fresh segment that is not in memory, a merged object, a segment of
//! the tenant. Units are in the order of the last fresh segment in them: of equal samples that of the later unit wins. What of
//! a unit is in the tail anyway is not read: the tail says up to where it lacks something ([`Tail::raise_floor`]), and a unit
//! that begins later is in it as a whole.
//!
//! What a query sees is consistent because of the order in which it looks: first the tail, then the shard's manifest, then
//! the tenant's. Data moves from the tail to the manifests and from the shard's to the tenant's, never back. Who looks in
//! this order may see it twice, which is harmless since equal samples are one, and never not at all.
//!
//! An object that is gone was replaced by others: then the query begins anew, with newer manifests.

mod blocks;
mod choice;
mod load;
mod manifests;
mod memory;
mod open;
mod part;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod thinned_tests;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use foyer::{Cache, CacheBuilder, LruConfig};
use parking_lot::Mutex;
use segment_store::{Bucket, Clock, ReadError, SegmentKey, ShardId, ShardManifest};
use storage_format::Footer;
use telemetry::{MetricBatch, TenantId};
use tokio::sync::watch;

use crate::cache::PageCache;
use crate::limits::{FETCHED_MEMORY_BYTES, MAX_DAMAGED_OBJECTS};
use crate::tail::Tail;
use blocks::DecodedCache;
pub(crate) use load::Loaded;
use manifests::Manifests;
use memory::MemoryBudget;
pub(crate) use memory::MemoryShare;
pub(crate) use open::OpenSegment;
pub(crate) use part::SegmentPart;

/// How much memory reading at rest takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentsSettings {
    /// For parsed indexes (bytes).
    pub index_memory_bytes: usize,
    /// For decoded data that is likely to be needed again (bytes).
    pub decoded_memory_bytes: usize,
    /// For what running queries hold, all of them together (bytes). Default 2 GiB.
    pub fetched_memory_bytes: usize,
}

impl Default for SegmentsSettings {
    fn default() -> Self {
        Self {
            index_memory_bytes: 128 << 20,
            decoded_memory_bytes: 256 << 20,
            fetched_memory_bytes: FETCHED_MEMORY_BYTES,
        }
    }
}

/// What reading at rest works with.
#[derive(Clone, Debug)]
pub struct SegmentsParts {
    /// Where objects are.
    pub bucket: Arc<dyn Bucket>,
    /// Pages of them.
    pub cache: PageCache,
    /// Which shard.
    pub shard: ShardId,
    /// What of it is in memory.
    pub tail: Arc<Tail>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Numbers.
    pub settings: SegmentsSettings,
}

/// What reading at rest holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SegmentsStats {
    /// Parsed indexes.
    pub open_segments: u64,
    /// Memory of parsed indexes (bytes).
    pub index_memory_bytes: u64,
    /// Memory of decoded data that is kept (bytes).
    pub decoded_memory_bytes: u64,
    /// Memory of what running queries fetched (bytes).
    pub fetched_memory_bytes: u64,
    /// The generation of the shard's manifest.
    pub manifest_generation: u64,
}

/// The data at rest of one shard.
#[derive(Debug)]
pub struct Segments {
    bucket: Arc<dyn Bucket>,
    cache: PageCache,
    shard: ShardId,
    tail: Arc<Tail>,
    manifests: Manifests,
    opened: Cache<Arc<str>, Opened>,
    /// What `opened` may take.
    index_memory_bytes: usize,
    /// Objects that are being opened, so that each is opened once.
    opening: Mutex<HashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>,
    next_number: AtomicU64,
    decoded: DecodedCache,
    memory: MemoryBudget,
    damaged: Mutex<HashMap<TenantId, BTreeSet<Arc<str>>>>,
}

/// What is known of an object without its data.
#[derive(Clone, Debug)]
enum Opened {
    Segment(Arc<OpenSegment>),
    Footer(Arc<Footer>, usize),
}

impl Opened {
    fn memory_bytes(&self) -> usize {
        match self {
            Self::Segment(segment) => segment.memory_bytes(),
            Self::Footer(_, memory_bytes) => *memory_bytes,
        }
    }
}

/// A unit's data, as far as a query needs it.
#[derive(Clone, Debug)]
pub(crate) enum Cold {
    /// The tenant's part of a segment of the fresh kind.
    Batch(Arc<MetricBatch>),
    /// A segment of the tenant.
    Segment(Arc<SegmentPart>),
}

impl Segments {
    /// Reads from `parts.bucket`, through `parts.cache`.
    #[must_use]
    pub fn new(parts: SegmentsParts) -> Arc<Self> {
        let SegmentsParts { bucket, cache, shard, tail, clock, settings } = parts;
        let opened = CacheBuilder::new(settings.index_memory_bytes).with_name("opened").with_shards(1);
        let opened = opened.with_eviction_config(LruConfig::default());
        let opened = opened.with_weighter(|_: &Arc<str>, opened: &Opened| opened.memory_bytes() + 256);
        Arc::new(Self {
            manifests: Manifests::new(Arc::clone(&bucket), shard, Arc::clone(&tail), clock),
            bucket,
            cache,
            shard,
            tail,
            opened: opened.build(),
            index_memory_bytes: settings.index_memory_bytes,
            opening: Mutex::default(),
            next_number: AtomicU64::new(0),
            decoded: DecodedCache::new(settings.decoded_memory_bytes),
            memory: MemoryBudget::new(settings.fetched_memory_bytes),
            damaged: Mutex::default(),
        })
    }

    /// What it holds now.
    #[must_use]
    pub fn stats(&self) -> SegmentsStats {
        SegmentsStats {
            open_segments: self.opened.entries() as u64,
            index_memory_bytes: self.opened.usage() as u64,
            decoded_memory_bytes: self.decoded.memory_bytes(),
            fetched_memory_bytes: self.memory.taken_bytes(),
            manifest_generation: self.manifests.shard().generation,
        }
    }

    /// The key of the shard's manifest while that is damaged.
    #[must_use]
    pub fn damaged_manifest(&self) -> watch::Receiver<Option<String>> {
        self.manifests.damaged()
    }

    /// The tail beside it.
    pub(crate) fn tail(&self) -> &Tail {
        &self.tail
    }

    /// The shard's manifest as far as queries see it.
    pub(crate) fn manifest(&self) -> Arc<ShardManifest> {
        self.manifests.shard()
    }

    /// Reads the shard's manifest for the first time. To be called once everything that is in the bucket was listed, and
    /// before anything of it is in the tail.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn begin(&self) -> Result<(), ReadError> {
        self.manifests.begin().await
    }

    /// Reads the shard's manifest if it has changed.
    ///
    /// # Errors
    /// [`ReadError`]; then the one before holds.
    pub(crate) async fn refresh(&self) -> Result<(), ReadError> {
        self.manifests.refresh().await
    }

    /// Whether a segment that a listing shows is found through manifests, and need not be in the tail.
    pub(crate) fn has_taken_over(&self, segment: &SegmentKey) -> bool {
        Some(*segment) <= self.tail.floor() && self.manifests.shard().has_absorbed(segment)
    }

    /// Notes that an object, or `tenant`'s part of it, cannot be read. Whether that is news.
    pub(crate) fn note_damaged(&self, tenant: &TenantId, object: &Arc<str>) -> bool {
        let mut damaged = self.damaged.lock();
        let of_tenant = damaged.entry(tenant.clone()).or_default();
        of_tenant.len() < MAX_DAMAGED_OBJECTS && of_tenant.insert(Arc::clone(object))
    }

    /// The objects of `tenant` that were found damaged.
    fn damaged_of(&self, tenant: &TenantId) -> BTreeSet<Arc<str>> {
        self.damaged.lock().get(tenant).cloned().unwrap_or_default()
    }

    /// What an answer to `tenant` has to say of what it lacks. `quarantined` are objects that compaction could not read;
    /// it does not lack the damaged ones that are `spared`.
    pub(crate) fn warnings<'a>(
        &self,
        tenant: &TenantId,
        quarantined: impl Iterator<Item = &'a str>,
        spared: &BTreeSet<Arc<str>>,
    ) -> Vec<String> {
        let mut lacking: BTreeSet<String> = quarantined.map(str::to_owned).collect();
        lacking.extend(self.tail.damage_of(tenant).iter().map(ToString::to_string));
        lacking.extend(self.damaged_of(tenant).difference(spared).map(|object| object.to_string()));
        match lacking.len() {
            0 => Vec::new(),
            count => vec![format!("{count} damaged segments cannot be read: results may lack samples")],
        }
    }
}
