//! The one way to write: a transaction that ends with an entry in the audit log.

use std::ops::DerefMut as _;

use serde_json::Value;
use sqlx::{Any, AnyConnection, Transaction};

use super::{Db, DbError, audit, outbox};
use crate::random::Random;

/// What a change belongs to: its audit log, and the lock that orders its changes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scope<'a> {
    Organisation(&'a str),
    Account(&'a str),
    /// Who runs the control plane: what is no organisation's.
    Operator,
}

impl<'a> Scope<'a> {
    pub(crate) fn id(self) -> &'a str {
        match self {
            Self::Organisation(id) | Self::Account(id) => id,
            Self::Operator => "operator",
        }
    }
}

/// What the audit log says of a change.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) at_ms: i64,
    /// Who: `user:ID`, `key:ID`, or `operator`.
    pub(crate) actor: String,
    /// What was done, as `noun.verb`.
    pub(crate) action: &'static str,
    /// To which thing: an id, or an address.
    pub(crate) subject: &'a str,
    /// More of it. Never a secret.
    pub(crate) details: Value,
}

/// A transaction. Dropped without a commit, it has never been.
pub(crate) struct Change {
    transaction: Transaction<'static, Any>,
}

impl Db {
    /// Begins one.
    pub(crate) async fn change(&self) -> Result<Change, DbError> {
        Ok(Change { transaction: self.pool.begin_with(self.begin).await? })
    }
}

impl Change {
    /// For the aggregates' statements.
    pub(crate) fn conn(&mut self) -> &mut AnyConnection {
        self.transaction.deref_mut()
    }

    /// Waits for other changes in `scope` and keeps others out until this one is done: what is read from here on stays true.
    /// `false` when there is no such scope.
    pub(crate) async fn lock(&mut self, scope: Scope<'_>) -> Result<bool, DbError> {
        let sql = match scope {
            // Only an entry in the log counts as a revision: whoever finds nothing to change leaves no gap.
            Scope::Organisation(_) => "UPDATE organisations SET revision = revision WHERE id = $1",
            Scope::Account(_) => "UPDATE users SET revision = revision WHERE id = $1",
            Scope::Operator => "UPDATE operators SET revision = revision WHERE id = $1",
        };
        let done = sqlx::query(sql).bind(scope.id().to_owned()).execute(self.conn()).await?;
        Ok(done.rows_affected() == 1)
    }

    /// The tenant directory has to be published anew once this is committed.
    pub(crate) async fn touch_directory(&mut self, random: &Random, now_ms: i64) -> Result<(), DbError> {
        outbox::add(self.conn(), &random.id("pub"), now_ms).await
    }

    /// Puts an entry into the log of `scope`, which must be locked or made by this change.
    pub(crate) async fn note(&mut self, scope: Scope<'_>, entry: &Entry<'_>) -> Result<(), DbError> {
        audit::add(self.conn(), scope, entry).await
    }

    /// Makes it so, with `entry` in the log of `scope`, which must be locked or made by this change.
    pub(crate) async fn commit(mut self, scope: Scope<'_>, entry: Entry<'_>) -> Result<(), DbError> {
        self.note(scope, &entry).await?;
        self.transaction.commit().await?;
        Ok(())
    }

    /// Makes it so without another entry: for what is noted already, and for what is no change in the eyes of its owner, such as a
    /// token that was used.
    pub(crate) async fn commit_silently(self) -> Result<(), DbError> {
        self.transaction.commit().await?;
        Ok(())
    }
}
