//! Having invoices paid.
//!
//! A payment is written down before the provider is asked, under an id by which the provider knows the request again: so a crash in
//! between, or an answer that is lost, never makes a second payment of one. A new one is made when the last one has expired.

use serde_json::json;

use super::App;
use super::access::Actor;
use super::invoices::number_of;
use crate::billing::{CreditKind, Currency, Month};
use crate::db::change::{Change, Entry, Scope};
use crate::db::credits::{self, CreditRow};
use crate::db::invoices::{self, InvoiceRow};
use crate::db::payments::{self, PaymentRow};
use crate::db::{DbError, from_json};
use crate::error::AppError;
use crate::limits::{MAX_REASON_CHARS, PAYMENT_PAGE_LIFE};
use crate::payments::{NoticeError, PaymentError, PaymentNotice, PaymentOffer, PaymentRequest};
use crate::role::Permission;

fn currency_of(invoice: &InvoiceRow) -> Result<Currency, AppError> {
    Ok(from_json(&format!("\"{}\"", invoice.currency))?)
}

impl App {
    /// How an invoice can be paid.
    pub(crate) async fn offer_payment(
        &self,
        actor: &Actor,
        organisation_id: &str,
        month: &str,
    ) -> Result<(PaymentOffer, Option<i64>), AppError> {
        self.role_in(actor, organisation_id, Permission::ManageBilling).await?;
        let month: Month = month.parse().map_err(|_| AppError::NotFound("invoice"))?;
        let (mut change, _) =
            self.change_organisation(actor, organisation_id, Permission::ManageBilling).await?;
        let invoice = invoices::of_month(change.conn(), organisation_id, &month.to_string()).await?;
        let invoice = invoice.ok_or(AppError::NotFound("invoice"))?;
        if invoice.paid_at_ms.is_some() {
            return Err(AppError::Conflict("the invoice is paid".to_owned()));
        }
        let payment = self.open_payment(change, actor, &invoice).await?;
        if let (Some(reference), Some(url)) = (payment.reference, payment.url) {
            return Ok((PaymentOffer::Page { reference, url }, payment.expires_at_ms));
        }
        let currency = currency_of(&invoice)?;
        let request = PaymentRequest {
            id: payment.id.clone(),
            invoice: number_of(&invoice),
            minor_units: invoice.total_micros / currency.micros_per_minor(),
            currency,
            return_url: self.post.invoice_page(organisation_id, &invoice.month),
            expires_s: payment.expires_at_ms.unwrap_or_default().div_euclid(1000),
        };
        let offer = self.payments.offer(&request).await.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "no offer to pay an invoice");
            match error {
                PaymentError::Unavailable(_) => {
                    AppError::Unavailable("the payment provider cannot be reached; try again later")
                }
                // What it says is for who runs this, and in the log.
                PaymentError::Refused(_) => AppError::Conflict(
                    "the payment provider refuses to take this payment; ask who runs this control plane for another way to pay"
                        .to_owned(),
                ),
            }
        })?;
        if let PaymentOffer::Page { reference, url } = &offer {
            let mut change = self.db.change().await?;
            payments::opened(change.conn(), &payment.id, reference, url).await?;
            change.commit_silently().await?;
            return Ok((offer, payment.expires_at_ms));
        }
        Ok((offer, None))
    }

    /// The payment of an invoice that can still be used, or a new one.
    async fn open_payment(
        &self,
        mut change: Change,
        actor: &Actor,
        invoice: &InvoiceRow,
    ) -> Result<PaymentRow, AppError> {
        let now_ms = self.now_ms();
        let provider = self.payments.name();
        let known = payments::of_invoice(change.conn(), &invoice.organisation_id, &invoice.month).await?;
        let usable = |payment: &PaymentRow| {
            payment.provider == provider
                && payment.paid_at_ms.is_none()
                && payment.expires_at_ms.is_none_or(|expires_at_ms| expires_at_ms > now_ms)
        };
        if let Some(payment) = known.into_iter().find(usable) {
            return Ok(payment);
        }
        let payment = PaymentRow {
            id: self.random.id("pay"),
            organisation_id: invoice.organisation_id.clone(),
            month: invoice.month.clone(),
            provider: provider.to_owned(),
            reference: None,
            url: None,
            amount_micros: invoice.total_micros,
            created_at_ms: now_ms,
            expires_at_ms: Some(now_ms + PAYMENT_PAGE_LIFE.as_millis() as i64),
            paid_at_ms: None,
        };
        payments::add(change.conn(), &payment).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "payment.begin",
            subject: &payment.id,
            details: json!({ "invoice": number_of(invoice), "provider": provider }),
        };
        change.commit(Scope::Organisation(&invoice.organisation_id), entry).await?;
        Ok(payment)
    }

    /// What the payment provider tells. What it told before, or what is of no payment here, changes nothing.
    pub(crate) async fn hear_of_payment(&self, signature: Option<&str>, body: &[u8]) -> Result<(), AppError> {
        let now_ms = self.now_ms();
        let notice =
            self.payments.notice(signature, body, now_ms.div_euclid(1000)).map_err(|error| match error {
                NoticeError::Signature => {
                    AppError::Unauthenticated("the message has no good signature, or one that is too old")
                }
                NoticeError::Body => AppError::Body(error.to_string()),
            })?;
        let Some(notice) = notice else { return Ok(()) };
        let Some(payment) = payments::by_id(self.db.pool(), &notice.payment).await? else {
            tracing::warn!(
                payment = notice.payment,
                "a payment provider told of a payment that is not known here"
            );
            return Ok(());
        };
        if payment.paid_at_ms.is_some() {
            return Ok(());
        }
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(&payment.organisation_id)).await?;
        if !payments::note_event(change.conn(), self.payments.name(), &notice.id, now_ms).await? {
            return Ok(());
        }
        let invoice = invoices::of_month(change.conn(), &payment.organisation_id, &payment.month).await?;
        let invoice = invoice.ok_or(AppError::Internal)?;
        check_amount(&invoice, &payment, &notice)?;
        if !payments::pay(change.conn(), &payment.id, now_ms).await? {
            // Another message of the same payment came first.
            return Ok(());
        }
        self.settle(change, &invoice, &payment, "payment.receive", self.payments.name()).await?;
        Ok(())
    }

    /// Notes that an invoice was paid in another way.
    pub(crate) async fn mark_paid(
        &self,
        actor: &Actor,
        number: i64,
        reference: &str,
    ) -> Result<InvoiceRow, AppError> {
        actor.operator()?;
        if reference.chars().count() > MAX_REASON_CHARS || reference.chars().any(char::is_control) {
            let problem =
                format!("has {MAX_REASON_CHARS} characters at most, none of which is a control character");
            return Err(AppError::invalid("reference", problem));
        }
        let invoice =
            invoices::by_number(self.db.pool(), number).await?.ok_or(AppError::NotFound("invoice"))?;
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(&invoice.organisation_id)).await?;
        let invoice =
            invoices::by_number(change.conn(), number).await?.ok_or(AppError::NotFound("invoice"))?;
        if invoice.paid_at_ms.is_some() {
            return Err(AppError::Conflict("the invoice is paid already".to_owned()));
        }
        let payment = PaymentRow {
            id: self.random.id("pay"),
            organisation_id: invoice.organisation_id.clone(),
            month: invoice.month.clone(),
            provider: "manual".to_owned(),
            reference: Some(reference.to_owned()),
            url: None,
            amount_micros: invoice.total_micros,
            created_at_ms: now_ms,
            expires_at_ms: None,
            paid_at_ms: Some(now_ms),
        };
        payments::add(change.conn(), &payment).await?;
        self.settle(change, &invoice, &payment, "payment.note", "manual").await?;
        Ok(InvoiceRow { paid_at_ms: Some(now_ms), ..invoice })
    }

    /// Money came: the invoice is paid, or, if it was already, there is a credit.
    async fn settle(
        &self,
        mut change: Change,
        invoice: &InvoiceRow,
        payment: &PaymentRow,
        action: &'static str,
        provider: &str,
    ) -> Result<(), DbError> {
        let now_ms = self.now_ms();
        let surplus = !invoices::pay(change.conn(), invoice.number, now_ms).await?;
        if surplus {
            let credit = CreditRow {
                id: self.random.id("crd"),
                organisation_id: invoice.organisation_id.clone(),
                kind: CreditKind::Overpayment.as_str().to_owned(),
                currency: invoice.currency.clone(),
                granted_micros: payment.amount_micros,
                left_micros: payment.amount_micros,
                granted_s: now_ms.div_euclid(1000),
                expires_s: None,
                reason: format!("invoice {} was paid twice", number_of(invoice)),
            };
            credits::add(change.conn(), &credit).await?;
        }
        let entry = Entry {
            at_ms: now_ms,
            actor: "operator".to_owned(),
            action,
            subject: &payment.id,
            details: json!({
                "invoice": number_of(invoice), "provider": provider, "micros": payment.amount_micros,
                "currency": invoice.currency, "paid_before": surplus,
            }),
        };
        change.commit(Scope::Organisation(&invoice.organisation_id), entry).await
    }
}

/// What came is what was asked for.
fn check_amount(invoice: &InvoiceRow, payment: &PaymentRow, notice: &PaymentNotice) -> Result<(), AppError> {
    let minor_units = payment.amount_micros / currency_of(invoice)?.micros_per_minor();
    if notice.minor_units == minor_units && notice.currency == invoice.currency {
        return Ok(());
    }
    tracing::error!(
        payment = payment.id,
        minor_units = notice.minor_units,
        currency = notice.currency,
        "a payment is not of what the invoice asks for; see to it by hand"
    );
    Err(AppError::Conflict("the payment is not of what the invoice asks for".to_owned()))
}
