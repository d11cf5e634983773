//! Compaction.

pub mod plan;
