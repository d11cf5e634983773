//! What the control plane bills by, read from the bucket: the tenants' ledgers, and the reports of processes.

use std::sync::Arc;

use async_trait::async_trait;
use control_plane::billing::{Quantities, Signal};
use control_plane::ports::{ActivityReport, LedgerState, UsageSource, UsageSourceError};
use segment_store::compact::list_tenants;
use segment_store::{Bucket, BucketError, Etag, GetRange, HourUsage, TenantManifest, read_manifest};
use telemetry::TenantId;

/// Reports are here, each under a name of its own: made by a process, deleted by the control plane when they are counted.
pub(super) const ACTIVITY_PREFIX: &str = "activity/";

/// Ledgers and reports in a bucket.
#[derive(Debug)]
pub(super) struct BucketUsage(pub(super) Arc<dyn Bucket>);

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> UsageSourceError {
    UsageSourceError(error.into())
}

#[async_trait]
impl UsageSource for BucketUsage {
    async fn tenants(&self) -> Result<Vec<String>, UsageSourceError> {
        let tenants = list_tenants(&*self.0).await.map_err(failed)?;
        Ok(tenants.iter().map(ToString::to_string).collect())
    }

    async fn ledger(
        &self,
        tenant: &str,
        signal: Signal,
        known: Option<&str>,
    ) -> Result<Option<LedgerState>, UsageSourceError> {
        // Spans have no segments yet.
        if signal != Signal::Metrics {
            return Ok(None);
        }
        let key = TenantManifest::key(&TenantId::new(tenant).map_err(failed)?);
        let known = known.map(Etag::new);
        let read = read_manifest(&*self.0, &key, known.as_ref(), TenantManifest::decode).await;
        let Some((manifest, etag)) = read.map_err(failed)? else { return Ok(None) };
        Ok(Some(state_of(&manifest, etag.as_str())))
    }

    async fn reports(&self, count: usize) -> Result<Vec<ActivityReport>, UsageSourceError> {
        let page = self.0.list(ACTIVITY_PREFIX, None, count).await.map_err(failed)?;
        let mut reports = Vec::with_capacity(page.objects.len());
        for object in page.objects {
            let body = match self.0.get(&object.key, GetRange::Full).await {
                Ok(found) => found.body,
                // Another process has counted it.
                Err(BucketError::NotFound { .. }) => continue,
                Err(error) => return Err(failed(error)),
            };
            // One that nobody can read says nothing, and goes as if it had been counted.
            let activity = serde_json::from_slice(&body).unwrap_or_else(|error| {
                tracing::warn!(key = object.key, %error, "a report of activity cannot be read; it is deleted");
                Default::default()
            });
            reports.push(ActivityReport { id: object.key, activity });
        }
        Ok(reports)
    }

    async fn forget(&self, ids: &[String]) -> Result<(), UsageSourceError> {
        self.0.delete_many(ids).await.map_err(failed)
    }
}

fn state_of(manifest: &TenantManifest, tag: &str) -> LedgerState {
    let hours = manifest.ledger.hours.iter().map(|(hour, usage)| (hour.0, quantities(usage)));
    LedgerState {
        generation: manifest.generation,
        tag: tag.to_owned(),
        at_rest_bytes: manifest.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.len)),
        hours: hours.collect(),
    }
}

/// What of an hour of metrics is billed.
pub(crate) fn quantities(usage: &HourUsage) -> Quantities {
    Quantities {
        samples: usage.all_samples(),
        spans: 0,
        stored_bytes: usage.bytes,
        active_series: usage.active_series,
    }
}
