//! The second factor: codes from an app on the owner's telephone.

use serde_json::json;

use super::App;
use super::access::Actor;
use crate::auth::totp::Totp;
use crate::db::change::{Change, Entry, Scope};
use crate::db::users::{self, UserRow};
use crate::error::AppError;
use crate::secret::Secret;

const BAD_CODE: &str = "the code is wrong, or was used already; wait for the next one";

/// A code that is good, and what is noted when it is used.
#[derive(Clone, Copy, Debug)]
pub(super) enum GoodCode {
    /// Of the app, and the time step that it is of.
    Step(i64),
    /// A recovery code, by its number.
    Recovery(u32),
}

impl GoodCode {
    /// The name in the audit log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Step(_) => "code",
            Self::Recovery(_) => "recovery code",
        }
    }
}

/// What goes into the app.
pub(crate) struct ProposedFactor {
    /// Base32, for typing.
    pub(crate) secret: Secret,
    /// The same as a URI, for a QR code.
    pub(crate) uri: Secret,
}

impl App {
    /// A new second factor, which is in force once [`App::enable_second_factor`] was given a code of it.
    pub(crate) async fn propose_second_factor(
        &self,
        actor: &Actor,
        password: Secret,
    ) -> Result<ProposedFactor, AppError> {
        let user = self.own_account(actor).await?;
        if user.totp_enabled_at_ms.is_some() {
            return Err(AppError::Conflict("the second factor is on already; turn it off first".to_owned()));
        }
        self.check_password(&user, password).await?;
        let nonce = self.random.id("otp");
        let mut change = self.db.change().await?;
        change.lock(Scope::Account(&user.id)).await?;
        if self.state_of(&mut change, &user.id).await?.totp_enabled_at_ms.is_some() {
            return Err(AppError::Conflict("the second factor is on already; turn it off first".to_owned()));
        }
        users::propose_totp(change.conn(), &user.id, &nonce).await?;
        change.commit(Scope::Account(&user.id), self.entry(actor, &user.id, "second_factor.propose")).await?;
        let secret = Totp::derive(&self.root, &user.id, &nonce).expose_base32();
        // The address needs no escaping but of what has a meaning in URIs.
        let label =
            user.email.replace('%', "%25").replace('?', "%3F").replace('#', "%23").replace('/', "%2F");
        let uri = format!("otpauth://totp/Farwatch:{label}?secret={}&issuer=Farwatch", secret.expose());
        Ok(ProposedFactor { secret, uri: Secret::new(uri) })
    }

    /// Puts the proposed factor in force. Returns the recovery codes, each of which is good once in the place of a code.
    pub(crate) async fn enable_second_factor(
        &self,
        actor: &Actor,
        code: &Secret,
    ) -> Result<Vec<Secret>, AppError> {
        let (user_id, _) = actor.user()?;
        let mut change = self.db.change().await?;
        change.lock(Scope::Account(user_id)).await?;
        let user = self.state_of(&mut change, user_id).await?;
        if user.totp_enabled_at_ms.is_some() {
            return Err(AppError::Conflict("the second factor is on already".to_owned()));
        }
        let (totp, good) = self.good_code(&user, code)?;
        // Whoever has a recovery code only has no app that works.
        let GoodCode::Step(_) = good else { return Err(AppError::Unauthenticated(BAD_CODE)) };
        self.use_code(&mut change, user_id, good).await?;
        users::enable_totp(change.conn(), user_id, self.now_ms()).await?;
        change.commit(Scope::Account(user_id), self.entry(actor, user_id, "second_factor.enable")).await?;
        Ok(totp.expose_recovery_codes())
    }

    /// Turns the second factor off.
    pub(crate) async fn disable_second_factor(
        &self,
        actor: &Actor,
        password: Secret,
        code: &Secret,
    ) -> Result<(), AppError> {
        let user = self.own_account(actor).await?;
        if user.totp_enabled_at_ms.is_none() {
            return Err(AppError::Conflict("the second factor is off".to_owned()));
        }
        self.check_password(&user, password).await?;
        let (_, good) = self.good_code(&user, code)?;
        let mut change = self.db.change().await?;
        change.lock(Scope::Account(&user.id)).await?;
        self.use_code(&mut change, &user.id, good).await?;
        users::disable_totp(change.conn(), &user.id).await?;
        change.commit(Scope::Account(&user.id), self.entry(actor, &user.id, "second_factor.disable")).await?;
        Ok(())
    }

    /// What a code is, if it is good. It is used up by [`App::use_code`].
    pub(super) fn good_code(&self, user: &UserRow, code: &Secret) -> Result<(Totp, GoodCode), AppError> {
        self.throttle.code(&user.id)?;
        let Some(nonce) = &user.totp_nonce else {
            return Err(AppError::Conflict(
                "there is no second factor to confirm; ask for one first".to_owned(),
            ));
        };
        let totp = Totp::derive(&self.root, &user.id, nonce);
        let code = code.expose().trim();
        let unused = |number: &u32| user.recovery_used & (1 << number) == 0;
        let step = totp.matching_step(code, self.now_ms(), user.totp_last_step).map(GoodCode::Step);
        let recovery = totp.matching_recovery_code(code).filter(unused).map(GoodCode::Recovery);
        let good = step.or(recovery).ok_or(AppError::Unauthenticated(BAD_CODE))?;
        Ok((totp, good))
    }

    pub(super) async fn use_code(
        &self,
        change: &mut Change,
        user_id: &str,
        code: GoodCode,
    ) -> Result<(), AppError> {
        let is_first_use = match code {
            GoodCode::Step(step) => users::use_totp_step(change.conn(), user_id, step).await?,
            GoodCode::Recovery(number) => users::use_recovery_code(change.conn(), user_id, number).await?,
        };
        if is_first_use { Ok(()) } else { Err(AppError::Unauthenticated(BAD_CODE)) }
    }

    async fn state_of(&self, change: &mut Change, user_id: &str) -> Result<UserRow, AppError> {
        users::by_id(change.conn(), user_id).await?.ok_or(AppError::NotFound("account"))
    }

    fn entry<'a>(&self, actor: &Actor, user_id: &'a str, action: &'static str) -> Entry<'a> {
        Entry { at_ms: self.now_ms(), actor: actor.name(), action, subject: user_id, details: json!({}) }
    }
}
