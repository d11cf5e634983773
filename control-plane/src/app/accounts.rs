//! Signing up, and passwords.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::json;

use super::access::Actor;
use super::{App, email};
use crate::auth::password::weakness;
use crate::db::change::{Entry, Scope};
use crate::db::users::UserRow;
use crate::db::{sessions, signups, users};
use crate::error::AppError;
use crate::limits::{RESET_LIFE, SIGNUP_LIFE};
use crate::secret::Secret;

const BAD_LINK: &str = "the token is not known, has expired or was used already; ask for a new one";

impl App {
    /// Somebody wants an account. Whether there is one with this address already, only a mail says; the answer and the work
    /// are the same.
    pub(crate) async fn sign_up(
        &self,
        address: &str,
        password: Secret,
        peer: Option<IpAddr>,
    ) -> Result<(), AppError> {
        let email = email::normalised(address)?;
        check_strength(&password, &email)?;
        self.throttle.address(peer)?;
        self.throttle.mail(&email)?;
        let hash = self.passwords.hash(password, &self.random).await?;
        let exists = users::by_email(self.db.pool(), &email).await?.is_some();
        let (token, now_ms) = (Secret::token(&self.random), self.now_ms());
        let expires_at_ms = now_ms + SIGNUP_LIFE.as_millis() as i64;
        let mut change = self.db.change().await?;
        // Also where there is an account: nobody ever gets that token.
        signups::add(change.conn(), &token.sha256(), &email, &hash, now_ms, expires_at_ms).await?;
        change.commit_silently().await?;
        if exists {
            self.post.account_exists(&email);
        } else {
            self.post.confirm_signup(&email, &token);
        }
        Ok(())
    }

    /// Makes the account. It takes the link that went to the mailbox and the password of the very same signup: nobody can
    /// choose a password for somebody else's address, whoever signs up first.
    pub(crate) async fn verify_signup(
        &self,
        token: &Secret,
        password: Secret,
        peer: Option<IpAddr>,
    ) -> Result<(), AppError> {
        self.throttle.address(peer)?;
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        let signup = signups::find(change.conn(), &token.sha256(), now_ms).await?;
        drop(change);
        let signup = signup.ok_or(AppError::Unauthenticated(BAD_LINK))?;
        self.throttle.confirmation(&signup.email)?;
        if !self.passwords.verify(password, Some(signup.password_hash.clone())).await? {
            return Err(AppError::Unauthenticated("the password is not the one of this signup"));
        }
        let id = self.random.id("usr");
        let mut change = self.db.change().await?;
        if !users::add(change.conn(), &id, &signup.email, &signup.password_hash, now_ms).await? {
            return Err(AppError::Unauthenticated(BAD_LINK));
        }
        signups::drop_all(change.conn(), &signup.email).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: format!("user:{id}"),
            action: "account.create",
            subject: &id,
            details: json!({ "email": signup.email }),
        };
        change.commit(Scope::Account(&id), entry).await?;
        Ok(())
    }

    /// Somebody forgot a password. What is done about it is done after the answer.
    pub(crate) fn request_reset(
        self: &Arc<Self>,
        address: &str,
        peer: Option<IpAddr>,
    ) -> Result<(), AppError> {
        let email = email::normalised(address)?;
        self.throttle.address(peer)?;
        self.throttle.mail(&email)?;
        let app = Arc::clone(self);
        tokio::spawn(async move {
            // A failure is in the log; whoever waits for the mail asks again.
            let _ = app.start_reset(&email).await;
        });
        Ok(())
    }

    async fn start_reset(&self, email: &str) -> Result<(), AppError> {
        let Some(user) = users::by_email(self.db.pool(), email).await? else { return Ok(()) };
        let (token, now_ms) = (Secret::token(&self.random), self.now_ms());
        let expires_at_ms = now_ms + RESET_LIFE.as_millis() as i64;
        let mut change = self.db.change().await?;
        users::add_reset(change.conn(), &token.sha256(), &user.id, now_ms, expires_at_ms).await?;
        change.commit_silently().await?;
        self.post.reset_password(&user.email, &token);
        Ok(())
    }

    /// Chooses a new password with the token from a mail, and ends all sessions.
    pub(crate) async fn finish_reset(
        &self,
        token: &Secret,
        password: Secret,
        peer: Option<IpAddr>,
    ) -> Result<(), AppError> {
        self.throttle.address(peer)?;
        let (token, now_ms) = (token.sha256(), self.now_ms());
        let mut change = self.db.change().await?;
        let owner = users::reset_owner(change.conn(), &token, now_ms).await?;
        drop(change);
        let owner = owner.ok_or(AppError::Unauthenticated(BAD_LINK))?;
        let user = self.account(&owner).await?;
        check_strength(&password, &user.email)?;
        let hash = self.passwords.hash(password, &self.random).await?;

        let mut change = self.db.change().await?;
        change.lock(Scope::Account(&owner)).await?;
        // Somebody may have been faster.
        if users::reset_owner(change.conn(), &token, now_ms).await?.is_none() {
            return Err(AppError::Unauthenticated(BAD_LINK));
        }
        users::set_password(change.conn(), &owner, &hash).await?;
        users::drop_resets(change.conn(), &owner).await?;
        sessions::end_all(change.conn(), &owner, None, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: format!("user:{owner}"),
            action: "password.reset",
            subject: &owner,
            details: json!({}),
        };
        change.commit(Scope::Account(&owner), entry).await?;
        Ok(())
    }

    /// Changes a password and ends all other sessions.
    pub(crate) async fn change_password(
        &self,
        actor: &Actor,
        current: Secret,
        new: Secret,
    ) -> Result<(), AppError> {
        let (user_id, session_id) = actor.user()?;
        let user = self.account(user_id).await?;
        check_strength(&new, &user.email)?;
        self.check_password(&user, current).await?;
        let hash = self.passwords.hash(new, &self.random).await?;
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        change.lock(Scope::Account(user_id)).await?;
        users::set_password(change.conn(), user_id, &hash).await?;
        users::drop_resets(change.conn(), user_id).await?;
        sessions::end_all(change.conn(), user_id, Some(session_id), now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "password.change",
            subject: user_id,
            details: json!({}),
        };
        change.commit(Scope::Account(user_id), entry).await?;
        Ok(())
    }

    /// The caller's account.
    pub(crate) async fn own_account(&self, actor: &Actor) -> Result<UserRow, AppError> {
        self.account(actor.user()?.0).await
    }

    pub(super) async fn account(&self, user_id: &str) -> Result<UserRow, AppError> {
        users::by_id(self.db.pool(), user_id).await?.ok_or(AppError::NotFound("account"))
    }

    /// For what needs more than a session that somebody may have left open.
    pub(super) async fn check_password(&self, user: &UserRow, password: Secret) -> Result<(), AppError> {
        self.throttle.confirmation(&user.email)?;
        if self.passwords.verify(password, Some(user.password_hash.clone())).await? {
            Ok(())
        } else {
            Err(AppError::invalid("password", "is not the account's"))
        }
    }
}

fn check_strength(password: &Secret, email: &str) -> Result<(), AppError> {
    match weakness(password, email) {
        Some(problem) => Err(AppError::invalid("password", problem)),
        None => Ok(()),
    }
}
