//! Processes that read.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::testing::{Hooked, tenant};
use segment_store::{
    Bucket, BucketError, GetRange, ReadError, Resolution, ShardManifest, Snapshot, TenantManifest,
    read_in_snapshot,
};
use tokio_util::sync::CancellationToken;

use crate::contents;
use crate::process::Process;
use crate::record::{Found, Record, Rule, Seen, TENANTS};
use crate::watched::Watched;
use crate::world::SHARD;

/// Takes snapshots and checks them.
pub(crate) struct Reader {
    pub(crate) name: String,
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) process: Arc<Process>,
    pub(crate) rng: ChaCha8Rng,
    pub(crate) watched: Arc<Hooked<Watched>>,
    pub(crate) record: Arc<Record>,
}

/// Between two reads at most.
const PAUSE_S: u64 = 15 * 60;

impl Reader {
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let of = TENANTS[self.rng.random_range(0..TENANTS.len())];
            self.process.rest_from_stalling();
            self.read(of).await;
            let pause = Duration::from_secs(self.rng.random_range(0..PAUSE_S));
            tokio::select! { biased; () = stop.cancelled() => {} () = tokio::time::sleep(pause) => {} }
        }
    }

    async fn read(&self, of: &'static str) {
        let (acked, id) = (self.record.acked_of(of), tenant(of));
        let read = read_in_snapshot(&*self.bucket, SHARD, &id, |snapshot| {
            // If nothing has changed until now, nothing had when the tenant's manifest was read.
            let still = snapshot.shard.generation == self.watched.shard_generation();
            async move {
                let read = read(&*self.bucket, &snapshot, of).await;
                if let Err(ReadError::Gone(key)) = &read {
                    self.record.note(format!("{} {key} is gone", self.name));
                    self.record.count("objects gone while a reader slept", 1);
                }
                read.map(|found| (found, still))
            }
        });
        match read.await {
            // Nothing is promised of it.
            _ if self.record.is_deleted(of) => {}
            Ok((found, still)) => {
                self.record.count("snapshots", 1);
                self.record.check(&self.name, &acked, &found, still);
                self.record.note(format!("{} {of} {}", self.name, found.len()));
            }
            Err(ReadError::Bucket(error)) if error.is_retryable() => {}
            Err(error) => self.record.violation(Rule::ReadsSucceed, format!("{}: {error:?}", self.name)),
        }
    }
}

/// All that one tenant has, merged in the order of units.
pub(crate) async fn read(
    bucket: &dyn Bucket,
    snapshot: &Snapshot,
    of: &'static str,
) -> Result<Found, ReadError> {
    let fresh = snapshot.fresh.iter().map(|object| (object.key, object.key, object.key.to_string()));
    let merged = snapshot.merged.iter();
    let merged =
        merged.map(|merged| (merged.last, merged.first, ShardManifest::merged_key(SHARD, &merged.id)));
    let segments = snapshot.tenant.segments.iter().filter(|entry| entry.resolution == Resolution::Raw);
    let segments =
        segments.map(|entry| (entry.last, entry.first, TenantManifest::segment_key(&tenant(of), &entry.id)));
    let mut units: Vec<_> = fresh.chain(merged).chain(segments).collect();
    units.sort_unstable();
    let mut found = Found::new();
    for (_, _, key) in units {
        let body = match bucket.get(&key, GetRange::Full).await {
            Ok(object) => object.body,
            Err(BucketError::NotFound { .. }) => return Err(ReadError::Gone(key)),
            Err(error) => return Err(error.into()),
        };
        let contents =
            if key.starts_with("t/") { contents::of_segment(of, &body).0 } else { contents::of_fresh(&body) };
        for (id, value) in contents.into_iter().filter(|(id, _)| id.tenant == of) {
            let places = found.get(&id).map_or(0, |seen| seen.places) + 1;
            found.insert(id, Seen { value, places });
        }
    }
    Ok(found)
}
