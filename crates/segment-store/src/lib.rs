//! Object keys, buckets, group commit and snapshots: how data gets into the object store and is found there.
//!
//! | module | what |
//! |---|---|
//! | [`bucket`] | the narrow view of an object store, and its implementations: S3, a local directory, wrappers |
//! | [`key`] | names of objects, and the order that they give segments |
//! | [`commit`] | group commit: many requests, one object, acked when it is durable |
//! | [`tail`] | what a flush tells the tail, so that data is visible before it is durable |
//! | [`snapshot`] | what is in the bucket, read in the one order that is right |
//! | [`manifest`] | what compaction has made of what, and what was committed |
//! | [`thin`] | fewer samples for long ranges of time |
//! | [`clock`], [`seed`] | time and randomness, injected |
//! | [`limits`] | every bound that is not a setting |
//!
//! Everything runs from an injected [`Clock`], [`Seed`] and [`Bucket`], so a seed replays any behaviour.

mod backoff;
pub mod bucket;
pub mod clock;
pub mod commit;
pub mod compact;
pub mod key;
pub mod limits;
pub mod manifest;
pub mod merge;
mod put;
pub mod seed;
pub mod snapshot;
pub mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod thin;
mod work;

pub use bucket::counted::{Counted, RequestCounts};
pub use bucket::local::LocalBucket;
pub use bucket::retrying::Retrying;
pub use bucket::s3::{Addressing, S3Bucket, S3Settings};
pub use bucket::{
    Bucket, BucketError, Etag, GetRange, ListPage, ListedObject, Object, ObjectMeta, Operation, PutCondition,
    PutId, PutOutcome,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use commit::{
    CommitError, GroupCommit, GroupCommitParts, GroupCommitSettings, GroupCommitStats, PUT_LATENCY_BOUNDS_MS,
};
pub use key::{KeyMaker, ObjectId, ObjectIdError, SegmentKey, SegmentKeyError, ShardId};
pub use manifest::{
    Hour, HourUsage, Ledger, Level, ManifestError, Merged, Quarantined, Resolution, Retired, SegmentEntry,
    ShardManifest, TenantManifest, TimeWindow,
};
pub use seed::Seed;
pub use snapshot::{
    FreshObject, FreshPage, FreshPartitions, ReadError, Snapshot, list_fresh, list_fresh_page, read_footer,
    read_fresh_footer, read_fresh_partition, read_fresh_partitions, read_in_snapshot, read_manifest,
    read_partition, read_shard_manifest, read_tenant_manifest,
};
pub use tail::{FlushOutcome, NoTail, TailOffer, TailSink};
pub use work::WorkOn;
