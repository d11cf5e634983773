//! The published tenant directory: what ingest and query processes know of tenants, keys and limits.
//!
//! A change that the directory has to show writes a row into the outbox in its own transaction. The publisher reads these
//! rows, then what is published, then the tables, and puts the new document on condition that the published one is still
//! the one it read; only then it deletes the rows it read. So
//!
//! - a crash at any point publishes once more, never once less;
//! - of several publishers at once one wins, and the others begin anew: an older state never replaces a newer one, since
//!   the tables are read after the document that is replaced;
//! - what the tables do not know (tenants that a process without a control plane made) stays as it is.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tenancy::{
    DirectoryDocument, DirectoryError, DirectorySigner, KeyEntry, Limits, Priority, Scope as KeyScope,
    TenantEntry,
};

use super::App;
use super::quotas::plan::{Plan, QuotaName};
use super::quotas::{limits_of, overrides_of};
use crate::db::keys::{self, KeyRow};
use crate::db::tenants::{self, ListedRow};
use crate::db::{DbError, outbox, placements, quotas};
use crate::limits::{DEAD_KEYS_LISTED_MS, MAX_OUTBOX_ROWS, MAX_PUBLISH_ATTEMPTS};
use crate::ports::{DirectoryPublisher, PublishError};

/// Why the directory was not published. Tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DirectoryPublishError {
    #[error("cannot read what the directory has to show")]
    Db(#[from] DbError),
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// What is published was signed by somebody else, or what is in the tables cannot be published.
    #[error("the tenant directory is not one to publish")]
    Directory(#[from] DirectoryError),
    #[error("others kept publishing at the same time")]
    Busy,
}

impl App {
    /// Publishes what the outbox says there is to publish. `false` when it says nothing.
    pub(crate) async fn publish_directory(
        &self,
        publisher: &dyn DirectoryPublisher,
        signer: &DirectorySigner,
    ) -> Result<bool, DirectoryPublishError> {
        let waiting = outbox::ids(self.db.pool(), MAX_OUTBOX_ROWS).await?;
        if waiting.is_empty() {
            return Ok(false);
        }
        for _ in 0..MAX_PUBLISH_ATTEMPTS {
            let found = publisher.current().await?;
            let (published, tag) = match &found {
                Some(found) => {
                    let document = DirectoryDocument::open(&found.document, &signer.verifier())?;
                    (document, Some(found.tag.as_str()))
                }
                None => (DirectoryDocument { version: 0, issued_at_ms: 0, tenants: Vec::new() }, None),
            };
            let state = self.directory_state().await?;
            let next = state.applied_to(&published, self.now_ms());
            // Two changes may have cancelled each other, or another process may have published them.
            let changed = next.tenants != published.tenants;
            if !changed || publisher.publish(next.publish(signer)?, tag).await? {
                let mut change = self.db.change().await?;
                outbox::settle(change.conn(), &waiting).await?;
                change.commit_silently().await?;
                if changed {
                    tracing::info!(
                        version = next.version,
                        changes = waiting.len(),
                        "published the tenant directory"
                    );
                }
                return Ok(true);
            }
        }
        Err(DirectoryPublishError::Busy)
    }

    /// The limits of every tenant, by id.
    pub(super) async fn limits_of_all(&self) -> Result<HashMap<String, Limits>, DbError> {
        let state = self.directory_state().await?;
        Ok(state.tenants.into_iter().map(|(id, entry)| (id, entry.limits)).collect())
    }

    /// Read in parts, so a change may show in one of them only; but then its row is in the outbox still.
    async fn directory_state(&self) -> Result<State, DbError> {
        let dead_since_ms = self.now_ms() - DEAD_KEYS_LISTED_MS;
        let keys = keys::listed(self.db.pool(), dead_since_ms).await?;
        let overrides = quotas::all(self.db.pool()).await?;
        let mut homes: HashMap<String, String> =
            placements::homes(self.db.pool()).await?.into_iter().collect();
        let tenants = tenants::listed(self.db.pool()).await?;
        let mut by_tenant: HashMap<String, (Vec<KeyRow>, Vec<_>)> = HashMap::new();
        for key in keys {
            by_tenant.entry(key.tenant_id.clone()).or_default().0.push(key);
        }
        for row in overrides {
            by_tenant.entry(row.tenant_id.clone()).or_default().1.push(row);
        }
        let mut state = State::default();
        for tenant in tenants {
            let (keys, overrides) = by_tenant.remove(&tenant.id).unwrap_or_default();
            if tenant.deleted_at_ms.is_some() {
                state.gone.insert(tenant.id);
                continue;
            }
            let entry = TenantEntry {
                home_cell: homes.remove(&tenant.id),
                ..tenant_entry(&tenant, &keys, &overrides)
            };
            state.tenants.insert(tenant.id, entry);
        }
        Ok(state)
    }
}

/// What the tables say of tenants.
#[derive(Debug, Default)]
struct State {
    tenants: BTreeMap<String, TenantEntry>,
    gone: BTreeSet<String>,
}

impl State {
    /// The next version of a published document.
    fn applied_to(&self, published: &DirectoryDocument, now_ms: i64) -> DirectoryDocument {
        let unknown = published
            .tenants
            .iter()
            .filter(|tenant| !self.tenants.contains_key(&tenant.id) && !self.gone.contains(&tenant.id));
        DirectoryDocument {
            version: published.version + 1,
            issued_at_ms: now_ms,
            tenants: unknown.chain(self.tenants.values()).cloned().collect(),
        }
    }
}

fn tenant_entry(
    tenant: &ListedRow,
    keys: &[KeyRow],
    overrides: &[crate::db::quotas::OverrideRow],
) -> TenantEntry {
    let mut overrides = overrides_of(overrides);
    if tenant.stopped == 1 {
        overrides.extend([(QuotaName::SamplesPerSecond, 0), (QuotaName::SpansPerSecond, 0)]);
    }
    // A plan that only a later version knows: until that version runs here, the smallest one holds.
    let plan = Plan::parse(&tenant.plan).unwrap_or(Plan::Free);
    TenantEntry {
        id: tenant.id.clone(),
        shard: u32::try_from(tenant.shard).unwrap_or_default(),
        retention_days: u32::try_from(tenant.retention_days).unwrap_or_default(),
        home_cell: None,
        limits: limits_of(plan, &overrides),
        keys: keys.iter().map(key_entry).collect(),
    }
}

fn key_entry(key: &KeyRow) -> KeyEntry {
    let scopes = key.scopes.split(' ');
    KeyEntry {
        id: key.id.clone(),
        sha256: key.sha256.clone(),
        scopes: KeyScope::ALL
            .into_iter()
            .filter(|scope| scopes.clone().any(|name| name == scope.as_str()))
            .collect(),
        expires_at_ms: key.expires_at_ms,
        revoked_at_ms: key.revoked_at_ms,
        networks: key.networks.split_ascii_whitespace().map(str::to_owned).collect(),
        priority: Priority::ALL
            .into_iter()
            .find(|priority| priority.as_str() == key.priority)
            .unwrap_or_default(),
    }
}
