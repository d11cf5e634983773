//! The spend limit that an owner sets: warnings on the way to it, and no more writes when it is reached.
//!
//! What is compared with the limit is this month's draft. When it is reached, the organisation's tenants are published with a rate of
//! zero; queries go on. A higher limit, or a new month, lets them write again.
//!
//! It is decided in a change that has the organisation's lock, by the limit, credits, prices and usage that are in force when it is
//! committed, never by what was read before. Whoever changes a limit, a credit or a plan decides in that very change.

use std::collections::BTreeSet;

use serde_json::json;
use sqlx::AnyConnection;

use super::App;
use super::access::Actor;
use super::invoices::InvoiceError;
use crate::billing::{Currency, Invoice, Month, SpendStatus};
use crate::db::change::{Change, Entry, Scope};
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

/// Where an organisation stands, and what follows from that.
struct Standing {
    /// The organisation's name.
    name: String,
    /// What was decided last.
    before: Option<SpendRow>,
    /// What is right now.
    next: SpendRow,
    /// What is spent of the limit, where there is one.
    reached: Option<(Invoice, SpendStatus)>,
}

/// What was decided and is to be told.
pub(super) struct Decided {
    name: String,
    step: Step,
    reached: Option<(Invoice, SpendStatus)>,
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
        change.note(Scope::Organisation(id), &entry).await?;
        let decided = self.decide_spending_too(&mut change, id).await?;
        change.commit_silently().await?;
        self.tell_spending(id, decided).await;
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
        let mut db = self.db.pool().acquire().await.map_err(DbError::from)?;
        let seen = self.standing(&mut db, id).await?;
        drop(db);
        // Mostly there is nothing to decide, and nobody waits for that.
        if seen.is_none_or(|seen| seen.before.as_ref() == Some(&seen.next)) {
            return Ok(());
        }
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(id)).await?;
        let decided = self.decide_spending(&mut change, id).await?;
        change.commit_silently().await?;
        self.tell_spending(id, decided).await;
        Ok(())
    }

    /// Where an organisation stands now; `None` where there is no limit, and there was none.
    async fn standing(&self, db: &mut AnyConnection, id: &str) -> Result<Option<Standing>, InvoiceError> {
        let month = Month::containing(self.now_ms().div_euclid(1000))?;
        let Some(organisation) = organisations::by_id(&mut *db, id).await? else { return Ok(None) };
        let before = spending::state(&mut *db, id).await?;
        if organisation.spend_limit_micros.is_none() && before.is_none() {
            return Ok(None);
        }
        let draft = Self::draft_of(db, id, month).await?.map(|bill| bill.invoice);
        let limit = organisation.spend_limit_micros.and_then(|limit| u64::try_from(limit).ok());
        let reached = draft.and_then(|draft| {
            let status = SpendStatus::of(&draft, limit?);
            Some((draft, status))
        });
        let status = reached.as_ref().map(|(_, status)| status);
        let next = SpendRow {
            month: month.to_string(),
            // Below a higher limit, the same step is told again when it is reached again.
            warned_percent: status.map_or(0, |status| i64::from(status.reached_percent)),
            stopped: i64::from(status.is_some_and(SpendStatus::is_stopped)),
        };
        Ok(Some(Standing { name: organisation.name, before, next, reached }))
    }

    /// Decides, in a change that has the organisation's lock, whether its tenants may write. What this returns is told once that
    /// change is committed.
    async fn decide_spending(&self, change: &mut Change, id: &str) -> Result<Option<Decided>, InvoiceError> {
        let Some(standing) = self.standing(change.conn(), id).await? else { return Ok(None) };
        let Standing { name, before, next, reached } = standing;
        if before.as_ref() == Some(&next) {
            return Ok(None);
        }
        spending::put(change.conn(), id, &next).await?;
        let step = Step::between(before.as_ref(), &next);
        let action = match step {
            Step::Quiet => return Ok(None),
            Step::Warn => "spend_limit.warn",
            Step::Stop => "spend_limit.reached",
            Step::LetGo => "spend_limit.cleared",
        };
        let now_ms = self.now_ms();
        if step != Step::Warn {
            change.touch_directory(&self.random, now_ms).await?;
        }
        let spent_micros = reached.as_ref().map(|(_, status)| status.spent_micros);
        let entry = Entry {
            at_ms: now_ms,
            actor: "operator".to_owned(),
            action,
            subject: id,
            details: json!({ "month": next.month, "percent": next.warned_percent, "spent_micros": spent_micros }),
        };
        change.note(Scope::Organisation(id), &entry).await?;
        Ok(Some(Decided { name, step, reached }))
    }

    /// The same in a change of what it is decided by. That change is made also where no invoice can be computed.
    pub(super) async fn decide_spending_too(
        &self,
        change: &mut Change,
        id: &str,
    ) -> Result<Option<Decided>, DbError> {
        match self.decide_spending(change, id).await {
            Ok(decided) => Ok(decided),
            Err(InvoiceError::Db(error)) => Err(error),
            Err(InvoiceError::Billing(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    organisation = id,
                    error,
                    "cannot compare what is spent with the limit; it is tried again"
                );
                Ok(None)
            }
        }
    }

    /// Tells what was decided, once it is committed.
    pub(super) async fn tell_spending(&self, id: &str, decided: Option<Decided>) {
        let Some(Decided { name, step, reached }) = decided else { return };
        self.directory_changed.notify_one();
        let (Some((draft, status)), Step::Warn | Step::Stop) = (reached, step) else { return };
        let spent = draft.currency.format(draft.total_micros);
        let limit = draft.currency.format(i64::try_from(status.limit_micros).unwrap_or(i64::MAX));
        match self.billed_people(id).await {
            Ok(people) => {
                for to in people {
                    self.post.spend_limit(&to, &name, status.reached_percent, &spent, &limit);
                }
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(organisation = id, error, "cannot see whom to tell of the spend limit");
            }
        }
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
