//! One write: authorise, decompress, decode, limit, commit. Knows nothing of HTTP or gRPC but headers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{HeaderMap, header};
use parking_lot::Mutex;
use segment_store::{Clock, GroupCommit, ShardId};
use telemetry::TenantId;
use tenancy::{Access, Load, Nearly, Principal, Scope, TenantLimiter};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::remote_write::Written;
use wire::{Decompressor, Encoding};

use crate::body::{BodyMemory, HeldBody, read_body};
use crate::decode::{DecodeContext, Message, Registered, decode};
use crate::error::WriteError;
use crate::footprint::{CloudPlace, Sightings, sampled};
use crate::limits::{
    INLINE_DECODE_BYTES, LOG_INTERVAL, POOLED_DECOMPRESSORS, SERIES_GENERATION, SWEEP_INTERVAL,
    TENANT_SHARE_OF_BODY_MEMORY,
};
use crate::refusals::{RefusalReason, Refusals};
use crate::settings::{IngestParts, IngestSettings};
use crate::stats::{Counters, IngestSnapshot, Outcome, Protocol, add};
use crate::tenants::{TenantState, Tenants};
use crate::times::TimeRule;

/// The write path up to group commit. One a process.
///
/// After [`Ingest::shutdown`] every request is turned away; what was acked is durable.
#[derive(Debug)]
pub struct Ingest {
    access: Arc<Access>,
    commits: BTreeMap<ShardId, Arc<GroupCommit>>,
    clock: Arc<dyn Clock>,
    settings: IngestSettings,
    tenants: Tenants,
    body_memory: Arc<Semaphore>,
    /// Places for the decoding of large bodies: as many as there are processors, so that what they decompress to is bounded.
    large_decodes: Semaphore,
    decompressors: Mutex<Vec<Decompressor>>,
    counters: Counters,
    in_flight: TaskTracker,
    /// Ends what runs in the background.
    stop: CancellationToken,
    /// Keeps shares of limits, where they are shared.
    leases: Mutex<Option<JoinHandle<()>>>,
    last_log_ms: AtomicU64,
    unlogged: AtomicU64,
    /// Told of tenants that need shares of their limits.
    new_tenant: Arc<Notify>,
    /// When shares were last leased, in ms on the monotonic clock; zero for never.
    leased_at_ms: AtomicU64,
    /// One place: ranks are given to one tenant's series at a time.
    ranking: Arc<Semaphore>,
}

/// A write of which the good part is durable.
#[derive(Clone, Debug, Default)]
pub struct Accepted {
    /// What is durable.
    pub written: Written,
    /// What was refused.
    pub refusals: Refusals,
    /// Limits that are nearly reached.
    pub nearly: Vec<Nearly>,
}

impl Accepted {
    /// The same as OTLP's partial success. What is refused of a resource's own description is a warning: it is no data point.
    pub(crate) fn otlp_outcome(&self) -> wire::otlp::Outcome {
        wire::otlp::Outcome {
            rejected: self.refusals.data_points,
            error_message: self.refusals.first.clone().unwrap_or_default(),
        }
    }
}

/// A write that the tenant's rates allow.
#[derive(Debug)]
struct Admitted {
    registered: Registered,
    /// What was counted of it.
    load: Load,
    nearly: Vec<Nearly>,
}

/// A request that is being worked on; shutdown waits until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    _token: tokio_util::task::task_tracker::TaskTrackerToken,
}

impl Ingest {
    /// Starts the service, within a tokio runtime.
    #[must_use]
    pub fn start(parts: IngestParts) -> Arc<Self> {
        let IngestParts { access, commits, leases, clock, seed, settings } = parts;
        let mut rng = seed.rng();
        let new_tenant = Arc::new(Notify::new());
        let monotonic = {
            let clock = Arc::clone(&clock);
            Arc::new(move || clock.monotonic())
        };
        let tenants = Tenants::new(
            &mut rng,
            settings.max_active_series,
            tenants_body_memory(&settings),
            monotonic,
            leases.as_ref().map(|_| Arc::clone(&new_tenant)),
        );
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let ingest = Arc::new(Self {
            access,
            commits,
            clock,
            tenants,
            body_memory: Arc::new(Semaphore::new(settings.body_memory_bytes)),
            large_decodes: Semaphore::new(processors),
            settings,
            decompressors: Mutex::default(),
            counters: Counters::default(),
            in_flight: TaskTracker::new(),
            stop: CancellationToken::new(),
            leases: Mutex::default(),
            last_log_ms: AtomicU64::new(0),
            unlogged: AtomicU64::new(0),
            new_tenant,
            leased_at_ms: AtomicU64::new(0),
            ranking: Arc::new(Semaphore::new(1)),
        });
        if let Some(server) = leases {
            let keep = crate::leases::keep(Arc::downgrade(&ingest), server, rng, ingest.stop.clone());
            *ingest.leases.lock() = Some(tokio::spawn(keep));
        }
        tokio::spawn(sweep(Arc::downgrade(&ingest), ingest.stop.clone()));
        ingest
    }

    /// Takes no more requests, waits for those in flight, flushes what is pending and says once more what was used of shared
    /// limits. Nothing that was acked is lost without it either; it spares clients a retry. Takes as long as the slowest
    /// request: at most [`BODY_TOTAL_TIMEOUT`](crate::limits::BODY_TOTAL_TIMEOUT) and what group commit gives the bucket.
    pub async fn shutdown(&self) {
        self.in_flight.close();
        self.in_flight.wait().await;
        for commit in self.commits.values() {
            commit.shutdown().await;
        }
        self.stop.cancel();
        let leases = self.leases.lock().take();
        if let Some(leases) = leases
            && leases.await.is_err()
        {
            tracing::error!("renewing the shares of limits had failed");
        }
    }

    /// Where each tenant's telemetry came from since this was last asked.
    pub fn take_footprints(&self) -> Vec<(TenantId, CloudPlace, Sightings)> {
        let tenants = self.tenants.all().into_iter();
        tenants
            .flat_map(|(id, state)| {
                state.footprint.take().into_iter().map(move |(place, seen)| (id.clone(), place, seen))
            })
            .collect()
    }

    /// Which limits of which tenants were nearly reached since this was last asked.
    pub fn take_nearly(&self) -> Vec<(TenantId, Nearly)> {
        let tenants = self.tenants.all().into_iter();
        tenants
            .flat_map(|(id, state)| {
                std::mem::take(&mut *state.nearly.lock()).into_iter().map(move |near| (id.clone(), near))
            })
            .collect()
    }

    /// What was counted and what is held.
    #[must_use]
    pub fn snapshot(&self) -> IngestSnapshot {
        let (tenants, active_series, series_keys) = self.tenants.counts();
        let held = self.settings.body_memory_bytes.saturating_sub(self.body_memory.available_permits());
        let leased_at_ms = self.leased_at_ms.load(Ordering::Relaxed);
        let monotonic_ms = u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX);
        let age_ms = self.access.age_ms(self.clock.now_ms());
        IngestSnapshot {
            held_body_bytes: held as u64,
            requests_in_flight: self.in_flight.len() as u64,
            tenants,
            active_series,
            series_keys,
            directory_version: self.access.directory().version(),
            lease_age_ms: (leased_at_ms > 0).then(|| monotonic_ms.saturating_sub(leased_at_ms)),
            directory_age_ms: u64::try_from(age_ms).unwrap_or_default(),
            ..self.counters.snapshot()
        }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    pub(crate) fn tenants_with_shared_limits(&self) -> Vec<(String, Arc<TenantState>)> {
        self.tenants.with_shared_limits()
    }

    pub(crate) fn new_tenant(&self) -> Arc<Notify> {
        Arc::clone(&self.new_tenant)
    }

    pub(crate) fn note_leased(&self) {
        let now_ms = u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX);
        self.leased_at_ms.store(now_ms.max(1), Ordering::Relaxed);
    }

    /// Begins a request, unless the service is shutting down.
    pub(crate) fn begin(&self) -> Result<InFlight, WriteError> {
        // The token first: shutdown either sees it, or is seen.
        let in_flight = InFlight { _token: self.in_flight.token() };
        if self.in_flight.is_closed() { Err(WriteError::ShuttingDown) } else { Ok(in_flight) }
    }

    /// Who sends a request, from its `Authorization` header and nothing else. Where it comes from is what the server noted
    /// of the connection, as [`ConnectInfo`].
    pub(crate) fn authorize(&self, head: &http::request::Parts) -> Result<Principal, WriteError> {
        let authorization = head.headers.get(header::AUTHORIZATION).map(http::HeaderValue::as_bytes);
        let peer = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
        let now_ms = self.clock.now_ms();
        Ok(self.access.authorize_from(authorization, peer, Scope::MetricsWrite, now_ms)?)
    }

    /// The most bytes that a request body of this principal may have.
    pub(crate) fn max_body_bytes(&self, principal: &Principal) -> u64 {
        // What is above the tenant's share of memory would be sent again in vain for ever.
        let limit =
            self.settings.wire_limits.max_compressed_bytes.min(tenants_body_memory(&self.settings)) as u64;
        principal.tenant.limits.request_bytes.map_or(limit, |tenants_own| limit.min(tenants_own))
    }

    /// Reads a body of at most `max_bytes` bytes, within the memory for bodies and the tenant's share of it.
    pub(crate) async fn read_body(
        &self,
        principal: &Principal,
        headers: &HeaderMap,
        body: Body,
        max_bytes: u64,
    ) -> Result<HeldBody, WriteError> {
        let (tenant, _) = self.tenants.state(&principal.tenant);
        let memory = BodyMemory { all: &self.body_memory, tenants_share: &tenant.body_memory };
        read_body(headers, body, max_bytes, memory).await
    }

    /// Makes what a body holds durable, as far as it is good.
    pub(crate) async fn write(
        self: &Arc<Self>,
        principal: &Principal,
        message: Message,
        encoding: Encoding,
        body: HeldBody,
    ) -> Result<Accepted, WriteError> {
        add(&self.counters.body_bytes, body.received_bytes() as u64);
        let shard = ShardId(principal.tenant.shard);
        let commit = self.commits.get(&shard).ok_or(WriteError::ShardNotHere)?;
        let (tenant, limiter) = self.tenants.state(&principal.tenant);
        let admitted =
            self.decode_where_it_fits(principal, &tenant, &limiter, message, encoding, body).await?;
        let Admitted { registered, load, mut nearly } = admitted;
        let Registered { rows, refusals, mut places, families } = registered;
        let written = Written {
            samples: rows.floats.len() as u64,
            histograms: rows.histograms.len() as u64,
            exemplars: rows.exemplars.len() as u64,
        };
        if matches!(message, Message::RemoteWrite(_)) {
            places = sampled(&rows, limiter.usage(self.clock.now_ms()).admitted.samples);
        }
        if !rows.is_empty()
            && let Err(error) = commit.commit(principal.tenant.id.clone(), rows).await
        {
            // It comes again, and must not be counted for each time that the bucket was away.
            limiter.give_back(load);
            return Err(WriteError::Commit(error));
        }
        nearly.extend(tenant.registry.nearly(&principal.tenant.limits));
        tenant.note_nearly(&nearly);
        tenant.footprint.add(places, self.clock.now_ms());
        tenant.families.note_stored(&families, self.clock.monotonic());
        self.access.note_stored(principal, written.samples + written.histograms);
        self.rank_if_due(tenant);
        self.count_accepted(&written, &refusals, &nearly);
        // Want of room is the server's matter, not the data's: a sender that took it for the latter would drop good data.
        let refused_samples = refusals.samples[RefusalReason::ServerFull as usize];
        if refused_samples > 0 {
            return Err(WriteError::ServerFull { refused_samples, written });
        }
        Ok(Accepted { written, refusals, nearly })
    }

    async fn decode_where_it_fits(
        self: &Arc<Self>,
        principal: &Principal,
        tenant: &Arc<TenantState>,
        limiter: &Arc<TenantLimiter>,
        message: Message,
        encoding: Encoding,
        body: HeldBody,
    ) -> Result<Admitted, WriteError> {
        if body.bytes().len() < INLINE_DECODE_BYTES {
            return self.decode_and_admit(principal, tenant, limiter, message, encoding, &body);
        }
        // Never closed, so this does not fail.
        let _place = self.large_decodes.acquire().await.map_err(|_| WriteError::Internal)?;
        let (ingest, principal) = (Arc::clone(self), principal.clone());
        let (tenant, limiter) = (Arc::clone(tenant), Arc::clone(limiter));
        tokio::task::spawn_blocking(move || {
            ingest.decode_and_admit(&principal, &tenant, &limiter, message, encoding, &body)
        })
        .await
        .map_err(|_| WriteError::Internal)?
    }

    /// In this order, so that a write that is refused leaves no series behind: read, admit all of it, register what is new. What
    /// the limits of series then refuse is given back.
    fn decode_and_admit(
        &self,
        principal: &Principal,
        tenant: &TenantState,
        limiter: &TenantLimiter,
        message: Message,
        encoding: Encoding,
        body: &HeldBody,
    ) -> Result<Admitted, WriteError> {
        let mut wire_limits = self.settings.wire_limits;
        if let Some(bytes) = principal.tenant.limits.request_bytes {
            let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
            wire_limits.max_decompressed_bytes = wire_limits.max_decompressed_bytes.min(bytes);
        }
        let context = DecodeContext {
            tenant,
            tenant_limits: &principal.tenant.limits,
            priorities_above: principal.priorities_above(),
            wire_limits: &wire_limits,
            otlp: &self.settings.otlp,
            times: TimeRule::new(self.clock.now_ms(), self.settings.out_of_order_window),
            now: self.clock.monotonic(),
        };
        let mut decompressor = self.decompressors.lock().pop().unwrap_or_default();
        let decoded = decompressor
            .decompress(encoding, body.bytes(), &wire_limits)
            .map_err(WriteError::Decompress)
            .and_then(|message_bytes| {
                add(&self.counters.decompressed_bytes, message_bytes.len() as u64);
                Ok(decode(message, message_bytes, &context)?)
            });
        let mut pool = self.decompressors.lock();
        if pool.len() < POOLED_DECOMPRESSORS {
            pool.push(decompressor);
        }
        drop(pool);
        let decoded = decoded?;
        let mut load = decoded.load();
        let nearly = limiter
            .admit(load, context.priorities_above, self.clock.now_ms())
            .inspect_err(|denied| tenant.note_nearly(Nearly::reached(denied).as_slice()))?;
        let registered = decoded.register(&context);
        let kept = (registered.rows.floats.len() + registered.rows.histograms.len()) as u64;
        if kept < load.samples {
            limiter.give_back(Load { samples: load.samples - kept, ..Load::default() });
            load.samples = kept;
        }
        Ok(Admitted { registered, load, nearly })
    }

    /// Gives ranks on a thread for blocking work, one tenant at a time.
    fn rank_if_due(&self, tenant: Arc<TenantState>) {
        if tenant.registry.ranking_due()
            && let Ok(place) = Arc::clone(&self.ranking).try_acquire_owned()
        {
            tokio::task::spawn_blocking(move || {
                tenant.registry.rank();
                drop(place);
            });
        }
    }

    fn count_accepted(&self, written: &Written, refusals: &Refusals, nearly: &[Nearly]) {
        for near in nearly {
            add(&self.counters.limit_warnings[near.limit as usize], 1);
        }
        add(&self.counters.float_samples, written.samples);
        add(&self.counters.histogram_samples, written.histograms);
        add(&self.counters.exemplars, written.exemplars);
        for reason in RefusalReason::ALL {
            add(&self.counters.refused_samples[reason as usize], refusals.samples[reason as usize]);
        }
        add(&self.counters.refused_exemplars, refusals.exemplars);
    }

    /// Counts how a request ended, and logs what failed on our side.
    pub(crate) fn note(&self, protocol: Protocol, result: &Result<Accepted, WriteError>) {
        let outcome = match result {
            Ok(accepted) if accepted.refusals.is_empty() => Outcome::Accepted,
            Ok(_) => Outcome::Partial,
            Err(error) => {
                if let WriteError::Denied(denied) = error {
                    add(&self.counters.limited[denied.limit as usize], 1);
                }
                let outcome = error.verdict().outcome;
                if matches!(outcome, Outcome::Unavailable | Outcome::Internal) {
                    self.log(error);
                }
                outcome
            }
        };
        add(&self.counters.requests[protocol as usize][outcome as usize], 1);
    }

    /// At most one line in [`LOG_INTERVAL`]: when the bucket is away, every request fails.
    fn log(&self, error: &WriteError) {
        let now_ms = u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let interval_ms = LOG_INTERVAL.as_millis() as u64;
        let last_ms = self.last_log_ms.load(Ordering::Relaxed);
        let due = last_ms == 0 || now_ms.saturating_sub(last_ms) >= interval_ms;
        let swap =
            self.last_log_ms.compare_exchange(last_ms, now_ms.max(1), Ordering::Relaxed, Ordering::Relaxed);
        if !due || swap.is_err() {
            self.unlogged.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut chain = String::new();
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(one) = cause {
            chain.push_str(if chain.is_empty() { "" } else { ": " });
            chain.push_str(&one.to_string());
            cause = one.source();
        }
        let suppressed = self.unlogged.swap(0, Ordering::Relaxed);
        tracing::warn!(error = chain, suppressed, "a write failed on our side");
    }
}

/// One tenant's share of the memory for bodies, in bytes.
const fn tenants_body_memory(settings: &IngestSettings) -> usize {
    settings.body_memory_bytes / TENANT_SHARE_OF_BODY_MEMORY
}

/// Ends generations of series until told to stop or the service is gone.
async fn sweep(ingest: Weak<Ingest>, stop: CancellationToken) {
    let mut timer = tokio::time::interval(SWEEP_INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut generation_began = None;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
        }
        let Some(ingest) = ingest.upgrade() else {
            return;
        };
        let now = ingest.clock.monotonic();
        let began = *generation_began.get_or_insert(now);
        if now.saturating_sub(began) >= SERIES_GENERATION {
            generation_began = Some(now);
            // Proportional to the number of series: not on a thread that serves requests.
            let turn = move || ingest.tenants.turn_generation(ingest.clock.now_ms());
            if tokio::task::spawn_blocking(turn).await.is_err() {
                tracing::error!("dropping idle series failed");
            }
        }
    }
}
