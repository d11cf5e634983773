//! Tenants: the environments of an organisation, each with its own data, keys and limits.

use serde_json::json;

use super::access::Actor;
use super::placement::decision::Declaration;
use super::{App, checked_name};
use crate::db::DbError;
use crate::db::change::{Change, Entry, Scope};
use crate::db::tenants::{self, TenantRow};
use crate::error::AppError;
use crate::limits::{ERASURE_WAIT_MS, MAX_TENANTS};
use crate::ports::TenantData;
use crate::role::Permission;

/// How long data is kept, in days: thirteen months, so that a month can be compared with last year's.
const RETENTION_DAYS: i64 = 400;
/// There is one shard to begin with.
const SHARD: i64 = 0;

impl App {
    /// A new tenant, placed away from where it runs.
    pub(crate) async fn create_tenant(
        &self,
        actor: &Actor,
        organisation_id: &str,
        name: &str,
        declaration: &Declaration,
    ) -> Result<TenantRow, AppError> {
        let name = checked_name(name)?;
        let (mut change, _) =
            self.change_organisation(actor, organisation_id, Permission::ManageTenants).await?;
        if tenants::count(change.conn(), organisation_id).await? >= MAX_TENANTS {
            return Err(AppError::Full(format!(
                "an organisation has {MAX_TENANTS} tenants at most; delete one first"
            )));
        }
        check_free(&mut change, organisation_id, &name, None).await?;
        let now_ms = self.now_ms();
        let tenant = TenantRow {
            id: self.random.id("ten"),
            organisation_id: organisation_id.to_owned(),
            name,
            shard: SHARD,
            retention_days: RETENTION_DAYS,
            created_at_ms: now_ms,
        };
        tenants::add(change.conn(), &tenant).await?;
        let decision = self.place_tenant(&mut change, &tenant, declaration).await?;
        change.touch_directory(&self.random, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "tenant.create",
            subject: &tenant.id,
            details: json!({
                "name": tenant.name,
                "declaration": declaration,
                "home": decision.home.cell,
                "standby": decision.standby.as_ref().map(|standby| &standby.cell),
            }),
        };
        change.commit(Scope::Organisation(organisation_id), entry).await?;
        self.directory_changed.notify_one();
        Ok(tenant)
    }

    /// The tenants of an organisation.
    pub(crate) async fn tenants(
        &self,
        actor: &Actor,
        organisation_id: &str,
    ) -> Result<Vec<TenantRow>, AppError> {
        self.role_in(actor, organisation_id, Permission::ReadOrganisation).await?;
        Ok(tenants::of_organisation(self.db.pool(), organisation_id).await?)
    }

    /// One tenant.
    pub(crate) async fn tenant(&self, actor: &Actor, id: &str) -> Result<TenantRow, AppError> {
        self.tenant_for(actor, id, Permission::ReadOrganisation).await
    }

    /// Gives it another name.
    pub(crate) async fn rename_tenant(&self, actor: &Actor, id: &str, name: &str) -> Result<(), AppError> {
        let name = checked_name(name)?;
        let (mut change, tenant) = self.change_tenant(actor, id, Permission::ManageTenants).await?;
        check_free(&mut change, &tenant.organisation_id, &name, Some(id)).await?;
        tenants::rename(change.conn(), id, &name).await?;
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: "tenant.rename",
            subject: id,
            details: json!({ "before": tenant.name, "name": name }),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        Ok(())
    }

    /// Deletes it: its keys are good no more within seconds, and its data is deleted [`ERASURE_WAIT_MS`] later. What it used stays in
    /// the database, since invoices are kept.
    pub(crate) async fn delete_tenant(&self, actor: &Actor, id: &str) -> Result<(), AppError> {
        let (mut change, tenant) = self.change_tenant(actor, id, Permission::ManageTenants).await?;
        let now_ms = self.now_ms();
        tenants::delete(change.conn(), id, now_ms).await?;
        self.end_conflicts_in(&mut change, id).await?;
        change.touch_directory(&self.random, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "tenant.delete",
            subject: id,
            details: json!({ "name": tenant.name }),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        self.directory_changed.notify_one();
        Ok(())
    }

    /// Deletes the data of tenants that were deleted long enough ago. To be called when all ledgers are folded: they go with the
    /// data. Doing it again does nothing.
    pub(crate) async fn erase_tenants(&self, data: &dyn TenantData) -> Result<(), DbError> {
        for tenant in tenants::to_erase(self.db.pool(), self.now_ms() - ERASURE_WAIT_MS).await? {
            if let Err(error) = data.delete(&tenant.id).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    tenant = tenant.id,
                    error,
                    "cannot delete a tenant's data; it is tried again"
                );
                continue;
            }
            let mut change = self.db.change().await?;
            change.lock(Scope::Organisation(&tenant.organisation_id)).await?;
            let now_ms = self.now_ms();
            if !tenants::note_erased(change.conn(), &tenant.id, now_ms).await? {
                continue;
            }
            let entry = Entry {
                at_ms: now_ms,
                actor: "operator".to_owned(),
                action: "tenant.erase",
                subject: &tenant.id,
                details: json!({}),
            };
            change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        }
        Ok(())
    }
}

/// Refuses a name that another tenant of the organisation, which is locked, has; otherwise it can be given.
async fn check_free(
    change: &mut Change,
    organisation_id: &str,
    name: &str,
    but_by: Option<&str>,
) -> Result<(), AppError> {
    if tenants::is_taken(change.conn(), organisation_id, name, but_by).await? {
        return Err(AppError::Conflict(format!(
            "the organisation has a tenant with the name {name:?} already; choose another name"
        )));
    }
    Ok(tenants::free_name(change.conn(), organisation_id, name).await?)
}
