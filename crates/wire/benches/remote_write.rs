//! What does a series of a remote-write request cost before it is stored?
//!
//! Setup: one request as Prometheus sends it, 3,000 series of 10 labels with one sample each, the same from request to
//! request but for values and timestamps. Criterion's throughput is in series: divide to get time a series.
//!
//! `cargo bench -p wire`
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;
use wire::remote_write::{Item, Request, Version};
use wire::{Decompressor, Encoding, Limits};
use xxhash_rust::xxh3::xxh3_64;

#[path = "../tests/messages/mod.rs"]
mod messages;
use messages::{v1, v2};

const SERIES: usize = 3000;

/// Labels as a Kubernetes scrape of a web service has them.
fn labels_of(index: usize) -> Vec<(String, String)> {
    let names = ["http_requests_total", "http_request_duration_seconds_bucket", "go_memstats_alloc_bytes"];
    let pod = index / 100;
    let pairs = [
        ("__name__", names[index / 10 % 3].to_owned()),
        ("cluster", "prod-eu-west-1".to_owned()),
        ("code", ["200", "204", "404", "500"][index % 4].to_owned()),
        ("handler", format!("/api/v1/resource/{}", index % 50)),
        ("instance", format!("10.24.{}.{}:9090", pod / 256, pod % 256)),
        ("job", "kubernetes-pods".to_owned()),
        (
            "le",
            ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"][index % 10]
                .to_owned(),
        ),
        ("method", ["GET", "POST", "PUT"][index % 3].to_owned()),
        ("namespace", "checkout-service".to_owned()),
        ("pod", format!("checkout-service-6f7d9c5b8-{:05x}", pod * 7919)),
    ];
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn sample_of(index: usize) -> v1::Sample {
    v1::Sample {
        value: (index * 37 % 100_000) as f64 * 1.25,
        timestamp: 1_790_000_000_000 + index as i64 % 7,
    }
}

fn request_v1() -> Vec<u8> {
    let series = |index| v1::TimeSeries {
        labels: labels_of(index)
            .into_iter()
            .map(|(name, value)| v1::Label { name: name.into_bytes(), value: value.into_bytes() })
            .collect(),
        samples: vec![sample_of(index)],
        ..Default::default()
    };
    v1::WriteRequest { timeseries: (0..SERIES).map(series).collect(), metadata: vec![] }.encode_to_vec()
}

fn request_v2() -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut reference = |text: String| {
        let known = symbols.iter().position(|symbol| *symbol == text);
        known.unwrap_or_else(|| {
            symbols.push(text);
            symbols.len() - 1
        }) as u32
    };
    let timeseries = (0..SERIES)
        .map(|index| v2::TimeSeries {
            labels_refs: labels_of(index)
                .into_iter()
                .flat_map(|(name, value)| [reference(name), reference(value)])
                .collect(),
            samples: vec![sample_of(index)],
            ..Default::default()
        })
        .collect();
    v2::Request { symbols, timeseries }.encode_to_vec()
}

/// Hashes every key and adds up samples: what a series that is known costs.
fn hash_keys(version: Version, body: &[u8]) -> u64 {
    let mut request = Request::new(version, body, &Limits::DEFAULT).unwrap();
    let mut sum = 0_u64;
    while let Some(item) = request.next_item().unwrap() {
        if let Item::Series(series) = item {
            sum ^= xxh3_64(series.key().as_bytes());
            for sample in series.samples() {
                sum = sum.wrapping_add(sample.value.to_bits() ^ sample.timestamp_ms as u64);
            }
        }
    }
    sum
}

/// Decodes the labels of every series: what a series that is new costs.
fn decode_labels(version: Version, body: &[u8]) -> usize {
    let mut request = Request::new(version, body, &Limits::DEFAULT).unwrap();
    let mut bytes = 0;
    while let Some(item) = request.next_item().unwrap() {
        if let Item::Series(series) = item {
            bytes += series.key().to_labels(&Limits::DEFAULT).unwrap().memory_bytes();
        }
    }
    bytes
}

fn bench(criterion: &mut Criterion) {
    for (name, version, body) in [("1.0", Version::V1, request_v1()), ("2.0", Version::V2, request_v2())] {
        let compressed = snap::raw::Encoder::new().compress_vec(&body).unwrap();
        println!(
            "remote write {name}: {} bytes a series, {} compressed",
            body.len() / SERIES,
            compressed.len() / SERIES
        );
        let mut group = criterion.benchmark_group(format!("remote write {name}"));
        group.throughput(Throughput::Elements(SERIES as u64));
        let mut decompressor = Decompressor::default();
        group.bench_function("decompress", |bencher| {
            bencher.iter(|| {
                let body = decompressor.decompress(Encoding::Snappy, &compressed, &Limits::DEFAULT);
                black_box(body.unwrap().len())
            });
        });
        group.bench_function("hash keys", |bencher| bencher.iter(|| hash_keys(version, black_box(&body))));
        group.bench_function("decode labels", |bencher| {
            bencher.iter(|| decode_labels(version, black_box(&body)));
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_millis(1200));
    targets = bench
}
criterion_main!(benches);
