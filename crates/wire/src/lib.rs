//! Codecs from remote write and OTLP to the data model; pure, bounded, fuzzed.
//!
//! | module | what |
//! |---|---|
//! | [`limits`] | every limit with its default and its reason |
//! | [`compression`] | bodies: snappy, gzip, zstd |
//! | [`protobuf`] | a zero-copy reader that both protocols share |
//! | [`series_key`] | a series' labels as one borrowed byte string, to look known series up without decoding them |
//! | [`remote_write`] | Prometheus remote write 1.0 and 2.0 |
//! | [`otlp`] | OpenTelemetry metrics, protobuf and JSON |
//!
//! Errors come in two sizes. A [`RequestError`] refuses the whole request: its body is malformed, or a limit of the
//! request was hit. A [`SeriesError`] refuses one series (or some of its samples) and names it; the rest is good.

mod budget;
pub mod compression;
mod error;
pub mod limits;
mod metadata;
pub mod otlp;
pub mod protobuf;
pub mod remote_write;
pub mod series_key;

pub use compression::{DecompressError, Decompressor, Encoding};
pub use error::{RequestError, SeriesError, SeriesProblem};
pub use limits::Limits;
pub use metadata::MetadataRef;
pub use series_key::SeriesKey;
