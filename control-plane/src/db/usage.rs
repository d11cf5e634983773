//! The ledger's hours, what ingest counted beside it, and what the operator pays for.

use sqlx::{AnyConnection, AnyExecutor, FromRow};

use super::DbError;
use crate::billing::{Attribution, Dimension, Meter, Quantities, Signal, UsageRow};

/// Which version of a ledger is folded.
#[derive(Debug, FromRow)]
pub(crate) struct LedgerRow {
    pub(crate) generation: i64,
    pub(crate) tag: String,
    pub(crate) at_rest_bytes: i64,
    pub(crate) measured_at_ms: i64,
}

/// Quantities as a database has them.
pub(crate) type Counts = [i64; 4];

/// No ledger counts more than fits: that would be 9.2 million million million.
pub(crate) fn counts_of(quantities: &Quantities) -> Counts {
    Meter::ALL.map(|meter| i64::try_from(quantities.of(meter)).unwrap_or(i64::MAX))
}

fn quantities_of([samples, spans, stored_bytes, active_series]: Counts) -> Quantities {
    let unsigned = |count: i64| u64::try_from(count).unwrap_or_default();
    Quantities {
        samples: unsigned(samples),
        spans: unsigned(spans),
        stored_bytes: unsigned(stored_bytes),
        active_series: unsigned(active_series),
    }
}

fn signal_named(name: &str) -> Option<Signal> {
    Signal::ALL.into_iter().find(|signal| signal.as_str() == name)
}

pub(crate) async fn ledger(
    db: impl AnyExecutor<'_>,
    tenant_id: &str,
    signal: Signal,
) -> Result<Option<LedgerRow>, DbError> {
    let row = sqlx::query_as(
        "SELECT generation, tag, at_rest_bytes, measured_at_ms FROM usage_ledgers
         WHERE tenant_id = $1 AND signal = $2",
    )
    .bind(tenant_id.to_owned())
    .bind(signal.as_str())
    .fetch_optional(db)
    .await?;
    Ok(row)
}

/// Notes that a version of a ledger is being folded, and makes others that fold the same one wait. `false` when this version or
/// a later one is folded already.
pub(crate) async fn advance_ledger(
    db: &mut AnyConnection,
    tenant_id: &str,
    signal: Signal,
    to: &LedgerRow,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO usage_ledgers (tenant_id, signal, generation, tag, at_rest_bytes, measured_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, signal) DO UPDATE SET generation = excluded.generation, tag = excluded.tag,
           at_rest_bytes = excluded.at_rest_bytes
         WHERE usage_ledgers.generation < excluded.generation",
    )
    .bind(tenant_id.to_owned())
    .bind(signal.as_str())
    .bind(to.generation)
    .bind(to.tag.clone())
    .bind(to.at_rest_bytes)
    .bind(to.measured_at_ms)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Moves the time until when stored bytes are counted. `false` when somebody else has.
pub(crate) async fn measured(
    db: &mut AnyConnection,
    tenant_id: &str,
    signal: Signal,
    before_ms: i64,
    now_ms: i64,
) -> Result<bool, DbError> {
    let done = sqlx::query(
        "UPDATE usage_ledgers SET measured_at_ms = $4
         WHERE tenant_id = $1 AND signal = $2 AND measured_at_ms = $3",
    )
    .bind(tenant_id.to_owned())
    .bind(signal.as_str())
    .bind(before_ms)
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(done.rows_affected() == 1)
}

#[derive(FromRow)]
struct HourRow {
    tenant_id: String,
    signal: String,
    hour: i64,
    samples: i64,
    spans: i64,
    stored_bytes: i64,
    active_series: i64,
}

impl HourRow {
    fn counts(&self) -> Counts {
        [self.samples, self.spans, self.stored_bytes, self.active_series]
    }

    fn usage(self) -> Option<UsageRow> {
        Some(UsageRow {
            signal: signal_named(&self.signal)?,
            hour: self.hour,
            quantities: quantities_of(self.counts()),
            tenant: self.tenant_id,
        })
    }
}

/// All hours of a ledger, as they were folded.
pub(crate) async fn folded_hours(
    db: &mut AnyConnection,
    tenant_id: &str,
    signal: Signal,
) -> Result<Vec<(i64, Counts)>, DbError> {
    let rows: Vec<HourRow> = sqlx::query_as(
        "SELECT tenant_id, signal, hour, samples, spans, stored_bytes, active_series FROM usage_hours
         WHERE tenant_id = $1 AND signal = $2",
    )
    .bind(tenant_id.to_owned())
    .bind(signal.as_str())
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (row.hour, row.counts())).collect())
}

pub(crate) async fn put_hour(
    db: &mut AnyConnection,
    tenant_id: &str,
    signal: Signal,
    hour: i64,
    counts: Counts,
    now_ms: i64,
) -> Result<(), DbError> {
    let [samples, spans, stored_bytes, active_series] = counts;
    sqlx::query(
        "INSERT INTO usage_hours
           (tenant_id, signal, hour, samples, spans, stored_bytes, active_series, changed_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id, signal, hour) DO UPDATE SET samples = excluded.samples, spans = excluded.spans,
           stored_bytes = excluded.stored_bytes, active_series = excluded.active_series,
           changed_at_ms = excluded.changed_at_ms",
    )
    .bind(tenant_id.to_owned())
    .bind(signal.as_str())
    .bind(hour)
    .bind(samples)
    .bind(spans)
    .bind(stored_bytes)
    .bind(active_series)
    .bind(now_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Hours of all of an organisation's tenants, deleted ones among them, from `from` on and before `until`.
pub(crate) async fn of_organisation(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
    from: i64,
    until: i64,
) -> Result<Vec<UsageRow>, DbError> {
    let rows: Vec<HourRow> = sqlx::query_as(
        "SELECT u.tenant_id, u.signal, u.hour, u.samples, u.spans, u.stored_bytes, u.active_series FROM usage_hours u
         JOIN tenants t ON t.id = u.tenant_id
         WHERE t.organisation_id = $1 AND u.hour >= $2 AND u.hour < $3 ORDER BY u.tenant_id, u.signal, u.hour",
    )
    .bind(organisation_id.to_owned())
    .bind(from)
    .bind(until)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(HourRow::usage).collect())
}

/// The same of one tenant.
pub(crate) async fn of_tenant(
    db: impl AnyExecutor<'_>,
    tenant_id: &str,
    from: i64,
    until: i64,
) -> Result<Vec<UsageRow>, DbError> {
    let rows: Vec<HourRow> = sqlx::query_as(
        "SELECT tenant_id, signal, hour, samples, spans, stored_bytes, active_series FROM usage_hours
         WHERE tenant_id = $1 AND hour >= $2 AND hour < $3 ORDER BY signal, hour",
    )
    .bind(tenant_id.to_owned())
    .bind(from)
    .bind(until)
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().filter_map(HourRow::usage).collect())
}

/// Whose read is noted when all ledgers were read.
pub(crate) const EVERY_TENANT: &str = "";

/// Notes that a tenant's ledgers were read after `at_ms`, and that all that was in them then is folded.
pub(crate) async fn note_read(db: &mut AnyConnection, tenant_id: &str, at_ms: i64) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO usage_reads (tenant_id, read_at_ms) VALUES ($1, $2)
         ON CONFLICT (tenant_id) DO UPDATE SET read_at_ms = excluded.read_at_ms
         WHERE usage_reads.read_at_ms < excluded.read_at_ms",
    )
    .bind(tenant_id.to_owned())
    .bind(at_ms)
    .execute(db)
    .await?;
    Ok(())
}

/// Until when a tenant's ledgers are folded; `None` before they were for the first time.
pub(crate) async fn read_until(db: impl AnyExecutor<'_>, tenant_id: &str) -> Result<Option<i64>, DbError> {
    let at_ms =
        sqlx::query_scalar("SELECT MAX(read_at_ms) FROM usage_reads WHERE tenant_id = $1 OR tenant_id = $2")
            .bind(tenant_id.to_owned())
            .bind(EVERY_TENANT)
            .fetch_one(db)
            .await?;
    Ok(at_ms)
}

/// Until when those of all tenants of an organisation are.
pub(crate) async fn all_read_until(
    db: impl AnyExecutor<'_>,
    organisation_id: &str,
) -> Result<Option<i64>, DbError> {
    // A tenant that was not read by itself was read when all were.
    let at_ms = sqlx::query_scalar(
        "SELECT NULLIF(CASE WHEN own.at_ms > every.at_ms THEN own.at_ms ELSE every.at_ms END, 0) FROM
           (SELECT COALESCE(MIN(COALESCE(r.read_at_ms, 0)), 0) AS at_ms FROM tenants t
            LEFT JOIN usage_reads r ON r.tenant_id = t.id WHERE t.organisation_id = $1) own,
           (SELECT COALESCE(MAX(read_at_ms), 0) AS at_ms FROM usage_reads WHERE tenant_id = $2) every",
    )
    .bind(organisation_id.to_owned())
    .bind(EVERY_TENANT)
    .fetch_one(db)
    .await?;
    Ok(at_ms)
}

/// Whether hours of an organisation changed since `since_ms`.
pub(crate) async fn changed_since(
    db: &mut AnyConnection,
    organisation_id: &str,
    (from, until): (i64, i64),
    since_ms: i64,
) -> Result<bool, DbError> {
    let count: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM usage_hours u JOIN tenants t ON t.id = u.tenant_id
         WHERE t.organisation_id = $1 AND u.hour >= $2 AND u.hour < $3 AND u.changed_at_ms >= $4",
    )
    .bind(organisation_id.to_owned())
    .bind(from)
    .bind(until)
    .bind(since_ms)
    .fetch_one(db)
    .await?;
    Ok(count > 0)
}

#[derive(FromRow)]
struct AttributionRow {
    tenant_id: String,
    signal: String,
    dimension: String,
    name: String,
    samples: i64,
}

/// What ingest counted of an organisation's tenants in a month.
pub(crate) async fn attribution(
    db: &mut AnyConnection,
    organisation_id: &str,
    month: &str,
) -> Result<Vec<Attribution>, DbError> {
    let rows: Vec<AttributionRow> = sqlx::query_as(
        "SELECT a.tenant_id, a.signal, a.dimension, a.name, a.samples FROM attributed_samples a
         JOIN tenants t ON t.id = a.tenant_id WHERE t.organisation_id = $1 AND a.month = $2
         ORDER BY a.tenant_id, a.signal, a.dimension, a.name",
    )
    .bind(organisation_id.to_owned())
    .bind(month.to_owned())
    .fetch_all(db)
    .await?;
    let known = rows.into_iter().filter_map(|row| {
        Some(Attribution {
            signal: signal_named(&row.signal)?,
            dimension: Dimension::ALL.into_iter().find(|dimension| dimension.as_str() == row.dimension)?,
            tenant: row.tenant_id,
            name: row.name,
            count: u64::try_from(row.samples).unwrap_or_default(),
        })
    });
    Ok(known.collect())
}

/// Adds to what was counted under a name.
pub(crate) async fn attribute(
    db: &mut AnyConnection,
    month: &str,
    counted: &Attribution,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO attributed_samples (tenant_id, signal, month, dimension, name, samples)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (tenant_id, month, signal, dimension, name)
         DO UPDATE SET samples = attributed_samples.samples + excluded.samples",
    )
    .bind(counted.tenant.clone())
    .bind(counted.signal.as_str())
    .bind(month.to_owned())
    .bind(counted.dimension.as_str())
    .bind(counted.name.clone())
    .bind(i64::try_from(counted.count).unwrap_or(i64::MAX))
    .execute(db)
    .await?;
    Ok(())
}

/// The names of a tenant that have a count in a month.
pub(crate) async fn attributed_names(
    db: &mut AnyConnection,
    tenant_id: &str,
    month: &str,
    signal: Signal,
    dimension: Dimension,
) -> Result<Vec<String>, DbError> {
    let names = sqlx::query_scalar(
        "SELECT name FROM attributed_samples WHERE tenant_id = $1 AND month = $2 AND signal = $3 AND dimension = $4",
    )
    .bind(tenant_id.to_owned())
    .bind(month.to_owned())
    .bind(signal.as_str())
    .bind(dimension.as_str())
    .fetch_all(db)
    .await?;
    Ok(names)
}

/// Notes that a report is counted. `false` when it was already.
pub(crate) async fn count_report(db: &mut AnyConnection, id: &str, now_ms: i64) -> Result<bool, DbError> {
    let sql = "INSERT INTO activity_reports (id, counted_at_ms) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING";
    let done = sqlx::query(sql).bind(id.to_owned()).bind(now_ms).execute(db).await?;
    Ok(done.rows_affected() == 1)
}

/// Forgets which reports were counted before.
pub(crate) async fn drop_reports(db: &mut AnyConnection, before_ms: i64) -> Result<(), DbError> {
    sqlx::query("DELETE FROM activity_reports WHERE counted_at_ms < $1").bind(before_ms).execute(db).await?;
    Ok(())
}

/// What was used of a resource in a month; an empty tenant for what many used together.
#[derive(Debug, FromRow)]
pub(crate) struct ResourceRow {
    pub(crate) tenant_id: String,
    pub(crate) resource: String,
    pub(crate) quantity: i64,
}

pub(crate) async fn add_resource(
    db: &mut AnyConnection,
    month: &str,
    tenant_id: &str,
    resource: &'static str,
    quantity: i64,
) -> Result<(), DbError> {
    sqlx::query(
        "INSERT INTO resource_uses (month, tenant_id, resource, quantity) VALUES ($1, $2, $3, $4)
         ON CONFLICT (month, tenant_id, resource)
         DO UPDATE SET quantity = resource_uses.quantity + excluded.quantity",
    )
    .bind(month.to_owned())
    .bind(tenant_id.to_owned())
    .bind(resource)
    .bind(quantity)
    .execute(db)
    .await?;
    Ok(())
}

pub(crate) async fn resources(db: impl AnyExecutor<'_>, month: &str) -> Result<Vec<ResourceRow>, DbError> {
    let rows = sqlx::query_as(
        "SELECT tenant_id, resource, quantity FROM resource_uses WHERE month = $1 ORDER BY tenant_id, resource",
    )
    .bind(month.to_owned())
    .fetch_all(db)
    .await?;
    Ok(rows)
}
