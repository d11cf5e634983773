use std::collections::BTreeSet;
use std::ops::ControlFlow;

use promql::{MatchOp, Matcher, SeriesSamples};
use proptest::prelude::*;
use segment_store::ShardId;
use telemetry::{
    Exemplar, ExemplarRow, FloatRow, Histogram, HistogramRow, Labels, MetricRows, MetricType, Series,
};

use super::*;
use crate::segments::Cold;

const EVER: (i64, i64) = (i64::MIN, i64::MAX);

fn segment(number: i64) -> SegmentKey {
    SegmentKey::new(ShardId(0), number, 0)
}

fn tenant(number: u8) -> TenantId {
    TenantId::new(&format!("tenant-{number}")).unwrap()
}

fn series(number: u8) -> Arc<Series> {
    let labels = [
        ("__name__".to_owned(), format!("metric_{}", number % 3)),
        ("id".to_owned(), number.to_string()),
        (format!("label_{number}"), "yes".to_owned()),
    ];
    Arc::new(Series::new(Labels::from_pairs(labels).unwrap()))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Float(u32),
    Histogram(u32),
}

/// (series, timestamp, value)
type Row = (u8, i64, Value);

fn batch(rows: &[Row]) -> MetricBatch {
    let mut out = MetricRows::default();
    for &(number, timestamp_ms, value) in rows {
        match value {
            Value::Float(value) => {
                out.floats.push(FloatRow { series: series(number), timestamp_ms, value: value.into() })
            }
            Value::Histogram(count) => out.histograms.push(HistogramRow {
                series: series(number),
                timestamp_ms,
                histogram: Arc::new(Histogram { count: count.into(), ..Histogram::default() }),
            }),
        }
    }
    MetricBatch::from_rows(vec![out])
}

fn offer(tail: &Tail, number: i64, parts: Vec<(TenantId, MetricBatch)>) {
    let partitions = parts.into_iter().map(|(tenant, batch)| (tenant, Arc::new(batch))).collect();
    tail.offer(TailOffer { segment: segment(number), partitions });
}

/// Series → timestamp → value.
type Answer = BTreeMap<Labels, BTreeMap<i64, Value>>;

fn insert(answer: &mut Answer, labels: &Labels, samples: &SeriesSamples) {
    let series = answer.entry(labels.clone()).or_default();
    for (at, value) in samples.timestamps_ms.iter().zip(&samples.values) {
        assert!(series.insert(*at, Value::Float(*value as u32)).is_none());
    }
    for (at, histogram) in &samples.histograms {
        assert!(series.insert(*at, Value::Histogram(histogram.count as u32)).is_none());
    }
}

/// What the bucket holds: segment → tenant → batch.
type Bucket = BTreeMap<SegmentKey, BTreeMap<TenantId, Arc<MetricBatch>>>;

fn cold_batches(bucket: &Bucket, tenant: &TenantId, view: &TenantView) -> Vec<Cold> {
    let batch = |part: &ColdPart| match &part.apart {
        Some(apart) => Arc::clone(&apart.batch),
        None => Arc::clone(&bucket[&part.place.segment][tenant]),
    };
    view.cold.iter().map(|part| Cold::Batch(batch(part))).collect()
}

fn read(
    tail: &Tail,
    bucket: &Bucket,
    tenant: &TenantId,
    with_provisional: bool,
    matchers: &[Matcher],
    time_range_ms: (i64, i64),
) -> Answer {
    let view = tail.view(tenant, with_provisional, time_range_ms.0, time_range_ms.1);
    let cold = cold_batches(bucket, tenant, &view);
    let selected = Selected::new(&view, &cold, matchers, Having::Samples, time_range_ms);
    let mut answer = Answer::new();
    let mut samples = SeriesSamples::default();
    for index in 0..selected.len() {
        assert!(index == 0 || selected.labels(index - 1) < selected.labels(index), "label order");
        samples.clear();
        selected.read(index, &mut samples);
        assert!(samples.timestamps_ms.is_sorted_by(|a, b| a < b));
        assert!(samples.histograms.is_sorted_by(|a, b| a.0 < b.0));
        if !samples.is_empty() {
            insert(&mut answer, selected.labels(index), &samples);
        }
    }
    let latest = Selected::new(&view, &cold, matchers, Having::Latest, time_range_ms);
    for index in 0..latest.len() {
        samples.clear();
        latest.read(index, &mut samples);
        let mut read = Answer::new();
        insert(&mut read, latest.labels(index), &samples);
        let last_of = |of: &Answer| {
            of.get(latest.labels(index)).and_then(BTreeMap::last_key_value).map(|(at, value)| (*at, *value))
        };
        let (alone, among_others) = (last_of(&read), last_of(&answer));
        // A writer may have been at work since.
        let is_later = alone.map(|(at, _)| at) > among_others.map(|(at, _)| at);
        assert!(is_later || alone == among_others, "{alone:?} read alone, {among_others:?} among others");
    }
    answer
}

/// The last sample of each series, as it is read where nothing else is wanted.
fn read_latest(
    tail: &Tail,
    bucket: &Bucket,
    tenant: &TenantId,
    with_provisional: bool,
    range: (i64, i64),
) -> Answer {
    let view = tail.view(tenant, with_provisional, range.0, range.1);
    let cold = cold_batches(bucket, tenant, &view);
    let selected = Selected::new(&view, &cold, &[], Having::Latest, range);
    let mut answer = Answer::new();
    for index in 0..selected.len() {
        let mut samples = SeriesSamples::default();
        selected.read(index, &mut samples);
        let mut read = Answer::new();
        insert(&mut read, selected.labels(index), &samples);
        for (labels, samples) in read {
            let last = samples.into_iter().next_back();
            answer.extend(last.map(|last| (labels, BTreeMap::from([last]))));
        }
    }
    answer
}

/// The label sets of all series, and the label names that they have.
fn looked_up(
    tail: &Tail,
    bucket: &Bucket,
    tenant: &TenantId,
    with_provisional: bool,
    range: (i64, i64),
) -> (BTreeSet<Labels>, BTreeSet<String>) {
    let view = tail.view(tenant, with_provisional, range.0, range.1);
    let cold = cold_batches(bucket, tenant, &view);
    let (mut series, mut names) = (BTreeSet::new(), BTreeSet::new());
    let flow = for_each_series(&view, &cold, &[], range, |found| {
        series.insert(found.labels().clone());
        ControlFlow::Continue(())
    });
    assert!(flow.is_continue());
    let flow = for_each_name_set(&view, &cold, &[], range, |found| {
        names.extend(found.map(str::to_owned));
        ControlFlow::Continue(())
    });
    assert!(flow.is_continue());
    (series, names)
}

fn label_values(
    tail: &Tail,
    tenant: &TenantId,
    with_provisional: bool,
    range: (i64, i64),
) -> BTreeSet<(String, String)> {
    let view = tail.view(tenant, with_provisional, range.0, range.1);
    let mut pairs = BTreeSet::new();
    for generation in &view.generations {
        let mut names = Vec::new();
        generation.for_each_name(range, |name| names.push(name.to_owned()));
        for name in names {
            let mut values = Vec::new();
            generation.for_each_value(&name, range, |value| values.push(value.to_owned()));
            assert!(!values.is_empty(), "{name} is listed and has no value");
            assert!(values.is_sorted_by(|a, b| a < b), "{values:?}");
            pairs.extend(values.into_iter().map(|value| (name.clone(), value)));
        }
    }
    pairs
}

#[derive(Clone, Debug)]
enum Event {
    /// The next flush of this process.
    Offer(Parts),
    /// How one of the flushes in flight ends.
    Settle(prop::sample::Index, FlushOutcome),
    /// A segment of another writer, named about when the last flush was.
    Absorb(i64, Parts),
}

/// Timestamps are even; other writers' are made odd, so that which of two segments wins depends on segment order alone.
fn parts() -> impl Strategy<Value = Parts> {
    let value = prop_oneof![
        6 => (0..5_u32).prop_map(Value::Float),
        1 => (0..5_u32).prop_map(Value::Histogram)
    ];
    let row = (0..8_u8, (0..40_i64).prop_map(|at| at * 2), value);
    let rows = prop::collection::vec(row, 1..12);
    prop::collection::btree_map(0..2_u8, rows, 1..3).prop_map(|parts| parts.into_iter().collect())
}

fn event() -> impl Strategy<Value = Event> {
    let outcome = prop_oneof![4 => Just(FlushOutcome::Durable), 1 => Just(FlushOutcome::Withdrawn)];
    prop_oneof![
        4 => parts().prop_map(Event::Offer),
        4 => (any::<prop::sample::Index>(), outcome).prop_map(|(which, outcome)| Event::Settle(which, outcome)),
        1 => (-4..1_i64, parts()).prop_map(|(age, parts)| Event::Absorb(age, parts)),
    ]
}

/// Each tenant's rows.
type Parts = Vec<(u8, Vec<Row>)>;

#[derive(Default)]
struct Model {
    /// Segment → (is durable, parts).
    segments: BTreeMap<i64, (bool, Parts)>,
}

impl Model {
    fn answer(&self, number: u8, with_provisional: bool) -> Answer {
        let mut answer = Answer::new();
        let visible = self.segments.values().filter(|(is_durable, _)| *is_durable || with_provisional);
        for (_, rows) in visible.flat_map(|(_, parts)| parts).filter(|(tenant, _)| *tenant == number) {
            // A batch keeps the last of equal timestamps, and a float rather than a histogram.
            let batch = batch(rows);
            for (index, series) in batch.series.iter().enumerate() {
                let mut samples = SeriesSamples::default();
                provisional::read_batch(&batch, index, EVER, &mut samples);
                let known = answer.entry(series.labels().clone()).or_default();
                let mut one = Answer::new();
                insert(&mut one, series.labels(), &samples);
                known.extend(one.into_values().next().unwrap_or_default());
            }
        }
        answer
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever the order of settlements, rotations and drops: the tail and the bucket together answer what a map of all
    /// visible segments does, and label APIs show the labels of exactly the series that have a sample.
    #[test]
    fn the_tail_answers_like_a_map(
        events in prop::collection::vec(event(), 1..60),
        generation_bytes in prop_oneof![Just(usize::MAX), Just(0), 1_000..20_000_usize],
        memory_bytes in prop_oneof![Just(usize::MAX), 0..40_000_usize],
    ) {
        let tail = Tail::new(TailSettings { memory_bytes, generation_bytes });
        let mut model = Model::default();
        let mut bucket = Bucket::new();
        let mut in_flight: Vec<i64> = Vec::new();
        let mut last = 1_000_i64;
        for event in events {
            match event {
                Event::Offer(parts) => {
                    last += 10;
                    offer(&tail, last, parts.iter().map(|(t, rows)| (tenant(*t), batch(rows))).collect());
                    let stored = parts.iter().map(|(t, rows)| (tenant(*t), Arc::new(batch(rows)))).collect();
                    bucket.insert(segment(last), stored);
                    model.segments.insert(last, (false, parts));
                    in_flight.push(last);
                }
                Event::Settle(which, outcome) => {
                    if in_flight.is_empty() {
                        continue;
                    }
                    let number = in_flight.remove(which.index(in_flight.len()));
                    tail.settle(&segment(number), outcome);
                    match outcome {
                        FlushOutcome::Durable => model.segments.get_mut(&number).unwrap().0 = true,
                        FlushOutcome::Withdrawn => _ = model.segments.remove(&number),
                    }
                }
                Event::Absorb(age, mut parts) => {
                    let number = last + age * 10 + 5;
                    for row in parts.iter_mut().flat_map(|(_, rows)| rows) {
                        row.1 += 1;
                        // The same sample twice from another writer is a retry: equal.
                        row.2 = Value::Float(row.1 as u32);
                    }
                    if model.segments.contains_key(&number) {
                        continue;
                    }
                    tail.absorb(segment(number), parts.iter().map(|(t, rows)| (tenant(*t), batch(rows))).collect());
                    let stored = parts.iter().map(|(t, rows)| (tenant(*t), Arc::new(batch(rows)))).collect();
                    bucket.insert(segment(number), stored);
                    model.segments.insert(number, (true, parts));
                }
            }
            for number in 0..2 {
                for with_provisional in [true, false] {
                    let answer = read(&tail, &bucket, &tenant(number), with_provisional, &[], EVER);
                    let expected = model.answer(number, with_provisional);
                    prop_assert_eq!(&answer, &expected, "tenant {} provisional {}", number, with_provisional);
                    for range in [EVER, (0, 25)] {
                        let latest = read_latest(&tail, &bucket, &tenant(number), with_provisional, range);
                        let within = |samples: &BTreeMap<i64, Value>| {
                            let last = samples.range(range.0..=range.1).next_back();
                            last.map(|(at, value)| BTreeMap::from([(*at, *value)]))
                        };
                        let expected: Answer = expected
                            .iter()
                            .filter_map(|(labels, samples)| Some((labels.clone(), within(samples)?)))
                            .collect();
                        prop_assert_eq!(latest, expected, "the latest up to {}", range.1);
                    }
                    for range in [EVER, (i64::MIN, 25)] {
                        let is_within = |samples: &BTreeMap<i64, Value>| samples.range(..=range.1).next().is_some();
                        let present = expected.iter().filter(|(_, samples)| is_within(samples));
                        let series: BTreeSet<Labels> = present.map(|(labels, _)| labels.clone()).collect();
                        let pairs: BTreeSet<(String, String)> = series
                            .iter()
                            .flat_map(|labels| labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())))
                            .collect();
                        let names: BTreeSet<String> = pairs.iter().map(|(name, _)| name.clone()).collect();
                        let found = looked_up(&tail, &bucket, &tenant(number), with_provisional, range);
                        prop_assert_eq!(found, (series, names));
                        if tail.stats().cold_partitions == 0 {
                            let found = label_values(&tail, &tenant(number), with_provisional, range);
                            prop_assert_eq!(found, pairs);
                        }
                    }
                }
            }
        }
        for number in in_flight {
            tail.settle(&segment(number), FlushOutcome::Durable);
            model.segments.get_mut(&number).unwrap().0 = true;
        }
        let name = Matcher::new("__name__", MatchOp::Regex, "metric_[01]").unwrap();
        let range = (10, 41);
        for number in 0..2 {
            let answer = read(&tail, &bucket, &tenant(number), false, std::slice::from_ref(&name), range);
            let mut expected = model.answer(number, true);
            expected.retain(|labels, samples| {
                samples.retain(|at, _| (range.0..=range.1).contains(at));
                name.matches(labels.metric_name().unwrap()) && !samples.is_empty()
            });
            prop_assert_eq!(answer, expected);
        }
        prop_assert_eq!(tail.stats().provisional_batches, 0);
    }
}

#[test]
fn a_provisional_sample_is_seen_at_once_and_a_withdrawn_one_never_again() {
    let tail = Tail::default();
    let (nobody, acme) = (tenant(1), tenant(0));
    offer(&tail, 1, vec![(acme.clone(), batch(&[(1, 10, Value::Float(1))]))]);
    let bucket = Bucket::new();
    let expected = Answer::from([(series(1).labels().clone(), BTreeMap::from([(10, Value::Float(1))]))]);
    assert_eq!(read(&tail, &bucket, &acme, true, &[], EVER), expected);
    assert_eq!(read(&tail, &bucket, &acme, false, &[], EVER), Answer::new());
    assert_eq!(read(&tail, &bucket, &nobody, true, &[], EVER), Answer::new());
    tail.settle(&segment(1), FlushOutcome::Withdrawn);
    assert_eq!(read(&tail, &bucket, &acme, true, &[], EVER), Answer::new());
    assert_eq!(label_values(&tail, &acme, true, EVER), BTreeSet::new());
    assert!(!tail.knows(&segment(1)), "a listing may still show it");
    // The client sends it again.
    offer(&tail, 2, vec![(acme.clone(), batch(&[(1, 10, Value::Float(1))]))]);
    assert_eq!(read(&tail, &bucket, &acme, true, &[], EVER), expected);
    assert_eq!(label_values(&tail, &acme, true, EVER).len(), 3);
    tail.settle(&segment(2), FlushOutcome::Durable);
    assert_eq!(read(&tail, &bucket, &acme, false, &[], EVER), expected);
    assert_eq!(label_values(&tail, &acme, false, EVER).len(), 3);
}

#[test]
fn a_flush_that_never_ends_does_not_hold_up_memory() {
    let tail = Tail::default();
    let acme = tenant(0);
    offer(&tail, 1, vec![(acme.clone(), batch(&[(1, 10, Value::Float(1))]))]);
    // One large histogram in each: its memory counts as often as it is held.
    let spans = vec![telemetry::Span { offset: 0, length: 500_000 }];
    let large =
        Histogram { positive_spans: spans, positive_buckets: vec![1.0; 500_000], ..Histogram::default() };
    let large = Arc::new(large);
    let flushes = 2 * MAX_HELD_BYTES as i64 / large.memory_bytes() as i64;
    for timestamp_ms in 2..flushes {
        let histograms =
            vec![HistogramRow { series: series(2), timestamp_ms, histogram: Arc::clone(&large) }];
        let rows = MetricRows { histograms, ..MetricRows::default() };
        offer(&tail, timestamp_ms, vec![(acme.clone(), MetricBatch::from_rows(vec![rows]))]);
        tail.settle(&segment(timestamp_ms), FlushOutcome::Durable);
    }
    assert!(tail.stats().provisional_batches < flushes as u64 / 2 + 2);
    assert!(tail.flushes.lock().held_bytes <= MAX_HELD_BYTES);
    // It is visible all along, and ends well.
    tail.settle(&segment(1), FlushOutcome::Durable);
    let answer = read(&tail, &Bucket::new(), &acme, false, &[], EVER);
    assert_eq!(answer[series(1).labels()].len(), 1);
    assert_eq!(answer[series(2).labels()].len() as i64, flushes - 2);
    assert_eq!(tail.stats().provisional_batches, 0);
}

#[test]
fn a_segment_named_earlier_does_not_overwrite() {
    let tail = Tail::default();
    let acme = tenant(0);
    tail.absorb(segment(5), vec![(acme.clone(), batch(&[(1, 10, Value::Float(5))]))]);
    tail.absorb(
        segment(3),
        vec![(acme.clone(), batch(&[(1, 10, Value::Float(3)), (1, 9, Value::Float(3))]))],
    );
    tail.absorb(segment(3), vec![(acme.clone(), batch(&[(1, 8, Value::Float(3))]))]);
    let answer = read(&tail, &Bucket::new(), &acme, true, &[], EVER);
    assert_eq!(answer[series(1).labels()], BTreeMap::from([(9, Value::Float(3)), (10, Value::Float(5))]));
}

#[test]
fn the_backlog_loses_against_newer_data_whatever_comes_first() {
    let tail = Tail::default();
    let acme = tenant(0);
    offer(&tail, 9, vec![(acme.clone(), batch(&[(1, 10, Value::Float(9)), (1, 12, Value::Float(9))]))]);
    tail.settle(&segment(9), FlushOutcome::Durable);
    tail.absorb_backlog(
        segment(1),
        vec![(acme.clone(), batch(&[(1, 8, Value::Float(1)), (1, 10, Value::Float(1))]))],
    );
    tail.absorb_backlog(segment(2), vec![(acme.clone(), batch(&[(1, 8, Value::Float(2))]))]);
    tail.show_backlog();
    let answer = read(&tail, &Bucket::new(), &acme, true, &[], EVER);
    let expected = BTreeMap::from([(8, Value::Float(2)), (10, Value::Float(9)), (12, Value::Float(9))]);
    assert_eq!(answer[series(1).labels()], expected);
}

#[test]
fn the_largest_tenant_makes_room() {
    let tail = Tail::new(TailSettings { memory_bytes: 100_000, generation_bytes: 20_000 });
    offer(&tail, 1, vec![(tenant(1), batch(&[(1, 10, Value::Float(1))]))]);
    tail.settle(&segment(1), FlushOutcome::Durable);
    for number in 2..80 {
        let rows: Vec<Row> =
            (0..200).map(|at| (at as u8, number * 1_000 + at, Value::Float(at as u32 * 7919))).collect();
        offer(&tail, number, vec![(tenant(0), batch(&rows))]);
        tail.settle(&segment(number), FlushOutcome::Durable);
    }
    let stats = tail.stats();
    assert!(stats.memory_bytes <= 100_000, "{stats:?}");
    assert!(stats.cold_partitions > 0, "{stats:?}");
    let view = tail.view(&tenant(1), true, EVER.0, EVER.1);
    assert_eq!((view.generations.len(), view.cold.len()), (1, 0));
    let view = tail.view(&tenant(0), true, EVER.0, EVER.1);
    assert!(view.cold.is_sorted_by(|a, b| a.place.segment < b.place.segment));
    // Only partitions of the time asked for are read.
    let view = tail.view(&tenant(0), true, 3_000, 3_010);
    assert_eq!(view.cold.iter().map(|part| part.place.segment).collect::<Vec<_>>(), [segment(3)]);
}

#[test]
fn exemplars_and_metadata_come_along() {
    let tail = Tail::default();
    let acme = tenant(0);
    let exemplar = |at, id: &str| Exemplar {
        labels: Labels::from_pairs([("trace_id", id)]).unwrap(),
        value: 1.0,
        timestamp_ms: at,
    };
    let rows = |exemplars: &[Exemplar], help: &str| {
        let mut rows = MetricRows::default();
        rows.floats.push(FloatRow { series: series(1), timestamp_ms: 10, value: 1.0 });
        rows.exemplars
            .extend(exemplars.iter().map(|e| ExemplarRow { series: series(1), exemplar: e.clone() }));
        let metadata =
            Metadata { metric_type: MetricType::Gauge, help: help.to_owned(), unit: String::new() };
        rows.metadata.insert("metric_1".to_owned(), metadata);
        MetricBatch::from_rows(vec![rows])
    };
    let (a, b, c) = (exemplar(10, "a"), exemplar(12, "b"), exemplar(11, "c"));
    offer(&tail, 2, vec![(acme.clone(), rows(&[a.clone(), b.clone()], "new"))]);
    tail.settle(&segment(2), FlushOutcome::Durable);
    tail.absorb(segment(1), vec![(acme.clone(), rows(std::slice::from_ref(&a), "old"))]);
    offer(&tail, 3, vec![(acme.clone(), rows(&[b.clone(), c.clone()], "new"))]);
    let view = tail.view(&acme, true, 0, 100);
    let selected = Selected::new(&view, &[], &[Matcher::equal("id", "1")], Having::Exemplars, (0, 100));
    assert_eq!(selected.exemplars(0), [a.clone(), c.clone(), b.clone()]);
    let selected = Selected::new(&view, &[], &[Matcher::equal("id", "1")], Having::Exemplars, (0, 11));
    assert_eq!(selected.exemplars(0), [a, c]);
    let help = tail.metadata(&acme, |all| all["metric_1"].1.help.clone());
    assert_eq!(help, "new");
    assert!(tail.metadata(&tenant(1), BTreeMap::is_empty));
}

/// While flushes end in any order and generations come and go, what was durable before a look is in it, once.
#[test]
fn what_is_durable_is_never_out_of_sight() {
    use std::sync::atomic::{AtomicI64, Ordering};

    const ROUNDS: i64 = 300;
    let tail = Tail::new(TailSettings { memory_bytes: usize::MAX, generation_bytes: 30_000 });
    let acme = tenant(0);
    // Each writer writes series of its own: the last timestamp that is durable.
    let durable: [AtomicI64; 3] = std::array::from_fn(|_| AtomicI64::new(-1));
    let next_segment = AtomicI64::new(1);
    std::thread::scope(|scope| {
        for (writer, durable) in durable.iter().enumerate() {
            let (tail, acme, next_segment) = (&tail, &acme, &next_segment);
            scope.spawn(move || {
                for at in 0..ROUNDS {
                    let number = next_segment.fetch_add(1, Ordering::Relaxed);
                    let new = 100 + (at % 50) as u8;
                    let rows = [(writer as u8, at, Value::Float(at as u32)), (new, at, Value::Float(1))];
                    offer(tail, number, vec![(acme.clone(), batch(&rows))]);
                    tail.settle(&segment(number), FlushOutcome::Durable);
                    durable.store(at, Ordering::Release);
                }
            });
        }
        let matchers = [Matcher::new("id", MatchOp::Regex, "[0-2]").unwrap()];
        while durable.iter().any(|last| last.load(Ordering::Acquire) < ROUNDS - 1) {
            let before: Vec<i64> = durable.iter().map(|last| last.load(Ordering::Acquire)).collect();
            let answer = read(&tail, &Bucket::new(), &acme, false, &matchers, EVER);
            for (writer, last) in before.into_iter().enumerate().filter(|(_, last)| *last >= 0) {
                let samples = &answer[series(writer as u8).labels()];
                assert!((0..=last).all(|at| samples.get(&at) == Some(&Value::Float(at as u32))));
            }
        }
    });
    assert!(tail.stats().generations > 1);
    assert_eq!(tail.stats().provisional_batches, 0);
}
