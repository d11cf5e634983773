use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost::Message;

use super::payloads::{Batches, Payloads, Shape};
use super::*;
use crate::proto::WriteRequest;

fn settings(series: usize) -> Settings {
    Settings {
        series,
        interval: Duration::from_secs(15),
        jitter: Duration::from_millis(20),
        churn_per_hour: 0.0,
        seed: 7,
        cluster: "test".to_owned(),
        start_ms: 1_700_000_000_000,
    }
}

fn shape(samples: usize) -> Shape {
    Shape { samples, samples_per_request: 500, connections: 3 }
}

fn bodies(settings: Settings, shape: Shape) -> Vec<Vec<u8>> {
    let payloads = Payloads::encode(settings, shape).unwrap();
    payloads.by_connection.into_iter().flatten().map(|payload| payload.body.to_vec()).collect()
}

/// Samples by series over `rounds` rounds.
fn by_series(settings: Settings, rounds: usize) -> (Workload, HashMap<u32, Vec<Point>>) {
    let mut workload = Workload::new(settings);
    let mut points = Vec::new();
    for _ in 0..rounds * workload.targets.len() {
        workload.scrape(&mut points);
    }
    let mut by_series: HashMap<u32, Vec<Point>> = HashMap::new();
    for point in points {
        by_series.entry(point.series).or_default().push(point);
    }
    (workload, by_series)
}

fn label_map(workload: &Workload, series: u32) -> BTreeMap<String, String> {
    workload.labels(series).unwrap().decode().into_iter().map(|label| (label.name, label.value)).collect()
}

#[test]
fn the_same_seed_makes_the_same_bytes_and_another_does_not() {
    let churning = Settings { churn_per_hour: 50.0, ..settings(2_000) };
    let first = bodies(churning.clone(), shape(10_000));
    assert_eq!(first, bodies(churning.clone(), shape(10_000)));
    assert_ne!(first, bodies(Settings { seed: 8, ..churning }, shape(10_000)));
}

#[test]
fn payloads_hold_exactly_the_samples_asked_for_in_order_within_each_series() {
    let payloads = Payloads::encode(settings(700), shape(5_000)).unwrap();
    assert_eq!(payloads.samples, 5_000);
    assert_eq!(payloads.by_connection.len(), 3);
    let mut samples = 0;
    let mut connection_of: HashMap<Vec<crate::proto::Label>, usize> = HashMap::new();
    for (connection, requests) in payloads.by_connection.iter().enumerate() {
        let mut last: HashMap<Vec<crate::proto::Label>, i64> = HashMap::new();
        for request in requests {
            let message = snap::raw::Decoder::new().decompress_vec(&request.body).unwrap();
            let decoded = WriteRequest::decode(&*message).unwrap();
            assert_eq!(decoded.timeseries.len(), request.samples as usize);
            assert!(request.samples <= 500);
            for series in decoded.timeseries {
                let timestamp = series.samples[0].timestamp;
                samples += 1;
                assert_eq!(*connection_of.entry(series.labels.clone()).or_insert(connection), connection);
                let before = last.insert(series.labels, timestamp);
                assert!(before.is_none_or(|before| before < timestamp));
            }
        }
    }
    assert_eq!(samples, 5_000);
}

#[test]
fn walking_the_batches_again_gives_what_was_encoded() {
    let payloads = Payloads::encode(settings(700), shape(5_000)).unwrap();
    let mut counts = vec![Vec::new(); 3];
    for (connection, points) in Batches::new(settings(700), shape(5_000)) {
        counts[connection].push(points.len() as u32);
    }
    let encoded: Vec<Vec<u32>> = payloads
        .by_connection
        .iter()
        .map(|requests| requests.iter().map(|request| request.samples).collect())
        .collect();
    assert_eq!(counts, encoded);
}

#[test]
fn there_are_exactly_as_many_series_as_asked_for_and_all_differ() {
    for series in [1, 20, 999, 12_345] {
        let workload = Workload::new(settings(series));
        assert_eq!(workload.series_ever(), series);
        let distinct: BTreeSet<_> = (0..series as u32).map(|index| label_map(&workload, index)).collect();
        assert_eq!(distinct.len(), series);
    }
}

#[test]
fn a_cluster_looks_like_one() {
    let (workload, samples) = by_series(settings(20_000), 12);
    let labels: Vec<_> = (0..20_000).map(|series| label_map(&workload, series)).collect();

    let names: BTreeSet<_> = labels.iter().map(|labels| labels["__name__"].clone()).collect();
    assert!((250..1000).contains(&names.len()), "{} metric names", names.len());

    let label_count = labels.iter().map(BTreeMap::len).sum::<usize>() as f64 / 20_000.0;
    assert!((9.0..13.0).contains(&label_count), "{label_count} labels a series");
    for required in ["cluster", "namespace", "pod", "container", "instance", "job"] {
        assert!(labels.iter().all(|labels| labels.contains_key(required)), "{required}");
    }

    let share_of =
        |matches: &dyn Fn(u32) -> bool| (0..20_000).filter(|&s| matches(s)).count() as f64 / 20_000.0;
    let buckets = share_of(&|series| labels[series as usize].contains_key("le"));
    assert!((0.2..0.7).contains(&buckets), "{buckets} of the series are buckets");

    let constant = share_of(&|series| samples[&series].windows(2).all(|pair| pair[0].value == pair[1].value));
    assert!((0.35..0.8).contains(&constant), "{constant} of the series are constant");

    let with_decimals = share_of(&|series| samples[&series].iter().any(|point| point.value.fract() != 0.0));
    assert!((0.05..0.5).contains(&with_decimals), "{with_decimals} of the series have decimals");
}

#[test]
fn all_of_a_scrape_has_one_timestamp_and_targets_have_their_own() {
    let mut workload = Workload::new(settings(5_000));
    let mut timestamps = BTreeSet::new();
    for _ in 0..workload.targets.len() {
        let mut points = Vec::new();
        workload.scrape(&mut points);
        assert!(points.iter().all(|point| point.timestamp_ms == points[0].timestamp_ms));
        timestamps.insert(points[0].timestamp_ms);
    }
    assert!(timestamps.len() * 10 > workload.targets.len() * 9, "nearly all differ");

    let (_, samples) = by_series(settings(1_000), 20);
    let gaps: Vec<i64> =
        samples[&0].windows(2).map(|pair| pair[1].timestamp_ms - pair[0].timestamp_ms).collect();
    assert!(gaps.iter().all(|gap| (14_980..=15_020).contains(gap)));
    assert!(gaps.iter().any(|gap| *gap != 15_000), "scrapes come late now and then");
}

#[test]
fn a_replaced_pod_ends_its_series_and_begins_new_ones_at_zero() {
    // Every hour as many pods as there are, over a quarter of an hour.
    let (workload, samples) = by_series(Settings { churn_per_hour: 1.0, ..settings(10_000) }, 60);
    let born = workload.series_ever() - 10_000;
    assert!((500..5_000).contains(&born), "{born} new series");

    let ended =
        samples.values().filter(|points| points.last().is_some_and(|p| is_stale_marker(p.value))).count();
    assert_eq!(ended, born, "for each that begins one ends");
    assert!(samples.values().all(|points| points.iter().rev().skip(1).all(|p| !is_stale_marker(p.value))));

    let new_counters = (10_000..workload.series_ever() as u32)
        .filter(|&series| label_map(&workload, series)["__name__"] == "http_requests_total");
    assert!(new_counters.clone().count() > 0);
    for series in new_counters {
        assert!(samples[&series][0].value < 5_000.0, "counts from zero");
    }
}
