//! One tenant's rates shared by many processes that know nothing of each other.
//!
//! Each process says every `LEASE_REFRESH` how much its clients ask for and how much it has let in, and gets a share of the rate
//! for [`LEASE_TIME`]. The lease server keeps a [`Ledger`] for each tenant:
//!
//! - Shares follow what is asked for, beside a small one for everybody, so that who was quiet can begin.
//! - What was promised to others and has not run out is not promised again, but for a sixteenth. So a share grows only when another
//!   has shrunk, and all of them together stay near the rate.
//! - What was not let in although it was asked for (a share was in the wrong place for a moment) is made up for: a part of what
//!   the tenant saved lately comes on top, and what was let in too much is taken off. So the rate holds over time whatever the
//!   shares do.
//! - A share that would hardly grow stays as it is.
//!
//! Without a lease server a process goes on with its last share for [`LEASE_GRACE`], then with the same part for every process
//! that there was: [`Tenure`]. A process that never had a share takes the rate's [`ASSUMED_PROCESSES`]th part. So what is let in
//! above the rate is at most a share for each process that nobody counted.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::{
    ASSUMED_PROCESSES, LEASE_GRACE, LEASE_TIME, MAX_DAY_PROCESSES, MAX_LEASE_HOLDERS, MIN_SHARE_DIVISOR,
    SAVINGS_SECONDS, SAVINGS_SPENT_SECONDS,
};
use crate::tenant::Limits;

/// Something for samples and for spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerSignal {
    /// For samples.
    pub samples: u64,
    /// For spans.
    pub spans: u64,
}

/// What a process says of its use, for each tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRequest {
    /// Unlike the name of every other process, and new after each start.
    pub process: String,
    /// The tenants with a limit to share.
    pub tenants: Vec<TenantUse>,
}

/// What a process says of one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantUse {
    /// The tenant's id.
    pub tenant: String,
    /// What the process counted.
    #[serde(flatten)]
    pub usage: Usage,
    /// The shares that it works with: what a lease server that began anew does not know.
    pub held: Option<PerSignal>,
}

/// What a process counted of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// What clients asked for lately, admitted or not, a second.
    pub asked_per_second: PerSignal,
    /// What was admitted since the process began, or since it met the tenant after a silence of more than [`LEASE_TIME`].
    pub admitted: PerSignal,
    /// Days since the Unix epoch, UTC.
    pub day: i64,
    /// Bytes of that day.
    pub bytes_of_day: u64,
}

/// What the lease server says: shares for the tenants that it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// One for each of them.
    pub tenants: Vec<TenantLease>,
}

/// What a process may do for one tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantLease {
    /// The tenant's id.
    pub tenant: String,
    /// The share.
    #[serde(flatten)]
    pub lease: Lease,
}

/// A share of a tenant's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Rates, a second. Of no account where a rate has no limit.
    pub rates: PerSignal,
    /// How many processes have a share.
    pub processes: u32,
    /// Days since the Unix epoch, UTC.
    pub day: i64,
    /// What other processes took in on that day, in bytes.
    pub bytes_of_others: u64,
}

/// Shares of a rate for processes whose clients ask for so much: those that are asked for more get more, and none gets nothing.
/// Together they are the rate, but for what rounding leaves.
#[must_use]
pub fn allocate(rate: u64, asked: &[u64]) -> Vec<u64> {
    let processes = asked.len() as u128;
    if processes == 0 {
        return Vec::new();
    }
    let rate = u128::from(rate);
    let least = rate / u128::from(MIN_SHARE_DIVISOR) / processes;
    let rest = rate - least * processes;
    // A tenth more than was seen: who is let in fully could not show that it wants more.
    let wanted: Vec<u128> =
        asked.iter().map(|asked| (u128::from(*asked) * 11).div_ceil(10).saturating_sub(least)).collect();
    let total: u128 = wanted.iter().sum();
    let share = |wanted: u128| match total.checked_sub(rest) {
        Some(_) if total > 0 => least + rest * wanted / total,
        _ => least + wanted + (rest - total.min(rest)) / processes,
    };
    wanted.into_iter().map(|wanted| u64::try_from(share(wanted)).unwrap_or(u64::MAX)).collect()
}

/// The shares of one tenant's limits. `now` is time on a monotonic clock.
#[derive(Debug, Default)]
pub struct Ledger {
    holders: BTreeMap<String, Holder>,
    samples: Savings,
    spans: Savings,
    /// By days since the Unix epoch. The two latest: around midnight some clocks are ahead of others.
    days: BTreeMap<i64, DayBytes>,
}

/// What was taken in on a day, in bytes. It never becomes less.
#[derive(Debug, Default)]
struct DayBytes {
    /// By each process, those that are gone among them, and when it said so.
    by_process: BTreeMap<String, (u64, Duration)>,
    /// By processes that are not in the table any more.
    by_forgotten: u64,
}

impl DayBytes {
    fn note(&mut self, process: &str, bytes: u64, now: Duration) {
        if let Some((known, told_at)) = self.by_process.get_mut(process) {
            (*known, *told_at) = ((*known).max(bytes), now);
            return;
        }
        if self.by_process.len() >= MAX_DAY_PROCESSES {
            // Who was silent for longest is gone most likely, and its bytes stay in the sum.
            let silent = self.by_process.iter().min_by_key(|(_, (_, told_at))| *told_at);
            let silent = silent.map(|(name, _)| name.clone());
            let forgotten = silent.and_then(|silent| self.by_process.remove(&silent)).unwrap_or_default();
            self.by_forgotten = self.by_forgotten.saturating_add(forgotten.0);
        }
        self.by_process.insert(process.to_owned(), (bytes, now));
    }

    fn of_others(&self, process: &str) -> u64 {
        let others = self.by_process.iter().filter(|(name, _)| *name != process);
        others.fold(self.by_forgotten, |sum, (_, (bytes, _))| sum.saturating_add(*bytes))
    }
}

#[derive(Debug)]
struct Holder {
    usage: Usage,
    rates: PerSignal,
    until: Duration,
}

/// What may be let in besides the rate, or less: what was not used lately, or used too much.
#[derive(Debug, Default)]
struct Savings {
    amount: i128,
    at: Option<Duration>,
}

impl Savings {
    /// Counts what was let in, and gives the rate that makes up for what is saved or owed.
    fn rate(&mut self, rate: u64, admitted: u64, now: Duration) -> u64 {
        let rate = i128::from(rate);
        let passed = now.saturating_sub(self.at.unwrap_or(now)).as_millis().min(3_600_000).cast_signed();
        let most = rate * SAVINGS_SECONDS;
        let amount = self.amount + rate * passed / 1000 - i128::from(admitted);
        (self.amount, self.at) = (amount.clamp(-most, most), Some(now));
        u64::try_from((rate + self.amount / SAVINGS_SPENT_SECONDS).max(0)).unwrap_or(u64::MAX)
    }
}

impl Ledger {
    /// A process's next share of `limits`. `None` when so many have one that there is none left; it goes on without.
    pub fn lease(
        &mut self,
        process: &str,
        usage: Usage,
        held: Option<PerSignal>,
        limits: &Limits,
        now: Duration,
    ) -> Option<Lease> {
        self.holders.retain(|_, holder| holder.until > now);
        if !self.holders.contains_key(process) && self.holders.len() >= MAX_LEASE_HOLDERS {
            return None;
        }
        let before = self.holders.get(process).map(|holder| (holder.usage.admitted, holder.rates));
        // What a process admitted before this ledger knew it was counted by another, or by nobody.
        let (admitted, rates) = before.unwrap_or((usage.admitted, held.unwrap_or_default()));
        let new = PerSignal {
            samples: usage.admitted.samples.saturating_sub(admitted.samples),
            spans: usage.admitted.spans.saturating_sub(admitted.spans),
        };
        // What is taken back was counted before, and must not be counted again when it is let in after all.
        let counted = PerSignal {
            samples: usage.admitted.samples.max(admitted.samples),
            spans: usage.admitted.spans.max(admitted.spans),
        };
        let holder = Holder { usage: Usage { admitted: counted, ..usage }, rates, until: now + LEASE_TIME };
        self.holders.insert(process.to_owned(), holder);
        let [samples_rate, spans_rate] = [limits.samples_per_second, limits.spans_per_second]
            .map(|rate| u64::from(rate.unwrap_or_default()));
        let samples_rate = self.samples.rate(samples_rate, new.samples, now);
        let spans_rate = self.spans.rate(spans_rate, new.spans, now);
        let rates = PerSignal {
            samples: self.share(process, samples_rate, |of| of.samples),
            spans: self.share(process, spans_rate, |of| of.spans),
        };
        if let Some(holder) = self.holders.get_mut(process) {
            holder.rates = rates;
        }
        Some(Lease {
            rates,
            processes: u32::try_from(self.holders.len()).unwrap_or(u32::MAX),
            day: usage.day,
            bytes_of_others: self.bytes_of_others(process, usage, now),
        })
    }

    /// Whether nobody has a share, or had one today.
    #[must_use]
    pub fn is_idle(&self, now: Duration, day: i64) -> bool {
        self.holders.values().all(|holder| holder.until <= now) && self.days.keys().all(|known| *known < day)
    }

    fn share(&self, process: &str, rate: u64, of: impl Fn(&PerSignal) -> u64) -> u64 {
        let asked: Vec<u64> =
            self.holders.values().map(|holder| of(&holder.usage.asked_per_second)).collect();
        let place = self.holders.keys().position(|name| name == process).unwrap_or_default();
        let target = allocate(rate, &asked).get(place).copied().unwrap_or_default();
        let promised: u64 = self
            .holders
            .iter()
            .filter(|(name, _)| *name != process)
            .fold(0, |sum, (_, holder)| sum.saturating_add(of(&holder.rates)));
        // The rate is a little lower just after somebody told what it admitted. Who asks at such a time, each time, would get
        // what others left; what a sixteenth too much admits is owed and taken off.
        let free = rate.saturating_add(rate / 16).saturating_sub(promised);
        let now = self.holders.get(process).map_or(0, |holder| of(&holder.rates));
        // A fiftieth more is no reason to move everybody's share; what is too much goes at once, or somebody has nothing.
        if (now..=now + now / 50).contains(&target) && now <= free { now } else { target.min(free) }
    }

    fn bytes_of_others(&mut self, process: &str, usage: Usage, now: Duration) -> u64 {
        self.days.entry(usage.day).or_default().note(process, usage.bytes_of_day, now);
        while self.days.len() > 2 {
            self.days.pop_first();
        }
        self.days.get(&usage.day).map_or(0, |day| day.of_others(process))
    }
}

/// The share that a process works with for one tenant: what it was leased, or what is safe without.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tenure {
    last: Option<(Lease, Duration)>,
}

impl Tenure {
    /// A lease that came at `now`.
    pub fn renew(&mut self, lease: Lease, now: Duration) {
        self.last = Some((lease, now));
    }

    /// What holds at `now` of these limits: rates that no limit bounds are of no account.
    #[must_use]
    pub fn rates(&self, limits: &Limits, now: Duration) -> PerSignal {
        let [samples, spans] = [limits.samples_per_second, limits.spans_per_second]
            .map(|rate| u64::from(rate.unwrap_or_default()));
        let part = |processes: u32| {
            let processes = u64::from(processes.max(1));
            PerSignal { samples: samples.div_ceil(processes), spans: spans.div_ceil(processes) }
        };
        match &self.last {
            None => part(ASSUMED_PROCESSES),
            Some((lease, at)) if now.saturating_sub(*at) <= LEASE_GRACE => lease.rates,
            Some((lease, _)) => {
                let safe = part(lease.processes);
                PerSignal {
                    samples: lease.rates.samples.min(safe.samples),
                    spans: lease.rates.spans.min(safe.spans),
                }
            }
        }
    }

    /// What it was leased, as far as it still goes on with it.
    #[must_use]
    pub fn held(&self, now: Duration) -> Option<PerSignal> {
        self.last.filter(|(_, at)| now.saturating_sub(*at) <= LEASE_GRACE).map(|(lease, _)| lease.rates)
    }

    /// What other processes took in on a day, as far as it is known, in bytes.
    #[must_use]
    pub fn bytes_of_others(&self, day: i64) -> u64 {
        self.last.filter(|(lease, _)| lease.day == day).map_or(0, |(lease, _)| lease.bytes_of_others)
    }
}

#[cfg(test)]
mod tests;
