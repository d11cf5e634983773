//! What no placement may violate, and what stands in a cell's way.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Deserialize, Serialize, Serializer};

use super::{Cell, Needs, Place, RegionRef};

/// A hard constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Constraint {
    /// No cell in a region that production runs in, nor one that depends on such a region.
    Production,
    /// None in a region that production fails over to, nor one that depends on such a region: it would go down, or be
    /// overrun, just when it is needed.
    CustomerStandby,
    /// Only where the residency rule allows data to be.
    Residency,
    /// Enough free capacity.
    Capacity,
    /// A second cell that no region's outage takes down together with the first.
    IndependentStandby,
}

impl Constraint {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Production, Self::CustomerStandby, Self::Residency, Self::Capacity, Self::IndependentStandby];
}

impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Production => "not in a region that production runs in",
            Self::CustomerStandby => "not in a region that production fails over to",
            Self::Residency => "only where the residency rule allows",
            Self::Capacity => "enough free capacity",
            Self::IndependentStandby => "an independent standby",
        })
    }
}

/// A set of constraints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Constraints(u8);

impl Constraints {
    /// Those that apply to `needs`.
    pub(crate) fn of(needs: &Needs) -> Self {
        let all = Self((1 << Constraint::ALL.len()) - 1);
        if needs.without_standby { all.without(Self::one(Constraint::IndependentStandby)) } else { all }
    }

    /// One alone.
    fn one(constraint: Constraint) -> Self {
        Self(1 << constraint as u8)
    }

    /// Whether one is in it.
    pub(crate) fn has(self, constraint: Constraint) -> bool {
        self.0 & Self::one(constraint).0 != 0
    }

    /// Those of this set that are not in `others`.
    pub(crate) const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether all of `others` are in this set.
    pub(crate) const fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// How many they are.
    pub(crate) const fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// All subsets of this set, smaller ones first.
    pub(crate) fn subsets(self) -> Vec<Self> {
        let mut subsets: Vec<Self> = (0..=self.0).map(Self).filter(|subset| self.has_all(*subset)).collect();
        subsets.sort_by_key(|subset| (subset.len(), subset.0));
        subsets
    }

    /// The constraints one by one.
    pub(crate) fn to_vec(self) -> Vec<Constraint> {
        Constraint::ALL.into_iter().filter(|constraint| self.has(*constraint)).collect()
    }
}

/// What excludes a cell. Serialised as the constraint and the sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Production runs in the cell's region, or, where `hidden`, in one that the cell depends on.
    RunsThere {
        /// The region.
        region: RegionRef,
        /// Whether the cell only depends on it.
        hidden: bool,
    },
    /// Production fails over to it.
    FailsOverThere {
        /// The region.
        region: RegionRef,
        /// Whether the cell only depends on it.
        hidden: bool,
    },
    /// Data may not be there.
    NotAllowed {
        /// The cell's region.
        region: RegionRef,
        /// Where data may be.
        residency: Vec<Place>,
    },
    /// There is too little room.
    Full {
        /// What is free, in samples a second.
        free: u64,
        /// What is needed, in samples a second.
        needed: u64,
    },
}

impl Obstacle {
    /// Which constraint the cell would violate.
    #[must_use]
    pub const fn constraint(&self) -> Constraint {
        match self {
            Self::RunsThere { .. } => Constraint::Production,
            Self::FailsOverThere { .. } => Constraint::CustomerStandby,
            Self::NotAllowed { .. } => Constraint::Residency,
            Self::Full { .. } => Constraint::Capacity,
        }
    }

    /// What would have to change for the obstacle to be gone.
    #[must_use]
    pub(crate) fn remedy(&self, cell: &Cell) -> String {
        match self {
            Self::RunsThere { region, .. } => format!("production would have to leave {region}"),
            Self::FailsOverThere { region, .. } => {
                format!("production would have to fail over elsewhere than to {region}")
            }
            Self::NotAllowed { region, .. } => {
                format!("the residency rule would have to allow {} ({region})", Place::of_country(*region))
            }
            Self::Full { free, needed } => {
                format!("the cell {} would need {} more samples/s", cell.id, needed.saturating_sub(*free))
            }
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = |hidden: &bool| if *hidden { "depends on" } else { "is in" };
        match self {
            Self::RunsThere { region, hidden } => {
                write!(f, "{} {region}, where production runs", how(hidden))
            }
            Self::FailsOverThere { region, hidden } => {
                write!(f, "{} {region}, where production fails over to", how(hidden))
            }
            Self::NotAllowed { region, residency } => {
                let allowed: Vec<String> = residency.iter().map(ToString::to_string).collect();
                let country = Place::of_country(*region);
                write!(f, "is in {country}, and data may only be in {}", allowed.join(", "))
            }
            Self::Full { free, needed } => write!(f, "has {free} samples/s free, and {needed} are needed"),
        }
    }
}

impl Serialize for Obstacle {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Obstacle", 2)?;
        fields.serialize_field("constraint", &self.constraint())?;
        fields.serialize_field("text", &self.to_string())?;
        fields.end()
    }
}

/// All that excludes a cell; nothing where it may be chosen.
pub(crate) fn obstacles(cell: &Cell, needs: &Needs) -> Vec<Obstacle> {
    let mut obstacles = Vec::new();
    for (index, region) in cell.regions().enumerate() {
        let hidden = index > 0;
        if needs.production.contains(&region) {
            obstacles.push(Obstacle::RunsThere { region, hidden });
        }
        if needs.standby.contains(&region) {
            obstacles.push(Obstacle::FailsOverThere { region, hidden });
        }
    }
    if !needs.allows(cell.region) {
        obstacles.push(Obstacle::NotAllowed { region: cell.region, residency: needs.residency.clone() });
    }
    let free = needs.free_in(cell);
    if free < needs.capacity {
        obstacles.push(Obstacle::Full { free, needed: needs.capacity });
    }
    obstacles
}
