//! Merging: fresh partitions of one sample a series into one, as the first stage of compaction does it.
//!
//! Setup: metrics of a Kubernetes cluster (`k8s/mod.rs`), scraped every 15 s; each input holds the samples of a part of the targets,
//! as one flush does; decode, merge and encode are measured together, on one thread.
//!
//! `cargo bench -p storage-format --bench merge`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a benchmark stops at the first surprise"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use storage_format::{
    Footer, FreshPartition, FreshSegmentWriter, Parsed, PartitionEntry, PartitionMerger, encode_fresh,
};
use telemetry::{MetricBatch, TenantId};

#[allow(dead_code, missing_docs, unreachable_pub)]
mod k8s;

/// (what, series, parts of a scrape, inputs)
const CASES: [(&str, usize, usize, usize); 4] = [
    ("50,000 series, a quarter in each of 64", 50_000, 4, 64),
    ("50,000 series, a quarter in each of 320", 50_000, 4, 320),
    ("3,500 series, all in each of 240", 3_500, 1, 240),
    ("200,000 series, a sixteenth in each of 16", 200_000, 16, 16),
];

/// The series of some targets, by their places in `batch`.
fn part_of(batch: &MetricBatch, places: &[usize]) -> MetricBatch {
    let mut cut = MetricBatch::default();
    for &index in places {
        let (timestamps_ms, values) = batch.floats_of(index);
        cut.series.push(batch.series[index].clone());
        cut.timestamps_ms.extend_from_slice(timestamps_ms);
        cut.values.extend_from_slice(values);
        cut.float_ends.push(cut.values.len() as u32);
    }
    cut
}

fn inputs(series: usize, parts: usize, count: usize) -> Vec<(PartitionEntry, Vec<u8>)> {
    let tenant = TenantId::new("bench").unwrap();
    let mut cluster = k8s::Cluster::new(series);
    let mut scrape = cluster.scrape(1);
    // A target's series go together, as one request brings them.
    let mut places = vec![Vec::new(); parts];
    for (index, series) in scrape.series.iter().enumerate() {
        let pod = series.labels().get("pod").unwrap_or_default();
        let target = pod.bytes().fold(0_usize, |hash, byte| hash * 31 % 1_000_003 + usize::from(byte));
        places[target % parts].push(index);
    }
    (0..count)
        .map(|input| {
            if input % parts == 0 {
                scrape = cluster.scrape(1);
            }
            let metrics = part_of(&scrape, &places[input % parts]);
            let object = encode_fresh(&[FreshPartition { tenant: &tenant, metrics: &metrics }]).unwrap();
            let Ok(Parsed::Done(footer)) = Footer::parse(&object, object.len() as u64) else { panic!() };
            let entry = footer.partitions()[0].clone();
            let range = entry.range.start as usize..entry.range.end as usize;
            (entry, object[range].to_vec())
        })
        .collect()
}

fn merge(inputs: &[(PartitionEntry, Vec<u8>)]) -> Vec<u8> {
    let samples = inputs.iter().map(|(entry, _)| entry.counts.samples).sum();
    let mut merger = PartitionMerger::with_capacity(samples);
    for (entry, bytes) in inputs {
        merger.push(entry, bytes).unwrap();
    }
    let mut writer = FreshSegmentWriter::new().unwrap();
    writer.push(&inputs[0].0.tenant, &merger.finish().unwrap().0).unwrap();
    writer.finish()
}

fn merging(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    for (what, series, parts, count) in CASES {
        group.throughput(Throughput::Elements((series * count / parts) as u64));
        let mut made = None;
        group.bench_function(what, |bencher| {
            // Made only for what was asked for, and once.
            let inputs = made.get_or_insert_with(|| {
                let inputs = inputs(series, parts, count);
                let samples: u64 = inputs.iter().map(|(entry, _)| entry.counts.samples).sum();
                let bytes: usize = inputs.iter().map(|(_, bytes)| bytes.len()).sum();
                println!(
                    "{samples} samples, {:.2} B a sample before, {:.2} after",
                    bytes as f64 / samples as f64,
                    merge(&inputs).len() as f64 / samples as f64
                );
                inputs
            });
            bencher.iter(|| merge(black_box(inputs)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    targets = merging
}
criterion_main!(benches);
