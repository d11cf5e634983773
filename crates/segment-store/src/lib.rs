//! Object keys, buckets, group commit and snapshots.
