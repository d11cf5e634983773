use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::limiter::{Load, TenantLimiter};
use crate::limits::LEASE_REFRESH;

const RATE: u32 = 100_000;
const PROCESSES: usize = 64;
/// Time goes by in steps of this, in ms.
const STEP_MS: u64 = 50;

/// Processes that take in one tenant's writes, each with a limiter and a tenure of its own, and perhaps a lease server.
struct World {
    clock_ms: Arc<AtomicU64>,
    limits: Limits,
    processes: Vec<Process>,
    ledger: Option<Ledger>,
    rng: ChaCha8Rng,
    admitted: u64,
    asked: u64,
}

struct Process {
    name: String,
    limiter: TenantLimiter,
    tenure: Tenure,
    /// When it asks next, in ms.
    asks_ms: u64,
    /// Samples that its clients have and did not send yet.
    waiting: f64,
}

impl World {
    fn new(processes: usize, seed: u64) -> Self {
        let clock_ms = Arc::new(AtomicU64::new(0));
        let limits =
            Limits { samples_per_second: Some(RATE), samples_burst: RATE * 10, ..Limits::unlimited() };
        let mut world = Self {
            clock_ms,
            limits,
            processes: Vec::new(),
            ledger: Some(Ledger::default()),
            rng: ChaCha8Rng::seed_from_u64(seed),
            admitted: 0,
            asked: 0,
        };
        (0..processes).for_each(|_| world.start());
        world
    }

    fn now(&self) -> Duration {
        Duration::from_millis(self.clock_ms.load(Ordering::Relaxed))
    }

    /// One process more.
    fn start(&mut self) {
        let clock = Arc::clone(&self.clock_ms);
        let monotonic = Arc::new(move || Duration::from_millis(clock.load(Ordering::Relaxed)));
        let tenure = Tenure::default();
        let limiter =
            TenantLimiter::shared(self.limits.clone(), tenure.rates(&self.limits, self.now()), monotonic);
        let refresh_ms = u64::try_from(LEASE_REFRESH.as_millis()).unwrap();
        let asks_ms = self.clock_ms.load(Ordering::Relaxed) + self.rng.random_range(0..refresh_ms);
        let name = format!("process {}", self.processes.len());
        self.processes.push(Process { name, limiter, tenure, asks_ms, waiting: 0.0 });
    }

    /// A step in which process `i` is sent `asked(i)` samples a second, in requests of many sizes.
    fn step(&mut self, asked: impl Fn(usize) -> f64) {
        let now_ms = self.clock_ms.fetch_add(STEP_MS, Ordering::Relaxed) + STEP_MS;
        let now = self.now();
        for (i, process) in self.processes.iter_mut().enumerate() {
            process.waiting += asked(i) * STEP_MS as f64 / 1000.0;
            while process.waiting >= 1.0 {
                let samples = (self.rng.random_range(1.0..500.0_f64)).min(process.waiting).floor();
                process.waiting -= samples;
                let load = Load { samples: samples as u64, ..Load::default() };
                self.asked += load.samples;
                if process.limiter.admit(load, 0, now_ms as i64).is_ok() {
                    self.admitted += load.samples;
                }
            }
            if process.asks_ms <= now_ms {
                process.asks_ms += LEASE_REFRESH.as_millis() as u64;
                if let Some(ledger) = &mut self.ledger {
                    let usage = process.limiter.usage(now_ms as i64);
                    let held = process.tenure.held(now);
                    let lease = ledger.lease(&process.name, usage, held, &self.limits, now).unwrap();
                    process.tenure.renew(lease, now);
                }
                let rates = process.tenure.rates(&self.limits, now);
                process.limiter.share(rates, process.tenure.bytes_of_others(0), now_ms as i64);
            }
        }
    }

    /// What is admitted a second over `seconds`, as a part of the rate.
    fn run(&mut self, seconds: u64, asked: impl Fn(u64, usize) -> f64) -> f64 {
        let before = self.admitted;
        for step in 0..seconds * 1000 / STEP_MS {
            self.step(|i| asked(step * STEP_MS / 1000, i));
        }
        (self.admitted - before) as f64 / seconds as f64 / f64::from(RATE)
    }
}

/// So much together, of which a few get the most: process `i` has a share that falls with `i`.
fn skewed(total: f64, i: usize) -> f64 {
    let weight = |i: usize| 1.0 / (1.0 + i as f64);
    total * weight(i) / (0..PROCESSES).map(weight).sum::<f64>()
}

#[test]
fn sixty_four_processes_admit_the_rate_within_a_twentieth_whatever_is_asked_of_which() {
    let twice = 2.0 * f64::from(RATE);
    type Asked = Box<dyn Fn(u64, usize) -> f64>;
    let demands: [(&str, Asked); 6] = [
        ("even", Box::new(move |_, _| twice / PROCESSES as f64)),
        ("skewed", Box::new(move |_, i| skewed(twice, i))),
        ("just above the rate", Box::new(move |_, i| skewed(twice * 0.55, i))),
        ("a quarter idle", Box::new(move |_, i| if i % 4 == 0 { 0.0 } else { twice / 48.0 })),
        // Every ten seconds others are hot.
        ("changing", Box::new(move |second, i| skewed(twice, (i + 17 * (second / 10) as usize) % PROCESSES))),
        (
            "moving from one half to the other",
            Box::new(move |second, i| if (i < 32) == ((second / 15) % 2 == 0) { twice / 32.0 } else { 0.0 }),
        ),
    ];
    for (name, asked) in demands {
        let mut world = World::new(PROCESSES, 7);
        world.run(20, &asked);
        let admitted = world.run(60, &asked);
        println!("{name}: {admitted:.3} of the rate");
        assert!((0.95..=1.05).contains(&admitted), "{name}: {admitted}");
    }
}

#[test]
fn what_is_below_the_rate_is_admitted_whole() {
    let asked = |_: u64, i: usize| skewed(0.7 * f64::from(RATE), i);
    let mut world = World::new(PROCESSES, 8);
    world.run(20, asked);
    let (admitted, asked_before) = (world.admitted, world.asked);
    world.run(60, asked);
    assert_eq!(world.admitted - admitted, world.asked - asked_before);
}

#[test]
fn without_a_lease_server_no_more_comes_above_the_rate_than_a_share_for_each_new_process() {
    let twice = 2.0 * f64::from(RATE);
    let even = move |_: u64, _: usize| twice / 32.0;
    for asked in [&even as &dyn Fn(u64, usize) -> f64, &|_, i| skewed(twice, i)] {
        let mut world = World::new(32, 9);
        world.run(30, asked);
        world.ledger = None;
        // The last shares go on.
        let admitted = world.run(60, asked);
        println!("last shares: {admitted:.3} of the rate");
        assert!(admitted <= 1.05, "{admitted}");
        // New processes take a safe share, and the old ones as well after a while.
        (0..16).for_each(|_| world.start());
        world.run(5, asked);
        let bound = 1.0 + 16.0 / f64::from(ASSUMED_PROCESSES);
        let admitted = world.run(60, asked);
        println!("with 16 more: {admitted:.3} of the rate, at most {bound:.3}");
        assert!(admitted <= bound * 1.01, "{admitted}");
        assert!(admitted >= 0.2, "writes go on: {admitted}");
        // It comes back, and knows nothing.
        world.ledger = Some(Ledger::default());
        world.run(20, asked);
        let admitted = world.run(60, asked);
        assert!((0.95..=1.05).contains(&admitted), "{admitted}");
    }
}

#[test]
fn a_server_that_began_anew_promises_nothing_that_others_hold() {
    let limits = Limits { samples_per_second: Some(1000), ..Limits::unlimited() };
    let asks = Usage { asked_per_second: PerSignal { samples: 5000, spans: 0 }, ..Usage::default() };
    let mut ledger = Ledger::default();
    let now = Duration::from_secs(1);
    let rates = |samples| Some(PerSignal { samples, spans: 0 });
    let mut of = |process: &str, held| ledger.lease(process, asks, held, &limits, now).unwrap().rates.samples;
    assert_eq!(of("a", rates(700)), 1000, "nobody else has said anything yet");
    assert_eq!(of("b", rates(300)), 62);
    assert_eq!(of("a", None), 500);
    assert_eq!(of("b", None), 500);
}

#[test]
fn a_days_bytes_are_shared_those_of_processes_that_are_gone_among_them() {
    let limits = Limits::unlimited();
    let mut ledger = Ledger::default();
    let usage = |day, bytes_of_day| Usage { day, bytes_of_day, ..Usage::default() };
    let mut others = |process: &str, usage, second| {
        let lease = ledger.lease(process, usage, None, &limits, Duration::from_secs(second)).unwrap();
        assert_eq!(lease.day, usage.day);
        lease.bytes_of_others
    };
    assert_eq!(others("a", usage(5, 100), 0), 0);
    assert_eq!(others("b", usage(5, 30), 1), 100);
    assert_eq!(others("a", usage(5, 120), 2), 30);
    assert_eq!(others("b", usage(5, 30), 1000), 120, "a is gone, and its bytes are not");
    assert_eq!(others("b", usage(6, 1), 1001), 0);
    assert_eq!(others("a", usage(5, 500), 1002), 30, "a clock that is behind has its own day");
    assert_eq!(others("b", usage(6, 1), 1003), 0);
    assert_eq!(others("b", usage(5, 30), 1004), 500);
    let full = MAX_DAY_PROCESSES * 2;
    for process in 0..full {
        others(&process.to_string(), usage(7, 1), 2000 + 11 * process as u64);
    }
    assert_eq!(others("b", usage(7, 0), 900_000), full as u64, "bounded in memory, and exact all the same");
}

#[test]
fn a_days_bytes_never_become_less() {
    let limits = Limits::unlimited();
    let mut ledger = Ledger::default();
    let mut others = |process: &str, bytes_of_day| {
        let usage = Usage { day: 5, bytes_of_day, ..Usage::default() };
        ledger.lease(process, usage, None, &limits, Duration::from_secs(1)).unwrap().bytes_of_others
    };
    others("a", 100);
    others("b", 40);
    others("a", 3);
    assert_eq!(others("c", 0), 140, "what a process forgot of itself is known here");
    others("a", 101);
    assert_eq!(others("c", 0), 141);

    let clock = Arc::new(|| Duration::ZERO);
    let limiter = TenantLimiter::new(Limits { bytes_per_day: Some(200), ..limits }, clock);
    let load = |bytes| Load { bytes, ..Load::default() };
    limiter.share(PerSignal::default(), 150, 0);
    limiter.share(PerSignal::default(), 7, 0);
    assert!(limiter.admit(load(51), 0, 0).is_err(), "nor does a ledger that began anew take bytes back");
    limiter.admit(load(50), 0, 0).unwrap();
}

#[test]
fn what_was_taken_back_is_not_counted_twice() {
    let limits = Limits { samples_per_second: Some(1000), ..Limits::unlimited() };
    let mut ledger = Ledger::default();
    let mut rate = |admitted, second| {
        let samples = |samples| PerSignal { samples, spans: 0 };
        let usage =
            Usage { asked_per_second: samples(1000), admitted: samples(admitted), ..Usage::default() };
        let lease = ledger.lease("a", usage, None, &limits, Duration::from_secs(second));
        lease.unwrap().rates.samples
    };
    rate(0, 0);
    assert_eq!(rate(2000, 2), 1000);
    // A write of 500 was let in and could not be stored; another one was.
    assert_eq!(rate(1500, 2), 1000);
    assert_eq!(rate(2000, 2), 1000);
}

#[test]
fn a_tenure_goes_on_then_makes_do_with_what_is_safe() {
    let limits = Limits { samples_per_second: Some(6400), spans_per_second: None, ..Limits::unlimited() };
    let at = Duration::from_secs;
    let mut tenure = Tenure::default();
    assert_eq!(tenure.rates(&limits, at(5)).samples, 100);
    let rates = PerSignal { samples: 3000, spans: 0 };
    tenure.renew(Lease { rates, processes: 4, day: 3, bytes_of_others: 9 }, at(10));
    assert_eq!(tenure.rates(&limits, at(70)).samples, 3000);
    assert_eq!((tenure.held(at(70)), tenure.held(at(71))), (Some(rates), None));
    assert_eq!(tenure.rates(&limits, at(71)).samples, 1600);
    assert_eq!((tenure.bytes_of_others(3), tenure.bytes_of_others(4)), (9, 0));
}

#[test]
fn messages_are_read_as_they_were_written() {
    let usage = Usage { day: 3, bytes_of_day: 4, ..Usage::default() };
    let held = Some(PerSignal { samples: 1, spans: 2 });
    let tenants = vec![TenantUse { tenant: "acme".to_owned(), usage, held }];
    let request = LeaseRequest { process: "p".to_owned(), tenants };
    let text = serde_json::to_string(&request).unwrap();
    assert_eq!(serde_json::from_str::<LeaseRequest>(&text).unwrap(), request);
    assert_eq!(
        text,
        r#"{"process":"p","tenants":[{"tenant":"acme","asked_per_second":{"samples":0,"spans":0},"admitted":{"samples":0,"spans":0},"day":3,"bytes_of_day":4,"held":{"samples":1,"spans":2}}]}"#
    );
    let lease = Lease { rates: PerSignal::default(), processes: 1, day: 3, bytes_of_others: 7 };
    let answer = LeaseAnswer { tenants: vec![TenantLease { tenant: "acme".to_owned(), lease }] };
    let text = serde_json::to_string(&answer).unwrap();
    assert_eq!(serde_json::from_str::<LeaseAnswer>(&text).unwrap(), answer);
}

proptest! {
    #[test]
    fn shares_are_the_rate_together_and_follow_what_is_asked(
        rate in 0..200_000_000_u64, asked in prop::collection::vec(0..1_000_000_000_u64, 1..100),
    ) {
        let shares = allocate(rate, &asked);
        prop_assert_eq!(shares.len(), asked.len());
        let total: u64 = shares.iter().sum();
        prop_assert!(total <= rate && rate - total <= 2 * asked.len() as u64, "{total} of {rate}");
        let least = rate / MIN_SHARE_DIVISOR / asked.len() as u64;
        for (share, asked_of_it) in shares.iter().zip(&asked) {
            prop_assert!(*share >= least);
            for (other, asked_of_other) in shares.iter().zip(&asked) {
                prop_assert!(asked_of_it > asked_of_other || share <= other);
            }
        }
        if asked.iter().map(|asked| asked * 11 / 10 + 1).sum::<u64>() + least * asked.len() as u64 <= rate {
            prop_assert!(shares.iter().zip(&asked).all(|(share, asked)| share >= asked));
        }
    }

    /// Whoever asks when, and whoever goes: what is promised at one time is never more than the rate and what was saved.
    #[test]
    fn promises_stay_within_the_rate(
        asks in prop::collection::vec((0..8_usize, 0..3000_u64, 0..100_000_u64, any::<bool>()), 1..200),
    ) {
        let limits = Limits { samples_per_second: Some(10_000), ..Limits::unlimited() };
        let mut ledger = Ledger::default();
        let mut now = Duration::ZERO;
        let mut promised: BTreeMap<String, (u64, Duration)> = BTreeMap::new();
        let mut admitted = [0_u64; 8];
        for (process, pause_ms, asked, all) in asks {
            now += Duration::from_millis(pause_ms);
            let name = process.to_string();
            let rate = promised.get(&name).filter(|(_, until)| *until > now).map_or(0, |(rate, _)| *rate);
            admitted[process] += if all { rate * pause_ms / 1000 } else { 0 };
            let usage = Usage {
                asked_per_second: PerSignal { samples: asked, spans: 0 },
                admitted: PerSignal { samples: admitted[process], spans: 0 },
                ..Usage::default()
            };
            let lease = ledger.lease(&name, usage, None, &limits, now).unwrap();
            promised.insert(name, (lease.rates.samples, now + LEASE_TIME));
            let total: u64 = promised.values().filter(|(_, until)| *until > now).map(|(rate, _)| rate).sum();
            // Savings are three seconds' worth at most, spent over eight; and a sixteenth of all that.
            prop_assert!(total <= 13_750 * 17 / 16, "{total}");
        }
    }
}
