//! What is written and found again: samples, native histograms, the ends of series, exemplars, metadata.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use telemetry::{
    CounterResetHint, Exemplar, ExemplarRow, FloatRow, Histogram, HistogramRow, Labels, METRIC_NAME,
    Metadata, MetricBatch, MetricRows, MetricType, Series, Span, stale_nan,
};

use crate::record::known_tenant;

/// One thing that a client sends.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) tenant: &'static str,
    /// Of the metric, and its only series.
    pub(crate) name: String,
    /// Zero where time means nothing.
    pub(crate) at_ms: i64,
    pub(crate) data: Data,
}

#[derive(Clone, Debug)]
pub(crate) enum Data {
    Float(f64),
    Histogram(Arc<Histogram>),
    Exemplar(Exemplar),
    Metadata(Metadata),
}

/// What a thing is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    pub(crate) tenant: &'static str,
    pub(crate) at_ms: i64,
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A series has one value at a time, be it a float or a histogram.
    Sample,
    /// There may be many at a time: each is known by all its bits.
    Exemplar(u64),
    /// A metric says one thing about itself, wherever it says it.
    Metadata,
}

/// What is found under an id, by its bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Float(u64),
    /// With how many numbers it counts in the ledger.
    Histogram {
        hash: u64,
        numbers: u64,
    },
    Exemplar,
    Metadata(u64),
}

/// What an object holds, in its order.
pub(crate) type Contents = Vec<(Id, Value)>;

impl Item {
    pub(crate) fn id(&self) -> Id {
        let kind = match &self.data {
            Data::Float(_) | Data::Histogram(_) => Kind::Sample,
            Data::Exemplar(exemplar) => Kind::Exemplar(hash_of(&format!("{exemplar:?}"))),
            Data::Metadata(_) => Kind::Metadata,
        };
        Id { tenant: self.tenant, at_ms: self.at_ms, name: self.name.clone(), kind }
    }

    pub(crate) fn value(&self) -> Value {
        match &self.data {
            Data::Float(value) => Value::Float(value.to_bits()),
            Data::Histogram(of) => {
                let numbers = of.positive_buckets.len() + of.negative_buckets.len() + of.custom_values.len();
                // Besides: timestamp, sum, count, zero bucket, its threshold.
                Value::Histogram { hash: hash_of_histogram(of), numbers: 5 + numbers as u64 }
            }
            Data::Exemplar(_) => Value::Exemplar,
            Data::Metadata(metadata) => Value::Metadata(hash_of(&format!("{metadata:?}"))),
        }
    }

    pub(crate) fn random_histogram(rng: &mut ChaCha8Rng) -> Data {
        let histogram = match rng.random_range(0..6) {
            // The end of a series.
            0 => Histogram { sum: stale_nan(), ..Histogram::default() },
            1 => Histogram {
                schema: telemetry::histogram::CUSTOM_BUCKETS_SCHEMA,
                count: 4.0,
                sum: rng.random(),
                positive_spans: vec![Span { offset: 0, length: 3 }],
                positive_buckets: vec![1.0, f64::from(rng.random_range(0..9_u8)), 2.0],
                custom_values: vec![0.5, 1.0 + rng.random::<f64>()],
                ..Histogram::default()
            },
            number => Histogram {
                counter_reset_hint: [CounterResetHint::Unknown, CounterResetHint::Gauge][number % 2],
                schema: rng.random_range(-1..4),
                zero_threshold: 0.001,
                zero_count: f64::from(rng.random_range(0..3_u8)),
                count: f64::from(rng.random_range(3..9_u8)),
                sum: rng.random(),
                positive_spans: vec![Span { offset: -2, length: 1 }, Span { offset: 3, length: 1 }],
                positive_buckets: vec![f64::from(rng.random_range(0..9_u8)), 2.0],
                negative_spans: vec![Span { offset: 1, length: 1 }],
                negative_buckets: vec![rng.random()],
                ..Histogram::default()
            },
        };
        Data::Histogram(Arc::new(histogram))
    }

    pub(crate) fn random_exemplar(at_ms: i64, rng: &mut ChaCha8Rng) -> Data {
        let trace = format!("{:016x}", rng.random::<u64>());
        let labels = Labels::from_pairs([("trace_id", trace)]).unwrap();
        Data::Exemplar(Exemplar { labels, value: rng.random(), timestamp_ms: at_ms })
    }

    pub(crate) fn random_metadata(rng: &mut ChaCha8Rng) -> Data {
        let metric_type = [MetricType::Gauge, MetricType::Counter][rng.random_range(0..2_usize)];
        let help = format!("What {} means.", rng.random::<u32>());
        Data::Metadata(Metadata { metric_type, help, unit: "seconds".to_owned() })
    }
}

fn hash_of(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn hash_of_histogram(of: &Histogram) -> u64 {
    let numbers = [&of.positive_buckets, &of.negative_buckets, &of.custom_values];
    let numbers = numbers.map(|numbers| numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>());
    let head = [of.zero_threshold, of.zero_count, of.count, of.sum].map(f64::to_bits);
    hash_of(&(of.counter_reset_hint, of.schema, head, &of.positive_spans, &of.negative_spans, numbers))
}

/// The rows of a request of one tenant.
pub(crate) fn rows_of(items: &[Item]) -> MetricRows {
    let mut rows = MetricRows::default();
    for item in items {
        let series = || {
            let labels = Labels::from_pairs([(METRIC_NAME, item.name.as_str())]).unwrap();
            Arc::new(Series::new(labels))
        };
        let timestamp_ms = item.at_ms;
        match &item.data {
            Data::Float(value) => {
                rows.floats.push(FloatRow { series: series(), timestamp_ms, value: *value });
            }
            Data::Histogram(of) => {
                let histogram = Arc::clone(of);
                rows.histograms.push(HistogramRow { series: series(), timestamp_ms, histogram });
            }
            Data::Exemplar(exemplar) => {
                rows.exemplars.push(ExemplarRow { series: series(), exemplar: exemplar.clone() });
            }
            Data::Metadata(metadata) => {
                rows.metadata.insert(item.name.clone(), metadata.clone());
            }
        }
    }
    rows
}

/// What is in a batch of `tenant`.
pub(crate) fn contents_of(tenant: &str, batch: &MetricBatch) -> Contents {
    let tenant = known_tenant(tenant);
    let names: Vec<String> = batch
        .series
        .iter()
        .map(|series| series.labels().metric_name().expect("each has one").to_owned())
        .collect();
    let floats = names.iter().enumerate().flat_map(|(index, name)| {
        let (times, values) = batch.floats_of(index);
        times.iter().zip(values).map(move |(at_ms, value)| (name, *at_ms, Data::Float(*value)))
    });
    let histograms = batch.histograms.iter();
    let histograms = histograms
        .map(|(index, at_ms, of)| (&names[*index as usize], *at_ms, Data::Histogram(Arc::clone(of))));
    let exemplars = batch.exemplars.iter();
    let exemplars =
        exemplars.map(|(index, of)| (&names[*index as usize], of.timestamp_ms, Data::Exemplar(of.clone())));
    let metadata = batch.metadata.iter().map(|(name, of)| (name, 0, Data::Metadata(of.clone())));
    let items = floats.chain(histograms).chain(exemplars).chain(metadata);
    items
        .map(|(name, at_ms, data)| Item { tenant, name: name.clone(), at_ms, data })
        .map(|item| (item.id(), item.value()))
        .collect()
}
