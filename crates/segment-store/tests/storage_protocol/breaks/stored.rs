//! What a process with a mistake stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use segment_store::{Level, ObjectId, Resolution, Retired, SegmentEntry, ShardManifest, TenantManifest};
use storage_format::{FreshPartition, encode_fresh};
use telemetry::{ExemplarRow, FloatRow, MetricBatch, MetricRows, is_stale_nan};

use super::Break;
use crate::contents::partitions_of;

/// A merged object.
pub(super) fn merged(how: Break, body: Bytes) -> Bytes {
    let mut partitions = partitions_of(&body);
    for (_, batch) in &mut partitions {
        match how {
            Break::HistogramsAreLost => *batch = without_histograms(batch),
            Break::MetadataIsLost => batch.metadata.clear(),
            Break::ExemplarsAreDoubled => {
                batch.exemplars = batch.exemplars.iter().flat_map(|of| [of.clone(), of.clone()]).collect();
            }
            Break::EndsAreLost => {
                for value in batch.values.iter_mut().filter(|value| is_stale_nan(**value)) {
                    *value = 0.0;
                }
            }
            _ => return body,
        }
    }
    let partitions: Vec<FreshPartition<'_>> =
        partitions.iter().map(|(tenant, metrics)| FreshPartition { tenant, metrics }).collect();
    encode_fresh(&partitions).unwrap().into()
}

/// The same, without native histograms and series that have nothing else.
fn without_histograms(batch: &MetricBatch) -> MetricBatch {
    let mut rows = MetricRows { metadata: batch.metadata.clone(), ..MetricRows::default() };
    for (index, series) in batch.series.iter().enumerate() {
        let (times, values) = batch.floats_of(index);
        rows.floats.extend(times.iter().zip(values).map(|(&timestamp_ms, &value)| FloatRow {
            series: Arc::clone(series),
            timestamp_ms,
            value,
        }));
    }
    rows.exemplars.extend(batch.exemplars.iter().map(|(index, exemplar)| ExemplarRow {
        series: Arc::clone(&batch.series[*index as usize]),
        exemplar: exemplar.clone(),
    }));
    MetricBatch::from_rows(vec![rows])
}

/// A shard's manifest.
pub(super) fn shard(how: Break, before: &ShardManifest, mut manifest: ShardManifest) -> ShardManifest {
    match how {
        Break::DeletionIsNotNoted => manifest.deleted_tenants.clear(),
        Break::DeletionIsForgotten => {
            manifest.deleted_tenants.retain(|tenant| !before.deleted_tenants.contains(tenant));
        }
        Break::PlaceOfFirst => {
            for merged in manifest.merged.iter_mut().filter(|merged| before.merged(&merged.id).is_none()) {
                merged.last = merged.first;
            }
        }
        Break::EpochStays => manifest.epoch = before.epoch,
        Break::SweptIsNotCounted => manifest.swept = before.swept,
        Break::GraceFromBirth => {
            for (key, since_ms) in &mut manifest.absorbed {
                *since_ms = key.time_ms();
            }
            born(&mut manifest.retired);
        }
        _ => {}
    }
    manifest
}

/// A tenant's manifest.
pub(super) fn tenant(how: Break, before: &TenantManifest, mut manifest: TenantManifest) -> TenantManifest {
    let is_new = |id: &ObjectId| before.segment(id).is_none();
    match how {
        Break::AbsorbedIsNotNoted => manifest.absorbed.clear(),
        Break::ForgottenEarly => manifest.absorbed.retain(|id| !before.has_absorbed(id)),
        Break::LedgerLater => manifest.ledger = before.ledger.clone(),
        Break::LedgerCountsDuplicates => {
            let new = manifest.segments.iter().filter(|entry| is_new(&entry.id));
            let duplicates: u64 = new.map(|entry| entry.counts.samples - entry.distinct).sum();
            if manifest.retired.len() == before.retired.len()
                && let Some(hour) = manifest.ledger.hours.values_mut().next()
            {
                hour.samples += duplicates;
            }
        }
        Break::LedgerCountsThinned => {
            let thinned = manifest.segments.iter().filter(|entry| entry.resolution != Resolution::Raw);
            let samples: u64 =
                thinned.filter(|entry| is_new(&entry.id)).map(|entry| entry.counts.samples).sum();
            if let Some(hour) = manifest.ledger.hours.values_mut().next() {
                hour.samples += samples;
            }
        }
        Break::AbsorbedPlaceOfFirst => {
            let two_hours =
                manifest.segments.iter_mut().filter(|entry| entry.window.level == Level::TwoHours);
            for entry in two_hours.filter(|entry| is_new(&entry.id)) {
                entry.last = entry.first;
            }
        }
        Break::GraceFromBirth => born(&mut manifest.retired),
        Break::RawGoesWhenThinned => {
            let new = manifest.segments.iter().filter(|entry| is_new(&entry.id));
            let thinned = new.filter(|entry| entry.resolution != Resolution::Raw);
            let days: Vec<_> = thinned.map(|entry| entry.window.day()).collect();
            let (gone, kept): (Vec<SegmentEntry>, _) = manifest
                .segments
                .into_iter()
                .partition(|entry| entry.resolution == Resolution::Raw && days.contains(&entry.window.day()));
            manifest.segments = kept;

            manifest
                .retired
                .extend(gone.iter().map(|entry| Retired { id: entry.id, since_ms: entry.id.time_ms() }));
        }
        Break::ThinnedGoesWithRaw if before.dropped_before_ms < manifest.dropped_before_ms => {
            let dropped_ms = manifest.dropped_before_ms.unwrap_or_default();
            manifest.segments.retain(|entry| entry.window.end_ms() > dropped_ms);
        }
        Break::ThinnedOnce => say_up_to_date(&mut manifest),
        _ => {}
    }
    manifest
}

/// The grace of objects begins when they were named.
fn born(retired: &mut [Retired]) {
    for of in retired {
        of.since_ms = of.id.time_ms();
    }
}

/// Lets thinned segments say that they were made from what there is now.
fn say_up_to_date(manifest: &mut TenantManifest) {
    let mut days = BTreeMap::new();
    for entry in manifest.segments.iter().filter(|entry| entry.resolution == Resolution::Raw) {
        let (samples, last) = days.entry(entry.window.day()).or_insert((0, entry.last));
        *samples += entry.distinct;
        *last = entry.last.max(*last);
    }
    for entry in manifest.segments.iter_mut().filter(|entry| entry.resolution != Resolution::Raw) {
        if let Some((samples, last)) = days.get(&entry.window.day()) {
            // Each is one segment here.
            (entry.distinct, entry.last) = (*samples, *last);
        }
    }
}
