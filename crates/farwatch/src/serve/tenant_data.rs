//! Deletes the data of tenants that were deleted in the control plane, as `farwatch tenant delete` does.

use std::sync::Arc;

use async_trait::async_trait;
use control_plane::ports::{TenantData, TenantDataError};
use segment_store::compact::{Compactor, CompactorParts, CompactorSettings, KeepForever, NoListener};
use segment_store::{Bucket, Clock, Seed, WorkOn};
use telemetry::TenantId;

use super::node::SHARD;

/// Tenants' data in a bucket.
#[derive(Debug)]
pub(super) struct BucketData {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) clock: Arc<dyn Clock>,
}

fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> TenantDataError {
    TenantDataError(error.into())
}

#[async_trait]
impl TenantData for BucketData {
    /// Marks the tenant and deletes what is its alone. What it shares with others in one object goes when the compactor, wherever
    /// it runs, writes that anew.
    async fn delete(&self, tenant: &str) -> Result<(), TenantDataError> {
        let tenant = TenantId::new(tenant).map_err(failed)?;
        let compactor = Compactor::new(CompactorParts {
            bucket: Arc::clone(&self.bucket),
            shard: SHARD,
            clock: Arc::clone(&self.clock),
            seed: Seed::from_os().map_err(failed)?,
            work_on: WorkOn::BlockingThreads,
            retention: Arc::new(KeepForever),
            listener: Arc::new(NoListener),
            settings: CompactorSettings::default(),
        });
        compactor.delete_tenant(&tenant).await.map_err(failed)?;
        Ok(())
    }
}
