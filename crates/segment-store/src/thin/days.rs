//! Which segments of a tenant answer a question, day by day.

use std::collections::BTreeMap;

use crate::{Resolution, SegmentEntry, SegmentKey, TenantManifest, TimeWindow};

/// For each day of a tenant the resolutions that can be read, each of which says the same as far as it goes.
///
/// Thinned segments of a day count as long as they say what all others of the day say: those that they were made from are as many
/// samples as there are now, and the latest writer among them is the latest there is. What was written to the day since shows
/// in one of the two, and the day is then read from all its samples until it is thinned again. When raw segments of the day
/// have been dropped for their age, thinned ones are what is left of it.
#[derive(Clone, Debug, Default)]
pub struct Days(BTreeMap<TimeWindow, Day>);

#[derive(Clone, Debug)]
struct Day {
    /// From the finest to the coarsest; not empty.
    resolutions: Vec<Resolution>,
}

/// The segments of a day, by resolution.
pub(crate) type Segments<'m> = BTreeMap<Resolution, Vec<&'m SegmentEntry>>;

/// All segments of `manifest` by day.
pub(crate) fn segments_of_days(manifest: &TenantManifest) -> BTreeMap<TimeWindow, Segments<'_>> {
    let mut days: BTreeMap<TimeWindow, Segments<'_>> = BTreeMap::new();
    for segment in &manifest.segments {
        days.entry(segment.window.day()).or_default().entry(segment.resolution).or_default().push(segment);
    }
    days
}

/// How many samples are in these segments, each counted once, and who wrote the last.
fn contents(segments: Option<&Vec<&SegmentEntry>>) -> Option<(u64, SegmentKey)> {
    let last = segments?.iter().map(|segment| segment.last).max()?;
    Some((segments?.iter().map(|segment| segment.distinct).fold(0, u64::saturating_add), last))
}

/// Whether the segments at `resolution` say what the raw ones of the day say.
pub(crate) fn is_up_to_date(segments: &Segments<'_>, resolution: Resolution) -> bool {
    let of = contents(segments.get(&resolution));
    of.is_some() && of == contents(segments.get(&Resolution::Raw))
}

/// Whether raw segments of `day` have been dropped for their age.
pub(crate) fn is_dropped(manifest: &TenantManifest, day: TimeWindow) -> bool {
    manifest.dropped_before_ms.is_some_and(|before_ms| day.start_ms < before_ms)
}

impl Days {
    /// The days of `manifest`. `is_busy` says whether there may be samples of a day that no segment of the manifest has, or that
    /// are read from elsewhere besides; `is_damaged`, which segments cannot be read: a resolution that lacks one is not used
    /// where there is another.
    #[must_use]
    pub fn of(
        manifest: &TenantManifest,
        is_busy: impl Fn(TimeWindow) -> bool,
        is_damaged: impl Fn(&SegmentEntry) -> bool,
    ) -> Self {
        let days = segments_of_days(manifest).into_iter().map(|(day, segments)| {
            let thinned = || Resolution::THINNED.into_iter();
            let mut resolutions: Vec<Resolution> = if is_dropped(manifest, day) && segments.len() > 1
                || !segments.contains_key(&Resolution::Raw)
            {
                thinned().filter(|resolution| segments.contains_key(resolution)).collect()
            } else {
                let busy = is_busy(day);
                let up_to_date = thinned().filter(|of| !busy && is_up_to_date(&segments, *of));
                [Resolution::Raw].into_iter().chain(up_to_date).collect()
            };
            let is_whole = |of: &Resolution| {
                *of == Resolution::Raw
                    || !segments.get(of).is_some_and(|of| of.iter().any(|each| is_damaged(each)))
            };
            if resolutions.iter().any(is_whole) {
                resolutions.retain(is_whole);
            }
            (day, Day { resolutions })
        });
        Self(days.collect())
    }

    /// The coarsest resolution of `day` that `allows` its stretches (in milliseconds); where that is none, the finest there is:
    /// mostly that is [`Resolution::Raw`], which is always allowed.
    #[must_use]
    pub fn resolution(&self, day: TimeWindow, allows: impl Fn(i64) -> bool) -> Resolution {
        let resolutions = self.0.get(&day).map(|day| day.resolutions.as_slice()).unwrap_or_default();
        let is_allowed = |of: &Resolution| of.ms().is_none_or(&allows);
        let coarsest = resolutions.iter().copied().rfind(is_allowed);
        coarsest.or(resolutions.first().copied()).unwrap_or_default()
    }

    /// The days between two times (ms, both inclusive) whose raw samples are gone, and that no resolution answers exactly that
    /// `allows` its stretches; with the resolution that is read.
    pub fn inexact(
        &self,
        (start_ms, end_ms): (i64, i64),
        allows: impl Fn(i64) -> bool,
    ) -> Vec<(TimeWindow, Resolution)> {
        let within = self.0.keys().filter(|day| day.start_ms <= end_ms && day.end_ms() > start_ms);
        let chosen = within.map(|day| (*day, self.resolution(*day, &allows)));
        chosen.filter(|(_, of)| of.ms().is_some_and(|ms| !allows(ms))).collect()
    }
}
