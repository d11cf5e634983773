//! Choosing a home and a standby cell.

use serde::Serialize;

use super::constraint::{Constraints, Obstacle, obstacles};
use super::impossible::{Impossible, explain};
use super::limits::{MAX_CELLS, MAX_RUNNERS_UP};
use super::reason::{Reason, pair_reasons, reasons, score};
use super::{Cell, Constraint, Needs, RegionRef};

/// A cell that was chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The cell's id.
    pub cell: String,
    /// Its region.
    pub region: RegionRef,
    /// The sum of the reasons' points.
    pub score: i32,
    /// What speaks for and against it.
    pub reasons: Vec<Reason>,
}

/// A cell that could not be chosen, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Excluded {
    /// The cell's id.
    pub cell: String,
    /// What stands in the way, at least one thing.
    pub obstacles: Vec<Obstacle>,
}

/// What would have been chosen next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunnerUp {
    /// The id of another home cell.
    pub home: String,
    /// The id of the best standby beside it.
    pub standby: Option<String>,
    /// Its score, comparable with [`Placement::score`].
    pub score: i32,
}

/// Where a tenant is to be, and why there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Placement {
    /// The cell that takes writes and answers queries.
    pub home: Choice,
    /// The cell to fall back on; `None` only where the tenant goes without.
    pub standby: Option<Choice>,
    /// Twice the home's score, as it matters every day, and the standby's.
    pub score: i32,
    /// The next best homes.
    pub runners_up: Vec<RunnerUp>,
    /// The cells that a hard constraint excludes, by id.
    pub excluded: Vec<Excluded>,
}

/// Why there is no placement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// There is not one cell.
    #[error("there are no cells to place a tenant in")]
    NoCells,
    /// There are more cells than can be compared.
    #[error("there are {0} cells, and at most {MAX_CELLS} can be compared")]
    TooManyCells(usize),
    /// Two cells have the same id.
    #[error("two cells have the id {0:?}")]
    DuplicateCell(String),
    /// A tenant is in a cell that does not exist.
    #[error("the tenant is in the cell {0:?}, which is not among the cells")]
    UnknownCell(String),
    /// The constraints contradict each other.
    #[error("{0}")]
    Impossible(Box<Impossible>),
}

/// Chooses a home and a standby. The same needs and cells, in whatever order, give the same answer.
///
/// No cell is chosen that a hard constraint excludes; the points of soft ones only rank the rest, ties by id.
///
/// # Errors
/// [`PlacementError::Impossible`] with the constraints that contradict each other and what to relax.
pub fn place(needs: &Needs, cells: &[Cell]) -> Result<Placement, PlacementError> {
    let candidates = candidates(needs, cells)?;
    let all = Constraints::of(needs);
    let ranked = rank(&candidates, all);
    let Some(best) = ranked.first() else {
        return Err(PlacementError::Impossible(Box::new(explain(&candidates, all))));
    };
    let excluded =
        candidates.iter().filter(|candidate| !candidate.obstacles.is_empty()).map(Candidate::excluded);
    let home = best.home.choice(Vec::new());
    let standby = best.standby.map(|standby| standby.choice(pair_reasons(best.home.cell, standby.cell)));
    let runners_up = ranked[1..].iter().take(MAX_RUNNERS_UP).map(|pair| RunnerUp {
        home: pair.home.cell.id.clone(),
        standby: pair.standby.map(|standby| standby.cell.id.clone()),
        score: pair.score,
    });
    Ok(Placement {
        home,
        standby,
        score: best.score,
        runners_up: runners_up.collect(),
        excluded: excluded.collect(),
    })
}

/// A cell with all that is known about it.
#[derive(Debug)]
pub(crate) struct Candidate<'a> {
    /// The cell.
    pub(crate) cell: &'a Cell,
    /// What excludes it.
    pub(crate) obstacles: Vec<Obstacle>,
    /// What ranks it.
    reasons: Vec<Reason>,
    /// Their points.
    score: i32,
}

impl Candidate<'_> {
    /// Whether none of these constraints excludes it.
    pub(crate) fn fulfils(&self, constraints: Constraints) -> bool {
        !self.obstacles.iter().any(|obstacle| constraints.has(obstacle.constraint()))
    }

    /// The cell as chosen.
    fn choice(&self, more: Vec<Reason>) -> Choice {
        let reasons: Vec<Reason> = self.reasons.iter().cloned().chain(more).collect();
        Choice { cell: self.cell.id.clone(), region: self.cell.region, score: score(&reasons), reasons }
    }

    /// The cell as refused.
    pub(crate) fn excluded(&self) -> Excluded {
        Excluded { cell: self.cell.id.clone(), obstacles: self.obstacles.clone() }
    }
}

/// The cells in order of their ids.
fn candidates<'a>(needs: &Needs, cells: &'a [Cell]) -> Result<Vec<Candidate<'a>>, PlacementError> {
    if cells.is_empty() {
        return Err(PlacementError::NoCells);
    }
    if cells.len() > MAX_CELLS {
        return Err(PlacementError::TooManyCells(cells.len()));
    }
    let mut candidates: Vec<Candidate<'_>> = cells
        .iter()
        .map(|cell| {
            let reasons = reasons(cell, needs);
            Candidate { cell, obstacles: obstacles(cell, needs), score: score(&reasons), reasons }
        })
        .collect();
    candidates.sort_by(|a, b| a.cell.id.cmp(&b.cell.id));
    match candidates.windows(2).find(|pair| pair[0].cell.id == pair[1].cell.id) {
        Some(pair) => Err(PlacementError::DuplicateCell(pair[0].cell.id.clone())),
        None => Ok(candidates),
    }
}

/// A home and its best standby.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    /// The home cell.
    pub(crate) home: &'a Candidate<'a>,
    /// The standby, where one is asked for.
    pub(crate) standby: Option<&'a Candidate<'a>>,
    /// The score of both.
    score: i32,
}

/// Each possible home with its best standby, the best pair first. Empty where nothing fulfils the constraints.
pub(crate) fn rank<'a>(candidates: &'a [Candidate<'a>], constraints: Constraints) -> Vec<Pair<'a>> {
    let possible: Vec<&Candidate<'_>> =
        candidates.iter().filter(|candidate| candidate.fulfils(constraints)).collect();
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    for home in &possible {
        let home_score = home.score.saturating_mul(2);
        if !constraints.has(Constraint::IndependentStandby) {
            pairs.push(Pair { home, standby: None, score: home_score });
            continue;
        }
        let standbys = possible.iter().filter(|standby| standby.cell.is_independent_of(home.cell));
        let scored = standbys.map(|standby| {
            let beside = score(&pair_reasons(home.cell, standby.cell));
            (standby.score.saturating_add(beside), *standby)
        });
        // The first of equals: candidates are in order of ids.
        let best = scored.reduce(|best, next| if next.0 > best.0 { next } else { best });
        if let Some((standby_score, standby)) = best {
            pairs.push(Pair {
                home,
                standby: Some(standby),
                score: home_score.saturating_add(standby_score),
            });
        }
    }
    // Stable, so that ties stay in order of ids.
    pairs.sort_by_key(|pair| std::cmp::Reverse(pair.score));
    pairs
}
