use std::sync::atomic::AtomicU64;

use super::*;

fn manual_clock() -> (Arc<AtomicU64>, MonotonicNow) {
    let millis = Arc::new(AtomicU64::new(0));
    let shared = Arc::clone(&millis);
    (millis, Arc::new(move || Duration::from_millis(shared.load(Ordering::Relaxed))))
}

fn limiter(limits: Limits) -> (Arc<AtomicU64>, TenantLimiter) {
    let (millis, clock) = manual_clock();
    (millis, TenantLimiter::new(limits, clock))
}

#[test]
fn a_rate_lets_the_burst_through_and_then_says_how_long_to_wait() {
    let (millis, limiter) =
        limiter(Limits { samples_per_second: Some(100), samples_burst: 300, ..Limits::default() });
    assert_eq!(limiter.admit_samples(300), Ok(()));
    let denied = limiter.admit_samples(50).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "limit samples_per_second reached: 100 allowed, current use 300, this request needs 50"
    );
    assert_eq!(denied.retry_after, Some(Duration::from_millis(500)));
    millis.store(499, Ordering::Relaxed);
    assert!(limiter.admit_samples(50).is_err());
    millis.store(500, Ordering::Relaxed);
    assert_eq!(limiter.admit_samples(50), Ok(()));
}

#[test]
fn what_exceeds_the_burst_is_not_told_to_wait() {
    let (_, limiter) =
        limiter(Limits { samples_per_second: Some(100), samples_burst: 300, ..Limits::default() });
    for samples in [301, u64::from(u32::MAX) + 1] {
        let denied = limiter.admit_samples(samples).unwrap_err();
        assert_eq!((denied.limit, denied.allowed, denied.retry_after), (LimitName::SamplesBurst, 300, None));
    }
    assert_eq!(limiter.admit_samples(300), Ok(()));
}

#[test]
fn no_rate_is_no_limit_and_zero_stops_everything() {
    let (_, unlimited) = limiter(Limits::unlimited());
    assert_eq!(unlimited.admit_samples(u64::MAX), Ok(()));
    assert_eq!(unlimited.check_request_bytes(u64::MAX), Ok(()));
    let (_, stopped) = limiter(Limits { samples_per_second: Some(0), ..Limits::default() });
    assert_eq!(stopped.admit_samples(0), Ok(()));
    let denied = stopped.admit_samples(1).unwrap_err();
    assert_eq!((denied.limit, denied.retry_after), (LimitName::SamplesPerSecond, Some(STOPPED_RETRY_AFTER)));
}

#[test]
fn queries_beyond_the_limit_wait_for_one_to_end() {
    let (_, limiter) = limiter(Limits { query_concurrency: Some(2), ..Limits::default() });
    let first = limiter.start_query().unwrap();
    let _second = limiter.start_query().unwrap();
    let denied = limiter.start_query().unwrap_err();
    assert_eq!((denied.limit, denied.allowed, denied.used), (LimitName::QueryConcurrency, 2, 2));
    drop(first);
    assert!(limiter.start_query().is_ok());
}

#[test]
fn a_body_may_be_as_large_as_the_limit() {
    let (_, limiter) = limiter(Limits { request_bytes: Some(10), ..Limits::default() });
    assert_eq!(limiter.check_request_bytes(10), Ok(()));
    assert_eq!(limiter.check_request_bytes(11).unwrap_err().limit, LimitName::RequestBytes);
}
