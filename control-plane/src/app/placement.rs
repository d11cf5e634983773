//! Where tenants are: away from where they run, with reasons, and watched afterwards.
//!
//! The solver ([`crate::placement`]) is pure; here it is given what a tenant declared, where its telemetry said that it runs, and
//! the cells with what is free in them. Placements have their turn one after the other, so that no room is promised twice.

mod cells;
mod conflicts;
pub(crate) mod decision;
mod footprint;

use serde_json::json;
use sqlx::AnyConnection;

use super::App;
use super::access::Actor;
use super::quotas::plan::{Plan, QuotaName};
use crate::db::cells::{self as cell_rows, CellRow};
use crate::db::change::{Change, Entry, Scope};
use crate::db::placements::{self, PlacementRow};
use crate::db::tenants::TenantRow;
use crate::db::{DbError, from_json, organisations, to_json};
use crate::error::AppError;
use crate::limits::{FOOTPRINT_LIFE_MS, MAX_CELL_ID_BYTES, MAX_DECLARED_CAPACITY, MAX_DECLARED_PLACES};
use crate::placement::limits::MAX_CELLS;
use crate::placement::{Cell, Dependency, Needs, Observation, PlacementError, RegionRef, place, resolve};
use crate::role::Permission;
use decision::{Decision, Declaration, Unplaceable};

pub(crate) use footprint::Footprint;

/// What is kept free for a tenant whose plan has no limit and who says nothing, in samples a second.
const CAPACITY: u64 = 100_000;

/// Where a tenant is.
#[derive(Debug)]
pub(crate) struct Placed {
    pub(crate) declaration: Declaration,
    pub(crate) decision: Decision,
    pub(crate) decided_at_ms: i64,
}

impl TryFrom<PlacementRow> for Placed {
    type Error = DbError;

    fn try_from(row: PlacementRow) -> Result<Self, DbError> {
        Ok(Self {
            declaration: from_json(&row.declaration)?,
            decision: from_json(&row.decision)?,
            decided_at_ms: row.decided_at_ms,
        })
    }
}

/// What the operator says of a cell.
#[derive(Debug)]
pub(crate) struct NewCell {
    pub(crate) id: String,
    pub(crate) region: String,
    pub(crate) depends_on: Vec<String>,
    /// Samples a second.
    pub(crate) capacity: u64,
    pub(crate) cost_index: u32,
    pub(crate) open: bool,
}

/// A cell as the solver has it.
fn cell_of(row: &CellRow) -> Option<Cell> {
    let dependencies = row.depends_on.split_ascii_whitespace();
    let depends_on: Result<Vec<Dependency>, _> =
        dependencies.map(|text| Dependency::try_from(text.to_owned())).collect();
    Some(Cell {
        id: row.id.clone(),
        region: RegionRef::try_from(row.region.clone()).ok()?,
        depends_on: depends_on.ok()?,
        capacity: u64::try_from(row.capacity).ok()?,
        used: u64::try_from(row.used).ok()?,
        cost_index: u32::try_from(row.cost_index).ok()?,
    })
}

/// The cells that a tenant may be placed in: those that are open, and those that it is in.
fn choosable(rows: &[CellRow], current: &[String]) -> Vec<Cell> {
    let open = rows.iter().filter(|row| row.closed_at_ms.is_none() || current.contains(&row.id));
    open.filter_map(|row| {
        let cell = cell_of(row);
        if cell.is_none() {
            tracing::error!(cell = row.id, "a cell in the database is none that this version can read");
        }
        cell
    })
    .collect()
}

/// The most room that a tenant may declare that it needs, in samples a second: what it may send at all.
fn most_capacity(plan: Plan) -> u64 {
    plan.ceiling(QuotaName::SamplesPerSecond).unwrap_or(MAX_DECLARED_CAPACITY)
}

/// What a tenant declared, read; anything wrong names its field.
fn needs_of(declaration: &Declaration, plan: Plan, current: Vec<String>) -> Result<Needs, AppError> {
    for (field, texts) in [
        ("production", &declaration.production),
        ("standby", &declaration.standby),
        ("residency", &declaration.residency),
    ] {
        if texts.len() > MAX_DECLARED_PLACES {
            return Err(AppError::invalid(field, format!("has {MAX_DECLARED_PLACES} entries at most")));
        }
    }
    for (field, texts) in [("production", &declaration.production), ("standby", &declaration.standby)] {
        for text in texts {
            resolve(None, text)
                .map_err(|error| AppError::invalid(field, format!("names no region: {error}")))?;
        }
    }
    let most = most_capacity(plan);
    if declaration.capacity.is_some_and(|capacity| capacity > most) {
        return Err(AppError::invalid(
            "capacity",
            format!("is {most} at most on the plan {}", plan.as_str()),
        ));
    }
    let capacity = plan.default(QuotaName::SamplesPerSecond).unwrap_or(CAPACITY);
    // Regions are good, so what is wrong now is a place.
    let request = declaration.request(capacity, current);
    request.resolve().map_err(|error| AppError::invalid("residency", format!("names no place: {error}")))
}

fn solved(needs: &Needs, cells: &[Cell]) -> Result<Decision, AppError> {
    place(needs, cells).map(|placement| Decision::from(&placement)).map_err(|error| match error {
        PlacementError::Impossible(why) => AppError::Unplaceable(Box::new(Unplaceable::from(&*why))),
        PlacementError::NoCells => {
            AppError::Conflict("there are no cells to place a tenant in; ask the operator".to_owned())
        }
        other => {
            tracing::error!(error = &other as &dyn std::error::Error, "cannot place a tenant");
            AppError::Internal
        }
    })
}

/// What telemetry said, as the solver has it.
async fn observations(
    db: &mut AnyConnection,
    tenant_id: &str,
    now_ms: i64,
) -> Result<Vec<Observation>, DbError> {
    let rows = placements::footprint(db, tenant_id, now_ms - FOOTPRINT_LIFE_MS).await?;
    Ok(rows.into_iter().map(Observation::from).collect())
}

fn cells_of(row: Option<&PlacementRow>) -> Vec<String> {
    row.into_iter()
        .flat_map(|row| [Some(row.home_cell.clone()), row.standby_cell.clone()])
        .flatten()
        .collect()
}

impl App {
    /// The cells of a control plane that was given none.
    pub(crate) async fn make_default_cells(&self) -> Result<(), DbError> {
        let mut change = self.db.change().await?;
        placements::take_turn(change.conn()).await?;
        if cell_rows::all(change.conn()).await?.is_empty() {
            for cell in cells::defaults() {
                cell_rows::put(change.conn(), &cell).await?;
            }
        }
        change.commit_silently().await
    }

    /// Adds a cell, or changes it; what is promised in it stays. A closed one takes no more tenants.
    pub(crate) async fn put_cell(&self, actor: &Actor, cell: &NewCell) -> Result<(), AppError> {
        actor.operator()?;
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=MAX_CELL_ID_BYTES).contains(&cell.id.len()) || !cell.id.bytes().all(good) {
            let problem = format!("has 1 to {MAX_CELL_ID_BYTES} letters a to z, digits and dashes");
            return Err(AppError::invalid("cell", problem));
        }
        let region = resolve(None, &cell.region)
            .map_err(|error| AppError::invalid("region", format!("names no region: {error}")))?;
        if cell.depends_on.len() > MAX_DECLARED_PLACES {
            return Err(AppError::invalid(
                "depends_on",
                format!("has {MAX_DECLARED_PLACES} entries at most"),
            ));
        }
        let mut depends_on = Vec::with_capacity(cell.depends_on.len());
        for text in &cell.depends_on {
            let dependency = Dependency::try_from(text.clone()).map_err(|error| {
                AppError::invalid("depends_on", format!("names neither region nor provider: {error}"))
            })?;
            depends_on.push(dependency.to_string());
        }
        let capacity =
            i64::try_from(cell.capacity).map_err(|_| AppError::invalid("capacity", "is too large"))?;
        let mut change = self.db.change().await?;
        change.lock(Scope::Operator).await?;
        placements::take_turn(change.conn()).await?;
        let known = cell_rows::all(change.conn()).await?;
        let before = known.iter().find(|row| row.id == cell.id);
        if before.is_some_and(|row| row.region != region.to_string()) {
            return Err(AppError::Conflict("a cell stays in its region; make another one".to_owned()));
        }
        if before.is_none() && known.len() >= MAX_CELLS {
            return Err(AppError::Full(format!("there are {MAX_CELLS} cells at most")));
        }
        let closed_before = before.and_then(|row| row.closed_at_ms);
        let row = CellRow {
            id: cell.id.clone(),
            region: region.to_string(),
            depends_on: depends_on.join(" "),
            capacity,
            cost_index: cell.cost_index.into(),
            closed_at_ms: if cell.open { None } else { closed_before.or(Some(self.now_ms())) },
            used: 0,
        };
        cell_rows::put(change.conn(), &row).await?;
        let shown = |row: &CellRow| {
            json!({
                "region": row.region,
                "depends_on": row.depends_on,
                "capacity": row.capacity,
                "cost_index": row.cost_index,
                "open": row.closed_at_ms.is_none(),
            })
        };
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: "cell.set",
            subject: &row.id,
            details: json!({ "before": before.map(shown), "cell": shown(&row) }),
        };
        change.commit(Scope::Operator, entry).await?;
        Ok(())
    }

    /// The cells that there are.
    pub(crate) async fn cells(&self, actor: &Actor) -> Result<Vec<CellRow>, AppError> {
        actor.user()?;
        Ok(cell_rows::all(self.db.pool()).await?)
    }

    /// Finds a place for a tenant and notes it, in a change of its organisation.
    pub(super) async fn place_tenant(
        &self,
        change: &mut Change,
        tenant: &TenantRow,
        declaration: &Declaration,
    ) -> Result<Decision, AppError> {
        placements::take_turn(change.conn()).await?;
        let current = placements::of_tenant(change.conn(), &tenant.id).await?;
        let (needs, decision) =
            self.solve(change.conn(), tenant, declaration, cells_of(current.as_ref())).await?;
        let now_ms = self.now_ms();
        let (home, standby) = (&decision.home.cell, decision.standby.as_ref().map(|standby| &standby.cell));
        let row = PlacementRow {
            tenant_id: tenant.id.clone(),
            declaration: to_json(declaration)?,
            home_cell: home.clone(),
            standby_cell: standby.cloned(),
            capacity: i64::try_from(needs.capacity).unwrap_or(i64::MAX),
            decision: to_json(&decision)?,
            decided_at_ms: now_ms,
        };
        placements::put(change.conn(), &row).await?;
        Ok(decision)
    }

    async fn solve(
        &self,
        db: &mut AnyConnection,
        tenant: &TenantRow,
        declaration: &Declaration,
        current: Vec<String>,
    ) -> Result<(Needs, Decision), AppError> {
        let organisation = organisations::by_id(&mut *db, &tenant.organisation_id).await?;
        let plan = organisation.ok_or(AppError::NotFound("tenant"))?.plan;
        let plan = Plan::parse(&plan).unwrap_or(Plan::Free);
        let cells = choosable(&cell_rows::all(&mut *db).await?, &current);
        let mut needs = needs_of(declaration, plan, current)?;
        // Where it was seen to run counts like what it declared.
        needs
            .production
            .extend(footprint::regions_seen(&observations(db, &tenant.id, self.now_ms()).await?, &needs));
        let decision = solved(&needs, &cells)?;
        Ok((needs, decision))
    }

    /// Where a tenant is, and why; `None` for one that is older than placements and was never placed.
    pub(crate) async fn placement(&self, actor: &Actor, tenant_id: &str) -> Result<Option<Placed>, AppError> {
        self.tenant_for(actor, tenant_id, Permission::ReadOrganisation).await?;
        let row = placements::of_tenant(self.db.pool(), tenant_id).await?;
        Ok(row.map(Placed::try_from).transpose()?)
    }

    /// Takes over what a tenant declares, and places it accordingly.
    pub(crate) async fn declare_placement(
        &self,
        actor: &Actor,
        tenant_id: &str,
        declaration: Declaration,
    ) -> Result<Placed, AppError> {
        let (mut change, tenant) = self.change_tenant(actor, tenant_id, Permission::ManageTenants).await?;
        let before = placements::of_tenant(change.conn(), tenant_id).await?;
        let decision = self.place_tenant(&mut change, &tenant, &declaration).await?;
        let ended = self.end_conflicts_in(&mut change, tenant_id).await?;
        let now_ms = self.now_ms();
        change.touch_directory(&self.random, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "placement.set",
            subject: tenant_id,
            details: json!({
                "declaration": declaration,
                "before": cells_of(before.as_ref()),
                "home": decision.home.cell,
                "standby": decision.standby.as_ref().map(|standby| &standby.cell),
                "conflicts_ended": ended,
            }),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        self.directory_changed.notify_one();
        Ok(Placed { declaration, decision, decided_at_ms: now_ms })
    }

    /// Where a tenant would be with another declaration, or with its own as things stand now. Changes nothing.
    pub(crate) async fn propose_placement(
        &self,
        actor: &Actor,
        tenant_id: &str,
        declaration: Option<Declaration>,
    ) -> Result<Decision, AppError> {
        let tenant = self.tenant_for(actor, tenant_id, Permission::ReadOrganisation).await?;
        let mut connection = self.db.pool().acquire().await.map_err(DbError::from)?;
        let current = placements::of_tenant(&mut *connection, tenant_id).await?;
        let declaration = match (declaration, &current) {
            (Some(declaration), _) => declaration,
            (None, Some(row)) => from_json(&row.declaration)?,
            (None, None) => Declaration::default(),
        };
        let current = cells_of(current.as_ref());
        Ok(self.solve(&mut connection, &tenant, &declaration, current).await?.1)
    }
}
