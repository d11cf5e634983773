//! Invoices: drafts that are always current, and final ones that never change.
//!
//! A draft is computed from the database whenever somebody asks; the final invoice is the same computation, kept. Where the month
//! before is not final yet, the draft takes it as it would be now: what credits it would use up, and what it would carry over.

mod finalise;

use sqlx::AnyConnection;

use super::App;
use super::access::Actor;
use super::credits::credits_of;
use super::usage::hours_of;
use crate::billing::{
    Attribution, BilledMonth, BillingError, Credit, CreditKind, Invoice, InvoiceExport, InvoiceInput, Month,
    PlanVersion, Term, UsageRow,
};
use crate::db::invoices::{self, InvoiceRow};
use crate::db::{DbError, credits, from_json, plans, tenants, usage};
use crate::error::AppError;
use crate::limits::CLOCK_SLACK_MS;
use crate::role::Permission;

/// Why an invoice cannot be computed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvoiceError {
    #[error("cannot read what an invoice is computed from")]
    Db(#[from] DbError),
    #[error(transparent)]
    Billing(#[from] BillingError),
}

impl From<InvoiceError> for AppError {
    fn from(error: InvoiceError) -> Self {
        match error {
            InvoiceError::Db(error) => error.into(),
            InvoiceError::Billing(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "an invoice cannot be computed");
                Self::Conflict(format!("the invoice cannot be computed: {error}"))
            }
        }
    }
}

/// An invoice, and all that belongs to it.
#[derive(Debug)]
pub(crate) struct Bill {
    pub(crate) invoice: Invoice,
    pub(crate) input: InvoiceInput,
    /// All that ledgers had by then is in it; `None` where nobody knows.
    pub(crate) as_of_ms: Option<i64>,
    /// `None` for a draft.
    pub(crate) row: Option<InvoiceRow>,
}

impl Bill {
    /// The number for people: `FW-000042`, or which draft it is.
    pub(crate) fn number(&self) -> String {
        match &self.row {
            Some(row) => number_of(row),
            None => format!("draft {}", self.invoice.month),
        }
    }
}

/// An invoice's number for people.
pub(crate) fn number_of(row: &InvoiceRow) -> String {
    format!("FW-{:06}", row.number)
}

/// What the invoices of an organisation are computed from, months apart.
struct Books {
    organisation: String,
    plans: Vec<PlanVersion>,
    terms: Vec<Term>,
    credits: Vec<Credit>,
    finals: Vec<InvoiceRow>,
}

impl Books {
    async fn read(db: &mut AnyConnection, organisation_id: &str) -> Result<Self, InvoiceError> {
        let terms = plans::terms(&mut *db, organisation_id).await?;
        let mut all = plans::all(&mut *db).await?;
        all.retain(|version| terms.iter().any(|term| term.plan == version.plan));
        Ok(Self {
            organisation: organisation_id.to_owned(),
            plans: all,
            terms,
            credits: credits_of(&credits::of_organisation(&mut *db, organisation_id).await?),
            finals: invoices::of_organisation(&mut *db, organisation_id).await?,
        })
    }

    /// The first month that is not final. `None` where there was never a plan.
    fn first_open(&self) -> Result<Option<Month>, BillingError> {
        if let Some(last) = self.finals.last() {
            return last.month.parse::<Month>()?.next().map(Some);
        }
        self.terms.iter().map(|term| term.from_s).min().map(Month::containing).transpose()
    }

    /// What the invoice of an open month is computed from.
    async fn input(&self, db: &mut AnyConnection, month: Month) -> Result<InvoiceInput, InvoiceError> {
        let rows = self.rows_of(db, month).await?;
        let names = tenants::names_ever(&mut *db, &self.organisation).await?;
        let mut input = InvoiceInput {
            organisation: self.organisation.clone(),
            month,
            plans: self.plans.clone(),
            terms: self.terms.clone(),
            rows,
            tenant_names: names.into_iter().collect(),
            attribution: self.attribution(db, month).await?,
            credits: self.credits.clone(),
            billed: Vec::new(),
        };
        for row in &self.finals {
            let earlier: Month = row.month.parse()?;
            let since_ms = row.finalised_at_ms.saturating_sub(CLOCK_SLACK_MS);
            if usage::changed_since(db, &self.organisation, self.hours_of(earlier), since_ms).await? {
                let documents = invoices::documents_since(db, &self.organisation, &row.month).await?;
                let since: Vec<Invoice> =
                    documents.iter().map(|text| from_json(text)).collect::<Result<_, _>>()?;
                input.billed.push(BilledMonth::from_invoices(earlier, &since));
                input.rows.extend(self.rows_of(db, earlier).await?);
            }
        }
        Ok(input)
    }

    /// The hours that count in a month: those that begin in it, and in the month of the signup all before them.
    fn hours_of(&self, month: Month) -> (i64, i64) {
        let (from, until) = hours_of(month);
        let signup_s = self.terms.iter().map(|term| term.from_s).min();
        let is_first = signup_s.is_some_and(|signup_s| month.span().contains(signup_s));
        (if is_first { i64::MIN } else { from }, until)
    }

    async fn rows_of(&self, db: &mut AnyConnection, month: Month) -> Result<Vec<UsageRow>, DbError> {
        let (from, until) = self.hours_of(month);
        usage::of_organisation(db, &self.organisation, from, until).await
    }

    async fn attribution(&self, db: &mut AnyConnection, month: Month) -> Result<Vec<Attribution>, DbError> {
        usage::attribution(db, &self.organisation, &month.to_string()).await
    }

    /// What is left of credits once this invoice is final.
    fn settle(&mut self, invoice: &Invoice) {
        for applied in &invoice.credits {
            for credit in self.credits.iter_mut().filter(|credit| credit.id == applied.id) {
                credit.left_micros = applied.left_micros;
            }
        }
        if invoice.carried_over_micros > 0 {
            self.credits.push(Credit {
                id: format!("carried over from {}", invoice.month),
                kind: CreditKind::CarriedOver,
                currency: invoice.currency,
                left_micros: invoice.carried_over_micros.unsigned_abs(),
                granted_s: invoice.month.span().end_s,
                expires_s: None,
            });
        }
    }

    /// The invoice of an open month as it would be now.
    async fn draft(
        mut self,
        db: &mut AnyConnection,
        month: Month,
    ) -> Result<Option<(Invoice, InvoiceInput)>, InvoiceError> {
        let Some(mut at) = self.first_open()? else { return Ok(None) };
        while at < month {
            match Invoice::compute(&self.input(db, at).await?) {
                Ok(invoice) => self.settle(&invoice),
                Err(BillingError::NoPlan(_)) => {}
                Err(error) => return Err(error.into()),
            }
            at = at.next()?;
        }
        if at > month {
            return Ok(None);
        }
        let input = self.input(db, month).await?;
        match Invoice::compute(&input) {
            Ok(invoice) => Ok(Some((invoice, input))),
            Err(BillingError::NoPlan(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl App {
    /// An organisation's invoice of a month, whoever asks: the final one, or the draft.
    pub(crate) async fn bill_of(
        &self,
        organisation_id: &str,
        month: Month,
    ) -> Result<Option<Bill>, InvoiceError> {
        let mut db = self.db.pool().acquire().await.map_err(DbError::from)?;
        let name = month.to_string();
        if let Some(row) = invoices::of_month(&mut *db, organisation_id, &name).await? {
            let text = invoices::text(&mut *db, organisation_id, &name).await?;
            let text = text.ok_or(DbError::Failed(sqlx::Error::RowNotFound))?;
            let (invoice, input) = (from_json(&text.document)?, from_json(&text.input)?);
            return Ok(Some(Bill { invoice, input, as_of_ms: row.as_of_ms, row: Some(row) }));
        }
        Self::draft_of(&mut db, organisation_id, month).await
    }

    /// An organisation's draft of a month that is not final.
    pub(super) async fn draft_of(
        db: &mut AnyConnection,
        organisation_id: &str,
        month: Month,
    ) -> Result<Option<Bill>, InvoiceError> {
        // First: what comes while the rest is read may or may not be in it.
        let as_of_ms = usage::all_read_until(&mut *db, organisation_id).await?;
        let books = Books::read(&mut *db, organisation_id).await?;
        let draft = books.draft(&mut *db, month).await?;
        Ok(draft.map(|(invoice, input)| Bill { invoice, input, as_of_ms, row: None }))
    }

    /// An organisation's invoice of a month up to this one.
    pub(crate) async fn invoice(
        &self,
        actor: &Actor,
        organisation_id: &str,
        month: &str,
    ) -> Result<Bill, AppError> {
        self.role_in(actor, organisation_id, Permission::ReadBilling).await?;
        let month: Month = month.parse().map_err(|_| AppError::NotFound("invoice"))?;
        if month > self.this_month()? {
            return Err(AppError::NotFound("invoice"));
        }
        self.bill_of(organisation_id, month).await?.ok_or(AppError::NotFound("invoice"))
    }

    /// All that one needs to recompute it, but the ledger.
    pub(crate) async fn invoice_export(
        &self,
        actor: &Actor,
        organisation_id: &str,
        month: &str,
    ) -> Result<InvoiceExport, AppError> {
        let bill = self.invoice(actor, organisation_id, month).await?;
        let names = tenants::names_ever(self.db.pool(), organisation_id).await?;
        Ok(InvoiceExport {
            format: InvoiceExport::FORMAT,
            number: bill.row.as_ref().and_then(|row| u64::try_from(row.number).ok()),
            as_of_ms: bill.as_of_ms,
            tenants: names.into_iter().map(|(id, _)| id).collect(),
            without_ledger: tenants::erased(self.db.pool(), organisation_id).await?,
            invoice: bill.invoice,
            input: bill.input,
        })
    }

    /// The final invoices, the oldest first, and the months that have a draft.
    pub(crate) async fn invoices(
        &self,
        actor: &Actor,
        organisation_id: &str,
    ) -> Result<(Vec<InvoiceRow>, Vec<Month>), AppError> {
        self.role_in(actor, organisation_id, Permission::ReadBilling).await?;
        let mut db = self.db.pool().acquire().await.map_err(DbError::from)?;
        let books = Books::read(&mut db, organisation_id).await?;
        let (mut drafts, this_month) = (Vec::new(), self.this_month()?);
        let mut at = books.first_open().map_err(InvoiceError::from)?;
        while let Some(month) = at.filter(|month| *month <= this_month) {
            drafts.push(month);
            at = month.next().ok();
        }
        Ok((books.finals, drafts))
    }
}
