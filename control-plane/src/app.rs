//! What the control plane does: one file for each thing that people do with it.
//!
//! Each use case checks what it was given, asks who may, and makes one [`Change`](crate::db::change::Change) with one entry in the audit log. Time and
//! randomness come from what the control plane was given.

pub(crate) mod access;
pub(crate) mod accounts;
pub(crate) mod audit;
pub(crate) mod cleanup;
pub(crate) mod credits;
pub(crate) mod directory;
pub(crate) mod email;
pub(crate) mod invitations;
pub(crate) mod invoices;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod members;
pub(crate) mod operator;
pub(crate) mod organisations;
pub(crate) mod passwords;
pub(crate) mod payments;
pub(crate) mod placement;
pub(crate) mod plans;
pub(crate) mod post;
pub(crate) mod quotas;
pub(crate) mod second_factor;
pub(crate) mod sessions;
pub(crate) mod spending;
pub(crate) mod tenants;
pub(crate) mod throttle;
pub(crate) mod usage;

use std::sync::Arc;

use tokio::sync::Notify;

use crate::auth::access_token::AccessTokens;
use crate::auth::root::RootSecret;
use crate::billing::CostTable;
use crate::billing::render::Party;
use crate::db::Db;
use crate::error::AppError;
use crate::limits::MAX_NAME_CHARS;
use crate::payments::PaymentProvider;
use crate::ports::Clock;
use crate::random::Random;
use crate::secret::Secret;
use leases::LeaseDesk;
use passwords::Passwords;
use post::PostOffice;
use quotas::plan::Plan;
use throttle::Throttle;

/// All that use cases need.
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Random,
    pub(crate) root: RootSecret,
    pub(crate) tokens: AccessTokens,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    pub(crate) post: PostOffice,
    pub(crate) leases: LeaseDesk,
    /// Told when there may be something in the directory's outbox.
    pub(crate) directory_changed: Notify,
    /// Of organisations that are made here.
    pub(crate) default_plan: Plan,
    /// What the operator's requests are sent with.
    pub(crate) operator_token: Secret,
    /// Who takes money.
    pub(crate) payments: Arc<dyn PaymentProvider>,
    /// What the operator pays.
    pub(crate) costs: CostTable,
    /// Who invoices come from.
    pub(crate) seller: Party,
}

impl App {
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}

/// A name for people: one line, not empty, not too long.
fn checked_name(name: &str) -> Result<String, AppError> {
    let name = name.trim();
    let chars = name.chars().count();
    if chars == 0 || chars > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        return Err(AppError::invalid(
            "name",
            format!("has 1 to {MAX_NAME_CHARS} characters, none of which is a control character"),
        ));
    }
    Ok(name.to_owned())
}
