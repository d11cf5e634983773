//! The audit log.

use sqlx::{AnyConnection, AnyPool, FromRow};

use super::DbError;
use super::change::{Entry, Scope};

#[derive(Debug, FromRow)]
pub(crate) struct AuditRow {
    pub(crate) revision: i64,
    pub(crate) at_ms: i64,
    pub(crate) actor: String,
    pub(crate) action: String,
    pub(crate) subject: String,
    pub(crate) details: String,
}

pub(super) async fn add(db: &mut AnyConnection, scope: Scope<'_>, entry: &Entry<'_>) -> Result<(), DbError> {
    let count = match scope {
        Scope::Organisation(_) => "UPDATE organisations SET revision = revision + 1 WHERE id = $1",
        Scope::Account(_) => "UPDATE users SET revision = revision + 1 WHERE id = $1",
        Scope::Operator => "UPDATE operators SET revision = revision + 1 WHERE id = $1",
    };
    sqlx::query(count).bind(scope.id().to_owned()).execute(&mut *db).await?;
    let sql = match scope {
        Scope::Organisation(_) => {
            "INSERT INTO audit_log (scope, revision, at_ms, actor, action, subject, details)
             SELECT id, revision, $2, $3, $4, $5, $6 FROM organisations WHERE id = $1"
        }
        Scope::Account(_) => {
            "INSERT INTO audit_log (scope, revision, at_ms, actor, action, subject, details)
             SELECT id, revision, $2, $3, $4, $5, $6 FROM users WHERE id = $1"
        }
        Scope::Operator => {
            "INSERT INTO audit_log (scope, revision, at_ms, actor, action, subject, details)
             SELECT id, revision, $2, $3, $4, $5, $6 FROM operators WHERE id = $1"
        }
    };
    let done = sqlx::query(sql)
        .bind(scope.id().to_owned())
        .bind(entry.at_ms)
        .bind(entry.actor.clone())
        .bind(entry.action)
        .bind(entry.subject.to_owned())
        .bind(entry.details.to_string())
        .execute(db)
        .await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(sqlx::Error::RowNotFound.into()) }
}

/// The newest entries with a lower revision than `before`, newest first.
pub(crate) async fn page(
    db: &AnyPool,
    scope: &str,
    before: i64,
    count: i64,
) -> Result<Vec<AuditRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT revision, at_ms, actor, action, subject, details FROM audit_log
         WHERE scope = $1 AND revision < $2 ORDER BY revision DESC LIMIT $3",
    )
    .bind(scope.to_owned())
    .bind(before)
    .bind(count)
    .fetch_all(db)
    .await?;
    Ok(rows)
}
