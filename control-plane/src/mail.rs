//! Mails over SMTP, or into the log.

use async_trait::async_trait;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::ports::{Mail, MailError, Mailer};

/// Writes mails into the log, links and all: for who runs Farwatch for themselves and has no mail server.
#[derive(Debug)]
pub struct LogMailer;

#[async_trait]
impl Mailer for LogMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let Mail { to, subject, text } = mail;
        tracing::info!(to, subject, text, "a mail, written here since no mail server is set");
        Ok(())
    }
}

/// Whether mails can have this sender, such as `Farwatch <farwatch@example.com>`.
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.parse::<Mailbox>().is_ok()
}

/// Hands mails over to a mail server.
#[derive(Debug)]
pub struct SmtpMailer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

/// Why mails cannot be sent as was asked for.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    /// Not a URL of a mail server.
    #[error(
        "the mail server's URL is none: it is smtps://USER:PASSWORD@HOST, smtp://HOST:25?tls=required, or smtp://HOST:25 for a server without encryption"
    )]
    Url,
    /// Not an address.
    #[error("the sender of mails is no address such as 'Farwatch <farwatch@example.com>'")]
    From,
}

impl SmtpMailer {
    /// `url` says where the server is and how to speak with it: `smtps://` is TLS from the start, `smtp://…?tls=required` is
    /// STARTTLS, `smtp://` is plain text. `from` is the sender of all mails.
    ///
    /// # Errors
    /// [`SmtpError`]. Neither holds any of the URL, which may have a password in it.
    pub fn new(url: &str, from: &str) -> Result<Self, SmtpError> {
        let transport = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(|_| SmtpError::Url)?;
        let from = from.parse().map_err(|_| SmtpError::From)?;
        Ok(Self { transport: transport.build(), from })
    }
}

#[async_trait]
impl Mailer for SmtpMailer {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        let to: Mailbox = mail.to.parse().map_err(|error| MailError(Box::new(error)))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(to)
            .subject(&mail.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(mail.text.clone())
            .map_err(|error| MailError(Box::new(error)))?;
        self.transport.send(message).await.map_err(|error| MailError(Box::new(error)))?;
        Ok(())
    }
}
