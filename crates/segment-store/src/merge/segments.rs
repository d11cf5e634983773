//! Tenant segments of one window into one: series by series, from streams that hold a few blocks each.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use storage_format::tenant::{SegmentStream, SeriesSamples, StreamStep};
use storage_format::{EncodeError, FormatError};
use telemetry::{Exemplar, Histogram, Labels, Metadata, TenantId};

use super::open::OpenInput;
use super::output::{Output, OutputLimits};
use super::{MergeError, SegmentBody, SegmentInput};
use crate::limits::MERGE_READ_BYTES;
use crate::thin::Thinner;
use crate::{Bucket, Resolution, WorkOn};

/// What was merged, when there is no more to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeTotals {
    /// Samples of all inputs.
    pub samples_read: u64,
    /// Samples that gave way to one of a later input with the same series and timestamp.
    pub samples_replaced: u64,
    /// Samples of all outputs: those read less those replaced.
    pub samples_written: u64,
}

/// A segment of a unit: its number among all inputs, and where it is.
type Part = (usize, SegmentInput);

/// A merge on its way.
///
/// The inputs are units, from the earliest to the latest: of equal samples the later unit's stays. A unit is one segment, or
/// the segments that one merge wrote, in the order in which it gave them out; only one of them is open at a time.
#[derive(Debug)]
pub struct SegmentMerge {
    work_on: WorkOn,
    engine: Option<Engine>,
}

/// Memory that merging these segments takes at most for each that is open, in bytes, about: one for each unit. `index_bytes` is
/// the length from the index's start to the object's end.
#[must_use]
pub fn merge_memory_bytes(series: u64, index_bytes: u64) -> u64 {
    // A row of ids, a part of a list, its end: at some 12 labels a series. Dictionaries unpack to a few times their size.
    series * 80 + index_bytes * 4 + OPEN_BYTES
}

/// What an open stream holds besides its index, in bytes: read ahead (twice what one request brings), decoded blocks, timestamps.
const OPEN_BYTES: u64 = 2 * MERGE_READ_BYTES + (12 << 20);

/// What the engine came to.
enum Step {
    /// A unit needs its next segment, or blocks of the one that is open.
    Read,
    /// A segment is full.
    Output(SegmentBody),
    Done,
}

struct Unit {
    parts: VecDeque<Part>,
    /// The segment that is open.
    stream: Option<(OpenInput, SegmentStream<Bytes>)>,
    last: Option<Labels>,
}

/// What is written of the merged series.
struct Target {
    output: Output,
    /// For thinned ones: how far.
    thin: Option<(i64, Thinner)>,
}

/// Everything but I/O.
struct Engine {
    units: Vec<Unit>,
    /// Units whose next series is not known.
    behind: Vec<usize>,
    /// The next series of each other unit.
    next: BinaryHeap<Reverse<(Labels, usize)>>,
    targets: Vec<Target>,
    /// Segments that are full.
    full: VecDeque<SegmentBody>,
    /// Metric name → the unit that said it last, and what.
    metadata: BTreeMap<String, (usize, Metadata)>,
    totals: MergeTotals,
    merged: Merged,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("units", &self.units.len()).field("totals", &self.totals).finish()
    }
}

impl SegmentMerge {
    /// Merges `units` of `tenant`. Errors name segments by their number when all units' are put one after the other.
    #[must_use]
    pub fn new(tenant: TenantId, units: Vec<Vec<SegmentInput>>, work_on: WorkOn) -> Self {
        Self::with_limits(tenant, units, work_on, OutputLimits::default())
    }

    /// As [`Self::new`], but what is merged is written thinned only, at each resolution: their segments come in turns.
    #[must_use]
    pub fn thinned(tenant: TenantId, units: Vec<Vec<SegmentInput>>, work_on: WorkOn) -> Self {
        Self::to_targets(tenant, units, work_on, OutputLimits::default(), &Resolution::THINNED)
    }

    pub(super) fn with_limits(
        tenant: TenantId,
        units: Vec<Vec<SegmentInput>>,
        work_on: WorkOn,
        limits: OutputLimits,
    ) -> Self {
        Self::to_targets(tenant, units, work_on, limits, &[Resolution::Raw])
    }

    fn to_targets(
        tenant: TenantId,
        units: Vec<Vec<SegmentInput>>,
        work_on: WorkOn,
        limits: OutputLimits,
        resolutions: &[Resolution],
    ) -> Self {
        let target = |resolution: &Resolution| Target {
            output: Output::new(tenant.clone(), *resolution, limits),
            thin: resolution.ms().map(|ms| (ms, Thinner::default())),
        };
        let mut number = 0;
        let units: Vec<Unit> = units
            .into_iter()
            .map(|parts| {
                let first = number;
                number += parts.len();
                Unit { parts: (first..).zip(parts).collect(), stream: None, last: None }
            })
            .collect();
        let engine = Engine {
            behind: (0..units.len()).collect(),
            units,
            next: BinaryHeap::new(),
            targets: resolutions.iter().map(target).collect(),
            full: VecDeque::new(),
            metadata: BTreeMap::new(),
            totals: MergeTotals::default(),
            merged: Merged::default(),
        };
        Self { work_on, engine: Some(engine) }
    }

    /// The next segment, in label order; `None` when there is no more. After an error the merge is of no more use.
    ///
    /// # Errors
    /// [`MergeError`].
    pub async fn next(&mut self, bucket: &dyn Bucket) -> Result<Option<SegmentBody>, MergeError> {
        loop {
            let broken_off = || MergeError::BrokenOff("it has failed before".to_owned());
            let mut engine = self.engine.take().ok_or_else(broken_off)?;
            // All at the same time: what is far away takes no longer for many.
            let mut reads: FuturesUnordered<_> =
                engine.units.iter_mut().map(|unit| unit.read(bucket, self.work_on)).collect();
            while let Some(read) = reads.next().await {
                read?;
            }
            drop(reads);
            let (engine, step) = self
                .work_on
                .run(move || {
                    let step = engine.step();
                    (engine, step)
                })
                .await?;
            self.engine = Some(engine);
            match step? {
                Step::Read => {}
                Step::Output(body) => return Ok(Some(body)),
                Step::Done => return Ok(None),
            }
        }
    }

    /// What was merged so far. When there is no more to come, check it against what footers say.
    #[must_use]
    pub fn totals(&self) -> MergeTotals {
        self.engine.as_ref().map(|engine| engine.totals).unwrap_or_default()
    }
}

impl Unit {
    /// Reads what is needed next: the next segment's index when none is open, blocks of the one that is.
    async fn read(&mut self, bucket: &dyn Bucket, work_on: WorkOn) -> Result<(), MergeError> {
        if self.stream.is_none() {
            self.open(bucket, work_on).await?;
        }
        let Some((input, stream)) = &mut self.stream else { return Ok(()) };
        while let Some(range) = stream.next_fetch(MERGE_READ_BYTES, MERGE_READ_BYTES / 4) {
            let bytes = input.read(bucket, range.clone()).await?;
            stream.supply(range, bytes).map_err(|source| input.damaged(source))?;
        }
        Ok(())
    }

    /// Opens the next segment, if there is one.
    async fn open(&mut self, bucket: &dyn Bucket, work_on: WorkOn) -> Result<(), MergeError> {
        let Some((number, segment)) = self.parts.pop_front() else { return Ok(()) };
        let (input, bytes) = OpenInput::open(bucket, segment, number).await?;
        let of = input.clone();
        let opened = work_on.run(move || {
            let (footer, index) = of.parse_index(&bytes)?;
            SegmentStream::new(&footer, index)
        });
        let stream = opened.await?.map_err(|source| input.damaged(source))?;
        self.stream = Some((input, stream));
        Ok(())
    }

    /// The series that the open stream has come to.
    fn series(&self) -> Option<SeriesSamples<'_>> {
        self.stream.as_ref().map(|(_, stream)| stream.series())
    }
}

impl Engine {
    /// Works until something is missing or a segment is full.
    fn step(&mut self) -> Result<Step, MergeError> {
        loop {
            if let Some(full) = self.full.pop_front() {
                return Ok(Step::Output(full));
            }
            while let Some(&unit) = self.behind.last() {
                if let Some(step) = self.advance(unit)? {
                    return Ok(step);
                }
            }
            let Some(Reverse((labels, first))) = self.next.pop() else {
                let metadata = std::mem::take(&mut self.metadata);
                let metadata = metadata.into_iter().map(|(name, (_, of))| (name, of)).collect();
                for Target { output, .. } in &mut self.targets {
                    output.push_metadata(&metadata)?;
                    self.full.extend(output.finish()?);
                }
                return Ok(self.full.pop_front().map_or(Step::Done, Step::Output));
            };
            // Equal series come by ascending unit.
            self.behind.push(first);
            while self.next.peek().is_some_and(|Reverse((next, _))| *next == labels) {
                self.behind.extend(self.next.pop().map(|Reverse((_, unit))| unit));
            }
            self.write(&labels)?;
        }
    }

    /// Finds out the next series of a unit that is behind, and takes it off the list; or says what is missing.
    fn advance(&mut self, number: usize) -> Result<Option<Step>, MergeError> {
        let unit = &mut self.units[number];
        let Some((input, stream)) = &mut unit.stream else {
            if !unit.parts.is_empty() {
                return Ok(Some(Step::Read));
            }
            self.behind.pop();
            return Ok(None);
        };
        let damaged = |source| input.damaged(source);
        match stream.advance().map_err(damaged)? {
            StreamStep::Blocks => return Ok(Some(Step::Read)),
            StreamStep::Series => {
                let labels = stream.series().labels.clone();
                if unit.last.as_ref().is_some_and(|last| *last >= labels) {
                    let why = "series that do not come after those of the segment before";
                    return Err(damaged(FormatError::Corrupt { what: "tenant segment", why }));
                }
                unit.last = Some(labels.clone());
                self.next.push(Reverse((labels, number)));
                self.behind.pop();
            }
            StreamStep::End => {
                self.totals.samples_read += stream.counts().samples;
                for (name, of) in stream.metadata() {
                    let known = self.metadata.get(name).map(|(unit, _)| *unit);
                    if known.is_none_or(|unit| unit <= number) {
                        self.metadata.insert(name.clone(), (number, of.clone()));
                    }
                }
                unit.stream = None;
            }
        }
        Ok(None)
    }

    /// Writes the series that the units behind have in common.
    fn write(&mut self, labels: &Labels) -> Result<(), EncodeError> {
        let mut inputs = self.behind.iter().filter_map(|unit| self.units[*unit].series());
        let series = match (inputs.next(), self.behind.len()) {
            (Some(only), 1) => only,
            (first, _) => {
                let all: Vec<SeriesSamples<'_>> = first.into_iter().chain(inputs).collect();
                self.totals.samples_replaced += self.merged.merge(&all);
                self.merged.series(labels)
            }
        };
        self.totals.samples_written += (series.values.len() + series.histograms.len()) as u64;
        for target in &mut self.targets {
            self.full.extend(target.push(series)?);
        }
        Ok(())
    }
}

impl Target {
    /// Adds a series, thinned if that is what is wanted; gives the segment before it, if that was full.
    fn push(&mut self, series: SeriesSamples<'_>) -> Result<Option<SegmentBody>, EncodeError> {
        let Some((resolution_ms, thinner)) = &mut self.thin else { return self.output.push(series) };
        let histogram_times_ms = series.histograms.iter().map(|(at_ms, _)| *at_ms);
        thinner.thin(*resolution_ms, series.timestamps_ms, series.values, histogram_times_ms);
        if thinner.values.is_empty() && series.histograms.is_empty() {
            return Ok(None);
        }
        self.output.push(SeriesSamples {
            timestamps_ms: &thinner.timestamps_ms,
            values: &thinner.values,
            exemplars: &[],
            omitted: &thinner.omitted,
            ..series
        })
    }
}

#[derive(Clone)]
enum Sample {
    Float(f64),
    Histogram(Arc<Histogram>),
}

/// The samples of one series from several units.
#[derive(Default)]
struct Merged {
    samples: Vec<(i64, Sample)>,
    timestamps_ms: Vec<i64>,
    values: Vec<f64>,
    histograms: Vec<(i64, Arc<Histogram>)>,
    exemplars: Vec<Exemplar>,
}

impl Merged {
    /// Merges the samples of `inputs`, the later of which win; says how many gave way.
    fn merge(&mut self, inputs: &[SeriesSamples<'_>]) -> u64 {
        self.timestamps_ms.clear();
        self.values.clear();
        self.histograms.clear();
        let exemplars = inputs.iter().flat_map(|input| input.exemplars).cloned().collect();
        self.exemplars = storage_format::distinct_exemplars(exemplars);
        if self.join(inputs) {
            return 0;
        }
        self.samples.clear();
        for input in inputs {
            let floats = input.timestamps_ms.iter().zip(input.values);
            self.samples.extend(floats.map(|(at_ms, value)| (*at_ms, Sample::Float(*value))));
            let histograms = input.histograms.iter();
            self.samples.extend(histograms.map(|(at_ms, of)| (*at_ms, Sample::Histogram(Arc::clone(of)))));
        }
        // Stable, so that of equal timestamps the latest unit's comes last; and quick where runs ascend.
        self.samples.sort_by_key(|sample| sample.0);
        let mut replaced = 0;
        let mut samples = self.samples.drain(..).peekable();
        while let Some((at_ms, sample)) = samples.next() {
            if samples.peek().is_some_and(|next| next.0 == at_ms) {
                replaced += 1;
                continue;
            }
            match sample {
                Sample::Float(value) => {
                    self.timestamps_ms.push(at_ms);
                    self.values.push(value);
                }
                Sample::Histogram(of) => self.histograms.push((at_ms, of)),
            }
        }
        replaced
    }

    /// Puts floats of different times one after the other; `false` when it is not as simple as that.
    fn join(&mut self, inputs: &[SeriesSamples<'_>]) -> bool {
        if inputs.iter().any(|input| !input.histograms.is_empty()) {
            return false;
        }
        let mut runs: Vec<(&[i64], &[f64])> =
            inputs.iter().map(|input| (input.timestamps_ms, input.values)).collect();
        runs.sort_by_key(|(times, _)| times.first().copied());
        let ends = |pair: &[(&[i64], &[f64])]| pair[0].0.last() < pair[1].0.first();
        if !runs.windows(2).all(|pair| pair[0].0.is_empty() || ends(pair)) {
            return false;
        }
        for (times, values) in runs {
            self.timestamps_ms.extend_from_slice(times);
            self.values.extend_from_slice(values);
        }
        true
    }

    fn series<'a>(&'a self, labels: &'a Labels) -> SeriesSamples<'a> {
        SeriesSamples {
            labels,
            timestamps_ms: &self.timestamps_ms,
            values: &self.values,
            histograms: &self.histograms,
            exemplars: &self.exemplars,
            omitted: &[],
        }
    }
}
