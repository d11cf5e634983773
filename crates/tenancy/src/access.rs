//! The directory in force, and authorisation of requests against it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use telemetry::TenantId;

use crate::activity::{KeyActivity, KeyLog};
use crate::credential::{CredentialError, api_key_from_authorization};
use crate::directory::{AuthError, Directory, DirectoryError, DirectoryVerifier, Principal};
use crate::key::KeyId;
use crate::rejections::{RejectionLog, Rejections};
use crate::scope::Scope;

/// The newest good directory of this process. Requests read it without waiting; a poller offers it what was published.
///
/// It never goes back to a lower version, and the last good one keeps serving while the publisher is away or publishes
/// what cannot be read. What it does not remember is the version before a restart.
#[derive(Debug)]
pub struct Access {
    directory: ArcSwap<Directory>,
    verifier: DirectoryVerifier,
    anonymous_tenant: Option<TenantId>,
    confirmed_at_ms: AtomicI64,
    /// Held while a document is compared with the one in force and takes its place.
    offering: Mutex<()>,
    keys: KeyLog,
    rejections: RejectionLog,
}

/// What came of a document that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfferOutcome {
    /// It is in force now.
    Replaced,
    /// It has the version that is in force already.
    Unchanged,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// No `Authorization` header, and requests without one are not allowed. 401.
    #[error("no credentials: send 'Authorization: Bearer API_KEY', or Basic with the API key as password")]
    Missing,
    /// The header holds no API key. 401.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The key is not good. 401.
    #[error(transparent)]
    Key(#[from] AuthError),
    /// The key is good, but not for this. 403.
    #[error("the API key lacks the scope {0}")]
    Scope(Scope),
    /// The key is good, but not from here. 403.
    #[error(
        "the API key {0} may be used from certain networks only, and this request does not come from one of them"
    )]
    Network(KeyId),
}

impl AccessError {
    /// Whether the request would be let in with other credentials only (401), or the credentials are good but do not
    /// reach this far (403).
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Scope(_) | Self::Network(_))
    }
}

impl Access {
    /// Starts with a published document. With `anonymous_tenant`, requests without credentials belong to that tenant of
    /// the directory, with every scope but [`Scope::Admin`]; bad credentials are refused all the same.
    ///
    /// `now_ms` is milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// [`DirectoryError`] when the document cannot be trusted or read.
    pub fn new(
        published: &[u8],
        verifier: DirectoryVerifier,
        anonymous_tenant: Option<TenantId>,
        now_ms: i64,
    ) -> Result<Self, DirectoryError> {
        let directory = Directory::open(published, &verifier)?;
        Ok(Self {
            directory: ArcSwap::from_pointee(directory),
            verifier,
            anonymous_tenant,
            confirmed_at_ms: AtomicI64::new(now_ms),
            offering: Mutex::new(()),
            keys: KeyLog::default(),
            rejections: RejectionLog::default(),
        })
    }

    /// Takes over a published document that is newer than the one in force.
    ///
    /// # Errors
    /// [`DirectoryError`] when it cannot be trusted or read, or is older; the one in force stays.
    pub fn offer(&self, published: &[u8], now_ms: i64) -> Result<OfferOutcome, DirectoryError> {
        let offered = Directory::open(published, &self.verifier)?;
        let _offering = self.offering.lock();
        let current = self.directory.load().version();
        if offered.version() < current {
            return Err(DirectoryError::Rollback { offered: offered.version(), current });
        }
        let outcome = if offered.version() == current {
            OfferOutcome::Unchanged
        } else {
            self.directory.store(Arc::new(offered));
            OfferOutcome::Replaced
        };
        self.confirm(now_ms);
        Ok(outcome)
    }

    /// Notes that the published document is still the one in force: a poll by ETag found nothing new.
    pub fn confirm(&self, now_ms: i64) {
        self.confirmed_at_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Milliseconds since the directory in force was last known to be the published one: a metric, and an alert.
    #[must_use]
    pub fn age_ms(&self, now_ms: i64) -> i64 {
        now_ms.saturating_sub(self.confirmed_at_ms.load(Ordering::Relaxed)).max(0)
    }

    /// The directory in force.
    #[must_use]
    pub fn directory(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    /// [`Access::authorize_from`] where nobody knows the client's address: keys that are bound to networks are refused.
    ///
    /// # Errors
    /// [`AccessError`] when the request is to be answered 401 or 403.
    pub fn authorize(
        &self,
        authorization: Option<&[u8]>,
        scope: Scope,
        now_ms: i64,
    ) -> Result<Principal, AccessError> {
        self.authorize_from(authorization, None, scope, now_ms)
    }

    /// Who makes a request with this `Authorization` header value from this address, provided that they may do what `scope`
    /// says.
    ///
    /// # Errors
    /// [`AccessError`] when the request is to be answered 401 or 403.
    pub fn authorize_from(
        &self,
        authorization: Option<&[u8]>,
        address: Option<IpAddr>,
        scope: Scope,
        now_ms: i64,
    ) -> Result<Principal, AccessError> {
        let outcome = self.check(authorization, address, scope, now_ms);
        match &outcome {
            Ok(principal) => self.keys.note_use(principal, now_ms),
            Err(error) => self.rejections.note(error),
        }
        outcome
    }

    fn check(
        &self,
        authorization: Option<&[u8]>,
        address: Option<IpAddr>,
        scope: Scope,
        now_ms: i64,
    ) -> Result<Principal, AccessError> {
        let directory = self.directory.load();
        let principal = match authorization {
            Some(value) => directory.authenticate(&api_key_from_authorization(value)?, now_ms)?,
            None => {
                let tenant = self.anonymous_tenant.as_ref();
                tenant.and_then(|tenant| directory.anonymous(tenant)).ok_or(AccessError::Missing)?
            }
        };
        if let Some(key) = principal.key.filter(|_| !principal.may_come_from(address)) {
            return Err(AccessError::Network(key));
        }
        if !principal.scopes.allows(scope) {
            return Err(AccessError::Scope(scope));
        }
        Ok(principal)
    }

    /// Notes samples that were stored for who was let in.
    pub fn note_stored(&self, principal: &Principal, samples: u64) {
        self.keys.note_stored(principal, samples);
    }

    /// What API keys did since this was last asked.
    #[must_use]
    pub fn take_key_activity(&self) -> Vec<(KeyId, KeyActivity)> {
        self.keys.take()
    }

    /// How many requests were turned away since this was last asked.
    #[must_use]
    pub fn take_rejections(&self) -> Rejections {
        self.rejections.take()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;
    use crate::directory::{DirectoryDocument, DirectorySigner, KeyEntry, TenantEntry};
    use crate::key::ApiKey;
    use crate::tenant::Limits;

    const NOW_MS: i64 = 1_790_000_000_000;

    fn published(signer: &DirectorySigner, version: u64, keys: Vec<KeyEntry>) -> Vec<u8> {
        let tenant = TenantEntry {
            id: "acme".to_owned(),
            shard: 0,
            retention_days: 30,
            limits: Limits::default(),
            home_cell: None,
            keys,
        };
        let document = DirectoryDocument { version, issued_at_ms: NOW_MS, tenants: vec![tenant] };
        document.publish(signer).unwrap()
    }

    fn write_key(key: &ApiKey) -> KeyEntry {
        KeyEntry::of(key, [Scope::MetricsWrite])
    }

    #[test]
    fn newer_documents_take_over_and_older_ones_never() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let signer = DirectorySigner::generate(&mut rng);
        let key = ApiKey::generate(&mut rng);
        let header = format!("Bearer {}", key.expose());
        let allowed = |access: &Access| {
            access.authorize(Some(header.as_bytes()), Scope::MetricsWrite, NOW_MS).map(|p| p.key)
        };
        let with_key = published(&signer, 2, vec![write_key(&key)]);
        let revoked = KeyEntry { revoked_at_ms: Some(NOW_MS), ..write_key(&key) };
        let without = published(&signer, 3, vec![revoked]);

        let access = Access::new(&with_key, signer.verifier(), None, NOW_MS).unwrap();
        assert_eq!(allowed(&access), Ok(Some(key.id())));
        // Its use is known, and told once.
        let seen = access.take_key_activity();
        assert_eq!((seen.len(), seen[0].0, seen[0].1.last_used_ms), (1, key.id(), NOW_MS));
        assert!(access.take_key_activity().is_empty());
        assert_eq!(access.offer(&without, NOW_MS + 1000).unwrap(), OfferOutcome::Replaced);
        let refused = Err(AccessError::Key(AuthError::Revoked(key.id())));
        assert_eq!(allowed(&access), refused);

        let rollback = access.offer(&with_key, NOW_MS + 5000).unwrap_err();
        assert!(matches!(rollback, DirectoryError::Rollback { offered: 2, current: 3 }));
        assert!(access.offer(b"garbage", NOW_MS + 5000).is_err());
        assert_eq!(allowed(&access), refused);
        assert_eq!(access.age_ms(NOW_MS + 5000), 4000);
        assert_eq!(access.offer(&without, NOW_MS + 6000).unwrap(), OfferOutcome::Unchanged);
        assert_eq!(access.age_ms(NOW_MS + 6000), 0);
    }

    #[test]
    fn a_key_that_is_bound_to_networks_is_good_from_there_only() {
        let mut rng = ChaCha20Rng::seed_from_u64(3);
        let signer = DirectorySigner::generate(&mut rng);
        let (bound, free) = (ApiKey::generate(&mut rng), ApiKey::generate(&mut rng));
        let networks = vec!["192.0.2.0/24".to_owned(), "2001:db8::/32".to_owned()];
        let keys = vec![KeyEntry { networks, ..write_key(&bound) }, write_key(&free)];
        let access = Access::new(&published(&signer, 1, keys), signer.verifier(), None, NOW_MS).unwrap();
        let authorize = |key: &ApiKey, address: Option<&str>| {
            let header = format!("Bearer {}", key.expose());
            let address = address.map(|address| address.parse().unwrap());
            access
                .authorize_from(Some(header.as_bytes()), address, Scope::MetricsWrite, NOW_MS)
                .map(|p| p.key)
        };
        for inside in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::9"] {
            assert_eq!(authorize(&bound, Some(inside)), Ok(Some(bound.id())), "{inside}");
        }
        for outside in [Some("192.0.3.1"), Some("::1"), None] {
            let refused = authorize(&bound, outside).unwrap_err();
            assert_eq!(refused, AccessError::Network(bound.id()), "{outside:?}");
            assert!(refused.is_forbidden());
            assert_eq!(authorize(&free, outside), Ok(Some(free.id())), "{outside:?}");
        }
    }

    #[test]
    fn what_is_turned_away_is_counted_without_saying_who() {
        let mut rng = ChaCha20Rng::seed_from_u64(4);
        let signer = DirectorySigner::generate(&mut rng);
        let [good, expired, revoked, unknown] = [(); 4].map(|()| ApiKey::generate(&mut rng));
        let keys = vec![
            write_key(&good),
            KeyEntry { expires_at_ms: Some(NOW_MS), ..write_key(&expired) },
            KeyEntry { revoked_at_ms: Some(NOW_MS), ..write_key(&revoked) },
        ];
        let access = Access::new(&published(&signer, 1, keys), signer.verifier(), None, NOW_MS).unwrap();
        assert!(access.take_rejections().is_empty());
        let tries = [
            (&good, Scope::MetricsWrite),
            (&good, Scope::Admin),
            (&expired, Scope::MetricsWrite),
            (&revoked, Scope::MetricsWrite),
            (&unknown, Scope::MetricsWrite),
            (&unknown, Scope::MetricsWrite),
        ];
        for (key, scope) in tries {
            let header = format!("Bearer {}", key.expose());
            let _ = access.authorize(Some(header.as_bytes()), scope, NOW_MS);
        }
        let _ = access.authorize(Some(b"Bearer guess"), Scope::MetricsRead, NOW_MS);
        let _ = access.authorize(None, Scope::MetricsRead, NOW_MS);
        assert_eq!(
            access.take_rejections().to_string(),
            "1 without credentials, 1 with something that is no API key, 2 with an API key that is not known, 1 with an API key that \
             has expired, 1 with an API key that is revoked, 1 with an API key that lacks the scope"
        );
        assert!(access.take_rejections().is_empty());
    }

    #[test]
    fn who_sends_nothing_is_anonymous_only_where_allowed() {
        let mut rng = ChaCha20Rng::seed_from_u64(2);
        let signer = DirectorySigner::generate(&mut rng);
        let key = ApiKey::generate(&mut rng);
        let document = published(&signer, 1, vec![write_key(&key)]);
        let open = |anonymous: Option<&str>| {
            let anonymous = anonymous.map(|id| TenantId::new(id).unwrap());
            Access::new(&document, signer.verifier(), anonymous, NOW_MS).unwrap()
        };
        let authorize = |access: &Access, header: Option<&str>, scope| {
            access
                .authorize(header.map(str::as_bytes), scope, NOW_MS)
                .map(|principal| principal.tenant.id.to_string())
        };
        let (closed, anonymous, absent) = (open(None), open(Some("acme")), open(Some("nobody")));

        assert_eq!(authorize(&closed, None, Scope::MetricsWrite), Err(AccessError::Missing));
        assert_eq!(authorize(&absent, None, Scope::MetricsWrite), Err(AccessError::Missing));
        assert_eq!(authorize(&anonymous, None, Scope::MetricsRead), Ok("acme".to_owned()));
        assert!(anonymous.take_key_activity().is_empty());
        assert_eq!(authorize(&anonymous, None, Scope::Admin), Err(AccessError::Scope(Scope::Admin)));
        let bearer = format!("Bearer {}", key.expose());
        assert_eq!(
            authorize(&anonymous, Some(&bearer), Scope::MetricsRead),
            Err(AccessError::Scope(Scope::MetricsRead))
        );
        assert_eq!(
            authorize(&anonymous, Some("Bearer nonsense"), Scope::MetricsWrite),
            Err(AccessError::Credential(CredentialError::Key(crate::ApiKeyError::Shape)))
        );
    }
}
