//! The limits of one tenant in one process, enforced.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use crate::limits::STOPPED_RETRY_AFTER;
use crate::tenant::Limits;

mod meter;
use meter::RateMeter;

/// A limit by name, as messages and metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitName {
    /// [`Limits::samples_per_second`].
    SamplesPerSecond,
    /// [`Limits::samples_burst`].
    SamplesBurst,
    /// [`Limits::request_bytes`].
    RequestBytes,
    /// [`Limits::active_series`].
    ActiveSeries,
    /// [`Limits::series_per_metric`].
    SeriesPerMetric,
    /// [`Limits::query_concurrency`].
    QueryConcurrency,
    /// [`Limits::query_bytes`].
    QueryBytes,
}

impl LimitName {
    /// The name in messages: that of the field in the directory.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SamplesPerSecond => "samples_per_second",
            Self::SamplesBurst => "samples_burst",
            Self::RequestBytes => "request_bytes",
            Self::ActiveSeries => "active_series",
            Self::SeriesPerMetric => "series_per_metric",
            Self::QueryConcurrency => "query_concurrency",
            Self::QueryBytes => "query_bytes",
        }
    }
}

impl fmt::Display for LimitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A request that a limit does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit {limit} reached: {allowed} allowed, current use {used}, this request needs {requested}")]
pub struct Denied {
    /// Which limit.
    pub limit: LimitName,
    /// What it allows.
    pub allowed: u64,
    /// How much of it is in use now; for a rate, what was admitted within the last second.
    pub used: u64,
    /// How much the request asked for.
    pub requested: u64,
    /// After which time the same request would be allowed; `None` when waiting does not help.
    pub retry_after: Option<Duration>,
}

/// Time on a monotonic clock since any fixed moment.
pub type MonotonicNow = Arc<dyn Fn() -> Duration + Send + Sync>;

#[derive(Clone)]
struct InjectedClock(MonotonicNow);

impl Clock for InjectedClock {
    type Instant = Duration;

    fn now(&self) -> Duration {
        (self.0)()
    }
}

type SampleLimiter = RateLimiter<NotKeyed, InMemoryState, InjectedClock, NoOpMiddleware<Duration>>;

/// Counts one tenant's use against its [`Limits`]. New limits are a new limiter.
pub struct TenantLimiter {
    limits: Limits,
    clock: InjectedClock,
    /// `None` when the rate is unlimited, or zero.
    samples: Option<SampleLimiter>,
    admitted: Mutex<RateMeter>,
    running_queries: Arc<AtomicU32>,
}

impl TenantLimiter {
    /// A limiter with its whole burst at hand.
    #[must_use]
    pub fn new(limits: Limits, monotonic: MonotonicNow) -> Self {
        let clock = InjectedClock(monotonic);
        let rate = limits.samples_per_second.and_then(NonZeroU32::new);
        let burst = NonZeroU32::new(limits.samples_burst).unwrap_or(NonZeroU32::MIN);
        let samples = rate.map(|rate| {
            RateLimiter::direct_with_clock(Quota::per_second(rate).allow_burst(burst), clock.clone())
        });
        Self { limits, clock, samples, admitted: Mutex::default(), running_queries: Arc::default() }
    }

    /// The limits being enforced.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether `samples` samples may come in now; if so, they are counted.
    ///
    /// # Errors
    /// [`Denied`] with [`LimitName::SamplesPerSecond`] and the time to wait, or with [`LimitName::SamplesBurst`] when so
    /// many can never come at once.
    pub fn admit_samples(&self, samples: u64) -> Result<(), Denied> {
        let now = self.clock.now();
        let Some(rate) = self.limits.samples_per_second else {
            return Ok(());
        };
        let denied = |limit, allowed, retry_after| {
            let used = self.admitted.lock().per_second(now);
            Err(Denied { limit, allowed, used, requested: samples, retry_after })
        };
        let Some(needed) = u32::try_from(samples).ok().map(NonZeroU32::new) else {
            return denied(LimitName::SamplesBurst, self.limits.samples_burst.into(), None);
        };
        let Some(needed) = needed else {
            return Ok(());
        };
        let Some(limiter) = &self.samples else {
            return denied(LimitName::SamplesPerSecond, 0, Some(STOPPED_RETRY_AFTER));
        };
        match limiter.check_n(needed) {
            Ok(Ok(())) => {
                self.admitted.lock().add(now, samples);
                Ok(())
            }
            Ok(Err(until)) => {
                let wait = until.wait_time_from(now);
                denied(LimitName::SamplesPerSecond, rate.into(), Some(wait))
            }
            Err(_) => denied(LimitName::SamplesBurst, self.limits.samples_burst.into(), None),
        }
    }

    /// Whether a request body of this size is allowed.
    ///
    /// # Errors
    /// [`Denied`] with [`LimitName::RequestBytes`]; waiting does not help.
    pub fn check_request_bytes(&self, bytes: u64) -> Result<(), Denied> {
        match self.limits.request_bytes {
            Some(allowed) if bytes > allowed => Err(Denied {
                limit: LimitName::RequestBytes,
                allowed,
                used: 0,
                requested: bytes,
                retry_after: None,
            }),
            _ => Ok(()),
        }
    }

    /// A place among the queries that run at once; dropping the permit frees it.
    ///
    /// # Errors
    /// [`Denied`] with [`LimitName::QueryConcurrency`].
    pub fn start_query(&self) -> Result<QueryPermit, Denied> {
        let allowed = self.limits.query_concurrency.unwrap_or(u32::MAX);
        let started = self.running_queries.fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| {
            (running < allowed).then_some(running.saturating_add(1))
        });
        match started {
            Ok(_) => Ok(QueryPermit { running: Arc::clone(&self.running_queries) }),
            Err(running) => Err(Denied {
                limit: LimitName::QueryConcurrency,
                allowed: allowed.into(),
                used: running.into(),
                requested: 1,
                // Most queries are done within a second; there is nothing better to say.
                retry_after: Some(Duration::from_secs(1)),
            }),
        }
    }
}

impl fmt::Debug for TenantLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantLimiter").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// One running query: [`TenantLimiter::start_query`].
#[derive(Debug)]
pub struct QueryPermit {
    running: Arc<AtomicU32>,
}

impl Drop for QueryPermit {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests;
