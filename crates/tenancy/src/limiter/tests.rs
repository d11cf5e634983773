use std::sync::atomic::AtomicU64;

use super::*;

const NOON_MS: i64 = 1_790_000_000_000 / DAY_MS * DAY_MS + DAY_MS / 2;

fn samples(samples: u64) -> Load {
    Load { samples, ..Load::default() }
}

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
    assert_eq!(limiter.admit(samples(300), 0, NOON_MS), Ok(vec![]));
    let denied = limiter.admit(samples(50), 0, NOON_MS).unwrap_err();
    assert_eq!(
        denied.to_string(),
        "limit samples_per_second reached: 100 allowed, current use 300, this request needs 50"
    );
    assert_eq!(denied.retry_after, Some(Duration::from_millis(500)));
    millis.store(499, Ordering::Relaxed);
    assert!(limiter.admit(samples(50), 0, NOON_MS).is_err());
    millis.store(500, Ordering::Relaxed);
    assert_eq!(limiter.admit(samples(50), 0, NOON_MS), Ok(vec![]));
}

#[test]
fn what_exceeds_the_burst_is_not_told_to_wait() {
    let (_, limiter) =
        limiter(Limits { samples_per_second: Some(100), samples_burst: 300, ..Limits::default() });
    for many in [301, u64::from(u32::MAX) + 1] {
        let denied = limiter.admit(samples(many), 0, NOON_MS).unwrap_err();
        assert_eq!((denied.limit, denied.allowed, denied.retry_after), (LimitName::SamplesBurst, 300, None));
    }
    let denied = limiter.admit(samples(301), 0, NOON_MS).unwrap_err();
    assert!(denied.to_string().ends_with("; split it into requests of at most 300 samples"), "{denied}");
    assert_eq!(limiter.admit(samples(300), 0, NOON_MS), Ok(vec![]));
}

#[test]
fn a_limiter_goes_on_with_the_day_of_another() {
    let limits = Limits { bytes_per_day: Some(1000), ..Limits::unlimited() };
    let (_, before) = limiter(limits.clone());
    before.admit(bytes(600), 0, NOON_MS).unwrap();
    before.share(PerSignal::default(), 300, NOON_MS);
    let (_, after) = limiter(limits);
    after.resume_day(before.day_use(NOON_MS));
    assert_eq!(after.usage(NOON_MS).bytes_of_day, 600);
    assert!(after.admit(bytes(101), 0, NOON_MS).is_err());
    after.admit(bytes(100), 0, NOON_MS).unwrap();
    after.admit(bytes(1000), 0, NOON_MS + DAY_MS).unwrap();
}

#[test]
fn what_is_given_back_was_not_admitted() {
    let (_, limiter) = limiter(Limits { samples_per_second: Some(100), ..Limits::default() });
    limiter.admit(samples(50), 0, NOON_MS).unwrap();
    limiter.give_back(samples(20));
    assert_eq!(limiter.usage(NOON_MS).admitted.samples, 30);
}

#[test]
fn no_rate_is_no_limit_and_zero_stops_everything() {
    let (_, unlimited) = limiter(Limits::unlimited());
    assert_eq!(unlimited.admit(samples(u64::MAX), 0, NOON_MS), Ok(vec![]));
    assert_eq!(unlimited.check_request_bytes(u64::MAX), Ok(()));
    let (_, stopped) = limiter(Limits { samples_per_second: Some(0), ..Limits::default() });
    assert_eq!(stopped.admit(samples(0), 0, NOON_MS), Ok(vec![]));
    let denied = stopped.admit(samples(1), 0, NOON_MS).unwrap_err();
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

fn bytes(bytes: u64) -> Load {
    Load { bytes, ..Load::default() }
}

#[test]
fn over_a_limit_the_lowest_priority_goes_first_and_all_of_it() {
    let (millis, limiter) =
        limiter(Limits { samples_per_second: Some(100), samples_burst: 1000, ..Limits::default() });
    let (high, normal, low) = (0, 1, 2);
    limiter.admit(samples(800), high, NOON_MS).unwrap();
    let denied = limiter.admit(samples(10), low, NOON_MS).unwrap_err();
    assert!(
        denied.kept && denied.to_string().ends_with("kept for API keys of a higher priority"),
        "{denied}"
    );
    assert_eq!(denied.retry_after, Some(Duration::from_millis(100)));
    limiter.admit(samples(100), normal, NOON_MS).unwrap();
    assert!(limiter.admit(samples(10), normal, NOON_MS).unwrap_err().kept);
    limiter.admit(samples(100), high, NOON_MS).unwrap();
    assert!(!limiter.admit(samples(10), high, NOON_MS).unwrap_err().kept);
    // A tenth of a second's worth each tenth of a second: the highest alone takes all of the rate, whatever else comes.
    for tenth in 1..=100 {
        millis.store(tenth * 100, Ordering::Relaxed);
        assert!(limiter.admit(samples(5), low, NOON_MS).is_err());
        assert!(limiter.admit(samples(5), normal, NOON_MS).is_err());
        assert!(limiter.admit(samples(10), high, NOON_MS).is_ok());
    }
    // What it leaves goes to the next, and nothing of the rate is lost.
    let mut admitted = [0; 2];
    for tenth in 101..=1100 {
        millis.store(tenth * 100, Ordering::Relaxed);
        limiter.admit(samples(4), high, NOON_MS).unwrap();
        for (priority, admitted) in [low, normal].into_iter().zip(&mut admitted) {
            *admitted += u64::from(limiter.admit(samples(10), priority, NOON_MS).is_ok()) * 10;
        }
    }
    assert_eq!(admitted[0], 0);
    assert!((5_800..=6_000).contains(&admitted[1]), "{admitted:?}");
}

#[test]
fn a_days_bytes_are_counted_from_midnight_to_midnight() {
    let (_, limiter) = limiter(Limits { bytes_per_day: Some(1000), ..Limits::unlimited() });
    assert_eq!(limiter.admit(bytes(790), 0, NOON_MS), Ok(vec![]));
    let nearly = limiter.admit(bytes(110), 0, NOON_MS).unwrap();
    assert_eq!(nearly[0].to_string(), "bytes_per_day; used=900; limit=1000");
    let denied = limiter.admit(bytes(101), 0, NOON_MS).unwrap_err();
    assert_eq!((denied.limit, denied.used, denied.requested), (LimitName::BytesPerDay, 900, 101));
    assert_eq!(denied.retry_after, Some(Duration::from_secs(300)));
    assert!(limiter.admit(bytes(100), 1, NOON_MS).unwrap_err().kept);
    let midnight_ms = NOON_MS + DAY_MS / 2;
    let late = limiter.admit(bytes(101), 0, midnight_ms - 7_000).unwrap_err();
    assert_eq!(late.retry_after, Some(Duration::from_secs(7)));
    // Other limits do not forget what was used.
    let raised = limiter.with_limits(Limits { bytes_per_day: Some(1001), ..Limits::unlimited() });
    assert!(raised.admit(bytes(102), 0, NOON_MS).is_err());
    raised.admit(bytes(101), 0, NOON_MS).unwrap();
    raised.give_back(bytes(101));
    raised.admit(bytes(101), 0, NOON_MS).unwrap();
    assert!(raised.admit(bytes(1), 0, NOON_MS).is_err());
    assert_eq!(raised.admit(bytes(1002), 0, NOON_MS).unwrap_err().retry_after, None, "no day allows that");
    raised.admit(bytes(700), 0, midnight_ms).unwrap();
}

#[test]
fn spans_have_a_rate_of_their_own() {
    let (millis, limiter) = limiter(Limits { spans_per_second: Some(10), ..Limits::default() });
    let spans = |spans| Load { spans, ..Load::default() };
    limiter.admit(spans(100), 0, NOON_MS).unwrap();
    let denied = limiter.admit(spans(5), 0, NOON_MS).unwrap_err();
    assert_eq!(
        (denied.limit, denied.retry_after),
        (LimitName::SpansPerSecond, Some(Duration::from_millis(500)))
    );
    assert_eq!(limiter.admit(spans(101), 0, NOON_MS).unwrap_err().limit, LimitName::SpansBurst);
    assert!(limiter.admit(samples(1000), 0, NOON_MS).is_ok());
    // A write that is refused for one of its parts counts for none of them.
    let both = Load { samples: 1_000_000, spans: 5, bytes: 0 };
    assert!(limiter.admit(both, 0, NOON_MS).is_err());
    millis.store(500, Ordering::Relaxed);
    assert!(limiter.admit(both, 0, NOON_MS).is_ok());
}

#[test]
fn a_rate_that_is_nearly_reached_for_a_minute_is_told() {
    let (millis, limiter) = limiter(Limits { samples_per_second: Some(100), ..Limits::default() });
    let mut told = None;
    for second in 0..90 {
        millis.store(second * 1000, Ordering::Relaxed);
        let nearly = limiter.admit(samples(90), 0, NOON_MS).unwrap();
        if !nearly.is_empty() && told.is_none() {
            told = Some(second);
        }
        assert_eq!(told.is_some(), !nearly.is_empty());
    }
    assert!((50..60).contains(&told.unwrap()), "{told:?}");
}
