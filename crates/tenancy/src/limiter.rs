//! The limits of one tenant in one process, enforced.
//!
//! **Priorities.** A tenth of a burst, of a day's bytes and of the series is kept for each higher priority that the tenant's
//! keys have. So over a limit the lowest priority goes first, all of it before any of the next; none of it is chance. Where all
//! keys have the same priority nothing is kept. A kept tenth of a rate is not lost: below it the rate still flows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::lease::{PerSignal, Usage};
use crate::limits::{
    ASKED_WINDOW, DAY_MS, LEASE_TIME, MAX_RETRY_AFTER, RESERVE_DIVISOR, STOPPED_RETRY_AFTER, WARN_PERCENT,
    WARN_WINDOW, burst_of,
};
use crate::tenant::Limits;

mod bucket;
mod meter;
use bucket::TokenBucket;
use meter::RateMeter;

/// A limit by name, as messages and metrics show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitName {
    /// [`Limits::samples_per_second`].
    SamplesPerSecond,
    /// [`Limits::samples_burst`].
    SamplesBurst,
    /// [`Limits::spans_per_second`].
    SpansPerSecond,
    /// Spans that may come at once: ten seconds' worth of [`Limits::spans_per_second`].
    SpansBurst,
    /// [`Limits::bytes_per_day`].
    BytesPerDay,
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
    /// Every limit, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::SamplesPerSecond,
        Self::SamplesBurst,
        Self::SpansPerSecond,
        Self::SpansBurst,
        Self::BytesPerDay,
        Self::RequestBytes,
        Self::ActiveSeries,
        Self::SeriesPerMetric,
        Self::QueryConcurrency,
        Self::QueryBytes,
    ];

    /// The name in messages: that of the field in the directory.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SamplesPerSecond => "samples_per_second",
            Self::SamplesBurst => "samples_burst",
            Self::SpansPerSecond => "spans_per_second",
            Self::SpansBurst => "spans_burst",
            Self::BytesPerDay => "bytes_per_day",
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
#[error(
    "limit {limit} reached: {allowed} allowed, current use {used}, this request needs {requested}{}{}",
    if *.kept { "; the rest is kept for API keys of a higher priority" } else { "" },
    self.advice()
)]
pub struct Denied {
    /// Which limit.
    pub limit: LimitName,
    /// What it allows.
    pub allowed: u64,
    /// How much of it is in use now; for a rate, what was admitted within the last second.
    pub used: u64,
    /// How much the request asked for.
    pub requested: u64,
    /// After which time the same request would be allowed, as things stand; `None` when waiting does not help. Five minutes at
    /// most: a limit may be raised meanwhile.
    pub retry_after: Option<Duration>,
    /// Whether a request of a higher priority would have been allowed.
    pub kept: bool,
}

impl Denied {
    /// What helps a request that is too large whatever it waits for.
    fn advice(&self) -> String {
        let Self { limit, allowed, .. } = self;
        match limit {
            _ if self.retry_after.is_some() => String::new(),
            LimitName::SamplesBurst => format!("; split it into requests of at most {allowed} samples"),
            LimitName::SpansBurst => format!("; split it into requests of at most {allowed} spans"),
            LimitName::RequestBytes => format!("; split it into requests of at most {allowed} bytes"),
            LimitName::BytesPerDay => "; no day allows so much, split it into smaller requests".to_owned(),
            _ => String::new(),
        }
    }
}

/// A limit that is nearly reached: from [`WARN_PERCENT`] of it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nearly {
    /// Which limit.
    pub limit: LimitName,
    /// What it allows.
    pub allowed: u64,
    /// How much of it is in use; for a rate, the average of the last minute.
    pub used: u64,
}

impl Nearly {
    /// That a day's bytes are used up, if that is why a write was refused. (Of a rate that would say nothing: it is exceeded for
    /// moments, or where a process has a small share of it.)
    #[must_use]
    pub fn reached(denied: &Denied) -> Option<Self> {
        let Denied { limit, allowed, used, .. } = *denied;
        let is_reached = limit == LimitName::BytesPerDay && denied.retry_after.is_some() && !denied.kept;
        is_reached.then_some(Self { limit, allowed, used: used.max(allowed) })
    }

    /// What is worth a warning, if it is.
    #[must_use]
    pub fn of(limit: LimitName, allowed: Option<u64>, used: u64) -> Option<Self> {
        let allowed = allowed?;
        let near = u128::from(used) * 100 >= u128::from(allowed) * u128::from(WARN_PERCENT);
        (near && used > 0).then_some(Self { limit, allowed, used })
    }
}

impl fmt::Display for Nearly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; used={}; limit={}", self.limit, self.used, self.allowed)
    }
}

/// What a write brings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Float and histogram samples.
    pub samples: u64,
    /// Spans.
    pub spans: u64,
    /// Bytes of the body, decompressed.
    pub bytes: u64,
}

/// The part of a limit that those with so many priorities above them may use, where it allows `allowed`.
#[must_use]
pub const fn allowed_below(allowed: u64, priorities_above: u32) -> u64 {
    allowed.saturating_sub(reserve_of(allowed, priorities_above))
}

const fn reserve_of(allowed: u64, priorities_above: u32) -> u64 {
    (allowed / RESERVE_DIVISOR).saturating_mul(priorities_above as u64)
}

/// Time on a monotonic clock since any fixed moment.
pub type MonotonicNow = Arc<dyn Fn() -> Duration + Send + Sync>;

/// Counts one tenant's use against its [`Limits`].
pub struct TenantLimiter {
    limits: Limits,
    monotonic: MonotonicNow,
    /// Outlives the limits: what was used stays used when they change.
    uses: Arc<Mutex<Uses>>,
    running_queries: Arc<AtomicU32>,
}

#[derive(Debug)]
struct Uses {
    samples: RateUse,
    spans: RateUse,
    day: DayUse,
}

/// What was used of a day's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DayUse {
    /// Days since the Unix epoch, UTC.
    pub day: i64,
    /// What this process let in on that day.
    pub bytes: u64,
    /// What other processes did, as far as it is known.
    pub bytes_of_others: u64,
}

/// The use of a rate. The bucket is `None` when the rate is unlimited.
#[derive(Debug)]
struct RateUse {
    bucket: Option<TokenBucket>,
    /// This process's part of the rate, where others have theirs.
    share: Option<u64>,
    second: RateMeter,
    minute: RateMeter,
    /// Asked for, admitted or not: what a share of the limit follows.
    asked: RateMeter,
    /// Since the limiter was made.
    admitted: u64,
}

impl RateUse {
    fn new(limit: &RateLimit, share: Option<u64>, now: Duration) -> Self {
        let mut made = Self {
            bucket: None,
            share,
            second: RateMeter::over(Duration::from_secs(1)),
            minute: RateMeter::over(WARN_WINDOW),
            asked: RateMeter::over(ASKED_WINDOW),
            admitted: 0,
        };
        made.limit(limit, now);
        made
    }

    /// Another limit or share from now on, with what was saved up under the last. A share begins with a second's worth: many
    /// begin at once.
    fn limit(&mut self, limit: &RateLimit, now: Duration) {
        let Some(whole) = limit.rate.map(u64::from) else {
            self.bucket = None;
            return;
        };
        let rate = self.share.map_or(whole, |share| share.min(whole));
        let capacity = u128::from(limit.burst) * u128::from(rate) / u128::from(whole.max(1));
        let capacity =
            if whole == 0 { limit.burst } else { u64::try_from(capacity).unwrap_or(u64::MAX).max(1) };
        match &mut self.bucket {
            Some(bucket) => bucket.resize(rate, capacity, now),
            None => {
                let level = self.share.map_or(capacity, |_| rate);
                self.bucket = Some(TokenBucket::new(rate, capacity, level, now));
            }
        }
    }

    fn take(&mut self, amount: u64, now: Duration) {
        if let Some(bucket) = &mut self.bucket {
            bucket.take(amount);
        }
        self.second.add(now, amount);
        self.minute.add(now, amount);
        self.admitted = self.admitted.saturating_add(amount);
    }

    fn give_back(&mut self, amount: u64) {
        if let Some(bucket) = &mut self.bucket {
            bucket.give_back(amount);
        }
        self.second.remove(amount);
        self.minute.remove(amount);
        self.admitted = self.admitted.saturating_sub(amount);
    }
}

/// A rate, as it is checked.
struct RateLimit {
    name: LimitName,
    burst_name: LimitName,
    rate: Option<u32>,
    burst: u64,
}

impl TenantLimiter {
    /// A limiter with its whole burst at hand.
    #[must_use]
    pub fn new(limits: Limits, monotonic: MonotonicNow) -> Self {
        Self::with_share(limits, None, monotonic)
    }

    /// A limiter of a process that has only a part of the rates, and is told how large: [`TenantLimiter::share`].
    #[must_use]
    pub fn shared(limits: Limits, rates: PerSignal, monotonic: MonotonicNow) -> Self {
        Self::with_share(limits, Some(rates), monotonic)
    }

    fn with_share(limits: Limits, share: Option<PerSignal>, monotonic: MonotonicNow) -> Self {
        let now = monotonic();
        let [samples, spans] = rates(&limits);
        let uses = Uses {
            samples: RateUse::new(&samples, share.map(|share| share.samples), now),
            spans: RateUse::new(&spans, share.map(|share| share.spans), now),
            day: DayUse::default(),
        };
        Self { limits, monotonic, uses: Arc::new(Mutex::new(uses)), running_queries: Arc::default() }
    }

    /// The same use under other limits.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Self {
        let now = (self.monotonic)();
        let [samples, spans] = rates(&limits);
        {
            let mut uses = self.uses.lock();
            uses.samples.limit(&samples, now);
            uses.spans.limit(&spans, now);
        }
        Self {
            limits,
            monotonic: Arc::clone(&self.monotonic),
            uses: Arc::clone(&self.uses),
            running_queries: Arc::clone(&self.running_queries),
        }
    }

    /// From now on this process has this part of the rates, as far as they are limited, and other processes took in so many bytes
    /// of the day that has gone on at `now_ms` (wall time, in milliseconds since the Unix epoch), or more as was known before.
    pub fn share(&self, part: PerSignal, bytes_of_others: u64, now_ms: i64) {
        let now = (self.monotonic)();
        let [samples, spans] = rates(&self.limits);
        let mut uses = self.uses.lock();
        uses.turn_to_day(now_ms);
        // What was taken in stays taken in, whatever who tells this has forgotten.
        uses.day.bytes_of_others = uses.day.bytes_of_others.max(bytes_of_others);
        (uses.samples.share, uses.spans.share) = (Some(part.samples), Some(part.spans));
        uses.samples.limit(&samples, now);
        uses.spans.limit(&spans, now);
    }

    /// What was counted until now.
    #[must_use]
    pub fn usage(&self, now_ms: i64) -> Usage {
        let now = (self.monotonic)();
        let mut uses = self.uses.lock();
        uses.turn_to_day(now_ms);
        Usage {
            asked_per_second: PerSignal {
                samples: uses.samples.asked.per_second(now),
                spans: uses.spans.asked.per_second(now),
            },
            admitted: PerSignal { samples: uses.samples.admitted, spans: uses.spans.admitted },
            day: uses.day.day,
            bytes_of_day: uses.day.bytes,
        }
    }

    /// What is used of the day that has gone on at `now_ms`.
    #[must_use]
    pub fn day_use(&self, now_ms: i64) -> DayUse {
        let mut uses = self.uses.lock();
        uses.turn_to_day(now_ms);
        uses.day
    }

    /// Goes on with what a limiter of the same tenant in this process had counted of a day.
    pub fn resume_day(&self, day: DayUse) {
        self.uses.lock().day = day;
    }

    /// The limits being enforced.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether a write may come in now; if so, all of it is counted, otherwise none. `priorities_above` says how many of the
    /// tenant's priorities are higher than the writer's; `now_ms` is wall time, in milliseconds since the Unix epoch. Gives the
    /// limits that are nearly reached.
    ///
    /// # Errors
    /// [`Denied`] with the limit and the time to wait, or with a burst when so much can never come at once.
    pub fn admit(&self, load: Load, priorities_above: u32, now_ms: i64) -> Result<Vec<Nearly>, Denied> {
        let now = (self.monotonic)();
        let mut uses = self.uses.lock();
        uses.turn_to_day(now_ms);
        let uses = &mut *uses;
        let [samples, spans] = rates(&self.limits);
        uses.samples.asked.add(now, load.samples);
        uses.spans.asked.add(now, load.spans);
        samples.check(&mut uses.samples, load.samples, priorities_above, now)?;
        spans.check(&mut uses.spans, load.spans, priorities_above, now)?;
        self.check_day(uses, load.bytes, priorities_above, now_ms)?;
        uses.samples.take(load.samples, now);
        uses.spans.take(load.spans, now);
        uses.day.bytes = uses.day.bytes.saturating_add(load.bytes);
        let nearly = [
            Nearly::of(samples.name, samples.rate.map(u64::from), uses.samples.minute.per_second(now)),
            Nearly::of(spans.name, spans.rate.map(u64::from), uses.spans.minute.per_second(now)),
            Nearly::of(LimitName::BytesPerDay, self.limits.bytes_per_day, uses.bytes()),
        ];
        Ok(nearly.into_iter().flatten().collect())
    }

    /// Takes back what was admitted but could not be kept.
    pub fn give_back(&self, load: Load) {
        let mut uses = self.uses.lock();
        uses.samples.give_back(load.samples);
        uses.spans.give_back(load.spans);
        uses.day.bytes = uses.day.bytes.saturating_sub(load.bytes);
    }

    fn check_day(&self, uses: &Uses, bytes: u64, priorities_above: u32, now_ms: i64) -> Result<(), Denied> {
        let (Some(allowed), used) = (self.limits.bytes_per_day, uses.bytes()) else { return Ok(()) };
        let wanted = used.saturating_add(bytes);
        if bytes == 0 || wanted <= allowed_below(allowed, priorities_above) {
            return Ok(());
        }
        let left_ms = DAY_MS - now_ms.rem_euclid(DAY_MS);
        let left = Duration::from_millis(left_ms.unsigned_abs()).min(MAX_RETRY_AFTER);
        Err(Denied {
            limit: LimitName::BytesPerDay,
            allowed,
            used,
            requested: bytes,
            // What a whole day does not allow, the next one will not.
            retry_after: (bytes <= allowed).then_some(left),
            kept: wanted <= allowed,
        })
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
                kept: false,
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
                kept: false,
            }),
        }
    }
}

/// The two rates of some limits.
fn rates(limits: &Limits) -> [RateLimit; 2] {
    let spans_burst = limits.spans_per_second.map_or(u64::MAX, |rate| burst_of(rate.into()));
    [
        RateLimit {
            name: LimitName::SamplesPerSecond,
            burst_name: LimitName::SamplesBurst,
            rate: limits.samples_per_second,
            burst: limits.samples_burst.into(),
        },
        RateLimit {
            name: LimitName::SpansPerSecond,
            burst_name: LimitName::SpansBurst,
            rate: limits.spans_per_second,
            burst: spans_burst,
        },
    ]
}

impl RateLimit {
    fn check(&self, used: &mut RateUse, amount: u64, above: u32, now: Duration) -> Result<(), Denied> {
        let (Some(rate), Some(bucket)) = (self.rate, &mut used.bucket) else { return Ok(()) };
        if amount == 0 {
            return Ok(());
        }
        let wait = bucket.wait_for(amount, reserve_of(bucket.capacity(), above), now);
        // A share follows what is asked for, so it may be another one soon.
        let longest = if used.share.is_some() { LEASE_TIME } else { MAX_RETRY_AFTER };
        let (limit, allowed, retry_after) = if rate == 0 {
            (self.name, 0, Some(STOPPED_RETRY_AFTER))
        } else if amount > self.burst {
            (self.burst_name, self.burst, None)
        } else if wait > Duration::ZERO {
            (self.name, rate.into(), Some(wait.min(longest)))
        } else {
            return Ok(());
        };
        let kept = above > 0 && retry_after.is_some() && bucket.wait_for(amount, 0, now) == Duration::ZERO;
        let used = used.second.per_second(now);
        Err(Denied { limit, allowed, used, requested: amount, retry_after, kept })
    }
}

impl Uses {
    fn bytes(&self) -> u64 {
        self.day.bytes.saturating_add(self.day.bytes_of_others)
    }

    fn turn_to_day(&mut self, now_ms: i64) {
        let day = now_ms.div_euclid(DAY_MS);
        if day != self.day.day {
            self.day = DayUse { day, ..DayUse::default() };
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
