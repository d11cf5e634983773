//! Settings of the control plane.

use std::fmt;

use control_plane::Plan;

use super::setting::topic;
use super::value::{ServerUrl, SettingValue};

topic! {
    /// Accounts, API keys and limits: what a process with the role `control-plane` needs.
    pub struct ControlSettings {
        /// The SQL database: `sqlite://FILE` or `postgres://USER:PASSWORD@HOST/NAME`. Not set: the file `control-plane.sqlite` in
        /// `data-dir`. While it is away, writes, queries and known API keys go on.
        database_url: Option<SecretUrl> = "", "URL";
        /// What the links in mails begin with. Not set: `http://` and the address of the HTTP port.
        public_url: Option<ServerUrl> = "", "URL";
        /// The mail server: `smtps://USER:PASSWORD@HOST` for TLS, `smtp://HOST:25?tls=required` for STARTTLS, `smtp://HOST:25`
        /// without. Not set: mails, links and all, are written to the log.
        smtp_url: Option<SecretUrl> = "", "URL";
        /// The sender of mails.
        mail_from: MailAddress = "Farwatch <farwatch@localhost>", "ADDRESS";
        /// Who invoices come from: the name on them.
        invoice_from: Line = "Farwatch", "NAME";
        /// What customers are told who want to pay an invoice while no Stripe is set: where the money goes. The operator notes
        /// payments.
        payment_instructions: Line = "Ask your Farwatch operator how to pay.", "TEXT";
        /// Stripe's secret key. With it and `stripe-webhook-secret`, invoices are paid on a page of Stripe's.
        stripe_api_key: Option<SecretUrl> = "", "KEY";
        /// The signing secret of the webhook that Stripe sends to `/api/control/v1/payments/webhook`, with the events
        /// `checkout.session.completed` and `checkout.session.async_payment_succeeded`.
        stripe_webhook_secret: Option<SecretUrl> = "", "SECRET";
        /// Where Stripe's API is.
        stripe_url: ServerUrl = "https://api.stripe.com", "URL";
        /// The limits of new organisations: those of the plan `free`, `team` or `unlimited`.
        default_plan: Plan = "unlimited", "PLAN";
    }
}

/// A line of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line(String);

impl Line {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingValue for Line {
    fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(char::is_control) {
            Err("one line of text".to_owned())
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// A URL that may hold a password, or another secret: neither shown nor repeated.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// The text. Never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretUrl(…)")
    }
}

impl SettingValue for SecretUrl {
    /// Takes any text: an error would repeat it. Who uses it says what is wrong, without its words.
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.to_owned()))
    }
}

/// The sender of mails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress(String);

impl MailAddress {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SettingValue for MailAddress {
    fn parse(text: &str) -> Result<Self, String> {
        let expected = || "an address such as 'Farwatch <farwatch@example.com>'".to_owned();
        if control_plane::mail::is_address(text) { Ok(Self(text.to_owned())) } else { Err(expected()) }
    }
}

impl SettingValue for Plan {
    fn parse(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|plan| plan.as_str() == text)
            .ok_or_else(|| "one of free, team and unlimited".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_password_is_not_shown() {
        let url = SecretUrl::parse("postgres://ada:hidden@db.example.com/farwatch").unwrap();
        assert!(!format!("{url:?}").contains("hidden"));
        assert!(url.expose().contains("hidden"));
    }

    #[test]
    fn reads_senders_and_plans() {
        for good in ["farwatch@example.com", "Farwatch <farwatch@example.com>"] {
            assert_eq!(MailAddress::parse(good).unwrap().as_str(), good);
        }
        assert!(MailAddress::parse("Farwatch").is_err());
        assert_eq!(Plan::parse("team"), Ok(Plan::Team));
        assert!(Plan::parse("Team").is_err());
    }
}
