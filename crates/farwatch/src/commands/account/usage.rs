//! `farwatch usage` of an account: what its tenants used, as the control plane has it.

use std::collections::BTreeMap;
use std::io::Write;

use control_plane::billing::money::group_thousands;
use serde::Deserialize;
use serde_json::Value;

use super::session::Session;
use super::{AccountError, choice, show};
use crate::cli::UsageArgs;

#[derive(Clone, Copy, Default, Deserialize)]
struct Used {
    samples: u64,
    spans: u64,
    bytes: u64,
    series_hours: u64,
}

#[derive(Deserialize)]
struct OrganisationUsage {
    month: String,
    #[serde(default)]
    as_of_ms: Option<i64>,
    total: Used,
    days: Vec<Day>,
}

#[derive(Deserialize)]
struct Day {
    tenant: String,
    signal: String,
    #[serde(flatten)]
    used: Used,
}

#[derive(Deserialize)]
struct TenantUsage {
    month: String,
    #[serde(default)]
    as_of_ms: Option<i64>,
    total: Used,
    hours: Vec<Hour>,
}

#[derive(Deserialize)]
struct Hour {
    signal: String,
    hour_ms: i64,
    #[serde(flatten)]
    used: Used,
}

/// Prints what one tenant used hour by hour, or what all tenants of an organisation used.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn run(args: &UsageArgs, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let parameters: Vec<_> = args.month.iter().map(|month| ("month", month.clone())).collect();
    if let Some(wanted) = &args.tenant {
        let tenant = choice::tenant(session, Some(wanted)).await?;
        let answer = session.ask(&["tenants", &tenant.id, "usage"], &parameters).await?;
        return of_tenant(&tenant.name, &answer, args.json, session, out);
    }
    let organisation = choice::organisation(session, args.organisation.as_deref()).await?;
    let answer = session.ask(&["organisations", &organisation.id, "usage"], &parameters).await?;
    if args.json {
        return Ok(show::json(&answer, out)?);
    }
    let OrganisationUsage { month, as_of_ms, total, days } = session.read(&answer)?;
    let mut sums: BTreeMap<(String, String), Used> = BTreeMap::new();
    for Day { tenant, signal, used } in days {
        let sum = sums.entry((tenant, signal)).or_default();
        sum.samples = sum.samples.saturating_add(used.samples);
        sum.spans = sum.spans.saturating_add(used.spans);
        sum.bytes = sum.bytes.saturating_add(used.bytes);
        sum.series_hours = sum.series_hours.saturating_add(used.series_hours);
    }
    let (tenants, _) = choice::tenants_of(session, &organisation).await?;
    let mut rows: Vec<_> = sums
        .into_iter()
        .map(|((id, signal), used)| {
            let name = choice::name_of(&tenants, &id).to_owned();
            row([name, id, signal], used)
        })
        .collect();
    rows.push(row(["total".to_owned(), String::new(), String::new()], total));
    writeln!(out, "{} used in {month}:\n", organisation.name)?;
    let headings = ["TENANT", "TENANT'S ID", "SIGNAL", "SAMPLES", "SPANS", "LOGICAL BYTES", "SERIES-HOURS"];
    show::table(headings, &rows, out)?;
    Ok(writeln!(out, "\n{}", show::as_of(as_of_ms))?)
}

fn of_tenant(
    name: &str,
    answer: &Value,
    as_json: bool,
    session: &Session,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    if as_json {
        return Ok(show::json(answer, out)?);
    }
    let TenantUsage { month, as_of_ms, total, hours } = session.read(answer)?;
    let mut rows: Vec<_> =
        hours.into_iter().map(|hour| row([show::time(hour.hour_ms), hour.signal], hour.used)).collect();
    rows.push(row(["total".to_owned(), String::new()], total));
    writeln!(out, "{name} used in {month}:\n")?;
    show::table(["HOUR", "SIGNAL", "SAMPLES", "SPANS", "LOGICAL BYTES", "SERIES-HOURS"], &rows, out)?;
    Ok(writeln!(out, "\n{}", show::as_of(as_of_ms))?)
}

/// A row of `M` cells: what `what` says, and how much was used.
fn row<const N: usize, const M: usize>(what: [String; N], used: Used) -> [String; M] {
    let Used { samples, spans, bytes, series_hours } = used;
    let mut cells = what.into_iter().chain([samples, spans, bytes, series_hours].map(group_thousands));
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}
