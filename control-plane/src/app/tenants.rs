//! Tenants: the environments of an organisation, each with its own data, keys and limits.

use serde_json::json;

use super::access::Actor;
use super::placement::decision::Declaration;
use super::{App, checked_name};
use crate::db::change::{Entry, Scope};
use crate::db::tenants::{self, TenantRow};
use crate::error::AppError;
use crate::limits::MAX_TENANTS;
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

    /// Deletes it: its keys are good no more within seconds. Its data stays until the operator deletes it.
    pub(crate) async fn delete_tenant(&self, actor: &Actor, id: &str) -> Result<(), AppError> {
        let (mut change, tenant) = self.change_tenant(actor, id, Permission::ManageTenants).await?;
        let now_ms = self.now_ms();
        tenants::delete(change.conn(), id, now_ms).await?;
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
}
