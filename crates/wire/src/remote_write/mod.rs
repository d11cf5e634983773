//! Prometheus remote write 1.0 (`prometheus.WriteRequest`) and 2.0 (`io.prometheus.write.v2.Request`).
//!
//! Both versions read alike:
//!
//! ```
//! use wire::remote_write::{Item, Request, Version};
//! use wire::{Limits, RequestError};
//!
//! # fn store(key: &[u8]) {}
//! fn receive(version: Version, body: &[u8], limits: &Limits) -> Result<(), RequestError> {
//!     let mut request = Request::new(version, body, limits)?;
//!     while let Some(item) = request.next_item()? {
//!         match item {
//!             Item::Series(series) => {
//!                 // A known series costs a hash of `series.key()`; only a new one decodes its labels:
//!                 if let Err(bad_series) = series.key().to_labels(limits) {
//!                     eprintln!("{bad_series}");
//!                 }
//!                 for sample in series.samples() {
//!                     store(series.key().as_bytes());
//!                 }
//!             }
//!             Item::Rejected { error, samples } => eprintln!("{error} ({samples} samples)"),
//!             Item::Metadata(family) => eprintln!("{} is a {:?}", family.family, family.metric_type),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! A [`RequestError`](crate::RequestError) from anywhere refuses the whole request: what was read before must be thrown away. Malformed protobuf
//! in an outer message or a sample is such an error; in a label, a histogram or an exemplar it only costs the series, the
//! histogram or the exemplar.
//!
//! Created timestamps are not kept.

mod exemplar;
mod headers;
mod histogram;
mod metadata;
mod request;
mod symbols;

pub use crate::metadata::MetadataRef;
pub use headers::{UnsupportedContentType, Version, Written};
pub use request::{Item, Request, Sample, Series};
