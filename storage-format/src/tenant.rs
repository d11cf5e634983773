//! Tenant segments: one tenant, one signal, many samples a series; written by compaction, read by ranges.
//!
//! A cold query needs three dependent reads: the footer at the end; the index, or those of its sections that the query
//! is about; and the data blocks that hold what it selects.

mod directory;
mod footer;
mod index;
mod lists;
mod lookup;
mod postings;
mod read;
mod stream;
mod times;
mod writer;

pub use directory::{Block, BlockKind};
pub use footer::{NameSection, TenantFooter, TenantFooterParse};
pub use index::MetricsIndex;
pub use lookup::{DecodedValues, LabelValues};
pub use postings::Postings;
pub use stream::{SegmentStream, StreamStep};
pub use times::{SeriesTimes, read_exemplars, read_histograms, read_omitted};
pub use writer::{SeriesSamples, TenantSegmentSummary, TenantSegmentWriter};

#[cfg(test)]
mod tests;
