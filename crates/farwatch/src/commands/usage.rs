//! `farwatch usage`: folds the billing ledger.

use std::io::Write;

use jiff::Timestamp;
use segment_store::compact::list_tenants;
use segment_store::{
    Hour, HourUsage, Ledger, ReadError, list_fresh, read_shard_manifest, read_tenant_manifest,
};
use serde::Serialize;
use telemetry::{TenantId, TenantIdError};

use super::query::{QueryError, seconds};
use super::storage::{SHARD, Storage, StorageError};
use crate::cli::UsageArgs;

/// Why usage is not known.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// There is no data to look at.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A time that is none.
    #[error(transparent)]
    Time(#[from] QueryError),
    /// A tenant's id that is none.
    #[error(transparent)]
    Tenant(#[from] TenantIdError),
    /// A manifest cannot be read.
    #[error("cannot read the ledger")]
    Read(#[from] ReadError),
    /// The terminal went away.
    #[error("cannot print")]
    Print(#[from] std::io::Error),
    /// The answer is no JSON.
    #[error("cannot print as JSON")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize)]
struct Usage {
    tenants: Vec<TenantUsage>,
    total: HourUsage,
    /// Objects whose data is stored but not counted yet: it will be when it is compacted.
    objects_not_counted_yet: u64,
}

#[derive(Serialize)]
struct TenantUsage {
    tenant: String,
    signal: &'static str,
    total: HourUsage,
    hours: Vec<OneHour>,
}

#[derive(Serialize)]
struct OneHour {
    /// When the hour begins.
    hour: String,
    #[serde(flatten)]
    usage: HourUsage,
}

/// Prints what was stored.
///
/// # Errors
/// [`UsageError`].
pub async fn run(args: &UsageArgs, out: &mut dyn Write) -> Result<(), UsageError> {
    let from = args.from.as_deref().map(hour).transpose()?;
    let to = args.to.as_deref().map(hour).transpose()?;
    let only = args.tenant.as_deref().map(TenantId::new).transpose()?;
    let storage = Storage::open(&args.storage).await?;
    let bucket = &*storage.bucket;
    let mut usage = Usage { tenants: Vec::new(), total: HourUsage::default(), objects_not_counted_yet: 0 };
    let fresh = list_fresh(bucket, SHARD, None).await?;
    let shard = read_shard_manifest(bucket, SHARD).await?;
    let waiting = fresh.iter().filter(|object| !shard.has_absorbed(&object.key)).count() + shard.merged.len();
    usage.objects_not_counted_yet = waiting as u64;
    for tenant in list_tenants(bucket).await? {
        if only.as_ref().is_some_and(|only| *only != tenant) {
            continue;
        }
        let ledger = between(read_tenant_manifest(bucket, &tenant).await?.ledger, from, to);
        let total = ledger.total();
        usage.total.add(&total);
        let hours =
            ledger.hours.into_iter().map(|(hour, usage)| OneHour { hour: text(hour), usage }).collect();
        usage.tenants.push(TenantUsage { tenant: tenant.to_string(), signal: "metrics", total, hours });
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &usage)?;
        writeln!(out)?;
    } else {
        print(&usage, out)?;
    }
    Ok(())
}

/// The hour that a time is in.
fn hour(text: &str) -> Result<Hour, QueryError> {
    Ok(Hour::of((seconds(text)? * 1_000.0) as i64))
}

/// Hours from `from` on, before `to`.
fn between(mut ledger: Ledger, from: Option<Hour>, to: Option<Hour>) -> Ledger {
    ledger.hours.retain(|hour, _| from.is_none_or(|from| *hour >= from) && to.is_none_or(|to| *hour < to));
    ledger
}

/// When the hour begins, or its number where the calendar does not reach.
fn text(hour: Hour) -> String {
    Timestamp::from_millisecond(hour.start_ms()).map_or_else(|_| hour.0.to_string(), |at| at.to_string())
}

fn print(usage: &Usage, out: &mut dyn Write) -> std::io::Result<()> {
    let width = usage.tenants.iter().map(|of| of.tenant.len()).max().unwrap_or_default().max("TENANT".len());
    writeln!(
        out,
        "{:width$}  {:>16}  {:>16}  {:>14}  {:>12}  {:>18}",
        "TENANT", "SAMPLES", "HISTOGRAMS", "SERIES-HOURS", "EXEMPLARS", "LOGICAL BYTES"
    )?;
    let total = ("total", &usage.total);
    for (name, of) in usage.tenants.iter().map(|of| (of.tenant.as_str(), &of.total)).chain([total]) {
        let HourUsage { samples, histogram_samples, active_series, exemplars, bytes } = of;
        writeln!(
            out,
            "{name:width$}  {samples:>16}  {histogram_samples:>16}  {active_series:>14}  {exemplars:>12}  {bytes:>18}"
        )?;
    }
    if usage.objects_not_counted_yet > 0 {
        let objects = usage.objects_not_counted_yet;
        writeln!(
            out,
            "{objects} objects are stored and not counted yet; `farwatch compact --once` counts them"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_chosen_by_when_they_begin() {
        let usage = HourUsage { samples: 1, ..HourUsage::default() };
        let ledger = Ledger { hours: (10..14).map(|hour| (Hour(hour), usage)).collect() };
        let of = |from, to| between(ledger.clone(), from, to).total().samples;
        assert_eq!(of(None, None), 4);
        assert_eq!(of(Some(hour("39600").unwrap()), None), 3);
        assert_eq!(of(Some(Hour(11)), Some(hour("1970-01-01T13:00:00Z").unwrap())), 2);
        assert_eq!(text(Hour(498_712)), "2026-11-22T16:00:00Z");
    }
}
