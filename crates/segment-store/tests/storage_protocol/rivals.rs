//! Others who take names.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::testing::{float_rows, tenant};
use segment_store::{
    Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, PutCondition, PutId, Seed, SegmentKey,
};
use storage_format::{FreshPartition, encode_fresh};
use telemetry::MetricBatch;

use crate::record::{Id, Record, Sample, TENANTS};
use crate::world::EPOCH_MS;

/// Now and then somebody else puts a segment under the very name, with data of its own that was acked, too.
#[derive(Debug)]
pub(crate) struct Rivals {
    inner: Arc<dyn Bucket>,
    rng: Mutex<ChaCha8Rng>,
    record: Arc<Record>,
}

/// In thousandths of puts.
const RIVAL_CHANCE: u32 = 30;

impl Rivals {
    pub(crate) fn new(inner: Arc<dyn Bucket>, seed: &Seed, record: Arc<Record>) -> Self {
        Self { inner, rng: Mutex::new(seed.rng()), record }
    }

    async fn take(&self, key: &str) {
        let (number, value) = self.rng.lock().random::<(u32, f64)>();
        let of = TENANTS[number as usize % TENANTS.len()];
        let at_ms = EPOCH_MS + i64::from(number % 3_600_000);
        let sample = Sample { id: Id { tenant: of, at_ms, name: "rival".to_owned() }, value };
        let rows = float_rows(&[(&sample.id.name, at_ms, value)]);
        let (id, metrics) = (tenant(of), MetricBatch::from_rows(vec![rows]));
        let body = encode_fresh(&[FreshPartition { tenant: &id, metrics: &metrics }]).unwrap();
        let put_id = Some(PutId(self.rng.lock().random()));
        self.record.sent(std::slice::from_ref(&sample));
        if self.inner.put(key, body.into(), PutCondition::IfAbsent, put_id).await.is_ok() {
            self.record.acked(std::slice::from_ref(&sample));
        }
    }
}

#[async_trait]
impl Bucket for Rivals {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        let dice = self.rng.lock().random_range(0..1_000_u32);
        if dice < RIVAL_CHANCE && key.parse::<SegmentKey>().is_ok() {
            self.take(key).await;
        }
        self.inner.put(key, body, condition, put_id).await
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        self.inner.get(key, range).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        self.inner.get_if_changed(key, known).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.inner.head(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        self.inner.list(prefix, after, max_keys).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        self.inner.delete_many(keys).await
    }
}
