//! However batches are grouped, absorbed and merged: the samples are those of a plain map in which the later one wins, and the
//! ledger counts each of them once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use storage_format::tenant::StreamStep;
use storage_format::{Footer, FreshPartition, Parsed, encode_fresh};
use telemetry::{
    Exemplar, ExemplarRow, FloatRow, Histogram, HistogramRow, Labels, Metadata, MetricBatch, MetricRows,
    MetricType, Series, Span,
};

use super::open::OpenInput;
use super::output::OutputLimits;
use super::*;
use crate::testing::{MemoryBucket, tenant};
use crate::{Bucket, Hour, Ledger, Level, PutCondition, TimeWindow, WorkOn};

const START_MS: i64 = 1_790_000_000_000 / Hour::MS * Hour::MS;

/// A sample, bit by bit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sample {
    Float(u64),
    Histogram(u64),
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    samples: BTreeMap<(Labels, i64), Sample>,
    exemplars: BTreeSet<(Labels, i64, u64)>,
    metadata: BTreeMap<String, Metadata>,
}

impl Model {
    fn add(&mut self, batch: &MetricBatch) {
        for (index, series) in batch.series.iter().enumerate() {
            let (times, values) = batch.floats_of(index);
            for (at, value) in times.iter().zip(values) {
                self.samples.insert((series.labels().clone(), *at), Sample::Float(value.to_bits()));
            }
        }
        let labels = |index: u32| batch.series[index as usize].labels().clone();
        for (index, at, histogram) in &batch.histograms {
            self.samples.insert((labels(*index), *at), Sample::Histogram(histogram.sum.to_bits()));
        }
        for (index, exemplar) in &batch.exemplars {
            self.exemplars.insert((labels(*index), exemplar.timestamp_ms, exemplar.value.to_bits()));
        }
        self.metadata.extend(batch.metadata.clone());
    }

    /// Holds this, which was read, against what `batches` come to. Of a metric that was described in several ways, any of them may
    /// be read: windows are merged each for itself, and metadata goes with the window, not with the time it was sent.
    fn assert_is(&self, expected: &Self, batches: &[MetricBatch]) {
        assert_eq!((&self.samples, &self.exemplars), (&expected.samples, &expected.exemplars));
        assert!(self.metadata.keys().eq(expected.metadata.keys()));
        for (name, metadata) in &self.metadata {
            assert!(
                batches.iter().any(|batch| batch.metadata.get(name) == Some(metadata)),
                "{name} {metadata:?}"
            );
        }
    }

    /// Samples, active series and exemplars of each hour.
    fn hours(&self) -> BTreeMap<Hour, (u64, u64, u64)> {
        let mut hours: BTreeMap<Hour, (u64, u64, u64)> = BTreeMap::new();
        let mut active = BTreeSet::new();
        for (labels, at_ms) in self.samples.keys() {
            let hour = hours.entry(Hour::of(*at_ms)).or_default();
            hour.0 += 1;
            hour.1 += u64::from(active.insert((labels, Hour::of(*at_ms))));
        }
        for (_, at_ms, _) in &self.exemplars {
            hours.entry(Hour::of(*at_ms)).or_default().2 += 1;
        }
        hours
    }
}

fn hours_of(ledger: &Ledger) -> BTreeMap<Hour, (u64, u64, u64)> {
    let hours = ledger.hours.iter();
    hours.map(|(hour, usage)| (*hour, (usage.all_samples(), usage.active_series, usage.exemplars))).collect()
}

fn series(number: usize) -> Arc<Series> {
    let pairs = [("__name__", ["a", "b"][number % 2]), ("pod", ["x", "y", "z"][number / 2])];
    let pairs = pairs.into_iter().take(1 + usize::from(number > 0));
    Arc::new(Series::new(Labels::from_pairs(pairs).unwrap()))
}

fn histogram(sum: f64) -> Arc<Histogram> {
    Arc::new(Histogram {
        count: 3.0,
        sum,
        positive_spans: vec![Span { offset: 0, length: 2 }],
        positive_buckets: vec![1.0, 2.0],
        ..Histogram::default()
    })
}

/// Times that often meet, at the ends of hours, too; some far away.
fn timestamp() -> impl Strategy<Value = i64> {
    prop_oneof![
        8 => (0..5_i64, 0..4_i64).prop_map(|(hour, step)| START_MS + hour * Hour::MS + step * 600_000),
        4 => (0..6_i64, -2..2_i64).prop_map(|(hour, step)| START_MS + hour * Hour::MS + step),
        1 => (0..40_i64).prop_map(|hour| START_MS - hour * Hour::MS),
        1 => prop::sample::select(vec![i64::MIN, 0, i64::MAX]),
    ]
}

fn batch() -> impl Strategy<Value = MetricBatch> {
    let value = prop_oneof![4 => (0..50_u32).prop_map(f64::from), 1 => Just(telemetry::stale_nan())];
    let floats = prop::collection::vec((0..6_usize, timestamp(), value), 0..24);
    let histograms = prop::collection::vec((0..6_usize, timestamp(), 0..9_u32), 0..6);
    let exemplars = prop::collection::vec((0..6_usize, timestamp(), 0..3_u32), 0..4);
    let metadata = prop::collection::btree_map("[ab]", "[a-c]", 0..2);
    (floats, histograms, exemplars, metadata).prop_map(|(floats, histograms, exemplars, metadata)| {
        let rows = MetricRows {
            floats: floats
                .into_iter()
                .map(|(number, timestamp_ms, value)| FloatRow { series: series(number), timestamp_ms, value })
                .collect(),
            histograms: histograms
                .into_iter()
                .map(|(number, timestamp_ms, sum)| HistogramRow {
                    series: series(number),
                    timestamp_ms,
                    histogram: histogram(sum.into()),
                })
                .collect(),
            exemplars: exemplars
                .into_iter()
                .map(|(number, timestamp_ms, value)| ExemplarRow {
                    series: series(number),
                    exemplar: Exemplar { labels: Labels::empty(), value: value.into(), timestamp_ms },
                })
                .collect(),
            metadata: metadata
                .into_iter()
                .map(|(name, help)| {
                    (name, Metadata { help, metric_type: MetricType::Gauge, ..Metadata::default() })
                })
                .collect(),
        };
        MetricBatch::from_rows(vec![rows])
    })
}

/// What is done next.
#[derive(Clone, Debug)]
enum Action {
    /// So many of the batches that wait are absorbed together.
    Absorb(usize),
    /// Of a window some neighbouring units become one.
    Merge(prop::sample::Index, prop::sample::Index, usize),
    /// All of a window's day become one.
    MergeDay(prop::sample::Index),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        3 => (1..4_usize).prop_map(Action::Absorb),
        2 => (any::<prop::sample::Index>(), any::<prop::sample::Index>(), 2..4_usize)
            .prop_map(|(window, first, count)| Action::Merge(window, first, count)),
        1 => any::<prop::sample::Index>().prop_map(Action::MergeDay),
    ];
    prop::collection::vec(action, 1..9)
}

/// What one absorption or merge wrote of one window.
#[derive(Clone, Debug)]
struct Unit {
    /// The place of the last batch in it.
    last: usize,
    window: TimeWindow,
    parts: Vec<SegmentInput>,
    samples: u64,
}

#[derive(Debug, Default)]
struct World {
    bucket: MemoryBucket,
    units: Vec<Unit>,
    ledger: Ledger,
    keys: usize,
}

const ON: WorkOn = WorkOn::SameThread;
const SMALL: OutputLimits = OutputLimits { bytes: u64::MAX, series: 2 };

impl World {
    async fn put(&mut self, segment: SegmentBody) -> SegmentInput {
        self.keys += 1;
        let key = format!("t/acme/metrics/{}", self.keys);
        assert_eq!(segment.summary.len_bytes, segment.body.len() as u64);
        self.bucket.put(&key, segment.body, PutCondition::IfAbsent, None).await.unwrap();
        SegmentInput { key, len: segment.summary.len_bytes, index_start: segment.summary.index_start }
    }

    fn all(&self) -> Vec<SegmentInput> {
        self.units.iter().flat_map(|unit| unit.parts.clone()).collect()
    }

    async fn absorb(&mut self, batches: &[MetricBatch], last: usize) {
        let inputs = batches.iter().map(partition).collect();
        let (batch, counts, damaged) = merge_partitions(inputs, ON).await.unwrap();
        assert!(damaged.is_empty());
        assert_eq!(counts.samples_read - counts.samples_replaced, batch.counts().samples);
        let total = batch.counts();
        let mut absorption =
            Absorption::new(tenant("acme"), batch, Level::TwoHours, START_MS).with_limits(SMALL);
        let existing = self.all();
        let (mut samples, mut exemplars) = (0, 0);
        while let Some(absorbed) = absorption.next(&self.bucket, &existing, &[], ON).await.unwrap() {
            let of_window = absorbed.segments.iter().map(|of| of.summary.counts.samples).sum::<u64>();
            samples += of_window;
            exemplars += absorbed.segments.iter().map(|of| of.summary.counts.exemplars).sum::<u64>();
            assert!(absorbed.distinct() <= of_window);
            self.ledger.add(&absorbed.usage);
            let mut parts = Vec::new();
            for segment in absorbed.segments {
                parts.push(self.put(segment).await);
            }
            self.units.push(Unit { last, window: absorbed.window, parts, samples: of_window });
        }
        assert_eq!((samples, exemplars), (total.samples, total.exemplars));
    }

    /// Merges units that are given by their numbers, and puts the result in their place.
    async fn merge(&mut self, numbers: &[usize], window: TimeWindow) {
        let mut units: Vec<Unit> = numbers.iter().map(|number| self.units[*number].clone()).collect();
        units.sort_by_key(|unit| unit.last);
        let inputs = units.iter().map(|unit| unit.parts.clone()).collect();
        let mut merge = SegmentMerge::with_limits(tenant("acme"), inputs, ON, SMALL);
        let mut parts = Vec::new();
        let mut written = 0;
        while let Some(segment) = merge.next(&self.bucket).await.unwrap() {
            written += segment.summary.counts.samples;
            parts.push(self.put(segment).await);
        }
        let totals = merge.totals();
        assert_eq!(totals.samples_read, units.iter().map(|unit| unit.samples).sum::<u64>());
        assert_eq!(totals.samples_read - totals.samples_replaced, written);
        assert_eq!(totals.samples_written, written);
        let last = units.last().unwrap().last;
        let mut number = 0;
        self.units.retain(|_| {
            number += 1;
            !numbers.contains(&(number - 1))
        });
        self.units.push(Unit { last, window, parts, samples: written });
    }

    async fn act(&mut self, action: &Action, waiting: &mut Vec<MetricBatch>, absorbed: &mut usize) {
        match action {
            Action::Absorb(count) => {
                let batches: Vec<MetricBatch> = waiting.drain(..(*count).min(waiting.len())).collect();
                *absorbed += batches.len();
                self.absorb(&batches, *absorbed).await;
            }
            Action::Merge(window, first, count) if !self.units.is_empty() => {
                let window = self.units[window.index(self.units.len())].window;
                let mut of_window = self.numbers(|unit| unit.window == window);
                of_window.sort_by_key(|number| self.units[*number].last);
                let first = first.index(of_window.len());
                let numbers: Vec<usize> = of_window.into_iter().skip(first).take(*count).collect();
                self.merge(&numbers, window).await;
            }
            Action::MergeDay(window) if !self.units.is_empty() => {
                let day = self.units[window.index(self.units.len())].window.day();
                let numbers = self.numbers(|unit| unit.window.day() == day);
                self.merge(&numbers, day).await;
            }
            _ => {}
        }
    }

    fn numbers(&self, which: impl Fn(&Unit) -> bool) -> Vec<usize> {
        (0..self.units.len()).filter(|number| which(&self.units[*number])).collect()
    }

    /// Everything, unit by unit.
    async fn read(&self) -> Model {
        let mut units = self.units.clone();
        units.sort_by_key(|unit| unit.last);
        let mut model = Model::default();
        for part in units.iter().flat_map(|unit| &unit.parts) {
            model.add(&read_segment(&self.bucket, part).await);
        }
        model
    }
}

fn partition(batch: &MetricBatch) -> PartitionInput {
    let object = encode_fresh(&[FreshPartition { tenant: &tenant("acme"), metrics: batch }]).unwrap();
    let Ok(Parsed::Done(footer)) = Footer::parse(&object, object.len() as u64) else { panic!() };
    let entry = footer.partitions()[0].clone();
    let bytes = Bytes::from(object).slice(entry.range.start as usize..entry.range.end as usize);
    PartitionInput { entry, bytes }
}

async fn read_segment(bucket: &dyn Bucket, segment: &SegmentInput) -> MetricBatch {
    let (input, bytes) = OpenInput::open(bucket, segment.clone(), 0).await.unwrap();
    let (footer, index) = input.parse_index(&bytes).unwrap();
    let mut stream = storage_format::tenant::SegmentStream::new(&footer, index).unwrap();
    let mut batch = MetricBatch { metadata: stream.metadata().clone(), ..MetricBatch::default() };
    loop {
        match stream.advance().unwrap() {
            StreamStep::End => return batch,
            StreamStep::Blocks => {
                let range = stream.next_fetch(1_000, 0).unwrap();
                let bytes = input.read(bucket, range.clone()).await.unwrap();
                stream.supply(range, bytes).unwrap();
            }
            StreamStep::Series => {
                let (index, series) = (batch.series.len() as u32, stream.series());
                batch.series.push(Arc::new(Series::new(series.labels.clone())));
                batch.timestamps_ms.extend_from_slice(series.timestamps_ms);
                batch.values.extend_from_slice(series.values);
                batch.float_ends.push(batch.values.len() as u32);
                batch
                    .histograms
                    .extend(series.histograms.iter().map(|(at, of)| (index, *at, Arc::clone(of))));
                batch.exemplars.extend(series.exemplars.iter().map(|of| (index, of.clone())));
            }
        }
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_way_of_compacting_keeps_every_sample_and_counts_it_once(
        batches in prop::collection::vec(batch(), 1..8), actions in actions(),
    ) {
        block_on(async {
            let mut world = World::default();
            let (mut waiting, mut absorbed) = (batches.clone(), 0);
            for action in &actions {
                world.act(action, &mut waiting, &mut absorbed).await;
                let mut model = Model::default();
                batches[..absorbed].iter().for_each(|batch| model.add(batch));
                world.read().await.assert_is(&model, &batches[..absorbed]);
                assert_eq!(hours_of(&world.ledger), model.hours());
                let total = world.ledger.total();
                if total.histogram_samples == 0 {
                    assert_eq!(total.bytes, total.samples * 16);
                }
            }
            for unit in &world.units {
                for part in &unit.parts {
                    let batch = read_segment(&world.bucket, part).await;
                    assert!(batch.series.len() <= 2, "a segment is cut where it is full");
                    if let Some((first, last)) = batch.time_range_ms() {
                        let window = |at| unit.window.level.window_of(at);
                        assert_eq!((window(first), window(last)), (unit.window, unit.window));
                    }
                }
            }
        });
    }
}

/// Objects of three segments of one window, in memory.
async fn three_segments(batches: &[MetricBatch]) -> World {
    let mut world = World::default();
    for (number, batch) in batches.iter().enumerate() {
        world.absorb(std::slice::from_ref(batch), number).await;
    }
    world
}

async fn merge_all(bucket: &dyn Bucket, units: Vec<Vec<SegmentInput>>) -> Result<u64, MergeError> {
    let mut merge = SegmentMerge::new(tenant("acme"), units, ON);
    while merge.next(bucket).await?.is_some() {}
    Ok(merge.totals().samples_written)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever becomes of its bytes: an input that is damaged is named, no matter what reads it.
    #[test]
    fn a_damaged_segment_is_named(
        batches in prop::collection::vec(batch(), 3),
        victim in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        change in 1..=255_u8,
        cut: bool,
    ) {
        block_on(async {
            let world = three_segments(&batches).await;
            let segments = world.all();
            if segments.is_empty() {
                return;
            }
            let units: Vec<Vec<SegmentInput>> = segments.iter().map(|part| vec![part.clone()]).collect();
            let sound = merge_all(&world.bucket, units.clone()).await.unwrap();
            let number = victim.index(segments.len());
            let key = &segments[number].key;
            let mut body = world.bucket.get(key, crate::GetRange::Full).await.unwrap().body.to_vec();
            let at = at.index(body.len());
            if cut {
                body.truncate(at);
            } else {
                body[at] ^= change;
            }
            world.bucket.put(key, body.into(), PutCondition::Always, None).await.unwrap();
            let named = |error: &MergeError| match error {
                MergeError::Damaged { input, .. } | MergeError::Bucket { input, .. } => *input == number,
                _ => false,
            };
            match merge_all(&world.bucket, units).await {
                // Postings and the header are not read.
                Ok(written) => assert!(!cut && written == sound),
                Err(error) => assert!(named(&error), "{error:?}"),
            }
            let mut absorption =
                Absorption::new(tenant("acme"), batches[0].clone(), Level::TwoHours, START_MS);
            loop {
                match absorption.next(&world.bucket, &segments, &[], ON).await {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(error) => {
                        assert!(named(&error), "{error:?}");
                        break;
                    }
                }
            }
        });
    }
}

#[test]
fn a_segment_that_is_gone_or_elsewhere_is_named() {
    block_on(async {
        let batch = MetricBatch::from_rows(vec![crate::testing::float_rows(&[("a", START_MS, 1.0)])]);
        let world = three_segments(&[batch]).await;
        let [there] = &world.all()[..] else { panic!() };
        let gone = SegmentInput { key: "t/acme/metrics/none".to_owned(), ..there.clone() };
        let error = merge_all(&world.bucket, vec![vec![there.clone()], vec![gone]]).await.unwrap_err();
        assert!(matches!(error, MergeError::Bucket { input: 1, .. }), "{error:?}");
        for index_start in [0, 8, there.index_start + 1, there.len, u64::MAX] {
            let elsewhere = SegmentInput { index_start, ..there.clone() };
            let error = merge_all(&world.bucket, vec![vec![elsewhere]]).await.unwrap_err();
            assert!(matches!(error, MergeError::Damaged { input: 0, .. }), "{error:?}");
        }
        // Parts of a unit hold different series, in order.
        let error = merge_all(&world.bucket, vec![vec![there.clone(), there.clone()]]).await.unwrap_err();
        assert!(matches!(error, MergeError::Damaged { input: 1, .. }), "{error:?}");
        assert_eq!(merge_all(&world.bucket, vec![]).await.unwrap(), 0);
    });
}

/// A day's merge asks for a few ranges, not for every block; what an absorption asks of segments of other times is their index.
#[test]
fn little_is_asked_of_the_bucket() {
    block_on(async {
        let rows = |from: i64| {
            let mut rows = MetricRows::default();
            for number in 0..6 {
                let series = series(number);
                for step in 0..30_000 {
                    let timestamp_ms = from + step * 100;
                    let value = (step * 7919 % 104_729) as f64 / 100.0;
                    rows.floats.push(FloatRow { series: Arc::clone(&series), timestamp_ms, value });
                }
            }
            MetricBatch::from_rows(vec![rows])
        };
        let mut world = World::default();
        world.absorb(&[rows(START_MS)], 0).await;
        let counted = crate::Counted::new(Arc::new(std::mem::take(&mut world.bucket)));
        // The same hour, later: first and last timestamp of each series say that nothing is there twice.
        let later = rows(START_MS + 3_100_000);
        let count = later.counts().samples;
        let hours = count_hours(&later);
        let mut absorption = Absorption::new(tenant("acme"), later, Level::TwoHours, START_MS);
        let mut usage = Ledger::default();
        let existing = world.all();
        while let Some(absorbed) = absorption.next(&counted, &existing, &[], ON).await.unwrap() {
            usage.add(&absorbed.usage);
        }
        assert_eq!(usage.total().all_samples(), count);
        assert_eq!(usage.total().active_series, hours - 6, "the six series were active in that hour before");
        let indexes = existing.len() as u64;
        assert!(counted.counts().of(crate::Operation::Get) <= indexes * 2, "the index once a window");
        let before = counted.counts().of(crate::Operation::Get);
        let units = vec![existing.clone()];
        assert_eq!(merge_all(&counted, units).await.unwrap(), 180_000);
        let asked = counted.counts().of(crate::Operation::Get) - before;
        assert!(asked <= indexes * 3, "{asked} requests for {indexes} segments");
    });
}

fn count_hours(batch: &MetricBatch) -> u64 {
    let mut model = Model::default();
    model.add(batch);
    model.hours().values().map(|(_, active, _)| active).sum()
}
