//! What a process keeps of each tenant that sends something.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};
use rand::RngCore;
use telemetry::TenantId;
use tenancy::{Tenant, TenantLimiter};
use tokio::sync::Semaphore;

use crate::families::StoredFamilies;
use crate::registry::{KeyHasher, SeriesBudget, SeriesRegistry};

/// One tenant's series, metadata and limits in use.
#[derive(Debug)]
pub(crate) struct TenantState {
    pub(crate) registry: SeriesRegistry,
    pub(crate) families: StoredFamilies,
    /// What its request bodies may still take of its share of memory, in bytes.
    pub(crate) body_memory: Arc<Semaphore>,
    limiter: Mutex<Arc<TenantLimiter>>,
    /// Set by each request, taken back by each sweep: who sent nothing and has no series is forgotten.
    used: AtomicBool,
}

/// All tenants that sent something lately.
pub(crate) struct Tenants {
    states: RwLock<HashMap<TenantId, Arc<TenantState>>>,
    hasher: KeyHasher,
    families_seed: u64,
    budget: Arc<SeriesBudget>,
    body_memory_bytes: usize,
    monotonic: tenancy::limiter::MonotonicNow,
}

impl Tenants {
    /// `max_active_series` are of all tenants together, `body_memory_bytes` is each one's share.
    pub(crate) fn new(
        rng: &mut impl RngCore,
        max_active_series: u64,
        body_memory_bytes: usize,
        monotonic: tenancy::limiter::MonotonicNow,
    ) -> Self {
        Self {
            states: RwLock::default(),
            hasher: KeyHasher::new(rng),
            families_seed: rng.next_u64(),
            budget: Arc::new(SeriesBudget::new(max_active_series)),
            body_memory_bytes,
            monotonic,
        }
    }

    /// The state of `tenant`, with its limits as they are in force.
    pub(crate) fn state(&self, tenant: &Tenant) -> (Arc<TenantState>, Arc<TenantLimiter>) {
        let known = self.states.read().get(&tenant.id).map(Arc::clone);
        let state = known.unwrap_or_else(|| {
            let mut states = self.states.write();
            Arc::clone(states.entry(tenant.id.clone()).or_insert_with(|| Arc::new(self.new_state(tenant))))
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
            limiter: Mutex::new(Arc::new(self.new_limiter(tenant))),
            used: AtomicBool::new(true),
        }
    }

    fn new_limiter(&self, tenant: &Tenant) -> TenantLimiter {
        TenantLimiter::new(tenant.limits.clone(), Arc::clone(&self.monotonic))
    }

    /// Ends the generation of every tenant's series and forgets tenants that are idle.
    pub(crate) fn turn_generation(&self) {
        let states: Vec<Arc<TenantState>> = self.states.read().values().map(Arc::clone).collect();
        for state in &states {
            state.registry.turn_generation();
        }
        drop(states);
        self.states.write().retain(|_, state| {
            // A count above one is a request that holds the state now.
            let idle = !state.used.swap(false, Ordering::Relaxed) && Arc::strong_count(state) == 1;
            !idle || state.registry.active_series() > 0
        });
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
        Tenants::new(&mut ChaCha8Rng::seed_from_u64(1), 100, 1000, Arc::new(|| Duration::ZERO))
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

    #[test]
    fn idle_tenants_are_forgotten() {
        let tenants = tenants();
        drop(tenants.state(&tenant("acme", Limits::default())));
        tenants.turn_generation();
        assert_eq!(tenants.counts().0, 1, "it sent something in the generation that ended");
        tenants.turn_generation();
        assert_eq!(tenants.counts(), (0, 0, 0));
    }
}
