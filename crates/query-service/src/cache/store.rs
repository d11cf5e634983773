//! The two levels of the cache: memory, and disk below it where there is one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy,
    PsyncIoEngineConfig, RecoverMode, S3FifoConfig,
};

use super::dropped::Dropped;
use super::page::{Page, PageKey, PageKind};
use super::shares::Shares;
use crate::limits::{DISK_BLOCK_BYTES, DISK_FLUSHERS, DISK_QUEUE_BYTES, DISK_RECOVERY_TASKS};

/// The directory of pages that this version writes and reads: others are not understood, and must not be.
const LAYOUT: &str = "v1";

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
#[error("the cache cannot be opened: {0}")]
pub struct CacheError(String);

/// Pages of one kind.
pub(super) struct PageStore {
    cache: HybridCache<PageKey, Page>,
    shares: Arc<Shares>,
    dropped: Dropped,
    disk_errors: AtomicU64,
}

impl std::fmt::Debug for PageStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageStore")
            .field("resident_bytes", &self.shares.resident_bytes())
            .finish_non_exhaustive()
    }
}

impl PageStore {
    /// Opens the cache of `kind`, with what is on disk from before. Where the disk cannot be used, there is memory alone.
    ///
    /// # Errors
    /// [`CacheError`] when not even that works.
    pub(super) async fn open(
        kind: PageKind,
        memory_bytes: usize,
        disk: Option<(&Path, u64)>,
    ) -> Result<Self, CacheError> {
        let Some((dir, disk_bytes)) = disk else { return Self::open_on(kind, memory_bytes, None).await };
        let dir = dir.join(LAYOUT).join(kind.as_str());
        match Self::open_on(kind, memory_bytes, Some((dir.clone(), disk_bytes))).await {
            Ok(store) => Ok(store),
            Err(CacheError(error)) => {
                let dir = dir.display();
                tracing::error!(%dir, error, "the cache on disk cannot be used; caching in memory alone");
                let store = Self::open_on(kind, memory_bytes, None).await?;
                store.disk_errors.store(1, Ordering::Relaxed);
                Ok(store)
            }
        }
    }

    async fn open_on(
        kind: PageKind,
        memory_bytes: usize,
        disk: Option<(PathBuf, u64)>,
    ) -> Result<Self, CacheError> {
        fn failed(error: impl std::fmt::Display) -> CacheError {
            CacheError(error.to_string())
        }
        let shares = Arc::new(Shares::new(memory_bytes));
        let dropped = Dropped::default();
        let admitted = Arc::clone(&shares);
        // One shard: more of them would each have a part of the memory, and a page weighs much.
        let builder = HybridCacheBuilder::new()
            .with_name(kind.as_str())
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            // What is inserted is written at once: at the end only what is still under way has to be.
            .with_flush_on_close(false)
            .with_event_listener(Arc::clone(&shares) as _)
            .with_metrics_registry(Box::new(dropped.clone()))
            .memory(memory_bytes)
            .with_shards(1)
            .with_eviction_config(S3FifoConfig::default())
            .with_weighter(|key: &PageKey, page: &Page| key.object.len() + page.bytes.len() + 128)
            .with_filter(move |_: &PageKey, page: &Page| admitted.admit(page))
            .storage();
        let builder = match disk {
            None => builder,
            Some((dir, disk_bytes)) => {
                std::fs::create_dir_all(&dir).map_err(failed)?;
                let capacity = usize::try_from(disk_bytes).unwrap_or(usize::MAX);
                let device = FsDeviceBuilder::new(&dir).with_capacity(capacity).build();
                let engine = BlockEngineConfig::new(device.map_err(failed)?)
                    .with_block_size(DISK_BLOCK_BYTES)
                    .with_flushers(DISK_FLUSHERS)
                    .with_buffer_pool_size(DISK_QUEUE_BYTES)
                    .with_submit_queue_size_threshold(DISK_QUEUE_BYTES)
                    .with_recover_concurrency(DISK_RECOVERY_TASKS);
                builder
                    .with_io_engine_config(PsyncIoEngineConfig::new())
                    .with_engine_config(engine)
                    // What cannot be read back is left out, and nothing is said.
                    .with_recover_mode(RecoverMode::Quiet)
            }
        };
        let cache = builder.build().await.map_err(failed)?;
        Ok(Self { cache, shares, dropped, disk_errors: AtomicU64::new(0) })
    }

    /// The page if it is in memory.
    pub(super) fn in_memory(&self, key: &PageKey) -> Option<Bytes> {
        self.cache.memory().get(key).map(|entry| entry.value().bytes.clone())
    }

    /// The page if it is on disk (or has come into memory meanwhile). An error of the disk is none here.
    pub(super) async fn on_disk(&self, key: &PageKey) -> Option<Bytes> {
        if !self.cache.is_hybrid() {
            return None;
        }
        match self.cache.get(key).await {
            Ok(entry) => entry.map(|entry| entry.value().bytes.clone()),
            Err(error) => {
                self.disk_errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "a page of the cache cannot be read from disk");
                None
            }
        }
    }

    pub(super) fn insert(&self, key: PageKey, page: Page) {
        self.cache.insert(key, page);
    }

    pub(super) fn resident_bytes(&self) -> usize {
        self.shares.resident_bytes()
    }

    pub(super) fn dropped_writes(&self) -> u64 {
        self.dropped.pages()
    }

    pub(super) fn disk_errors(&self) -> u64 {
        self.disk_errors.load(Ordering::Relaxed)
    }

    /// Bytes written to disk and read from it.
    pub(super) fn disk_bytes(&self) -> (u64, u64) {
        let statistics = self.cache.statistics();
        (statistics.disk_write_bytes() as u64, statistics.disk_read_bytes() as u64)
    }

    /// Waits until what was inserted is on disk.
    pub(super) async fn close(&self) {
        if let Err(error) = self.cache.close().await {
            self.disk_errors.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(%error, "the cache on disk was not closed cleanly");
        }
    }
}
