//! `farwatch placement`.

use std::io::Write;

use control_plane::billing::money::group_thousands;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::session::Session;
use super::{AccountError, choice, show};
use crate::cli::account::{DeclarationArgs, PlacementCommand, RegionsArgs, SetPlacementArgs, WhichTenant};

/// Does what `farwatch placement` was asked.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn run(
    command: &PlacementCommand,
    session: &Session,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    match command {
        PlacementCommand::Show(which) => current(which, session, out).await,
        PlacementCommand::Set(args) => set(args, session, out).await,
        PlacementCommand::Propose(args) => propose(args, session, out).await,
        PlacementCommand::Conflicts(which) => conflicts(which, session, out).await,
        PlacementCommand::Regions(args) => regions(args, session, out).await,
        PlacementCommand::Cells { json } => cells(*json, session, out).await,
    }
}

/// What flags declare, as the API takes it; null when there are none.
pub(super) fn declaration(args: &DeclarationArgs) -> Result<Value, AccountError> {
    let DeclarationArgs { regions, standby_regions, residency, near, without_standby } = args;
    let nothing = regions.is_empty() && standby_regions.is_empty() && residency.is_empty();
    if nothing && near.is_none() && !without_standby {
        return Ok(Value::Null);
    }
    let near = near.as_deref().map(distance).transpose()?;
    Ok(json!({
        "production": regions,
        "standby": standby_regions,
        "residency": residency,
        "latency": near,
        "without_standby": without_standby,
    }))
}

/// `40ms` or `800km`.
fn distance(text: &str) -> Result<Value, AccountError> {
    let wrong = || AccountError::Choice(format!("{text:?} is no distance; write it as 40ms or 800km"));
    let split = text.find(|at: char| !at.is_ascii_digit()).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(split);
    let number: u32 = digits.parse().map_err(|_| wrong())?;
    if !matches!(unit, "ms" | "km") {
        return Err(wrong());
    }
    Ok(json!({ unit: number }))
}

#[derive(Deserialize)]
struct Decision {
    home: Chosen,
    standby: Option<Chosen>,
}

#[derive(Deserialize)]
struct Chosen {
    cell: String,
    region: String,
    city: String,
    country: String,
    reasons: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    points: i32,
    text: String,
}

#[derive(Deserialize)]
struct Placed {
    decision: Decision,
    decided_at_ms: i64,
}

#[derive(Deserialize)]
struct Current {
    placement: Option<Placed>,
}

async fn current(which: &WhichTenant, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, which.tenant.as_deref()).await?;
    let answer = session.get(&["tenants", &tenant.id, "placement"]).await?;
    if which.json {
        return Ok(show::json(&answer, out)?);
    }
    match session.read::<Current>(&answer)?.placement {
        Some(Placed { decision, decided_at_ms }) => {
            writeln!(out, "{}, placed at {}", tenant.name, show::time(decided_at_ms))?;
            print(&decision, out)
        }
        None => {
            writeln!(out, "{} was never placed; `farwatch placement set --region …` does that", tenant.name)?;
            Ok(())
        }
    }
}

async fn set(args: &SetPlacementArgs, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let declared = declaration(&args.declaration)?;
    if declared.is_null() {
        let how = "name one at least with --region, or say how the place has to be";
        return Err(AccountError::Missing { what: "the region that production runs in", how });
    }
    let tenant = choice::tenant(session, args.which.tenant.as_deref()).await?;
    let path = ["tenants", &tenant.id, "placement"];
    let answer = session.send(Method::PUT, &path, Some(&declared)).await?;
    if args.which.json {
        return Ok(show::json(&answer, out)?);
    }
    let Placed { decision, .. } = session.read(&answer)?;
    print(&decision, out)
}

async fn propose(
    args: &SetPlacementArgs,
    session: &Session,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let body = json!({ "declaration": declaration(&args.declaration)? });
    let tenant = choice::tenant(session, args.which.tenant.as_deref()).await?;
    let path = ["tenants", &tenant.id, "placement", "propose"];
    let answer = session.send(Method::POST, &path, Some(&body)).await?;
    if args.which.json {
        return Ok(show::json(&answer, out)?);
    }
    print(&session.read(&answer)?, out)
}

fn print(decision: &Decision, out: &mut dyn Write) -> Result<(), AccountError> {
    let chosen = [("home", Some(&decision.home)), ("standby", decision.standby.as_ref())];
    for (role, chosen) in chosen.into_iter().filter_map(|(role, chosen)| Some((role, chosen?))) {
        let Chosen { cell, region, city, country, reasons } = chosen;
        writeln!(out, "{role}: {cell}, in {region} ({city}, {country})")?;
        for Reason { points, text } in reasons {
            writeln!(out, "  {points:+4}  {text}")?;
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Footprint {
    seen: Vec<Seen>,
    unknown: Vec<Unknown>,
    conflicts: Vec<Conflict>,
    proposal: Option<Decision>,
    impossible: Option<Impossible>,
}

#[derive(Deserialize)]
struct Seen {
    region: String,
    samples: u64,
    per_mille: u32,
    last_seen_ms: i64,
    declared: bool,
    noise: bool,
}

#[derive(Deserialize)]
struct Unknown {
    provider: String,
    region: String,
    samples: u64,
}

#[derive(Deserialize)]
struct Conflict {
    role: String,
    cell: String,
    region: String,
    hidden: bool,
    raised_at_ms: i64,
    resolved_at_ms: Option<i64>,
}

#[derive(Deserialize)]
struct Impossible {
    text: String,
}

async fn conflicts(which: &WhichTenant, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, which.tenant.as_deref()).await?;
    let answer = session.get(&["tenants", &tenant.id, "placement", "conflicts"]).await?;
    if which.json {
        return Ok(show::json(&answer, out)?);
    }
    let Footprint { seen, unknown, conflicts, proposal, impossible } = session.read(&answer)?;
    if seen.is_empty() && unknown.is_empty() {
        writeln!(out, "No telemetry of {} says where it comes from.", tenant.name)?;
    }
    let mut rows: Vec<_> = seen
        .iter()
        .map(|seen| {
            let share = format!("{}.{} %", seen.per_mille / 10, seen.per_mille % 10);
            let note = match (seen.declared, seen.noise) {
                (true, _) => "declared",
                (false, true) => "too little to count",
                (false, false) => "not declared",
            };
            let last = show::time(seen.last_seen_ms);
            [seen.region.clone(), group_thousands(seen.samples), share, last, note.to_owned()]
        })
        .collect();
    rows.extend(unknown.iter().map(|place| {
        let name = format!("{}:{}", place.provider, place.region);
        let samples = group_thousands(place.samples);
        [name, samples, String::new(), String::new(), "no region that is known".to_owned()]
    }));
    if !rows.is_empty() {
        show::table(["TELEMETRY FROM", "SAMPLES", "SHARE", "LAST SEEN", ""], &rows, out)?;
    }
    for conflict in &conflicts {
        let Conflict { role, cell, region, hidden, raised_at_ms, resolved_at_ms } = conflict;
        let how = if *hidden { "depends on" } else { "runs in" };
        let until = resolved_at_ms
            .map_or_else(|| "it goes on".to_owned(), |at_ms| format!("resolved at {}", show::time(at_ms)));
        let since = show::time(*raised_at_ms);
        writeln!(
            out,
            "\nconflict since {since}: the {role} cell {cell} {how} {region}, where production was seen; {until}"
        )?;
    }
    if let Some(decision) = proposal {
        writeln!(out, "\nBetter, with `farwatch placement set`:")?;
        print(&decision, out)?;
    }
    if let Some(Impossible { text }) = impossible {
        writeln!(out, "\nNo cell fits: {text}")?;
    }
    if conflicts.is_empty() {
        writeln!(out, "No conflict.")?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct Catalogue {
    regions: Vec<Region>,
}

#[derive(Deserialize)]
struct Region {
    id: String,
    city: String,
    country: String,
    jurisdiction: String,
}

async fn regions(args: &RegionsArgs, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let answer = session.get(&["regions"]).await?;
    if args.json {
        return Ok(show::json(&answer, out)?);
    }
    let Catalogue { regions } = session.read(&answer)?;
    let wanted = args.filter.as_deref().unwrap_or_default().to_lowercase();
    let rows: Vec<_> = regions
        .into_iter()
        .map(|region| [region.id, region.city, region.country, region.jurisdiction])
        .filter(|row| row.iter().any(|cell| cell.to_lowercase().contains(&wanted)))
        .collect();
    Ok(show::table(["REGION", "CITY", "COUNTRY", "JURISDICTION"], &rows, out)?)
}

#[derive(Deserialize)]
struct CellList {
    cells: Vec<Cell>,
}

#[derive(Deserialize)]
struct Cell {
    id: String,
    region: String,
    depends_on: Vec<String>,
    free: u64,
    open: bool,
}

async fn cells(as_json: bool, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let answer = session.get(&["cells"]).await?;
    if as_json {
        return Ok(show::json(&answer, out)?);
    }
    let CellList { cells } = session.read(&answer)?;
    let rows: Vec<_> = cells
        .into_iter()
        .map(|cell| {
            let open = if cell.open { "open" } else { "takes no new tenants" };
            let free = group_thousands(cell.free);
            [cell.id, cell.region, cell.depends_on.join(" "), free, open.to_owned()]
        })
        .collect();
    Ok(show::table(["CELL", "REGION", "DEPENDS ON", "FREE SAMPLES/S", ""], &rows, out)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_times_or_lengths() {
        assert_eq!(distance("40ms").unwrap(), json!({ "ms": 40 }));
        assert_eq!(distance("800km").unwrap(), json!({ "km": 800 }));
        for wrong in ["40", "ms", "-1ms", "4.5ms", "40 ms", "99999999999km", "40s"] {
            assert!(distance(wrong).is_err(), "{wrong}");
        }
    }
}
