use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use telemetry::Labels;

use super::*;

fn registry_with(allowed: u64) -> SeriesRegistry {
    let hasher = KeyHasher::new(&mut ChaCha8Rng::seed_from_u64(1));
    SeriesRegistry::new(hasher, Arc::new(SeriesBudget::new(allowed)))
}

fn registry() -> SeriesRegistry {
    registry_with(u64::MAX)
}

fn new_series(registry: &SeriesRegistry, key: &str, metric: &str, instance: usize) -> NewSeries {
    let instance = instance.to_string();
    let labels = Labels::from_pairs([("__name__", metric), ("instance", &instance)]).unwrap();
    let series = Arc::new(Series::new(labels));
    NewSeries { key_hash: registry.hash_key(key.as_bytes()), series, refused: None }
}

/// Registers one series under `key`; returns the shared series.
fn register(
    registry: &SeriesRegistry,
    key: &str,
    metric: &str,
    instance: usize,
    limits: &Limits,
) -> Result<Arc<Series>, String> {
    let mut new = [new_series(registry, key, metric, instance)];
    registry.register(&mut new, limits, 0);
    let [NewSeries { series, refused, .. }] = new;
    refused.map_or(Ok(series), |refusal| Err(refusal.to_string()))
}

fn known(registry: &SeriesRegistry, key: &str) -> bool {
    registry.read().get(registry.hash_key(key.as_bytes())).is_some()
}

#[test]
fn spellings_of_one_label_set_share_one_series() {
    let registry = registry();
    let unlimited = Limits::unlimited();
    let first = register(&registry, "spelling 1", "up", 1, &unlimited).unwrap();
    let second = register(&registry, "spelling 2", "up", 1, &unlimited).unwrap();
    let other = register(&registry, "spelling 3", "up", 2, &unlimited).unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert!(!Arc::ptr_eq(&first, &other));
    assert!(known(&registry, "spelling 1") && known(&registry, "spelling 2"));
    assert!(!known(&registry, "spelling 4"));
    assert_eq!((registry.active_series(), registry.keys()), (2, 3));
}

#[test]
fn limits_refuse_new_series_and_let_known_ones_go_on() {
    let registry = registry();
    let limits = Limits { active_series: Some(3), series_per_metric: Some(2), ..Limits::unlimited() };
    register(&registry, "a1", "a", 1, &limits).unwrap();
    register(&registry, "a2", "a", 2, &limits).unwrap();
    let refused = register(&registry, "a3", "a", 3, &limits).unwrap_err();
    assert!(refused.contains("series_per_metric reached: 2 allowed, current use 2"), "{refused}");
    register(&registry, "b1", "b", 1, &limits).unwrap();
    let refused = register(&registry, "b2", "b", 2, &limits).unwrap_err();
    assert!(refused.contains("active_series reached: 3 allowed, current use 3"), "{refused}");
    assert!(known(&registry, "a1") && !known(&registry, "b2"));
    register(&registry, "a1 spelt otherwise", "a", 1, &limits).unwrap();
}

#[test]
fn the_server_bound_counts_all_tenants() {
    let budget = Arc::new(SeriesBudget::new(2));
    let hasher = KeyHasher::new(&mut ChaCha8Rng::seed_from_u64(1));
    let tenants = [0; 2].map(|_| SeriesRegistry::new(hasher.clone(), Arc::clone(&budget)));
    let unlimited = Limits::unlimited();
    register(&tenants[0], "a", "a", 1, &unlimited).unwrap();
    register(&tenants[1], "a", "a", 1, &unlimited).unwrap();
    assert!(register(&tenants[1], "b", "b", 1, &unlimited).is_err());
    drop(tenants);
    assert_eq!(budget.used(), 0);
}

#[test]
fn what_gets_nothing_for_a_generation_is_dropped() {
    let registry = registry();
    let limits = Limits { series_per_metric: Some(2), ..Limits::unlimited() };
    let busy = register(&registry, "busy", "m", 1, &limits).unwrap();
    register(&registry, "idle", "m", 2, &limits).unwrap();
    registry.turn_generation();
    assert_eq!(registry.active_series(), 2, "both were met in the generation that ended");
    assert!(known(&registry, "busy"));
    registry.turn_generation();
    assert_eq!((registry.active_series(), registry.keys(), registry.budget.used()), (1, 1, 1));
    assert!(Arc::ptr_eq(registry.read().get(registry.hash_key(b"busy")).unwrap(), &busy));
    register(&registry, "next", "m", 3, &limits).expect("the idle series made room");
    registry.turn_generation();
    registry.turn_generation();
    assert_eq!((registry.active_series(), registry.keys(), registry.budget.used()), (0, 0, 0));
}

#[test]
fn a_flood_of_spellings_does_not_grow_the_registry() {
    let registry = registry();
    let unlimited = Limits::unlimited();
    let steady = register(&registry, "steady", "up", 7, &unlimited).unwrap();
    for spelling in 0..MIN_SERIES_KEYS + 10 {
        register(&registry, &format!("spelling {spelling}"), "up", 1, &unlimited).unwrap();
    }
    assert_eq!(registry.active_series(), 2);
    assert!(registry.keys() <= MIN_SERIES_KEYS, "{}", registry.keys());
    registry.turn_generation();
    assert_eq!(registry.active_series(), 2, "the cache of spellings does not decide what is active");
    assert!(Arc::ptr_eq(&register(&registry, "steady", "up", 7, &unlimited).unwrap(), &steady));
}

#[test]
fn ranks_are_due_when_a_share_of_the_series_is_new() {
    let registry = registry();
    let unlimited = Limits::unlimited();
    let add = |from: usize, to: usize| {
        for i in from..to {
            register(&registry, &i.to_string(), "m", i, &unlimited).unwrap();
        }
        registry.ranking_due()
    };
    assert!(!add(0, 63));
    assert!(add(63, 2000));
    registry.rank();
    assert!(!add(2000, 2100));
    assert!(add(2100, 2200));
}

#[test]
fn places_are_kept_for_higher_priorities_and_limits_are_told_before_they_are_reached() {
    let registry = registry();
    let limits = Limits { active_series: Some(10), series_per_metric: Some(7), ..Limits::unlimited() };
    let of_low = |i: usize| {
        let metric = if i < 5 { "a" } else { "b" };
        let mut new = [new_series(&registry, &i.to_string(), metric, i)];
        registry.register(&mut new, &limits, 2);
        let [one] = new;
        one.refused
    };
    for i in 0..8 {
        assert!(of_low(i).is_none(), "{i}");
        assert_eq!(registry.nearly(&limits).count(), usize::from(i >= 7), "{i}");
    }
    let Some(SeriesRefusal::Limit(denied)) = of_low(8) else { panic!("a fifth is kept") };
    assert!(denied.kept && denied.used == 8, "{denied}");
    assert!(of_low(3).is_none(), "known series go on");
    for i in 1..=2 {
        register(&registry, &format!("of a higher one {i}"), "b", 10 + i, &limits).unwrap();
    }
    assert_eq!(registry.nearly(&limits).count(), 1, "five of seven series of a metric are not near");
}
