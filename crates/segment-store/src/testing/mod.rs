//! What tests of this crate and of those above it stand on: a bucket in memory, buckets that fail and delay, a simulated
//! clock, and the conformance suite that every [`Bucket`](crate::Bucket) passes. Compiled with the feature `testing` only.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failing check ends the test")]

pub mod conformance;
mod delayed;
mod faulty;
mod hooked;
mod memory;
mod recording_tail;
mod rows;
mod s3_server;
mod sim_clock;

pub use delayed::Delayed;
pub use faulty::{Faults, Faulty};
pub use hooked::{Hook, Hooked, Request};
pub use memory::MemoryBucket;
pub use recording_tail::{RecordingTail, TailEvent};
pub use rows::{float_rows, floats_of, tenant};
pub use s3_server::S3Server;
pub use sim_clock::SimClock;
