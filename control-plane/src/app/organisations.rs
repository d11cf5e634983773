//! Organisations.

use serde_json::json;

use super::access::Actor;
use super::{App, checked_name};
use crate::db::change::{Entry, Scope};
use crate::db::organisations::{self, MembershipRow, OrganisationRow};
use crate::db::{members, plans};
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
        plans::begin_term(change.conn(), &id, plan, now_ms.div_euclid(1000)).await?;
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
}
