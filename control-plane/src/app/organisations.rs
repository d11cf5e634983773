//! Organisations, and the limit of what they spend.

use serde_json::json;

use super::access::Actor;
use super::quotas::plan::Plan;
use super::{App, checked_name};
use crate::db::change::{Entry, Scope};
use crate::db::organisations::{self, MembershipRow, OrganisationRow};
use crate::db::{DbError, members};
use crate::error::AppError;
use crate::limits::MAX_ORGANISATIONS_PER_USER;
use crate::role::{Permission, Role};

impl App {
    /// A new organisation, owned by the caller.
    pub(crate) async fn create_organisation(
        &self,
        actor: &Actor,
        name: &str,
    ) -> Result<OrganisationRow, AppError> {
        let (user_id, _) = actor.user()?;
        let name = checked_name(name)?;
        let (id, now_ms) = (self.random.id("org"), self.now_ms());
        let plan = self.default_plan.as_str();
        let mut change = self.db.change().await?;
        change.lock(Scope::Account(user_id)).await?;
        if members::count_of_user(change.conn(), user_id).await? >= MAX_ORGANISATIONS_PER_USER {
            return Err(AppError::Full(format!(
                "an account is in {MAX_ORGANISATIONS_PER_USER} organisations at most; leave one first"
            )));
        }
        organisations::add(change.conn(), &id, &name, plan, now_ms).await?;
        members::add(change.conn(), &id, user_id, Role::Owner.as_str(), now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "organisation.create",
            subject: &id,
            details: json!({ "name": name, "plan": plan }),
        };
        change.commit(Scope::Organisation(&id), entry).await?;
        let plan = plan.to_owned();
        Ok(OrganisationRow { id, name, plan, spend_limit_micros: None, created_at_ms: now_ms })
    }

    /// The caller's organisations.
    pub(crate) async fn own_organisations(&self, actor: &Actor) -> Result<Vec<MembershipRow>, AppError> {
        let (user_id, _) = actor.user()?;
        Ok(organisations::of_user(self.db.pool(), user_id).await?)
    }

    /// One of them, and the caller's role in it.
    pub(crate) async fn organisation(
        &self,
        actor: &Actor,
        id: &str,
    ) -> Result<(OrganisationRow, Role), AppError> {
        let role = self.role_in(actor, id, Permission::ReadOrganisation).await?;
        let row = organisations::by_id(self.db.pool(), id).await?;
        Ok((row.ok_or(AppError::NotFound("organisation"))?, role))
    }

    /// Gives it another name.
    pub(crate) async fn rename_organisation(
        &self,
        actor: &Actor,
        id: &str,
        name: &str,
    ) -> Result<(), AppError> {
        let name = checked_name(name)?;
        let (mut change, _) = self.change_organisation(actor, id, Permission::ManageOrganisation).await?;
        organisations::rename(change.conn(), id, &name).await?;
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: "organisation.rename",
            subject: id,
            details: json!({ "name": name }),
        };
        change.commit(Scope::Organisation(id), entry).await?;
        Ok(())
    }

    /// What it spends at most in a month, in millionths of the currency; `None`: no limit.
    pub(crate) async fn spend_limit(&self, actor: &Actor, id: &str) -> Result<Option<i64>, AppError> {
        self.role_in(actor, id, Permission::ReadBilling).await?;
        let row = organisations::by_id(self.db.pool(), id).await?;
        Ok(row.ok_or(AppError::NotFound("organisation"))?.spend_limit_micros)
    }

    /// Sets that.
    pub(crate) async fn set_spend_limit(
        &self,
        actor: &Actor,
        id: &str,
        micros: Option<i64>,
    ) -> Result<(), AppError> {
        if micros.is_some_and(|micros| micros < 0) {
            return Err(AppError::invalid("limit_micros", "is zero or more, or null for no limit"));
        }
        let (mut change, _) = self.change_organisation(actor, id, Permission::ManageBilling).await?;
        organisations::set_spend_limit(change.conn(), id, micros).await?;
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: "spend_limit.set",
            subject: id,
            details: json!({ "limit_micros": micros }),
        };
        change.commit(Scope::Organisation(id), entry).await?;
        Ok(())
    }

    /// Puts an organisation on another plan: what the operator does, there is no route to it. `false` when there is no such
    /// organisation.
    pub(crate) async fn set_plan(&self, id: &str, plan: Plan) -> Result<bool, DbError> {
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        if !change.lock(Scope::Organisation(id)).await? {
            return Ok(false);
        }
        organisations::set_plan(change.conn(), id, plan.as_str()).await?;
        change.touch_directory(&self.random, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: "operator".to_owned(),
            action: "plan.set",
            subject: id,
            details: json!({ "plan": plan.as_str() }),
        };
        change.commit(Scope::Organisation(id), entry).await?;
        self.directory_changed.notify_one();
        Ok(true)
    }
}
