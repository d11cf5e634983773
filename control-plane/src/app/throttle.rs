//! Slows down whoever guesses, in this process, and does not let them keep anybody else out.
//!
//! Everybody may know an account's e-mail address. If so many wrong passwords closed the account, anybody could close anybody's by
//! sending them; so what closes is mostly the way from one network to one account:
//!
//! | who tries a password | what they may |
//! |---|---|
//! | a network that somebody logged in from to this account | 10 attempts, then one a minute, whatever others do |
//! | another network, at first | 5 attempts, then one in ten minutes; each is answered up to 3 s later while the account is being guessed at |
//! | another network, beyond that | 10 attempts, then one a minute; of all such networks together, too |
//!
//! So an owner waits for 3 s at most on the way from a new place, and not at all where they were before. Who guesses from one network
//! has 15 attempts, then 1,584 a day; from a thousand networks, 5,000, then 145,000 a day, of which each passes the bound of its network
//! as well: too few for a password of [`MIN_PASSWORD_BYTES`](crate::limits::MIN_PASSWORD_BYTES). Addresses that have an account and
//! those that have none are treated alike.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::state::keyed::HashMapStateStore;
use governor::{Quota, RateLimiter};
use parking_lot::Mutex;

use crate::error::AppError;
use crate::limits::{MAX_THROTTLED, SESSION_LIFE};
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

/// Attempts beyond one in this time say that an account is being guessed at. It is also the longest delay.
const CALM_INTERVAL: Duration = Duration::from_secs(3);

/// To which account, by its e-mail address, from which network.
type Way = (String, IpAddr);

/// What attempts are counted.
pub(crate) struct Throttle {
    clock: Monotonic,
    addresses: Limiter<IpAddr>,
    /// First attempts from networks that an account does not know.
    first: Limiter<Way>,
    /// Attempts from one network to one account.
    ways: Limiter<Way>,
    /// Attempts beyond the first from all networks that the account does not know.
    accounts: Limiter<String>,
    /// Whether an account is being guessed at.
    calm: Limiter<String>,
    /// The ways that somebody logged in on, and until when that counts.
    known: Mutex<HashMap<Way, Duration>>,
    /// Passwords that somebody with a session, or with the link of a signup, gives once more.
    confirmations: Limiter<String>,
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
            first: RateLimiter::hashmap_with_clock(quota(5, Duration::from_secs(600)), clock.clone()),
            ways: RateLimiter::hashmap_with_clock(quota(10, Duration::from_secs(60)), clock.clone()),
            accounts: RateLimiter::hashmap_with_clock(quota(10, Duration::from_secs(60)), clock.clone()),
            // The time until the next attempt is the delay, so that none is longer than 3 s.
            calm: RateLimiter::hashmap_with_clock(quota(10, CALM_INTERVAL), clock.clone()),
            known: Mutex::default(),
            confirmations: RateLimiter::hashmap_with_clock(quota(10, Duration::from_secs(60)), clock.clone()),
            // Somebody who has the password gets 288 guesses a day of a million codes, three of which are good.
            codes: RateLimiter::hashmap_with_clock(quota(5, Duration::from_secs(300)), clock.clone()),
            // Nobody's mailbox is filled from here.
            mails: RateLimiter::hashmap_with_clock(quota(3, Duration::from_secs(600)), clock.clone()),
            clock,
        }
    }

    /// Any attempt without credentials from this address; all of those whose address is not known count as one.
    pub(crate) fn address(&self, peer: Option<IpAddr>) -> Result<(), AppError> {
        self.check(&self.addresses, &network_of(peer))
    }

    /// A password for this account (by its e-mail address, whether there is such an account or not). It is to be looked at after
    /// the time that this returns, 3 s at most.
    pub(crate) fn password(&self, email: &str, peer: Option<IpAddr>) -> Result<Duration, AppError> {
        let (way, email) = ((email.to_owned(), network_of(peer)), email.to_owned());
        let now = governor::clock::Clock::now(&self.clock);
        if self.known.lock().get(&way).is_some_and(|until| *until > now) {
            return self.check(&self.ways, &way).map(|()| Duration::ZERO);
        }
        let delay = match self.check(&self.calm, &email) {
            Ok(()) => Duration::ZERO,
            Err(AppError::Throttled { wait }) => wait,
            Err(_) => CALM_INTERVAL,
        };
        match self.check(&self.first, &way) {
            Ok(()) => Ok(delay),
            Err(AppError::Throttled { .. }) => {
                self.check(&self.ways, &way)?;
                self.check(&self.accounts, &email).map(|()| Duration::ZERO)
            }
            // So many ways at once are made up; whoever is on a real one has to come through all the same.
            Err(_) => Ok(delay),
        }
    }

    /// Somebody logged in to this account from this address: guesses from elsewhere do not stand in their way.
    pub(crate) fn welcome(&self, email: &str, peer: Option<IpAddr>) {
        let now = governor::clock::Clock::now(&self.clock);
        let mut known = self.known.lock();
        if known.len() >= MAX_THROTTLED {
            known.retain(|_, until| *until > now);
        }
        if known.len() < MAX_THROTTLED {
            known.insert((email.to_owned(), network_of(peer)), now + SESSION_LIFE);
        }
    }

    /// A password that somebody gives once more who has proven otherwise that the account is theirs.
    pub(crate) fn confirmation(&self, email: &str) -> Result<(), AppError> {
        self.check(&self.confirmations, &email.to_owned())
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

/// A provider gives a customer 2⁶⁴ IPv6 addresses at least: they count as one. So do all of those whose address is not known.
fn network_of(peer: Option<IpAddr>) -> IpAddr {
    match peer.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        Some(address) => address,
        None => IpAddr::from([0; 4]),
    }
}

#[cfg(test)]
mod tests {
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

    const ADA: &str = "ada@example.com";

    fn at(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn guesses_from_one_network_are_slowed_for_each_account_alone_and_told_how_long() {
        let clock = Arc::new(Hand::default());
        let throttle = Throttle::new(Arc::clone(&clock) as _);
        for _ in 0..15 {
            throttle.password(ADA, at("192.0.2.1")).unwrap();
        }
        let Err(AppError::Throttled { wait }) = throttle.password(ADA, at("192.0.2.1")) else {
            panic!("the sixteenth attempt is refused");
        };
        assert!(wait > Duration::from_secs(50) && wait <= Duration::from_secs(60), "{wait:?}");
        throttle.password("grace@example.com", at("192.0.2.1")).unwrap();
        *clock.0.lock() += wait;
        throttle.password(ADA, at("192.0.2.1")).unwrap();
        assert!(throttle.password(ADA, at("192.0.2.1")).is_err());
    }

    #[test]
    fn whoever_guesses_from_wherever_does_not_keep_the_owner_out() {
        let clock = Arc::new(Hand::default());
        let throttle = Throttle::new(Arc::clone(&clock) as _);
        throttle.password(ADA, at("198.51.100.1")).unwrap();
        throttle.welcome(ADA, at("198.51.100.1"));
        // For an hour, three hundred networks try as often as they are let.
        let mut looked_at = 0;
        for minute in 0..60 {
            for network in 0..300_u32 {
                let peer = Some(IpAddr::V4((0x0a00_0000 + network).into()));
                for _ in 0..20 {
                    looked_at += u32::from(throttle.password(ADA, peer).is_ok());
                }
            }
            // From where she was before, and from anywhere else.
            assert_eq!(throttle.password(ADA, at("198.51.100.1")).unwrap(), Duration::ZERO);
            let elsewhere = throttle.password(ADA, at(&format!("203.0.113.{minute}"))).unwrap();
            assert!(elsewhere > Duration::ZERO && elsewhere <= Duration::from_secs(3), "{elsewhere:?}");
            *clock.0.lock() += Duration::from_secs(60);
        }
        // Five of each network and one in ten minutes; beyond that, ten and one a minute of all together.
        assert!((3_000..=3_100).contains(&looked_at), "{looked_at}");
        // What was known once is not for ever.
        *clock.0.lock() += SESSION_LIFE;
        for _ in 0..11 {
            throttle.password(ADA, at("198.51.100.1")).unwrap();
        }
        assert!(throttle.password(ADA, at("192.0.2.1")).unwrap() > Duration::ZERO);
    }

    #[test]
    fn neighbours_in_an_ipv6_network_count_as_one() {
        let throttle = Throttle::new(Arc::new(Hand::default()));
        for host in 0..60 {
            throttle.address(at(&format!("2001:db8::{host}"))).unwrap();
        }
        assert!(throttle.address(at("2001:db8::ffff")).is_err());
        throttle.address(at("2001:db8:0:1::1")).unwrap();
        throttle.address(at("192.0.2.1")).unwrap();
        throttle.address(None).unwrap();
    }
}
