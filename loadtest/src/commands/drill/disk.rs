//! The disks of the local bucket and of the cache run full.

use std::time::{Duration, Instant};

use rand_chacha::ChaCha8Rng;

use super::cell::{ALL, Cell, part_of};
use super::small_disk::SmallDisk;
use super::traffic::Traffic;
use super::{Figures, Strike};
use crate::cli::Drill;
use crate::clock;
use crate::commands::CommandError;

/// Size of the bucket's disk: far more than a drill writes.
const BUCKET_MIB: u32 = 128;
/// Size of the cache's disk; what the cache may take is more.
const CACHE_MIB: u32 = 16;
/// The room that failed writes give back is taken so often.
const REFILL: Duration = Duration::from_millis(50);
/// Answers that readers get from a process that has nothing in memory.
const COLD_ANSWERS: u64 = 20;
/// The metric of pages that the disk of the cache did not take.
const UNWRITTEN: &str = "farwatch_cache_unwritten_pages_total";
/// The metric of pages that had to be read.
const MISSES: &str = "farwatch_cache_misses_total";

pub(super) struct Disk {
    bucket: SmallDisk,
    cache: SmallDisk,
    fault_time: Duration,
    acked_when_full: usize,
    /// What processes that are gone now had counted.
    unwritten: u64,
    misses: u64,
}

fn failed(error: std::io::Error) -> CommandError {
    CommandError::Tool { words: "a small disk".to_owned(), reason: error.to_string() }
}

impl Strike for Disk {
    async fn set_up(args: &Drill, cell: &mut Cell) -> Result<Self, CommandError> {
        let data = cell.data_dir();
        let bucket = SmallDisk::mount(&data.join("bucket-disk"), BUCKET_MIB).await?;
        let cache = SmallDisk::mount(&data.join("cache-disk"), CACHE_MIB).await?;
        std::os::unix::fs::symlink(bucket.path(), data.join("bucket")).map_err(failed)?;
        cell.add_server_arg(format!("--cache-dir={}", cache.path().display()));
        cell.add_server_arg("--cache-disk=256MiB".to_owned());
        cell.start(ALL).await?;
        cache.fill().map_err(failed)?;
        let fault_time = args.fault_time;
        Ok(Self { bucket, cache, fault_time, acked_when_full: 0, unwritten: 0, misses: 0 })
    }

    async fn strike(
        &mut self,
        _cell: &mut Cell,
        traffic: &Traffic,
        rng: &mut ChaCha8Rng,
    ) -> Result<Instant, CommandError> {
        self.bucket.fill().map_err(failed)?;
        let (full, time) = (clock::now(), part_of(self.fault_time, rng));
        let acked = traffic.acked_requests();
        while full.elapsed() < time {
            tokio::time::sleep(REFILL).await;
            self.bucket.fill().map_err(failed)?;
        }
        // Some fit into what was given back.
        self.acked_when_full += traffic.acked_requests() - acked;
        self.bucket.free().map_err(failed)?;
        Ok(clock::now())
    }

    /// Writes went on without a restart. The one now is so that queries need the cache, whose disk is full.
    async fn follow(&mut self, cell: &mut Cell, traffic: &Traffic) -> Result<(), CommandError> {
        cell.kill(ALL)?;
        let _: serde_json::Value = cell.ask(&["compact", "--once", "--json"]).await?;
        cell.start(ALL).await?;
        traffic.more_answers(COLD_ANSWERS).await;
        self.unwritten += cell.metric(UNWRITTEN).await.unwrap_or_default() as u64;
        self.misses += cell.metric(MISSES).await.unwrap_or_default() as u64;
        Ok(())
    }

    async fn calm(&mut self, _cell: &mut Cell, traffic: &Traffic) -> Result<(), CommandError> {
        self.cache.free().map_err(failed)?;
        for (kind, count) in traffic.counts().query_errors {
            if kind.starts_with("HTTP") {
                traffic.find("with full disks", format!("{count} queries failed: {kind}"));
            }
        }
        Ok(())
    }

    fn figures(&self) -> Figures {
        Figures::from([
            ("requests acked with a full disk", self.acked_when_full as u64),
            ("pages that queries read from the bucket", self.misses),
            ("pages that the full disk of the cache did not take", self.unwritten),
        ])
    }
}
