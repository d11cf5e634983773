//! `farwatch usage`: folds the billing ledger.

use std::io::Write;

use control_plane::billing::Signal;
use jiff::Timestamp;
use segment_store::compact::list_tenants;
use segment_store::{
    Bucket, Hour, HourUsage, ReadError, list_fresh, read_shard_manifest, read_tenant_manifest,
};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use telemetry::TenantId;

use super::known::{self, Everybody, KnownError};
use super::query::{QueryError, seconds};
use super::storage::{SHARD, Storage, StorageError, Use};
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
    /// It is not known who is meant.
    #[error(transparent)]
    Known(#[from] KnownError),
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

/// What `farwatch usage --json` prints.
#[derive(Serialize, Deserialize)]
pub(super) struct Usage {
    pub(super) tenants: Vec<TenantUsage>,
    total: HourUsage,
    /// Objects whose data is stored but not counted yet: it will be when it is compacted.
    objects_not_counted_yet: u64,
}

/// What a tenant stored of a signal.
#[derive(Serialize, Deserialize)]
pub(super) struct TenantUsage {
    pub(super) tenant: String,
    pub(super) signal: Signal,
    total: HourUsage,
    pub(super) hours: Vec<OneHour>,
}

/// What was stored of an hour.
#[derive(Serialize, Deserialize)]
pub(super) struct OneHour {
    /// When the hour begins.
    #[serde(serialize_with = "write_hour", deserialize_with = "read_hour")]
    pub(super) hour: Hour,
    #[serde(flatten)]
    pub(super) usage: HourUsage,
}

fn write_hour<S: Serializer>(hour: &Hour, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&text(*hour))
}

fn read_hour<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hour, D::Error> {
    let text = String::deserialize(deserializer)?;
    let timestamp = text.parse::<Timestamp>().map(|at| Hour::of(at.as_millisecond()));
    timestamp
        .or_else(|_| text.parse().map(Hour))
        .map_err(|_| D::Error::custom(format!("{text:?} is no hour")))
}

/// Prints what was stored.
///
/// # Errors
/// [`UsageError`].
pub async fn run(args: &UsageArgs, out: &mut dyn Write) -> Result<(), UsageError> {
    let from = args.from.as_deref().map(hour).transpose()?;
    let to = args.to.as_deref().map(hour).transpose()?;
    let storage = Storage::open(&args.records.storage, Use::Read).await?;
    let only = match &args.tenant {
        Some(wanted) => Some(known::find(&args.records, &storage, wanted).await?.id),
        None => None,
    };
    let mut usage = read(&*storage.bucket, only.as_ref()).await?;
    usage.total = HourUsage::default();
    for of in &mut usage.tenants {
        of.hours.retain(|one| from.is_none_or(|from| one.hour >= from) && to.is_none_or(|to| one.hour < to));
        of.total = total(&of.hours);
        usage.total.add(&of.total);
    }
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &usage)?;
        writeln!(out)?;
    } else {
        let all = Everybody::look_up(&args.records, &storage).await?;
        let name = |tenant: &str| all.find(tenant).ok().and_then(|known| known.name());
        print(&usage, &name, out)?;
        if let Some(tenant) = args.tenant.as_ref().filter(|_| usage.tenants.is_empty()) {
            writeln!(out, "nothing of {tenant} is counted yet")?;
        }
    }
    Ok(())
}

/// The hour that a time is in.
fn hour(text: &str) -> Result<Hour, QueryError> {
    Ok(Hour::of((seconds(text)? * 1_000.0) as i64))
}

/// Reads the ledgers of one tenant or of all.
pub(super) async fn read(bucket: &dyn Bucket, only: Option<&TenantId>) -> Result<Usage, UsageError> {
    let mut usage = Usage { tenants: Vec::new(), total: HourUsage::default(), objects_not_counted_yet: 0 };
    let fresh = list_fresh(bucket, SHARD, None).await?;
    let shard = read_shard_manifest(bucket, SHARD).await?;
    let waiting = fresh.iter().filter(|object| !shard.has_absorbed(&object.key)).count() + shard.merged.len();
    usage.objects_not_counted_yet = waiting as u64;
    for tenant in list_tenants(bucket).await? {
        if only.is_some_and(|only| *only != tenant) {
            continue;
        }
        let ledger = read_tenant_manifest(bucket, &tenant).await?.ledger;
        let hours: Vec<OneHour> =
            ledger.hours.into_iter().map(|(hour, usage)| OneHour { hour, usage }).collect();
        let total = total(&hours);
        usage.total.add(&total);
        usage.tenants.push(TenantUsage { tenant: tenant.to_string(), signal: Signal::Metrics, total, hours });
    }
    Ok(usage)
}

fn total(hours: &[OneHour]) -> HourUsage {
    hours.iter().fold(HourUsage::default(), |mut total, one| {
        total.add(&one.usage);
        total
    })
}

/// When the hour begins, or its number where the calendar does not reach.
fn text(hour: Hour) -> String {
    Timestamp::from_millisecond(hour.start_ms()).map_or_else(|_| hour.0.to_string(), |at| at.to_string())
}

fn print<'a>(
    usage: &'a Usage,
    name: &dyn Fn(&'a str) -> Option<&'a str>,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let row = |of: &'a TenantUsage| {
        let name = name(&of.tenant).map_or_else(String::new, |name| format!(" ({name})"));
        (format!("{}{name}", of.tenant), &of.total)
    };
    let mut rows: Vec<(String, &HourUsage)> = usage.tenants.iter().map(row).collect();
    rows.push(("total".to_owned(), &usage.total));
    let width = rows.iter().map(|(who, _)| who.chars().count()).max().unwrap_or_default().max("TENANT".len());
    writeln!(
        out,
        "{:width$}  {:>16}  {:>16}  {:>14}  {:>12}  {:>18}",
        "TENANT", "SAMPLES", "HISTOGRAMS", "SERIES-HOURS", "EXEMPLARS", "LOGICAL BYTES"
    )?;
    for (who, of) in rows {
        let HourUsage { samples, histogram_samples, active_series, exemplars, bytes } = of;
        writeln!(
            out,
            "{who:width$}  {samples:>16}  {histogram_samples:>16}  {active_series:>14}  {exemplars:>12}  {bytes:>18}"
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
    fn an_hour_is_written_as_when_it_begins_and_read_back() {
        assert_eq!(text(Hour(498_712)), "2026-11-22T16:00:00Z");
        for hour in [0, 498_712, i64::MAX / 3_600_000, -5] {
            let one = OneHour { hour: Hour(hour), usage: HourUsage { samples: 7, ..HourUsage::default() } };
            let read: OneHour = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
            assert_eq!((read.hour, read.usage), (one.hour, one.usage));
        }
        assert!(serde_json::from_str::<OneHour>(r#"{"hour":"soon","samples":1}"#).is_err());
        assert_eq!(hour("39600").unwrap(), Hour(11));
    }
}
