//! The spend limit that an owner sets: warnings on the way to it, and no more writes when it is reached.
//!
//! What is compared with the limit is this month's draft. When it is reached, the organisation's tenants are published with a rate of
//! zero; queries go on. A higher limit, or a new month, lets them write again.

use std::collections::BTreeSet;

use serde_json::json;

use super::App;
use super::access::Actor;
use super::invoices::InvoiceError;
use crate::billing::{Currency, Month, SpendStatus};
use crate::db::change::{Entry, Scope};
use crate::db::spending::{self, SpendRow};
use crate::db::{DbError, members, organisations, tenants};
use crate::error::AppError;
use crate::role::{Permission, Role};

/// What an organisation spends, and may spend.
#[derive(Debug)]
pub(crate) struct Spending {
    pub(crate) month: Month,
    pub(crate) currency: Option<Currency>,
    pub(crate) limit_micros: Option<i64>,
    pub(crate) spent_micros: i64,
    /// Of the limit: 0, 50, 80 or 100.
    pub(crate) reached_percent: u8,
    /// Whether writes are refused.
    pub(crate) stopped: bool,
}

/// What a new state means for an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Nothing that anybody need know.
    Quiet,
    /// More of the limit is reached.
    Warn,
    /// All of it: no more writes.
    Stop,
    /// Writes again.
    LetGo,
}

impl Step {
    fn between(before: Option<&SpendRow>, next: &SpendRow) -> Self {
        let was_stopped = before.is_some_and(|before| before.stopped == 1);
        let warned =
            before.filter(|before| before.month == next.month).map_or(0, |before| before.warned_percent);
        match (was_stopped, next.stopped == 1) {
            (false, true) => Self::Stop,
            (true, false) => Self::LetGo,
            _ if next.warned_percent > warned => Self::Warn,
            _ => Self::Quiet,
        }
    }
}

impl App {
    /// What an organisation spends, and may spend, in a month.
    pub(crate) async fn spending(&self, actor: &Actor, id: &str) -> Result<Spending, AppError> {
        self.role_in(actor, id, Permission::ReadBilling).await?;
        let row =
            organisations::by_id(self.db.pool(), id).await?.ok_or(AppError::NotFound("organisation"))?;
        let month = self.this_month()?;
        let draft = self.bill_of(id, month).await?.map(|bill| bill.invoice);
        let limit = row.spend_limit_micros.and_then(|limit| u64::try_from(limit).ok());
        let status = draft.as_ref().zip(limit).map(|(draft, limit)| SpendStatus::of(draft, limit));
        let state = spending::state(self.db.pool(), id).await?;
        Ok(Spending {
            month,
            currency: draft.as_ref().map(|draft| draft.currency),
            limit_micros: row.spend_limit_micros,
            spent_micros: draft.map_or(0, |draft| draft.total_micros),
            reached_percent: status.map_or(0, |status| status.reached_percent),
            stopped: state.is_some_and(|state| state.stopped == 1),
        })
    }

    /// Sets what it spends at most, in millionths of the currency; `None`: no limit.
    pub(crate) async fn set_spend_limit(
        &self,
        actor: &Actor,
        id: &str,
        micros: Option<i64>,
    ) -> Result<(), AppError> {
        if micros.is_some_and(|micros| micros < 0) {
            return Err(AppError::invalid("limit_micros", "is zero or more, or null for no limit"));
        }
        let (mut change, _) = self.change_organisation(actor, id, Permission::ManageBilling).await?;
        organisations::set_spend_limit(change.conn(), id, micros).await?;
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: "spend_limit.set",
            subject: id,
            details: json!({ "limit_micros": micros }),
        };
        change.commit(Scope::Organisation(id), entry).await?;
        self.watch_spending_of(id).await?;
        Ok(())
    }

    /// Compares what is spent with all limits. Doing it again does nothing.
    pub(crate) async fn watch_spending(&self) -> Result<(), DbError> {
        let watched = spending::watched(self.db.pool()).await?;
        self.watch_all(watched).await;
        Ok(())
    }

    /// The same for the organisations of some tenants.
    pub(crate) async fn watch_spending_of_tenants(&self, tenants: &BTreeSet<String>) -> Result<(), DbError> {
        let mut organisations = BTreeSet::new();
        for tenant in tenants {
            organisations.extend(tenants::organisation_of(self.db.pool(), tenant).await?);
        }
        self.watch_all(organisations).await;
        Ok(())
    }

    async fn watch_all(&self, organisations: impl IntoIterator<Item = String>) {
        for id in organisations {
            if let Err(error) = self.watch_spending_of(&id).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    organisation = id,
                    error,
                    "cannot compare what is spent with the limit; it is tried again"
                );
            }
        }
    }

    async fn watch_spending_of(&self, id: &str) -> Result<(), InvoiceError> {
        let now_ms = self.now_ms();
        let month = Month::containing(now_ms.div_euclid(1000))?;
        let Some(row) = organisations::by_id(self.db.pool(), id).await? else { return Ok(()) };
        let before = spending::state(self.db.pool(), id).await?;
        if row.spend_limit_micros.is_none() && before.is_none() {
            return Ok(());
        }
        let draft = self.bill_of(id, month).await?.map(|bill| bill.invoice);
        let limit = row.spend_limit_micros.and_then(|limit| u64::try_from(limit).ok());
        let status = draft.as_ref().zip(limit).map(|(draft, limit)| SpendStatus::of(draft, limit));
        let next = SpendRow {
            month: month.to_string(),
            // Below a higher limit, the same step is told again when it is reached again.
            warned_percent: status.map_or(0, |status| i64::from(status.reached_percent)),
            stopped: i64::from(status.is_some_and(|status| status.is_stopped())),
        };
        if before.as_ref() == Some(&next) {
            return Ok(());
        }
        let mut change = self.db.change().await?;
        if Step::between(before.as_ref(), &next) == Step::Quiet {
            spending::put(change.conn(), id, &next).await?;
            change.commit_silently().await?;
            return Ok(());
        }
        change.lock(Scope::Organisation(id)).await?;
        // Another process may have told it meanwhile.
        let before = spending::state(change.conn(), id).await?;
        let step = Step::between(before.as_ref(), &next);
        let action = match step {
            Step::Quiet => return Ok(()),
            Step::Warn => "spend_limit.warn",
            Step::Stop => "spend_limit.reached",
            Step::LetGo => "spend_limit.cleared",
        };
        spending::put(change.conn(), id, &next).await?;
        if step != Step::Warn {
            change.touch_directory(&self.random, now_ms).await?;
        }
        let spent_micros = status.map(|status| status.spent_micros);
        let entry = Entry {
            at_ms: now_ms,
            actor: "operator".to_owned(),
            action,
            subject: id,
            details: json!({ "month": next.month, "percent": next.warned_percent, "spent_micros": spent_micros }),
        };
        change.commit(Scope::Organisation(id), entry).await?;
        self.directory_changed.notify_one();
        if let (Some(draft), Some(status), Step::Warn | Step::Stop) = (draft, status, step) {
            let spent = draft.currency.format(draft.total_micros);
            let limit = draft.currency.format(i64::try_from(status.limit_micros).unwrap_or(i64::MAX));
            for to in self.billed_people(id).await? {
                self.post.spend_limit(&to, &row.name, status.reached_percent, &spent, &limit);
            }
        }
        Ok(())
    }

    /// Who is told of money: owners, and who has the role for it.
    pub(crate) async fn billed_people(&self, organisation_id: &str) -> Result<Vec<String>, DbError> {
        let members = members::all(self.db.pool(), organisation_id).await?;
        let billed = members
            .into_iter()
            .filter(|member| matches!(Role::parse(&member.role), Some(Role::Owner | Role::Billing)));
        Ok(billed.map(|member| member.email).collect())
    }
}
