//! Where a tenant's telemetry says that it comes from: how many samples named which cloud region.
//!
//! OTLP says it once for all samples of a resource, so those are counted exactly. Remote write says it by labels, of `target_info`
//! or of every series where somebody set external labels; there, one sample in `SAMPLED` is looked at and counts for all of
//! them, since looking at each would cost more than it tells.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use parking_lot::Mutex;
use telemetry::{Labels, MetricRows};

use crate::limits::{MAX_PLACE_TEXT_BYTES, MAX_PLACES};

/// A prime, so that scrapes of equal length do not show the same samples each time.
const SAMPLED: usize = 61;

/// What telemetry says of its place; empty where it says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CloudPlace {
    /// `cloud.provider`.
    pub provider: String,
    /// `cloud.region`.
    pub region: String,
    /// `cloud.availability_zone`.
    pub zone: String,
}

/// How often a place was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sightings {
    /// Samples.
    pub samples: u64,
    /// When the first came, in milliseconds since the Unix epoch.
    pub first_ms: i64,
    /// When the last came, in milliseconds since the Unix epoch.
    pub last_ms: i64,
}

impl CloudPlace {
    /// Whether it says where: a provider alone is no place.
    fn is_known(&self) -> bool {
        !self.region.is_empty() || !self.zone.is_empty()
    }

    /// The place that these three texts name.
    pub(crate) fn new(provider: &str, region: &str, zone: &str) -> Option<Self> {
        let short = |text: &str| text[..text.floor_char_boundary(MAX_PLACE_TEXT_BYTES)].to_owned();
        let place = Self { provider: short(provider), region: short(region), zone: short(zone) };
        place.is_known().then_some(place)
    }

    fn of(labels: &Labels) -> Option<Self> {
        let text = |name| labels.get(name).unwrap_or_default();
        let (region, zone) = (text("cloud_region"), text("cloud_availability_zone"));
        if region.is_empty() && zone.is_empty() {
            return None;
        }
        Self::new(text("cloud_provider"), region, zone)
    }
}

/// The places of one request.
pub(crate) type Places = Vec<(CloudPlace, u64)>;

/// The places that a sample of rows names. `offset` says how many samples of the tenant came before, so that in time all have
/// their turn.
pub(crate) fn sampled(rows: &MetricRows, offset: u64) -> Places {
    let skipped = usize::try_from(offset % SAMPLED as u64).unwrap_or_default();
    let first = (SAMPLED - skipped) % SAMPLED;
    let floats = rows.floats.iter().skip(first).step_by(SAMPLED).map(|row| &row.series);
    let mut places: Places = Vec::new();
    for place in floats.filter_map(|series| CloudPlace::of(series.labels())) {
        match places.iter_mut().find(|(known, _)| *known == place) {
            Some((_, samples)) => *samples += SAMPLED as u64,
            None => places.push((place, SAMPLED as u64)),
        }
    }
    places
}

/// One tenant's places since they were last asked for.
#[derive(Debug, Default)]
pub(crate) struct Footprint(Mutex<HashMap<CloudPlace, Sightings>>);

impl Footprint {
    /// Adds places that were named by what is durable. Names beyond the most that are kept are left out.
    pub(crate) fn add(&self, places: Places, now_ms: i64) {
        if places.is_empty() {
            return;
        }
        let mut known = self.0.lock();
        for (place, samples) in places {
            let full = known.len() >= MAX_PLACES;
            match known.entry(place) {
                Entry::Occupied(mut seen) => {
                    let seen = seen.get_mut();
                    seen.samples = seen.samples.saturating_add(samples);
                    (seen.first_ms, seen.last_ms) = (seen.first_ms.min(now_ms), seen.last_ms.max(now_ms));
                }
                Entry::Vacant(slot) if !full => {
                    slot.insert(Sightings { samples, first_ms: now_ms, last_ms: now_ms });
                }
                Entry::Vacant(_) => {}
            }
        }
    }

    pub(crate) fn take(&self) -> Vec<(CloudPlace, Sightings)> {
        std::mem::take(&mut *self.0.lock()).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use telemetry::{FloatRow, Series};

    use super::*;

    #[test]
    fn in_time_each_sample_of_a_scrape_has_its_turn() {
        let series = |pairs: &[(&str, &str)]| {
            Arc::new(Series::new(Labels::from_pairs(pairs.iter().copied()).unwrap()))
        };
        let info =
            series(&[("__name__", "target_info"), ("cloud_provider", "aws"), ("cloud_region", "eu-west-1")]);
        let other = series(&[("__name__", "up")]);
        // One of a hundred samples names a place.
        let mut rows = MetricRows::default();
        for i in 0..100 {
            let series = Arc::clone(if i == 42 { &info } else { &other });
            rows.floats.push(FloatRow { series, timestamp_ms: 0, value: 1.0 });
        }
        let footprint = Footprint::default();
        for scrape in 0..610 {
            footprint.add(sampled(&rows, scrape * 100), 1000 + scrape as i64);
        }
        let taken = footprint.take();
        assert_eq!(taken.len(), 1);
        assert_eq!(taken[0].0, CloudPlace::new("aws", "eu-west-1", "").unwrap());
        assert_eq!(taken[0].1.samples, 610);
        assert!(taken[0].1.first_ms < 1100 && taken[0].1.last_ms > 1500);
        assert!(footprint.take().is_empty());
    }

    #[test]
    fn names_are_bounded() {
        let footprint = Footprint::default();
        let place =
            |i: usize| CloudPlace::new("aws", &format!("region-{i}-{}", "é".repeat(200)), "").unwrap();
        for i in 0..2 * MAX_PLACES {
            footprint.add(vec![(place(i), 1)], 5);
        }
        footprint.add(vec![(place(0), 1)], 4);
        let taken = footprint.take();
        assert_eq!(taken.len(), MAX_PLACES);
        assert!(taken.iter().all(|(place, _)| place.region.len() <= MAX_PLACE_TEXT_BYTES));
        assert_eq!(taken.iter().map(|(_, seen)| seen.samples).sum::<u64>(), MAX_PLACES as u64 + 1);
        assert_eq!(CloudPlace::new("aws", "", ""), None, "a provider is no place");
    }
}
