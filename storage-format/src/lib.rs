//! Segment bytes to columns and back; no I/O, no clock.

mod cursor;
mod decimal;
mod error;
mod extras;
mod footer;
mod frame;
mod fresh;
mod histograms;
mod ids;
mod inspect;
mod ints;
mod labels;
pub mod limits;
mod partition;
mod section;
pub mod tenant;
mod times;
mod trailer;
mod values;

pub use error::{EncodeError, FormatError};
pub use footer::{Footer, FooterParse, Parsed, PartitionEntry, Signal};
pub use fresh::{FreshPartition, decode_metrics_partition, encode_fresh};
pub use inspect::{ColumnBytes, PartitionDescription, SegmentDescription, inspect};
pub use section::Section;
pub use tenant::{MetricsIndex, TenantFooter, TenantFooterParse, TenantSegmentWriter};
pub use trailer::{SegmentKind, VERSION};

#[cfg(test)]
mod tests;
