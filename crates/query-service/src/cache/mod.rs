//! The hybrid cache: pages of objects that never change, in memory and on disk, over the bucket.
//!
//! ```text
//! ranges ─► pages ─► memory ─► disk ─► single flight ─► neighbours in one GET ─► a second GET if the first is slow
//!              ▲                              │
//!              └──────── copied, kept ◄───────┘
//! ```
//!
//! Nothing in it is ever invalidated, since nothing in it changes: an object is written once under its name. What is on disk
//! is found again after a restart. The disk is a convenience: whatever goes wrong with it (also that it is full) is a miss and
//! a number in the metrics, never a failed query.
//!
//! A fetch goes on when the query that began it is gone: others may wait for it, and the page will be asked for again.

mod dropped;
mod flights;
mod hedge;
mod page;
mod shares;
mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use futures::future::join_all;
use parking_lot::Mutex;
use segment_store::{Bucket, BucketError, Clock, GetRange, Object};
use telemetry::TenantId;
use tokio::sync::Semaphore;

use crate::limits::{GETS_AT_ONCE, MAX_GET_BYTES, TENANT_SHARE_OF_GETS};
pub use dropped::{is_failed_write, pages_not_written};
use flights::{Flights, Pilot};
use hedge::Hedging;
pub use page::PageKind;
use page::{Page, PageKey};
use shares::owner_of;
pub use store::CacheError;
use store::PageStore;

/// How large the cache is, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// Memory for pages (bytes).
    pub memory_bytes: usize,
    /// The directory for pages on disk, and how many bytes they may take there. `None`: memory alone.
    pub disk: Option<(PathBuf, u64)>,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { memory_bytes: 128 << 20, disk: None }
    }
}

/// What the cache works with.
#[derive(Clone, Debug)]
pub struct CacheParts {
    /// Where objects are.
    pub bucket: Arc<dyn Bucket>,
    /// Time, for seeing which requests are slow.
    pub clock: Arc<dyn Clock>,
    /// Numbers.
    pub settings: CacheSettings,
}

/// Why bytes of an object cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// It is not there any more: a newer manifest says where its data is.
    #[error("object {0} is not there any more")]
    Gone(Arc<str>),
    /// It is shorter than the manifest says.
    #[error("object {0} is shorter than its manifest says")]
    Short(Arc<str>),
    /// The bucket did not answer.
    #[error("the object store could not be read")]
    Bucket(#[source] Arc<BucketError>),
    /// Whoever fetched it gave up.
    #[error("reading from the object store was given up")]
    Abandoned,
}

/// An object, as far as its manifest knows it.
#[derive(Clone, Debug)]
pub(crate) struct ObjectRef {
    /// Its key.
    pub(crate) key: Arc<str>,
    /// Its length in bytes.
    pub(crate) len: u64,
}

/// What the cache has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// By kind of page, in the order of [`PageKind::ALL`].
    pub kinds: [KindStats; PageKind::ALL.len()],
    /// GETs made, second ones included.
    pub gets: u64,
    /// Bytes got.
    pub got_bytes: u64,
    /// Second GETs, made because the first was slow.
    pub hedges: u64,
    /// Those of them that were quicker.
    pub hedges_won: u64,
}

/// What the cache has counted of one kind of pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    /// Pages found in memory.
    pub memory_hits: u64,
    /// Pages found on disk.
    pub disk_hits: u64,
    /// Pages that were in neither.
    pub misses: u64,
    /// Bytes in memory now.
    pub memory_bytes: u64,
    /// Bytes written to disk.
    pub disk_written_bytes: u64,
    /// Bytes read from disk.
    pub disk_read_bytes: u64,
    /// Pages that were not written to disk because too many were waiting.
    pub dropped_writes: u64,
    /// What went wrong with the disk.
    pub disk_errors: u64,
}

#[derive(Debug, Default)]
struct Counters {
    memory_hits: [AtomicU64; PageKind::ALL.len()],
    disk_hits: [AtomicU64; PageKind::ALL.len()],
    misses: [AtomicU64; PageKind::ALL.len()],
    gets: AtomicU64,
    got_bytes: AtomicU64,
    hedges: AtomicU64,
    hedges_won: AtomicU64,
}

fn count(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// The cache. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PageCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bucket: Arc<dyn Bucket>,
    clock: Arc<dyn Clock>,
    stores: [PageStore; PageKind::ALL.len()],
    flights: Arc<Flights>,
    hedging: Hedging,
    places: Arc<Semaphore>,
    /// The share of one tenant, by what stands for it, as long as it is in use.
    tenant_places: Mutex<HashMap<u64, Arc<Semaphore>>>,
    counters: Counters,
}

/// Of the cache's memory and disk, the part (an eighth) that is for indexes.
const INDEX_SHARE: usize = 8;

impl PageCache {
    /// Opens the cache, with what is on disk from before. Where the disk cannot be used, there is memory alone.
    ///
    /// # Errors
    /// [`CacheError`] when not even that works.
    pub async fn open(parts: CacheParts) -> Result<Self, CacheError> {
        let CacheParts { bucket, clock, settings } = parts;
        let index_memory = settings.memory_bytes / INDEX_SHARE;
        let disk =
            |part: fn(u64) -> u64| settings.disk.as_ref().map(|(dir, bytes)| (dir.as_path(), part(*bytes)));
        let index_part = |bytes: u64| bytes / INDEX_SHARE as u64;
        let data_part = |bytes: u64| bytes - bytes / INDEX_SHARE as u64;
        let index = PageStore::open(PageKind::Index, index_memory, disk(index_part)).await?;
        let data =
            PageStore::open(PageKind::Data, settings.memory_bytes - index_memory, disk(data_part)).await?;
        let shared = Shared {
            bucket,
            clock,
            stores: [index, data],
            flights: Arc::default(),
            hedging: Hedging::default(),
            places: Arc::new(Semaphore::new(GETS_AT_ONCE)),
            tenant_places: Mutex::default(),
            counters: Counters::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// What was counted.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        let Shared { counters, stores, .. } = &*self.shared;
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let kinds = std::array::from_fn(|kind| {
            let (disk_written_bytes, disk_read_bytes) = stores[kind].disk_bytes();
            KindStats {
                memory_hits: load(&counters.memory_hits[kind]),
                disk_hits: load(&counters.disk_hits[kind]),
                misses: load(&counters.misses[kind]),
                memory_bytes: stores[kind].resident_bytes() as u64,
                disk_written_bytes,
                disk_read_bytes,
                dropped_writes: stores[kind].dropped_writes(),
                disk_errors: stores[kind].disk_errors(),
            }
        });
        CacheStats {
            kinds,
            gets: load(&counters.gets),
            got_bytes: load(&counters.got_bytes),
            hedges: load(&counters.hedges),
            hedges_won: load(&counters.hedges_won),
        }
    }

    /// Waits until what was inserted is on disk. To be called when no query runs any more.
    pub async fn close(&self) {
        join_all(self.shared.stores.iter().map(PageStore::close)).await;
    }

    /// The bytes of `ranges` of `object`, on behalf of `tenant`. Ranges lie within the object.
    ///
    /// # Errors
    /// [`FetchError`]
    pub(crate) async fn read(
        &self,
        tenant: &TenantId,
        object: &ObjectRef,
        kind: PageKind,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, FetchError> {
        let page_bytes = kind.page_bytes();
        let mut numbers = Vec::new();
        for range in ranges {
            if range.start > range.end || range.end > object.len {
                return Err(FetchError::Short(Arc::clone(&object.key)));
            }
            if range.is_empty() {
                continue;
            }
            let last = u32::try_from((range.end - 1) / page_bytes);
            let last = last.map_err(|_| FetchError::Short(Arc::clone(&object.key)))?;
            numbers.extend((range.start / page_bytes) as u32..=last);
        }
        numbers.sort_unstable();
        numbers.dedup();
        let pages = self.pages(tenant, object, kind, &numbers).await?;
        let page = |number: u64| numbers.binary_search(&(number as u32)).map(|place| &pages[place]);
        let cut = |range: &Range<u64>| {
            if range.is_empty() {
                return Ok(Bytes::new());
            }
            let first = range.start / page_bytes;
            let mut joined = BytesMut::new();
            for number in first..=(range.end - 1) / page_bytes {
                let start = number * page_bytes;
                let from = range.start.max(start) - start;
                let to = range.end.min(start + page_bytes) - start;
                let bytes = page(number).ok().filter(|bytes| bytes.len() as u64 >= to);
                let bytes = bytes.ok_or_else(|| FetchError::Short(Arc::clone(&object.key)))?;
                let part = from as usize..to as usize;
                if to - from == range.end - range.start {
                    return Ok(bytes.slice(part));
                }
                joined.extend_from_slice(&bytes[part]);
            }
            Ok(joined.freeze())
        };
        ranges.iter().map(cut).collect()
    }

    /// Begins to read `range` of `object`, which a query is going to need.
    pub(crate) fn prefetch(&self, tenant: &TenantId, object: ObjectRef, kind: PageKind, range: Range<u64>) {
        let (cache, tenant) = (self.clone(), tenant.clone());
        tokio::spawn(async move {
            // What fails now is tried again by whoever needs it, who then says so.
            _ = cache.read(&tenant, &object, kind, &[range]).await;
        });
    }

    async fn pages(
        &self,
        tenant: &TenantId,
        object: &ObjectRef,
        kind: PageKind,
        numbers: &[u32],
    ) -> Result<Vec<Bytes>, FetchError> {
        let Shared { stores, counters, .. } = &*self.shared;
        let store = &stores[kind as usize];
        let key = |number: u32| PageKey { object: Arc::clone(&object.key), kind, number };
        let mut pages: Vec<Option<Bytes>> =
            numbers.iter().map(|number| store.in_memory(&key(*number))).collect();
        let missing = |pages: &[Option<Bytes>]| -> Vec<usize> {
            (0..pages.len()).filter(|place| pages[*place].is_none()).collect()
        };
        let not_in_memory = missing(&pages);
        count(&counters.memory_hits[kind as usize], (pages.len() - not_in_memory.len()) as u64);
        let on_disk = not_in_memory.iter().map(|place| async {
            let key = key(numbers[*place]);
            store.on_disk(&key).await
        });
        for (place, page) in not_in_memory.iter().zip(join_all(on_disk).await) {
            pages[*place] = page;
        }
        let misses = missing(&pages);
        count(&counters.disk_hits[kind as usize], (not_in_memory.len() - misses.len()) as u64);
        count(&counters.misses[kind as usize], misses.len() as u64);

        let mut passengers = Vec::with_capacity(misses.len());
        let mut pilots = Vec::new();
        for place in misses {
            let key = key(numbers[place]);
            let (passenger, pilot) = self.shared.flights.board(key.clone());
            let Some(pilot) = pilot else {
                passengers.push((place, passenger));
                continue;
            };
            // Another flight may have landed since the first look.
            match store.in_memory(&key) {
                Some(page) => {
                    pilot.land(Ok(page.clone()));
                    pages[place] = Some(page);
                }
                None => {
                    passengers.push((place, passenger));
                    pilots.push(pilot);
                }
            }
        }
        let most_pages = (MAX_GET_BYTES / kind.page_bytes()).max(1) as usize;
        for run in runs(pilots, most_pages) {
            tokio::spawn(Arc::clone(&self.shared).fetch(tenant.clone(), object.clone(), kind, run));
        }
        let arrivals =
            passengers.into_iter().map(|(place, passenger)| async move { (place, passenger.arrive().await) });
        for (place, page) in join_all(arrivals).await {
            pages[place] = Some(page?);
        }
        Ok(pages.into_iter().flatten().collect())
    }
}

/// Cuts pages into runs of neighbours, each of at most `most` pages.
fn runs(pilots: Vec<Pilot>, most: usize) -> Vec<Vec<Pilot>> {
    let mut runs: Vec<Vec<Pilot>> = Vec::new();
    for pilot in pilots {
        match runs.last_mut() {
            Some(run)
                if run.len() < most && run.last().is_some_and(|last| last.number() + 1 == pilot.number()) =>
            {
                run.push(pilot);
            }
            _ => runs.push(vec![pilot]),
        }
    }
    runs
}

impl Shared {
    /// Fetches neighbouring pages with one request, and keeps them.
    async fn fetch(self: Arc<Self>, tenant: TenantId, object: ObjectRef, kind: PageKind, run: Vec<Pilot>) {
        let page_bytes = kind.page_bytes();
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return };
        let start = u64::from(first.number()) * page_bytes;
        let end = ((u64::from(last.number()) + 1) * page_bytes).min(object.len);
        let owner = owner_of(&tenant);
        let body = {
            let _places = self.places(owner).await;
            self.get(&object.key, start..end).await
        };
        self.leave(owner);
        let body = body.and_then(|body| {
            if body.len() as u64 == end - start {
                Ok(body)
            } else {
                Err(FetchError::Short(Arc::clone(&object.key)))
            }
        });
        for (place, pilot) in run.into_iter().enumerate() {
            let page = body.as_ref().map_err(Clone::clone).map(|body| {
                let from = place * page_bytes as usize;
                let page = Page::copy_of(&body[from..body.len().min(from + page_bytes as usize)], owner);
                let bytes = page.bytes.clone();
                let key = PageKey { object: Arc::clone(&object.key), kind, number: pilot.number() };
                self.stores[kind as usize].insert(key, page);
                bytes
            });
            pilot.land(page);
        }
    }

    /// Waits for a place among the requests of the tenant, and then among those of all.
    async fn places(
        &self,
        owner: u64,
    ) -> (Option<tokio::sync::OwnedSemaphorePermit>, Option<tokio::sync::OwnedSemaphorePermit>) {
        let share = GETS_AT_ONCE / TENANT_SHARE_OF_GETS;
        let of_tenant = {
            let mut tenants = self.tenant_places.lock();
            Arc::clone(tenants.entry(owner).or_insert_with(|| Arc::new(Semaphore::new(share))))
        };
        // They are never closed, so that there is always a place in the end.
        let of_tenant = of_tenant.acquire_owned().await.ok();
        (of_tenant, Arc::clone(&self.places).acquire_owned().await.ok())
    }

    /// Forgets the tenant's places when nobody uses them.
    fn leave(&self, owner: u64) {
        let mut tenants = self.tenant_places.lock();
        if tenants.get(&owner).is_some_and(|places| Arc::strong_count(places) == 1) {
            tenants.remove(&owner);
        }
    }

    /// One GET, and a second one beside it when it is slow.
    async fn get(&self, key: &Arc<str>, range: Range<u64>) -> Result<Bytes, FetchError> {
        let mut first = std::pin::pin!(self.get_once(key, range.clone()));
        let answer = match self.hedging.patience() {
            None => first.await,
            Some(patience) => match tokio::time::timeout(patience, &mut first).await {
                Ok(answer) => answer,
                Err(_) if self.hedging.take() => {
                    count(&self.counters.hedges, 1);
                    let mut second = std::pin::pin!(self.get_once(key, range));
                    // Whichever answers first; an error is the other's turn.
                    tokio::select! {
                        answer = &mut first => match answer {
                            Ok(object) => Ok(object),
                            Err(_) => second.await,
                        },
                        answer = &mut second => match answer {
                            Ok(object) => {
                                count(&self.counters.hedges_won, 1);
                                Ok(object)
                            }
                            Err(_) => first.await,
                        },
                    }
                }
                Err(_) => first.await,
            },
        };
        match answer {
            Ok(object) => {
                count(&self.counters.got_bytes, object.body.len() as u64);
                Ok(object.body)
            }
            Err(BucketError::NotFound { .. }) => Err(FetchError::Gone(Arc::clone(key))),
            // Keys are made here and are valid; what may not be is the range.
            Err(BucketError::Invalid { .. }) => Err(FetchError::Short(Arc::clone(key))),
            Err(error) => Err(FetchError::Bucket(Arc::new(error))),
        }
    }

    async fn get_once(&self, key: &str, range: Range<u64>) -> Result<Object, BucketError> {
        count(&self.counters.gets, 1);
        let started = self.clock.monotonic();
        let answer = self.bucket.get(key, GetRange::Range(range)).await;
        if answer.is_ok() {
            self.hedging.note(self.clock.monotonic().saturating_sub(started));
        }
        answer
    }
}
