//! All samples of one series in one generation of the tail.
//!
//! Floats that come in ascending order of time, which is nearly all, go into compressed chunks. What does not fit there
//! (out-of-order samples, overwrites, native histograms) goes into a map beside them, and wins over the chunks at
//! equal timestamps: it came later, since chunks only ever grow at their end.

use std::collections::BTreeMap;
use std::sync::Arc;

use promql::SeriesSamples;
use telemetry::{Exemplar, Histogram};

use super::chunk::{Chunk, FULL_SAMPLES, OpenChunk, Pushed};
use crate::samples::merge_newer;

/// A sample on its way into a series.
#[derive(Clone, Debug)]
pub(super) enum Sample {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// What a series holds at the time of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    Nothing,
    /// The same sample.
    Same,
    /// Another one.
    Other,
}

#[derive(Debug, Default)]
pub(super) struct Head {
    open: OpenChunk,
    rest: Option<Box<Rest>>,
    /// Whether there are samples beside the chunks: known without a look at them.
    has_beside: bool,
}

/// What appending a float in order does not need.
#[derive(Debug, Default)]
struct Rest {
    sealed: Vec<Chunk>,
    beside: BTreeMap<i64, Sample>,
    /// Ascending by time, then labels.
    exemplars: Vec<Exemplar>,
}

/// Memory of an entry of the side's map, node overhead included (bytes).
const SIDE_ENTRY_BYTES: usize = 40;

/// Floats that are worked on in about the time of one native histogram.
pub(super) const HISTOGRAM_COST: u64 = 16;

impl Head {
    /// Adds a float; it replaces another sample with its timestamp. Returns the bytes of memory newly held.
    #[inline]
    pub(super) fn push_float(&mut self, timestamp_ms: i64, value: f64) -> usize {
        let last_ms = self.last_float_ms();
        if last_ms.is_none_or(|last_ms| timestamp_ms > last_ms) && !self.is_beside(timestamp_ms) {
            return self.push_to_chunk(timestamp_ms, value);
        }
        if last_ms == Some(timestamp_ms) && !self.has_beside && self.open.last_bits() == value.to_bits() {
            return 0;
        }
        self.push_beside(timestamp_ms, Sample::Float(value))
    }

    /// What is held at the time of a sample.
    pub(super) fn compare(&self, timestamp_ms: i64, sample: &Sample) -> Held {
        let is_after_floats = self.last_float_ms().is_none_or(|last_ms| timestamp_ms > last_ms);
        if is_after_floats && !self.is_beside(timestamp_ms) {
            return Held::Nothing;
        }
        let mut held = SeriesSamples::default();
        self.read(timestamp_ms, timestamp_ms, &mut held);
        let is_same = match sample {
            Sample::Float(value) => held.values.first().map(|held| held.to_bits()) == Some(value.to_bits()),
            Sample::Histogram(histogram) => {
                held.histograms.first().is_some_and(|(_, held)| held == histogram)
            }
        };
        match held.is_empty() {
            true => Held::Nothing,
            false if is_same => Held::Same,
            false => Held::Other,
        }
    }

    fn is_beside(&self, timestamp_ms: i64) -> bool {
        self.has_beside && self.rest.as_ref().is_some_and(|rest| rest.beside.contains_key(&timestamp_ms))
    }

    /// Adds a native histogram; it replaces another sample with its timestamp. Returns the bytes of memory newly held.
    pub(super) fn push_histogram(&mut self, timestamp_ms: i64, histogram: Arc<Histogram>) -> usize {
        self.push_beside(timestamp_ms, Sample::Histogram(histogram))
    }

    /// Whether any sample is a native histogram.
    pub(super) fn has_histograms(&self) -> bool {
        let beside = self.rest.as_ref().filter(|_| self.has_beside).map(|rest| rest.beside.values());
        beside.is_some_and(|mut beside| beside.any(|sample| matches!(sample, Sample::Histogram(_))))
    }

    /// Adds an exemplar unless it is there. Returns the bytes of memory newly held: like samples, exemplars stay as long as
    /// their generation does.
    pub(super) fn push_exemplar(&mut self, exemplar: &Exemplar) -> usize {
        let exemplars = &mut self.rest.get_or_insert_default().exemplars;
        let comes_before = |other: &Exemplar| {
            (other.timestamp_ms, &other.labels) < (exemplar.timestamp_ms, &exemplar.labels)
        };
        let at = exemplars.partition_point(comes_before);
        let at_same_place = exemplars[at..].iter().take_while(|other| {
            (other.timestamp_ms, &other.labels) == (exemplar.timestamp_ms, &exemplar.labels)
        });
        if at_same_place.into_iter().any(|other| other == exemplar) {
            return 0;
        }
        exemplars.insert(at, exemplar.clone());
        size_of::<Exemplar>() + exemplar.labels.memory_bytes()
    }

    fn push_to_chunk(&mut self, timestamp_ms: i64, value: f64) -> usize {
        if let Pushed::Grown(bytes) = self.open.push(timestamp_ms, value) {
            return bytes;
        }
        let rest = self.rest.get_or_insert_default();
        let capacity = rest.sealed.capacity();
        rest.sealed.push(self.open.seal());
        let grown_bytes = (rest.sealed.capacity() - capacity) * size_of::<Chunk>();
        match self.open.push(timestamp_ms, value) {
            Pushed::Grown(bytes) => grown_bytes + bytes,
            Pushed::Full => grown_bytes,
        }
    }

    fn push_beside(&mut self, timestamp_ms: i64, sample: Sample) -> usize {
        let grown_bytes = SIDE_ENTRY_BYTES
            + match &sample {
                Sample::Float(_) => 0,
                Sample::Histogram(histogram) => histogram.memory_bytes(),
            };
        self.has_beside = true;
        match self.rest.get_or_insert_default().beside.insert(timestamp_ms, sample) {
            Some(_) => 0,
            None => grown_bytes,
        }
    }

    /// Whether there is no sample at all.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && !self.has_beside
    }

    /// How many samples there are at most; native histograms count as many.
    pub(super) fn samples_at_most(&self) -> u64 {
        let in_chunks = (self.sealed().len() as u64 + 1) * u64::from(FULL_SAMPLES);
        let beside = self.rest.as_deref().map_or(0, |rest| rest.beside.len() as u64);
        in_chunks + beside * HISTOGRAM_COST
    }

    fn sealed(&self) -> &[Chunk] {
        self.rest.as_deref().map_or(&[], |rest| &rest.sealed)
    }

    fn last_float_ms(&self) -> Option<i64> {
        // The open chunk is empty only before the first float: sealing is followed by a push.
        (!self.open.is_empty()).then(|| self.open.last_ms())
    }

    /// Whether there may be a sample from `start_ms` to `end_ms`: looks at the ends of chunks only.
    pub(super) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        let rest = self.rest.as_deref();
        let first_ms = self.sealed().first().map_or_else(|| self.open.first_ms(), Chunk::first_ms);
        if self.last_float_ms().is_some_and(|last_ms| first_ms <= end_ms && last_ms >= start_ms) {
            return true;
        }
        self.has_beside
            && start_ms <= end_ms
            && rest.is_some_and(|rest| rest.beside.range(start_ms..=end_ms).next().is_some())
    }

    /// Puts the samples from `start_ms` to `end_ms` in `out`, which comes empty.
    pub(super) fn read(&self, start_ms: i64, end_ms: i64, out: &mut SeriesSamples) {
        if start_ms > end_ms {
            return;
        }
        let mut push = |timestamp_ms: i64, value: f64| {
            if timestamp_ms >= start_ms && timestamp_ms <= end_ms {
                out.timestamps_ms.push(timestamp_ms);
                out.values.push(value);
            }
        };
        let sealed = self.sealed();
        let from = sealed.partition_point(|chunk| chunk.last_ms() < start_ms);
        for chunk in sealed[from..].iter().take_while(|chunk| chunk.first_ms() <= end_ms) {
            chunk.for_each(&mut push);
        }
        if !self.open.is_empty() && self.open.first_ms() <= end_ms && self.open.last_ms() >= start_ms {
            self.open.for_each(&mut push);
        }
        let Some(rest) = self.rest.as_deref().filter(|_| self.has_beside) else { return };
        let mut beside = SeriesSamples::default();
        for (&timestamp_ms, sample) in rest.beside.range(start_ms..=end_ms) {
            match sample {
                Sample::Float(value) => {
                    beside.timestamps_ms.push(timestamp_ms);
                    beside.values.push(*value);
                }
                Sample::Histogram(histogram) => beside.histograms.push((timestamp_ms, Arc::clone(histogram))),
            }
        }
        merge_newer(out, &beside);
    }

    /// As [`Self::read`], but samples before the latest may be missing.
    pub(super) fn read_latest(&self, start_ms: i64, end_ms: i64, out: &mut SeriesSamples) {
        if self.has_beside {
            return self.read(start_ms, end_ms, out);
        }
        let mut latest = None;
        if !self.open.is_empty() && self.open.first_ms() <= end_ms {
            if self.open.last_ms() <= end_ms {
                latest = Some((self.open.last_ms(), f64::from_bits(self.open.last_bits())));
            } else {
                self.open
                    .for_each(|at, value| latest = if at <= end_ms { Some((at, value)) } else { latest });
            }
        } else {
            let sealed = self.sealed();
            let until = sealed.partition_point(|chunk| chunk.first_ms() <= end_ms);
            if let Some(chunk) = until.checked_sub(1).map(|place| &sealed[place]) {
                chunk.for_each(|at, value| latest = if at <= end_ms { Some((at, value)) } else { latest });
            }
        }
        if let Some((timestamp_ms, value)) = latest.filter(|(at, _)| *at >= start_ms) {
            out.timestamps_ms.push(timestamp_ms);
            out.values.push(value);
        }
    }

    /// The exemplars from `start_ms` to `end_ms`, ascending by time.
    pub(super) fn exemplars(&self, start_ms: i64, end_ms: i64) -> impl Iterator<Item = &Exemplar> {
        let all = self.rest.as_deref().map(|rest| rest.exemplars.iter());
        all.into_iter().flatten().filter(move |exemplar| (start_ms..=end_ms).contains(&exemplar.timestamp_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(head: &Head) -> Vec<(i64, f64)> {
        let mut out = SeriesSamples::default();
        head.read(i64::MIN, i64::MAX, &mut out);
        out.timestamps_ms.into_iter().zip(out.values).collect()
    }

    #[test]
    fn what_comes_later_overwrites() {
        let mut head = Head::default();
        assert!(!head.overlaps(i64::MIN, i64::MAX));
        for (at, value) in [(10, 1.0), (20, 2.0), (15, 1.5), (20, 2.5), (10, 1.0)] {
            head.push_float(at, value);
        }
        assert_eq!(read_all(&head), [(10, 1.0), (15, 1.5), (20, 2.5)]);
    }

    #[test]
    fn a_sample_is_compared_with_what_is_held_at_its_time() {
        let mut head = Head::default();
        assert_eq!(head.compare(10, &Sample::Float(1.0)), Held::Nothing);
        for (at, value) in [(10, f64::NAN), (30, 3.0), (20, 2.0)] {
            head.push_float(at, value);
        }
        let histogram = Arc::new(Histogram { sum: f64::NAN, ..Histogram::default() });
        head.push_histogram(40, Arc::clone(&histogram));
        let compared =
            [(10, f64::NAN), (10, 1.0), (15, 1.0), (20, 2.0), (20, 3.0), (30, 3.0), (40, 1.0), (50, 1.0)]
                .map(|(at, value)| head.compare(at, &Sample::Float(value)));
        use Held::{Nothing, Other, Same};
        assert_eq!(compared, [Same, Other, Nothing, Same, Other, Same, Other, Nothing]);
        assert_eq!(head.compare(40, &Sample::Histogram(Arc::clone(&histogram))), Same);
        assert_eq!(head.compare(30, &Sample::Histogram(histogram)), Other);
    }

    #[test]
    fn the_kind_of_a_sample_is_that_of_the_later_segment() {
        let mut head = Head::default();
        let histogram = Arc::new(Histogram::default());
        head.push_float(10, 1.0);
        head.push_histogram(10, Arc::clone(&histogram));
        head.push_histogram(20, Arc::clone(&histogram));
        head.push_float(20, 2.0);
        head.push_histogram(30, histogram);
        let mut out = SeriesSamples::default();
        head.read(0, 100, &mut out);
        assert_eq!((out.timestamps_ms, out.values), (vec![20], vec![2.0]));
        assert_eq!(out.histograms.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [10, 30]);
    }

    #[test]
    fn memory_of_a_series_with_few_samples_is_small() {
        let mut head = Head::default();
        let bytes: usize = (0..20).map(|i| head.push_float(i * 15_000, 1e6 + 15.0 * i as f64)).sum();
        assert!(bytes <= 64, "{bytes}");
        assert!(size_of::<Head>() <= 104, "{}", size_of::<Head>());
    }
}
