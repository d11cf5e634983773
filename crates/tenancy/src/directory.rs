//! The tenant directory: every tenant of a cell with its limits and the hashes of its keys, signed by the publisher.
//!
//! # Format, version 2
//!
//! ```text
//! farwatch-directory 2 <Ed25519 signature, 64 bytes in padded Base64>\n
//! <JSON of DirectoryDocument, to the end>
//! ```
//!
//! The signature is over the text `farwatch-directory 2\n` followed by the JSON exactly as its bytes are: there is no
//! canonical form to agree on, and the signature of one format version is worth nothing in another. Readers ignore JSON
//! fields that they do not know; a field that restricts what older readers would allow needs a new format version.
//! Version 1, which is still read, has no `networks`.
//!
//! ```json
//! {
//!   "version": 42,
//!   "issued_at_ms": 1790000000000,
//!   "tenants": [{
//!     "id": "acme", "shard": 0, "retention_days": 30, "home_cell": "eu-dublin",
//!     "limits": {"samples_per_second": 50000, "active_series": null},
//!     "keys": [{
//!       "id": "4c90GbRkq1Za", "sha256": "<64 hexadecimal digits>", "scopes": ["metrics:write"],
//!       "expires_at_ms": 1800000000000, "revoked_at_ms": null,
//!       "networks": ["192.0.2.0/24"], "priority": "normal"
//!     }]
//!   }]
//! }
//! ```
//!
//! `version` grows with every change; [`crate::access::Access`] never goes back to a lower one. Two keys with
//! overlapping lives are a rotation. A revoked key stays listed until nobody wonders any more why it is refused.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use telemetry::TenantId;

use crate::key::{ApiKey, KeyHash, KeyId};
use crate::network::IpNetwork;
use crate::scope::Scopes;
use crate::tenant::Tenant;

mod document;
mod signature;

pub use document::{DirectoryDocument, DirectoryError, KeyEntry, Priority, TenantEntry};
pub use signature::{DirectorySigner, DirectoryVerifier};

/// A checked directory, ready for look-ups.
pub struct Directory {
    version: u64,
    issued_at_ms: i64,
    tenants: HashMap<TenantId, Arc<Tenant>>,
    keys: HashMap<KeyId, KeyRecord>,
}

struct KeyRecord {
    hash: KeyHash,
    networks: Arc<[IpNetwork]>,
    priority: Priority,
    tenant: Arc<Tenant>,
    scopes: Scopes,
    expires_at_ms: Option<i64>,
    revoked: bool,
}

/// Who makes a request.
#[derive(Clone, Debug)]
pub struct Principal {
    /// The tenant, which comes from here and from nowhere else.
    pub tenant: Arc<Tenant>,
    /// The key that was presented; `None` for a request without credentials where those are allowed.
    pub key: Option<KeyId>,
    /// What the principal may do.
    pub scopes: Scopes,
    /// What becomes of its writes when the tenant is over a limit.
    pub priority: Priority,
    /// Where requests must come from; anywhere when empty.
    networks: Arc<[IpNetwork]>,
}

impl Principal {
    /// How many of the priorities that the tenant's keys have are higher than this one's: what is kept of a limit for them.
    #[must_use]
    pub fn priorities_above(&self) -> u32 {
        (self.tenant.highest_priority as u32).saturating_sub(self.priority as u32)
    }

    /// Whether a request from `address` is the principal's to make. Where the address is not known, a key that is bound to
    /// networks is not good.
    #[must_use]
    pub fn may_come_from(&self, address: Option<IpAddr>) -> bool {
        self.networks.is_empty()
            || address.is_some_and(|address| self.networks.iter().any(|network| network.contains(address)))
    }
}

/// Why a well-formed key is refused. The caller answers 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No such key, or its id with another secret: deliberately not told apart.
    #[error("the API key is not known here")]
    Unknown,
    /// It was revoked.
    #[error("the API key {0} has been revoked")]
    Revoked(KeyId),
    /// Its time is over.
    #[error("the API key {0} has expired")]
    Expired(KeyId),
}

impl Directory {
    /// Checks the signature and every part of a published document.
    ///
    /// # Errors
    /// [`DirectoryError`] says what is wrong with it.
    pub fn open(published: &[u8], verifier: &DirectoryVerifier) -> Result<Self, DirectoryError> {
        let json = signature::verified_payload(published, verifier)?;
        DirectoryDocument::parse(json)?.into_directory()
    }

    /// The document's version, which grows with every change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// When the publisher made it, in milliseconds since the Unix epoch by the publisher's clock.
    #[must_use]
    pub fn issued_at_ms(&self) -> i64 {
        self.issued_at_ms
    }

    /// The tenant with this id.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Option<&Arc<Tenant>> {
        self.tenants.get(id)
    }

    /// Who makes a request without credentials, where those belong to `tenant`.
    pub(crate) fn anonymous(&self, tenant: &TenantId) -> Option<Principal> {
        Some(Principal {
            tenant: Arc::clone(self.tenant(tenant)?),
            key: None,
            scopes: Scopes::DATA,
            priority: Priority::Normal,
            networks: Arc::default(),
        })
    }

    /// Every tenant, in no particular order.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    /// How many keys it lists, revoked and expired ones among them.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// Whose key this is. `now_ms` (milliseconds since the Unix epoch) decides on expiry: a key is good before its
    /// `expires_at_ms`, not at it.
    ///
    /// # Errors
    /// [`AuthError`] when the key is not good now. The state of a key is told only to who has its secret.
    pub fn authenticate(&self, key: &ApiKey, now_ms: i64) -> Result<Principal, AuthError> {
        let id = key.id();
        let record = self.keys.get(&id).ok_or(AuthError::Unknown)?;
        if !record.hash.matches(&key.hash()) {
            return Err(AuthError::Unknown);
        }
        if record.revoked {
            return Err(AuthError::Revoked(id));
        }
        if record.expires_at_ms.is_some_and(|expiry| now_ms >= expiry) {
            return Err(AuthError::Expired(id));
        }
        Ok(Principal {
            tenant: Arc::clone(&record.tenant),
            key: Some(id),
            scopes: record.scopes,
            priority: record.priority,
            networks: Arc::clone(&record.networks),
        })
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Directory")
            .field("version", &self.version)
            .field("tenants", &self.tenants.len())
            .field("keys", &self.keys.len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
