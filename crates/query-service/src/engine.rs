//! Runs queries of tenants within their limits. Knows nothing of HTTP.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use promql::{EvalOptions, Expr, Plan, QueryOutput, Window};
use segment_store::{Clock, ShardId};
use telemetry::TenantId;
use tenancy::{QueryPermit, Tenant, TenantLimiter};
use tokio::sync::{Semaphore, watch};

use crate::error::{Outcome, QueryError};
use crate::limits::{QUERIES_AT_ONCE, QUERY_TIME_DEFAULT, TENANT_SHARE_OF_QUERIES};
use crate::metrics::{Counters, QueryMetrics};
use crate::segments::Segments;
use crate::source::{FetchLimits, Needs, Scope, TenantSource};
use crate::tail::Tail;

/// What the engine works with.
#[derive(Clone, Debug)]
pub struct EngineParts {
    /// Turns true once the tail knows everything that is in the bucket ([`crate::Follower::caught_up`]).
    pub caught_up: watch::Receiver<bool>,
    /// Turns true once the newest of that is in memory ([`crate::Follower::warm`]). Until then queries read it from the bucket, and
    /// those that would take too much memory for that wait.
    pub warm: watch::Receiver<bool>,
    /// Where data is: what compaction made, and the tail beside it.
    pub segments: Arc<Segments>,
    /// The shard of `tail`. Tenants of other shards are not served here.
    pub shard: ShardId,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Numbers.
    pub settings: QuerySettings,
}

/// Bounds of a query and how it is evaluated.
#[derive(Clone, Copy, Debug)]
pub struct QuerySettings {
    /// How long a query may take, waiting included; a request may ask for less. Default 2 minutes.
    pub timeout: Duration,
    /// Bounds of evaluation.
    pub limits: promql::Limits,
    /// Queries evaluated at once, of all tenants. Default 32.
    pub queries_at_once: usize,
    /// Threads that work on one query. Default: as many as the machine has cores.
    pub threads: NonZeroUsize,
    /// How far an instant selector looks back (ms). Default 5 minutes.
    pub lookback_ms: i64,
    /// Whether experimental PromQL is allowed. Default no.
    pub experimental: bool,
    /// Whether metric names are removed at the end of a query only. Default no.
    pub delayed_name_removal: bool,
}

impl Default for QuerySettings {
    fn default() -> Self {
        Self {
            timeout: QUERY_TIME_DEFAULT,
            limits: promql::Limits::default(),
            queries_at_once: QUERIES_AT_ONCE,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            lookback_ms: EvalOptions::default().lookback_ms,
            experimental: false,
            delayed_name_removal: false,
        }
    }
}

/// A PromQL query.
#[derive(Clone, Debug)]
pub struct Query {
    /// What to compute.
    pub expr: Expr,
    /// When.
    pub window: Window,
    /// Instead of [`QuerySettings::lookback_ms`].
    pub lookback_ms: Option<i64>,
    /// Whether to count the samples of each step.
    pub count_per_step: bool,
    /// How to run it.
    pub options: RequestOptions,
}

/// What any request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestOptions {
    /// A shorter time limit.
    pub timeout: Option<Duration>,
    /// Whether data counts that is not durable yet.
    pub with_provisional: bool,
}

impl Default for RequestOptions {
    fn default() -> Self {
        Self { timeout: None, with_provisional: true }
    }
}

/// The answer to a [`Query`].
#[derive(Clone, Debug)]
pub struct Answer {
    /// The result, with what PromQL has to say about it.
    pub output: QueryOutput,
    /// What the store has to say about it.
    pub warnings: Vec<String>,
    /// What it cost beyond evaluation.
    pub cost: Cost,
}

/// What a request cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Time until there was a free place, and the tail had caught up.
    pub queue: Duration,
    /// Time from then until evaluation could begin: the bucket.
    pub preparation: Duration,
    /// Time of evaluation.
    pub evaluation: Duration,
    /// Bytes of segments that were needed, from the cache or the bucket.
    pub cold_bytes: u64,
    /// Objects that had something of the answer.
    pub cold_partitions: u64,
}

/// What one tenant's queries pass before they run.
#[derive(Debug)]
struct Gate {
    limiter: TenantLimiter,
    /// The tenant's share of all places: with more queries than that it waits, and others do not wait for it.
    places: Arc<Semaphore>,
}

/// Runs queries over one shard.
#[derive(Debug)]
pub struct QueryEngine {
    parts: EngineParts,
    places: Arc<Semaphore>,
    gates: RwLock<HashMap<TenantId, Arc<Gate>>>,
    counters: Arc<Counters>,
}

/// What is left of a request's time, and whether anybody still wants the answer. Asked from the thread that works on it.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    clock: Arc<dyn Clock>,
    started: Duration,
    limit: Duration,
    abandoned: Arc<AtomicBool>,
    may_wait: bool,
}

impl Deadline {
    /// Time begins to run now.
    pub(crate) fn new(clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self { started: clock.monotonic(), clock, limit, abandoned: Arc::default(), may_wait: true }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed) || self.elapsed() > self.limit
    }

    fn elapsed(&self) -> Duration {
        self.clock.monotonic().saturating_sub(self.started)
    }

    pub(crate) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.elapsed())
    }

    /// Whether the work may wait for others: not where it is done in passing, on a thread that others need.
    pub(crate) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// What ended the work: the time, or the client.
    pub(crate) fn error(&self, phase: &'static str) -> QueryError {
        if self.abandoned.load(Ordering::Relaxed) {
            QueryError::Canceled
        } else {
            QueryError::Timeout { phase, limit: self.limit }
        }
    }
}

/// Counts a request. Dropped before it has an outcome, it was canceled, and the thread that works on it learns about it.
struct Running {
    counters: Arc<Counters>,
    deadline: Deadline,
    outcome: Option<Outcome>,
    _permit: QueryPermit,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.deadline.abandoned.store(true, Ordering::Relaxed);
        self.counters.running.fetch_sub(1, Ordering::Relaxed);
        self.counters.count(self.outcome.unwrap_or(Outcome::Canceled));
        self.counters.observe(self.deadline.elapsed());
    }
}

impl QueryEngine {
    /// An engine without any running query.
    #[must_use]
    pub fn new(parts: EngineParts) -> Self {
        let places = Arc::new(Semaphore::new(parts.settings.queries_at_once));
        Self { parts, places, gates: RwLock::default(), counters: Arc::default() }
    }

    /// The counters now.
    #[must_use]
    pub fn metrics(&self) -> QueryMetrics {
        self.counters.snapshot()
    }

    pub(crate) fn count(&self, outcome: Outcome) {
        self.counters.count(outcome);
    }

    pub(crate) fn tail(&self) -> &Tail {
        self.parts.segments.tail()
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.parts.clock.now_ms()
    }

    /// Evaluates a query of `tenant`.
    ///
    /// # Errors
    /// [`QueryError`] says what the caller can do.
    pub async fn query(&self, tenant: &Tenant, query: Query) -> Result<Answer, QueryError> {
        self.query_then(tenant, query, |answer, _| Ok(answer)).await
    }

    /// Evaluates a query of `tenant` and lets `finish` make something of the answer, on the same thread and in the same
    /// place.
    pub(crate) async fn query_then<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        query: Query,
        finish: impl FnOnce(Answer, &Deadline) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let Query { expr, window, lookback_ms, count_per_step, options } = query;
        let settings = self.parts.settings;
        let lookback_ms = lookback_ms.unwrap_or(settings.lookback_ms);
        let plan = promql::plan(&expr, window, &eval_options(&settings, lookback_ms, &|| false))
            .inspect_err(|_| self.counters.count(Outcome::BadRequest))?;
        let scope = Scope {
            time_range_ms: time_range_ms(&plan),
            with_provisional: options.with_provisional,
            needs: Needs::Samples(plan.selections().into()),
        };
        let counters = Arc::clone(&self.counters);
        let plan = Arc::new(plan);
        let of = Arc::clone(&plan);
        let is_brief = move |source: &TenantSource| source.is_brief(&of);
        self.run(tenant, scope, options, is_brief, move |source, deadline, cost| {
            let cancelled = || deadline.is_over();
            let eval = EvalOptions { count_per_step, ..eval_options(&settings, lookback_ms, &cancelled) };
            let started = deadline.elapsed();
            let output = promql::evaluate(&plan, &source, &eval).map_err(|error| match error.into() {
                QueryError::Canceled => deadline.error("expression evaluation"),
                error => error,
            })?;
            counters.samples.fetch_add(output.stats.samples, Ordering::Relaxed);
            let warnings = source.warnings();
            let cost = Cost { evaluation: deadline.elapsed().saturating_sub(started), ..cost };
            finish(Answer { output, warnings, cost }, deadline)
        })
        .await
    }

    /// Lets `work` read what `tenant` has in `scope`, on a thread for blocking work; in passing, on this thread, where `is_brief`
    /// says that it takes microseconds: it then must not wait ([`Deadline::may_wait`]).
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        scope: Scope,
        options: RequestOptions,
        is_brief: impl FnOnce(&TenantSource) -> bool,
        work: impl FnOnce(TenantSource, &Deadline, Cost) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        let gate = self.gate(tenant);
        let permit = gate.limiter.start_query().inspect_err(|_| self.count(Outcome::TooMany))?;
        let limit =
            options.timeout.map_or(self.parts.settings.timeout, |t| t.min(self.parts.settings.timeout));
        let deadline = Deadline::new(Arc::clone(&self.parts.clock), limit);
        self.counters.running.fetch_add(1, Ordering::Relaxed);
        let mut running = Running {
            counters: Arc::clone(&self.counters),
            deadline: deadline.clone(),
            outcome: None,
            _permit: permit,
        };
        let result = self.run_permitted(tenant, &gate, scope, deadline, is_brief, work).await;
        running.outcome =
            Some(result.as_ref().map_or_else(|error| error.kind().outcome, |_| Outcome::Success));
        result
    }

    async fn run_permitted<T: Send + 'static>(
        &self,
        tenant: &Tenant,
        gate: &Gate,
        scope: Scope,
        mut deadline: Deadline,
        is_brief: impl FnOnce(&TenantSource) -> bool,
        work: impl FnOnce(TenantSource, &Deadline, Cost) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, QueryError> {
        if tenant.shard != self.parts.shard.0 {
            return Err(QueryError::Unavailable("the tenant's data is not served by this process"));
        }
        let mut caught_up = self.parts.caught_up.clone();
        let mut damaged = self.parts.segments.damaged_manifest();
        let waiting = async {
            tokio::select! {
                biased;
                caught_up = caught_up.wait_for(|caught_up| *caught_up) => match caught_up {
                    Ok(_) => Ok(()),
                    Err(_) => Err(QueryError::Unavailable("the process is shutting down")),
                },
                // It is the last thing that catching up waits for, and may be damaged for long.
                Ok(damaged) = damaged.wait_for(Option::is_some) => match &*damaged {
                    Some(key) => Err(QueryError::DamagedManifest { key: key.clone() }),
                    None => Ok(()),
                },
            }
        };
        match tokio::time::timeout(deadline.left(), waiting).await {
            Ok(waited) => waited?,
            Err(_) => return Err(deadline.error("waiting for stored data to be read after the start")),
        }
        let waiting = async {
            let of_tenant = Arc::clone(&gate.places).acquire_owned().await;
            (of_tenant, Arc::clone(&self.places).acquire_owned().await)
        };
        let place = tokio::time::timeout(deadline.left(), waiting)
            .await
            .map_err(|_| deadline.error("waiting for other queries to end"))?;
        let queue = deadline.elapsed();
        let settings = &self.parts.settings;
        let limits = FetchLimits {
            bytes: tenant.limits.query_bytes.unwrap_or(u64::MAX),
            memory_bytes: settings.limits.max_memory_bytes,
        };
        let source = tokio::time::timeout(deadline.left(), self.fetch(tenant, &scope, limits)).await;
        let source = source.map_err(|_| {
            deadline.error("reading stored data, or waiting for memory for it (limit fetched_memory)")
        })??;
        self.counters.cold_bytes.fetch_add(source.cold_bytes(), Ordering::Relaxed);
        let cost = Cost {
            queue,
            preparation: deadline.elapsed().saturating_sub(queue),
            cold_bytes: source.cold_bytes(),
            cold_partitions: source.cold_units() as u64,
            ..Cost::default()
        };
        deadline.may_wait = !is_brief(&source);
        let may_wait = deadline.may_wait;
        let working = move || {
            let _place = place;
            work(source, &deadline, cost)
        };
        let worked = if may_wait {
            tokio::task::spawn_blocking(working).await.map_err(|error| error.to_string())
        } else {
            catch_unwind(AssertUnwindSafe(working)).map_err(|_| "it panicked".to_owned())
        };
        worked.unwrap_or_else(|error| {
            tracing::error!(error, "a query ended badly");
            Err(QueryError::Internal)
        })
    }

    /// Fetches what a query needs. What does not fit in its memory may do so once the newest data is in the tail: where that is still
    /// to come, it is waited for.
    async fn fetch(
        &self,
        tenant: &Tenant,
        scope: &Scope,
        limits: FetchLimits,
    ) -> Result<TenantSource, QueryError> {
        let mut warm = self.parts.warm.clone();
        let was_warm = *warm.borrow();
        match TenantSource::fetch(&self.parts.segments, &tenant.id, scope, limits).await {
            Err(error) if error.is_of_memory() && !was_warm => {
                let is_warm = warm.wait_for(|warm| *warm).await.is_ok();
                if !is_warm {
                    return Err(error);
                }
                TenantSource::fetch(&self.parts.segments, &tenant.id, scope, limits).await
            }
            fetched => fetched,
        }
    }

    /// The tenant's gate; new limits in the directory make a new one.
    fn gate(&self, tenant: &Tenant) -> Arc<Gate> {
        let known = self.gates.read().get(&tenant.id).map(Arc::clone);
        let made = match known {
            Some(known) if *known.limiter.limits() == tenant.limits => return known,
            // Queries that run count on, under the new limits, too.
            Some(known) => Gate {
                limiter: known.limiter.with_limits(tenant.limits.clone()),
                places: Arc::clone(&known.places),
            },
            None => {
                let clock = Arc::clone(&self.parts.clock);
                let share = self.parts.settings.queries_at_once.div_ceil(TENANT_SHARE_OF_QUERIES);
                Gate {
                    limiter: TenantLimiter::new(tenant.limits.clone(), Arc::new(move || clock.monotonic())),
                    places: Arc::new(Semaphore::new(share)),
                }
            }
        };
        let made = Arc::new(made);
        self.gates.write().insert(tenant.id.clone(), Arc::clone(&made));
        made
    }
}

fn eval_options<'a>(
    settings: &QuerySettings,
    lookback_ms: i64,
    cancelled: &'a (dyn Fn() -> bool + Sync),
) -> EvalOptions<'a> {
    EvalOptions {
        lookback_ms,
        limits: settings.limits,
        experimental: settings.experimental,
        delayed_name_removal: settings.delayed_name_removal,
        threads: settings.threads,
        cancelled,
        ..EvalOptions::default()
    }
}

/// From the earliest to the latest timestamp that the plan selects.
fn time_range_ms(plan: &Plan) -> (i64, i64) {
    let selections = plan.selections();
    let start_ms = selections.iter().map(|selection| selection.start_ms).min();
    let end_ms = selections.iter().map(|selection| selection.end_ms).max();
    // A query without selectors needs nothing: an empty range.
    (start_ms.unwrap_or(1), end_ms.unwrap_or(0))
}
