//! What the control plane needs of the world: each is given to it, so that any behaviour can be replayed.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::billing::{Attribution, Quantities, ResourceUse, Signal};
use crate::placement::Observation;

/// A source of time.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since the Unix epoch, UTC. May jump either way.
    fn now_ms(&self) -> i64;

    /// Time since an arbitrary fixed point. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The place in a cell's bucket where the tenant directory lies, as bytes: signing and merging are the control plane's.
#[async_trait]
pub trait DirectoryPublisher: Send + Sync + Debug {
    /// What is published now, if anything is.
    ///
    /// # Errors
    /// [`PublishError`] when the place cannot be reached.
    async fn current(&self) -> Result<Option<Published>, PublishError>;

    /// Puts `document` there if what is there is still what `replaces` names (nothing, for `None`). `false` when it is not.
    ///
    /// # Errors
    /// [`PublishError`] when the place cannot be reached; the document may have been put all the same.
    async fn publish(&self, document: Vec<u8>, replaces: Option<&str>) -> Result<bool, PublishError>;
}

/// A published directory.
#[derive(Clone, Debug)]
pub struct Published {
    /// The document.
    pub document: Vec<u8>,
    /// Names this version of it: an `ETag`.
    pub tag: String,
}

/// The place of the directory cannot be reached. Tried again later.
#[derive(Debug, thiserror::Error)]
#[error("cannot publish the tenant directory")]
pub struct PublishError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What the data plane knows of its use: ledgers, which are exact, and reports, which are statistics.
#[async_trait]
pub trait UsageSource: Send + Sync + Debug {
    /// The tenants that have a ledger.
    ///
    /// # Errors
    /// [`UsageSourceError`] when they cannot be listed.
    async fn tenants(&self) -> Result<Vec<String>, UsageSourceError>;

    /// A tenant's ledger; `None` where there is none, or it is still the version that `known` names.
    ///
    /// # Errors
    /// [`UsageSourceError`] when it cannot be read: never a ledger in part.
    async fn ledger(
        &self,
        tenant: &str,
        signal: Signal,
        known: Option<&str>,
    ) -> Result<Option<LedgerState>, UsageSourceError>;

    /// At most `count` reports that nobody has asked to forget, in any order.
    ///
    /// # Errors
    /// [`UsageSourceError`] when they cannot be read.
    async fn reports(&self, count: usize) -> Result<Vec<ActivityReport>, UsageSourceError>;

    /// Forgets reports that are counted.
    ///
    /// # Errors
    /// [`UsageSourceError`] when they cannot be deleted; they come again, and are not counted again.
    async fn forget(&self, ids: &[String]) -> Result<(), UsageSourceError>;
}

/// What the data plane has of tenants.
#[async_trait]
pub trait TenantData: Send + Sync + Debug {
    /// Deletes all of a tenant's data, its ledger among it, for good; none that comes later is kept. Doing it again is no error.
    ///
    /// # Errors
    /// [`TenantDataError`] when it may not have been done.
    async fn delete(&self, tenant: &str) -> Result<(), TenantDataError>;
}

/// A tenant's data cannot be deleted. Tried again later.
#[derive(Debug, thiserror::Error)]
#[error("cannot delete a tenant's data")]
pub struct TenantDataError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A version of a tenant's ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerState {
    /// Goes up with each version.
    pub generation: u64,
    /// Names this version: an `ETag`.
    pub tag: String,
    /// Bytes that the tenant's objects take in the bucket.
    pub at_rest_bytes: u64,
    /// All that was committed, by hours since the Unix epoch, each hour once.
    pub hours: Vec<(i64, Quantities)>,
}

/// A report of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActivityReport {
    /// Unlike that of any other report.
    pub id: String,
    /// What it says.
    pub activity: Activity,
}

/// What a process saw since its last report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Activity {
    /// When the report was made, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// API keys that were used.
    pub keys: Vec<KeyUse>,
    /// What was acknowledged, by metric name and by API key.
    pub counts: Vec<Attribution>,
    /// What the process used up.
    pub resources: Vec<ResourceUse>,
    /// Where telemetry said that it comes from.
    pub footprints: Vec<FootprintSeen>,
    /// Limits of tenants that were nearly reached.
    pub limits: Vec<LimitNear>,
}

/// A place that a tenant's telemetry named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FootprintSeen {
    /// The tenant's id.
    pub tenant: String,
    /// The place, and how often it was named since the last report.
    #[serde(flatten)]
    pub seen: Observation,
}

/// A limit of a tenant that was nearly reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitNear {
    /// The tenant's id.
    pub tenant: String,
    /// The limit's name, as in the tenant directory.
    pub limit: String,
    /// What it allows.
    pub allowed: u64,
    /// How much of it was used at most since the last report.
    pub used: u64,
}

/// That an API key was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// The key's public part.
    pub id: String,
    /// The last time, in milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// The data plane's records cannot be read. Tried again later.
#[derive(Debug, thiserror::Error)]
#[error("cannot read what was used")]
pub struct UsageSourceError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Sends mails.
#[async_trait]
pub trait Mailer: Send + Sync + Debug {
    /// Hands a mail over to who delivers it.
    ///
    /// # Errors
    /// [`MailError`] when it is not taken.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}

/// A mail. Its text may hold a secret link: `Debug` leaves it out.
#[derive(Clone)]
pub struct Mail {
    /// The address.
    pub to: String,
    /// The subject line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

impl Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// A mail was not taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot send a mail")]
pub struct MailError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
