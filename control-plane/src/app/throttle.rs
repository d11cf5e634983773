//! Slows down whoever guesses: attempts are counted for each address and each account, in this process.

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::error::AppError;
use crate::limits::MAX_THROTTLED;
use crate::ports::Clock;

#[derive(Clone)]
struct Monotonic(Arc<dyn Clock>);

impl governor::clock::Clock for Monotonic {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.monotonic()
    }
}

type Limiter<K> = RateLimiter<K, HashMapStateStore<K>, Monotonic, NoOpMiddleware<Duration>>;

/// What attempts are counted.
pub(crate) struct Throttle {
    clock: Monotonic,
    addresses: Limiter<IpAddr>,
    passwords: Limiter<String>,
    codes: Limiter<String>,
    mails: Limiter<String>,
}

/// `at_once` attempts, then one each `interval`.
fn quota(at_once: u32, interval: Duration) -> Quota {
    let burst = NonZeroU32::new(at_once).unwrap_or(NonZeroU32::MIN);
    Quota::with_period(interval).unwrap_or(Quota::per_second(NonZeroU32::MIN)).allow_burst(burst)
}

impl Throttle {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let clock = Monotonic(clock);
        Self {
            // An office behind one address logs in in the morning; a guesser gets 20 attempts a minute.
            addresses: RateLimiter::hashmap_with_clock(quota(60, Duration::from_secs(3)), clock.clone()),
            // 1,440 guesses a day, whatever number of addresses they come from.
            passwords: RateLimiter::hashmap_with_clock(quota(10, Duration::from_secs(60)), clock.clone()),
            // Somebody who has the password gets 288 guesses a day of a million codes, three of which are good.
            codes: RateLimiter::hashmap_with_clock(quota(5, Duration::from_secs(300)), clock.clone()),
            // Nobody's mailbox is filled from here.
            mails: RateLimiter::hashmap_with_clock(quota(3, Duration::from_secs(600)), clock.clone()),
            clock,
        }
    }

    /// Any attempt without credentials from this address; all of those whose address is not known count as one.
    pub(crate) fn address(&self, peer: Option<IpAddr>) -> Result<(), AppError> {
        let peer = peer.map_or(IpAddr::from([0; 4]), network_of);
        self.check(&self.addresses, &peer)
    }

    /// A password for this account (by its e-mail address, whether there is such an account or not).
    pub(crate) fn password(&self, email: &str) -> Result<(), AppError> {
        self.check(&self.passwords, &email.to_owned())
    }

    /// A code of this account's second factor.
    pub(crate) fn code(&self, user_id: &str) -> Result<(), AppError> {
        self.check(&self.codes, &user_id.to_owned())
    }

    /// A mail to this address that its owner did not ask for with credentials.
    pub(crate) fn mail(&self, email: &str) -> Result<(), AppError> {
        self.check(&self.mails, &email.to_owned())
    }

    fn check<K: Hash + Eq + Clone>(&self, limiter: &Limiter<K>, key: &K) -> Result<(), AppError> {
        if limiter.len() >= MAX_THROTTLED {
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
        if limiter.len() >= MAX_THROTTLED {
            // That many at once are no people.
            return Err(AppError::Unavailable("too many log in at the moment; try again in a minute"));
        }
        limiter.check_key(key).map_err(|until| AppError::Throttled {
            wait: until.wait_time_from(governor::clock::Clock::now(&self.clock)),
        })
    }
}

/// A provider gives a customer 2⁶⁴ IPv6 addresses at least: they count as one.
fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Hand(Mutex<Duration>);

    impl Clock for Hand {
        fn now_ms(&self) -> i64 {
            0
        }

        fn monotonic(&self) -> Duration {
            *self.0.lock()
        }
    }

    #[test]
    fn guesses_are_slowed_for_each_account_alone_and_told_how_long() {
        let clock = Arc::new(Hand::default());
        let throttle = Throttle::new(Arc::clone(&clock) as _);
        for _ in 0..10 {
            throttle.password("ada@example.com").unwrap();
        }
        let Err(AppError::Throttled { wait }) = throttle.password("ada@example.com") else {
            panic!("the eleventh attempt is refused");
        };
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
        throttle.password("grace@example.com").unwrap();
        *clock.0.lock() += wait;
        throttle.password("ada@example.com").unwrap();
        assert!(throttle.password("ada@example.com").is_err());
    }

    #[test]
    fn neighbours_in_an_ipv6_network_count_as_one() {
        let throttle = Throttle::new(Arc::new(Hand::default()));
        let address = |text: &str| Some(text.parse().unwrap());
        for at in 0..60 {
            throttle.address(address(&format!("2001:db8::{at}"))).unwrap();
        }
        assert!(throttle.address(address("2001:db8::ffff")).is_err());
        throttle.address(address("2001:db8:0:1::1")).unwrap();
        throttle.address(address("192.0.2.1")).unwrap();
        throttle.address(None).unwrap();
    }
}
