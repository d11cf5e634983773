//! What a tenant declares and what is decided for it, as the API and the database have it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::placement::{self, Constraint, LatencyWish, PlacementRequest};

/// Where production runs, and what its telemetry's place has to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Declaration {
    /// The regions that production runs in, such as `aws:eu-west-1`, `europe-west1` or `West Europe`. The tenant is placed in none
    /// of them.
    #[schema(required = false, example = json!(["aws:eu-west-1"]))]
    pub(crate) production: Vec<String>,
    /// The regions that production fails over to. The tenant is placed in none of them either.
    #[schema(required = false)]
    pub(crate) standby: Vec<String>,
    /// Where data may be: `EU`, `EEA`, or a country's code; anywhere when empty.
    #[schema(required = false, example = json!(["EU"]))]
    pub(crate) residency: Vec<String>,
    /// How near the tenant would like its cell to be to the farthest of its production. A wish: it weighs, and excludes nothing.
    pub(crate) latency: Option<Latency>,
    /// What the tenant needs, in samples a second, up to the highest rate of its plan; what the plan gives when left out.
    pub(crate) capacity: Option<u64>,
    /// That one cell is enough. Otherwise there is a second one to fall back on.
    #[schema(required = false)]
    pub(crate) without_standby: bool,
}

/// A distance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Latency {
    /// Milliseconds there and back.
    Ms(u32),
    /// Kilometres.
    Km(u32),
}

impl Declaration {
    /// The same for the solver, where the tenant needs `capacity` unless it says otherwise.
    pub(super) fn request(&self, capacity: u64, current: Vec<String>) -> PlacementRequest {
        PlacementRequest {
            production: self.production.clone(),
            standby: self.standby.clone(),
            residency: self.residency.clone(),
            latency: self.latency.map(|latency| match latency {
                Latency::Ms(ms) => LatencyWish::Ms(ms),
                Latency::Km(km) => LatencyWish::Km(km),
            }),
            capacity: self.capacity.unwrap_or(capacity),
            without_standby: self.without_standby,
            current,
        }
    }
}

/// Where a tenant is to be, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Decision {
    /// The cell that takes writes and answers queries.
    pub(crate) home: Choice,
    /// The cell to fall back on; null where the tenant goes without.
    pub(crate) standby: Option<Choice>,
    /// Twice the home's score and the standby's.
    pub(crate) score: i32,
    /// What would have been chosen next.
    pub(crate) runners_up: Vec<RunnerUp>,
    /// The cells that a hard constraint excludes.
    pub(crate) excluded: Vec<Excluded>,
}

/// A cell that was chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Choice {
    pub(crate) cell: String,
    /// Such as `gcp:europe-west4`.
    pub(crate) region: String,
    pub(crate) city: String,
    /// ISO 3166-1 alpha-2.
    pub(crate) country: String,
    /// The sum of the reasons' points.
    pub(crate) score: i32,
    /// What speaks for and against it.
    pub(crate) reasons: Vec<Reason>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = PlacementReason)]
pub(crate) struct Reason {
    pub(crate) points: i32,
    pub(crate) text: String,
}

/// What would have been chosen next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RunnerUp {
    pub(crate) home: String,
    pub(crate) standby: Option<String>,
    pub(crate) score: i32,
}

/// A cell that could not be chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Excluded {
    pub(crate) cell: String,
    /// What stands in the way.
    pub(crate) obstacles: Vec<Obstacle>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Obstacle {
    /// `production`, `customer_standby`, `residency`, `capacity` or `independent_standby`.
    #[schema(value_type = String)]
    pub(crate) constraint: Constraint,
    pub(crate) text: String,
}

/// Why nothing fits, exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Unplaceable {
    /// Sets of constraints that cannot be had together, while every smaller part of such a set can.
    #[schema(value_type = Vec<Vec<String>>)]
    pub(crate) conflicts: Vec<Vec<Constraint>>,
    /// Ways out, the one that gives up least first.
    pub(crate) relaxations: Vec<Relaxation>,
    /// What excludes which cell.
    pub(crate) excluded: Vec<Excluded>,
    /// The same in a sentence.
    pub(crate) text: String,
}

/// Constraints that are enough to give up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Relaxation {
    #[schema(value_type = Vec<String>)]
    pub(crate) give_up: Vec<Constraint>,
    /// What that means.
    pub(crate) means: Vec<String>,
}

impl From<&placement::Placement> for Decision {
    fn from(placement: &placement::Placement) -> Self {
        let runner_up = |other: &placement::RunnerUp| RunnerUp {
            home: other.home.clone(),
            standby: other.standby.clone(),
            score: other.score,
        };
        Self {
            home: (&placement.home).into(),
            standby: placement.standby.as_ref().map(Choice::from),
            score: placement.score,
            runners_up: placement.runners_up.iter().map(runner_up).collect(),
            excluded: placement.excluded.iter().map(Excluded::from).collect(),
        }
    }
}

impl From<&placement::Choice> for Choice {
    fn from(choice: &placement::Choice) -> Self {
        let reason =
            |reason: &placement::Reason| Reason { points: reason.points, text: reason.fact.to_string() };
        Self {
            cell: choice.cell.clone(),
            region: choice.region.to_string(),
            city: choice.region.city.to_owned(),
            country: choice.region.country.to_owned(),
            score: choice.score,
            reasons: choice.reasons.iter().map(reason).collect(),
        }
    }
}

impl From<&placement::Excluded> for Excluded {
    fn from(excluded: &placement::Excluded) -> Self {
        let obstacle = |obstacle: &placement::Obstacle| Obstacle {
            constraint: obstacle.constraint(),
            text: obstacle.to_string(),
        };
        Self { cell: excluded.cell.clone(), obstacles: excluded.obstacles.iter().map(obstacle).collect() }
    }
}

impl From<&placement::Impossible> for Unplaceable {
    fn from(why: &placement::Impossible) -> Self {
        let relaxation = |relaxation: &placement::Relaxation| Relaxation {
            give_up: relaxation.give_up.clone(),
            means: relaxation.means.clone(),
        };
        Self {
            conflicts: why.conflicts.clone(),
            relaxations: why.relaxations.iter().map(relaxation).collect(),
            excluded: why.excluded.iter().map(Excluded::from).collect(),
            text: why.to_string(),
        }
    }
}
