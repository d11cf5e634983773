//! Segment bytes to columns and back; no I/O, no clock.

mod cursor;
mod error;
mod footer;
mod frame;
mod fresh;
pub mod limits;
mod partition;
mod trailer;

pub use error::{EncodeError, FormatError};
pub use footer::{Footer, FooterParse, PartitionEntry, Signal};
pub use fresh::{FreshPartition, decode_metrics_partition, encode_fresh};
pub use trailer::{SegmentKind, VERSION};

#[cfg(test)]
mod tests;
