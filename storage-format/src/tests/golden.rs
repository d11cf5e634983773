//! Segments that were written once are read for ever, and version 1 stays what it is.
//!
//! `testdata/` has a sample of each kind for each version, never deleted. When a writer learns to write better within
//! version 1, add a sample (`v1-fresh-2.segment`, …) and keep the old ones; when a reader of today could not read it,
//! it is a new version.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use telemetry::{
    CounterResetHint, Exemplar, Histogram, Labels, Metadata, MetricType, STALE_NAN_BITS, Series, Span,
};

use super::*;

/// What is in every sample of version 1: all kinds of samples, and columns long enough for each codec.
pub(super) fn sample() -> MetricBatch {
    let mut batch = MetricBatch::default();
    let mut sets: Vec<(Labels, usize)> = Vec::new();
    for (number, metric) in
        ["cpu_seconds_total", "memory_bytes", "queue_depth", "ratio", "temperature", "up"].iter().enumerate()
    {
        for pod in 0..70 {
            let pod = format!("pod-{:02}", pod % 70);
            let pairs = [("__name__", *metric), ("job", "api"), ("pod", pod.as_str())];
            sets.push((Labels::from_pairs(pairs).unwrap(), number));
        }
    }
    sets.push((Labels::from_pairs([("__name__", "duration_seconds"), ("\u{fc}", "1")]).unwrap(), 9));
    sets.sort_by(|a, b| a.0.cmp(&b.0));
    for (index, (labels, kind)) in sets.into_iter().enumerate() {
        let mut state = index as u64 * 0x9e37_79b9 + 1;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64
        };
        let base = random();
        // The last pods were found later than the others, and one ends.
        let scrapes = if index % 70 >= 60 { 2..4_i64 } else { 0..4_i64 };
        for scrape in scrapes {
            let value = match kind {
                0 => (base + scrape as f64 * 7.0) / 100.0,
                1 => (base / 64.0).trunc() * 4096.0,
                2 => (random() / 100_000.0).trunc(),
                3 => random() / 3.0,
                4 if index % 7 == 0 => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0][scrape as usize],
                4 => (random() / 100.0).trunc() / 1000.0 - 20.0,
                5 if index % 70 == 9 && scrape == 3 => f64::from_bits(STALE_NAN_BITS),
                5 => 1.0,
                _ => break,
            };
            batch.timestamps_ms.push(1_790_000_000_000 + scrape * 15_000 + (index as i64 % 3) * 7);
            batch.values.push(value);
        }
        if kind == 9 {
            batch.histograms.extend(histograms(index as u32));
            let labels = Labels::from_pairs([("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736")]).unwrap();
            batch
                .exemplars
                .push((index as u32, Exemplar { labels, value: 0.25, timestamp_ms: 1_790_000_000_123 }));
        }
        batch.series.push(Arc::new(Series::new(labels)));
        batch.float_ends.push(batch.values.len() as u32);
    }
    batch.metadata = BTreeMap::from([(
        "up".to_owned(),
        Metadata {
            metric_type: MetricType::Gauge,
            help: "Whether it is up.".to_owned(),
            unit: String::new(),
        },
    )]);
    batch
}

fn histograms(series: u32) -> Vec<(u32, i64, Arc<Histogram>)> {
    let mut histogram = Histogram {
        counter_reset_hint: CounterResetHint::NotCounterReset,
        schema: 3,
        zero_threshold: 2.938_735_877_055_719e-39,
        zero_count: 2.0,
        count: 12.0,
        sum: 18.4,
        positive_spans: vec![Span { offset: -2, length: 2 }, Span { offset: 3, length: 1 }],
        positive_buckets: vec![1.0, 2.0, 3.0],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative_buckets: vec![4.0],
        custom_values: Vec::new(),
    };
    let mut rows = Vec::new();
    for scrape in 0..3 {
        rows.push((series, 1_790_000_000_000 + scrape * 15_000, Arc::new(histogram.clone())));
        histogram.count += 1.0;
        histogram.positive_buckets[2] += 1.0;
        histogram.sum += 0.1;
    }
    histogram.positive_buckets[0] = 0.5;
    rows.push((series, 1_790_000_045_000, Arc::new(histogram)));
    rows
}

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name)
}

fn check(name: &str, now: &[u8]) {
    let path = testdata(name);
    if std::fs::read(&path).ok().as_deref() != Some(now) {
        let new = path.with_extension("segment.new");
        std::fs::write(&new, now).unwrap();
        panic!(
            "today's writer does not write {name}; what it writes is in {}; see the top of this file",
            new.display()
        );
    }
}

#[test]
fn todays_writers_write_what_the_latest_samples_are() {
    check("v1-fresh.segment", &fresh_of(&sample()));
    check("v1-tenant.segment", &tenant_segment_of(&sample()));
}

#[test]
fn every_sample_is_read() {
    let mut seen = 0;
    for file in std::fs::read_dir(testdata("")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "segment") {
            continue;
        }
        let object = std::fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let description = crate::inspect(&object).unwrap();
        assert!(name.starts_with(&format!("v{}-", description.version)), "{name}");
        let read = match description.kind {
            crate::SegmentKind::Fresh => read_fresh(&object).unwrap().remove(0).1,
            crate::SegmentKind::Tenant => read_tenant_segment(&object, i64::MIN, i64::MAX).unwrap(),
        };
        assert_same(&read, &sample());
        seen += 1;
    }
    assert!(seen >= 2, "the samples are gone");
}
