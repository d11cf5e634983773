//! How values move from scrape to scrape.
//!
//! Real series are mostly quiet: in a Kubernetes cluster most values are the same as at the scrape before. So each
//! series gets a temper when it is born, and only the lively ones move each time.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::catalogue::Kind;

/// Shares of tempers among the series that can move at all: still, rarely moving; the rest moves at every scrape.
const STILL_SHARE: f64 = 0.35;
const RARE_SHARE: f64 = 0.20;
/// How often a rarely moving series moves.
const RARE_MOVE_PROBABILITY: f64 = 0.05;
/// Scrapes that a counter which was there before the run had counted for, at most: some weeks of 15 s.
const PAST_SCRAPES_MAX: f64 = 200_000.0;
/// 4 KiB.
const PAGE_BYTES: f64 = 4096.0;

/// Upper bounds of a histogram's buckets in seconds, without `+Inf`: the default of Prometheus's client libraries.
pub(super) const BUCKET_BOUNDS: [&str; 11] =
    ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10"];
/// Buckets with `+Inf`.
const BUCKETS: usize = BUCKET_BOUNDS.len() + 1;
/// Seconds that an observation in each bucket took on the whole, for `_sum`.
const BUCKET_SECONDS: [f64; BUCKETS] =
    [0.003, 0.007, 0.017, 0.036, 0.073, 0.17, 0.36, 0.73, 1.7, 3.6, 7.3, 14.0];

/// The state of what one instrument reports.
#[derive(Debug, Clone)]
pub(super) enum Process {
    Scalar(Scalar),
    Histogram(Box<HistogramState>),
}

/// One number: whole ticks, and what a tick is worth. So decimals come out as short as real exporters print them.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    ticks: f64,
    multiplier: f64,
    divisor: f64,
    motion: Motion,
    move_probability: f64,
}

#[derive(Debug, Clone, Copy)]
enum Motion {
    Still,
    /// Grows by a Poisson number of events of `ticks_per_event` each.
    Grows {
        mean_events: f64,
        ticks_per_event: f64,
    },
    /// A random walk of at most `step` ticks between zero and `ceiling`.
    Wanders {
        step: f64,
        ceiling: f64,
    },
}

#[derive(Debug, Clone)]
pub(super) struct HistogramState {
    /// Mean observations a scrape, bucket by bucket.
    means: [f64; BUCKETS],
    counts: [u64; BUCKETS],
    sum: f64,
    move_probability: f64,
}

impl Process {
    /// How many series an instrument of this kind has.
    pub(super) fn series_of(kind: Kind) -> usize {
        if kind == Kind::Histogram { BUCKETS + 2 } else { 1 }
    }

    /// A process as it is when the run begins (`past`), or of something that has just been started. Means are for
    /// one scrape every `interval_s`.
    pub(super) fn new(kind: Kind, past: bool, interval_s: f64, start_s: f64, rng: &mut ChaCha8Rng) -> Self {
        let pace = interval_s / 15.0;
        let move_probability = temper(rng);
        let past_scrapes = if past { rng.random::<f64>() * PAST_SCRAPES_MAX } else { 0.0 };
        let grows = |rng: &mut ChaCha8Rng, median_events: f64, event_ticks: Option<f64>, divisor: f64| {
            let ticks_per_event = event_ticks.map_or(1.0, |median| spread(rng, median).ceil());
            let mean_events = spread(rng, median_events) * pace;
            let moved = mean_events * past_scrapes * move_probability;
            let ticks = (poisson(rng, moved) * ticks_per_event).round();
            let motion = Motion::Grows { mean_events, ticks_per_event };
            Self::Scalar(Scalar { ticks, multiplier: 1.0, divisor, motion, move_probability })
        };
        let wanders = |rng: &mut ChaCha8Rng, median: f64, multiplier: f64, divisor: f64| {
            let level = spread(rng, median).ceil();
            let motion = Motion::Wanders { step: (level / 20.0).ceil(), ceiling: level * 2.0 };
            Self::Scalar(Scalar { ticks: level, multiplier, divisor, motion, move_probability })
        };
        let still = |ticks: f64, divisor: f64| {
            let motion = Motion::Still;
            Self::Scalar(Scalar { ticks, multiplier: 1.0, divisor, motion, move_probability: 0.0 })
        };
        match kind {
            Kind::Counter => grows(rng, 40.0, None, 1.0),
            Kind::CounterBytes => grows(rng, 60.0, Some(900.0), 1.0),
            Kind::CounterCpu => grows(rng, 90.0, None, 100.0),
            Kind::CounterSeconds => grows(rng, 60.0, Some(1_300_000.0), 1e9),
            Kind::Gauge => wanders(rng, 30.0, 1.0, 1.0),
            Kind::GaugeDecimal => {
                let divisor = [100.0, 1000.0, 10_000.0][rng.random_range(0..3)];
                wanders(rng, 900.0, 1.0, divisor)
            }
            Kind::Bytes => wanders(rng, 20_000.0, PAGE_BYTES, 1.0),
            Kind::Info => still(f64::from(u8::from(rng.random_bool(0.8))), 1.0),
            Kind::Limit => {
                let round_number = [0.0, 1.0, 4.0, 1024.0, 1500.0, 100_000.0, 1_048_576.0, 17_179_869_184.0];
                still(round_number[rng.random_range(0..round_number.len())], 1.0)
            }
            Kind::StartTime => {
                let age_s = past_scrapes * interval_s;
                still(((start_s - age_s) * 100.0).round(), 100.0)
            }
            Kind::Histogram => {
                Self::Histogram(Box::new(HistogramState::new(move_probability, past_scrapes, pace, rng)))
            }
        }
    }

    /// Moves on by one scrape and hands each series' value to `emit`, in the order of the instrument's series.
    pub(super) fn advance(&mut self, rng: &mut ChaCha8Rng, mut emit: impl FnMut(f64)) {
        match self {
            Self::Scalar(scalar) => emit(scalar.advance(rng)),
            Self::Histogram(histogram) => histogram.advance(rng, emit),
        }
    }
}

impl Scalar {
    fn advance(&mut self, rng: &mut ChaCha8Rng) -> f64 {
        if self.move_probability >= 1.0
            || (self.move_probability > 0.0 && rng.random_bool(self.move_probability))
        {
            match self.motion {
                Motion::Still => {}
                Motion::Grows { mean_events, ticks_per_event } => {
                    self.ticks += poisson(rng, mean_events) * ticks_per_event;
                }
                Motion::Wanders { step, ceiling } => {
                    let by = (rng.random::<f64>() * (2.0 * step + 1.0)).floor() - step;
                    self.ticks = (self.ticks + by).clamp(0.0, ceiling);
                }
            }
        }
        self.ticks * self.multiplier / self.divisor
    }
}

impl HistogramState {
    fn new(move_probability: f64, past_scrapes: f64, pace: f64, rng: &mut ChaCha8Rng) -> Self {
        // Latencies are about log-normal: a bell over the buckets, whose bounds grow about geometrically.
        let centre = rng.random::<f64>() * 8.0;
        let width = 0.6 + rng.random::<f64>();
        let rate = spread(rng, 30.0) * pace;
        let weights: [f64; BUCKETS] =
            std::array::from_fn(|bucket| (-0.5 * ((bucket as f64 - centre) / width).powi(2)).exp());
        let total: f64 = weights.iter().sum();
        let means = weights.map(|weight| rate * weight / total);
        let mut histogram = Self { means, counts: [0; BUCKETS], sum: 0.0, move_probability };
        histogram.observe(past_scrapes * move_probability, rng);
        histogram
    }

    /// Observes what comes in `scrapes` scrapes. Buckets of a Poisson stream are independent Poisson streams.
    fn observe(&mut self, scrapes: f64, rng: &mut ChaCha8Rng) {
        for (bucket, seconds) in BUCKET_SECONDS.iter().enumerate() {
            let observations = poisson(rng, self.means[bucket] * scrapes);
            self.counts[bucket] += observations as u64;
            if observations > 0.0 {
                self.sum += observations * seconds * (0.8 + 0.4 * rng.random::<f64>());
            }
        }
    }

    fn advance(&mut self, rng: &mut ChaCha8Rng, mut emit: impl FnMut(f64)) {
        if rng.random_bool(self.move_probability) {
            self.observe(1.0, rng);
        }
        let mut cumulative = 0;
        for count in self.counts {
            cumulative += count;
            emit(cumulative as f64);
        }
        emit(self.sum);
        emit(cumulative as f64);
    }
}

/// How likely a new series is to move at a scrape.
fn temper(rng: &mut ChaCha8Rng) -> f64 {
    match rng.random::<f64>() {
        draw if draw < STILL_SHARE => 0.0,
        draw if draw < STILL_SHARE + RARE_SHARE => RARE_MOVE_PROBABILITY,
        _ => 1.0,
    }
}

/// Log-normal around `median`: most series are near it, a few are a hundred times busier.
fn spread(rng: &mut ChaCha8Rng, median: f64) -> f64 {
    median * (1.3 * normal(rng)).exp()
}

/// Standard normal (Box-Muller).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let u = 1.0 - rng.random::<f64>();
    let v = rng.random::<f64>();
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// Poisson: Knuth's product of uniforms for small means, the normal approximation above.
fn poisson(rng: &mut ChaCha8Rng, mean: f64) -> f64 {
    if mean <= 0.0 {
        return 0.0;
    }
    if mean > 30.0 {
        return (mean + mean.sqrt() * normal(rng)).round().max(0.0);
    }
    let limit = (-mean).exp();
    let mut product = rng.random::<f64>();
    let mut events = 0.0;
    while product > limit {
        product *= rng.random::<f64>();
        events += 1.0;
    }
    events
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn poisson_has_its_mean_and_variance() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for mean in [0.3, 5.0, 29.0, 31.0, 1000.0] {
            let draws: Vec<f64> = (0..20_000).map(|_| poisson(&mut rng, mean)).collect();
            let average = draws.iter().sum::<f64>() / draws.len() as f64;
            let variance = draws.iter().map(|d| (d - average).powi(2)).sum::<f64>() / draws.len() as f64;
            assert!((average - mean).abs() < 0.05 * mean, "mean {average} instead of {mean}");
            assert!((variance - mean).abs() < 0.1 * mean, "variance {variance} instead of {mean}");
        }
        assert_eq!(poisson(&mut rng, 0.0), 0.0);
    }

    #[test]
    fn counters_never_fall_and_histograms_are_cumulative() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for kind in
            [Kind::Counter, Kind::CounterBytes, Kind::CounterCpu, Kind::CounterSeconds, Kind::Histogram]
        {
            for past in [true, false] {
                let mut process = Process::new(kind, past, 15.0, 1.7e9, &mut rng);
                let mut before = vec![0.0; Process::series_of(kind)];
                for _ in 0..50 {
                    let mut values = Vec::new();
                    process.advance(&mut rng, |value| values.push(value));
                    assert_eq!(values.len(), before.len());
                    assert!(values.iter().zip(&before).all(|(now, before)| now >= before), "{kind:?} fell");
                    if kind == Kind::Histogram {
                        assert!(values[..BUCKETS].is_sorted());
                        assert_eq!(values[BUCKETS - 1], values[BUCKETS + 1], "+Inf is the count");
                    }
                    before = values;
                }
            }
        }
    }

    #[test]
    fn decimal_gauges_print_with_few_decimals() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..100 {
            let mut process = Process::new(Kind::GaugeDecimal, true, 15.0, 1.7e9, &mut rng);
            process.advance(&mut rng, |value| {
                let text = value.to_string();
                let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
                assert!(decimals <= 4, "{text}");
            });
        }
    }
}
