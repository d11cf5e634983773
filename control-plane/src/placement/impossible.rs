//! Why nothing fits, exactly: which constraints contradict each other, and what giving some of them up would make possible.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::constraint::{Constraints, Obstacle};
use super::residency::jurisdiction;
use super::solve::{Candidate, Excluded, rank};
use super::{Cell, Constraint};

/// A way out: constraints that are enough to give up, and none of them needlessly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Relaxation {
    /// What to give up.
    pub give_up: Vec<Constraint>,
    /// What that means in detail, for the cells that would be best then.
    pub means: Vec<String>,
}

/// The explanation of an impossible placement. Each set is exact: it was found by trying every combination of constraints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Impossible {
    /// Sets of constraints that cannot be fulfilled together, while every smaller part of such a set can. The smallest first.
    pub conflicts: Vec<Vec<Constraint>>,
    /// Ways out, the one that gives up least first. Empty where the cells themselves do not suffice.
    pub relaxations: Vec<Relaxation>,
    /// What excludes which cell.
    pub excluded: Vec<Excluded>,
}

impl fmt::Display for Impossible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no cell fits")?;
        for (index, conflict) in self.conflicts.iter().enumerate() {
            let named: Vec<String> = conflict.iter().map(ToString::to_string).collect();
            let before = match (index, named.len()) {
                (0, 1) => ": this cannot be had: ",
                (0, _) => ": these cannot be had together: ",
                (_, 1) => "; nor this: ",
                (_, _) => "; nor these: ",
            };
            write!(f, "{before}{}", named.join(" + "))?;
        }
        for (index, relaxation) in self.relaxations.iter().enumerate() {
            let before = if index == 0 { ". Possible would be: " } else { "; or: " };
            write!(f, "{before}{}", relaxation.means.join(" and "))?;
        }
        // Where the residency rule alone excludes every cell, what is excluded says where cells are.
        if self.conflicts.iter().any(|conflict| conflict == &[Constraint::Residency]) {
            let places: BTreeSet<&str> =
                self.excluded.iter().flat_map(|excluded| &excluded.obstacles).filter_map(law).collect();
            write!(f, ". There are cells under the law of: {}", Vec::from_iter(places).join(", "))?;
        }
        Ok(())
    }
}

/// Whose law holds where data may not be.
fn law(obstacle: &Obstacle) -> Option<&'static str> {
    match obstacle {
        Obstacle::NotAllowed { region, .. } => Some(jurisdiction(*region)),
        _ => None,
    }
}

/// Explains why the candidates do not fulfil `all` constraints. With five constraints there are 32 combinations, so every one
/// is tried: no heuristics, no wrong answer.
pub(crate) fn explain(candidates: &[Candidate<'_>], all: Constraints) -> Impossible {
    let subsets = all.subsets();
    let mut conflicts: Vec<Constraints> = Vec::new();
    let mut ways_out: Vec<Constraints> = Vec::new();
    // Smaller sets come first, so what contains one that was found is not minimal.
    for subset in &subsets {
        if conflicts.iter().all(|found| !subset.has_all(*found)) && !is_possible(candidates, *subset) {
            conflicts.push(*subset);
        }
        if ways_out.iter().all(|found| !subset.has_all(*found))
            && is_possible(candidates, all.without(*subset))
        {
            ways_out.push(*subset);
        }
    }
    let relaxations = ways_out
        .into_iter()
        .map(|given_up| Relaxation { give_up: given_up.to_vec(), means: means(candidates, all, given_up) })
        .collect();
    let excluded = candidates.iter().filter(|candidate| !candidate.obstacles.is_empty());
    Impossible {
        conflicts: conflicts.into_iter().map(Constraints::to_vec).collect(),
        relaxations,
        excluded: excluded.map(Candidate::excluded).collect(),
    }
}

/// Whether some cells fulfil these constraints.
fn is_possible(candidates: &[Candidate<'_>], constraints: Constraints) -> bool {
    let possible = || candidates.iter().filter(|candidate| candidate.fulfils(constraints)).map(|c| c.cell);
    if constraints.has(Constraint::IndependentStandby) {
        possible().any(|home| possible().any(|standby: &Cell| standby.is_independent_of(home)))
    } else {
        possible().next().is_some()
    }
}

/// What giving up some constraints means, for the best cells that are possible then.
fn means(candidates: &[Candidate<'_>], all: Constraints, given_up: Constraints) -> Vec<String> {
    let ranked = rank(candidates, all.without(given_up));
    let Some(best) = ranked.first() else { return Vec::new() };
    let mut means: Vec<String> = Vec::new();
    for candidate in [Some(best.home), best.standby].into_iter().flatten() {
        for obstacle in &candidate.obstacles {
            let text = obstacle.remedy(candidate.cell);
            if !means.contains(&text) {
                means.push(text);
            }
        }
    }
    if given_up.has(Constraint::IndependentStandby) {
        means.push(format!("the tenant would have to do with the cell {} alone", best.home.cell.id));
    }
    means
}
