//! Object keys, buckets, group commit and snapshots.

pub mod bucket;
pub mod clock;
pub mod commit;
pub mod key;
pub mod seed;
pub mod tail;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use bucket::counted::{Counted, RequestCounts};
pub use bucket::local::LocalBucket;
pub use bucket::{
    Bucket, BucketError, Etag, GetRange, ListPage, ListedObject, Object, ObjectMeta, Operation, PutCondition,
    PutId, PutOutcome,
};
pub use clock::{Clock, ManualClock, SystemClock};
pub use commit::{CommitError, GroupCommit, GroupCommitParts, GroupCommitSettings, WorkOn};
pub use key::{KeyMaker, SegmentKey, SegmentKeyError, ShardId};
pub use seed::Seed;
pub use tail::{FlushOutcome, NoTail, TailOffer, TailSink};
