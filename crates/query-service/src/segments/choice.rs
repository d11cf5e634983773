//! Which of a tenant's segments answer which selection: raw ones, or thinned ones where those say the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use promql::{Reading, Selection};
use segment_store::thin::Days;
use segment_store::{Resolution, SegmentEntry, TimeWindow};

/// What a segment is good for.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    days: Arc<Days>,
    day: TimeWindow,
    resolution: Resolution,
}

impl Service {
    pub(super) fn new(days: &Arc<Days>, entry: &SegmentEntry) -> Self {
        Self { days: Arc::clone(days), day: entry.window.day(), resolution: entry.resolution }
    }

    /// Whether the segment answers who reads so.
    pub(crate) fn answers(&self, reading: Reading) -> bool {
        self.days.resolution(self.day, |ms| reading.allows(ms)) == self.resolution
    }

    /// Whether what was left out of the segment is needed.
    pub(super) fn has_omitted(&self, reading: Reading) -> bool {
        self.resolution != Resolution::Raw && matches!(reading, Reading::Thinned { with_omitted: true, .. })
    }

    /// The day, if the segment is thinned.
    pub(super) fn thinned_day(&self) -> Option<TimeWindow> {
        (self.resolution != Resolution::Raw).then_some(self.day)
    }
}

/// What an answer has to say where raw samples are gone that it would need.
pub(super) fn notes(days: &Days, selections: &[Selection]) -> Vec<String> {
    let inexact = selections.iter().flat_map(|selection| {
        let range_ms = (selection.start_ms, selection.end_ms);
        days.inexact(range_ms, |ms| selection.reading.allows(ms))
    });
    let inexact: BTreeSet<(TimeWindow, Resolution)> = inexact.collect();
    let (Some((first, _)), Some((last, resolution))) = (inexact.first(), inexact.last()) else {
        return Vec::new();
    };
    let minutes = resolution.ms().unwrap_or_default() / 60_000;
    let day = |day: &TimeWindow| {
        let at = jiff::Timestamp::from_millisecond(day.start_ms);
        at.map(|at| at.strftime("%F").to_string()).unwrap_or_default()
    };
    vec![format!(
        "all samples of {} to {} are no longer kept, and this query needs them: results there are approximate. \
         Exact are those of functions such as max_over_time, rate and avg_over_time where steps, ranges and offsets are \
         multiples of {minutes} minutes",
        day(first),
        day(last),
    )]
}
