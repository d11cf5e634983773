//! Stripe, by its HTTP API: a Checkout Session for each payment, and signed webhooks.
//!
//! <https://docs.stripe.com/api/checkout/sessions/create>, <https://docs.stripe.com/api/idempotent_requests>,
//! <https://docs.stripe.com/webhooks/signature>

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use hmac::{Hmac, Mac};
use http::StatusCode;
use serde::Deserialize;
use sha2::Sha256;

use super::{NoticeError, PaymentError, PaymentNotice, PaymentOffer, PaymentProvider, PaymentRequest};
use crate::limits::{MAX_PAYMENT_ANSWER_BYTES, PAYMENT_TIME, WEBHOOK_TOLERANCE_S};
use crate::secret::Secret;

/// The version of the API that this is written for: an account's own default may be another.
const API_VERSION: &str = "2025-03-31.basil";
/// How often a request is made before giving up. Stripe knows by the idempotency key that it is the same.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; the next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// How Stripe is reached.
#[derive(Clone)]
pub struct StripeSettings {
    /// `https://api.stripe.com`, but for tests.
    pub url: String,
    /// The secret key, `sk_…` or `rk_…`.
    pub api_key: Secret,
    /// The webhook endpoint's signing secret, `whsec_…`.
    pub webhook_secret: Secret,
}

/// Why Stripe cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StripeError {
    /// No HTTP client can be made.
    #[error("cannot set up an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// Payments by Stripe Checkout.
pub struct Stripe {
    client: reqwest::Client,
    settings: StripeSettings,
}

impl Stripe {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`StripeError`].
    pub fn new(settings: StripeSettings) -> Result<Self, StripeError> {
        // Somebody may have chosen one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .timeout(PAYMENT_TIME)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(StripeError::Client)?;
        Ok(Self { client, settings })
    }

    async fn create_session(&self, request: &PaymentRequest) -> Result<Session, Attempt> {
        let minor_units = request.minor_units.to_string();
        let currency = request.currency.code().to_ascii_lowercase();
        let (name, expires) =
            (format!("Farwatch invoice {}", request.invoice), request.expires_s.to_string());
        let form = [
            ("mode", "payment"),
            ("client_reference_id", &request.id),
            ("metadata[payment]", &request.id),
            ("metadata[invoice]", &request.invoice),
            ("payment_intent_data[metadata][payment]", &request.id),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", &currency),
            ("line_items[0][price_data][unit_amount]", &minor_units),
            ("line_items[0][price_data][product_data][name]", &name),
            ("success_url", &request.return_url),
            ("expires_at", &expires),
        ];
        let url = format!("{}/v1/checkout/sessions", self.settings.url.trim_end_matches('/'));
        let answer = self
            .client
            .post(url)
            .bearer_auth(self.settings.api_key.expose())
            .header("Stripe-Version", API_VERSION)
            .header("Idempotency-Key", &request.id)
            .form(&form)
            .send()
            .await;
        let mut answer = answer.map_err(|error| Attempt::Again(Box::new(error.without_url())))?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(part) =
            answer.chunk().await.map_err(|error| Attempt::Again(Box::new(error.without_url())))?
        {
            if body.len() + part.len() > MAX_PAYMENT_ANSWER_BYTES {
                return Err(Attempt::Refused("its answer is too large".to_owned()));
            }
            body.extend_from_slice(&part);
        }
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|_| Attempt::Refused("its answer is no Checkout Session".to_owned()));
        }
        let problem = serde_json::from_slice::<Failure>(&body).unwrap_or_default().error;
        let problem = format!("HTTP status {}, {}: {}", status.as_u16(), problem.kind, problem.message);
        // 409 says that the same request is under way.
        if status == StatusCode::CONFLICT
            || status == StatusCode::TOO_MANY_REQUESTS
            || status.is_server_error()
        {
            Err(Attempt::Again(problem.into()))
        } else {
            Err(Attempt::Refused(problem))
        }
    }
}

/// How an attempt failed.
enum Attempt {
    Again(Box<dyn std::error::Error + Send + Sync>),
    Refused(String),
}

#[derive(Deserialize)]
struct Session {
    id: String,
    url: String,
}

#[derive(Default, Deserialize)]
struct Failure {
    error: Problem,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Problem {
    #[serde(rename = "type")]
    kind: String,
    message: String,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    object: serde_json::Value,
}

#[derive(Deserialize)]
struct PaidSession {
    client_reference_id: Option<String>,
    payment_status: String,
    amount_total: Option<i64>,
    currency: Option<String>,
}

#[async_trait]
impl PaymentProvider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn offer(&self, request: &PaymentRequest) -> Result<PaymentOffer, PaymentError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match self.create_session(request).await {
                Ok(Session { id, url }) => return Ok(PaymentOffer::Page { reference: id, url }),
                Err(Attempt::Refused(problem)) => return Err(PaymentError::Refused(problem)),
                Err(Attempt::Again(error)) if attempt >= ATTEMPTS => {
                    return Err(PaymentError::Unavailable(error));
                }
                Err(Attempt::Again(_)) => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
            }
        }
        // The loop ends by returning.
        Err(PaymentError::Refused(String::new()))
    }

    fn notice(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now_s: i64,
    ) -> Result<Option<PaymentNotice>, NoticeError> {
        let signature = signature.ok_or(NoticeError::Signature)?;
        check_signature(self.settings.webhook_secret.expose(), signature, body, now_s)?;
        let event: Event = serde_json::from_slice(body).map_err(|_| NoticeError::Body)?;
        // The second is for ways to pay that take days.
        if !matches!(&*event.kind, "checkout.session.completed" | "checkout.session.async_payment_succeeded")
        {
            return Ok(None);
        }
        let session: PaidSession =
            serde_json::from_value(event.data.object).map_err(|_| NoticeError::Body)?;
        let PaidSession { client_reference_id, payment_status, amount_total, currency } = session;
        if payment_status != "paid" {
            return Ok(None);
        }
        match (client_reference_id, amount_total, currency) {
            (Some(payment), Some(minor_units), Some(currency)) => Ok(Some(PaymentNotice {
                id: event.id,
                payment,
                minor_units,
                currency: currency.to_ascii_uppercase(),
            })),
            // A session that somebody else made with the same account.
            (None, ..) => Ok(None),
            _ => Err(NoticeError::Body),
        }
    }
}

/// Checks a `Stripe-Signature`: `t=SECONDS,v1=HEX[,v1=HEX]…`, where one of the `v1` is the HMAC-SHA256 of `SECONDS.BODY` by the
/// endpoint's secret, and the time is now or almost.
fn check_signature(secret: &str, signature: &str, body: &[u8], now_s: i64) -> Result<(), NoticeError> {
    let fields = || signature.split(',').filter_map(|field| field.trim().split_once('='));
    let time = fields().find(|(name, _)| *name == "t").map(|(_, time)| time).ok_or(NoticeError::Signature)?;
    let signed_s: i64 = time.parse().map_err(|_| NoticeError::Signature)?;
    if now_s.saturating_sub(signed_s).saturating_abs() > WEBHOOK_TOLERANCE_S {
        return Err(NoticeError::Signature);
    }
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(time.as_bytes());
    mac.update(b".");
    mac.update(body);
    let matches = |hex: &str| from_hex(hex).is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok());
    if fields().any(|(name, value)| name == "v1" && matches(value)) {
        Ok(())
    } else {
        Err(NoticeError::Signature)
    }
}

/// The 32 bytes that 64 hexadecimal digits stand for.
fn from_hex(text: &str) -> Option<[u8; 32]> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut bytes = [0; 32];
    if pairs.len() != bytes.len() || !rest.is_empty() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe").field("url", &self.settings.url).finish_non_exhaustive()
    }
}

impl fmt::Debug for StripeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeSettings").field("url", &self.url).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::hex;

    const SECRET: &str = "whsec_test";

    fn signed(body: &[u8], at_s: i64) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
        mac.update(format!("{at_s}.").as_bytes());
        mac.update(body);
        hex(&mac.finalize().into_bytes())
    }

    #[test]
    fn a_signature_is_good_for_its_body_and_its_time_only() {
        let (body, at_s) = (br#"{"id":"evt_1"}"#, 1_790_000_000);
        let good = signed(body, at_s);
        let check = |header: &str, body: &[u8], now_s| check_signature(SECRET, header, body, now_s);
        let header = format!("t={at_s},v1={good},v0=whatever");
        assert_eq!(check(&header, body, at_s), Ok(()));
        assert_eq!(check(&header, body, at_s + 300), Ok(()));
        assert_eq!(check(&header, body, at_s - 300), Ok(()));
        // While a secret is being replaced there are two.
        let other = "0".repeat(64);
        assert_eq!(check(&format!("t={at_s},v1={other},v1={good}"), body, at_s), Ok(()));
        for (header, now_s) in [
            (header.clone(), at_s + 301),
            (header.clone(), at_s - 301),
            (format!("t={},v1={good}", at_s + 1), at_s),
            (format!("t={at_s},v0={good}"), at_s),
            (format!("t={at_s},v1={other}"), at_s),
            (format!("t={at_s},v1={}", &good[1..]), at_s),
            (format!("t={at_s},v1={}é", &good[2..]), at_s),
            (format!("v1={good}"), at_s),
            (format!("t={},v1={good}", i64::MIN), i64::MAX),
            (String::new(), at_s),
        ] {
            assert_eq!(check(&header, body, now_s), Err(NoticeError::Signature), "{header}");
        }
        assert_eq!(check(&header, b"{}", at_s), Err(NoticeError::Signature));
        assert_eq!(check_signature("another", &header, body, at_s), Err(NoticeError::Signature));
    }
}
