//! What the control plane needs of the world: each is given to it, so that any behaviour can be replayed.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

/// A source of time.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since the Unix epoch, UTC. May jump either way.
    fn now_ms(&self) -> i64;

    /// Time since an arbitrary fixed point. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The place in a cell's bucket where the tenant directory lies, as bytes: signing and merging are the control plane's.
#[async_trait]
pub trait DirectoryPublisher: Send + Sync + Debug {
    /// What is published now, if anything is.
    ///
    /// # Errors
    /// [`PublishError`] when the place cannot be reached.
    async fn current(&self) -> Result<Option<Published>, PublishError>;

    /// Puts `document` there if what is there is still what `replaces` names (nothing, for `None`). `false` when it is not.
    ///
    /// # Errors
    /// [`PublishError`] when the place cannot be reached; the document may have been put all the same.
    async fn publish(&self, document: Vec<u8>, replaces: Option<&str>) -> Result<bool, PublishError>;
}

/// A published directory.
#[derive(Clone, Debug)]
pub struct Published {
    /// The document.
    pub document: Vec<u8>,
    /// Names this version of it: an `ETag`.
    pub tag: String,
}

/// The place of the directory cannot be reached. Tried again later.
#[derive(Debug, thiserror::Error)]
#[error("cannot publish the tenant directory")]
pub struct PublishError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Sends mails.
#[async_trait]
pub trait Mailer: Send + Sync + Debug {
    /// Hands a mail over to who delivers it.
    ///
    /// # Errors
    /// [`MailError`] when it is not taken.
    async fn send(&self, mail: &Mail) -> Result<(), MailError>;
}

/// A mail. Its text may hold a secret link: `Debug` leaves it out.
#[derive(Clone)]
pub struct Mail {
    /// The address.
    pub to: String,
    /// The subject line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

impl Debug for Mail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mail").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// A mail was not taken.
#[derive(Debug, thiserror::Error)]
#[error("cannot send a mail")]
pub struct MailError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
