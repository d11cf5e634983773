//! Credits: money that pays for invoices before the customer does.

use serde_json::json;

use super::App;
use super::access::Actor;
use crate::billing::{Credit, CreditKind, Currency};
use crate::db::change::{Entry, Scope};
use crate::db::credits::{self, CreditRow};
use crate::db::{from_json, organisations, plans};
use crate::error::AppError;
use crate::limits::{MAX_CREDITS, MAX_REASON_CHARS};
use crate::role::Permission;

/// A credit as the operator wants it.
#[derive(Debug)]
pub(crate) struct NewCredit {
    pub(crate) kind: CreditKind,
    pub(crate) currency: Currency,
    pub(crate) micros: i64,
    /// In Unix seconds; never when `None`.
    pub(crate) expires_s: Option<i64>,
    /// For its owner.
    pub(crate) reason: String,
}

/// What billing makes of rows. What only a later version knows is left alone.
pub(crate) fn credits_of(rows: &[CreditRow]) -> Vec<Credit> {
    let credit = |row: &CreditRow| {
        Some(Credit {
            id: row.id.clone(),
            kind: from_json(&format!("\"{}\"", row.kind)).ok()?,
            currency: from_json(&format!("\"{}\"", row.currency)).ok()?,
            left_micros: u64::try_from(row.left_micros).ok()?,
            granted_s: row.granted_s,
            expires_s: row.expires_s,
        })
    };
    rows.iter().filter_map(credit).collect()
}

impl App {
    /// The credits of an organisation.
    pub(crate) async fn credits(
        &self,
        actor: &Actor,
        organisation_id: &str,
    ) -> Result<Vec<CreditRow>, AppError> {
        self.role_in(actor, organisation_id, Permission::ReadBilling).await?;
        Ok(credits::of_organisation(self.db.pool(), organisation_id).await?)
    }

    /// Grants one.
    pub(crate) async fn grant_credit(
        &self,
        actor: &Actor,
        organisation_id: &str,
        new: NewCredit,
    ) -> Result<CreditRow, AppError> {
        actor.operator()?;
        let now_ms = self.now_ms();
        let now_s = now_ms.div_euclid(1000);
        if new.micros <= 0 {
            return Err(AppError::invalid("micros", "is more than zero"));
        }
        if new.expires_s.is_some_and(|expires_s| expires_s <= now_s) {
            return Err(AppError::invalid("expires_s", "is later than now, in Unix seconds"));
        }
        if new.reason.chars().count() > MAX_REASON_CHARS || new.reason.chars().any(char::is_control) {
            let problem =
                format!("has {MAX_REASON_CHARS} characters at most, none of which is a control character");
            return Err(AppError::invalid("reason", problem));
        }
        let mut change = self.db.change().await?;
        if !change.lock(Scope::Organisation(organisation_id)).await? {
            return Err(AppError::NotFound("organisation"));
        }
        let organisation = organisations::by_id(change.conn(), organisation_id).await?;
        let plan = organisation.ok_or(AppError::NotFound("organisation"))?.plan;
        let versions = plans::all(change.conn()).await?;
        // All versions of a plan have one currency.
        if let Some(billed) = versions.iter().find(|version| version.plan == plan)
            && billed.currency != new.currency
        {
            let problem = format!("is {}, which the organisation is billed in", billed.currency);
            return Err(AppError::invalid("currency", problem));
        }
        if credits::of_organisation(change.conn(), organisation_id).await?.len() >= MAX_CREDITS {
            return Err(AppError::Full(format!("an organisation is granted {MAX_CREDITS} credits at most")));
        }
        let credit = CreditRow {
            id: self.random.id("crd"),
            organisation_id: organisation_id.to_owned(),
            kind: new.kind.as_str().to_owned(),
            currency: new.currency.code().to_owned(),
            granted_micros: new.micros,
            left_micros: new.micros,
            granted_s: now_s,
            expires_s: new.expires_s,
            reason: new.reason,
        };
        credits::add(change.conn(), &credit).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "credit.grant",
            subject: &credit.id,
            details: json!({
                "kind": credit.kind, "micros": new.micros, "currency": credit.currency, "reason": credit.reason,
            }),
        };
        change.note(Scope::Organisation(organisation_id), &entry).await?;
        // It may pay for what had reached the spend limit.
        let decided = self.decide_spending_too(&mut change, organisation_id).await?;
        change.commit_silently().await?;
        self.tell_spending(organisation_id, decided).await;
        Ok(credit)
    }
}
