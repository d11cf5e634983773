//! Segment bytes to columns and back; no I/O, no clock.
//!
//! A *fresh* segment is what one flush holds, with a partition for each tenant: [`encode_fresh`], [`Footer`],
//! [`decode_metrics_partition`]. A *tenant* segment is one tenant's after compaction: [`tenant`]. `SPEC.md` has every byte.
//!
//! | module | what |
//! |---|---|
//! | `trailer`, `footer`, `fresh`, `section` | both ends of a segment, and the way to its parts |
//! | `partition` | the columns of one batch |
//! | `labels`, `ids` | label sets as dictionaries and columns of ids |
//! | `times`, `values`, `decimal` | timestamps once a scrape, values as integers that behave alike |
//! | `histograms`, `extras` | native histograms, exemplars, metadata |
//! | `ints`, `frame`, `cursor` | columns of numbers, compressed bytes, what all of it is made of |
//! | `merge` | many partitions of a tenant into one |
//! | [`tenant`] | writer, index, postings and range reader of tenant segments |
//! | `inspect` | what is in a segment, for people, and whether it is sound |
//!
//! Whatever the bytes, reading them ends in a [`FormatError`] or a sound batch: counts are checked against the bytes that are
//! there, and memory against a budget that grows with them (`cursor::Budget`).

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
mod merge;
mod omitted;
mod partition;
mod section;
pub mod tenant;
mod times;
mod trailer;
mod values;

pub use error::{EncodeError, FormatError};
pub use footer::{Footer, FooterParse, Parsed, PartitionEntry, Signal};
pub use fresh::{CopyError, FreshPartition, FreshSegmentWriter, decode_metrics_partition, encode_fresh};
pub use inspect::{ColumnBytes, PartitionDescription, SegmentDescription, inspect};
pub use merge::{MergeCounts, PartitionMerger, distinct_exemplars};
pub use section::Section;
pub use tenant::{MetricsIndex, TenantFooter, TenantFooterParse, TenantSegmentWriter};
pub use trailer::{SegmentKind, VERSION};

#[cfg(test)]
mod tests;
