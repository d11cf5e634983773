//! How much CPU does a sample cost from a compressed body to rows that are ready to be committed?
//!
//! Setup: remote write 1.0, one sample of each of 3,000 series a request, 50,000 series, labels as a Kubernetes exporter has
//! them (some 200 bytes). The commit is left out. Time is per request; divide by 3,000 for a sample, or read the
//! throughput, which counts samples.
//!
//! `known` is the steady state, `new` is the first request of a process: every series is decoded and registered.
//!
//! Run: `cargo bench -p ingest-service --bench intake`

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on fails")]
#![allow(missing_docs, reason = "criterion's macros make items without any")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ingest_service::testing::RowMaker;
use prost::Message;
use wire::remote_write::Version;
use wire::{Decompressor, Encoding};

const SERIES: usize = 50_000;
const SERIES_PER_REQUEST: usize = 3_000;
const NOW_MS: i64 = 1_790_000_000_000;

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

fn series(number: usize) -> TimeSeries {
    let (pod, metric) = (number / 500, number % 500);
    let labels = [
        ("__name__", format!("container_network_metric_{metric}_total")),
        ("cluster", "production-eu-1".to_owned()),
        ("container", format!("app-{}", pod % 20)),
        ("instance", format!("10.12.{}.{}:9100", pod / 250, pod % 250)),
        ("job", "kubernetes-pods".to_owned()),
        ("namespace", format!("team-{}", pod % 7)),
        ("node", format!("ip-10-12-{}.internal", pod % 40)),
        ("pod", format!("app-{}-5d8f7c9b4-{pod:05x}", pod % 20)),
    ];
    TimeSeries {
        labels: labels.map(|(name, value)| Label { name: name.to_owned(), value }).to_vec(),
        samples: vec![Sample { value: (number * 17) as f64, timestamp: NOW_MS }],
    }
}

fn bodies() -> Vec<Vec<u8>> {
    let all: Vec<TimeSeries> = (0..SERIES).map(series).collect();
    all.chunks_exact(SERIES_PER_REQUEST)
        .map(|chunk| {
            let message = WriteRequest { timeseries: chunk.to_vec() }.encode_to_vec();
            snap::raw::Encoder::new().compress_vec(&message).unwrap()
        })
        .collect()
}

fn intake(criterion: &mut Criterion) {
    let bodies = bodies();
    let mut group = criterion.benchmark_group("remote_write_3000_of_50000");
    group.throughput(Throughput::Elements(SERIES_PER_REQUEST as u64));

    let mut decompressor = Decompressor::default();
    let known = RowMaker::new(NOW_MS);
    for body in &bodies {
        assert_eq!(
            known.rows(&mut decompressor, Version::V1, Encoding::Snappy, body).floats.len(),
            SERIES_PER_REQUEST
        );
    }
    known.rank();
    let mut requests = bodies.iter().cycle();
    group.bench_function("known", |bencher| {
        bencher.iter(|| {
            if let Some(body) = requests.next() {
                black_box(known.rows(&mut decompressor, Version::V1, Encoding::Snappy, body));
            }
        });
    });
    group.bench_function("new", |bencher| {
        bencher.iter_batched(
            || RowMaker::new(NOW_MS),
            |empty| {
                black_box(empty.rows(&mut decompressor, Version::V1, Encoding::Snappy, &bodies[0]));
                empty
            },
            criterion::BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, intake);
criterion_main!(benches);
