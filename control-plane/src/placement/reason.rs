//! Why a cell: what it was given and refused points for.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::geo::{distance_km, round_trip_ms};
use super::{Cell, Needs, Place, Provider, RegionRef};

/// From this distance on, floods, storms, power grids and fibre cuts of one place are not those of the other.
pub const INDEPENDENT_KM: u32 = 300;

/// For full independence by distance. The yardstick: 100 points are worth a detour of 100 ms.
const DISTANCE_POINTS: i32 = 100;

/// For a provider that production does not use: its outage would be noticed from outside.
const OTHER_PROVIDER_POINTS: i32 = 100;

/// For a standby with another provider than the home cell.
const OTHER_THAN_HOME_POINTS: i32 = 50;

/// Against a cell that misses the latency wish at all; each millisecond counts besides.
const MISSED_WISH_POINTS: i32 = 100;

/// For an empty cell; a cell that would be full gets none.
const HEADROOM_POINTS: i32 = 50;

/// Most points that cost gives or takes.
const COST_POINTS_MAX: i32 = 50;

/// For a cell that holds the tenant already: moving data is work, and a risk.
const STAY_POINTS: i32 = 60;

/// Something that speaks for or against a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It is in none of the tenant's regions, of which there are so many, and depends on none.
    Elsewhere(usize),
    /// The tenant declared no region, so that none could be excluded.
    NothingDeclared,
    /// It is in a country where data may be.
    Allowed(RegionRef),
    /// It has no provider in common with the tenant.
    OtherProvider(Provider),
    /// It has this provider in common with the tenant.
    SameProvider(Provider),
    /// It is so far, in km, from the tenant's nearest region.
    FarFrom(u32, RegionRef),
    /// It is about so many ms away from the tenant's farthest production region.
    RoundTrip(u32, RegionRef),
    /// It misses the latency wish by so many ms.
    MissedWish(u32),
    /// So many percent of it stay free.
    Headroom(u64),
    /// It costs so many percent of the reference.
    Cost(u32),
    /// The tenant is there already.
    Stays,
    /// The standby is so far, in km, from the home cell.
    FarFromHome(u32),
    /// The standby's copy is about so many ms behind.
    RoundTripFromHome(u32),
    /// The standby has another provider than the home cell.
    OtherThanHome(Provider),
    /// No region's outage reaches both cells.
    IndependentOfHome,
}

/// A fact and its points.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What speaks for or against the cell.
    pub fact: Fact,
    /// How much.
    pub points: i32,
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere(count) => {
                write!(f, "in none of the {count} regions of yours, and depends on none")
            }
            Self::NothingDeclared => f.write_str("you declared no region, so none could be excluded"),
            Self::Allowed(region) => {
                write!(f, "in {} ({}), where data may be", region.city, Place::of_country(*region))
            }
            Self::OtherProvider(provider) => write!(f, "with {provider}, which you do not depend on"),
            Self::SameProvider(provider) => write!(f, "shares the provider {provider} with you"),
            Self::FarFrom(km, region) if *km >= INDEPENDENT_KM => {
                write!(f, "{km} km from {region}, your nearest region: fails by itself")
            }
            Self::FarFrom(km, region) => {
                write!(f, "only {km} km from {region}, your nearest region: a disaster may reach both")
            }
            Self::RoundTrip(ms, region) => write!(f, "about {ms} ms there and back from {region}"),
            Self::MissedWish(ms) => write!(f, "misses your wish by about {ms} ms"),
            Self::Headroom(percent) => write!(f, "{percent} % of it stay free"),
            Self::Cost(percent) => write!(f, "costs {percent} % of the reference"),
            Self::Stays => f.write_str("you are there already"),
            Self::FarFromHome(km) if *km >= INDEPENDENT_KM => {
                write!(f, "{km} km from the home cell: fails by itself")
            }
            Self::FarFromHome(km) => write!(f, "only {km} km from the home cell: a disaster may reach both"),
            Self::RoundTripFromHome(ms) => write!(f, "about {ms} ms there and back from the home cell"),
            Self::OtherThanHome(provider) => {
                write!(f, "with {provider}, another provider than the home cell's")
            }
            Self::IndependentOfHome => f.write_str("no region's outage reaches both it and the home cell"),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Reason", 2)?;
        fields.serialize_field("points", &self.points)?;
        fields.serialize_field("text", &self.fact.to_string())?;
        fields.end()
    }
}

/// The sum of points.
pub(crate) fn score(reasons: &[Reason]) -> i32 {
    reasons.iter().fold(0, |sum, reason| sum.saturating_add(reason.points))
}

/// What speaks for and against a cell, whatever else is chosen.
pub(crate) fn reasons(cell: &Cell, needs: &Needs) -> Vec<Reason> {
    let mut reasons = Vec::new();
    let mut add = |fact, points| reasons.push(Reason { fact, points });
    match needs.nearest(cell.region) {
        None => add(Fact::NothingDeclared, 0),
        Some((km, region)) => {
            let count = needs.production.union(&needs.standby).count();
            add(Fact::Elsewhere(count), 0);
            let footprint = || needs.production.iter().chain(&needs.standby);
            match cell.providers().find(|provider| footprint().any(|region| region.provider == *provider)) {
                Some(shared) => add(Fact::SameProvider(shared), 0),
                None => add(Fact::OtherProvider(cell.region.provider), OTHER_PROVIDER_POINTS),
            }
            add(Fact::FarFrom(km, region), distance_points(km));
        }
    }
    if !needs.residency.is_empty() {
        add(Fact::Allowed(cell.region), 0);
    }
    if let Some((km, region)) = needs.farthest(cell.region) {
        let ms = round_trip_ms(km);
        add(Fact::RoundTrip(ms, region), -points(ms));
        let missed_ms = needs.latency.map_or(0, |wish| wish.missed_by_ms(km));
        if missed_ms > 0 {
            add(Fact::MissedWish(missed_ms), -(MISSED_WISH_POINTS.saturating_add(points(missed_ms))));
        }
    }
    let free_after = u128::from(needs.free_in(cell).saturating_sub(needs.capacity));
    let percent = free_after * 100 / u128::from(cell.capacity.max(1));
    let percent = u64::try_from(percent).unwrap_or(100).min(100);
    add(Fact::Headroom(percent), percentage_of(HEADROOM_POINTS, percent));
    let dearer = i32::try_from(cell.cost_index).unwrap_or(i32::MAX).saturating_sub(100);
    add(Fact::Cost(cell.cost_index), -dearer.clamp(-COST_POINTS_MAX, COST_POINTS_MAX));
    if needs.is_in(cell) {
        add(Fact::Stays, STAY_POINTS);
    }
    reasons
}

/// What speaks for and against a standby beside a home cell.
pub(crate) fn pair_reasons(home: &Cell, standby: &Cell) -> Vec<Reason> {
    let km = distance_km(home.region, standby.region);
    let mut reasons = vec![
        Reason { fact: Fact::IndependentOfHome, points: 0 },
        Reason { fact: Fact::FarFromHome(km), points: distance_points(km) },
        Reason { fact: Fact::RoundTripFromHome(round_trip_ms(km)), points: -points(round_trip_ms(km)) / 2 },
    ];
    if home.region.provider != standby.region.provider {
        let fact = Fact::OtherThanHome(standby.region.provider);
        reasons.push(Reason { fact, points: OTHER_THAN_HOME_POINTS });
    }
    reasons
}

/// Points for independence by distance.
fn distance_points(km: u32) -> i32 {
    percentage_of(DISTANCE_POINTS, u64::from(km.min(INDEPENDENT_KM)) * 100 / u64::from(INDEPENDENT_KM))
}

/// A part of some points.
fn percentage_of(points: i32, percent: u64) -> i32 {
    points * i32::try_from(percent.min(100)).unwrap_or(100) / 100
}

/// A point a millisecond.
fn points(ms: u32) -> i32 {
    i32::try_from(ms).unwrap_or(i32::MAX)
}
