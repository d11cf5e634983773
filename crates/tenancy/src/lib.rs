//! Who a request belongs to and how much it may do. Pure: no I/O, no runtime; time and randomness are arguments.
//!
//! | module | what |
//! |---|---|
//! | [`key`] | API keys: generating, parsing, hashing |
//! | [`credential`] | the API key in an `Authorization` header |
//! | [`service_token`] | by which the services of a cell know each other |
//! | [`scope`] | what a key allows |
//! | [`network`] | from where a key may be used |
//! | [`tenant`] | a tenant as the data plane sees it, with its limits |
//! | [`directory`] | the signed, versioned document of all tenants and key hashes |
//! | [`activity`] | when keys were used |
//! | [`access`] | the directory in force, kept fresh while requests are authorised against it |
//! | [`limiter`] | the limits of one tenant in one process, enforced |
//! | [`lease`] | one tenant's rates shared by many processes |

pub mod access;
pub mod activity;
pub mod credential;
pub mod directory;
pub mod key;
pub mod lease;
pub mod limiter;
pub mod limits;
pub mod network;
mod rejections;
pub mod scope;
pub mod service_token;
pub mod tenant;

pub use access::{Access, AccessError, OfferOutcome};
pub use activity::KeyActivity;
pub use credential::CredentialError;
pub use directory::{
    AuthError, Directory, DirectoryDocument, DirectoryError, DirectorySigner, DirectoryVerifier, KeyEntry,
    Principal, Priority, TenantEntry,
};
pub use key::{ApiKey, ApiKeyError, KeyHash, KeyId};
pub use limiter::{Denied, LimitName, Load, Nearly, QueryPermit, TenantLimiter};
pub use network::{IpNetwork, IpNetworkError};
pub use rejections::Rejections;
pub use scope::{Scope, Scopes};
pub use tenant::{Limits, Tenant};
