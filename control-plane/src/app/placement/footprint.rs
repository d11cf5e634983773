//! Where a tenant's telemetry says that production runs, against where the tenant is.

use serde_json::json;

use super::decision::{Decision, Unplaceable};
use super::{App, cells_of, choosable, most_capacity, needs_of, observations};
use crate::app::access::Actor;
use crate::app::placement::decision::Declaration;
use crate::app::quotas::plan::Plan;
use crate::db::change::{Entry, Scope};
use crate::db::placements::{self, ConflictRow, FootprintRow};
use crate::db::tenants::TenantRow;
use crate::db::{DbError, cells, from_json, members, organisations, tenants};
use crate::error::AppError;
use crate::limits::{CONFLICT_LIFE_MS, MAX_FOOTPRINT_ROWS, MAX_PAGE};
use crate::placement::{
    Conflict, FootprintReport, Needs, NoiseThreshold, Observation, Placed, PlacementError, Proposal,
    RegionRef, Role, review,
};
use crate::role::{self, Permission};

/// What telemetry says of a tenant's place.
#[derive(Debug)]
pub(crate) struct Footprint {
    /// Regions that production runs in, and those with too little to count.
    pub(crate) seen: Vec<Seen>,
    /// What names no region of the catalogue.
    pub(crate) unknown: Vec<Observation>,
    /// Overlaps with the tenant's cells, those that are over among them, the newest first.
    pub(crate) conflicts: Vec<ConflictRow>,
    /// What to do about those that are open.
    pub(crate) proposal: Option<Result<Decision, Unplaceable>>,
}

/// A region that telemetry came from.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) evidence: crate::placement::Seen,
    /// Whether it is too little to count.
    pub(crate) noise: bool,
}

impl From<FootprintRow> for Observation {
    fn from(row: FootprintRow) -> Self {
        Self {
            provider: row.provider,
            region: row.region,
            zone: row.zone,
            samples: u64::try_from(row.samples).unwrap_or_default(),
            first_seen_ms: row.first_seen_ms,
            last_seen_ms: row.last_seen_ms,
        }
    }
}

/// The regions that production was seen to run in.
pub(super) fn regions_seen(observations: &[Observation], needs: &Needs) -> Vec<RegionRef> {
    let (seen, _, _) = crate::placement::observed::seen(observations, needs, NoiseThreshold::default());
    seen.into_iter().map(|seen| seen.region).collect()
}

/// The role's name in the database.
const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Home => "home",
        Role::Standby => "standby",
    }
}

impl App {
    /// What telemetry says of a tenant's place.
    pub(crate) async fn footprint(&self, actor: &Actor, tenant_id: &str) -> Result<Footprint, AppError> {
        let tenant = self.tenant_for(actor, tenant_id, Permission::ReadOrganisation).await?;
        let mut connection = self.db.pool().acquire().await.map_err(DbError::from)?;
        let report = self.review(&mut connection, &tenant).await?;
        let conflicts = placements::conflicts(&mut *connection, tenant_id, MAX_PAGE).await?;
        let Some(report) = report else {
            return Ok(Footprint { seen: Vec::new(), unknown: Vec::new(), conflicts, proposal: None });
        };
        let counted = report.seen.into_iter().map(|evidence| Seen { evidence, noise: false });
        let noise = report.noise.into_iter().map(|evidence| Seen { evidence, noise: true });
        let proposal = report.proposal.map(|proposal| match proposal {
            Proposal::Move(placement) => Ok(Decision::from(&*placement)),
            Proposal::Impossible(why) => Err(Unplaceable::from(&*why)),
        });
        Ok(Footprint { seen: counted.chain(noise).collect(), unknown: report.unknown, conflicts, proposal })
    }

    /// Compares; `None` for a tenant that was never placed.
    async fn review(
        &self,
        db: &mut sqlx::AnyConnection,
        tenant: &TenantRow,
    ) -> Result<Option<FootprintReport>, AppError> {
        let Some(row) = placements::of_tenant(&mut *db, &tenant.id).await? else { return Ok(None) };
        let organisation = organisations::by_id(&mut *db, &tenant.organisation_id).await?;
        let plan =
            organisation.and_then(|organisation| Plan::parse(&organisation.plan)).unwrap_or(Plan::Free);
        let mut declaration: Declaration = from_json(&row.declaration)?;
        // It may be from the days of a larger plan.
        declaration.capacity = declaration.capacity.map(|capacity| capacity.min(most_capacity(plan)));
        let needs = needs_of(&declaration, plan, cells_of(Some(&row)))?;
        let cells = choosable(&cells::all(&mut *db).await?, &needs.current);
        let observed = observations(&mut *db, &tenant.id, self.now_ms()).await?;
        let placed = Placed { home: row.home_cell, standby: row.standby_cell };
        let report = review(&observed, &needs, &placed, &cells, NoiseThreshold::default());
        let mut report = report.map_err(|error: PlacementError| {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot compare a tenant's footprint");
            AppError::Internal
        })?;
        // A region that nothing comes from any more is avoided for a month, but nobody has to move for it.
        let since_ms = self.now_ms() - CONFLICT_LIFE_MS;
        report.conflicts.retain(|conflict| conflict.evidence.last_seen_ms >= since_ms);
        if report.conflicts.is_empty() {
            report.proposal = None;
        }
        Ok(Some(report))
    }

    /// Adds to what is known of where a tenant runs. New conflicts are noted, audited, and told to the owners and admins. What
    /// of a tenant's footprint names too many different places is left out.
    pub(in crate::app) async fn note_footprint(
        &self,
        tenant_id: &str,
        seen: &[Observation],
    ) -> Result<(), AppError> {
        let Some(tenant) = tenants::by_id(self.db.pool(), tenant_id).await? else { return Ok(()) };
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(&tenant.organisation_id)).await?;
        let mut known = placements::footprint(change.conn(), tenant_id, i64::MIN).await?;
        for observation in seen {
            // A clock that is ahead does not keep a place known for longer.
            let row = FootprintRow {
                provider: observation.provider.clone(),
                region: observation.region.clone(),
                zone: observation.zone.clone(),
                samples: i64::try_from(observation.samples).unwrap_or(i64::MAX),
                first_seen_ms: observation.first_seen_ms.min(now_ms),
                last_seen_ms: observation.last_seen_ms.min(now_ms),
            };
            let same = |other: &FootprintRow| {
                (&other.provider, &other.region, &other.zone) == (&row.provider, &row.region, &row.zone)
            };
            if !known.iter().any(same) {
                if known.len() >= MAX_FOOTPRINT_ROWS {
                    continue;
                }
                known.push(row.clone());
            }
            placements::add_to_footprint(change.conn(), tenant_id, &row).await?;
        }
        let new = self.new_conflicts(change.conn(), &tenant).await?;
        let Some((conflicts, proposal)) = new else {
            change.commit_silently().await?;
            return Ok(());
        };
        for conflict in &conflicts {
            let row = ConflictRow {
                role: role_name(conflict.role).to_owned(),
                cell: conflict.cell.clone(),
                region: conflict.evidence.region.to_string(),
                hidden: i64::from(conflict.hidden),
                raised_at_ms: now_ms,
                resolved_at_ms: None,
                resolution: None,
            };
            placements::raise_conflict(change.conn(), tenant_id, &row).await?;
        }
        let entry = Entry {
            at_ms: now_ms,
            actor: "operator".to_owned(),
            action: "placement.conflict",
            subject: tenant_id,
            details: json!({ "conflicts": conflicts, "proposal": proposal }),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        let told = described(&conflicts, proposal.as_ref());
        for member in members::all(self.db.pool(), &tenant.organisation_id).await? {
            if role::Role::parse(&member.role).is_some_and(|role| role.may(Permission::ManageTenants)) {
                self.post.placement_conflict(&member.email, &tenant.name, &told);
            }
        }
        Ok(())
    }

    /// Conflicts that are not open yet, if there are any, and what to do about them.
    async fn new_conflicts(
        &self,
        db: &mut sqlx::AnyConnection,
        tenant: &TenantRow,
    ) -> Result<Option<(Vec<Conflict>, Option<Proposal>)>, AppError> {
        let Some(report) = self.review(&mut *db, tenant).await? else { return Ok(None) };
        let raised = placements::conflicts(&mut *db, &tenant.id, i64::MAX).await?;
        let is_open = |conflict: &Conflict| {
            let region = conflict.evidence.region.to_string();
            raised.iter().filter(|row| row.resolved_at_ms.is_none()).any(|row| {
                (row.role.as_str(), &row.cell, &row.region)
                    == (role_name(conflict.role), &conflict.cell, &region)
            })
        };
        let new: Vec<Conflict> = report.conflicts.into_iter().filter(|conflict| !is_open(conflict)).collect();
        Ok((!new.is_empty()).then_some((new, report.proposal)))
    }
}

/// The conflicts and the proposal in sentences.
fn described(conflicts: &[Conflict], proposal: Option<&Proposal>) -> String {
    let mut text = String::new();
    for Conflict { role, cell, hidden, evidence } in conflicts {
        let how = if *hidden { "depends on" } else { "is in" };
        text.push_str(&format!(
            "- {} samples ({} in a thousand) came from {} ({}), and its {} cell {cell} {how} that region.\n",
            evidence.samples,
            evidence.per_mille,
            evidence.region,
            evidence.region.city,
            role_name(*role)
        ));
    }
    match proposal {
        Some(Proposal::Move(placement)) => {
            let standby = placement.standby.as_ref();
            let standby = standby.map_or_else(String::new, |cell| {
                format!(", with {} ({}) to fall back on", cell.cell, cell.region)
            });
            let home = &placement.home;
            text.push_str(&format!("\nA better place would be {} ({}){standby}.\n", home.cell, home.region));
        }
        Some(Proposal::Impossible(why)) => text.push_str(&format!("\nThere is no better place: {why}.\n")),
        None => {}
    }
    text
}
