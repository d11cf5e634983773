//! Placements, decided by hand and held to properties.

mod chosen;
mod impossible;
mod observed;
mod properties;

use super::*;

/// A region by its code.
pub(crate) fn region(code: &str) -> RegionRef {
    resolve(None, code).unwrap()
}

/// A cell with the name of its region, room for 1,000 samples a second, half of it taken, at the reference's cost.
pub(crate) fn cell(code: &str, depends_on: &[&str]) -> Cell {
    Cell {
        id: format!("cell-{code}"),
        region: region(code),
        depends_on: depends_on.iter().map(|text| Dependency::try_from((*text).to_owned()).unwrap()).collect(),
        capacity: 1000,
        used: 500,
        cost_index: 100,
    }
}

/// Needs of 100 samples a second.
pub(crate) fn needs(production: &[&str], standby: &[&str], residency: &[&str]) -> Needs {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    PlacementRequest {
        production: texts(production),
        standby: texts(standby),
        residency: texts(residency),
        capacity: 100,
        ..PlacementRequest::default()
    }
    .resolve()
    .unwrap()
}

/// The ids of home and standby.
pub(crate) fn ids(placement: &Placement) -> (&str, Option<&str>) {
    (&placement.home.cell, placement.standby.as_ref().map(|standby| standby.cell.as_str()))
}

/// Why nothing fits.
pub(crate) fn why(needs: &Needs, cells: &[Cell]) -> Impossible {
    match place(needs, cells) {
        Err(PlacementError::Impossible(why)) => *why,
        other => panic!("{other:?}"),
    }
}
