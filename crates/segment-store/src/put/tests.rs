use std::collections::VecDeque;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::*;
use crate::testing::{MemoryBucket, SimClock};
use crate::{GetRange, ListPage, Object, ObjectMeta, Seed};

/// What the bucket does with one request.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// As it should.
    Serve,
    /// Done, but the answer is lost.
    LoseAnswer,
    /// The request is cut off, and stored as far as it came, which no good server does.
    CutShort,
    /// Not done, and the caller cannot know.
    LoseRequest,
    /// 503, not done.
    Refuse,
    /// 409.
    Conflict,
    /// Somebody else takes the key just before, with another put-id.
    TakenByOther,
    /// 403.
    Deny,
    /// Never answers.
    Hang,
}

#[derive(Debug, Default)]
struct Scripted {
    inner: MemoryBucket,
    puts: Mutex<VecDeque<Step>>,
    heads: Mutex<VecDeque<Step>>,
    requests: Mutex<Vec<Operation>>,
}

impl Scripted {
    fn error(operation: Operation, key: &str, step: Step) -> BucketError {
        let key = key.to_owned();
        match step {
            Step::Conflict => BucketError::Conflict { operation, key },
            Step::Deny => BucketError::Denied { operation, key, source: "403".into() },
            Step::Refuse => BucketError::Unavailable {
                operation,
                key,
                outcome: PutOutcome::NotDone,
                source: "503".into(),
            },
            _ => BucketError::Unavailable {
                operation,
                key,
                outcome: PutOutcome::Unknown,
                source: "cut".into(),
            },
        }
    }
}

#[async_trait]
impl Bucket for Scripted {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        self.requests.lock().push(Operation::Put);
        let step = self.puts.lock().pop_front().expect("a put that the script does not have");
        match step {
            Step::Serve => self.inner.put(key, body, condition, put_id).await,
            Step::LoseAnswer => {
                let _ = self.inner.put(key, body, condition, put_id).await;
                Err(Self::error(Operation::Put, key, step))
            }
            Step::CutShort => {
                let _ = self.inner.put(key, body.slice(..1), condition, put_id).await;
                Err(Self::error(Operation::Put, key, step))
            }
            Step::TakenByOther => {
                let other = Some(PutId([0xee; 16]));
                self.inner
                    .put(key, Bytes::from_static(b"other"), PutCondition::IfAbsent, other)
                    .await
                    .unwrap();
                self.inner.put(key, body, condition, put_id).await
            }
            Step::Hang => std::future::pending().await,
            Step::LoseRequest | Step::Refuse | Step::Conflict | Step::Deny => {
                Err(Self::error(Operation::Put, key, step))
            }
        }
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        self.requests.lock().push(Operation::Head);
        let step = self.heads.lock().pop_front().unwrap_or(Step::Serve);
        match step {
            Step::Serve => self.inner.head(key).await,
            Step::Hang => std::future::pending().await,
            step => Err(Self::error(Operation::Head, key, step)),
        }
    }

    async fn get(&self, key: &str, _: GetRange) -> Result<Object, BucketError> {
        Err(Self::error(Operation::Get, key, Step::Deny))
    }

    async fn get_if_changed(&self, key: &str, _: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        Err(Self::error(Operation::Get, key, Step::Deny))
    }

    async fn list(&self, prefix: &str, _: Option<&str>, _: usize) -> Result<ListPage, BucketError> {
        Err(Self::error(Operation::List, prefix, Step::Deny))
    }

    async fn delete_many(&self, _: &[String]) -> Result<(), BucketError> {
        unreachable!("nothing is deleted because an outcome is unknown")
    }
}

const PUT_TIME: Duration = Duration::from_secs(30);
const PUT_ID: PutId = PutId([7; 16]);

async fn put(bucket: &Scripted, counters: &PutCounters) -> Result<Etag, PutFailure> {
    let clock = SimClock::new(0, 0);
    let body = Bytes::from_static(b"mine");
    let deadline = clock.monotonic() + PUT_TIME;
    let key = "fresh/0/k";
    let condition = PutCondition::IfAbsent;
    let put = ConditionalPut {
        bucket,
        clock: &clock,
        counters,
        key,
        body: &body,
        condition,
        put_id: PUT_ID,
        deadline,
    };
    put.run(&mut Seed::from_number(1).rng()).await
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stored,
    Taken,
    NotStored,
    Unknown,
}

/// What a script of answers ends in, and how many puts and heads that takes.
async fn check(puts: &[Step], heads: &[Step], expected: End, requests: (usize, usize)) {
    let bucket = Scripted {
        puts: Mutex::new(puts.iter().copied().collect()),
        heads: Mutex::new(heads.iter().copied().collect()),
        ..Scripted::default()
    };
    let end = match put(&bucket, &PutCounters::default()).await {
        Ok(_) => End::Stored,
        Err(PutFailure::Taken(_)) => End::Taken,
        Err(PutFailure::NotStored(_)) => End::NotStored,
        Err(PutFailure::Unknown(_)) => End::Unknown,
    };
    let of = |operation| bucket.requests.lock().iter().filter(|made| **made == operation).count();
    assert_eq!((end, (of(Operation::Put), of(Operation::Head))), (expected, requests), "{puts:?} {heads:?}");
    if let Ok(meta) = bucket.inner.head("fresh/0/k").await {
        let taken = puts.iter().any(|step| matches!(step, Step::TakenByOther));
        assert_eq!(meta.put_id == Some(PUT_ID), !taken, "{puts:?}");
    } else {
        assert_ne!(end, End::Stored, "{puts:?} {heads:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_understood() {
    use Step::{Conflict, CutShort, Deny, LoseAnswer, LoseRequest, Refuse, Serve, TakenByOther};
    check(&[Serve], &[], End::Stored, (1, 0)).await;
    check(&[Conflict, Conflict, Serve], &[], End::Stored, (3, 0)).await;
    check(&[Refuse, Serve], &[], End::Stored, (2, 0)).await;
    check(&[LoseRequest, Serve], &[], End::Stored, (2, 0)).await;
    check(&[LoseAnswer, Serve], &[], End::Stored, (2, 1)).await;
    check(&[LoseAnswer, LoseAnswer, Refuse, Serve], &[], End::Stored, (4, 1)).await;
    // The HEAD fails: put again, and look again.
    check(&[LoseAnswer, Serve, Serve], &[Refuse], End::Stored, (3, 2)).await;
    check(&[TakenByOther], &[], End::Taken, (1, 1)).await;
    check(&[LoseRequest, TakenByOther], &[], End::Taken, (2, 1)).await;
    check(&[TakenByOther, Serve], &[LoseRequest], End::Taken, (2, 2)).await;
    // What is there is not what was put.
    check(&[CutShort, Serve], &[], End::Taken, (2, 1)).await;
    check(&[Deny], &[], End::NotStored, (1, 0)).await;
    check(&[Refuse, Conflict, Deny], &[], End::NotStored, (3, 0)).await;
    check(&[LoseAnswer, Deny], &[], End::Unknown, (2, 0)).await;
    check(&[LoseRequest, Deny], &[], End::Unknown, (2, 0)).await;
    // The HEAD is denied: no later one will tell whose object it is.
    check(&[LoseAnswer, Serve], &[Deny], End::Unknown, (2, 1)).await;
    check(&[TakenByOther], &[Deny], End::Unknown, (1, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn time_is_bounded_and_the_end_is_honest() {
    let cases = [
        (vec![Step::Refuse; 100], vec![], true),
        (vec![Step::Conflict; 100], vec![], true),
        ([vec![Step::LoseRequest], vec![Step::Refuse; 100]].concat(), vec![], false),
        (vec![Step::Hang], vec![], false),
        (vec![Step::LoseAnswer, Step::Serve], vec![Step::Hang], false),
    ];
    for (puts, heads, known) in cases {
        let bucket = Scripted {
            puts: Mutex::new(puts.into()),
            heads: Mutex::new(heads.into()),
            ..Scripted::default()
        };
        let started = tokio::time::Instant::now();
        let failure = put(&bucket, &PutCounters::default()).await.unwrap_err();
        assert!(started.elapsed() <= PUT_TIME && started.elapsed() >= PUT_TIME - PUT_BACKOFF.1);
        assert_eq!(matches!(failure, PutFailure::NotStored(_)), known, "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_and_confirmations_are_counted() {
    let counters = PutCounters::default();
    let puts = [Step::Refuse, Step::LoseAnswer, Step::Serve];
    let bucket = Scripted { puts: Mutex::new(puts.into()), ..Scripted::default() };
    put(&bucket, &counters).await.unwrap();
    assert_eq!((counters.retries.into_inner(), counters.confirmed.into_inner()), (2, 1));
}

/// A version is replaced once, whatever becomes of the answers; and never when it is gone.
#[tokio::test(start_paused = true)]
async fn a_version_is_replaced_or_not() {
    use Step::{LoseAnswer, LoseRequest, Serve};
    for (puts, gone, replaced) in [
        (vec![Serve], false, true),
        (vec![LoseAnswer, Serve], false, true),
        (vec![LoseRequest, Serve], true, false),
    ] {
        let bucket = Scripted { puts: Mutex::new(puts.into()), ..Scripted::default() };
        let old = Bytes::from_static(b"old");
        let etag = bucket.inner.put("m", old, PutCondition::IfAbsent, None).await.unwrap();
        if gone {
            bucket.inner.delete_many(&["m".to_owned()]).await.unwrap();
        }
        let clock = SimClock::new(0, 0);
        let put = ConditionalPut {
            bucket: &bucket,
            clock: &clock,
            counters: &PutCounters::default(),
            key: "m",
            body: &Bytes::from_static(b"new"),
            condition: PutCondition::IfMatch(etag),
            put_id: PUT_ID,
            deadline: PUT_TIME,
        };
        match put.run(&mut Seed::from_number(1).rng()).await {
            Ok(etag) => assert_eq!((bucket.inner.head("m").await.unwrap().etag, true), (etag, replaced)),
            Err(failure) => assert!(!replaced && matches!(failure, PutFailure::Taken(_)), "{failure:?}"),
        }
    }
}
