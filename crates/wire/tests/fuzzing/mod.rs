//! What must hold for any bytes at all. Fuzz targets (`fuzz/`), the replay of their corpus and property tests share it.
//!
//! Each function panics when an invariant is broken, and otherwise tells nothing.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::panic)]

use telemetry::{Exemplar, Histogram, Labels};
use wire::otlp::{Format, MetricOptions, MetricVisitor, PointTime, Promotion, read_metrics};
use wire::remote_write::{Item, Request, Version};
use wire::{Decompressor, Encoding, Limits, MetadataRef, RequestError, SeriesKey};

/// Small, so that short inputs reach them.
const LIMITS: Limits = Limits {
    max_compressed_bytes: 4096,
    max_decompressed_bytes: 16_384,
    max_series: 20,
    max_metadata: 10,
    max_samples: 50,
    max_labels: 6,
    max_label_name_bytes: 20,
    max_label_value_bytes: 40,
    max_exemplar_label_chars: 64,
    max_histogram_buckets: 12,
    max_symbols: 30,
    max_resolved_bytes: 2000,
    max_help_bytes: 16,
};

fn check_labels(labels: &Labels) {
    assert!(labels.metric_name().is_some_and(|name| !name.is_empty()));
    assert_eq!(Labels::from_canonical(labels.as_canonical()).as_ref(), Ok(labels));
    assert!(labels.len() <= LIMITS.max_labels);
    for (name, value) in labels {
        assert!((1..=LIMITS.max_label_name_bytes).contains(&name.len()));
        assert!((1..=LIMITS.max_label_value_bytes).contains(&value.len()));
    }
}

fn check_histogram(histogram: &Histogram) {
    histogram.validate().unwrap();
    // Filling small gaps between buckets at most triples them.
    assert!(
        histogram.positive_buckets.len() + histogram.negative_buckets.len()
            <= 6 * LIMITS.max_histogram_buckets
    );
}

fn check_metadata(metadata: MetadataRef<'_>) {
    assert!((1..=LIMITS.max_label_value_bytes).contains(&metadata.family.len()));
    assert!(metadata.help.len() <= LIMITS.max_help_bytes);
}

/// An error text must stay short, whatever it quotes.
fn check_message(error: &dyn std::fmt::Display) {
    let text = error.to_string();
    assert!((1..3000).contains(&text.len()), "{} bytes", text.len());
}

pub fn remote_write(version: Version, body: &[u8]) {
    if let Err(error) = read_remote_write(version, body) {
        check_message(&error);
    }
}

fn read_remote_write(version: Version, body: &[u8]) -> Result<(), RequestError> {
    let mut request = Request::new(version, body, &LIMITS)?;
    let (mut series_count, mut families, mut samples, mut key_bytes) = (0, 0, 0, 0);
    while let Some(item) = request.next_item()? {
        match item {
            Item::Metadata(metadata) => {
                families += 1;
                check_metadata(metadata);
            }
            Item::Rejected { error, .. } => {
                series_count += 1;
                check_message(&error);
            }
            Item::Series(series) => {
                series_count += 1;
                samples += series.samples().len() + series.histogram_count() + series.exemplar_count();
                key_bytes += series.key().as_bytes().len();
                match series.key().to_labels(&LIMITS) {
                    Ok(labels) => check_labels(&labels),
                    Err(error) => check_message(&error),
                }
                for histogram in series.histograms() {
                    match histogram {
                        Ok((_, histogram)) => check_histogram(&histogram),
                        Err(error) => check_message(&error),
                    }
                }
                for exemplar in series.exemplars() {
                    match exemplar {
                        Ok(exemplar) => check_exemplar(&exemplar),
                        Err(error) => check_message(&error),
                    }
                }
            }
        }
    }
    assert!(series_count <= LIMITS.max_series && samples <= LIMITS.max_samples);
    assert!(families <= LIMITS.max_metadata);
    match version {
        Version::V1 => assert!(key_bytes <= body.len()),
        // Lengths and tags come on top of what references resolve to.
        Version::V2 => assert!(key_bytes <= LIMITS.max_resolved_bytes + 10 * body.len()),
    }
    Ok(())
}

fn check_exemplar(exemplar: &Exemplar) {
    let chars: usize =
        exemplar.labels.iter().map(|(name, value)| name.chars().count() + value.chars().count()).sum();
    assert!(chars <= LIMITS.max_exemplar_label_chars);
}

#[derive(Default)]
struct Checks {
    samples: usize,
}

impl Checks {
    fn series(&mut self, series: SeriesKey<'_>) -> Result<(), String> {
        self.samples += 1;
        match series.to_labels(&LIMITS) {
            Ok(labels) => {
                check_labels(&labels);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl MetricVisitor for Checks {
    type Refusal = String;

    fn float(&mut self, series: SeriesKey<'_>, _: PointTime, _: f64) -> Result<(), String> {
        self.series(series)
    }

    fn histogram(&mut self, series: SeriesKey<'_>, _: PointTime, histogram: Histogram) -> Result<(), String> {
        check_histogram(&histogram);
        self.series(series)
    }

    fn exemplar(&mut self, _: SeriesKey<'_>, exemplar: Exemplar) {
        check_exemplar(&exemplar);
    }

    fn metadata(&mut self, metadata: MetadataRef<'_>) {
        check_metadata(metadata);
    }
}

pub fn otlp(format: Format, body: &[u8]) {
    for custom_bucket_histograms in [false, true] {
        let options = MetricOptions {
            promotion: Promotion::AllExcept(["a".to_owned()].into()),
            scope_labels: true,
            custom_bucket_histograms,
            ..MetricOptions::default()
        };
        let mut checks = Checks::default();
        match read_metrics(format, body, &options, &LIMITS, &mut checks) {
            Ok(outcome) => {
                assert!(outcome.rejected <= LIMITS.max_series as u64);
                assert!(outcome.rejected == 0 || !outcome.error_message.is_empty());
                assert!(outcome.error_message.len() < 3000);
            }
            Err(error) => check_message(&error),
        }
        assert!(checks.samples <= LIMITS.max_samples);
    }
}

pub fn decompress(body: &[u8]) {
    let mut decompressor = Decompressor::default();
    for encoding in [Encoding::Identity, Encoding::Snappy, Encoding::Gzip, Encoding::Zstd] {
        match decompressor.decompress(encoding, body, &LIMITS) {
            Ok(decompressed) => assert!(decompressed.len() <= LIMITS.max_decompressed_bytes),
            Err(error) => check_message(&error),
        }
    }
}
