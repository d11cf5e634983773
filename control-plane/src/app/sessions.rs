//! Logging in and out.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::access::Actor;
use super::second_factor::GoodCode;
use super::{App, email};
use crate::db::change::{Change, Entry, Scope};
use crate::db::{sessions, users};
use crate::error::AppError;
use crate::limits::SESSION_LIFE;
use crate::secret::Secret;

/// What a session is proven with.
#[derive(Debug)]
pub(crate) struct SessionTokens {
    /// Sent with each request.
    pub(crate) access: Secret,
    /// Exchanged for new tokens, once.
    pub(crate) refresh: Secret,
}

const WRONG: &str = "the e-mail address or the password is wrong, or the address was never confirmed";
const OVER: &str = "the session is over; log in again";

impl App {
    /// Begins a session.
    pub(crate) async fn log_in(
        &self,
        address: &str,
        password: Secret,
        code: Option<&Secret>,
        peer: Option<IpAddr>,
    ) -> Result<SessionTokens, AppError> {
        let email = email::normalised(address)?;
        self.throttle.address(peer)?;
        let delay = self.throttle.password(&email, peer)?;
        tokio::time::sleep(delay).await;
        let user = users::by_email(self.db.pool(), &email).await?;
        let hash = user.as_ref().map(|user| user.password_hash.clone());
        let good = self.passwords.verify(password, hash).await?;
        let user = user.filter(|_| good).ok_or(AppError::Unauthenticated(WRONG))?;

        let good = match (user.totp_enabled_at_ms, code) {
            (None, _) => None,
            (Some(_), None) => return Err(AppError::CodeNeeded),
            (Some(_), Some(code)) => Some(self.good_code(&user, code)?.1),
        };
        let now_ms = self.now_ms();
        let session_id = self.random.id("ses");
        let mut change = self.db.change().await?;
        change.lock(Scope::Account(&user.id)).await?;
        // The password may have been changed while it was looked at.
        let now = users::by_id(change.conn(), &user.id).await?;
        if now.is_none_or(|now| now.password_hash != user.password_hash) {
            return Err(AppError::Unauthenticated(WRONG));
        }
        if let Some(good) = good {
            self.use_code(&mut change, &user.id, good).await?;
        }
        let expires_at_ms = now_ms + SESSION_LIFE.as_millis() as i64;
        sessions::add(change.conn(), &session_id, &user.id, now_ms, expires_at_ms).await?;
        let tokens = self.new_tokens(&mut change, &user.id, &session_id, now_ms).await?;
        let details = json!({ "address": peer.map(|peer| peer.to_string()), "second_factor": good.map(GoodCode::as_str) });
        let entry = entry(now_ms, &user.id, &session_id, "session.start", details);
        change.commit(Scope::Account(&user.id), entry).await?;
        self.throttle.welcome(&email, peer);
        Ok(tokens)
    }

    /// Exchanges a refresh token. One that was used before shows that somebody has a copy: then the session is over, for
    /// whoever has it.
    pub(crate) async fn refresh(
        &self,
        refresh: &Secret,
        peer: Option<IpAddr>,
    ) -> Result<SessionTokens, AppError> {
        self.throttle.address(peer)?;
        let (token, now_ms) = (refresh.sha256(), self.now_ms());
        let mut change = self.db.change().await?;
        let row = sessions::refresh(change.conn(), &token, now_ms).await?;
        let row = row.ok_or(AppError::Unauthenticated(OVER))?;
        let unused = row.used_at_ms.is_none() && sessions::use_refresh(change.conn(), &token, now_ms).await?;
        if !unused {
            change.lock(Scope::Account(&row.user_id)).await?;
            sessions::end(change.conn(), &row.session_id, now_ms).await?;
            let details = json!({ "reason": "a refresh token was used twice" });
            let entry = entry(now_ms, &row.user_id, &row.session_id, "session.end", details);
            change.commit(Scope::Account(&row.user_id), entry).await?;
            tracing::warn!(session = row.session_id, "a refresh token was used twice; its session is over");
            return Err(AppError::Unauthenticated(OVER));
        }
        let tokens = self.new_tokens(&mut change, &row.user_id, &row.session_id, now_ms).await?;
        change.commit_silently().await?;
        Ok(tokens)
    }

    /// Ends the caller's session.
    pub(crate) async fn log_out(&self, actor: &Actor) -> Result<(), AppError> {
        let (user_id, session_id) = actor.user()?;
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        change.lock(Scope::Account(user_id)).await?;
        sessions::end(change.conn(), session_id, now_ms).await?;
        let entry = entry(now_ms, user_id, session_id, "session.end", json!({}));
        change.commit(Scope::Account(user_id), entry).await?;
        Ok(())
    }

    async fn new_tokens(
        &self,
        change: &mut Change,
        user_id: &str,
        session_id: &str,
        now_ms: i64,
    ) -> Result<SessionTokens, AppError> {
        let refresh = Secret::token(&self.random);
        sessions::add_refresh(change.conn(), &refresh.sha256(), session_id, now_ms).await?;
        let access = self.tokens.issue(user_id, session_id, now_ms).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "an access token could not be signed");
            AppError::Internal
        })?;
        Ok(SessionTokens { access, refresh })
    }
}

fn entry<'a>(
    at_ms: i64,
    user_id: &str,
    session_id: &'a str,
    action: &'static str,
    details: Value,
) -> Entry<'a> {
    Entry { at_ms, actor: format!("user:{user_id}"), action, subject: session_id, details }
}
