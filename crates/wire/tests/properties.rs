//! Properties: what an independent encoder writes is what we read, JSON means what protobuf means, and nothing breaks us.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod fuzzing;
mod messages;
mod rows;
mod strategies;

use messages::{v1, v2};
use proptest::prelude::*;
use prost::Message;
use rows::Rows;
use telemetry::Labels;
use wire::Limits;
use wire::otlp::{Format, MetricOptions};
use wire::remote_write::{Item, Request, Version};

/// A series as a test sees it: labels, samples as (time, bits), exemplars as (labels, time, bits).
type Series = (Labels, Vec<(i64, u64)>, Vec<(Labels, i64, u64)>);

fn read(version: Version, body: &[u8]) -> Vec<Series> {
    let mut request = Request::new(version, body, &Limits::DEFAULT).unwrap();
    let mut read = Vec::new();
    while let Some(item) = request.next_item().unwrap() {
        let Item::Series(series) = item else { panic!("{item:?}") };
        let labels = series.key().to_labels(&Limits::DEFAULT).unwrap();
        let samples = series.samples().iter().map(|s| (s.timestamp_ms, s.value.to_bits())).collect();
        let exemplars = series.exemplars().map(|exemplar| {
            let exemplar = exemplar.unwrap();
            (exemplar.labels, exemplar.timestamp_ms, exemplar.value.to_bits())
        });
        read.push((labels, samples, exemplars.collect()));
    }
    read
}

fn to_v1(series: &[Series]) -> Vec<u8> {
    let labels = |labels: &Labels| {
        labels
            .iter()
            .map(|(name, value)| v1::Label {
                name: name.as_bytes().to_vec(),
                value: value.as_bytes().to_vec(),
            })
            .collect()
    };
    let timeseries = series.iter().map(|(own, samples, exemplars)| v1::TimeSeries {
        labels: labels(own),
        samples: samples
            .iter()
            .map(|&(timestamp, bits)| v1::Sample { timestamp, value: f64::from_bits(bits) })
            .collect(),
        exemplars: exemplars
            .iter()
            .map(|(own, timestamp, bits)| v1::Exemplar {
                labels: labels(own),
                timestamp: *timestamp,
                value: f64::from_bits(*bits),
            })
            .collect(),
        histograms: vec![],
    });
    v1::WriteRequest { timeseries: timeseries.collect(), metadata: vec![] }.encode_to_vec()
}

fn to_v2(series: &[Series]) -> Vec<u8> {
    let mut symbols = vec![String::new()];
    let mut references = |labels: &Labels| -> Vec<u32> {
        let mut references = Vec::new();
        for text in labels.iter().flat_map(|(name, value)| [name, value]) {
            let known = symbols.iter().position(|symbol| symbol == text);
            references.push(known.unwrap_or_else(|| {
                symbols.push(text.to_owned());
                symbols.len() - 1
            }) as u32);
        }
        references
    };
    let timeseries = series
        .iter()
        .map(|(own, samples, exemplars)| v2::TimeSeries {
            labels_refs: references(own),
            samples: samples
                .iter()
                .map(|&(timestamp, bits)| v1::Sample { timestamp, value: f64::from_bits(bits) })
                .collect(),
            exemplars: exemplars
                .iter()
                .map(|(own, timestamp, bits)| v2::Exemplar {
                    labels_refs: references(own),
                    timestamp: *timestamp,
                    value: f64::from_bits(*bits),
                })
                .collect(),
            ..Default::default()
        })
        .collect();
    v2::Request { symbols, timeseries }.encode_to_vec()
}

/// Bits of any double but -0.0, which `prost` takes for a value that need not be sent.
fn bits() -> impl Strategy<Value = u64> {
    any::<u64>().prop_map(|bits| if bits == (-0.0_f64).to_bits() { 0 } else { bits })
}

fn labels(pairs: std::ops::Range<usize>) -> impl Strategy<Value = Labels> {
    proptest::collection::btree_map("[a-zü]{1,4}", ".{1,6}", pairs)
        .prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

fn series() -> impl Strategy<Value = Series> {
    let samples = proptest::collection::vec((any::<i64>(), bits()), 0..4);
    let exemplars = proptest::collection::vec((labels(0..3), any::<i64>(), bits()), 0..3);
    let named = ("[a-z:.]{1,8}", labels(0..8)).prop_map(|(name, labels)| {
        let name = [("__name__", name.as_str())];
        Labels::from_pairs(labels.iter().chain(name)).unwrap()
    });
    (named, samples, exemplars)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn remote_write_of_either_version_reads_what_was_written(series in proptest::collection::vec(series(), 0..6)) {
        prop_assert_eq!(&read(Version::V1, &to_v1(&series)), &series);
        prop_assert_eq!(&read(Version::V2, &to_v2(&series)), &series);
    }

    #[test]
    fn spoilt_remote_write_breaks_nothing(
        series in proptest::collection::vec(series(), 0..4),
        spoil in strategies::spoil(),
    ) {
        fuzzing::remote_write(Version::V1, &spoil.apply(to_v1(&series)));
        fuzzing::remote_write(Version::V2, &spoil.apply(to_v2(&series)));
    }

    #[test]
    fn otlp_json_means_what_otlp_protobuf_means(request in strategies::otlp_request(), nhcb: bool) {
        let options = MetricOptions { custom_bucket_histograms: nhcb, ..MetricOptions::default() };
        let json = serde_json::to_vec(&request).unwrap();
        let from_json = Rows::read(Format::Json, &json, &options, &Limits::DEFAULT).unwrap();
        let from_protobuf =
            Rows::read(Format::Protobuf, &request.encode_to_vec(), &options, &Limits::DEFAULT).unwrap();
        prop_assert_eq!(from_json, from_protobuf);
    }

    #[test]
    fn spoilt_otlp_breaks_nothing(request in strategies::otlp_request(), spoil in strategies::spoil()) {
        fuzzing::otlp(Format::Protobuf, &spoil.apply(request.encode_to_vec()));
        fuzzing::otlp(Format::Json, &spoil.apply(serde_json::to_vec(&request).unwrap()));
    }

    #[test]
    fn arbitrary_bytes_break_nothing(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        fuzzing::remote_write(Version::V1, &body);
        fuzzing::remote_write(Version::V2, &body);
        fuzzing::otlp(Format::Protobuf, &body);
        fuzzing::otlp(Format::Json, &body);
        fuzzing::decompress(&body);
    }
}
