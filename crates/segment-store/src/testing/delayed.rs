//! A bucket that is far away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, PutCondition, PutId};

/// Adds the same time to every request, before it is made.
#[derive(Debug)]
pub struct Delayed {
    inner: Arc<dyn Bucket>,
    delay: Duration,
}

impl Delayed {
    /// Delays every request to `inner` by `delay`.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>, delay: Duration) -> Self {
        Self { inner, delay }
    }
}

#[async_trait]
impl Bucket for Delayed {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        tokio::time::sleep(self.delay).await;
        self.inner.put(key, body, condition, put_id).await
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        tokio::time::sleep(self.delay).await;
        self.inner.get(key, range).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        tokio::time::sleep(self.delay).await;
        self.inner.get_if_changed(key, known).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        tokio::time::sleep(self.delay).await;
        self.inner.head(key).await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        tokio::time::sleep(self.delay).await;
        self.inner.list(prefix, start_after, max_keys).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        tokio::time::sleep(self.delay).await;
        self.inner.delete_many(keys).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryBucket, conformance};

    #[tokio::test(start_paused = true)]
    async fn conforms_later() {
        let started = tokio::time::Instant::now();
        let far = Delayed::new(Arc::new(MemoryBucket::default()), Duration::from_millis(60));
        conformance::check(Arc::new(far), "delayed").await;
        assert!(started.elapsed() > Duration::from_secs(1));
    }
}
