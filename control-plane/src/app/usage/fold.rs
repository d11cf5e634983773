//! From the data plane's ledgers into the database, each hour once.
//!
//! A ledger has a generation that goes up with each of its versions, and whole counts of each hour. Folding one writes those
//! counts over what there is, in a transaction that also notes the generation, and does nothing where that or a later one is noted:
//! so it does not matter how often a version is folded, by how many processes at once, or where one of them crashes.

use crate::app::App;
use crate::app::invoices::InvoiceError;
use crate::billing::{BillingError, Month, Resource, Signal};
use crate::db::DbError;
use crate::db::usage::{self, LedgerRow, counts_of};
use crate::limits::MEASURE_INTERVAL_MS;
use crate::ports::{LedgerState, UsageSource, UsageSourceError};

/// Why usage could not be folded. What was folded before stays; the next round does the rest.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FoldError {
    #[error(transparent)]
    Source(#[from] UsageSourceError),
    #[error("cannot write usage into the database")]
    Db(#[from] DbError),
    #[error("the clock is outside the calendar")]
    Clock(#[from] BillingError),
    #[error("cannot see which invoices are due")]
    Invoices(#[from] InvoiceError),
}

impl App {
    /// Folds every ledger there is.
    pub(crate) async fn fold_usage(&self, source: &dyn UsageSource) -> Result<(), FoldError> {
        let began_ms = self.now_ms();
        let (folded, outcome) = self.fold_each(source, source.tenants().await?).await;
        if outcome.is_ok() {
            self.note_read(&[usage::EVERY_TENANT.to_owned()], began_ms).await?;
        } else {
            self.note_read(&folded, began_ms).await?;
        }
        outcome
    }

    /// Folds the ledgers of some tenants.
    pub(crate) async fn fold_tenants(
        &self,
        source: &dyn UsageSource,
        tenants: impl IntoIterator<Item = String>,
    ) -> Result<(), FoldError> {
        let began_ms = self.now_ms();
        let (folded, outcome) = self.fold_each(source, tenants).await;
        self.note_read(&folded, began_ms).await?;
        outcome
    }

    /// Folds them, and says which could be.
    async fn fold_each(
        &self,
        source: &dyn UsageSource,
        tenants: impl IntoIterator<Item = String>,
    ) -> (Vec<String>, Result<(), FoldError>) {
        let (mut folded, mut failed) = (Vec::new(), None);
        for tenant in tenants {
            // One that cannot be read does not keep the others from being counted.
            match self.fold_tenant(source, &tenant).await {
                Ok(()) => folded.push(tenant),
                Err(error) => {
                    tracing::warn!(
                        tenant,
                        error = &error as &dyn std::error::Error,
                        "cannot fold a tenant's usage"
                    );
                    failed = Some(error);
                }
            }
        }
        (folded, failed.map_or(Ok(()), Err))
    }

    /// Notes until when these tenants' ledgers are folded: they were all read after `began_ms`.
    async fn note_read(&self, tenants: &[String], began_ms: i64) -> Result<(), DbError> {
        if tenants.is_empty() {
            return Ok(());
        }
        let mut change = self.db.change().await?;
        for tenant in tenants {
            usage::note_read(change.conn(), tenant, began_ms).await?;
        }
        change.commit_silently().await
    }

    /// Folds the ledgers of one tenant.
    async fn fold_tenant(&self, source: &dyn UsageSource, tenant: &str) -> Result<(), FoldError> {
        for signal in Signal::ALL {
            let folded = usage::ledger(self.db.pool(), tenant, signal).await?;
            let known = folded.as_ref().map(|folded| folded.tag.as_str());
            if let Some(ledger) = source.ledger(tenant, signal, known).await? {
                self.fold_ledger(tenant, signal, &ledger).await?;
            }
            if let Some(folded) = folded {
                self.measure(tenant, signal, &folded).await?;
            }
        }
        Ok(())
    }

    /// Writes what a version of a ledger has. `false` where it, or a later one, is there already.
    async fn fold_ledger(
        &self,
        tenant: &str,
        signal: Signal,
        ledger: &LedgerState,
    ) -> Result<bool, FoldError> {
        let now_ms = self.now_ms();
        let row = LedgerRow {
            generation: i64::try_from(ledger.generation).unwrap_or(i64::MAX),
            tag: ledger.tag.clone(),
            at_rest_bytes: i64::try_from(ledger.at_rest_bytes).unwrap_or(i64::MAX),
            measured_at_ms: now_ms,
        };
        let mut change = self.db.change().await?;
        if !usage::advance_ledger(change.conn(), tenant, signal, &row).await? {
            return Ok(false);
        }
        let folded: std::collections::HashMap<_, _> =
            usage::folded_hours(change.conn(), tenant, signal).await?.into_iter().collect();
        for (hour, quantities) in &ledger.hours {
            let counts = counts_of(quantities);
            if folded.get(hour) != Some(&counts) {
                usage::put_hour(change.conn(), tenant, signal, *hour, counts, now_ms).await?;
            }
        }
        change.commit_silently().await?;
        Ok(true)
    }

    /// Counts what a tenant's objects took in the bucket since that was last counted, as byte-hours of this month: what the
    /// operator pays.
    async fn measure(&self, tenant: &str, signal: Signal, folded: &LedgerRow) -> Result<(), FoldError> {
        let now_ms = self.now_ms();
        let elapsed_ms = now_ms.saturating_sub(folded.measured_at_ms);
        if elapsed_ms < MEASURE_INTERVAL_MS {
            return Ok(());
        }
        let month = Month::containing(now_ms.div_euclid(1000))?.to_string();
        let byte_hours = i128::from(folded.at_rest_bytes) * i128::from(elapsed_ms) / 3_600_000;
        let byte_hours = i64::try_from(byte_hours).unwrap_or(i64::MAX);
        let mut change = self.db.change().await?;
        if usage::measured(change.conn(), tenant, signal, folded.measured_at_ms, now_ms).await? {
            let resource = Resource::StorageByteHours.as_str();
            usage::add_resource(change.conn(), &month, tenant, resource, byte_hours).await?;
            change.commit_silently().await?;
        }
        Ok(())
    }
}
