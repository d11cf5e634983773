//! The active series of one tenant.
//!
//! A series arrives as a *key*, its labels as the protocol spells them. The registry maps the hash of a key to the
//! [`Series`] that all rows of the series share, so a known series costs one hash and one look-up under a read lock that
//! is taken once a request. The 128-bit hash stands for the key: with a secret of this process, nobody can make two keys
//! collide but by luck, and 2⁶⁴ keys would be needed for luck.
//!
//! Two tables: `slots` is the truth, each active label set once; `by_key` is a cache of spellings that point to slots and
//! may be emptied at any time. Time goes by in generations: a series that got nothing during a whole generation is
//! dropped at its end. So memory follows what is sent, and a flood of new series is gone after two generations.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use hashbrown::{HashMap, HashTable};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};
use rand::RngCore;
use telemetry::Series;
use tenancy::limiter::allowed_below;
use tenancy::{Denied, LimitName, Limits, Nearly};
use xxhash_rust::xxh3::{Xxh3Builder, xxh3_64_with_seed, xxh3_128_with_secret};

use crate::limits::{MIN_SERIES_KEYS, SERIES_KEYS_PER_SERIES, SERIES_PER_LOCK};

/// The series of one tenant.
#[derive(Debug)]
pub(crate) struct SeriesRegistry {
    hasher: KeyHasher,
    known: RwLock<KnownSeries>,
    budget: Arc<SeriesBudget>,
    /// Series registered since ranks were last given.
    unranked: AtomicUsize,
    /// Held while ranks are given, which only one thread may do at a time.
    ranking: Mutex<()>,
}

/// Active series of all tenants together.
#[derive(Debug)]
pub(crate) struct SeriesBudget {
    used: AtomicU64,
    allowed: u64,
}

/// What hashes of keys are made with: secret, the same for all tenants of a process.
#[derive(Clone)]
pub(crate) struct KeyHasher {
    secret: Arc<[u8; 192]>,
    seed: u64,
}

/// What [`SeriesRegistry::read`] shows.
#[derive(Debug)]
pub(crate) struct KnownSeries {
    by_key: HashMap<u128, KnownKey, BuildHasherDefault<TakeLowBits>>,
    slots: Vec<Slot>,
    /// Indexes into `slots` by label set.
    by_labels: HashTable<u32>,
    per_metric: HashMap<Box<str>, u64, Xxh3Builder>,
    /// The series of the metric that has, or had in this generation, the most.
    most_of_a_metric: u64,
    generation: u32,
    max_keys: usize,
}

#[derive(Debug)]
struct KnownKey {
    series: Arc<Series>,
    slot: u32,
    /// The generation in which the key was last met.
    seen: AtomicU32,
}

#[derive(Debug)]
struct Slot {
    series: Arc<Series>,
    hash: u64,
    /// The generation in which the series was last met, apart from what its keys in `by_key` say.
    seen: u32,
}

/// A series that was not known when its request was read.
#[derive(Debug)]
pub(crate) struct NewSeries {
    /// Hash of its key.
    pub(crate) key_hash: u128,
    /// Before registration a series of the request's own; after it, the shared one.
    pub(crate) series: Arc<Series>,
    /// Why it was not registered.
    pub(crate) refused: Option<SeriesRefusal>,
}

/// Why a new series is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SeriesRefusal {
    /// One of the tenant's limits.
    #[error("{0}; series that are known already go on")]
    Limit(Denied),
    /// The process's own bound.
    #[error("this server holds {0} active series, which is all it can; series that are known already go on")]
    ServerFull(u64),
}

impl SeriesRegistry {
    pub(crate) fn new(hasher: KeyHasher, budget: Arc<SeriesBudget>) -> Self {
        let known = KnownSeries {
            by_key: HashMap::default(),
            slots: Vec::new(),
            by_labels: HashTable::new(),
            per_metric: HashMap::with_hasher(Xxh3Builder::new().with_seed(hasher.seed)),
            most_of_a_metric: 0,
            generation: 1,
            max_keys: MIN_SERIES_KEYS,
        };
        Self {
            hasher,
            known: RwLock::new(known),
            budget,
            unranked: AtomicUsize::new(0),
            ranking: Mutex::new(()),
        }
    }

    /// The known series, for as long as the guard lives.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, KnownSeries> {
        self.known.read()
    }

    #[inline]
    pub(crate) fn hash_key(&self, key: &[u8]) -> u128 {
        xxh3_128_with_secret(key, self.hasher.secret.as_slice())
    }

    /// Registers series, as far as `limits` and the server's bound allow. Each gets the shared series of its label set or
    /// the reason why there is none. `priorities_above` is as for [`tenancy::TenantLimiter::admit`].
    pub(crate) fn register(&self, new: &mut [NewSeries], limits: &Limits, priorities_above: u32) {
        // Readers get their turn in between: a request may bring 100,000 series.
        for some in new.chunks_mut(SERIES_PER_LOCK as usize) {
            self.register_some(some, limits, priorities_above);
        }
    }

    fn register_some(&self, new: &mut [NewSeries], limits: &Limits, priorities_above: u32) {
        let mut added = 0;
        let mut known = self.known.write();
        for one in new {
            let hash = self.hasher.hash_labels(&one.series);
            let slot = match known.slot_of(hash, &one.series) {
                Some(slot) => slot,
                None => {
                    match known.check(&one.series, limits, priorities_above).and_then(|()| self.budget.take())
                    {
                        Ok(()) => {
                            added += 1;
                            known.add(hash, &one.series)
                        }
                        Err(refusal) => {
                            one.refused = Some(refusal);
                            continue;
                        }
                    }
                }
            };
            one.series = known.add_key(one.key_hash, slot);
        }
        drop(known);
        self.unranked.fetch_add(added, Ordering::Relaxed);
    }

    /// Ends the generation: what got nothing in it is dropped.
    pub(crate) fn turn_generation(&self) {
        let mut known = self.known.write();
        let dropped = known.turn_generation();
        drop(known);
        self.budget.give_back(dropped);
    }

    /// Whether so many series have no rank that it pays to give ranks anew: batches with unranked series in them are
    /// sorted by comparing labels. Waiting for a share of all keeps the cost a new series constant.
    pub(crate) fn ranking_due(&self) -> bool {
        let unranked = self.unranked.load(Ordering::Relaxed);
        unranked >= 64 && unranked >= self.active_series() / 16
    }

    /// Gives every series its rank. Takes milliseconds for 100,000 series; the registry stays usable meanwhile.
    pub(crate) fn rank(&self) {
        let Some(_ranking) = self.ranking.try_lock() else {
            return;
        };
        self.unranked.store(0, Ordering::Relaxed);
        let series: Vec<Arc<Series>> =
            self.known.read().slots.iter().map(|slot| Arc::clone(&slot.series)).collect();
        telemetry::series::rank(series);
    }

    pub(crate) fn active_series(&self) -> usize {
        self.known.read().slots.len()
    }

    /// Which limits of series are nearly reached, if any is.
    pub(crate) fn nearly(&self, limits: &Limits) -> impl Iterator<Item = Nearly> {
        let known = self.known.read();
        let (all, of_one) = (known.slots.len() as u64, known.most_of_a_metric);
        drop(known);
        let all = Nearly::of(LimitName::ActiveSeries, limits.active_series, all);
        all.into_iter().chain(Nearly::of(LimitName::SeriesPerMetric, limits.series_per_metric, of_one))
    }

    pub(crate) fn keys(&self) -> usize {
        self.known.read().by_key.len()
    }
}

impl Drop for SeriesRegistry {
    fn drop(&mut self) {
        self.budget.give_back(self.known.get_mut().slots.len());
    }
}

impl KnownSeries {
    /// The series of the key with this hash, noted as met.
    #[inline]
    pub(crate) fn get(&self, key_hash: u128) -> Option<&Arc<Series>> {
        let known = self.by_key.get(&key_hash)?;
        // Written once a generation, so that the line stays shared between cores.
        if known.seen.load(Ordering::Relaxed) != self.generation {
            known.seen.store(self.generation, Ordering::Relaxed);
        }
        Some(&known.series)
    }

    fn slot_of(&self, hash: u64, series: &Series) -> Option<u32> {
        let same = |slot: &u32| self.slots[*slot as usize].series.labels() == series.labels();
        self.by_labels.find(hash, same).copied()
    }

    fn check(&self, series: &Series, limits: &Limits, priorities_above: u32) -> Result<(), SeriesRefusal> {
        let within = |limit, allowed: Option<u64>, used: u64| match allowed {
            Some(allowed) if used >= allowed_below(allowed, priorities_above) => {
                let kept = used < allowed;
                Err(SeriesRefusal::Limit(Denied {
                    limit,
                    allowed,
                    used,
                    requested: 1,
                    retry_after: None,
                    kept,
                }))
            }
            _ => Ok(()),
        };
        within(LimitName::ActiveSeries, limits.active_series, self.slots.len() as u64)?;
        let of_metric = self.per_metric.get(metric_of(series)).copied().unwrap_or_default();
        within(LimitName::SeriesPerMetric, limits.series_per_metric, of_metric)
    }

    fn add(&mut self, hash: u64, series: &Arc<Series>) -> u32 {
        let slot = self.slots.len() as u32;
        self.slots.push(Slot { series: Arc::clone(series), hash, seen: self.generation });
        let slots = &self.slots;
        self.by_labels.insert_unique(hash, slot, |slot| slots[*slot as usize].hash);
        let of_metric = self.per_metric.entry_ref(metric_of(series)).or_default();
        *of_metric += 1;
        self.most_of_a_metric = self.most_of_a_metric.max(*of_metric);
        slot
    }

    fn add_key(&mut self, key_hash: u128, slot: u32) -> Arc<Series> {
        self.max_keys = self.max_keys.max(self.slots.len() * SERIES_KEYS_PER_SERIES);
        if self.by_key.len() >= self.max_keys {
            self.note_seen_keys();
            self.by_key.clear();
        }
        self.slots[slot as usize].seen = self.generation;
        let series = Arc::clone(&self.slots[slot as usize].series);
        let seen = AtomicU32::new(self.generation);
        self.by_key.insert(key_hash, KnownKey { series: Arc::clone(&series), slot, seen });
        series
    }

    fn note_seen_keys(&mut self) {
        for key in self.by_key.values_mut() {
            let slot = &mut self.slots[key.slot as usize];
            slot.seen = slot.seen.max(*key.seen.get_mut());
        }
    }

    /// Returns how many series were dropped.
    fn turn_generation(&mut self) -> usize {
        self.note_seen_keys();
        let ended = self.generation;
        self.generation = ended.saturating_add(1);
        let before = self.slots.len();

        const DROPPED: u32 = u32::MAX;
        let mut moved = vec![DROPPED; before];
        let mut kept = Vec::with_capacity(self.slots.iter().filter(|slot| slot.seen >= ended).count());
        for (slot, new_place) in self.slots.drain(..).zip(&mut moved) {
            if slot.seen >= ended {
                *new_place = kept.len() as u32;
                kept.push(slot);
            } else if let Some(count) = self.per_metric.get_mut(metric_of(&slot.series)) {
                *count -= 1;
            }
        }
        self.slots = kept;
        self.per_metric.retain(|_, count| *count > 0);
        self.most_of_a_metric = self.per_metric.values().copied().max().unwrap_or_default();
        self.by_key.retain(|_, key| {
            key.slot = moved[key.slot as usize];
            key.slot != DROPPED && *key.seen.get_mut() >= ended
        });
        self.by_key.shrink_to(self.by_key.len() * 2);
        self.max_keys = MIN_SERIES_KEYS.max(self.slots.len() * SERIES_KEYS_PER_SERIES);
        self.by_labels = HashTable::with_capacity(self.slots.len());
        for (slot, place) in self.slots.iter().zip(0_u32..) {
            let slots = &self.slots;
            self.by_labels.insert_unique(slot.hash, place, |place| slots[*place as usize].hash);
        }
        before - self.slots.len()
    }
}

fn metric_of(series: &Series) -> &str {
    series.labels().metric_name().unwrap_or_default()
}

impl SeriesBudget {
    pub(crate) fn new(allowed: u64) -> Self {
        // Slots are numbered by `u32`.
        Self { used: AtomicU64::new(0), allowed: allowed.min(u32::MAX.into()) }
    }

    fn take(&self) -> Result<(), SeriesRefusal> {
        let take = |used| (used < self.allowed).then_some(used + 1);
        match self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => Ok(()),
            Err(_) => Err(SeriesRefusal::ServerFull(self.allowed)),
        }
    }

    fn give_back(&self, series: usize) {
        self.used.fetch_sub(series as u64, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl KeyHasher {
    pub(crate) fn new(rng: &mut impl RngCore) -> Self {
        let mut secret = [0; 192];
        rng.fill_bytes(&mut secret);
        Self { secret: Arc::new(secret), seed: rng.next_u64() }
    }

    fn hash_labels(&self, series: &Series) -> u64 {
        xxh3_64_with_seed(series.labels().as_canonical().as_bytes(), self.seed)
    }
}

impl std::fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyHasher(..)")
    }
}

/// Keys of `by_key` are hashes already.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TakeLowBits(u64);

impl Hasher for TakeLowBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

#[cfg(test)]
mod tests;
