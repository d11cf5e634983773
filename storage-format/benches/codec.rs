//! How small and how fast: bytes a sample, and values a second in and out, for 1, 4, 15, 60 and 480 samples a series.
//!
//! Setup: metrics of a Kubernetes cluster (`k8s/mod.rs`), one tenant; fresh segments through `encode_fresh` and
//! `decode_metrics_partition`, and tenant segments of an hour at 15 s through their writer and reader. One thread.
//!
//! `cargo bench -p storage-format`. Sizes are printed first; they are the same on every machine.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use storage_format::tenant::{MetricsIndex, SeriesSamples, TenantFooter, TenantSegmentWriter};
use storage_format::{
    Footer, FreshPartition, Parsed, PartitionEntry, decode_metrics_partition, encode_fresh, inspect,
};
use telemetry::{MetricBatch, TenantId};

#[allow(dead_code, missing_docs, unreachable_pub)]
mod k8s;

/// (series, samples a series)
const FRESH: [(usize, usize); 7] =
    [(20_000, 1), (20_000, 4), (10_000, 15), (4_000, 60), (1_000, 480), (500, 1), (50, 1)];

/// An hour at 15 s; and series that live for six minutes only, as where pods come and go.
const TENANT: [(usize, usize); 2] = [(5_000, 240), (100_000, 24)];

fn batch((series, scrapes): (usize, usize)) -> MetricBatch {
    let mut cluster = k8s::Cluster::new(series.max(200));
    if series < 200 {
        cluster.keep(series);
    }
    cluster.scrape(scrapes)
}

fn fresh(tenant: &TenantId, metrics: &MetricBatch) -> Vec<u8> {
    encode_fresh(&[FreshPartition { tenant, metrics }]).unwrap()
}

fn entry(object: &[u8]) -> PartitionEntry {
    let Ok(Parsed::Done(footer)) = Footer::parse(object, object.len() as u64) else { panic!("no footer") };
    footer.partitions()[0].clone()
}

fn tenant_segment(tenant: &TenantId, batch: &MetricBatch) -> Vec<u8> {
    let mut writer = TenantSegmentWriter::new(tenant.clone()).unwrap();
    let mut object = Vec::new();
    for (index, series) in batch.series.iter().enumerate() {
        let (timestamps_ms, values) = batch.floats_of(index);
        let labels = series.labels();
        let samples =
            SeriesSamples { labels, timestamps_ms, values, histograms: &[], exemplars: &[], omitted: &[] };
        writer.push(samples).unwrap();
        object.append(&mut writer.take_output());
    }
    object.append(&mut writer.finish().unwrap().0);
    object
}

fn read_tenant_segment(object: &[u8]) -> MetricBatch {
    let Ok(Parsed::Done(footer)) = TenantFooter::parse(object, object.len() as u64) else {
        panic!("no footer")
    };
    let bytes = |range: std::ops::Range<u64>| &object[range.start as usize..range.end as usize];
    let index = MetricsIndex::parse(&footer, bytes(footer.index_range())).unwrap();
    let series = (0..index.series_count()).collect();
    let blocks = index.blocks_for(&series, i64::MIN, i64::MAX, false);
    let fetched: Vec<_> =
        blocks.into_iter().map(|block| (block, bytes(block.section.range.clone()))).collect();
    index.read(&series, i64::MIN, i64::MAX, &fetched).unwrap()
}

fn print_sizes(what: &str, batch: &MetricBatch, object: &[u8]) {
    let samples = batch.values.len() as f64;
    let columns = inspect(object).unwrap().partitions.remove(0).columns;
    let data: u64 = columns
        .iter()
        .filter(|(name, _)| matches!(*name, "values" | "timestamps"))
        .map(|(_, bytes)| bytes)
        .sum();
    println!(
        "{what:<24} {:>7.3} B a sample for values and timestamps, {:>7.3} with labels and all, {:>8.1} B a series",
        data as f64 / samples,
        object.len() as f64 / samples,
        object.len() as f64 / batch.series.len() as f64,
    );
}

fn codec(criterion: &mut Criterion) {
    let tenant = TenantId::new("bench").unwrap();
    let mut group = criterion.benchmark_group("fresh");
    for size in FRESH {
        let batch = batch(size);
        let object = fresh(&tenant, &batch);
        let what = format!("{} series x {}", size.0, size.1);
        print_sizes(&what, &batch, &object);
        group.throughput(Throughput::Elements(batch.values.len() as u64));
        group.bench_function(format!("{what} in"), |bencher| {
            bencher.iter(|| fresh(&tenant, black_box(&batch)))
        });
        let entry = entry(&object);
        let bytes = &object[entry.range.start as usize..entry.range.end as usize];
        group.bench_function(format!("{what} out"), |bencher| {
            bencher.iter(|| decode_metrics_partition(&entry, black_box(bytes)).unwrap());
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("tenant");
    for size in TENANT {
        let batch = batch(size);
        let object = tenant_segment(&tenant, &batch);
        let what = format!("{} series x {}", size.0, size.1);
        print_sizes(&what, &batch, &object);
        group.throughput(Throughput::Elements(batch.values.len() as u64));
        group.bench_function(format!("{what} in"), |bencher| {
            bencher.iter(|| tenant_segment(&tenant, black_box(&batch)));
        });
        group.bench_function(format!("{what} out"), |bencher| {
            bencher.iter(|| read_tenant_segment(black_box(&object)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = codec
}
criterion_main!(benches);
