//! Conflicts end by themselves: when the tenant has left the cell, by a proposal that was accepted or otherwise, when nothing has come
//! from the region for [`CONFLICT_LIFE_MS`], and when the tenant is deleted.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use sqlx::AnyConnection;

use super::{App, observations};
use crate::db::change::{Change, Entry, Scope};
use crate::db::placements::{self, ConflictRow, PlacementRow};
use crate::db::{DbError, tenants};
use crate::limits::CONFLICT_LIFE_MS;
use crate::placement::observed::last_seen;

/// Why a conflict is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolution {
    /// The tenant is in another cell.
    Moved,
    /// Nothing has come from the region for a while.
    NotSeen,
    /// The tenant was deleted.
    TenantDeleted,
}

impl Resolution {
    /// The name in the API and in the database.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Moved => "moved",
            Self::NotSeen => "not_seen",
            Self::TenantDeleted => "tenant_deleted",
        }
    }
}

/// A conflict that is over, for the audit log.
#[derive(Debug, Serialize)]
pub(in crate::app) struct Ended {
    role: String,
    cell: String,
    region: String,
    raised_at_ms: i64,
    resolution: &'static str,
}

impl App {
    /// Ends the conflicts that are over. To be called when all reports are counted. Doing it again does nothing.
    pub(crate) async fn end_conflicts(&self) -> Result<(), DbError> {
        for tenant_id in placements::with_open_conflicts(self.db.pool()).await? {
            let mut db = self.db.pool().acquire().await?;
            let over = self.over(&mut db, &tenant_id).await?;
            drop(db);
            let organisation = tenants::organisation_of(self.db.pool(), &tenant_id).await?;
            let Some(organisation) = organisation.filter(|_| !over.is_empty()) else { continue };
            let mut change = self.db.change().await?;
            change.lock(Scope::Organisation(&organisation)).await?;
            // Something may have been seen meanwhile.
            let ended = self.end_conflicts_in(&mut change, &tenant_id).await?;
            if ended.is_empty() {
                continue;
            }
            let entry = Entry {
                at_ms: self.now_ms(),
                actor: "operator".to_owned(),
                action: "placement.conflict_ended",
                subject: &tenant_id,
                details: json!({ "conflicts": ended }),
            };
            change.commit(Scope::Organisation(&organisation), entry).await?;
        }
        Ok(())
    }

    /// The same for one tenant, in a change of its organisation.
    pub(in crate::app) async fn end_conflicts_in(
        &self,
        change: &mut Change,
        tenant_id: &str,
    ) -> Result<Vec<Ended>, DbError> {
        let now_ms = self.now_ms();
        let mut ended = Vec::new();
        for (conflict, why) in self.over(change.conn(), tenant_id).await? {
            let resolution = why.as_str();
            placements::end_conflict(change.conn(), tenant_id, &conflict, now_ms, resolution).await?;
            let ConflictRow { role, cell, region, raised_at_ms, .. } = conflict;
            ended.push(Ended { role, cell, region, raised_at_ms, resolution });
        }
        Ok(ended)
    }

    /// The open conflicts of a tenant that are over.
    async fn over(
        &self,
        db: &mut AnyConnection,
        tenant_id: &str,
    ) -> Result<Vec<(ConflictRow, Resolution)>, DbError> {
        let mut open = placements::conflicts(&mut *db, tenant_id, i64::MAX).await?;
        open.retain(|conflict| conflict.resolved_at_ms.is_none());
        if open.is_empty() {
            return Ok(Vec::new());
        }
        let exists = tenants::by_id(&mut *db, tenant_id).await?.is_some();
        let placed = placements::of_tenant(&mut *db, tenant_id).await?;
        let now_ms = self.now_ms();
        let seen: BTreeMap<String, i64> = last_seen(&observations(db, tenant_id, now_ms).await?)
            .into_iter()
            .map(|(region, at_ms)| (region.to_string(), at_ms))
            .collect();
        let why = |conflict: &ConflictRow| {
            let is_fresh =
                seen.get(&conflict.region).is_some_and(|at_ms| *at_ms >= now_ms - CONFLICT_LIFE_MS);
            match (exists, is_in(placed.as_ref(), conflict), is_fresh) {
                (false, ..) => Some(Resolution::TenantDeleted),
                (true, false, _) => Some(Resolution::Moved),
                (true, true, false) => Some(Resolution::NotSeen),
                (true, true, true) => None,
            }
        };
        Ok(open.into_iter().filter_map(|conflict| why(&conflict).map(|why| (conflict, why))).collect())
    }
}

/// Whether the tenant is in the conflict's cell, in the same role, still.
fn is_in(placed: Option<&PlacementRow>, conflict: &ConflictRow) -> bool {
    placed.is_some_and(|placed| match conflict.role.as_str() {
        "standby" => placed.standby_cell.as_ref() == Some(&conflict.cell),
        _ => placed.home_cell == conflict.cell,
    })
}
