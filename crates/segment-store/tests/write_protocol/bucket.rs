//! What lies between a simulated writer and the bucket besides faults: its own death, its mistakes, and others who take its names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use segment_store::testing::{float_rows, tenant};
use segment_store::{
    Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, PutCondition, PutId, Seed,
};
use storage_format::{FreshPartition, encode_fresh};
use telemetry::MetricBatch;

use crate::breaks::Break;
use crate::ledger::{Ledger, Sample, TENANTS};

/// The bucket as one writer's process sees it. When the process is killed, requests that it made are still done, but no answer ever
/// arrives.
#[derive(Debug)]
pub(crate) struct ProcessView {
    inner: Arc<dyn Bucket>,
    broken: Break,
    dead: Arc<AtomicBool>,
}

impl ProcessView {
    pub(crate) fn new(inner: Arc<dyn Bucket>, broken: Break, dead: Arc<AtomicBool>) -> Self {
        Self { inner, broken, dead }
    }

    async fn alive<T>(&self, request: impl Future<Output = T> + Send) -> T {
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let answer = request.await;
        if self.dead.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        answer
    }
}

#[async_trait]
impl Bucket for ProcessView {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        let (condition, put_id) = self.broken.request(condition, put_id);
        if self.broken == Break::AckBeforePut {
            let (inner, key) = (Arc::clone(&self.inner), key.to_owned());
            tokio::spawn(async move { drop(inner.put(&key, body, condition, put_id).await) });
            return Ok(Etag::new(""));
        }
        let answer = self.alive(self.inner.put(key, body, condition, put_id)).await;
        self.broken.answer(answer)
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        self.alive(self.inner.get(key, range)).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        self.alive(self.inner.get_if_changed(key, known)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.alive(self.inner.head(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        self.alive(self.inner.list(prefix, after, max_keys)).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        self.alive(self.inner.delete_many(keys)).await
    }
}

/// Now and then somebody else puts a segment under the very name, with data of its own that was acked, too.
#[derive(Debug)]
pub(crate) struct Rivals {
    inner: Arc<dyn Bucket>,
    rng: Mutex<ChaCha8Rng>,
    ledger: Arc<Ledger>,
}

/// In thousandths of puts.
const RIVAL_CHANCE: u32 = 30;

impl Rivals {
    pub(crate) fn new(inner: Arc<dyn Bucket>, seed: &Seed, ledger: Arc<Ledger>) -> Self {
        Self { inner, rng: Mutex::new(seed.rng()), ledger }
    }

    async fn take(&self, key: &str) {
        let (number, value) = self.rng.lock().random::<(u32, f64)>();
        let of = TENANTS[number as usize % TENANTS.len()];
        let sample = Sample { tenant: of, name: "rival".to_owned(), at_ms: i64::from(number), value };
        let rows = float_rows(&[(&sample.name, sample.at_ms, sample.value)]);
        let (id, metrics) = (tenant(of), MetricBatch::from_rows(vec![rows]));
        let body = encode_fresh(&[FreshPartition { tenant: &id, metrics: &metrics }]).unwrap();
        let put_id = Some(PutId(self.rng.lock().random()));
        self.ledger.sent(std::slice::from_ref(&sample));
        if self.inner.put(key, body.into(), PutCondition::IfAbsent, put_id).await.is_ok() {
            self.ledger.acked(std::slice::from_ref(&sample));
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
        if dice < RIVAL_CHANCE {
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
