//! A bucket that fails, from a seed.
//!
//! The fault model. For each request one of these is drawn; chances are in thousandths.
//!
//! | fault | the work is | the caller sees |
//! |---|---|---|
//! | refused | not done | unavailable, known not to be done (503 before anything happened) |
//! | lost before | not done | unavailable, outcome unknown (connection cut, timeout) |
//! | lost after | done | unavailable, outcome unknown |
//! | late (puts) | done up to a minute later | unavailable, outcome unknown |
//! | conflict (conditional puts) | not done | 409 |
//! | doubled (puts) | done twice, as by a proxy that retries | the answer to the second: 412 to its own object |
//!
//! Besides, every request and every answer takes a random time, so requests overtake each other. A bucket never lies: it
//! does not answer 200 without having stored, and what it stored stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::{
    Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, Operation, PutCondition, PutId,
    PutOutcome, Seed,
};

/// How often which fault happens, in thousandths of requests, and how slow requests are.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Refused before anything was done.
    pub refused: u32,
    /// The request was lost.
    pub lost_before: u32,
    /// The answer was lost.
    pub lost_after: u32,
    /// The answer was lost, and the work is done later. Puts only.
    pub late: u32,
    /// 409. Conditional puts only.
    pub conflict: u32,
    /// Done twice. Puts only.
    pub doubled: u32,
    /// Request and answer each take up to this long.
    pub delay_max: Duration,
}

impl Faults {
    /// One request in ten fails, in every way there is.
    #[must_use]
    pub fn often() -> Self {
        let delay_max = Duration::from_millis(150);
        Self { refused: 20, lost_before: 20, lost_after: 25, late: 15, conflict: 10, doubled: 10, delay_max }
    }
}

/// A late put is done within this time.
const LATE_MAX: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Refused,
    LostBefore,
    LostAfter,
    Late,
    Conflict,
    Doubled,
}

/// Injects faults into the requests to a bucket.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Bucket>,
    faults: Faults,
    rng: Mutex<ChaCha8Rng>,
    healed: AtomicBool,
}

impl Faulty {
    /// Injects `faults` into requests to `inner`, drawn from `seed` in the order of requests.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>, faults: Faults, seed: &Seed) -> Self {
        Self { inner, faults, rng: Mutex::new(seed.rng()), healed: AtomicBool::new(false) }
    }

    /// Ends the faults; requests that are already late stay so.
    pub fn heal(&self) {
        self.healed.store(true, Ordering::Relaxed);
    }

    fn draw(&self) -> Fault {
        if self.healed.load(Ordering::Relaxed) {
            return Fault::None;
        }
        let mut dice = self.rng.lock().random_range(0..1_000_u32);
        let chances = [
            (self.faults.refused, Fault::Refused),
            (self.faults.lost_before, Fault::LostBefore),
            (self.faults.lost_after, Fault::LostAfter),
            (self.faults.late, Fault::Late),
            (self.faults.conflict, Fault::Conflict),
            (self.faults.doubled, Fault::Doubled),
        ];
        for (chance, fault) in chances {
            if dice < chance {
                return fault;
            }
            dice -= chance;
        }
        Fault::None
    }

    async fn pause(&self, at_most: Duration) {
        let at_most_us = u64::try_from(at_most.as_micros()).unwrap_or(u64::MAX);
        if at_most_us > 0 && !self.healed.load(Ordering::Relaxed) {
            let us = self.rng.lock().random_range(0..=at_most_us);
            tokio::time::sleep(Duration::from_micros(us)).await;
        }
    }

    /// A request other than a put: the faults of puts alone become a lost answer.
    async fn request<T>(
        &self,
        operation: Operation,
        key: &str,
        work: impl Future<Output = Result<T, BucketError>> + Send,
    ) -> Result<T, BucketError> {
        let fault = self.draw();
        self.pause(self.faults.delay_max).await;
        match fault {
            Fault::None | Fault::Doubled => {
                let answer = work.await;
                self.pause(self.faults.delay_max).await;
                answer
            }
            Fault::Refused => Err(unavailable(operation, key, PutOutcome::NotDone)),
            Fault::LostBefore | Fault::Conflict => Err(unavailable(operation, key, PutOutcome::Unknown)),
            Fault::LostAfter | Fault::Late => {
                drop(work.await);
                Err(unavailable(operation, key, PutOutcome::Unknown))
            }
        }
    }
}

fn unavailable(operation: Operation, key: &str, outcome: PutOutcome) -> BucketError {
    BucketError::Unavailable { operation, key: key.to_owned(), outcome, source: "injected fault".into() }
}

#[async_trait]
impl Bucket for Faulty {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        let fault = self.draw();
        self.pause(self.faults.delay_max).await;
        let unknown = || Err(unavailable(Operation::Put, key, PutOutcome::Unknown));
        match fault {
            Fault::Refused => Err(unavailable(Operation::Put, key, PutOutcome::NotDone)),
            Fault::LostBefore => unknown(),
            Fault::Conflict if condition != PutCondition::Always => {
                Err(BucketError::Conflict { operation: Operation::Put, key: key.to_owned() })
            }
            Fault::LostAfter => {
                drop(self.inner.put(key, body, condition, put_id).await);
                unknown()
            }
            Fault::Late => {
                let late_ms = self.rng.lock().random_range(0..LATE_MAX.as_millis() as u64);
                let (inner, key) = (Arc::clone(&self.inner), key.to_owned());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(late_ms)).await;
                    drop(inner.put(&key, body, condition, put_id).await);
                });
                unknown()
            }
            Fault::Doubled => {
                drop(self.inner.put(key, body.clone(), condition.clone(), put_id).await);
                self.pause(self.faults.delay_max).await;
                self.inner.put(key, body, condition, put_id).await
            }
            Fault::None | Fault::Conflict => {
                let answer = self.inner.put(key, body, condition, put_id).await;
                self.pause(self.faults.delay_max).await;
                answer
            }
        }
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        self.request(Operation::Get, key, self.inner.get(key, range)).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        self.request(Operation::Get, key, self.inner.get_if_changed(key, known)).await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.request(Operation::Head, key, self.inner.head(key)).await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        self.request(Operation::List, prefix, self.inner.list(prefix, start_after, max_keys)).await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        let first = keys.first().map_or("", String::as_str);
        self.request(Operation::Delete, first, self.inner.delete_many(keys)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryBucket, conformance};

    /// Without faults it is the bucket that it wraps; with delay alone it only takes longer.
    #[tokio::test(start_paused = true)]
    async fn conforms_when_nothing_fails() {
        let faults = Faults { delay_max: Duration::from_millis(30), ..Faults::default() };
        let faulty = Faulty::new(Arc::new(MemoryBucket::default()), faults, &Seed::from_number(1));
        conformance::check(Arc::new(faulty), "faulty").await;
    }

    /// Every fault happens, and leaves behind what its line in the table says.
    #[tokio::test(start_paused = true)]
    async fn faults_are_as_the_model_says() {
        let inner = Arc::new(MemoryBucket::default());
        type Expected = fn(&BucketError) -> bool;
        let cases: [(Faults, bool, Expected); 6] = [
            (Faults { refused: 1_000, ..Faults::default() }, false, |e| {
                e.is_retryable() && !e.outcome_unknown()
            }),
            (Faults { lost_before: 1_000, ..Faults::default() }, false, BucketError::outcome_unknown),
            (Faults { lost_after: 1_000, ..Faults::default() }, true, BucketError::outcome_unknown),
            (Faults { late: 1_000, ..Faults::default() }, true, BucketError::outcome_unknown),
            (Faults { conflict: 1_000, ..Faults::default() }, false, |e| {
                matches!(e, BucketError::Conflict { .. })
            }),
            (Faults { doubled: 1_000, ..Faults::default() }, true, |e| {
                matches!(e, BucketError::PreconditionFailed { .. })
            }),
        ];
        for (number, (faults, stored, expected)) in cases.into_iter().enumerate() {
            let bucket = Faulty::new(Arc::clone(&inner) as _, faults, &Seed::from_number(2));
            let key = format!("case/{number}");
            let error =
                bucket.put(&key, Bytes::from_static(b"x"), PutCondition::IfAbsent, None).await.unwrap_err();
            assert!(expected(&error), "{number}: {error:?}");
            tokio::time::sleep(LATE_MAX).await;
            assert_eq!(inner.head(&key).await.is_ok(), stored, "{number}");
        }
    }
}
