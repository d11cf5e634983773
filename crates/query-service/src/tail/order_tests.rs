//! In whatever order segments come: what they hold is answered as if they had come in theirs.

use std::collections::BTreeSet;

use promql::SeriesSamples;
use proptest::prelude::*;
use segment_store::ShardId;
use telemetry::{
    Exemplar, ExemplarRow, FloatRow, Histogram, HistogramRow, Labels, MetricRows, MetricType, Series,
};

use super::*;
use crate::segments::Cold;

const EVER: (i64, i64) = (i64::MIN, i64::MAX);

/// The bits of Prometheus's staleness marker.
const STALE: u64 = 0x7ff0_0000_0000_0002;

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Float(u64),
    Histogram(u32),
}

/// A segment: a time that its name begins with, samples, exemplars, and a help text.
#[derive(Clone, Debug)]
struct Written {
    time_ms: i64,
    samples: Vec<(u8, i64, Value)>,
    exemplars: Vec<(u8, i64, u8)>,
    help: Option<u8>,
}

fn labels(number: u8) -> Labels {
    Labels::from_pairs([("__name__", "m".to_owned()), ("id", number.to_string())]).unwrap()
}

fn exemplar(at: i64, id: u8) -> Exemplar {
    Exemplar {
        labels: Labels::from_pairs([("trace_id", id.to_string())]).unwrap(),
        value: 1.0,
        timestamp_ms: at,
    }
}

fn batch(written: &Written) -> Arc<MetricBatch> {
    let mut rows = MetricRows::default();
    let series = |number| Arc::new(Series::new(labels(number)));
    for (number, timestamp_ms, value) in written.samples.clone() {
        let series = series(number);
        match value {
            Value::Float(bits) => {
                rows.floats.push(FloatRow { series, timestamp_ms, value: f64::from_bits(bits) })
            }
            Value::Histogram(count) => {
                let histogram = Arc::new(Histogram { count: count.into(), ..Histogram::default() });
                rows.histograms.push(HistogramRow { series, timestamp_ms, histogram });
            }
        }
    }
    for &(number, at, id) in &written.exemplars {
        rows.exemplars.push(ExemplarRow { series: series(number), exemplar: exemplar(at, id) });
    }
    if let Some(help) = written.help {
        let metadata =
            Metadata { metric_type: MetricType::Gauge, help: help.to_string(), unit: String::new() };
        rows.metadata.insert("m".to_owned(), metadata);
    }
    Arc::new(MetricBatch::from_rows(vec![rows]))
}

/// What there is to ask for.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    samples: BTreeMap<(Labels, i64), Value>,
    exemplars: BTreeSet<(Labels, i64, String)>,
    help: Option<String>,
}

fn add_samples(answer: &mut Answer, of: &Labels, samples: &SeriesSamples) {
    for (at, value) in samples.timestamps_ms.iter().zip(&samples.values) {
        answer.samples.insert((of.clone(), *at), Value::Float(value.to_bits()));
    }
    for (at, histogram) in &samples.histograms {
        answer.samples.insert((of.clone(), *at), Value::Histogram(histogram.count as u32));
    }
}

fn add_exemplar(answer: &mut Answer, of: &Labels, exemplar: &Exemplar) {
    let id = exemplar.labels.get("trace_id").unwrap().to_owned();
    answer.exemplars.insert((of.clone(), exemplar.timestamp_ms, id));
}

type Stored = BTreeMap<SegmentKey, Arc<MetricBatch>>;

/// The segments, one after the other in their order.
fn expected(stored: &Stored) -> Answer {
    let mut answer = Answer::default();
    for batch in stored.values() {
        for (index, series) in batch.series.iter().enumerate() {
            let mut samples = SeriesSamples::default();
            provisional::read_batch(batch, index, EVER, &mut samples);
            add_samples(&mut answer, series.labels(), &samples);
            for (_, exemplar) in provisional::exemplars_of(batch, index) {
                add_exemplar(&mut answer, series.labels(), exemplar);
            }
        }
        if let Some(metadata) = batch.metadata.get("m") {
            answer.help = Some(metadata.help.clone());
        }
    }
    answer
}

/// What the tail answers, together with the bucket.
fn answered(tail: &Tail, stored: &Stored, tenant: &TenantId) -> Answer {
    let view = tail.view(tenant, true, EVER.0, EVER.1);
    let cold = view.cold.iter().map(|part| Cold::Batch(Arc::clone(&stored[&part.place.segment])));
    let cold: Vec<Cold> = cold.collect();
    let mut answer = Answer::default();
    let selected = Selected::new(&view, &cold, &[], Having::Samples, EVER);
    for index in 0..selected.len() {
        let mut samples = SeriesSamples::default();
        selected.read(index, &mut samples);
        add_samples(&mut answer, selected.labels(index), &samples);
    }
    let selected = Selected::new(&view, &cold, &[], Having::Exemplars, EVER);
    for index in 0..selected.len() {
        for exemplar in selected.exemplars(index) {
            add_exemplar(&mut answer, selected.labels(index), &exemplar);
        }
    }
    answer.help = tail.metadata(tenant, |all| all.get("m").map(|(_, metadata)| metadata.help.clone()));
    answer
}

fn written() -> impl Strategy<Value = Written> {
    let value = prop_oneof![
        4 => (0..4_u32).prop_map(|value| Value::Float(f64::from(value).to_bits())),
        1 => Just(Value::Float(STALE)),
        1 => (0..3_u32).prop_map(Value::Histogram),
    ];
    // Seconds apart or minutes: within what is kept at hand and beyond it.
    let time_ms = prop_oneof![1_000..3_000_i64, 1_000..100_000_i64];
    let samples = prop::collection::vec((0..3_u8, 0..8_i64, value), 1..6);
    let exemplars = prop::collection::vec((0..3_u8, 0..8_i64, 0..3_u8), 0..3);
    (time_ms, samples, exemplars, prop::option::of(0..3_u8))
        .prop_map(|(time_ms, samples, exemplars, help)| Written { time_ms, samples, exemplars, help })
}

/// How a segment comes to be known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// This process wrote it, and its flush ends right away.
    Own,
    /// This process wrote it, and its flush ends when the next segment has come.
    OwnSlow,
    /// Another process wrote it.
    Foreign,
    /// It was there before the start.
    Before,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_last_segment_wins_whatever_comes_first(
        all in prop::collection::vec(
            (written(), prop_oneof![2 => Just(Way::Own), 1 => Just(Way::OwnSlow), 3 => Just(Way::Foreign), 1 => Just(Way::Before)]),
            1..25,
        ),
        warm_after in 0..25_usize,
        generation_bytes in prop_oneof![Just(usize::MAX), Just(0), 1_000..10_000_usize],
        memory_bytes in prop_oneof![Just(usize::MAX), 0..20_000_usize],
    ) {
        let tail = Tail::new(TailSettings { memory_bytes, generation_bytes });
        let tenant = TenantId::new("acme").unwrap();
        let mut stored = Stored::new();
        let key = |place: usize| SegmentKey::new(ShardId(0), all[place].0.time_ms, place as u64);
        let before: BTreeMap<SegmentKey, usize> =
            (0..all.len()).filter(|place| all[*place].1 == Way::Before).map(|place| (key(place), place)).collect();
        for (segment, place) in &before {
            let batch = batch(&all[*place].0);
            let (min_time_ms, max_time_ms) = batch.time_range_ms().unwrap();
            tail.note_cold(*segment, [(tenant.clone(), PartitionPlace { segment: *segment, min_time_ms, max_time_ms })]);
            stored.insert(*segment, batch);
        }
        let mut warming: Vec<SegmentKey> = before.keys().rev().copied().collect();
        let mut slow = None;
        let compare = |tail: &Tail, stored: &Stored, is_slow: bool| {
            // Metadata of the backlog is known once that is in memory; what stands apart before that while a flush that
            // was begun earlier is under way, is so for milliseconds.
            if !is_slow {
                let (mut answered, mut expected) = (answered(tail, stored, &tenant), expected(stored));
                if tail.stats().cold_partitions > 0 {
                    (answered.help, expected.help) = (None, None);
                }
                prop_assert_eq!(answered, expected);
            }
            Ok(())
        };
        for (place, (written, way)) in all.iter().enumerate() {
            let (segment, batch) = (key(place), batch(written));
            if *way != Way::Before {
                stored.insert(segment, Arc::clone(&batch));
            }
            match way {
                Way::Before => {}
                Way::Foreign => tail.absorb(segment, vec![(tenant.clone(), (*batch).clone())]),
                Way::Own | Way::OwnSlow => {
                    tail.offer(TailOffer { segment, partitions: vec![(tenant.clone(), batch)] });
                    if *way == Way::Own {
                        tail.settle(&segment, FlushOutcome::Durable);
                    }
                }
            }
            if let Some(ended) = slow.take() {
                tail.settle(&ended, FlushOutcome::Durable);
            }
            if *way == Way::OwnSlow {
                slow = Some(segment);
            }
            if place >= warm_after {
                if let Some(segment) = warming.pop() {
                    tail.absorb_backlog(segment, vec![(tenant.clone(), (*stored[&segment]).clone())]);
                }
                if warming.is_empty() {
                    tail.show_backlog();
                }
            }
            compare(&tail, &stored, slow.is_some())?;
        }
        if let Some(ended) = slow {
            tail.settle(&ended, FlushOutcome::Durable);
        }
        while let Some(segment) = warming.pop() {
            tail.absorb_backlog(segment, vec![(tenant.clone(), (*stored[&segment]).clone())]);
        }
        tail.show_backlog();
        compare(&tail, &stored, false)?;
        prop_assert!(tail.folding.lock().doomed.is_empty());
        // Nothing is left of it once compaction has taken it over.
        tail.take_over(&stored.keys().copied().collect());
        prop_assert_eq!(tail.apart_bytes.load(Ordering::Relaxed), 0);
    }
}

/// Two processes write at the same time, now and then the same: data stays in memory.
#[test]
fn conflicts_between_two_writers_are_settled_in_memory() {
    let tail = Tail::default();
    let tenant = TenantId::new("acme").unwrap();
    let mut stored = Stored::new();
    let one = |time_ms, at, value: f64| {
        let samples = vec![(1, at, Value::Float(value.to_bits()))];
        batch(&Written { time_ms, samples, exemplars: Vec::new(), help: None })
    };
    for round in 0..200_i64 {
        let segment = |writer: i64, at_ms| SegmentKey::new(ShardId(0), 1_000 * round + at_ms, writer as u64);
        let own = [segment(0, 0), segment(0, 400), segment(0, 800)];
        let foreign = [segment(1, 100), segment(1, 500)];
        for (key, value) in own.into_iter().zip([1.0, 3.0, 9.0]) {
            let batch = one(key.time_ms(), if value == 9.0 { round * 10 + 5 } else { round * 10 }, value);
            stored.insert(key, Arc::clone(&batch));
            tail.offer(TailOffer { segment: key, partitions: vec![(tenant.clone(), batch)] });
            tail.settle(&key, FlushOutcome::Durable);
        }
        // The first one loses against what came 300 ms after it, the second one wins.
        for (key, value) in foreign.into_iter().zip([2.0, 4.0]) {
            let batch = one(key.time_ms(), round * 10, value);
            stored.insert(key, Arc::clone(&batch));
            tail.absorb(key, vec![(tenant.clone(), (*batch).clone())]);
        }
        // Before there was another writer, nothing was kept at hand.
        assert!(round == 0 || tail.view(&tenant, true, 1_000, i64::MAX).cold.is_empty(), "round {round}");
    }
    assert_eq!(answered(&tail, &stored, &tenant), expected(&stored));
}

#[test]
fn all_exemplars_of_a_series_are_answered() {
    let (tail, tenant) = (Tail::default(), TenantId::new("acme").unwrap());
    let mut stored = Stored::new();
    for number in 0..50 {
        let exemplars = vec![(1, number, 1)];
        let samples = vec![(1, number, Value::Float(0))];
        let batch = batch(&Written { time_ms: 0, samples, exemplars, help: None });
        let segment = SegmentKey::new(ShardId(0), 1_000, number as u64);
        stored.insert(segment, Arc::clone(&batch));
        tail.absorb(segment, vec![(tenant.clone(), (*batch).clone())]);
    }
    let answered = answered(&tail, &stored, &tenant);
    assert_eq!(answered.exemplars.len(), 50);
    assert_eq!(answered, expected(&stored));
}
