//! Authenticate, decode, check, limit, columnise, commit, ack.
//!
//! | module | what |
//! |---|---|
//! | [`front`] | HTTP and gRPC |
//! | [`service`] | one write, whatever it came by |
//! | [`error`] | why a write failed as a whole; the table of statuses |
//! | [`refusals`] | what of a write was refused while the rest was kept |
//! | [`footprint`] | where telemetry comes from |
//! | [`leases`] | shares of limits among many processes |
//! | [`settings`] | numbers and parts |
//! | [`stats`] | what is counted |
//!
//! Inside: `body` reads request bodies within bounds, `decode` and `intake` turn them into rows, `registry` knows the active
//! series of each tenant, `families` the metadata that is durable, `times` which timestamps are taken.

mod body;
mod decode;
pub mod error;
mod families;
pub mod footprint;
pub mod front;
mod intake;
pub mod leases;
pub mod limits;
pub mod refusals;
mod registry;
pub mod service;
pub mod settings;
pub mod stats;
mod tenants;
#[cfg(feature = "testing")]
pub mod testing;
mod times;

pub use error::{Verdict, WriteError};
pub use footprint::{CloudPlace, Sightings};
pub use front::{ROUTES, grpc_router, http_router};
pub use refusals::{RefusalReason, Refusals};
pub use service::{Accepted, Ingest};
pub use settings::{IngestParts, IngestSettings};
pub use stats::{IngestSnapshot, Outcome, Protocol};
