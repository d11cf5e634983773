//! Where production was seen to run, by its own telemetry, against where the tenant was placed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::impossible::Impossible;
use super::limits::MAX_ZONES;
use super::normalise::find;
use super::{Cell, Needs, Placement, PlacementError, Provider, RegionRef, place};

/// Samples that carried the same `cloud.provider`, `cloud.region` and `cloud.availability_zone`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The value of `cloud.provider`; empty where it was missing.
    pub provider: String,
    /// The value of `cloud.region`; empty where it was missing.
    pub region: String,
    /// The value of `cloud.availability_zone`; empty where it was missing.
    pub zone: String,
    /// How many.
    pub samples: u64,
    /// When the first came, in milliseconds since the Unix epoch.
    pub first_seen_ms: i64,
    /// When the last came, in milliseconds since the Unix epoch.
    pub last_seen_ms: i64,
}

/// From when on a region counts as one that production runs in. Below either bound it is noise, such as a laptop with a copied
/// configuration, and is listed as such.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoiseThreshold {
    /// At least so many samples.
    pub min_samples: u64,
    /// At least this part of all samples that name a place, in thousandths.
    pub min_per_mille: u32,
}

impl Default for NoiseThreshold {
    /// 1,000 samples, and a thousandth of all.
    fn default() -> Self {
        Self { min_samples: 1_000, min_per_mille: 1 }
    }
}

/// A region that telemetry came from: the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Seen {
    /// The region.
    pub region: RegionRef,
    /// How many samples.
    pub samples: u64,
    /// Their part of all samples that name a place, in thousandths.
    pub per_mille: u32,
    /// When the first came, in milliseconds since the Unix epoch.
    pub first_seen_ms: i64,
    /// When the last came, in milliseconds since the Unix epoch.
    pub last_seen_ms: i64,
    /// The zones that were named, the first in order of name.
    pub zones: BTreeSet<String>,
    /// Whether the tenant had declared it, as production or as standby.
    pub declared: bool,
}

/// Which of a tenant's cells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The cell that takes writes.
    Home,
    /// The cell to fall back on.
    Standby,
}

/// That production runs where one of its cells does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Which cell it is.
    pub role: Role,
    /// Its id.
    pub cell: String,
    /// Whether the cell only depends on the region and does not run in it.
    pub hidden: bool,
    /// What was seen.
    pub evidence: Seen,
}

/// What to do about conflicts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Proposal {
    /// To be there instead.
    Move(Box<Placement>),
    /// Nothing fits, for these reasons.
    Impossible(Box<Impossible>),
}

/// What telemetry says about a placement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FootprintReport {
    /// The regions that production runs in, the most samples first.
    pub seen: Vec<Seen>,
    /// Regions below the threshold, the most samples first.
    pub noise: Vec<Seen>,
    /// What names no region of the catalogue.
    pub unknown: Vec<Observation>,
    /// Overlaps, the home's first.
    pub conflicts: Vec<Conflict>,
    /// What to do, where there are conflicts.
    pub proposal: Option<Proposal>,
}

/// Where a tenant is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The id of the home cell.
    pub home: String,
    /// The id of the standby cell.
    pub standby: Option<String>,
}

/// The regions that production was seen to run in, those below the threshold, and what names no region.
pub(crate) fn seen(
    observations: &[Observation],
    needs: &Needs,
    threshold: NoiseThreshold,
) -> (Vec<Seen>, Vec<Seen>, Vec<Observation>) {
    let (all, unknown) = by_region(observations, needs);
    let counts =
        |seen: &Seen| seen.samples >= threshold.min_samples && seen.per_mille >= threshold.min_per_mille;
    let (seen, noise) = all.into_iter().partition(counts);
    (seen, noise, unknown)
}

/// Compares what was seen with where the tenant is, and proposes another placement where they overlap: away from all that it
/// declared and all that was seen. A cell that it is in and that has no conflict is preferred.
///
/// # Errors
/// [`PlacementError::UnknownCell`] where the tenant is in a cell that is not among `cells`, and the other variants that concern
/// cells. That nothing fits is no error but a [`Proposal`].
pub fn review(
    observations: &[Observation],
    needs: &Needs,
    placed: &Placed,
    cells: &[Cell],
    threshold: NoiseThreshold,
) -> Result<FootprintReport, PlacementError> {
    let (seen, noise, unknown) = seen(observations, needs, threshold);
    let mut conflicts = Vec::new();
    let roles = [(Role::Home, Some(&placed.home)), (Role::Standby, placed.standby.as_ref())];
    for (role, id) in roles.into_iter().filter_map(|(role, id)| Some((role, id?))) {
        let cell = cells
            .iter()
            .find(|cell| cell.id == *id)
            .ok_or_else(|| PlacementError::UnknownCell(id.clone()))?;
        for (index, region) in cell.regions().enumerate() {
            conflicts.extend(seen.iter().filter(|seen| seen.region == region).map(|seen| Conflict {
                role,
                cell: id.clone(),
                hidden: index > 0,
                evidence: seen.clone(),
            }));
        }
    }
    let proposal = if conflicts.is_empty() {
        None
    } else {
        let mut needs = needs.clone();
        needs.production.extend(seen.iter().map(|seen| seen.region));
        needs.current = std::iter::once(&placed.home).chain(&placed.standby).cloned().collect();
        match place(&needs, cells) {
            Ok(placement) => Some(Proposal::Move(Box::new(placement))),
            Err(PlacementError::Impossible(why)) => Some(Proposal::Impossible(why)),
            Err(other) => return Err(other),
        }
    };
    Ok(FootprintReport { seen, noise, unknown, conflicts, proposal })
}

/// The region that an observation names.
fn region_of(observation: &Observation) -> Option<RegionRef> {
    let provider = Provider::parse(&observation.provider);
    let other_provider = provider.is_none() && !observation.provider.is_empty();
    let named = [&observation.region, &observation.zone].into_iter().find_map(|text| find(provider, text));
    named.filter(|_| !other_provider)
}

/// When each region was seen for the last time, in milliseconds since the Unix epoch, however little came from it.
pub(crate) fn last_seen(observations: &[Observation]) -> BTreeMap<RegionRef, i64> {
    let mut last = BTreeMap::new();
    for observation in observations {
        if let Some(region) = region_of(observation) {
            let at_ms = last.entry(region).or_insert(observation.last_seen_ms);
            *at_ms = observation.last_seen_ms.max(*at_ms);
        }
    }
    last
}

/// Observations by region, the most samples first, and those that name none.
fn by_region(observations: &[Observation], needs: &Needs) -> (Vec<Seen>, Vec<Observation>) {
    let mut unknown = Vec::new();
    let mut regions: BTreeMap<RegionRef, Seen> = BTreeMap::new();
    for observation in observations {
        let Some(region) = region_of(observation) else {
            unknown.push(observation.clone());
            continue;
        };
        let seen = regions.entry(region).or_insert_with(|| Seen {
            region,
            samples: 0,
            per_mille: 0,
            first_seen_ms: observation.first_seen_ms,
            last_seen_ms: observation.last_seen_ms,
            zones: BTreeSet::new(),
            declared: needs.production.contains(&region) || needs.standby.contains(&region),
        });
        seen.samples = seen.samples.saturating_add(observation.samples);
        seen.first_seen_ms = seen.first_seen_ms.min(observation.first_seen_ms);
        seen.last_seen_ms = seen.last_seen_ms.max(observation.last_seen_ms);
        if !observation.zone.is_empty() {
            seen.zones.insert(observation.zone.clone());
            while seen.zones.len() > MAX_ZONES {
                seen.zones.pop_last();
            }
        }
    }
    let total: u128 = observations.iter().map(|observation| u128::from(observation.samples)).sum();
    let mut seen: Vec<Seen> = regions.into_values().collect();
    for seen in &mut seen {
        let per_mille = u128::from(seen.samples) * 1000 / total.max(1);
        seen.per_mille = u32::try_from(per_mille).unwrap_or(1000);
    }
    seen.sort_by_key(|seen| (std::cmp::Reverse(seen.samples), seen.region));
    unknown.sort_by(|a, b| (b.samples, &a.region, &a.zone).cmp(&(a.samples, &b.region, &b.zone)));
    (seen, unknown)
}
