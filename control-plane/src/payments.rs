//! How customers pay: behind a small trait, so that a control plane can do without any provider.

mod stripe;

use std::fmt::Debug;

use async_trait::async_trait;

use crate::billing::Currency;

pub use stripe::{Stripe, StripeError, StripeSettings};

/// Takes money for invoices.
#[async_trait]
pub trait PaymentProvider: Send + Sync + Debug {
    /// The name in the API and in the database.
    fn name(&self) -> &'static str;

    /// Makes an offer to pay an invoice. The same request again is the same offer, also where the first answer was lost.
    ///
    /// # Errors
    /// [`PaymentError`].
    async fn offer(&self, request: &PaymentRequest) -> Result<PaymentOffer, PaymentError>;

    /// What a message from the provider says; `None` where it says nothing of payments. `now_s` is Unix seconds.
    ///
    /// # Errors
    /// [`NoticeError`] where the message does not come from the provider, or cannot be read.
    fn notice(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now_s: i64,
    ) -> Result<Option<PaymentNotice>, NoticeError>;
}

/// What is to be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRequest {
    /// The payment's id: other than that of any other payment.
    pub id: String,
    /// The invoice's number, for people.
    pub invoice: String,
    /// How much, in the currency's smallest unit: cents.
    pub minor_units: i64,
    /// In which currency.
    pub currency: Currency,
    /// Where the customer goes afterwards.
    pub return_url: String,
    /// No money is taken from then on, in Unix seconds.
    pub expires_s: i64,
}

/// How an invoice can be paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentOffer {
    /// On a page of the provider's.
    Page {
        /// What the provider calls it.
        reference: String,
        /// Where it is.
        url: String,
    },
    /// By hand; the operator notes when the money has come.
    Instructions(String),
}

/// That money came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentNotice {
    /// The message's id: one that comes again has the same.
    pub id: String,
    /// The payment's id.
    pub payment: String,
    /// How much, in the currency's smallest unit.
    pub minor_units: i64,
    /// In which currency: an ISO 4217 code in upper case.
    pub currency: String,
}

/// Why there is no offer.
#[derive(Debug, thiserror::Error)]
pub enum PaymentError {
    /// The provider cannot be reached, or is too busy. The same request later may work.
    #[error("the payment provider cannot be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The provider refuses: a setting is wrong, or this is a bug.
    #[error("the payment provider refuses: {0}")]
    Refused(String),
}

/// Why a message is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// No signature, not a good one, or one that is too old.
    #[error("the signature is missing, wrong or too old")]
    Signature,
    /// Signed, but not what it should be.
    #[error("the body is no event of the documented shape")]
    Body,
}

/// No provider: customers pay as they are told, and the operator notes it.
#[derive(Debug)]
pub struct Manual {
    /// What customers are told, such as a bank account.
    pub instructions: String,
}

#[async_trait]
impl PaymentProvider for Manual {
    fn name(&self) -> &'static str {
        "manual"
    }

    async fn offer(&self, _: &PaymentRequest) -> Result<PaymentOffer, PaymentError> {
        Ok(PaymentOffer::Instructions(self.instructions.clone()))
    }

    fn notice(&self, _: Option<&str>, _: &[u8], _: i64) -> Result<Option<PaymentNotice>, NoticeError> {
        // Nobody signs anything here.
        Err(NoticeError::Signature)
    }
}
