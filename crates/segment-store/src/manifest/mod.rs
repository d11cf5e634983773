//! Manifests: what compaction has done, and where what it made is.
//!
//! | object | what |
//! |---|---|
//! | `fresh/{shard}/manifest` | [`ShardManifest`]: merged objects, and fresh objects whose data is in them |
//! | `t/{tenant}/metrics/manifest` | [`TenantManifest`]: tenant segments, which merged objects are in them, the billing ledger |
//!
//! A manifest is replaced as a whole on condition that nobody else has replaced it (`If-Match`). Its generation goes up with
//! every replacement, so no two versions of it are the same bytes and an etag never comes back.

use std::fmt;

use telemetry::TenantId;

mod codec;
mod ledger;
mod serial;
mod shard;
mod tenant;
#[cfg(test)]
mod tests;

pub use ledger::{Hour, HourUsage, Ledger};
pub use shard::{Merged, Retired, ShardManifest};
pub use tenant::{Level, Resolution, SegmentEntry, TenantManifest, TimeWindow};

use serde::{Deserialize, Serialize};

/// Why bytes are not a manifest that can be read. Who meets it names the object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The bytes belong to something else.
    #[error("not a manifest: {0}")]
    NotAManifest(&'static str),
    /// Written by a later version of the software.
    #[error("manifest version {found} is not known here (the latest known is {known}): upgrade this process")]
    Version {
        /// What the manifest says.
        found: u8,
        /// The latest that is known here.
        known: u8,
    },
    /// Bytes changed on their way or in the bucket.
    #[error("checksum of the manifest is {found:016x}, expected {expected:016x}")]
    Checksum {
        /// What the manifest says.
        expected: u64,
        /// What its bytes give.
        found: u64,
    },
    /// More than a manifest may hold.
    #[error("the manifest has {bytes} bytes, more than the {limit} that are read")]
    TooLarge {
        /// How much it has, or says that it has.
        bytes: u64,
        /// How much it may have.
        limit: u64,
    },
    /// Bytes that no writer of this format produces.
    #[error("corrupt manifest: {0}")]
    Corrupt(String),
}

/// An object, or a tenant's part of one, that cannot be read. It is passed over from then on, and kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quarantined {
    /// The key of the object.
    pub object: String,
    /// Whose part of it is damaged; `None` for the whole object.
    #[serde(with = "serial::optional_tenant", default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    /// What is wrong with it.
    pub reason: String,
    /// Since when it is known, in milliseconds since the Unix epoch.
    pub since_ms: i64,
}

impl fmt::Display for Quarantined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.object)?;
        if let Some(tenant) = &self.tenant {
            write!(f, " (tenant {tenant})")?;
        }
        write!(f, ": {}", self.reason)
    }
}
