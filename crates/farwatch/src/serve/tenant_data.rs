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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use segment_store::{LocalBucket, PutCondition, ShardManifest, SystemClock, read_manifest};

    use super::*;

    #[tokio::test]
    async fn a_tenants_own_objects_go_it_is_marked_and_doing_it_again_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        let bucket: Arc<dyn Bucket> = Arc::new(LocalBucket::open(directory.path()).unwrap());
        for key in ["t/ten_gone/metrics/manifest", "t/ten_goner/metrics/manifest"] {
            let body = Bytes::from_static(b"of one tenant");
            bucket.put(key, body, PutCondition::IfAbsent, None).await.unwrap();
        }
        let data = BucketData { bucket: Arc::clone(&bucket), clock: Arc::new(SystemClock::new()) };
        for _ in 0..2 {
            data.delete("ten_gone").await.unwrap();
        }
        let left = bucket.list("t/", None, 10).await.unwrap().objects;
        let left: Vec<&str> = left.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(left, ["t/ten_goner/metrics/manifest"]);
        let shard = read_manifest(&*bucket, &ShardManifest::key(SHARD), None, ShardManifest::decode).await;
        let (manifest, _) = shard.unwrap().unwrap();
        assert_eq!(manifest.deleted_tenants, [TenantId::new("ten_gone").unwrap()].into());
        assert!(data.delete("../x").await.is_err());
    }
}
