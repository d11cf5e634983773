//! Reading the audit log.

use super::App;
use super::access::Actor;
use crate::db::audit::{self, AuditRow};
use crate::db::change::Scope;
use crate::error::AppError;
use crate::limits::MAX_PAGE;
use crate::role::Permission;

impl App {
    /// What was changed in an organisation, newest first: at most `count`, with revisions below `before`.
    pub(crate) async fn audit_log(
        &self,
        actor: &Actor,
        organisation_id: &str,
        before: Option<i64>,
        count: Option<i64>,
    ) -> Result<Vec<AuditRow>, AppError> {
        self.role_in(actor, organisation_id, Permission::ReadAudit).await?;
        let count = count.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        Ok(audit::page(self.db.pool(), organisation_id, before.unwrap_or(i64::MAX), count).await?)
    }

    /// What the operator changed that is no organisation's: prices, cells.
    pub(crate) async fn operator_audit_log(
        &self,
        actor: &Actor,
        before: Option<i64>,
        count: Option<i64>,
    ) -> Result<Vec<AuditRow>, AppError> {
        actor.operator()?;
        let count = count.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        Ok(audit::page(self.db.pool(), Scope::Operator.id(), before.unwrap_or(i64::MAX), count).await?)
    }

    /// What was changed in the caller's account.
    pub(crate) async fn own_audit_log(
        &self,
        actor: &Actor,
        before: Option<i64>,
        count: Option<i64>,
    ) -> Result<Vec<AuditRow>, AppError> {
        let (user_id, _) = actor.user()?;
        let count = count.unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE);
        Ok(audit::page(self.db.pool(), user_id, before.unwrap_or(i64::MAX), count).await?)
    }
}
