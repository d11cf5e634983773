//! The tables, and how they came to be. `migrations/` has the text.
//!
//! A migration that was ever released stays as it is. Since the process before it may still run beside the next one, a change
//! is made in two releases: *expand* (add what the new code needs, which the old code does not miss), and *contract* (take
//! away what no running code uses).

use std::borrow::Cow;

use sqlx::AnyPool;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "accounts", include_str!("../../migrations/0001_accounts.sql")),
    (2, "organisations", include_str!("../../migrations/0002_organisations.sql")),
    (3, "keys and quotas", include_str!("../../migrations/0003_keys_and_quotas.sql")),
    (4, "recovery codes", include_str!("../../migrations/0004_recovery_codes.sql")),
    (5, "billing", include_str!("../../migrations/0005_billing.sql")),
    (6, "placement", include_str!("../../migrations/0006_placement.sql")),
    (7, "key lives", include_str!("../../migrations/0007_key_lives.sql")),
    (8, "tenant names", include_str!("../../migrations/0008_tenant_names.sql")),
    (9, "as of", include_str!("../../migrations/0009_as_of.sql")),
    (10, "conflict ends", include_str!("../../migrations/0010_conflict_ends.sql")),
    (11, "operator log", include_str!("../../migrations/0011_operator_log.sql")),
    (12, "tenant erasure", include_str!("../../migrations/0012_tenant_erasure.sql")),
];

/// Applies what has not been applied. Doing it again does nothing; processes that start at once wait for each other.
pub(super) async fn run(pool: &AnyPool) -> Result<(), MigrateError> {
    let migrations = MIGRATIONS.iter().map(|(version, name, sql)| {
        Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect()).run(pool).await
}
