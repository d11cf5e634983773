//! Mails, sent after the request that asked for them was answered: its time says nothing about who has an account.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::quotas::plan::QuotaName;
use crate::billing::money::group_thousands;
use crate::limits::{MAIL_TIME, MAX_MAILS_WAITING};
use crate::ports::{Mail, MailError, Mailer};
use crate::secret::Secret;

/// What the links in mails begin with, and the queue of mails.
pub(crate) struct PostOffice {
    public_url: String,
    queue: mpsc::Sender<Mail>,
}

/// Sends what is queued until every [`PostOffice`] of the queue is gone.
pub(crate) struct Postman {
    mailer: Arc<dyn Mailer>,
    queue: mpsc::Receiver<Mail>,
}

impl PostOffice {
    pub(crate) fn new(public_url: &str, mailer: Arc<dyn Mailer>) -> (Self, Postman) {
        let (sender, receiver) = mpsc::channel(MAX_MAILS_WAITING);
        let public_url = public_url.trim_end_matches('/').to_owned();
        (Self { public_url, queue: sender }, Postman { mailer, queue: receiver })
    }

    pub(crate) fn confirm_signup(&self, to: &str, token: &Secret) {
        let text = format!(
            "Somebody, most likely you, signed up at Farwatch with this e-mail address.\n\n\
             To confirm it, open this link within a day and give the password that you chose:\n\n{}\n\n\
             Or at a shell: farwatch signup --email {to} --confirm LINK\n\n\
             If it was not you, do nothing: without the link there is no account.\n",
            self.link("verify", token)
        );
        self.send(to, "Confirm your Farwatch account", text);
    }

    pub(crate) fn account_exists(&self, to: &str) {
        let text = "Somebody, most likely you, signed up at Farwatch with this e-mail address, which has an account already.\n\n\
             Log in with it; if you have forgotten the password, ask for a new one.\n\n\
             If it was not you, do nothing: your account is as it was.\n";
        self.send(to, "You have a Farwatch account already", text.to_owned());
    }

    pub(crate) fn reset_password(&self, to: &str, token: &Secret) {
        let text = format!(
            "Somebody, most likely you, asked for a new password for your Farwatch account.\n\n\
             To choose one, open this link within an hour:\n\n{}\n\n\
             If it was not you, do nothing: your password is as it was.\n",
            self.link("reset", token)
        );
        self.send(to, "Choose a new Farwatch password", text);
    }

    pub(crate) fn invite(&self, to: &str, organisation: &str, token: &Secret) {
        let text = format!(
            "You are invited to join {organisation} at Farwatch.\n\n\
             To join, open this link within a week. It takes an account with this e-mail address; if you have none, sign up first \
             (`farwatch signup`):\n\n{}\n",
            self.link("join", token)
        );
        self.send(to, "You are invited to an organisation at Farwatch", text);
    }

    pub(crate) fn limit_near(&self, to: &str, tenant: &str, limit: QuotaName, used: u64, allowed: u64) {
        let (name, unit) = (limit.as_str(), limit.unit());
        let (shown, bound) = (group_thousands(used), group_thousands(allowed));
        let (subject, what) = if used >= allowed {
            let subject = format!("{tenant} has reached its limit of {bound} {unit}");
            (subject, format!("{tenant} has reached its limit {name}: {shown} {unit}, of {bound}."))
        } else {
            let percent = u128::from(used) * 100 / u128::from(allowed);
            let subject = format!("{tenant} uses {percent} % of its limit of {bound} {unit}");
            (subject, format!("{tenant} uses {percent} % of its limit {name}: {shown} {unit}, of {bound}."))
        };
        let text = format!(
            "{what}\n\n\
             What goes beyond a limit is refused, that of API keys of the lowest priority first. Limits can be changed: PUT \
             /api/control/v1/tenants/TENANT/quotas, or `farwatch quota`.\n"
        );
        self.send(to, &subject, text);
    }

    pub(crate) fn placement_conflict(&self, to: &str, tenant: &str, told: &str) {
        let text = format!(
            "Farwatch keeps your telemetry away from where you run. That is no longer so for {tenant}:\n\n{told}\n\
             Declare where it runs now, and it is placed anew: PUT /api/control/v1/tenants/TENANT/placement, or `farwatch placement`.\n"
        );
        self.send(to, &format!("{tenant} runs where its telemetry is kept"), text);
    }

    /// Where somebody sees an invoice.
    pub(crate) fn invoice_page(&self, organisation: &str, month: &str) -> String {
        format!("{}/organisations/{organisation}/invoices/{month}", self.public_url)
    }

    pub(crate) fn invoice_ready(&self, to: &str, organisation: &str, number: &str, month: &str, total: &str) {
        let text = format!(
            "Invoice {number} for {month} is final. To be paid: {total}.\n\n\
             See it, and pay it, here:\n\n{}\n",
            self.invoice_page(organisation, month)
        );
        self.send(to, &format!("Farwatch invoice {number} for {month}"), text);
    }

    pub(crate) fn spend_limit(&self, to: &str, organisation: &str, percent: u8, spent: &str, limit: &str) {
        let then = if percent >= 100 {
            "From now on writes are refused, until the limit is raised or the month ends (UTC). Queries and alerts go on, and what is \
             stored stays."
        } else {
            "When the limit is reached, writes are refused until it is raised or the month ends (UTC)."
        };
        let text = format!(
            "{organisation} has spent {spent} this month: {percent} % of its spend limit of {limit}.\n\n{then}\n"
        );
        self.send(to, &format!("{percent} % of your Farwatch spend limit"), text);
    }

    /// The token stands behind `#`, which browsers do not send: it is in no server's log.
    fn link(&self, page: &str, token: &Secret) -> String {
        format!("{}/{page}#token={}", self.public_url, token.expose())
    }

    fn send(&self, to: &str, subject: &str, text: String) {
        let mail = Mail { to: to.to_owned(), subject: subject.to_owned(), text };
        if self.queue.try_send(mail).is_err() {
            tracing::error!(subject, "a mail was dropped: {MAX_MAILS_WAITING} are waiting to be sent");
        }
    }
}

impl Postman {
    pub(crate) async fn run(mut self) {
        while let Some(mail) = self.queue.recv().await {
            let sent = match tokio::time::timeout(MAIL_TIME, self.mailer.send(&mail)).await {
                Ok(sent) => sent,
                Err(elapsed) => Err(MailError(Box::new(elapsed))),
            };
            if let Err(error) = sent {
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    subject = mail.subject,
                    "a mail was not sent; its addressee may ask again"
                );
            }
        }
    }
}
