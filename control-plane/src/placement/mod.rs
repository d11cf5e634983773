//! Placing tenants away from where they run, as a pure function: what a tenant declares and the cells in; a home and a standby
//! cell with reasons, or the exact contradiction out. No I/O, no clock.
//!
//! | module | what |
//! |---|---|
//! | [`catalogue`] | the regions of AWS, GCP and Azure |
//! | [`normalise`] | regions as people and telemetry write them |
//! | [`residency`] | jurisdictions and countries |
//! | [`geo`] | distances and round trips |
//! | [`cell`] | cells and what they depend on |
//! | [`request`] | what a tenant declares |
//! | [`constraint`] | what no placement may violate |
//! | [`reason`] | what ranks those that violate nothing |
//! | [`solve`] | choosing |
//! | [`impossible`] | why nothing can be chosen |
//! | [`limits`] | bounds |
//! | [`observed`] | where telemetry comes from, against where the tenant is |
//!
//! Hard constraints exclude, soft ones rank by points, and the two never mix: no number of points brings a tenant into a region
//! that it runs in.

pub mod catalogue;
pub mod cell;
pub mod constraint;
pub mod geo;
pub mod impossible;
pub mod limits;
pub mod normalise;
pub mod observed;
pub mod reason;
pub mod request;
pub mod residency;
pub mod solve;

#[cfg(test)]
mod tests;

pub use catalogue::{Provider, Region, RegionRef};
pub use cell::{Cell, Dependency};
pub use constraint::{Constraint, Obstacle};
pub use impossible::{Impossible, Relaxation};
pub use normalise::{UnknownRegion, resolve};
pub use observed::{
    Conflict, FootprintReport, NoiseThreshold, Observation, Placed, Proposal, Role, Seen, review,
};
pub use reason::{Fact, Reason};
pub use request::{LatencyWish, Needs, PlacementRequest, RequestError};
pub use residency::{Place, UnknownPlace, jurisdiction};
pub use solve::{Choice, Excluded, Placement, PlacementError, RunnerUp, place};
