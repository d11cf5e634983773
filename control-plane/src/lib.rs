//! The control plane: accounts, organisations, API keys, quotas, usage, billing and placement.
//!
//! A request goes HTTP → use case → SQL. Telemetry never comes through here: ingest and query processes know tenants, keys
//! and limits from the signed directory that this crate publishes, and go on without it.
//!
//! | module | what |
//! |---|---|
//! | `service` | all of it, put together: [`ControlPlane`] |
//! | [`ports`] | what it needs of the world: time, a place for the directory, a way to send mails |
//! | [`payments`] | how customers pay |
//! | [`mail`] | mails over SMTP, or into the log |
//! | `http` | the routes under `/api/control/v1/`, and their OpenAPI document |
//! | `app` | what people do with it: one file for each thing |
//! | `db` | the database: one file for each aggregate |
//! | `auth` | passwords, second factors, access tokens |
//! | `role` | what members of an organisation may do |
//! | [`billing`] | from usage to an invoice; pure |
//! | [`placement`] | where a tenant lives; pure |
//! | [`records`] | what the database has on record, for who looks after stored data |
//! | [`limits`] | bounds |

mod app;
mod auth;
pub mod billing;
mod db;
mod error;
mod http;
pub mod limits;
pub mod mail;
pub mod payments;
pub mod placement;
pub mod ports;
mod random;
pub mod records;
mod role;
mod secret;
mod service;

pub use app::quotas::plan::{Plan, QuotaName};
pub use auth::password::PasswordCost;
pub use auth::root::RootSecret;
pub use db::{OpenError, is_database_url};
pub use http::BASE as BASE_PATH;
pub use http::openapi::document as openapi_document;
pub use http::pages::PAGES;
pub use role::Role;
pub use secret::Secret;
pub use service::{ControlPlane, Parts, Settings, StartError};
