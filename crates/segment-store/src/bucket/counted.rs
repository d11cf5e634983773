//! Counts requests: object stores bill them one by one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, Operation, PutCondition, PutId,
};

/// Counts the requests to a bucket, by operation, and how many of them failed.
#[derive(Debug)]
pub struct Counted {
    inner: Arc<dyn Bucket>,
    requests: [AtomicU64; Operation::ALL.len()],
    errors: [AtomicU64; Operation::ALL.len()],
    bytes_put: AtomicU64,
    bytes_got: AtomicU64,
}

/// Requests so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Requests made, in the order of [`Operation::ALL`].
    pub requests: [u64; Operation::ALL.len()],
    /// Of those, the ones that ended with an error other than "not found" or "the condition does not hold".
    pub errors: [u64; Operation::ALL.len()],
    /// Bytes of bodies sent, retries included.
    pub bytes_put: u64,
    /// Bytes of bodies received.
    pub bytes_got: u64,
}

impl RequestCounts {
    /// Requests of this operation.
    #[must_use]
    pub fn of(&self, operation: Operation) -> u64 {
        self.requests[operation as usize]
    }

    /// Requests of all operations.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.requests.iter().sum()
    }
}

impl Counted {
    /// Counts the requests to `inner` from now on.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>) -> Self {
        Self {
            inner,
            requests: Default::default(),
            errors: Default::default(),
            bytes_put: AtomicU64::new(0),
            bytes_got: AtomicU64::new(0),
        }
    }

    /// The counts so far.
    #[must_use]
    pub fn counts(&self) -> RequestCounts {
        let read = |counters: &[AtomicU64; Operation::ALL.len()]| {
            std::array::from_fn(|index| counters[index].load(Ordering::Relaxed))
        };
        RequestCounts {
            requests: read(&self.requests),
            errors: read(&self.errors),
            bytes_put: self.bytes_put.load(Ordering::Relaxed),
            bytes_got: self.bytes_got.load(Ordering::Relaxed),
        }
    }

    fn started(&self, operation: Operation) {
        self.requests[operation as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn ended<T>(&self, operation: Operation, answer: Result<T, BucketError>) -> Result<T, BucketError> {
        match &answer {
            Ok(_) | Err(BucketError::NotFound { .. } | BucketError::PreconditionFailed { .. }) => {}
            Err(_) => drop(self.errors[operation as usize].fetch_add(1, Ordering::Relaxed)),
        }
        answer
    }

    fn got(&self, object: &Object) {
        self.bytes_got.fetch_add(object.body.len() as u64, Ordering::Relaxed);
    }
}

#[async_trait]
impl Bucket for Counted {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        self.started(Operation::Put);
        self.bytes_put.fetch_add(body.len() as u64, Ordering::Relaxed);
        self.ended(Operation::Put, self.inner.put(key, body, condition, put_id).await)
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        self.started(Operation::Get);
        let answer = self.ended(Operation::Get, self.inner.get(key, range).await);
        answer.inspect(|object| self.got(object))
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        self.started(Operation::Get);
        let answer = self.ended(Operation::Get, self.inner.get_if_changed(key, known).await);
        answer.inspect(|object| object.iter().for_each(|object| self.got(object)))
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.started(Operation::Head);
        self.ended(Operation::Head, self.inner.head(key).await)
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        self.started(Operation::List);
        self.ended(Operation::List, self.inner.list(prefix, start_after, max_keys).await)
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        self.started(Operation::Delete);
        self.ended(Operation::Delete, self.inner.delete_many(keys).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryBucket, conformance};

    #[tokio::test]
    async fn conforms_and_counts() {
        let counted = Arc::new(Counted::new(Arc::new(MemoryBucket::default())));
        let body = Bytes::from_static(b"12345");
        counted.put("a", body.clone(), PutCondition::IfAbsent, None).await.unwrap();
        counted.put("a", body, PutCondition::IfAbsent, None).await.unwrap_err();
        counted.get("a", GetRange::Suffix(2)).await.unwrap();
        counted.get("a b", GetRange::Full).await.unwrap_err();
        let counts = counted.counts();
        assert_eq!(counts.requests, [2, 2, 0, 0, 0]);
        assert_eq!(counts.errors, [0, 1, 0, 0, 0]);
        assert_eq!((counts.bytes_put, counts.bytes_got, counts.total()), (10, 2, 4));
        conformance::check(counted, "counted").await;
    }
}
