//! The document's payload, and how it becomes a [`Directory`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use telemetry::{TenantId, TenantIdError};

use super::signature::verified_payload;
use super::{Directory, DirectorySigner, DirectoryVerifier, KeyRecord};
use crate::key::{ApiKey, KeyHash, KeyId};
use crate::limits::{
    MAX_DIRECTORY_BYTES, MAX_KEYS_PER_TENANT, MAX_NETWORKS_PER_KEY, MAX_RATE, MAX_RETENTION_DAYS, MAX_TENANTS,
};
use crate::network::IpNetwork;
use crate::scope::Scope;
use crate::tenant::{Limits, Tenant};

/// The payload as the publisher writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryDocument {
    /// Grows with every change, whatever changes.
    pub version: u64,
    /// Milliseconds since the Unix epoch by the publisher's clock; for people, nothing depends on it.
    pub issued_at_ms: i64,
    /// The tenants; at most [`MAX_TENANTS`], with different ids.
    pub tenants: Vec<TenantEntry>,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantEntry {
    /// A [`TenantId`].
    pub id: String,
    /// The shard that the tenant's writes go to.
    #[serde(default)]
    pub shard: u32,
    /// 1 to [`MAX_RETENTION_DAYS`].
    pub retention_days: u32,
    /// What the tenant may do.
    #[serde(default)]
    pub limits: Limits,
    /// The cell that takes the tenant's writes and answers its queries, where a control plane has placed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub home_cell: Option<String>,
    /// The tenant's keys; at most [`MAX_KEYS_PER_TENANT`], with ids that differ from all others of the document.
    #[serde(default)]
    pub keys: Vec<KeyEntry>,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyEntry {
    /// [`KeyId`] as text.
    pub id: String,
    /// [`KeyHash::to_hex`].
    pub sha256: String,
    /// What the key allows.
    pub scopes: Vec<Scope>,
    /// From when on the key is refused, in milliseconds since the Unix epoch; never when left out.
    #[serde(default)]
    pub expires_at_ms: Option<i64>,
    /// Refused from now on, whatever the clock says; the time is for people.
    #[serde(default)]
    pub revoked_at_ms: Option<i64>,
    /// The networks ([`IpNetwork`]) that the key may be used from, at most [`MAX_NETWORKS_PER_KEY`]; any when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<String>,
    /// How much what is written with the key matters beside what the tenant writes with others.
    #[serde(default)]
    pub priority: Priority,
}

/// What goes first when a tenant is over its limit: the lowest, never at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Goes first.
    Low,
    /// Most data.
    #[default]
    Normal,
    /// Goes last.
    High,
}

impl Priority {
    /// Every priority, the lowest first.
    pub const ALL: [Self; 3] = [Self::Low, Self::Normal, Self::High];

    /// The name in the directory and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// What is wrong with a published directory. The last good one keeps serving.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Over [`MAX_DIRECTORY_BYTES`].
    #[error("the directory has {0} bytes, more than the {MAX_DIRECTORY_BYTES} allowed")]
    TooLarge(usize),
    /// The first line is not one of this format.
    #[error("the directory does not begin with 'farwatch-directory 2 SIGNATURE' (or 1)")]
    Header,
    /// Not signed by the publisher.
    #[error("the directory's signature is not the publisher's")]
    Signature,
    /// Not JSON of the expected shape.
    #[error("the directory's payload cannot be read")]
    Payload(#[source] serde_json::Error),
    /// Too many of something.
    #[error("the directory has {found} {what}, more than the {allowed} allowed")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        allowed: usize,
    },
    /// A tenant's id is none.
    #[error("the directory names a tenant {id:?}, which is no tenant id")]
    TenantId {
        /// What is in the id's place.
        id: String,
        /// What is wrong with it.
        source: TenantIdError,
    },
    /// The same id twice.
    #[error("the directory has two {what}s with the id {id}")]
    Duplicate {
        /// `tenant` or `key`.
        what: &'static str,
        /// The id.
        id: String,
    },
    /// A field of a tenant is out of its range.
    #[error("tenant {tenant} of the directory has a bad {what}")]
    Tenant {
        /// The tenant.
        tenant: String,
        /// The field.
        what: &'static str,
    },
    /// The document is older than the one in force.
    #[error("the directory has version {offered}, and version {current} is in force")]
    Rollback {
        /// The version offered.
        offered: u64,
        /// The version in force.
        current: u64,
    },
}

impl DirectoryDocument {
    /// The document as it is published: checked, and signed by `signer`.
    ///
    /// # Errors
    /// [`DirectoryError`] when readers would refuse it.
    pub fn publish(&self, signer: &DirectorySigner) -> Result<Vec<u8>, DirectoryError> {
        self.clone().into_directory()?;
        let json = serde_json::to_vec(self).map_err(DirectoryError::Payload)?;
        let published = signer.sign(&json);
        if published.len() > MAX_DIRECTORY_BYTES {
            return Err(DirectoryError::TooLarge(published.len()));
        }
        Ok(published)
    }

    /// Reads what [`DirectoryDocument::publish`] wrote, for who is to publish the next version of it.
    ///
    /// # Errors
    /// [`DirectoryError`] when it cannot be trusted or read.
    pub fn open(published: &[u8], verifier: &DirectoryVerifier) -> Result<Self, DirectoryError> {
        Self::parse(verified_payload(published, verifier)?)
    }

    pub(super) fn parse(json: &[u8]) -> Result<Self, DirectoryError> {
        serde_json::from_slice(json).map_err(DirectoryError::Payload)
    }

    pub(super) fn into_directory(self) -> Result<Directory, DirectoryError> {
        at_most("tenants", self.tenants.len(), MAX_TENANTS)?;
        let mut tenants = HashMap::with_capacity(self.tenants.len());
        let mut keys = HashMap::with_capacity(self.tenants.iter().map(|tenant| tenant.keys.len()).sum());
        for entry in self.tenants {
            let key_entries = &entry.keys;
            at_most("keys of one tenant", key_entries.len(), MAX_KEYS_PER_TENANT)?;
            let tenant = Arc::new(entry.to_tenant()?);
            for key in key_entries {
                let (id, record) = key.to_record(&tenant)?;
                match keys.entry(id) {
                    Entry::Occupied(_) => {
                        return Err(DirectoryError::Duplicate { what: "key", id: id.to_string() });
                    }
                    Entry::Vacant(place) => place.insert(record),
                };
            }
            if let Some(previous) = tenants.insert(tenant.id.clone(), tenant) {
                return Err(DirectoryError::Duplicate { what: "tenant", id: previous.id.to_string() });
            }
        }
        Ok(Directory { version: self.version, issued_at_ms: self.issued_at_ms, tenants, keys })
    }
}

impl TenantEntry {
    fn to_tenant(&self) -> Result<Tenant, DirectoryError> {
        let id = TenantId::new(&self.id)
            .map_err(|source| DirectoryError::TenantId { id: self.id.clone(), source })?;
        let bad = |what| Err(DirectoryError::Tenant { tenant: self.id.clone(), what });
        if !(1..=MAX_RETENTION_DAYS).contains(&self.retention_days) {
            return bad("retention_days");
        }
        // Zero is a valid rate: it stops a tenant without taking its keys away.
        if self.limits.samples_per_second.is_some_and(|rate| rate > MAX_RATE) {
            return bad("limits.samples_per_second");
        }
        if !(1..=MAX_RATE).contains(&self.limits.samples_burst) {
            return bad("limits.samples_burst");
        }
        if self.limits.spans_per_second.is_some_and(|rate| rate > MAX_RATE) {
            return bad("limits.spans_per_second");
        }
        let limits = self.limits.clone();
        // What nobody may use any more is kept for nobody.
        let in_use = self.keys.iter().filter(|key| key.revoked_at_ms.is_none());
        let highest_priority = in_use.map(|key| key.priority).max().unwrap_or_default();
        Ok(Tenant { id, shard: self.shard, retention_days: self.retention_days, limits, highest_priority })
    }
}

impl KeyEntry {
    /// The entry of a key that may be used from anywhere, does not expire and is not revoked.
    #[must_use]
    pub fn of(key: &ApiKey, scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self {
            id: key.id().to_string(),
            sha256: key.hash().to_hex(),
            scopes: scopes.into_iter().collect(),
            expires_at_ms: None,
            revoked_at_ms: None,
            networks: Vec::new(),
            priority: Priority::Normal,
        }
    }

    fn to_record(&self, tenant: &Arc<Tenant>) -> Result<(KeyId, KeyRecord), DirectoryError> {
        let bad = |what| DirectoryError::Tenant { tenant: tenant.id.to_string(), what };
        let id = KeyId::parse(&self.id).ok_or_else(|| bad("key id"))?;
        let hash = KeyHash::from_hex(&self.sha256).ok_or_else(|| bad("key sha256"))?;
        at_most("networks of one key", self.networks.len(), MAX_NETWORKS_PER_KEY)?;
        let networks: Result<Arc<[IpNetwork]>, _> =
            self.networks.iter().map(|network| IpNetwork::parse(network)).collect();
        let record = KeyRecord {
            hash,
            networks: networks.map_err(|_| bad("key network"))?,
            priority: self.priority,
            tenant: Arc::clone(tenant),
            scopes: self.scopes.iter().copied().collect(),
            expires_at_ms: self.expires_at_ms,
            revoked: self.revoked_at_ms.is_some(),
        };
        Ok((id, record))
    }
}

fn at_most(what: &'static str, found: usize, allowed: usize) -> Result<(), DirectoryError> {
    if found > allowed { Err(DirectoryError::TooMany { what, found, allowed }) } else { Ok(()) }
}
