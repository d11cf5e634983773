//! Who is in an organisation, and as what.

use serde_json::json;

use super::App;
use super::access::Actor;
use crate::db::change::{Change, Entry, Scope};
use crate::db::members::{self, MemberRow};
use crate::error::AppError;
use crate::role::{Permission, Role};

impl App {
    /// Everybody in an organisation.
    pub(crate) async fn members(
        &self,
        actor: &Actor,
        organisation_id: &str,
    ) -> Result<Vec<MemberRow>, AppError> {
        self.role_in(actor, organisation_id, Permission::ReadOrganisation).await?;
        Ok(members::all(self.db.pool(), organisation_id).await?)
    }

    /// Gives a member another role. Some are for owners to give and take, and one owner stays.
    pub(crate) async fn set_role(
        &self,
        actor: &Actor,
        organisation_id: &str,
        user_id: &str,
        role: Role,
    ) -> Result<(), AppError> {
        let (mut change, own) =
            self.change_organisation(actor, organisation_id, Permission::ManageMembers).await?;
        let before = role_of(&mut change, organisation_id, user_id).await?;
        if own != Role::Owner && (before.is_owners_to_give() || role.is_owners_to_give()) {
            return Err(owners_only());
        }
        if before == Role::Owner && role != Role::Owner {
            keep_an_owner(&mut change, organisation_id).await?;
        }
        members::set_role(change.conn(), organisation_id, user_id, role.as_str()).await?;
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: "member.set_role",
            subject: user_id,
            details: json!({ "before": before, "role": role }),
        };
        change.commit(Scope::Organisation(organisation_id), entry).await?;
        Ok(())
    }

    /// Takes a member out. Everybody may leave by themselves; one owner stays.
    pub(crate) async fn remove_member(
        &self,
        actor: &Actor,
        organisation_id: &str,
        user_id: &str,
    ) -> Result<(), AppError> {
        let leaves = actor.user()?.0 == user_id;
        let needed = if leaves { Permission::ReadOrganisation } else { Permission::ManageMembers };
        let (mut change, own) = self.change_organisation(actor, organisation_id, needed).await?;
        let before = role_of(&mut change, organisation_id, user_id).await?;
        if !leaves && own != Role::Owner && before.is_owners_to_give() {
            return Err(owners_only());
        }
        if before == Role::Owner {
            keep_an_owner(&mut change, organisation_id).await?;
        }
        members::remove(change.conn(), organisation_id, user_id).await?;
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: if leaves { "member.leave" } else { "member.remove" },
            subject: user_id,
            details: json!({ "role": before }),
        };
        change.commit(Scope::Organisation(organisation_id), entry).await?;
        Ok(())
    }
}

pub(super) fn owners_only() -> AppError {
    AppError::Forbidden("only an owner gives, changes or takes the roles owner and billing".to_owned())
}

async fn role_of(change: &mut Change, organisation_id: &str, user_id: &str) -> Result<Role, AppError> {
    let role = members::role(change.conn(), organisation_id, user_id).await?;
    role.as_deref().and_then(Role::parse).ok_or(AppError::NotFound("member"))
}

/// The organisation is locked: no other owner goes at the same time.
async fn keep_an_owner(change: &mut Change, organisation_id: &str) -> Result<(), AppError> {
    if members::count_with_role(change.conn(), organisation_id, Role::Owner.as_str()).await? > 1 {
        return Ok(());
    }
    Err(AppError::Conflict(
        "an organisation has one owner at least; make somebody else an owner first".to_owned(),
    ))
}
