//! What a tenant declares, and what follows for its placement.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::geo::{distance_km, round_trip_ms};
use super::limits::MAX_REGIONS;
use super::normalise::{UnknownRegion, resolve};
use super::residency::UnknownPlace;
use super::{Cell, Place, RegionRef};

/// How near the tenant would like its cell to be to the farthest of its production. A wish: it weighs, and does not exclude.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyWish {
    /// Milliseconds there and back, as [`round_trip_ms`] estimates them.
    Ms(u32),
    /// Kilometres.
    Km(u32),
}

impl LatencyWish {
    /// By how many milliseconds a distance misses the wish; 0 where it does not.
    pub(crate) fn missed_by_ms(self, km: u32) -> u32 {
        match self {
            Self::Ms(ms) => round_trip_ms(km).saturating_sub(ms),
            Self::Km(wish_km) if km > wish_km => round_trip_ms(km - wish_km),
            Self::Km(_) => 0,
        }
    }
}

/// What a tenant declares, in its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlacementRequest {
    /// The regions that production runs in, as [`resolve`] reads them.
    pub production: Vec<String>,
    /// The regions that production fails over to.
    pub standby: Vec<String>,
    /// Where data may be, as [`Place::parse`] reads it; empty for anywhere.
    pub residency: Vec<String>,
    /// How near the cell should be.
    pub latency: Option<LatencyWish>,
    /// What the tenant needs, in samples a second.
    pub capacity: u64,
    /// That one cell is enough. Otherwise there is a second one to fall back on, with the same capacity.
    pub without_standby: bool,
    /// The ids of the cells that hold the tenant now, for whom its capacity is already set aside.
    pub current: Vec<String>,
}

/// What is wrong with a request: everything at once.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.describe())]
pub struct RequestError {
    /// Texts that are no regions.
    pub regions: Vec<UnknownRegion>,
    /// Texts that are no places.
    pub places: Vec<UnknownPlace>,
    /// That there are more than [`MAX_REGIONS`] of something.
    pub too_many: bool,
}

impl RequestError {
    /// All problems in a sentence.
    fn describe(&self) -> String {
        let regions = self.regions.iter().map(ToString::to_string);
        let places = self.places.iter().map(ToString::to_string);
        let too_many = self.too_many.then(|| format!("there are at most {MAX_REGIONS} regions of a kind"));
        regions.chain(places).chain(too_many).collect::<Vec<_>>().join(". ")
    }
}

/// What a placement must and should fulfil.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Where production runs.
    pub production: BTreeSet<RegionRef>,
    /// Where it fails over to.
    pub standby: BTreeSet<RegionRef>,
    /// Where data may be; empty for anywhere.
    pub residency: Vec<Place>,
    /// How near the cell should be.
    pub latency: Option<LatencyWish>,
    /// Samples a second.
    pub capacity: u64,
    /// That one cell is enough.
    pub without_standby: bool,
    /// The ids of the cells that hold the tenant now.
    pub current: Vec<String>,
}

impl PlacementRequest {
    /// Reads the request.
    ///
    /// # Errors
    /// [`RequestError`] with everything that cannot be read.
    pub fn resolve(&self) -> Result<Needs, RequestError> {
        let too_many =
            [&self.production, &self.standby, &self.residency].iter().any(|texts| texts.len() > MAX_REGIONS);
        let mut wrong = RequestError { too_many, ..RequestError::default() };
        if too_many {
            return Err(wrong);
        }
        let mut regions = |texts: &[String]| -> BTreeSet<RegionRef> {
            let (mut known, mut unknown) = (BTreeSet::new(), Vec::new());
            for text in texts {
                match resolve(None, text) {
                    Ok(region) => drop(known.insert(region)),
                    Err(error) => unknown.push(error),
                }
            }
            wrong.regions.extend(unknown);
            known
        };
        let (production, standby) = (regions(&self.production), regions(&self.standby));
        let mut residency = Vec::new();
        for text in &self.residency {
            match Place::parse(text) {
                Ok(place) => residency.push(place),
                Err(error) => wrong.places.push(error),
            }
        }
        if !wrong.regions.is_empty() || !wrong.places.is_empty() {
            return Err(wrong);
        }
        residency.sort_unstable();
        residency.dedup();
        Ok(Needs {
            production,
            standby,
            residency,
            latency: self.latency,
            capacity: self.capacity,
            without_standby: self.without_standby,
            current: self.current.clone(),
        })
    }
}

impl Needs {
    /// Whether data may be in a region.
    pub(crate) fn allows(&self, region: RegionRef) -> bool {
        self.residency.is_empty() || self.residency.iter().any(|place| place.contains(region))
    }

    /// What a cell has free for the tenant: what is set aside for it already is its own.
    pub(crate) fn free_in(&self, cell: &Cell) -> u64 {
        let own = if self.is_in(cell) { self.capacity } else { 0 };
        cell.capacity.saturating_sub(cell.used.saturating_sub(own))
    }

    /// Whether a cell holds the tenant now.
    pub(crate) fn is_in(&self, cell: &Cell) -> bool {
        self.current.contains(&cell.id)
    }

    /// The farthest production region with its distance.
    pub(crate) fn farthest(&self, from: RegionRef) -> Option<(u32, RegionRef)> {
        self.production.iter().map(|region| (distance_km(from, *region), *region)).max()
    }

    /// The nearest region of the whole footprint with its distance.
    pub(crate) fn nearest(&self, from: RegionRef) -> Option<(u32, RegionRef)> {
        let footprint = self.production.iter().chain(&self.standby);
        footprint.map(|region| (distance_km(from, *region), *region)).min()
    }
}
