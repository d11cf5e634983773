//! From a decoded request to rows: known series are looked up, new ones collected, timestamps checked. What is bad is counted and
//! left out; the rest goes on. New series are registered together, after the request was admitted: one that is refused as a whole
//! leaves nothing behind.

use std::ops::Range;
use std::sync::Arc;

use parking_lot::RwLockReadGuard;
use telemetry::{Exemplar, ExemplarRow, FloatRow, Histogram, HistogramRow, MetricRows, Series};
use tenancy::Limits;
use wire::{SeriesError, SeriesKey};

use crate::limits::SERIES_PER_LOCK;
use crate::refusals::{RefusalReason, Refusals, shown};
use crate::registry::{KnownSeries, NewSeries, SeriesRefusal, SeriesRegistry};
use crate::times::TimeRule;

/// Collects the rows of one request. Holds the registry's read lock, so it lives for one decode and never across an await.
pub(crate) struct Intake<'a> {
    registry: &'a SeriesRegistry,
    known: RwLockReadGuard<'a, KnownSeries>,
    wire_limits: &'a wire::Limits,
    times: TimeRule,
    rows: MetricRows,
    new: Vec<NewSeries>,
    /// Where the rows of each series of `new` begin; they end where those of the next series do.
    new_begin: Vec<Place>,
    /// Where they end, for all but the last.
    new_end: Vec<Place>,
    /// The number of the data point that each series of `new` came with, for those of which it is known; zero where none is to be
    /// counted.
    new_point: Vec<u64>,
    points: u64,
    refusals: Refusals,
    until_bump: u32,
}

/// Lengths of the three vectors of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    floats: usize,
    histograms: usize,
    exemplars: usize,
}

impl Place {
    fn after(rows: &MetricRows) -> Self {
        Self { floats: rows.floats.len(), histograms: rows.histograms.len(), exemplars: rows.exemplars.len() }
    }
}

/// What was collected of a request. Nothing of it is known to the registry yet.
#[derive(Debug)]
pub(crate) struct Taken {
    rows: MetricRows,
    new: Vec<NewSeries>,
    /// The rows of each series of `new`.
    spans: Vec<Span>,
    refusals: Refusals,
}

/// The rows of a series that is new.
#[derive(Clone, Copy, Debug)]
struct Span {
    begin: Place,
    end: Place,
    /// The number of the data point that they are of; zero when it does not count.
    point: u64,
}

/// Something was refused, which was noted where it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

/// One series of the request, taking rows.
pub(crate) struct SeriesIntake<'s> {
    series: &'s Arc<Series>,
    times: TimeRule,
    rows: &'s mut MetricRows,
    refusals: &'s mut Refusals,
}

impl<'a> Intake<'a> {
    pub(crate) fn new(registry: &'a SeriesRegistry, wire_limits: &'a wire::Limits, times: TimeRule) -> Self {
        Self {
            registry,
            known: registry.read(),
            wire_limits,
            times,
            rows: MetricRows::default(),
            new: Vec::new(),
            new_begin: Vec::new(),
            new_end: Vec::new(),
            new_point: Vec::new(),
            points: 0,
            refusals: Refusals::default(),
            until_bump: SERIES_PER_LOCK,
        }
    }

    /// The series with this key, of which `samples` samples follow; refused when its labels are bad, which was noted.
    #[inline]
    pub(crate) fn series(&mut self, key: SeriesKey<'_>, samples: u64) -> Result<SeriesIntake<'_>, Refused> {
        self.until_bump -= 1;
        if self.until_bump == 0 {
            self.until_bump = SERIES_PER_LOCK;
            RwLockReadGuard::bump(&mut self.known);
        }
        if self.new_end.len() < self.new.len() {
            self.new_end.push(Place::after(&self.rows));
        }
        let key_hash = self.registry.hash_key(key.as_bytes());
        let series = match self.known.get(key_hash) {
            Some(series) => series,
            None => match key.to_labels(self.wire_limits) {
                Ok(labels) => {
                    let series = Arc::new(Series::new(labels));
                    self.new_begin.push(Place::after(&self.rows));
                    &self.new.push_mut(NewSeries { key_hash, series, refused: None }).series
                }
                Err(error) => {
                    self.refusals.add(RefusalReason::Invalid, samples, || error.to_string());
                    return Err(Refused);
                }
            },
        };
        Ok(SeriesIntake { series, times: self.times, rows: &mut self.rows, refusals: &mut self.refusals })
    }

    /// Notes that `samples` samples were not valid.
    #[cold]
    pub(crate) fn refuse(&mut self, samples: u64, message: impl FnOnce() -> String) {
        self.refusals.add(RefusalReason::Invalid, samples, message);
    }

    /// What was taken since the last end is a data point of the sender. It counts as refused when one of its series is, unless
    /// `is_counted` as such already, or not to be.
    pub(crate) fn end_point(&mut self, is_counted: bool) {
        if self.new_point.len() < self.new.len() {
            self.points += 1;
            let point = if is_counted { 0 } else { self.points };
            self.new_point.resize(self.new.len(), point);
        }
    }

    /// Notes that data points of the sender were refused, whose samples were noted.
    pub(crate) fn refuse_points(&mut self, points: u64) {
        self.refusals.data_points += points;
    }

    /// How many samples were taken until now.
    pub(crate) fn taken_samples(&self) -> u64 {
        (self.rows.floats.len() + self.rows.histograms.len()) as u64
    }

    /// How many samples were refused until now.
    pub(crate) fn refused_samples(&self) -> u64 {
        self.refusals.total_samples()
    }

    pub(crate) fn metadata(&mut self) -> &mut std::collections::BTreeMap<String, telemetry::Metadata> {
        &mut self.rows.metadata
    }

    /// Everything is read.
    pub(crate) fn finish(self) -> Taken {
        let Self { known, rows, new, new_begin, mut new_end, mut new_point, refusals, .. } = self;
        drop(known);
        if new_end.len() < new.len() {
            new_end.push(Place::after(&rows));
        }
        new_point.resize(new.len(), 0);
        let spans = new_begin.into_iter().zip(new_end).zip(new_point);
        // A series of which nothing is good is not registered.
        let (new, spans) = new
            .into_iter()
            .zip(spans.map(|((begin, end), point)| Span { begin, end, point }))
            .filter(|(_, span)| span.begin != span.end)
            .unzip();
        Taken { rows, new, spans, refusals }
    }
}

impl Taken {
    /// Samples, those of series that may be refused yet among them.
    pub(crate) fn samples(&self) -> u64 {
        (self.rows.floats.len() + self.rows.histograms.len()) as u64
    }

    /// Registers what is new, as far as `limits` allow, and gives the rows of all good series.
    pub(crate) fn register(
        self,
        registry: &SeriesRegistry,
        limits: &Limits,
        priorities_above: u32,
    ) -> (MetricRows, Refusals) {
        let Self { mut rows, mut new, spans, mut refusals } = self;
        registry.register(&mut new, limits, priorities_above);
        let mut refused = Vec::new();
        let mut last_point = 0;
        for (one, span) in new.iter().zip(&spans) {
            let Span { begin, end, point } = *span;
            if let Some(refusal) = &one.refused {
                let samples = (end.floats - begin.floats) + (end.histograms - begin.histograms);
                let reason = match refusal {
                    SeriesRefusal::Limit(_) => RefusalReason::SeriesLimit,
                    SeriesRefusal::ServerFull(_) => RefusalReason::ServerFull,
                };
                refusals.add(reason, samples as u64, || {
                    format!("series {}: {refusal}", shown(one.series.labels()))
                });
                refusals.exemplars += (end.exemplars - begin.exemplars) as u64;
                refusals.data_points += u64::from(point > last_point);
                last_point = last_point.max(point);
                refused.push((begin, end));
                continue;
            }
            let share = |slot: &mut Arc<Series>| *slot = Arc::clone(&one.series);
            rows.floats[begin.floats..end.floats].iter_mut().for_each(|row| share(&mut row.series));
            rows.histograms[begin.histograms..end.histograms]
                .iter_mut()
                .for_each(|row| share(&mut row.series));
            rows.exemplars[begin.exemplars..end.exemplars].iter_mut().for_each(|row| share(&mut row.series));
        }
        if !refused.is_empty() {
            let ranges = |of: fn(&Place) -> usize| refused.iter().map(move |(begin, end)| of(begin)..of(end));
            remove_ranges(&mut rows.floats, ranges(|place| place.floats));
            remove_ranges(&mut rows.histograms, ranges(|place| place.histograms));
            remove_ranges(&mut rows.exemplars, ranges(|place| place.exemplars));
        }
        (rows, refusals)
    }
}

/// Removes ranges that ascend and do not overlap.
fn remove_ranges<T>(rows: &mut Vec<T>, mut ranges: impl Iterator<Item = Range<usize>>) {
    let mut next = ranges.next();
    let mut index = 0;
    rows.retain(|_| {
        while next.as_ref().is_some_and(|range| range.end <= index) {
            next = ranges.next();
        }
        let removed = next.as_ref().is_some_and(|range| range.contains(&index));
        index += 1;
        !removed
    });
}

impl SeriesIntake<'_> {
    /// Takes a sample, or refuses it for its time and notes that.
    #[inline]
    pub(crate) fn float(&mut self, timestamp_ms: i64, value: f64) -> Result<(), Refused> {
        if !self.times.allows(timestamp_ms) {
            return Err(self.refuse_time(timestamp_ms));
        }
        self.rows.floats.push(FloatRow { series: Arc::clone(self.series), timestamp_ms, value });
        Ok(())
    }

    /// Takes a sample, or refuses it for its time and notes that.
    pub(crate) fn histogram(&mut self, timestamp_ms: i64, histogram: Histogram) -> Result<(), Refused> {
        if !self.times.allows(timestamp_ms) {
            return Err(self.refuse_time(timestamp_ms));
        }
        let series = Arc::clone(self.series);
        self.rows.histograms.push(HistogramRow { series, timestamp_ms, histogram: Arc::new(histogram) });
        Ok(())
    }

    /// An exemplar outside of the allowed time is dropped and counted, but is no failure of the request.
    pub(crate) fn exemplar(&mut self, exemplar: Exemplar) {
        if !self.times.allows(exemplar.timestamp_ms) {
            self.refusals.exemplars += 1;
            return;
        }
        self.rows.exemplars.push(ExemplarRow { series: Arc::clone(self.series), exemplar });
    }

    /// Notes that one sample was bad.
    #[cold]
    pub(crate) fn refuse_sample(&mut self, error: &SeriesError) {
        self.refusals.add(RefusalReason::Invalid, 1, || error.to_string());
    }

    /// Notes that one exemplar was bad.
    #[cold]
    pub(crate) fn refuse_exemplar(&mut self) {
        self.refusals.exemplars += 1;
    }

    #[cold]
    fn refuse_time(&mut self, timestamp_ms: i64) -> Refused {
        let (series, times) = (self.series, self.times);
        self.refusals.add(times.reason(timestamp_ms), 1, || {
            format!("series {}: {}", shown(series.labels()), times.explain(timestamp_ms))
        });
        Refused
    }
}

#[cfg(test)]
mod tests;
