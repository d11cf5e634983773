//! From samples in fresh segments, over compaction, to answers from thinned segments.

use std::collections::BTreeMap;
use std::time::Duration;

use promql::{EvalOptions, QueryOutput, Value, Window};
use segment_store::compact::{
    Compactor, CompactorParts, CompactorSettings, KeepForever, NoListener, RetentionPolicy,
};
use segment_store::testing::{MemoryBucket, SimClock};
use segment_store::{PutCondition, Resolution, Seed, SegmentKey, TenantManifest, WorkOn};
use storage_format::{FreshPartition, encode_fresh};
use telemetry::{FloatRow, Labels, MetricRows, Series};

use super::*;
use crate::follow::{Follower, FollowerParts};
use crate::source::{FetchLimits, Needs, Scope, TenantSource};
use crate::testing::{segments, tenant_id};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Midnight of some day in 2026.
const FIRST_DAY_MS: i64 = 1_795_305_600_000;
const DAYS: i64 = 3;
const STEP_MS: i64 = 15_000;
const SPIKE_MS: i64 = FIRST_DAY_MS + DAY_MS + 7 * HOUR_MS + 3 * STEP_MS;
const NO_LIMITS: FetchLimits = FetchLimits { bytes: u64::MAX, memory_bytes: u64::MAX };

#[derive(Debug)]
struct KeepAMonth;

impl RetentionPolicy for KeepAMonth {
    fn retention(&self, _: &TenantId) -> Option<Duration> {
        Some(Duration::from_secs(30 * 24 * 3_600))
    }
}

fn rows(samples: impl IntoIterator<Item = (&'static str, i64, f64)>) -> MetricRows {
    let mut known: BTreeMap<&str, Arc<Series>> = BTreeMap::new();
    let mut rows = MetricRows::default();
    for (name, timestamp_ms, value) in samples {
        let make = || Arc::new(Series::new(Labels::from_pairs([("__name__", name), ("job", "a")]).unwrap()));
        let series = Arc::clone(known.entry(name).or_insert_with(make));
        rows.floats.push(FloatRow { series, timestamp_ms, value });
    }
    rows
}

/// A counter with a reset now and then, and a gauge with one spike.
fn days_of_samples() -> MetricRows {
    let count = DAYS * DAY_MS / STEP_MS;
    let samples = (0..count).flat_map(|index| {
        let at_ms = FIRST_DAY_MS + index * STEP_MS;
        let total = (index % 1_900) as f64 * 3.0;
        let noise =
            (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(0xbf58_476d)
                >> 40;
        let level = if at_ms == SPIKE_MS { 1e6 } else { (noise % 10_007) as f64 / 10.0 };
        [("x_total", at_ms, total), ("level", at_ms, level)]
    });
    rows(samples)
}

async fn write(bucket: &Arc<dyn Bucket>, at_ms: i64, rows: MetricRows) {
    let (tenant, metrics) = (tenant_id("acme"), MetricBatch::from_rows(vec![rows]));
    let body = encode_fresh(&[FreshPartition { tenant: &tenant, metrics: &metrics }]).unwrap();
    let key = SegmentKey::new(ShardId(0), at_ms, 1).to_string();
    bucket.put(&key, body.into(), PutCondition::IfAbsent, None).await.unwrap();
}

async fn compact(bucket: &Arc<dyn Bucket>, now_ms: i64, retention: Arc<dyn RetentionPolicy>) {
    let parts = CompactorParts {
        bucket: Arc::clone(bucket),
        shard: ShardId(0),
        clock: Arc::new(SimClock::new(now_ms, 0)),
        seed: Seed::from_number(now_ms as u64),
        work_on: WorkOn::SameThread,
        retention,
        listener: Arc::new(NoListener),
        settings: CompactorSettings { grace: Duration::ZERO, ..CompactorSettings::default() },
    };
    Compactor::new(parts).run_until_rest(|_| {}).await.unwrap();
}

/// A query's answer, the bytes of segments it needed, and what the store says about it.
async fn ask(bucket: &Arc<dyn Bucket>, query: &str, window: Window) -> (QueryOutput, u64, Vec<String>) {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(FIRST_DAY_MS, 0));
    let tail = Arc::new(Tail::default());
    let segments = segments(&tail, bucket, Arc::clone(&clock));
    let follower = Follower::start(FollowerParts {
        bucket: Arc::clone(bucket),
        shard: ShardId(0),
        tail,
        segments: Arc::clone(&segments),
        clock,
        is_only_writer: false,
    });
    follower.warm().wait_for(|is| *is).await.unwrap();
    let options = EvalOptions::default();
    let plan = promql::plan(&promql::parse(query).unwrap(), window, &options).unwrap();
    let selections = plan.selections();
    let start_ms = selections.iter().map(|of| of.start_ms).min().unwrap();
    let end_ms = selections.iter().map(|of| of.end_ms).max().unwrap();
    let needs = Needs::Samples(selections.to_vec().into());
    let scope = Scope { time_range_ms: (start_ms, end_ms), with_provisional: true, needs };
    let source = TenantSource::fetch(&segments, &tenant_id("acme"), &scope, NO_LIMITS).await.unwrap();
    let answer = promql::evaluate(&plan, &source, &options).unwrap();
    (answer, source.cold_bytes(), source.warnings())
}

fn points(answer: &QueryOutput) -> Vec<(i64, f64)> {
    let Value::Matrix(matrix) = &answer.value else { panic!() };
    matrix.iter().flat_map(|series| series.floats.clone()).collect()
}

/// Every hour from the second day on.
fn hourly() -> Window {
    let start_ms = FIRST_DAY_MS + DAY_MS;
    Window { start_ms, end_ms: FIRST_DAY_MS + DAYS * DAY_MS - HOUR_MS, step_ms: HOUR_MS }
}

async fn resolutions(bucket: &Arc<dyn Bucket>) -> [usize; 3] {
    let manifest = segment_store::read_tenant_manifest(&**bucket, &tenant_id("acme")).await.unwrap();
    let manifest: TenantManifest = manifest;
    [Resolution::Raw, Resolution::FiveMinutes, Resolution::OneHour]
        .map(|of| manifest.segments.iter().filter(|segment| segment.resolution == of).count())
}

const QUERIES: [(&str, &str); 8] = [
    ("avg_over_time(level[1h])", "level[1h]"),
    ("count_over_time(level[5m])", "level[5m]"),
    ("delta(level[2h])", "level[2h]"),
    ("increase(x_total[1d])", "x_total[1d]"),
    ("max_over_time(level[1h])", "level[1h]"),
    ("rate(x_total[1h])", "x_total[1h]"),
    ("rate(x_total[5m])", "x_total[5m]"),
    ("sum_over_time(level[1h] offset 1h)", "level[1h] offset 1h"),
];

#[tokio::test(start_paused = true)]
async fn long_ranges_are_answered_from_few_samples_and_nothing_changes() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
    let end_ms = FIRST_DAY_MS + DAYS * DAY_MS;
    write(&bucket, end_ms + HOUR_MS, days_of_samples()).await;
    compact(&bucket, end_ms + HOUR_MS, Arc::new(KeepForever)).await;
    assert_eq!(resolutions(&bucket).await, [3, 3, 3]);

    let mut answers = BTreeMap::new();
    for (query, selector) in QUERIES {
        let (thinned, thinned_bytes, warnings) = ask(&bucket, query, hourly()).await;
        assert_eq!(warnings, [""; 0]);
        // The same samples are also asked for something that needs each of them.
        let of_all = format!("{query} or quantile_over_time(0.5, {selector})");
        let (all, all_bytes, _) = ask(&bucket, &of_all, hourly()).await;
        let (got, expected) = (points(&thinned), points(&all));
        assert_eq!(got.len(), expected.len(), "{query}");
        assert!(got.len() >= 40, "{query}: {}", got.len());
        for (got, expected) in got.iter().zip(&expected) {
            let same = got.0 == expected.0 && (got.1 - expected.1).abs() <= expected.1.abs() * 1e-9;
            assert!(same, "{query}: {got:?} instead of {expected:?}");
        }
        let (few, many) = (thinned.stats.samples, all.stats.samples);
        let least = if query.contains("5m") { 3 } else { 20 };
        assert!(few * least < many, "{query}: {few} of {many} samples");
        assert!(
            query.contains("5m") || query.contains("total") || thinned_bytes * 2 < all_bytes,
            "{query}: {thinned_bytes} of {all_bytes} bytes"
        );
        answers.insert(query, got);
    }
    let spike = answers["max_over_time(level[1h])"].iter().filter(|(_, value)| *value == 1e6);
    assert_eq!(spike.count(), 1);

    // A late sample, which is in no segment of the tenant yet: the day is read from all its samples again.
    let late = SPIKE_MS + 1;
    write(&bucket, end_ms + 2 * HOUR_MS, rows([("level", late, 2e6)])).await;
    let (answer, _, _) = ask(&bucket, "max_over_time(level[1h])", hourly()).await;
    assert_eq!(points(&answer).iter().filter(|(_, value)| *value == 2e6).count(), 1);
    let (answer, _, _) = ask(&bucket, "count_over_time(level[1d])", hourly()).await;
    let full_day = (DAY_MS / STEP_MS) as f64;
    assert_eq!(points(&answer).iter().filter(|(_, value)| *value == full_day + 1.0).count(), 24);
    // Likewise when it is in one: thinned segments from before do not count then, until the day is thinned anew.
    compact(&bucket, end_ms + 3 * HOUR_MS, Arc::new(KeepForever)).await;
    let (answer, _, _) = ask(&bucket, "count_over_time(level[1d])", hourly()).await;
    assert_eq!(points(&answer).iter().filter(|(_, value)| *value == full_day + 1.0).count(), 24);
    write(&bucket, end_ms + 9 * DAY_MS, rows([("level", end_ms + 9 * DAY_MS, 0.0)])).await;
    compact(&bucket, end_ms + 9 * DAY_MS, Arc::new(KeepForever)).await;
    let (answer, _, _) = ask(&bucket, "max_over_time(level[1h])", hourly()).await;
    assert_eq!(points(&answer).iter().filter(|(_, value)| *value == 2e6).count(), 1);
    assert!(answer.stats.samples < 2_000, "{} samples", answer.stats.samples);
}

#[tokio::test(start_paused = true)]
async fn thinned_samples_outlive_raw_ones_and_say_so() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
    let end_ms = FIRST_DAY_MS + DAYS * DAY_MS;
    write(&bucket, end_ms + HOUR_MS, days_of_samples()).await;
    compact(&bucket, end_ms + HOUR_MS, Arc::new(KeepAMonth)).await;
    let mut before = BTreeMap::new();
    for (query, _) in QUERIES {
        let answer = points(&ask(&bucket, query, hourly()).await.0);
        assert!(answer.len() >= 40, "{query}");
        before.insert(query, answer);
    }
    compact(&bucket, end_ms + 32 * DAY_MS, Arc::new(KeepAMonth)).await;
    assert_eq!(resolutions(&bucket).await, [0, 3, 3]);
    for (query, _) in QUERIES {
        let (answer, _, warnings) = ask(&bucket, query, hourly()).await;
        assert_eq!(points(&answer), before[query], "{query}");
        assert_eq!(warnings, [""; 0], "{query}");
    }
    let (answer, _, warnings) = ask(&bucket, "quantile_over_time(1, level[1h])", hourly()).await;
    assert_eq!(points(&answer), before["max_over_time(level[1h])"], "the greatest is there");
    assert!(
        warnings[0].contains("approximate") && warnings[0].contains("multiples of 5 minutes"),
        "{warnings:?}"
    );

    // Then what is left answers hours, and less exactly minutes.
    compact(&bucket, end_ms + 100 * DAY_MS, Arc::new(KeepAMonth)).await;
    assert_eq!(resolutions(&bucket).await, [0, 0, 3]);
    let (answer, _, warnings) = ask(&bucket, "rate(x_total[1h])", hourly()).await;
    assert_eq!((points(&answer), warnings.len()), (before["rate(x_total[1h])"].clone(), 0));
    let (_, _, warnings) = ask(&bucket, "rate(x_total[5m])", hourly()).await;
    assert!(warnings[0].contains("multiples of 60 minutes"), "{warnings:?}");
    compact(&bucket, end_ms + 400 * DAY_MS, Arc::new(KeepAMonth)).await;
    assert_eq!(resolutions(&bucket).await, [0, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn where_a_thinned_segment_is_damaged_the_samples_it_was_made_from_answer() {
    let bucket: Arc<dyn Bucket> = Arc::new(MemoryBucket::default());
    let (acme, end_ms) = (tenant_id("acme"), FIRST_DAY_MS + DAYS * DAY_MS);
    write(&bucket, end_ms + HOUR_MS, days_of_samples()).await;
    compact(&bucket, end_ms + HOUR_MS, Arc::new(KeepAMonth)).await;
    let mut before = BTreeMap::new();
    for (query, _) in QUERIES {
        before.insert(query, points(&ask(&bucket, query, hourly()).await.0));
    }
    let manifest = segment_store::read_tenant_manifest(&*bucket, &acme).await.unwrap();
    // Of two days one resolution each, of one both.
    let thinned = |of| manifest.segments.iter().filter(move |segment| segment.resolution == of);
    let damaged = thinned(Resolution::OneHour).take(2).chain(thinned(Resolution::FiveMinutes).skip(1));
    for segment in damaged {
        let key = TenantManifest::segment_key(&acme, &segment.id);
        bucket.put(&key, vec![0; segment.len as usize].into(), PutCondition::Always, None).await.unwrap();
    }
    for (query, _) in QUERIES {
        let (answer, _, warnings) = ask(&bucket, query, hourly()).await;
        let (got, expected) = (points(&answer), &before[query]);
        assert_eq!(got.len(), expected.len(), "{query}");
        for (got, expected) in got.iter().zip(expected) {
            let same = got.0 == expected.0 && (got.1 - expected.1).abs() <= expected.1.abs() * 1e-9;
            assert!(same, "{query}: {got:?} instead of {expected:?}");
        }
        assert_eq!(warnings, [""; 0], "{query}: nothing is lacking");
    }
    // Without the others, what is damaged is missed.
    compact(&bucket, end_ms + 32 * DAY_MS, Arc::new(KeepAMonth)).await;
    let (answer, _, warnings) = ask(&bucket, "max_over_time(level[1h])", hourly()).await;
    assert!(points(&answer).len() < before["max_over_time(level[1h])"].len());
    assert!(warnings.iter().any(|warning| warning.contains("damaged")), "{warnings:?}");
}
