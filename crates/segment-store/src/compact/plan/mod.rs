//! What to merge next: pure decisions over what manifests and listings say.
//!
//! All of it keeps one rule. Units of data (fresh objects, merged objects, tenant segments) are ordered by the last fresh
//! segment in them, and of equal samples the one in the later unit wins. Only neighbours in that order are merged, and what
//! comes of them takes the place of the last; so no merge changes which sample wins. A fresh segment that turns up late, with
//! a name inside the span of a merged unit, is ordered before that unit and loses to it, then and ever after. The shard's
//! manifest does not have tenant segments, so it keeps their places (`absorbed_to`).
//!
//! Every plan leaves fewer units than it takes, or moves them from one stage to the next; so planning ends.

mod absorb;
mod fresh;
mod segments;
#[cfg(test)]
mod tests;
mod thin;

pub use absorb::{AbsorbPlan, plan_absorb, plan_waiting};
pub use fresh::{MergePlan, Unit, UnitName, plan_merge, units};
pub use segments::{SegmentMergePlan, plan_segments};
pub use thin::{ThinPlan, plan_thin};

use crate::SegmentKey;

/// How far a round of compaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What is worth its cost now.
    Due,
    /// All fresh segments up to this one, and everything that came of them, until there is nothing left to merge.
    Everything {
        /// The last one; `None` when there was none.
        up_to: Option<SegmentKey>,
    },
}

impl Reach {
    /// Whether nothing is to be left.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Everything { .. })
    }
}
