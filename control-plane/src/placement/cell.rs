//! Cells: the places where tenants can be put.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::normalise::{UnknownRegion, resolve};
use super::{Provider, RegionRef};

/// A cell: a complete installation in one region that shares nothing with other cells but what `depends_on` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The cell's id.
    pub id: String,
    /// Where it runs.
    pub region: RegionRef,
    /// What it needs besides to go on: regions whose outage would reach it, providers whose global services it uses.
    #[serde(default)]
    pub depends_on: Vec<Dependency>,
    /// What it can take, in samples a second.
    pub capacity: u64,
    /// What its tenants were promised of that, in samples a second.
    pub used: u64,
    /// What it costs to run, in percent of the reference cell.
    pub cost_index: u32,
}

impl Cell {
    /// The regions whose outage would reach the cell, its own first.
    pub fn regions(&self) -> impl Iterator<Item = RegionRef> {
        let hidden = self.depends_on.iter().filter_map(|dependency| match dependency {
            Dependency::Region(region) => Some(*region),
            Dependency::Provider(_) => None,
        });
        std::iter::once(self.region).chain(hidden)
    }

    /// The providers whose outage would reach the cell.
    pub(crate) fn providers(&self) -> impl Iterator<Item = Provider> {
        let hidden = self.depends_on.iter().map(|dependency| match dependency {
            Dependency::Region(region) => region.provider,
            Dependency::Provider(provider) => *provider,
        });
        std::iter::once(self.region.provider).chain(hidden)
    }

    /// Whether no region's outage would reach both cells.
    #[must_use]
    pub fn is_independent_of(&self, other: &Self) -> bool {
        !self.regions().any(|region| other.regions().any(|of_other| of_other == region))
    }
}

/// Something that a cell needs and that its region does not show. Written `aws:us-east-1`, or `aws` for the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Dependency {
    /// A region, such as that of a global control plane. It counts as if the cell ran there.
    Region(RegionRef),
    /// A provider as a whole, such as its DNS. It counts against cells for customers of that provider.
    Provider(Provider),
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region) => region.fmt(f),
            Self::Provider(provider) => provider.fmt(f),
        }
    }
}

impl From<Dependency> for String {
    fn from(dependency: Dependency) -> Self {
        dependency.to_string()
    }
}

impl TryFrom<String> for Dependency {
    type Error = UnknownRegion;

    fn try_from(text: String) -> Result<Self, UnknownRegion> {
        match Provider::parse(&text) {
            Some(provider) => Ok(Self::Provider(provider)),
            None => resolve(None, &text).map(Self::Region),
        }
    }
}
