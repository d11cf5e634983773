//! Others who take names.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::testing::{Hook, Request, tenant};
use segment_store::{Bucket, BucketError, PutCondition, PutId, Seed, SegmentKey};
use storage_format::{FreshPartition, encode_fresh};
use telemetry::MetricBatch;

use crate::data::{Data, Item, rows_of};
use crate::record::{Record, TENANTS};
use crate::world::EPOCH_MS;

/// Now and then somebody else puts a segment under the very name, with data of its own that was acked, too.
#[derive(Debug)]
pub(crate) struct Rivals {
    rng: Mutex<ChaCha8Rng>,
    record: Arc<Record>,
}

/// In thousandths of puts.
const RIVAL_CHANCE: u32 = 30;

impl Rivals {
    pub(crate) fn new(seed: &Seed, record: Arc<Record>) -> Self {
        Self { rng: Mutex::new(seed.rng()), record }
    }

    async fn take(&self, bucket: &dyn Bucket, key: &str) {
        let (number, value) = self.rng.lock().random::<(u32, f64)>();
        let of = TENANTS[number as usize % TENANTS.len()];
        let at_ms = EPOCH_MS + i64::from(number % 3_600_000);
        let item = Item { tenant: of, name: "rival".to_owned(), at_ms, data: Data::Float(value) };
        let batch = MetricBatch::from_rows(vec![rows_of(std::slice::from_ref(&item))]);
        let (id, metrics) = (tenant(of), batch);
        let body = encode_fresh(&[FreshPartition { tenant: &id, metrics: &metrics }]).unwrap();
        let put_id = Some(PutId(self.rng.lock().random()));
        self.record.sent(std::slice::from_ref(&item));
        if bucket.put(key, body.into(), PutCondition::IfAbsent, put_id).await.is_ok() {
            self.record.acked(std::slice::from_ref(&item));
        }
    }
}

#[async_trait]
impl Hook for Rivals {
    async fn before(&self, bucket: &dyn Bucket, request: Request<'_>) -> Result<(), BucketError> {
        let Request::Put { key } = request else { return Ok(()) };
        let dice = self.rng.lock().random_range(0..1_000_u32);
        if dice < RIVAL_CHANCE && key.parse::<SegmentKey>().is_ok() {
            self.take(bucket, key).await;
        }
        Ok(())
    }
}
