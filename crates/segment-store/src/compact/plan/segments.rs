//! Merging a tenant's segments: those of a window of two hours when there are several, and those of a day when it is over.

use std::collections::BTreeMap;

use super::Reach;
use crate::limits::{DAY_SETTLE, SEGMENT_FAN_IN, SEGMENT_SIZE_RATIO};
use crate::{Level, ObjectId, Resolution, SegmentEntry, SegmentKey, TenantManifest, TimeWindow};

/// Segments to be made one, or a few that divide the series among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentMergePlan {
    /// From the earliest to the latest.
    pub inputs: Vec<ObjectId>,
    /// What time the result is of.
    pub window: TimeWindow,
    /// Whether the inputs are all the segments that may have samples of that time. Then the result holds exactly the samples that
    /// the ledger counted.
    pub complete: bool,
}

/// Segments of one window with the same span: one merge wrote them and divided the series among them.
#[derive(Clone, Debug)]
struct Set<'a> {
    window: TimeWindow,
    first: SegmentKey,
    last: SegmentKey,
    len: u64,
    segments: Vec<&'a SegmentEntry>,
}

/// The next merge of a tenant's segments, the latest first. `settled_ms` says up to when, by the names of fresh segments, everything is
/// in tenants' segments; `passed_over` says which segments cannot be read.
#[must_use]
pub fn plan_segments(
    manifest: &TenantManifest,
    reach: Reach,
    settled_ms: i64,
    passed_over: &dyn Fn(&ObjectId) -> bool,
) -> Option<SegmentMergePlan> {
    let mut days: BTreeMap<TimeWindow, Vec<&SegmentEntry>> = BTreeMap::new();
    let raw = manifest.segments.iter().filter(|segment| segment.resolution == Resolution::Raw);
    for segment in raw.filter(|segment| !passed_over(&segment.id)) {
        days.entry(segment.window.day()).or_default().push(segment);
    }
    days.into_iter().rev().find_map(|(day, segments)| plan_day(day, segments, reach, settled_ms))
}

fn plan_day(
    day: TimeWindow,
    segments: Vec<&SegmentEntry>,
    reach: Reach,
    settled_ms: i64,
) -> Option<SegmentMergePlan> {
    let sets = sets(segments);
    if sets.len() < 2 {
        return None;
    }
    if reach.is_everything() {
        let same = sets.iter().all(|set| set.window == sets[0].window);
        return Some(plan(&sets, if same { sets[0].window } else { day }, &sets));
    }
    let settle_ms = i64::try_from(DAY_SETTLE.as_millis()).unwrap_or(i64::MAX);
    if settled_ms >= day.end_ms().saturating_add(settle_ms) {
        // What came since the day was put together.
        let new = sets.iter().rev().take_while(|set| set.window.level == Level::TwoHours).count();
        if new >= 2 {
            return Some(plan(&sets[sets.len() - new..], day, &sets));
        }
    }
    let mut windows: BTreeMap<TimeWindow, Vec<Set<'_>>> = BTreeMap::new();
    for set in &sets {
        if set.window.level == Level::Day {
            // What is older than a segment of the whole day is not the neighbour of what is newer.
            windows.retain(|window, _| window.level == Level::Day);
        }
        windows.entry(set.window).or_default().push(set.clone());
        if set.window.level == Level::TwoHours {
            windows.remove(&day);
        }
    }
    windows.into_values().rev().find_map(|of_window| {
        let run = alike(&of_window);
        (run.len() >= SEGMENT_FAN_IN).then(|| plan(run, run[0].window, &sets))
    })
}

/// The latest sets of a window that are alike in size: none is much larger than all later ones together, so that little is
/// written again and again.
fn alike<'a, 'b>(sets: &'b [Set<'a>]) -> &'b [Set<'a>] {
    let mut later = 0_u64;
    let taken = sets.iter().rev().take_while(|set| {
        let fits = later == 0 || set.len <= later.saturating_mul(SEGMENT_SIZE_RATIO);
        later = later.saturating_add(set.len);
        fits
    });
    &sets[sets.len() - taken.count()..]
}

/// The sets of a day in their order.
fn sets(mut segments: Vec<&SegmentEntry>) -> Vec<Set<'_>> {
    segments.sort_by_key(|segment| (segment.last, segment.first, segment.window, segment.id));
    let mut sets: Vec<Set<'_>> = Vec::new();
    for segment in segments {
        let (window, first, last) = (segment.window, segment.first, segment.last);
        match sets.last_mut().filter(|set| (set.window, set.first, set.last) == (window, first, last)) {
            Some(set) => {
                set.len = set.len.saturating_add(segment.len);
                set.segments.push(segment);
            }
            None => sets.push(Set { window, first, last, len: segment.len, segments: vec![segment] }),
        }
    }
    sets
}

fn plan(run: &[Set<'_>], window: TimeWindow, of_the_day: &[Set<'_>]) -> SegmentMergePlan {
    let inputs = run.iter().flat_map(|set| set.segments.iter().map(|segment| segment.id)).collect();
    let shares_time =
        |set: &&Set<'_>| set.window == window || set.window.level == Level::Day || window.level == Level::Day;
    let complete = run.len() == of_the_day.iter().filter(shares_time).count();
    SegmentMergePlan { inputs, window, complete }
}
