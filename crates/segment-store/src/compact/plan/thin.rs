//! Thinning a day when it is over.

use crate::limits::{DAY_FINAL, DAY_SETTLE};
use crate::thin::days::{is_dropped, is_up_to_date, segments_of_days};
use crate::{ObjectId, Resolution, TenantManifest, TimeWindow};

/// A day's raw segments to be thinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThinPlan {
    /// Which day.
    pub day: TimeWindow,
    /// All its raw segments, from the earliest to the latest.
    pub inputs: Vec<ObjectId>,
}

/// The next day to be thinned, the latest first: one that is over and was not thinned yet. A day that got samples since is thinned
/// again when hardly any more can come. `settled_ms` and `passed_over` are as for
/// [`plan_segments`](super::plan_segments).
#[must_use]
pub fn plan_thin(
    manifest: &TenantManifest,
    settled_ms: i64,
    passed_over: &dyn Fn(&ObjectId) -> bool,
) -> Option<ThinPlan> {
    segments_of_days(manifest).into_iter().rev().find_map(|(day, segments)| {
        let passed_ms = i128::from(settled_ms) - i128::from(day.end_ms());
        let mut raw = segments.get(&Resolution::Raw)?.clone();
        let is_new = Resolution::THINNED.iter().any(|resolution| !segments.contains_key(resolution));
        let is_stale = Resolution::THINNED.iter().any(|resolution| !is_up_to_date(&segments, *resolution));
        let is_time = is_new && passed_ms >= DAY_SETTLE.as_millis() as i128
            || is_stale && passed_ms >= DAY_FINAL.as_millis() as i128;
        let has_all = !is_dropped(manifest, day) && !raw.iter().any(|segment| passed_over(&segment.id));
        raw.sort_by_key(|segment| (segment.last, segment.first, segment.window, segment.id));
        let inputs = raw.iter().map(|segment| segment.id).collect();
        let has_samples = raw.iter().any(|segment| segment.counts.samples > 0);
        (is_time && has_all && has_samples).then_some(ThinPlan { day, inputs })
    })
}
