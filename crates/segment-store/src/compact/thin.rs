//! A day's raw segments into thinned ones ([`crate::thin`]), which stand beside them.
//!
//! Order: the tenant's manifest was read; read the raw segments as streams; put the thinned ones, of all resolutions; replace the
//! manifest, if it is still the same. Thinned segments of the day from before leave it then. The ledger has nothing to do with it.

use telemetry::TenantId;

use super::absorb::input_of;
use super::context::{Context, Versioned};
use super::merge_segments::{fitting, quarantine, units};
use super::plan::ThinPlan;
use super::stats::add;
use super::{CompactError, Step};
use crate::merge::{MergeError, SegmentBody, SegmentInput, SegmentMerge};
use crate::{BucketError, Resolution, Retired, SegmentEntry, TenantManifest};

/// Thins what `plan` says; nothing when it is more than memory is made for.
pub(super) async fn thin(
    context: &Context,
    tenant: &TenantId,
    of: &Versioned<TenantManifest>,
    plan: &ThinPlan,
) -> Result<Option<Step>, CompactError> {
    let inputs: Vec<&SegmentEntry> = plan.inputs.iter().filter_map(|id| of.manifest.segment(id)).collect();
    let units = units(&inputs);
    if fitting(&units) < units.len() {
        // Merging will make them fewer.
        return Ok(None);
    }
    let mut written = write(context, tenant, plan, &inputs, &units).await;
    if let Err(CompactError::Merge(MergeError::Damaged { .. })) = written {
        // It may have been damaged on its way here only.
        written = write(context, tenant, plan, &inputs, &units).await;
    }
    let outputs = match written {
        Ok(outputs) => outputs,
        Err(CompactError::Merge(MergeError::Bucket { source: BucketError::NotFound { .. }, .. })) => {
            return Ok(Some(Step::Overtaken));
        }
        Err(CompactError::Merge(MergeError::Damaged { input, source })) => {
            let object = TenantManifest::segment_key(tenant, &inputs[input].id);
            return quarantine(context, tenant, of, vec![(object, source.to_string())]).await.map(Some);
        }
        Err(error) => return Err(error),
    };
    let samples = inputs.iter().map(|segment| segment.counts.samples).sum();
    let kept = outputs.iter().map(|segment| segment.counts.samples).sum();
    let now_ms = context.clock.now_ms();
    let mut next = of.manifest.clone();
    let before = next
        .segments
        .iter()
        .filter(|segment| segment.resolution != Resolution::Raw && segment.window == plan.day);
    let before: Vec<_> = before.map(|segment| segment.id).collect();
    next.segments.retain(|segment| !before.contains(&segment.id));
    next.retired.extend(before.into_iter().map(|id| Retired { id, since_ms: now_ms }));
    next.segments.extend(outputs);
    next.segments.sort_unstable_by_key(|segment| segment.id);
    if context.commit_tenant(tenant, of, next).await?.is_none() {
        return Ok(Some(Step::Overtaken));
    }
    add(&context.counters.thinned_days, 1);
    Ok(Some(Step::Thinned { tenant: tenant.clone(), samples, kept }))
}

async fn write(
    context: &Context,
    tenant: &TenantId,
    plan: &ThinPlan,
    raw: &[&SegmentEntry],
    units: &[Vec<&SegmentEntry>],
) -> Result<Vec<SegmentEntry>, CompactError> {
    let (Some(first), Some(last)) =
        (raw.iter().map(|segment| segment.first).min(), raw.iter().map(|segment| segment.last).max())
    else {
        return Ok(Vec::new());
    };
    let of_unit = |unit: &Vec<&SegmentEntry>| unit.iter().map(|segment| input_of(tenant, segment)).collect();
    let inputs: Vec<Vec<SegmentInput>> = units.iter().map(of_unit).collect();
    let mut merge = SegmentMerge::thinned(tenant.clone(), inputs, context.work_on);
    let mut outputs: Vec<SegmentEntry> = Vec::new();
    while let Some(SegmentBody { body, summary, resolution }) = merge.next(&*context.bucket).await? {
        let id = context.new_id();
        context.put_new(&TenantManifest::segment_key(tenant, &id), body).await?;
        let is_first = outputs.iter().all(|output| output.resolution != resolution);
        let distinct = raw.iter().map(|segment| segment.distinct).fold(0, u64::saturating_add);
        outputs.push(SegmentEntry {
            id,
            len: summary.len_bytes,
            index_start: summary.index_start,
            window: plan.day,
            min_time_ms: summary.min_time_ms,
            max_time_ms: summary.max_time_ms,
            first,
            last,
            counts: summary.counts,
            distinct: if is_first { distinct } else { 0 },
            resolution,
        });
    }
    let found = merge.totals().samples_read;
    let expected = raw.iter().map(|segment| segment.counts.samples).sum();
    if found != expected {
        let what = format!("thinning {} segments of tenant {tenant}", raw.len());
        return Err(CompactError::NotConserved { what, found, expected });
    }
    Ok(outputs)
}
