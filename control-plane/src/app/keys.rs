//! API keys: their text is shown once, and only its hash is kept.

use std::net::IpAddr;

use serde_json::json;
use tenancy::{ApiKey, IpNetwork, Priority, Scope as KeyScope};

use super::access::Actor;
use super::{App, checked_name};
use crate::db::change::{Change, Entry, Scope};
use crate::db::keys::{self, KeyRow};
use crate::error::AppError;
use crate::limits::{DAY_MS, MAX_KEY_LIFE_MS, MAX_KEYS, MAX_NETWORKS, MAX_OVERLAP_S, MAX_PAGE};
use crate::role::Permission;
use crate::secret::Secret;

/// Life of a key when nothing is said: a year. There is none without an end.
const DEFAULT_LIFE_MS: i64 = 365 * DAY_MS;

/// Whether a key is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeyState {
    Live,
    Expired,
    Revoked,
}

impl KeyState {
    pub(crate) fn of(key: &KeyRow, now_ms: i64) -> Self {
        if key.revoked_at_ms.is_some() {
            Self::Revoked
        } else if key.expires_at_ms.is_some_and(|expiry| now_ms >= expiry) {
            Self::Expired
        } else {
            Self::Live
        }
    }
}

/// What it takes to make a key with these scopes: one with `admin` sets limits, so who makes it must be allowed to.
fn needed_for(scopes: &str) -> Permission {
    if scopes.split(' ').any(|scope| scope == KeyScope::Admin.as_str()) {
        Permission::ManageQuotas
    } else {
        Permission::ManageKeys
    }
}

/// What somebody wants of a new key.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) name: String,
    pub(crate) scopes: Vec<KeyScope>,
    pub(crate) expires_at_ms: Option<i64>,
    pub(crate) priority: Priority,
    pub(crate) networks: Vec<String>,
}

/// A new key, and its text, which is nowhere else.
#[derive(Debug)]
pub(crate) struct MadeKey {
    pub(crate) row: KeyRow,
    pub(crate) text: Secret,
}

impl App {
    /// A new key.
    pub(crate) async fn create_key(
        &self,
        actor: &Actor,
        tenant_id: &str,
        new: NewKey,
    ) -> Result<MadeKey, AppError> {
        let now_ms = self.now_ms();
        let name = checked_name(&new.name)?;
        let scopes: Vec<&str> = KeyScope::ALL
            .into_iter()
            .filter(|scope| new.scopes.contains(scope))
            .map(KeyScope::as_str)
            .collect();
        if scopes.is_empty() {
            return Err(AppError::invalid("scopes", "has one scope at least"));
        }
        let networks = checked_networks(&new.networks)?;
        let expires_at_ms = new.expires_at_ms.unwrap_or(now_ms + DEFAULT_LIFE_MS);
        if expires_at_ms <= now_ms || expires_at_ms > now_ms.saturating_add(MAX_KEY_LIFE_MS) {
            return Err(AppError::invalid("expires_at_ms", "lies ahead, ten years from now at most"));
        }
        let scopes = scopes.join(" ");
        let (mut change, tenant) = self.change_tenant(actor, tenant_id, needed_for(&scopes)).await?;
        let row = KeyRow {
            id: String::new(),
            tenant_id: tenant_id.to_owned(),
            name,
            sha256: String::new(),
            scopes,
            priority: new.priority.as_str().to_owned(),
            networks,
            created_at_ms: now_ms,
            expires_at_ms: Some(expires_at_ms),
            revoked_at_ms: None,
            last_used_at_ms: None,
            life_ms: Some(expires_at_ms - now_ms),
        };
        let made = self.add_key(&mut change, row).await?;
        change.touch_directory(&self.random, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "key.create",
            subject: &made.row.id,
            details: described(&made.row),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        self.directory_changed.notify_one();
        Ok(made)
    }

    /// The keys of a tenant, newest first, dead ones among them: at most `count`, older than `before`.
    pub(crate) async fn keys(
        &self,
        actor: &Actor,
        tenant_id: &str,
        before: Option<&str>,
        count: Option<i64>,
    ) -> Result<Vec<KeyRow>, AppError> {
        self.tenant_for(actor, tenant_id, Permission::ReadKeys).await?;
        let before = match before {
            Some(id) => {
                let key = keys::by_id(self.db.pool(), id).await?;
                let key = key.filter(|key| key.tenant_id == tenant_id).ok_or(AppError::NotFound("key"))?;
                (key.created_at_ms, key.id)
            }
            None => (i64::MAX, String::new()),
        };
        let count = count.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        Ok(keys::page(self.db.pool(), tenant_id, (before.0, &before.1), count).await?)
    }

    /// One key.
    pub(crate) async fn key(&self, actor: &Actor, tenant_id: &str, id: &str) -> Result<KeyRow, AppError> {
        self.tenant_for(actor, tenant_id, Permission::ReadKeys).await?;
        let key = keys::by_id(self.db.pool(), id).await?;
        key.filter(|key| key.tenant_id == tenant_id).ok_or(AppError::NotFound("key"))
    }

    /// A successor with the same rights and as long a life. The key itself stays good for `overlap_s` more seconds, so that
    /// who uses it can change over.
    pub(crate) async fn rotate_key(
        &self,
        actor: &Actor,
        tenant_id: &str,
        id: &str,
        overlap_s: i64,
    ) -> Result<MadeKey, AppError> {
        if !(0..=MAX_OVERLAP_S).contains(&overlap_s) {
            return Err(AppError::invalid("overlap_s", format!("is 0 to {MAX_OVERLAP_S} (30 days)")));
        }
        // A key's scopes never change.
        let known = keys::by_id(self.db.pool(), id).await?.filter(|key| key.tenant_id == tenant_id);
        let needed = known.map_or(Permission::ManageKeys, |key| needed_for(&key.scopes));
        let (mut change, tenant) = self.change_tenant(actor, tenant_id, needed).await?;
        let now_ms = self.now_ms();
        let old = live_key(&mut change, tenant_id, id, now_ms).await?;
        // Not how long it has yet: one that was exchanged before ends soon, and its next successor is not to.
        let life_ms = old.life_ms.or_else(|| Some(old.expires_at_ms? - old.created_at_ms));
        let life_ms = life_ms.unwrap_or(DEFAULT_LIFE_MS);
        let row = KeyRow {
            created_at_ms: now_ms,
            expires_at_ms: Some(now_ms + life_ms),
            last_used_at_ms: None,
            life_ms: Some(life_ms),
            ..old.clone()
        };
        // The count below is of live keys: the old one makes place for the new one if it goes at once.
        let ends_at_ms = now_ms + overlap_s * 1000;
        let ends_at_ms = old.expires_at_ms.map_or(ends_at_ms, |expiry| expiry.min(ends_at_ms));
        keys::set_expiry(change.conn(), id, Some(ends_at_ms)).await?;
        let made = self.add_key(&mut change, row).await?;
        change.touch_directory(&self.random, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "key.rotate",
            subject: id,
            details: json!({ "successor": made.row.id, "ends_at_ms": ends_at_ms }),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        self.directory_changed.notify_one();
        Ok(made)
    }

    /// Ends a key at once. Doing it again changes nothing.
    pub(crate) async fn revoke_key(&self, actor: &Actor, tenant_id: &str, id: &str) -> Result<(), AppError> {
        let (mut change, tenant) = self.change_tenant(actor, tenant_id, Permission::ManageKeys).await?;
        let key = keys::by_id(change.conn(), id).await?;
        key.filter(|key| key.tenant_id == tenant_id).ok_or(AppError::NotFound("key"))?;
        let now_ms = self.now_ms();
        if !keys::revoke(change.conn(), id, now_ms).await? {
            return Ok(());
        }
        change.touch_directory(&self.random, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "key.revoke",
            subject: id,
            details: json!({}),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        self.directory_changed.notify_one();
        Ok(())
    }

    async fn add_key(&self, change: &mut Change, row: KeyRow) -> Result<MadeKey, AppError> {
        if keys::count_live(change.conn(), &row.tenant_id, row.created_at_ms).await? >= MAX_KEYS {
            return Err(AppError::Full(format!("a tenant has {MAX_KEYS} keys at most; revoke one first")));
        }
        let key = self.random.with(ApiKey::generate);
        let row = KeyRow { id: key.id().to_string(), sha256: key.hash().to_hex(), ..row };
        keys::add(change.conn(), &row).await?;
        Ok(MadeKey { row, text: Secret::new(key.expose().to_owned()) })
    }
}

async fn live_key(change: &mut Change, tenant_id: &str, id: &str, now_ms: i64) -> Result<KeyRow, AppError> {
    let key = keys::by_id(change.conn(), id).await?.filter(|key| key.tenant_id == tenant_id);
    let key = key.ok_or(AppError::NotFound("key"))?;
    match KeyState::of(&key, now_ms) {
        KeyState::Live => Ok(key),
        KeyState::Expired => Err(AppError::Conflict("the key has expired; create a new one".to_owned())),
        KeyState::Revoked => Err(AppError::Conflict("the key was revoked; create a new one".to_owned())),
    }
}

/// What the audit log says of a key.
fn described(key: &KeyRow) -> serde_json::Value {
    json!({
        "tenant": key.tenant_id,
        "name": key.name,
        "scopes": key.scopes,
        "priority": key.priority,
        "networks": key.networks,
        "expires_at_ms": key.expires_at_ms,
    })
}

fn checked_networks(networks: &[String]) -> Result<String, AppError> {
    if networks.len() > MAX_NETWORKS {
        return Err(AppError::invalid("networks", format!("has {MAX_NETWORKS} networks at most")));
    }
    let mut checked = Vec::with_capacity(networks.len());
    for text in networks {
        let network = IpNetwork::parse(text)
            .map_err(|error| AppError::invalid("networks", format!("holds {text:?}: {error}")))?;
        checked.push(network.to_string());
    }
    Ok(checked.join(" "))
}

/// Whether a key that is bound to these networks may be used from this address.
pub(super) fn may_come_from(networks: &str, peer: Option<IpAddr>) -> bool {
    let mut networks = networks.split_ascii_whitespace().peekable();
    let is_in = |text: &str, peer| IpNetwork::parse(text).is_ok_and(|network| network.contains(peer));
    networks.peek().is_none() || peer.is_some_and(|peer| networks.any(|text| is_in(text, peer)))
}
