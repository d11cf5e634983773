//! What a process keeps of each tenant that sends something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use rand::RngCore;
use telemetry::TenantId;
use tenancy::lease::Tenure;
use tenancy::limiter::DayUse;
use tenancy::limits::{DAY_MS, MAX_TENANTS};
use tenancy::{Nearly, Tenant, TenantLimiter};
use tokio::sync::Notify;
use tokio::sync::Semaphore;

use crate::families::StoredFamilies;
use crate::footprint::Footprint;
use crate::registry::{KeyHasher, SeriesBudget, SeriesRegistry};

/// One tenant's series, metadata and limits in use.
#[derive(Debug)]
pub(crate) struct TenantState {
    pub(crate) registry: SeriesRegistry,
    pub(crate) families: StoredFamilies,
    /// What its request bodies may still take of its share of memory, in bytes.
    pub(crate) body_memory: Arc<Semaphore>,
    /// Where its telemetry comes from.
    pub(crate) footprint: Footprint,
    /// Its limits that were nearly reached since this was last asked.
    pub(crate) nearly: Mutex<Vec<Nearly>>,
    /// What part of its limits is this process's, where others have theirs.
    pub(crate) tenure: Mutex<Tenure>,
    limiter: Mutex<Arc<TenantLimiter>>,
    /// Set by each request, taken back by each sweep: who sent nothing and has no series is forgotten.
    used: AtomicBool,
}

impl TenantState {
    /// Notes limits that are nearly reached: of each the greatest use.
    pub(crate) fn note_nearly(&self, nearly: &[Nearly]) {
        if nearly.is_empty() {
            return;
        }
        let mut noted = self.nearly.lock();
        for near in nearly {
            match noted.iter_mut().find(|known| known.limit == near.limit) {
                Some(known) if known.used >= near.used => {}
                Some(known) => *known = *near,
                None => noted.push(*near),
            }
        }
    }

    /// The limits in use, as they were in force at the last request.
    pub(crate) fn limiter(&self) -> Arc<TenantLimiter> {
        Arc::clone(&self.limiter.lock())
    }
}

/// All tenants that sent something lately.
pub(crate) struct Tenants {
    states: RwLock<HashMap<TenantId, Arc<TenantState>>>,
    /// What those that are forgotten have used of today: silence does not give it back. Locked after `states`.
    days: Mutex<HashMap<TenantId, DayUse>>,
    hasher: KeyHasher,
    families_seed: u64,
    budget: Arc<SeriesBudget>,
    body_memory_bytes: usize,
    monotonic: tenancy::limiter::MonotonicNow,
    /// Told of a new tenant, where limits are shared.
    shares: Option<Arc<Notify>>,
}

impl Tenants {
    /// `max_active_series` are of all tenants together, `body_memory_bytes` is each one's share. With `shares`, a process has a
    /// part of each limit only, and who finds out which is told of new tenants.
    pub(crate) fn new(
        rng: &mut impl RngCore,
        max_active_series: u64,
        body_memory_bytes: usize,
        monotonic: tenancy::limiter::MonotonicNow,
        shares: Option<Arc<Notify>>,
    ) -> Self {
        Self {
            states: RwLock::default(),
            days: Mutex::default(),
            hasher: KeyHasher::new(rng),
            families_seed: rng.next_u64(),
            budget: Arc::new(SeriesBudget::new(max_active_series)),
            body_memory_bytes,
            monotonic,
            shares,
        }
    }

    /// The state of `tenant`, with its limits as they are in force.
    pub(crate) fn state(&self, tenant: &Tenant) -> (Arc<TenantState>, Arc<TenantLimiter>) {
        let known = self.states.read().get(&tenant.id).map(Arc::clone);
        let state = known.unwrap_or_else(|| {
            let mut states = self.states.write();
            let made = states.entry(tenant.id.clone()).or_insert_with(|| Arc::new(self.new_state(tenant)));
            self.shares.iter().for_each(|shares| shares.notify_one());
            Arc::clone(made)
        });
        state.used.store(true, Ordering::Relaxed);
        let limiter = {
            let mut in_force = state.limiter.lock();
            if *in_force.limits() != tenant.limits {
                *in_force = Arc::new(in_force.with_limits(tenant.limits.clone()));
            }
            Arc::clone(&in_force)
        };
        (state, limiter)
    }

    fn new_state(&self, tenant: &Tenant) -> TenantState {
        TenantState {
            registry: SeriesRegistry::new(self.hasher.clone(), Arc::clone(&self.budget)),
            families: StoredFamilies::new(self.families_seed),
            body_memory: Arc::new(Semaphore::new(self.body_memory_bytes)),
            footprint: Footprint::default(),
            nearly: Mutex::default(),
            tenure: Mutex::default(),
            limiter: Mutex::new(Arc::new(self.new_limiter(tenant))),
            used: AtomicBool::new(true),
        }
    }

    fn new_limiter(&self, tenant: &Tenant) -> TenantLimiter {
        let (limits, monotonic) = (tenant.limits.clone(), Arc::clone(&self.monotonic));
        let limiter = match self.shares {
            Some(_) => {
                let rates = Tenure::default().rates(&limits, monotonic());
                TenantLimiter::shared(limits, rates, monotonic)
            }
            None => TenantLimiter::new(limits, monotonic),
        };
        if let Some(day) = self.days.lock().remove(&tenant.id) {
            limiter.resume_day(day);
        }
        limiter
    }

    /// Ends the generation of every tenant's series and forgets tenants that are idle, all but what they used of the day that has
    /// gone on at `now_ms` (wall time, in milliseconds since the Unix epoch).
    pub(crate) fn turn_generation(&self, now_ms: i64) {
        let states: Vec<Arc<TenantState>> = self.states.read().values().map(Arc::clone).collect();
        for state in &states {
            state.registry.turn_generation();
        }
        drop(states);
        let mut states = self.states.write();
        let mut days = self.days.lock();
        days.retain(|_, used| used.day >= now_ms.div_euclid(DAY_MS));
        states.retain(|id, state| {
            // A count above one is a request that holds the state now.
            let idle = !state.used.swap(false, Ordering::Relaxed) && Arc::strong_count(state) == 1;
            let kept = !idle || state.registry.active_series() > 0;
            let used = state.limiter().day_use(now_ms);
            // A directory has no more tenants, so there are more only where many were deleted today.
            if !kept && used.bytes > 0 && days.len() < MAX_TENANTS {
                days.insert(id.clone(), used);
            }
            kept
        });
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<(TenantId, Arc<TenantState>)> {
        self.states.read().iter().map(|(id, state)| (id.clone(), Arc::clone(state))).collect()
    }

    /// The tenants with a limit that processes share, by id.
    pub(crate) fn with_shared_limits(&self) -> Vec<(String, Arc<TenantState>)> {
        let states = self.states.read();
        let shared = states.iter().filter(|(_, state)| {
            let limiter = state.limiter();
            let limits = limiter.limits();
            limits.samples_per_second.is_some()
                || limits.spans_per_second.is_some()
                || limits.bytes_per_day.is_some()
        });
        shared.map(|(id, state)| (id.to_string(), Arc::clone(state))).collect()
    }

    /// Tenants, active series, spellings of series.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let states = self.states.read();
        let keys = states.values().map(|state| state.registry.keys() as u64).sum();
        (states.len() as u64, self.budget.used(), keys)
    }
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenants").field("states", &self.states.read().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use tenancy::{Limits, Load, Priority};

    use super::*;

    fn tenants() -> Tenants {
        Tenants::new(&mut ChaCha8Rng::seed_from_u64(1), 100, 1000, Arc::new(|| Duration::ZERO), None)
    }

    fn tenant(id: &str, limits: Limits) -> Tenant {
        let highest_priority = Priority::Normal;
        Tenant { id: TenantId::new(id).unwrap(), shard: 0, retention_days: 1, limits, highest_priority }
    }

    #[test]
    fn new_limits_hold_from_the_next_request_and_the_series_stay() {
        let tenants = tenants();
        let (first, limiter) = tenants.state(&tenant("acme", Limits::unlimited()));
        assert!(limiter.admit(Load { samples: 1000, ..Load::default() }, 0, 0).is_ok());
        let slow = Limits { samples_per_second: Some(10), samples_burst: 10, ..Limits::unlimited() };
        let (second, limiter) = tenants.state(&tenant("acme", slow.clone()));
        assert!(Arc::ptr_eq(&first, &second));
        assert!(limiter.admit(Load { samples: 10, ..Load::default() }, 0, 0).is_ok());
        let (_, same) = tenants.state(&tenant("acme", slow));
        assert!(
            same.admit(Load { samples: 1, ..Load::default() }, 0, 0).is_err(),
            "use counts on while limits stay as they are"
        );
    }

    const NOON_MS: i64 = DAY_MS / 2;

    #[test]
    fn idle_tenants_are_forgotten() {
        let tenants = tenants();
        drop(tenants.state(&tenant("acme", Limits::default())));
        tenants.turn_generation(NOON_MS);
        assert_eq!(tenants.counts().0, 1, "it sent something in the generation that ended");
        tenants.turn_generation(NOON_MS);
        assert_eq!(tenants.counts(), (0, 0, 0));
    }

    #[test]
    fn silence_gives_nothing_of_a_days_bytes_back_until_the_day_is_over() {
        let tenants = tenants();
        let acme = tenant("acme", Limits { bytes_per_day: Some(1000), ..Limits::unlimited() });
        let admits = |bytes, now_ms| {
            let (_, limiter) = tenants.state(&acme);
            limiter.admit(Load { bytes, ..Load::default() }, 0, now_ms).is_ok()
        };
        let silence = |now_ms| {
            for _ in 0..2 {
                tenants.turn_generation(now_ms);
            }
            assert_eq!(tenants.counts().0, 0);
        };
        assert!(admits(600, NOON_MS));
        for _ in 0..2 {
            silence(NOON_MS);
            assert!(!admits(401, NOON_MS));
        }
        assert!(admits(400, NOON_MS));
        silence(NOON_MS);
        assert_eq!(tenants.days.lock().len(), 1);
        tenants.turn_generation(NOON_MS + DAY_MS);
        assert_eq!(tenants.days.lock().len(), 0, "nothing is kept of a day that is over");
        assert!(admits(1000, NOON_MS + DAY_MS));
    }
}
