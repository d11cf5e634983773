//! Inviting people into an organisation.

use serde_json::json;

use super::access::Actor;
use super::members::owners_only;
use super::{App, email};
use crate::db::change::{Entry, Scope};
use crate::db::invitations::{self, InvitationRow};
use crate::db::{members, organisations};
use crate::error::AppError;
use crate::limits::{INVITATION_LIFE, MAX_INVITATIONS, MAX_MEMBERS, MAX_ORGANISATIONS_PER_USER};
use crate::role::{Permission, Role};
use crate::secret::Secret;

impl App {
    /// Sends an invitation. An earlier one for the same address is void then.
    pub(crate) async fn invite(
        &self,
        actor: &Actor,
        organisation_id: &str,
        address: &str,
        role: Role,
    ) -> Result<InvitationRow, AppError> {
        let email = email::normalised(address)?;
        let (mut change, own) =
            self.change_organisation(actor, organisation_id, Permission::ManageMembers).await?;
        if role.is_owners_to_give() && own != Role::Owner {
            return Err(owners_only());
        }
        self.throttle.mail(&email)?;
        let now_ms = self.now_ms();
        invitations::remove_for(change.conn(), organisation_id, &email).await?;
        if invitations::count_open(change.conn(), organisation_id, now_ms).await? >= MAX_INVITATIONS {
            return Err(AppError::Full(format!(
                "an organisation has {MAX_INVITATIONS} open invitations at most; withdraw one first"
            )));
        }
        let organisation = organisations::by_id(change.conn(), organisation_id).await?;
        let organisation = organisation.ok_or(AppError::NotFound("organisation"))?;
        let token = Secret::token(&self.random);
        let invitation = InvitationRow {
            id: self.random.id("inv"),
            organisation_id: organisation_id.to_owned(),
            email,
            role: role.as_str().to_owned(),
            created_at_ms: now_ms,
            expires_at_ms: now_ms + INVITATION_LIFE.as_millis() as i64,
        };
        invitations::add(change.conn(), &invitation, &token.sha256()).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "invitation.create",
            subject: &invitation.id,
            details: json!({ "email": invitation.email, "role": role }),
        };
        change.commit(Scope::Organisation(organisation_id), entry).await?;
        self.post.invite(&invitation.email, &organisation.name, &token);
        Ok(invitation)
    }

    /// The open invitations of an organisation.
    pub(crate) async fn invitations(
        &self,
        actor: &Actor,
        organisation_id: &str,
    ) -> Result<Vec<InvitationRow>, AppError> {
        self.role_in(actor, organisation_id, Permission::ManageMembers).await?;
        Ok(invitations::open(self.db.pool(), organisation_id, self.now_ms()).await?)
    }

    /// Makes an invitation void.
    pub(crate) async fn withdraw_invitation(
        &self,
        actor: &Actor,
        organisation_id: &str,
        id: &str,
    ) -> Result<(), AppError> {
        let (mut change, _) =
            self.change_organisation(actor, organisation_id, Permission::ManageMembers).await?;
        if !invitations::remove(change.conn(), organisation_id, id).await? {
            return Err(AppError::NotFound("invitation"));
        }
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: "invitation.withdraw",
            subject: id,
            details: json!({}),
        };
        change.commit(Scope::Organisation(organisation_id), entry).await?;
        Ok(())
    }

    /// Joins an organisation. The token alone is not enough: the caller's account must have the address that was invited.
    /// Returns the organisation's id.
    pub(crate) async fn accept_invitation(&self, actor: &Actor, token: &Secret) -> Result<String, AppError> {
        let user = self.own_account(actor).await?;
        let now_ms = self.now_ms();
        let invitation = invitations::by_token(self.db.pool(), &token.sha256(), now_ms).await?;
        let invitation = invitation.filter(|invitation| invitation.email == user.email);
        let invitation = invitation.ok_or(AppError::NotFound("invitation"))?;
        let organisation_id = invitation.organisation_id.as_str();
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(organisation_id)).await?;
        if !invitations::remove(change.conn(), organisation_id, &invitation.id).await? {
            return Err(AppError::NotFound("invitation"));
        }
        if members::count(change.conn(), organisation_id).await? >= MAX_MEMBERS {
            return Err(AppError::Full(format!("an organisation has {MAX_MEMBERS} members at most")));
        }
        if members::count_of_user(change.conn(), &user.id).await? >= MAX_ORGANISATIONS_PER_USER {
            return Err(AppError::Full(format!(
                "an account is in {MAX_ORGANISATIONS_PER_USER} organisations at most; leave one first"
            )));
        }
        // Who is in already keeps the role.
        members::add(change.conn(), organisation_id, &user.id, &invitation.role, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "invitation.accept",
            subject: &invitation.id,
            details: json!({ "role": invitation.role }),
        };
        change.commit(Scope::Organisation(organisation_id), entry).await?;
        Ok(invitation.organisation_id)
    }
}
