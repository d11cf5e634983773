//! At the end of a month, drafts become final: each with the next number, in the transaction that uses up its credits.

use serde_json::json;

use super::{Books, InvoiceError, number_of};
use crate::app::App;
use crate::billing::{CreditKind, Invoice, Month};
use crate::db::change::{Entry, Scope};
use crate::db::credits::{self, CreditRow};
use crate::db::invoices::{self, InvoiceRow};
use crate::db::{DbError, organisations, to_json, usage};
use crate::limits::INVOICE_GRACE_S;

impl App {
    /// Makes final what is due: the months that ended so long ago that their grace is over. To be called when all ledgers have been
    /// folded since then. Doing it again does nothing.
    pub(crate) async fn finalise_invoices(&self) -> Result<(), InvoiceError> {
        let due_s = self.now_ms().div_euclid(1000) - INVOICE_GRACE_S;
        // The last month that ended by then.
        let last = Month::containing(Month::containing(due_s)?.span().start_s - 1)?;
        let until_ms = last.span().end_s.saturating_mul(1000);
        for id in organisations::without_invoice(self.db.pool(), &last.to_string(), until_ms).await? {
            loop {
                match self.finalise_next(&id, due_s).await {
                    Ok(true) => {}
                    Ok(false) => break,
                    // One that cannot be computed does not hold up the others'.
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(
                            organisation = id,
                            error,
                            "an invoice cannot be made final; it is tried again"
                        );
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Makes the first open invoice of an organisation final, if its month's grace ended by `due_s`. `false` where none is due.
    async fn finalise_next(&self, organisation_id: &str, due_s: i64) -> Result<bool, InvoiceError> {
        let is_due = |month: Option<Month>| month.filter(|month| month.span().end_s <= due_s);
        let mut db = self.db.pool().acquire().await.map_err(DbError::from)?;
        if is_due(Books::read(&mut db, organisation_id).await?.first_open()?).is_none() {
            return Ok(false);
        }
        drop(db);
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(organisation_id)).await?;
        // Somebody else may have done it meanwhile.
        let books = Books::read(change.conn(), organisation_id).await?;
        let Some(month) = is_due(books.first_open()?) else { return Ok(false) };
        let as_of_ms = usage::all_read_until(change.conn(), organisation_id).await?;
        let input = books.input(change.conn(), month).await?;
        let invoice = Invoice::compute(&input)?.finalised();

        for applied in &invoice.credits {
            let micros = i64::try_from(applied.applied_micros).unwrap_or(i64::MAX);
            if !credits::take(change.conn(), &applied.id, micros).await? {
                return Err(DbError::Failed(sqlx::Error::RowNotFound).into());
            }
        }
        if invoice.carried_over_micros > 0 {
            let credit = CreditRow {
                id: self.random.id("crd"),
                organisation_id: organisation_id.to_owned(),
                kind: CreditKind::CarriedOver.as_str().to_owned(),
                currency: invoice.currency.code().to_owned(),
                granted_micros: invoice.carried_over_micros,
                left_micros: invoice.carried_over_micros,
                granted_s: month.span().end_s,
                expires_s: None,
                reason: format!("corrections gave back more than {month} cost"),
            };
            credits::add(change.conn(), &credit).await?;
        }
        let row = InvoiceRow {
            organisation_id: organisation_id.to_owned(),
            month: month.to_string(),
            number: invoices::next_number(change.conn()).await?,
            currency: invoice.currency.code().to_owned(),
            total_micros: invoice.total_micros,
            finalised_at_ms: now_ms,
            paid_at_ms: (invoice.total_micros == 0).then_some(now_ms),
            as_of_ms,
        };
        invoices::add(change.conn(), &row, to_json(&invoice)?, to_json(&input)?).await?;
        let number = number_of(&row);
        let entry = Entry {
            at_ms: now_ms,
            actor: "operator".to_owned(),
            action: "invoice.finalise",
            subject: &number,
            details: json!({ "month": row.month, "total_micros": row.total_micros, "currency": row.currency }),
        };
        change.commit(Scope::Organisation(organisation_id), entry).await?;
        if row.total_micros > 0 {
            let total = invoice.currency.format(invoice.total_micros);
            for to in self.billed_people(organisation_id).await? {
                self.post.invoice_ready(&to, organisation_id, &number, &row.month, &total);
            }
        }
        Ok(true)
    }
}
