//! Tries reads again.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand_chacha::ChaCha8Rng;

use super::{Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, PutCondition, PutId};
use crate::backoff::Backoff;
use crate::limits::{READ_BACKOFF, READ_TIME};
use crate::{Clock, Seed};

/// Repeats reads, listings and deletions that failed in a way that may pass, up to [`READ_TIME`]. A put goes through once:
/// what a second one means, only its maker knows.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn Bucket>,
    clock: Arc<dyn Clock>,
    rng: Mutex<ChaCha8Rng>,
    /// Whether it was said that the bucket does not answer.
    failing: AtomicBool,
}

impl Retrying {
    /// Repeats requests to `inner`, with waits drawn from `seed`.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>, clock: Arc<dyn Clock>, seed: &Seed) -> Self {
        Self { inner, clock, rng: Mutex::new(seed.rng()), failing: AtomicBool::new(false) }
    }

    async fn retry<T, F>(&self, request: impl Fn() -> F) -> Result<T, BucketError>
    where
        F: Future<Output = Result<T, BucketError>>,
    {
        let deadline = self.clock.monotonic() + READ_TIME;
        let mut backoff = Backoff::new(READ_BACKOFF);
        loop {
            let error = match request().await {
                Err(error) if error.is_retryable() => error,
                answer => {
                    if self.failing.swap(false, Ordering::Relaxed) {
                        tracing::info!("the bucket answers again");
                    }
                    return answer;
                }
            };
            let wait = backoff.next_wait(&mut *self.rng.lock());
            if self.clock.monotonic() + wait >= deadline {
                return Err(error);
            }
            // Once when it begins and once when it ends, not for every request.
            if !self.failing.swap(true, Ordering::Relaxed) {
                tracing::warn!(error = with_causes(&error), "the bucket failed a request; trying again");
            }
            tokio::time::sleep(wait).await;
        }
    }
}

/// The error with all its causes, in one line.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[async_trait]
impl Bucket for Retrying {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        self.inner.put(key, body, condition, put_id).await
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        self.retry(|| self.inner.get(key, range.clone())).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        self.retry(|| self.inner.get_if_changed(key, known)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.retry(|| self.inner.head(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        self.retry(|| self.inner.list(prefix, start_after, max_keys)).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        self.retry(|| self.inner.delete_many(keys)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Faults, Faulty, MemoryBucket, SimClock, conformance};
    use crate::{Counted, Operation};

    fn retrying(faults: Faults) -> (Retrying, Arc<Counted>) {
        let faulty = Faulty::new(Arc::new(MemoryBucket::default()), faults, &Seed::from_number(1));
        let counted = Arc::new(Counted::new(Arc::new(faulty)));
        let clock = Arc::new(SimClock::new(0, 0));
        (Retrying::new(Arc::clone(&counted) as _, clock, &Seed::from_number(2)), counted)
    }

    #[tokio::test(start_paused = true)]
    async fn conforms() {
        conformance::check(Arc::new(retrying(Faults::default()).0), "retrying").await;
    }

    #[tokio::test(start_paused = true)]
    async fn reads_get_over_faults_and_puts_see_them() {
        let (bucket, _) = retrying(Faults { refused: 300, lost_after: 300, ..Faults::default() });
        let mut puts_failed = 0;
        for number in 0..50 {
            let key = format!("k/{number}");
            puts_failed +=
                usize::from(bucket.put(&key, Bytes::new(), PutCondition::Always, None).await.is_err());
            assert!(!matches!(bucket.head(&key).await, Err(error) if error.is_retryable()));
        }
        assert!((20..=40).contains(&puts_failed), "{puts_failed}");
        let keys: Vec<String> = (0..50).map(|number| format!("k/{number}")).collect();
        bucket.delete_many(&keys).await.unwrap();
        assert_eq!(bucket.list("k/", None, 100).await.unwrap(), ListPage::default());
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_pass_is_given_up_in_time() {
        let (bucket, counted) = retrying(Faults { refused: 1_000, ..Faults::default() });
        let started = tokio::time::Instant::now();
        assert!(bucket.head("k").await.unwrap_err().is_retryable());
        assert!(started.elapsed() <= READ_TIME && started.elapsed() > READ_TIME - READ_BACKOFF.1);
        assert!(counted.counts().of(Operation::Head) > 20);
    }
}
