//! Who asks, and whether they may.

use std::net::IpAddr;

use tenancy::{ApiKey, KeyHash, Scope as KeyScope};

use super::App;
use super::keys::KeyState;
use crate::db::change::{Change, Scope};
use crate::db::tenants::TenantRow;
use crate::db::{keys, members, sessions, tenants};
use crate::error::AppError;
use crate::limits::MAX_AUTHORIZATION_BYTES;
use crate::role::{Permission, Role};

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) enum Actor {
    /// Somebody who logged in.
    User { id: String, session: String },
    /// A program with an API key that has the scope `admin`.
    Key { id: String, tenant: String },
    /// Who runs this control plane.
    Operator,
}

impl Actor {
    /// The name in the audit log.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::User { id, .. } => format!("user:{id}"),
            Self::Key { id, .. } => format!("key:{id}"),
            Self::Operator => "operator".to_owned(),
        }
    }

    /// The account, for what only people do.
    pub(crate) fn user(&self) -> Result<(&str, &str), AppError> {
        match self {
            Self::User { id, session } => Ok((id, session)),
            Self::Key { .. } => Err(AppError::Forbidden(
                "an API key manages the keys and limits of its own tenant only; log in with an account for this"
                    .to_owned(),
            )),
            Self::Operator => Err(AppError::Forbidden(
                "the operator's token is for routes below /operator; log in with an account for this".to_owned(),
            )),
        }
    }

    /// Refuses everybody but the operator.
    pub(crate) fn operator(&self) -> Result<(), AppError> {
        match self {
            Self::Operator => Ok(()),
            Self::User { .. } | Self::Key { .. } => Err(AppError::Forbidden(
                "this is for who runs the control plane, with the operator's token".to_owned(),
            )),
        }
    }
}

const NOBODY: &str = "the credentials are not known here, have expired or were revoked; log in again";

impl App {
    /// Who sends this `Authorization` header.
    pub(crate) async fn authenticate(
        &self,
        authorization: Option<&[u8]>,
        peer: Option<IpAddr>,
    ) -> Result<Actor, AppError> {
        let Some(value) = authorization else {
            return Err(AppError::Unauthenticated(
                "no credentials: log in, and send 'Authorization: Bearer ACCESS_TOKEN'",
            ));
        };
        let token = std::str::from_utf8(value)
            .ok()
            .filter(|text| text.len() <= MAX_AUTHORIZATION_BYTES)
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim());
        let Some(token) = token else {
            return Err(AppError::Unauthenticated(
                "the Authorization header is not 'Bearer ACCESS_TOKEN', nor 'Bearer API_KEY'",
            ));
        };
        if self.operator_token.is(token) {
            return Ok(Actor::Operator);
        }
        if let Ok(key) = ApiKey::parse(token.as_bytes()) {
            return self.authenticate_key(&key, peer).await;
        }
        let now_ms = self.now_ms();
        let claims = self.tokens.verify(token, now_ms).ok_or(AppError::Unauthenticated(NOBODY))?;
        if !sessions::is_live(self.db.pool(), &claims.sid, &claims.sub, now_ms).await? {
            return Err(AppError::Unauthenticated(NOBODY));
        }
        Ok(Actor::User { id: claims.sub, session: claims.sid })
    }

    async fn authenticate_key(&self, key: &ApiKey, peer: Option<IpAddr>) -> Result<Actor, AppError> {
        let now_ms = self.now_ms();
        let row = keys::by_id(self.db.pool(), key.id().as_str()).await?;
        let row = row.filter(|row| {
            KeyHash::from_hex(&row.sha256).is_some_and(|hash| hash.matches(&key.hash()))
                && KeyState::of(row, now_ms) == KeyState::Live
        });
        let row = row.ok_or(AppError::Unauthenticated(NOBODY))?;
        if !row.scopes.split(' ').any(|scope| scope == KeyScope::Admin.as_str()) {
            return Err(AppError::Forbidden(format!("the API key lacks the scope {}", KeyScope::Admin)));
        }
        if !super::keys::may_come_from(&row.networks, peer) {
            return Err(AppError::Forbidden(
                "the API key may be used from certain networks only, and this request does not come from one of them"
                    .to_owned(),
            ));
        }
        let mut change = self.db.change().await?;
        keys::note_use(change.conn(), &row.id, now_ms).await?;
        change.commit_silently().await?;
        Ok(Actor::Key { id: row.id, tenant: row.tenant_id })
    }

    /// The caller's role in an organisation, if it allows `permission`. Who is no member is told that there is no such
    /// organisation.
    pub(crate) async fn role_in(
        &self,
        actor: &Actor,
        organisation_id: &str,
        permission: Permission,
    ) -> Result<Role, AppError> {
        let Actor::User { id, .. } = actor else { return Err(AppError::NotFound("organisation")) };
        let role = members::role(self.db.pool(), organisation_id, id).await?;
        checked_role(role.as_deref(), permission, "organisation")
    }

    /// A tenant, if the caller may do `permission` with it.
    pub(crate) async fn tenant_for(
        &self,
        actor: &Actor,
        tenant_id: &str,
        permission: Permission,
    ) -> Result<TenantRow, AppError> {
        let tenant = tenants::by_id(self.db.pool(), tenant_id).await?;
        let tenant = tenant.ok_or(AppError::NotFound("tenant"))?;
        let role = match actor {
            Actor::User { id, .. } => members::role(self.db.pool(), &tenant.organisation_id, id).await?,
            Actor::Key { tenant: own, .. } if own != tenant_id => None,
            Actor::Key { .. } if permission.is_for_admin_keys() => return Ok(tenant),
            Actor::Key { .. } => return Err(actor.user().err().unwrap_or(AppError::Internal)),
            Actor::Operator => None,
        };
        checked_role(role.as_deref(), permission, "tenant")?;
        Ok(tenant)
    }

    /// A change of an organisation by somebody who may do `permission`. Other changes of it wait until it is done, and so
    /// their roles cannot change meanwhile.
    pub(crate) async fn change_organisation(
        &self,
        actor: &Actor,
        organisation_id: &str,
        permission: Permission,
    ) -> Result<(Change, Role), AppError> {
        let (user_id, _) = actor.user()?;
        // Strangers do not make anybody wait.
        self.role_in(actor, organisation_id, permission).await?;
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(organisation_id)).await?;
        let role = members::role(change.conn(), organisation_id, user_id).await?;
        let role = checked_role(role.as_deref(), permission, "organisation")?;
        Ok((change, role))
    }

    /// The same for a tenant.
    pub(crate) async fn change_tenant(
        &self,
        actor: &Actor,
        tenant_id: &str,
        permission: Permission,
    ) -> Result<(Change, TenantRow), AppError> {
        let tenant = self.tenant_for(actor, tenant_id, permission).await?;
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(&tenant.organisation_id)).await?;
        let tenant = tenants::by_id(change.conn(), tenant_id).await?.ok_or(AppError::NotFound("tenant"))?;
        if let Actor::User { id, .. } = actor {
            let role = members::role(change.conn(), &tenant.organisation_id, id).await?;
            checked_role(role.as_deref(), permission, "tenant")?;
        }
        Ok((change, tenant))
    }
}

fn checked_role(role: Option<&str>, permission: Permission, thing: &'static str) -> Result<Role, AppError> {
    let role = role.and_then(Role::parse).ok_or(AppError::NotFound(thing))?;
    if role.may(permission) {
        return Ok(role);
    }
    Err(AppError::Forbidden(format!(
        "your role in this organisation is {role}; this needs one of: {}",
        permission.roles()
    )))
}
