use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use promql::{Matcher, Selection, SeriesSamples, SeriesSource};
use proptest::prelude::*;
use segment_store::testing::{Delayed, MemoryBucket, SimClock};
use segment_store::{
    Counted, GetRange, Level, ManualClock, Merged, ObjectId, Operation, PutCondition, Quarantined,
    Resolution, Retired, SegmentEntry, TailOffer, TailSink, TenantManifest,
};
use storage_format::TenantSegmentWriter;
use storage_format::tenant::SeriesSamples as WrittenSamples;
use telemetry::{
    Exemplar, ExemplarRow, FloatRow, Histogram, HistogramRow, Labels, Metadata, MetricRows, MetricType,
};

use super::*;
use crate::error::QueryError;
use crate::follow::{Follower, FollowerParts};
use crate::source::{FetchLimits, Needs, Scope, TenantSource};
use crate::tail::Having;
use crate::testing::{NOW_MS, segment, segments, series, store, tenant_id, up};

const EVER: (i64, i64) = (i64::MIN, i64::MAX);
const NO_LIMITS: FetchLimits = FetchLimits { bytes: u64::MAX, memory_bytes: u64::MAX };

/// What compaction does, by hand and step by step.
struct Shard {
    bucket: Arc<dyn Bucket>,
    manifest: ShardManifest,
    tenants: BTreeMap<TenantId, TenantManifest>,
    next_id: u64,
}

impl Shard {
    fn over(bucket: Arc<dyn Bucket>) -> Self {
        Self { bucket, manifest: ShardManifest::default(), tenants: BTreeMap::new(), next_id: 0 }
    }

    fn id(&mut self) -> ObjectId {
        self.next_id += 1;
        ObjectId::new(NOW_MS, self.next_id)
    }

    async fn put(&self, key: &str, body: Vec<u8>) {
        self.bucket.put(key, body.into(), PutCondition::Always, None).await.unwrap();
    }

    async fn commit(&mut self) {
        self.manifest.generation += 1;
        self.put(&ShardManifest::key(ShardId(0)), self.manifest.encode().unwrap()).await;
    }

    async fn commit_tenant(&mut self, tenant: &TenantId) {
        let manifest = self.tenants.entry(tenant.clone()).or_default();
        manifest.generation += 1;
        let body = manifest.encode().unwrap();
        self.put(&TenantManifest::key(tenant), body).await;
    }

    /// Merges fresh segments: (key, its partitions). The last of equal samples wins.
    async fn merge(&mut self, inputs: &[(SegmentKey, Vec<(&str, MetricBatch)>)]) -> ObjectId {
        let id = self.id();
        let mut by_tenant: BTreeMap<&str, Vec<MetricRows>> = BTreeMap::new();
        for (tenant, batch) in inputs.iter().flat_map(|(_, partitions)| partitions) {
            by_tenant.entry(tenant).or_default().push(rows_of(batch));
        }
        let tenants: Vec<(TenantId, MetricBatch)> = by_tenant
            .into_iter()
            .map(|(tenant, rows)| (tenant_id(tenant), MetricBatch::from_rows(rows)))
            .collect();
        let parts: Vec<_> = tenants
            .iter()
            .map(|(tenant, metrics)| storage_format::FreshPartition { tenant, metrics })
            .collect();
        let body = storage_format::encode_fresh(&parts).unwrap();
        let len = body.len() as u64;
        self.put(&ShardManifest::merged_key(ShardId(0), &id), body).await;
        let keys = inputs.iter().map(|(key, _)| *key);
        let (first, last) = (keys.clone().min().unwrap(), keys.clone().max().unwrap());
        let samples = tenants.iter().map(|(_, batch)| batch.counts().samples).sum();
        let (tenants, fresh) = (tenants.len() as u64, inputs.len() as u64);
        let merged = Merged { id, len, tier: 1, first, last, samples, tenants, fresh };
        self.manifest.merged.push(merged);
        self.manifest.absorbed.extend(keys.map(|key| (key, NOW_MS)));
        self.commit().await;
        id
    }

    /// Puts a tenant's part of merged object `id` into a segment.
    async fn absorb(&mut self, id: ObjectId, tenant: &str, batch: &MetricBatch) -> ObjectId {
        let merged = self.manifest.merged(&id).unwrap().clone();
        let segment = self.write_segment(tenant, batch, (merged.first, merged.last)).await;
        let tenant = tenant_id(tenant);
        self.tenants.get_mut(&tenant).unwrap().absorbed.insert(id);
        self.commit_tenant(&tenant).await;
        segment
    }

    /// Writes a segment and adds it to the tenant's manifest, which is not stored yet.
    async fn write_segment(
        &mut self,
        tenant: &str,
        batch: &MetricBatch,
        (first, last): (SegmentKey, SegmentKey),
    ) -> ObjectId {
        let (id, tenant) = (self.id(), tenant_id(tenant));
        let (body, entry) = tenant_segment(&tenant, id, batch, (first, last));
        self.put(&TenantManifest::segment_key(&tenant, &id), body).await;
        self.tenants.entry(tenant).or_default().segments.push(entry);
        id
    }

    /// Takes a merged object out, after all tenants have absorbed it.
    async fn retire(&mut self, id: ObjectId) {
        self.manifest.merged.retain(|merged| merged.id != id);
        self.manifest.retired.push(Retired { id, since_ms: NOW_MS });
        self.manifest.epoch += 1;
        self.commit().await;
    }

    /// Deletes what is absorbed and retired, and forgets it.
    async fn sweep(&mut self) {
        let fresh: Vec<SegmentKey> = self.manifest.absorbed.keys().copied().collect();
        let mut keys: Vec<String> = fresh.iter().map(ToString::to_string).collect();
        let retired = std::mem::take(&mut self.manifest.retired);
        keys.extend(retired.iter().map(|each| ShardManifest::merged_key(ShardId(0), &each.id)));
        self.bucket.delete_many(&keys).await.unwrap();
        self.manifest.forget_deleted(&fresh);
        for manifest in self.tenants.values_mut() {
            manifest.absorbed.retain(|id| self.manifest.merged.iter().any(|merged| merged.id == *id));
        }
        let tenants: Vec<TenantId> = self.tenants.keys().cloned().collect();
        for tenant in tenants {
            self.commit_tenant(&tenant).await;
        }
        self.commit().await;
    }
}

fn tenant_segment(
    tenant: &TenantId,
    id: ObjectId,
    batch: &MetricBatch,
    (first, last): (SegmentKey, SegmentKey),
) -> (Vec<u8>, SegmentEntry) {
    let mut writer = TenantSegmentWriter::new(tenant.clone()).unwrap();
    let mut object = Vec::new();
    for (place, series) in batch.series.iter().enumerate() {
        let (timestamps_ms, values) = batch.floats_of(place);
        let of_series = |of: u32| of as usize == place;
        let histograms: Vec<_> = batch
            .histograms
            .iter()
            .filter(|row| of_series(row.0))
            .map(|(_, at, histogram)| (*at, Arc::clone(histogram)))
            .collect();
        let exemplars: Vec<Exemplar> =
            batch.exemplars.iter().filter(|row| of_series(row.0)).map(|row| row.1.clone()).collect();
        let labels = series.labels();
        writer
            .push(WrittenSamples {
                labels,
                timestamps_ms,
                values,
                histograms: &histograms,
                exemplars: &exemplars,
                omitted: &[],
            })
            .unwrap();
        object.extend(writer.take_output());
    }
    writer.push_metadata(&batch.metadata);
    let (rest, summary) = writer.finish().unwrap();
    object.extend(rest);
    let entry = SegmentEntry {
        id,
        len: summary.len_bytes,
        index_start: summary.index_start,
        window: Level::Day.window_of(NOW_MS),
        min_time_ms: summary.min_time_ms,
        max_time_ms: summary.max_time_ms,
        first,
        last,
        counts: summary.counts,
        distinct: summary.counts.samples,
        resolution: Resolution::Raw,
    };
    (object, entry)
}

fn rows_of(batch: &MetricBatch) -> MetricRows {
    let mut rows = MetricRows { metadata: batch.metadata.clone(), ..MetricRows::default() };
    for (place, series) in batch.series.iter().enumerate() {
        let (timestamps_ms, values) = batch.floats_of(place);
        for (&timestamp_ms, &value) in timestamps_ms.iter().zip(values) {
            rows.floats.push(FloatRow { series: Arc::clone(series), timestamp_ms, value });
        }
    }
    let series = |place: u32| Arc::clone(&batch.series[place as usize]);
    for (place, timestamp_ms, histogram) in &batch.histograms {
        let (timestamp_ms, histogram) = (*timestamp_ms, Arc::clone(histogram));
        rows.histograms.push(HistogramRow { series: series(*place), timestamp_ms, histogram });
    }
    for (place, exemplar) in &batch.exemplars {
        rows.exemplars.push(ExemplarRow { series: series(*place), exemplar: exemplar.clone() });
    }
    rows
}

fn merged_batch(batches: &[&MetricBatch]) -> MetricBatch {
    MetricBatch::from_rows(batches.iter().map(|batch| rows_of(batch)).collect())
}

fn selection(job: &str, time_range_ms: (i64, i64)) -> Selection {
    let matchers = match job {
        "" => vec![Matcher::equal("__name__", "up")],
        job => vec![Matcher::equal("__name__", "up"), Matcher::equal("job", job)],
    };
    let (start_ms, end_ms) = time_range_ms;
    Selection { matchers, start_ms, end_ms, step_ms: 1, range_ms: 1, reading: promql::Reading::All }
}

fn scope(selections: Vec<Selection>) -> Scope {
    let start_ms = selections.iter().map(|each| each.start_ms).min().unwrap();
    let end_ms = selections.iter().map(|each| each.end_ms).max().unwrap();
    let needs = Needs::Samples(selections.into());
    Scope { time_range_ms: (start_ms, end_ms), with_provisional: true, needs }
}

/// (job, timestamp, value).
type Samples = Vec<(String, i64, f64)>;

async fn try_read(
    segments: &Arc<Segments>,
    tenant: &str,
    time_range_ms: (i64, i64),
) -> Result<(Samples, Vec<String>), QueryError> {
    let selection = selection("", time_range_ms);
    let scope = scope(vec![selection.clone()]);
    let source = TenantSource::fetch(segments, &tenant_id(tenant), &scope, NO_LIMITS).await?;
    let selected = SeriesSource::select(&source, &selection).unwrap();
    let mut found = Vec::new();
    let mut samples = SeriesSamples::default();
    for index in 0..selected.len() {
        samples.clear();
        selected.read(index, &mut samples).unwrap();
        let job = selected.labels(index).get("job").unwrap();
        let of_series = samples.timestamps_ms.iter().zip(&samples.values);
        found.extend(of_series.map(|(at, value)| (job.to_owned(), *at, *value)));
    }
    Ok((found, source.warnings()))
}

async fn read(segments: &Arc<Segments>, tenant: &str) -> Samples {
    let (found, warnings) = try_read(segments, tenant, EVER).await.unwrap();
    assert_eq!(warnings, [""; 0]);
    found
}

fn memory() -> Arc<dyn Bucket> {
    Arc::new(MemoryBucket::default())
}

/// A process that has just started, has caught up, and has brought into memory what fits.
async fn started(bucket: &Arc<dyn Bucket>) -> (Arc<Segments>, Follower) {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(NOW_MS, 0));
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
    (segments, follower)
}

/// What one writer writes: twelve segments; the same samples are written again and again, with other values.
fn written() -> Vec<(SegmentKey, Vec<(&'static str, MetricBatch)>)> {
    (0..12)
        .map(|number| {
            let at = NOW_MS + number;
            let of_acme =
                up(&[("a", at, number as f64), ("a", NOW_MS - 1, number as f64), ("b", at / 2, 1.0)]);
            (segment(number), vec![("acme", of_acme), ("other", up(&[("x", number / 3, number as f64)]))])
        })
        .collect()
}

fn expected(tenant: &str) -> Samples {
    let batches: Vec<MetricBatch> = written()
        .into_iter()
        .flat_map(|(_, partitions)| partitions)
        .filter(|(whose, _)| *whose == tenant)
        .map(|(_, batch)| batch)
        .collect();
    let all = merged_batch(&batches.iter().collect::<Vec<_>>());
    let of_series = |(place, series): (usize, &Arc<telemetry::Series>)| {
        let job = series.labels().get("job").unwrap().to_owned();
        let (timestamps_ms, values) = all.floats_of(place);
        timestamps_ms
            .iter()
            .zip(values)
            .map(move |(at, value)| (job.clone(), *at, *value))
            .collect::<Vec<_>>()
    };
    all.series.iter().enumerate().flat_map(of_series).collect()
}

fn parts_of(inputs: &[(SegmentKey, Vec<(&'static str, MetricBatch)>)], tenant: &str) -> MetricBatch {
    let partitions = inputs.iter().flat_map(|(_, partitions)| partitions);
    let batches: Vec<&MetricBatch> =
        partitions.filter(|(whose, _)| *whose == tenant).map(|(_, batch)| batch).collect();
    merged_batch(&batches)
}

/// The states that a shard goes through, in their order.
const STATES: usize = 8;

/// Goes from state `state` to the next.
async fn go_on(shard: &mut Shard, ids: &mut Vec<ObjectId>, state: usize) {
    let written = written();
    match state {
        // The first eight segments become two merged objects, one after the other.
        0 => ids.push(shard.merge(&written[..4]).await),
        1 => ids.push(shard.merge(&written[4..8]).await),
        // One of two tenants has absorbed the first.
        2 => drop(shard.absorb(ids[0], "acme", &parts_of(&written[..4], "acme")).await),
        // And the other one, too.
        3 => drop(shard.absorb(ids[0], "other", &parts_of(&written[..4], "other")).await),
        4 => shard.retire(ids[0]).await,
        5 => shard.sweep().await,
        // The rest, in one go, while nobody looks.
        6 => {
            ids.push(shard.merge(&written[8..]).await);
            for (id, range) in [(ids[1], 4..8), (ids[2], 8..12)] {
                for tenant in ["acme", "other"] {
                    shard.absorb(id, tenant, &parts_of(&written[range.clone()], tenant)).await;
                }
                shard.retire(id).await;
            }
            shard.sweep().await;
        }
        _ => unreachable!(),
    }
}

async fn check(segments: &Arc<Segments>, what: &str) {
    for tenant in ["acme", "other"] {
        assert_eq!(read(segments, tenant).await, expected(tenant), "{what}, {tenant}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_sample_is_there_once_in_every_state_after_a_start() {
    let bucket = memory();
    for (key, partitions) in written() {
        store(&*bucket, key, &partitions).await;
    }
    let (mut shard, mut ids) = (Shard::over(Arc::clone(&bucket)), Vec::new());
    for state in 0..STATES {
        let (segments, follower) = started(&bucket).await;
        check(&segments, &format!("state {state}")).await;
        follower.shutdown().await;
        if state + 1 < STATES {
            go_on(&mut shard, &mut ids, state).await;
        }
    }
}

/// Of processes that started at each state, and that look at every later one, or only now and then, or that compaction in the
/// same process tells of each step.
#[tokio::test(start_paused = true)]
async fn each_sample_is_there_once_whatever_was_seen_before() {
    for since in 0..STATES - 1 {
        for looks_every in [1, 2, STATES] {
            let bucket = memory();
            for (key, partitions) in written() {
                store(&*bucket, key, &partitions).await;
            }
            let (mut shard, mut ids) = (Shard::over(Arc::clone(&bucket)), Vec::new());
            for state in 0..since {
                go_on(&mut shard, &mut ids, state).await;
            }
            let (segments, follower) = started(&bucket).await;
            check(&segments, "at the start").await;
            for state in since..STATES - 1 {
                go_on(&mut shard, &mut ids, state).await;
                let what = format!("since {since}, every {looks_every}, after {state}");
                // With what it knew before, which may not be there any more.
                check(&segments, &what).await;
                if (state + 1) % looks_every == 0 {
                    follower.committed().notify_one();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    check(&segments, &what).await;
                }
            }
            follower.shutdown().await;
        }
    }
}

/// A tail that was fed by its own writer holds everything, and reads nothing from the bucket, until it drops a generation.
#[tokio::test(start_paused = true)]
async fn what_the_tail_still_holds_is_not_read_and_what_it_drops_is() {
    let counted = Arc::new(Counted::new(memory()));
    let bucket: Arc<dyn Bucket> = Arc::clone(&counted) as _;
    let gets = || counted.counts().of(Operation::Get);
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(NOW_MS, 0));
    let settings = crate::tail::TailSettings { memory_bytes: 1 << 20, generation_bytes: 1 };
    let tail = Arc::new(Tail::new(settings));
    let segments = segments(&tail, &bucket, Arc::clone(&clock));
    segments.begin().await.unwrap();
    for (key, partitions) in written() {
        let offered = partitions.iter().map(|(tenant, batch)| (tenant_id(tenant), Arc::new(batch.clone())));
        tail.offer(TailOffer { segment: key, partitions: offered.collect() });
        store(&*bucket, key, &partitions).await;
        tail.settle(&key, segment_store::FlushOutcome::Durable);
    }
    let (mut shard, mut ids) = (Shard::over(Arc::clone(&bucket)), Vec::new());
    for state in 0..STATES - 1 {
        go_on(&mut shard, &mut ids, state).await;
        segments.refresh().await.unwrap();
        // The tenants' manifests, where the epoch changed.
        check(&segments, "before").await;
        let before = gets();
        check(&segments, "while the tail holds it").await;
        assert_eq!(gets(), before, "after {state}");
    }
    // A large flush takes the memory of all that came before.
    let rows = (0..20_000).map(|number: i32| FloatRow {
        series: series(&[("__name__", "down"), ("job", &number.to_string())]),
        timestamp_ms: NOW_MS,
        value: 1.0,
    });
    let many = MetricBatch::from_rows(vec![MetricRows { floats: rows.collect(), ..MetricRows::default() }]);
    for tenant in ["acme", "other"] {
        let key = if tenant == "acme" { segment(100) } else { segment(101) };
        let partitions = vec![(tenant_id(tenant), Arc::new(many.clone()))];
        tail.offer(TailOffer { segment: key, partitions });
        store(&*bucket, key, &[(tenant, many.clone())]).await;
        tail.settle(&key, segment_store::FlushOutcome::Durable);
    }
    // The two large ones; and four of each tenant, of which nobody knows yet that they were absorbed and are gone.
    assert_eq!(tail.stats().cold_partitions, 10, "what is absorbed is not read as it was");
    let before = gets();
    check(&segments, "from segments").await;
    assert!(gets() > before);
    assert_eq!(tail.stats().cold_partitions, 2);
}

#[tokio::test(start_paused = true)]
async fn what_came_and_was_absorbed_between_two_looks_is_found() {
    // In memory it claims to have all that came after the start, and has not.
    for away_for_long in [false, true] {
        let bucket = memory();
        let (segments, follower) = started(&bucket).await;
        follower.shutdown().await;
        let mut shard = Shard::over(Arc::clone(&bucket));
        for (key, partitions) in written() {
            store(&*bucket, key, &partitions).await;
        }
        let mut ids = Vec::new();
        for state in 0..if away_for_long { STATES - 1 } else { 2 } {
            go_on(&mut shard, &mut ids, state).await;
        }
        segments.refresh().await.unwrap();
        if !away_for_long {
            // Those that nothing has absorbed come with a listing.
            for (key, partitions) in &written()[8..] {
                let partitions =
                    partitions.iter().map(|(tenant, batch)| (tenant_id(tenant), batch.clone())).collect();
                segments.tail().absorb(*key, partitions);
            }
        }
        check(&segments, &format!("away for long: {away_for_long}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_manifest_is_good_for_a_minute_or_until_data_leaves_the_shards() {
    let counted = Arc::new(Counted::new(memory()));
    let bucket: Arc<dyn Bucket> = Arc::clone(&counted) as _;
    for (key, partitions) in written() {
        store(&*bucket, key, &partitions).await;
    }
    let (mut shard, mut ids) = (Shard::over(Arc::clone(&bucket)), Vec::new());
    for state in 0..4 {
        go_on(&mut shard, &mut ids, state).await;
    }
    let (segments, follower) = started(&bucket).await;
    follower.shutdown().await;
    let gets = async || {
        let before = counted.counts().of(Operation::Get);
        assert_eq!(read(&segments, "acme").await, expected("acme"));
        counted.counts().of(Operation::Get) - before
    };
    assert!(gets().await > 1);
    assert_eq!(gets().await, 0, "a warm query");
    go_on(&mut shard, &mut ids, 4).await;
    segments.refresh().await.unwrap();
    assert_eq!(gets().await, 1, "the epoch has changed: the manifest is looked at again");
    assert_eq!(gets().await, 0);
    tokio::time::advance(crate::limits::TENANT_MANIFEST_AGE).await;
    assert_eq!(gets().await, 1, "it is old");
    tokio::time::advance(crate::limits::TENANT_MANIFEST_AGE * 3 / 4).await;
    assert_eq!(gets().await, 0, "it will be old soon, and nobody waits");
    tokio::time::sleep(Duration::from_millis(1)).await;
    tokio::time::advance(crate::limits::TENANT_MANIFEST_AGE / 2).await;
    assert_eq!(gets().await, 0, "it was read meanwhile");
}

/// A bucket that deletes an object right before it is read for the first time.
#[tokio::test(start_paused = true)]
async fn a_segment_that_was_replaced_while_a_query_ran_is_looked_for_again() {
    let bucket = memory();
    let acme = tenant_id("acme");
    let mut shard = Shard::over(Arc::clone(&bucket));
    let span = (segment(0), segment(11));
    let old = shard.write_segment("acme", &parts_of(&written(), "acme"), span).await;
    shard.commit_tenant(&acme).await;
    shard.commit().await;
    let (segments, follower) = started(&bucket).await;
    follower.shutdown().await;
    // The manifest that is known names the old segment; the new one took its place long ago.
    let manifest = segments.manifests.tenant(&acme, &segments.manifest()).await.unwrap().manifest;
    assert_eq!(manifest.segments[0].id, old);
    shard.tenants.get_mut(&acme).unwrap().segments.clear();
    shard.write_segment("acme", &parts_of(&written(), "acme"), span).await;
    shard.commit_tenant(&acme).await;
    bucket.delete_many(&[TenantManifest::segment_key(&acme, &old)]).await.unwrap();
    assert_eq!(read(&segments, "acme").await, expected("acme"));

    // When nothing took its place, that is said, and after a few tries.
    let new = shard.tenants[&acme].segments[0].id;
    bucket.delete_many(&[TenantManifest::segment_key(&acme, &new)]).await.unwrap();
    let (segments, follower) = started(&bucket).await;
    follower.shutdown().await;
    let error = try_read(&segments, "acme", EVER).await.unwrap_err();
    assert!(matches!(error, QueryError::Unavailable(_)), "{error}");
    assert_eq!(read(&segments, "other").await, []);
}

#[tokio::test(start_paused = true)]
async fn damage_is_a_warning_and_costs_no_more_than_what_is_damaged() {
    let written = written();
    let acme = tenant_id("acme");
    let spans = [(segment(0), segment(3)), (segment(4), segment(11))];
    // At every part of a segment of a few hundred bytes.
    for place in 0..30_usize {
        let bucket = memory();
        let mut shard = Shard::over(Arc::clone(&bucket));
        let damaged = shard.write_segment("acme", &parts_of(&written[..4], "acme"), spans[0]).await;
        shard.write_segment("acme", &parts_of(&written[4..], "acme"), spans[1]).await;
        shard.write_segment("other", &parts_of(&written, "other"), (segment(0), segment(11))).await;
        shard.commit_tenant(&acme).await;
        shard.commit_tenant(&tenant_id("other")).await;
        shard.commit().await;
        let key = TenantManifest::segment_key(&acme, &damaged);
        let mut body = bucket.get(&key, GetRange::Full).await.unwrap().body.to_vec();
        let at = place * (body.len() - 1) / 29;
        body[at] ^= 0x10;
        shard.put(&key, body).await;
        let (segments, follower) = started(&bucket).await;
        follower.shutdown().await;
        let (found, warnings) = try_read(&segments, "acme", EVER).await.unwrap();
        let all = expected("acme");
        let of_second = all.iter().filter(|(job, at, _)| job == "a" && *at >= NOW_MS + 4);
        assert!(
            of_second.clone().count() == 8 && of_second.into_iter().all(|each| found.contains(each)),
            "{at}"
        );
        assert!(found.iter().all(|each| all.contains(each)), "nothing that was not written, {at}");
        // The first bytes are a header that is not read for a part.
        assert!(found == all || warnings.len() == 1, "byte {at}: {warnings:?}");
        check_other(&segments).await;
    }
}

async fn check_other(segments: &Arc<Segments>) {
    assert_eq!(read(segments, "other").await, expected("other"));
}

#[tokio::test(start_paused = true)]
async fn hostile_manifests_are_refused_and_are_nobody_elses_problem() {
    let bucket = memory();
    let mut shard = Shard::over(Arc::clone(&bucket));
    let (acme, span) = (tenant_id("acme"), (segment(0), segment(11)));
    shard.write_segment("other", &parts_of(&written(), "other"), span).await;
    shard.commit_tenant(&tenant_id("other")).await;
    shard.write_segment("acme", &parts_of(&written(), "acme"), span).await;
    shard.commit().await;
    let entry = shard.tenants[&acme].segments[0].clone();
    let theirs = shard.tenants[&tenant_id("other")].segments[0].clone();

    // Bytes that are no manifest.
    shard.put(&TenantManifest::key(&acme), b"nonsense".to_vec()).await;
    let (segments, follower) = started(&bucket).await;
    follower.shutdown().await;
    let error = try_read(&segments, "acme", EVER).await.unwrap_err();
    assert!(error.to_string().contains("t/acme/metrics/manifest"), "{error}");
    check_other(&segments).await;

    // A manifest that lies about its segments.
    let lies: [(&str, SegmentEntry); 5] = [
        ("too long", SegmentEntry { len: entry.len + 1, ..entry.clone() }),
        ("much too long", SegmentEntry { len: 1 << 40, index_start: (1 << 40) - 100, ..entry.clone() }),
        ("too short", SegmentEntry { len: entry.len - 1, ..entry.clone() }),
        ("nothing", SegmentEntry { len: 0, index_start: 0, ..entry.clone() }),
        ("no index", SegmentEntry { index_start: entry.len, ..entry.clone() }),
    ];
    for (lie, entry) in lies {
        shard.tenants.get_mut(&acme).unwrap().segments = vec![entry];
        shard.commit_tenant(&acme).await;
        let (segments, follower) = started(&bucket).await;
        follower.shutdown().await;
        let (found, warnings) = try_read(&segments, "acme", EVER).await.unwrap();
        assert!(found == expected("acme") || (found.is_empty() && warnings.len() == 1), "{lie}: {found:?}");
        check_other(&segments).await;
    }

    // A segment of another tenant under this one's name: it is not shown.
    let body =
        bucket.get(&TenantManifest::segment_key(&tenant_id("other"), &theirs.id), GetRange::Full).await;
    shard.put(&TenantManifest::segment_key(&acme, &theirs.id), body.unwrap().body.to_vec()).await;
    shard.tenants.get_mut(&acme).unwrap().segments = vec![theirs];
    shard.commit_tenant(&acme).await;
    let (segments, follower) = started(&bucket).await;
    follower.shutdown().await;
    let (found, warnings) = try_read(&segments, "acme", EVER).await.unwrap();
    assert_eq!((found, warnings.len()), (Vec::new(), 1));

    // What compaction has put aside is said.
    let quarantined = |tenant: Option<TenantId>, object: &str| Quarantined {
        object: object.to_owned(),
        tenant,
        reason: "it is damaged".to_owned(),
        since_ms: NOW_MS,
    };
    shard.manifest.quarantined =
        vec![quarantined(Some(acme.clone()), "fresh/0/1"), quarantined(None, "fresh/0/2")];
    shard.commit().await;
    segments.refresh().await.unwrap();
    assert!(try_read(&segments, "acme", EVER).await.unwrap().1[0].starts_with("3 damaged"));
    assert!(try_read(&segments, "other", EVER).await.unwrap().1[0].starts_with("1 damaged"));
}

#[tokio::test(start_paused = true)]
async fn a_cold_query_needs_three_rounds_of_requests() {
    let counted = Arc::new(Counted::new(memory()));
    let written = written();
    let mut shard = Shard::over(Arc::clone(&counted) as _);
    for (key, partitions) in &written[8..] {
        store(&*counted, *key, partitions).await;
    }
    // Segments, a merged object, and fresh ones that do not fit in memory.
    let id = shard.merge(&written[4..8]).await;
    assert!(shard.manifest.merged(&id).is_some());
    for place in 0..4 {
        let span = (segment(place), segment(place));
        let place = place as usize;
        shard.write_segment("acme", &parts_of(&written[place..=place], "acme"), span).await;
    }
    shard.commit_tenant(&tenant_id("acme")).await;

    let far: Arc<dyn Bucket> = Arc::new(Delayed::new(Arc::clone(&counted) as _, Duration::from_millis(60)));
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(NOW_MS, 0));
    let tail = Arc::new(Tail::new(crate::tail::TailSettings { memory_bytes: 0, generation_bytes: 1 }));
    let segments = segments(&tail, &far, Arc::clone(&clock));
    let follower = Follower::start(FollowerParts {
        bucket: far,
        shard: ShardId(0),
        tail,
        segments: Arc::clone(&segments),
        clock,
        is_only_writer: true,
    });
    follower.caught_up().wait_for(|is| *is).await.unwrap();
    let before = (tokio::time::Instant::now(), counted.counts().of(Operation::Get));
    assert_eq!(read(&segments, "acme").await, expected("acme"));
    let took = before.0.elapsed();
    assert_eq!(took.as_millis(), 180, "three requests one after the other, the others beside them");
    let gets = counted.counts().of(Operation::Get) - before.1;
    assert_eq!(gets, 1 + (4 + 1 + 4) + (4 + 1 + 4));
    follower.shutdown().await;
}

#[tokio::test]
async fn after_a_restart_no_data_is_fetched_again() {
    let dir = tempfile::tempdir().unwrap();
    let counted = Arc::new(Counted::new(memory()));
    let bucket: Arc<dyn Bucket> = Arc::clone(&counted) as _;
    let mut shard = Shard::over(Arc::clone(&bucket));
    let acme = tenant_id("acme");
    shard.write_segment("acme", &parts_of(&written(), "acme"), (segment(0), segment(11))).await;
    shard.commit_tenant(&acme).await;
    shard.commit().await;
    for is_first in [true, false] {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(NOW_MS));
        let settings =
            crate::CacheSettings { memory_bytes: 16 << 20, disk: Some((dir.path().to_owned(), 256 << 20)) };
        let parts = crate::CacheParts { bucket: Arc::clone(&bucket), clock: Arc::clone(&clock), settings };
        let cache = PageCache::open(parts).await.unwrap();
        let segments = Segments::new(SegmentsParts {
            bucket: Arc::clone(&bucket),
            cache: cache.clone(),
            shard: ShardId(0),
            tail: Arc::default(),
            clock,
            settings: SegmentsSettings::default(),
        });
        segments.begin().await.unwrap();
        let before = counted.counts().of(Operation::Get);
        assert_eq!(read(&segments, "acme").await, expected("acme"));
        let gets = counted.counts().of(Operation::Get) - before;
        // The manifest; and, the first time, the index and the data.
        assert_eq!(gets, if is_first { 3 } else { 1 });
        cache.close().await;
    }
}

#[tokio::test(start_paused = true)]
async fn limits_are_named() {
    let bucket = memory();
    let mut shard = Shard::over(Arc::clone(&bucket));
    shard.write_segment("acme", &parts_of(&written(), "acme"), (segment(0), segment(11))).await;
    shard.commit_tenant(&tenant_id("acme")).await;
    shard.commit().await;
    let (segments, follower) = started(&bucket).await;
    follower.shutdown().await;
    let fetch = async |limits: FetchLimits| {
        let scope = scope(vec![selection("", EVER)]);
        TenantSource::fetch(&segments, &tenant_id("acme"), &scope, limits).await.map(|_| ())
    };
    fetch(NO_LIMITS).await.unwrap();
    let error = fetch(FetchLimits { bytes: 100, ..NO_LIMITS }).await.unwrap_err();
    assert!(matches!(error, QueryError::Bytes { limit_bytes: 100 }), "{error}");
    let error = fetch(FetchLimits { memory_bytes: 10, ..NO_LIMITS }).await.unwrap_err();
    assert!(error.to_string().contains("10 bytes of memory"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn labels_metadata_histograms_and_exemplars_come_from_segments() {
    let bucket = memory();
    let mut shard = Shard::over(Arc::clone(&bucket));
    let exemplar = |at: i64| Exemplar {
        timestamp_ms: at,
        value: 1.0,
        labels: Labels::from_pairs([("trace_id", at.to_string())]).unwrap(),
    };
    let [early, late] = [("early", 100), ("late", 200)].map(|(job, at)| {
        let series = series(&[("__name__", "up"), ("job", job), (job, "x")]);
        MetricRows {
            floats: vec![FloatRow { series: Arc::clone(&series), timestamp_ms: at, value: 1.0 }],
            histograms: (job == "late")
                .then(|| HistogramRow {
                    series: Arc::clone(&series),
                    timestamp_ms: at + 1,
                    histogram: Arc::new(Histogram { count: at as f64, ..Histogram::default() }),
                })
                .into_iter()
                .collect(),
            exemplars: vec![ExemplarRow { series, exemplar: exemplar(at) }],
            ..MetricRows::default()
        }
    });
    let mut batch = MetricBatch::from_rows(vec![early, late]);
    let metadata =
        Metadata { metric_type: MetricType::Gauge, unit: String::new(), help: "Is it up?".to_owned() };
    batch.metadata.insert("up".to_owned(), metadata);
    shard.write_segment("acme", &batch, (segment(0), segment(1))).await;
    shard.commit_tenant(&tenant_id("acme")).await;
    shard.commit().await;
    let (segments, follower) = started(&bucket).await;
    follower.shutdown().await;
    let source = async |time_range_ms: (i64, i64), needs: Needs| {
        let scope = Scope { time_range_ms, with_provisional: true, needs };
        TenantSource::fetch(&segments, &tenant_id("acme"), &scope, NO_LIMITS).await.unwrap()
    };
    for (time_range_ms, jobs) in [
        (EVER, vec!["early", "late"]),
        ((0, 150), vec!["early"]),
        ((201, 300), vec!["late"]),
        ((0, 99), vec![]),
    ] {
        let labels = source(time_range_ms, Needs::Labels).await;
        let (mut values, mut names) = (BTreeSet::new(), BTreeSet::new());
        labels.for_each_label_value("job", time_range_ms, |value| _ = values.insert(value.to_owned()));
        labels.for_each_label_name(time_range_ms, |name| _ = names.insert(name.to_owned()));
        assert_eq!(values.iter().collect::<Vec<_>>(), jobs, "{time_range_ms:?}");
        let names: Vec<&String> =
            names.iter().filter(|name| !["__name__", "job"].contains(&name.as_str())).collect();
        assert_eq!(names, jobs, "each has a label of its own");
    }
    let overview = source((1, 0), Needs::Overview).await;
    assert_eq!(overview.metadata()["up"].help, "Is it up?");
    let mut pairs = BTreeMap::new();
    overview.for_each_pair(|name, value, count| _ = pairs.insert((name.to_owned(), value.to_owned()), count));
    assert_eq!(pairs[&("__name__".to_owned(), "up".to_owned())], 2);
    assert_eq!((pairs.len(), overview.most_series()), (5, 2));

    let matchers = vec![Matcher::equal("__name__", "up")];
    let exemplars = source((0, 150), Needs::Exemplars([matchers.clone()].into())).await;
    let selected = exemplars.select(&matchers, Having::Exemplars, (0, 150));
    let found: Vec<Exemplar> = (0..selected.len()).flat_map(|index| selected.exemplars(index)).collect();
    assert_eq!(found, [exemplar(100)]);

    let selection = selection("late", EVER);
    let samples = source(EVER, Needs::Samples([selection.clone()].into())).await;
    assert_eq!(samples.warnings(), [""; 0]);
    let selected = SeriesSource::select(&samples, &selection).unwrap();
    assert_eq!(selected.len(), 1);
    let mut out = SeriesSamples::default();
    selected.read(0, &mut out).unwrap();
    assert_eq!((selected.len(), out.timestamps_ms, out.values), (1, vec![200], vec![1.0]));
    assert_eq!((out.histograms[0].0, out.histograms[0].1.count), (201, 200.0));
}

fn label_set() -> impl Strategy<Value = Labels> {
    let pairs = prop::collection::btree_map("[abc]", "[xyz]{1,2}", 1..4);
    pairs.prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

fn matcher() -> impl Strategy<Value = Matcher> {
    use promql::MatchOp;
    let equal = ("[abcd]", any::<bool>(), "[xyz]{0,2}").prop_map(|(name, negative, value)| {
        Matcher::new(&name, if negative { MatchOp::NotEqual } else { MatchOp::Equal }, &value).unwrap()
    });
    let patterns = prop::sample::select(vec![
        "x|y", "x.*", ".*", ".+", "", "(x|yz)?", ".*z", "[xy]+", "|z", "xy?", "y.+",
    ]);
    let regex = ("[abcd]", any::<bool>(), patterns).prop_map(|(name, negative, pattern)| {
        Matcher::new(&name, if negative { MatchOp::NotRegex } else { MatchOp::Regex }, pattern).unwrap()
    });
    prop_oneof![equal, regex]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Postings, names and values answer what asking every series would.
    #[test]
    fn selecting_is_filtering(
        all in prop::collection::btree_set(label_set(), 1..60),
        matchers in prop::collection::vec(matcher(), 0..4),
        (start_ms, end_ms) in (0..3_i64, 0..3_i64),
    ) {
        let at_ms = |place: usize| place as i64 % 3;
        let rows = all.iter().enumerate().map(|(place, labels)| FloatRow {
            series: Arc::new(telemetry::Series::new(labels.clone())),
            timestamp_ms: at_ms(place),
            value: 1.0,
        });
        let batch = MetricBatch::from_rows(vec![MetricRows { floats: rows.collect(), ..MetricRows::default() }]);
        let acme = tenant_id("acme");
        let (body, _) = tenant_segment(&acme, ObjectId::new(0, 0), &batch, (segment(0), segment(0)));
        let opened = OpenSegment::parse(&acme, "key".into(), 0, (Bytes::from(body), 0), 1_000).unwrap();
        let selected = opened.select(&matchers).unwrap();
        let found: Vec<Labels> =
            selected.iter().map(|number| opened.series(number).unwrap().labels().clone()).collect();
        let holds = |labels: &&Labels| matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or("")));
        let expected: Vec<Labels> = batch.series.iter().map(|s| s.labels()).filter(holds).cloned().collect();
        prop_assert_eq!(found, expected);
        for _ in 0..2 {
            // The second time with what is known of postings after the first.
            prop_assert!(opened.series_at_most(&matchers) as u64 >= selected.len());
            opened.select(&matchers).unwrap();
        }
        let within = batch.series.iter().enumerate().filter(|(place, _)| (start_ms..=end_ms).contains(&at_ms(*place)));
        let within: Vec<&Labels> = within.map(|(_, series)| series.labels()).collect();
        let mut names = BTreeSet::new();
        opened.for_each_name((start_ms, end_ms), |name| assert!(names.insert(name.to_owned()), "twice"));
        let expected: BTreeSet<&str> = within.iter().flat_map(|labels| labels.iter()).map(|(name, _)| name).collect();
        prop_assert!(names.iter().eq(&expected), "{names:?}");
        for name in ["a", "b", "c", "d"] {
            let mut values = BTreeSet::new();
            opened.for_each_value(name, (start_ms, end_ms), |value| assert!(values.insert(value.to_owned()), "twice"));
            let expected: BTreeSet<&str> = within.iter().filter_map(|labels| labels.get(name)).collect();
            prop_assert!(values.iter().eq(&expected), "{name}: {values:?}");
            prop_assert!(opened.value_count(name) >= values.len());
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A segment answers for any stretch of time what a map would, whichever blocks that takes.
    #[test]
    fn reading_a_stretch_of_time_is_filtering(
        lengths in prop::collection::vec(1..300_000_usize, 1..3),
        stretch in (0..300_000_i64, 0..300_000_i64),
    ) {
        let rows = lengths.iter().enumerate().flat_map(|(place, length)| {
            let series = series(&[("__name__", "up"), ("job", &format!("{place}"))]);
            (0..*length as i64).map(move |at| FloatRow {
                series: Arc::clone(&series),
                timestamp_ms: at,
                value: at as f64 / 4.0 + place as f64,
            })
        });
        let batch = MetricBatch::from_rows(vec![MetricRows { floats: rows.collect(), ..MetricRows::default() }]);
        let acme = tenant_id("acme");
        let (body, entry) = tenant_segment(&acme, ObjectId::new(0, 0), &batch, (segment(0), segment(0)));
        let body = Bytes::from(body);
        let end = body.slice(entry.index_start as usize..);
        let opened = Arc::new(OpenSegment::parse(&acme, "key".into(), 0, (end, entry.index_start), 0).unwrap());
        let range = (stretch.0.min(stretch.1), stretch.0.max(stretch.1));
        let all: roaring::RoaringBitmap = (0..lengths.len() as u32).collect();
        let wanted: Vec<_> = opened.index().blocks_for(&all, range.0, range.1, false).into_iter().cloned().collect();
        let numbered = (0..).zip(opened.index().blocks()).filter(|(_, block)| wanted.contains(block));
        let held = numbered.map(|(number, block)| {
            let range = block.section.range.start as usize..block.section.range.end as usize;
            (number, part::HeldBlock::Bytes(body.slice(range)))
        });
        let part = SegmentPart::new(Arc::clone(&opened), held.collect(), Vec::new(), DecodedCache::new(64 << 20));
        for (place, length) in lengths.iter().enumerate() {
            let mut out = SeriesSamples::default();
            part.read(place as u32, range, &mut out);
            let times: Vec<i64> = (range.0..=range.1.min(*length as i64 - 1)).collect();
            let values: Vec<f64> = times.iter().map(|at| *at as f64 / 4.0 + place as f64).collect();
            prop_assert_eq!((&out.timestamps_ms, &out.values), (&times, &values));
        }
        prop_assert!(part.damaged().is_none());
    }
}
