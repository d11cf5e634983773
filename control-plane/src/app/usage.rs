//! What tenants used, as the ledger has it.

pub(crate) mod activity;
pub(crate) mod fold;

use super::App;
use super::access::Actor;
use crate::billing::{Month, UsageRow};
use crate::db::usage;
use crate::error::AppError;
use crate::role::Permission;

/// Seconds of an hour.
const HOUR_S: i64 = 3600;

/// The hours that begin in a month: from the first on, before the second.
pub(crate) fn hours_of(month: Month) -> (i64, i64) {
    let span = month.span();
    (span.start_s / HOUR_S, span.end_s / HOUR_S)
}

/// What was used.
#[derive(Debug)]
pub(crate) struct Usage {
    /// All that ledgers had by then is in the rows; `None` before they were read for the first time.
    pub(crate) as_of_ms: Option<i64>,
    pub(crate) rows: Vec<UsageRow>,
}

impl App {
    /// The month that it is.
    pub(crate) fn this_month(&self) -> Result<Month, AppError> {
        Month::containing(self.now_ms().div_euclid(1000)).map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "the clock is outside the calendar");
            AppError::Internal
        })
    }

    /// The month that somebody names, or the one that it is.
    pub(crate) fn month_named(&self, text: Option<&str>) -> Result<Month, AppError> {
        match text {
            Some(text) => text.parse().map_err(|_| AppError::invalid("month", "is written as in 2026-11")),
            None => self.this_month(),
        }
    }

    /// The hourly usage of an organisation's tenants, deleted ones among them.
    pub(crate) async fn organisation_usage(
        &self,
        actor: &Actor,
        organisation_id: &str,
        month: Month,
    ) -> Result<Usage, AppError> {
        self.role_in(actor, organisation_id, Permission::ReadUsage).await?;
        let as_of_ms = usage::all_read_until(self.db.pool(), organisation_id).await?;
        let (from, until) = hours_of(month);
        let rows = usage::of_organisation(self.db.pool(), organisation_id, from, until).await?;
        Ok(Usage { as_of_ms, rows })
    }

    /// The hourly usage of a tenant.
    pub(crate) async fn tenant_usage(
        &self,
        actor: &Actor,
        tenant_id: &str,
        month: Month,
    ) -> Result<Usage, AppError> {
        self.tenant_for(actor, tenant_id, Permission::ReadUsage).await?;
        let as_of_ms = usage::read_until(self.db.pool(), tenant_id).await?;
        let (from, until) = hours_of(month);
        let rows = usage::of_tenant(self.db.pool(), tenant_id, from, until).await?;
        Ok(Usage { as_of_ms, rows })
    }
}
