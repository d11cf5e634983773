//! Tenant segments of a window, or of a day, into one (or a few that divide the series among them).
//!
//! Order: the tenant's manifest was read; read the inputs as streams; put the outputs; replace the manifest, if it is still the same. The
//! inputs leave it then, and are deleted after their grace.

use telemetry::TenantId;

use super::absorb::input_of;
use super::context::{Context, LOST, Versioned};
use super::plan::SegmentMergePlan;
use super::stats::{add, add_pair};
use super::{CompactError, Step};
use crate::limits::MERGE_SEGMENTS_BYTES;
use crate::merge::{MergeError, MergeTotals, SegmentBody, SegmentInput, SegmentMerge, merge_memory_bytes};
use crate::{
    BucketError, Quarantined, Resolution, Retired, SegmentEntry, SegmentKey, TenantManifest, TimeWindow,
};

/// Merges what `plan` says, or as many of the latest as memory is made for.
pub(super) async fn merge_segments(
    context: &Context,
    tenant: &TenantId,
    of: &Versioned<TenantManifest>,
    plan: &SegmentMergePlan,
) -> Result<Step, CompactError> {
    let segments: Vec<&SegmentEntry> = plan.inputs.iter().filter_map(|id| of.manifest.segment(id)).collect();
    let all = units(&segments);
    let units = &all[all.len() - fitting(&all)..];
    let inputs: Vec<&SegmentEntry> = units.iter().flatten().copied().collect();
    let complete = plan.complete && units.len() == all.len();
    let (Some(first), Some(last)) =
        (inputs.iter().map(|segment| segment.first).min(), inputs.iter().map(|segment| segment.last).max())
    else {
        return Ok(Step::Overtaken);
    };
    let span = (first, last);
    let mut merged = write(context, tenant, plan.window, span, units).await;
    if let Err(CompactError::Merge(MergeError::Damaged { .. })) = merged {
        // It may have been damaged on its way here only.
        merged = write(context, tenant, plan.window, span, units).await;
    }
    let (mut outputs, totals) = match merged {
        Ok(merged) => merged,
        Err(CompactError::Merge(MergeError::Bucket { input, source: BucketError::NotFound { .. } })) => {
            if !context.is_current_of(tenant, of).await? {
                return Ok(Step::Overtaken);
            }
            let object = TenantManifest::segment_key(tenant, &inputs[input].id);
            return quarantine(context, tenant, of, vec![(object, LOST.to_owned())]).await;
        }
        Err(CompactError::Merge(MergeError::Damaged { input, source })) => {
            let object = TenantManifest::segment_key(tenant, &inputs[input].id);
            return quarantine(context, tenant, of, vec![(object, source.to_string())]).await;
        }
        Err(error) => return Err(error),
    };
    let distinct: u64 = inputs.iter().map(|segment| segment.distinct).sum();
    let exact = complete && of.manifest.dropped_before_ms.is_none() && of.manifest.quarantined.is_empty();
    check_conservation(tenant, &inputs, &outputs, totals, exact.then_some(distinct))?;
    share(distinct, &mut outputs);

    let now_ms = context.clock.now_ms();
    let mut next = of.manifest.clone();
    next.segments.retain(|segment| !inputs.iter().any(|input| input.id == segment.id));
    next.retired.extend(inputs.iter().map(|input| Retired { id: input.id, since_ms: now_ms }));
    next.segments.extend(outputs);
    next.segments.sort_unstable_by_key(|segment| segment.id);
    if context.commit_tenant(tenant, of, next).await?.is_none() {
        return Ok(Step::Overtaken);
    }
    add(&context.counters.segment_merges, 1);
    add_pair(&context.counters.segment_samples, (totals.samples_read, totals.samples_written));
    let (tenant, segments) = (tenant.clone(), inputs.len());
    Ok(Step::SegmentsMerged { tenant, segments, samples: totals.samples_written })
}

/// Merges `units` into new objects.
async fn write(
    context: &Context,
    tenant: &TenantId,
    window: TimeWindow,
    (first, last): (SegmentKey, SegmentKey),
    units: &[Vec<&SegmentEntry>],
) -> Result<(Vec<SegmentEntry>, MergeTotals), CompactError> {
    let of_unit = |unit: &Vec<&SegmentEntry>| unit.iter().map(|segment| input_of(tenant, segment)).collect();
    let inputs: Vec<Vec<SegmentInput>> = units.iter().map(of_unit).collect();
    let mut merge = SegmentMerge::new(tenant.clone(), inputs, context.work_on);
    let mut outputs = Vec::new();
    while let Some(SegmentBody { body, summary, .. }) = merge.next(&*context.bucket).await? {
        let id = context.new_id();
        context.put_new(&TenantManifest::segment_key(tenant, &id), body).await?;
        outputs.push(SegmentEntry {
            id,
            len: summary.len_bytes,
            index_start: summary.index_start,
            window,
            min_time_ms: summary.min_time_ms,
            max_time_ms: summary.max_time_ms,
            first,
            last,
            counts: summary.counts,
            distinct: 0,
            resolution: Resolution::Raw,
        });
    }
    Ok((outputs, merge.totals()))
}

/// Segments with the same window and span were written by one merge and divide the series among them, in the order of their ids.
pub(super) fn units<'a>(segments: &[&'a SegmentEntry]) -> Vec<Vec<&'a SegmentEntry>> {
    let alike =
        |a: &&SegmentEntry, b: &&SegmentEntry| (a.window, a.first, a.last) == (b.window, b.first, b.last);
    segments.chunk_by(alike).map(<[_]>::to_vec).collect()
}

/// Memory that merging `plan`'s segments takes at most, in bytes, about.
pub(super) fn memory_bytes(of: &TenantManifest, plan: &SegmentMergePlan) -> u64 {
    let segments: Vec<&SegmentEntry> = plan.inputs.iter().filter_map(|id| of.segment(id)).collect();
    units(&segments)
        .iter()
        .map(|unit| unit_bytes(unit))
        .fold(0, u64::saturating_add)
        .min(MERGE_SEGMENTS_BYTES)
}

fn unit_bytes(unit: &[&SegmentEntry]) -> u64 {
    let bytes = |segment: &&SegmentEntry| {
        merge_memory_bytes(segment.counts.series, segment.len.saturating_sub(segment.index_start))
    };
    unit.iter().map(bytes).max().unwrap_or_default()
}

/// How many of the latest units can be merged at once, at least two; of each unit one segment is open at a time.
pub(super) fn fitting(units: &[Vec<&SegmentEntry>]) -> usize {
    let mut bytes = 0_u64;
    let taken = units.iter().rev().take_while(|unit| {
        bytes = bytes.saturating_add(unit_bytes(unit));
        bytes <= MERGE_SEGMENTS_BYTES
    });
    taken.count().max(2).min(units.len())
}

fn check_conservation(
    tenant: &TenantId,
    inputs: &[&SegmentEntry],
    outputs: &[SegmentEntry],
    totals: MergeTotals,
    distinct: Option<u64>,
) -> Result<(), CompactError> {
    let what = || format!("merging {} segments of tenant {tenant}", inputs.len());
    let read: u64 = inputs.iter().map(|segment| segment.counts.samples).sum();
    let written: u64 = outputs.iter().map(|segment| segment.counts.samples).sum();
    let checks = [
        (totals.samples_read, read),
        (totals.samples_written, totals.samples_read - totals.samples_replaced),
        (written, totals.samples_written),
        // Nobody else has samples of that time, so there are as many as were counted.
        (written, distinct.unwrap_or(written)),
    ];
    for (found, expected) in checks {
        if found != expected {
            return Err(CompactError::NotConserved { what: what(), found, expected });
        }
    }
    Ok(())
}

/// Divides what the ledger counted among the segments; what goes beyond a segment's samples is with the next.
fn share(mut distinct: u64, outputs: &mut [SegmentEntry]) {
    for output in outputs {
        output.distinct = distinct.min(output.counts.samples);
        distinct -= output.distinct;
    }
}

/// Notes that objects of a tenant cannot be read.
pub(super) async fn quarantine(
    context: &Context,
    tenant: &TenantId,
    of: &Versioned<TenantManifest>,
    objects: Vec<(String, String)>,
) -> Result<Step, CompactError> {
    let mut next = of.manifest.clone();
    let (count, since_ms) = (objects.len(), context.clock.now_ms());
    for (object, reason) in objects {
        tracing::error!(object, %tenant, reason, "an object cannot be read and is passed over");
        next.quarantined.push(Quarantined { object, tenant: Some(tenant.clone()), reason, since_ms });
    }
    if context.commit_tenant(tenant, of, next).await?.is_none() {
        return Ok(Step::Overtaken);
    }
    add(&context.counters.quarantined, count as u64);
    Ok(Step::Quarantined { objects: count })
}
