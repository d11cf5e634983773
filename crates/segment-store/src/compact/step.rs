//! What a step of compaction did.

use std::collections::BTreeSet;
use std::fmt;

use telemetry::TenantId;

use crate::ObjectId;

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Objects of the fresh kind became one.
    Merged {
        /// How many.
        objects: usize,
        /// How many samples they have together, each counted once.
        samples: u64,
    },
    /// Merged objects became tenant segments.
    Absorbed {
        /// How many.
        objects: usize,
        /// Whose segments.
        tenants: BTreeSet<TenantId>,
        /// How many samples they have, duplicates of what was stored before included.
        samples: u64,
        /// How many of these were not stored before.
        distinct: u64,
        /// Merged objects that stay, since a tenant's manifest cannot be read.
        stuck: Vec<ObjectId>,
    },
    /// Tenant segments became one.
    SegmentsMerged {
        /// Whose.
        tenant: TenantId,
        /// How many.
        segments: usize,
        /// How many samples they have together, each counted once.
        samples: u64,
    },
    /// A day was thinned.
    Thinned {
        /// Whose.
        tenant: TenantId,
        /// How many samples it has.
        samples: u64,
        /// How many of them were kept, at all resolutions together.
        kept: u64,
    },
    /// Several tenants' segments were merged.
    Several(Vec<Step>),
    /// Something cannot be read, and was noted.
    Quarantined {
        /// How many objects.
        objects: usize,
    },
    /// Objects were deleted that no reader needs.
    Deleted {
        /// How many.
        objects: usize,
    },
    /// Everything was looked through for what can be deleted.
    Swept,
    /// Somebody else was first; the work was in vain.
    Overtaken,
    /// There is nothing to do.
    Rest,
}

impl Step {
    /// One step of several, of which there is one at least.
    pub(super) fn together(mut steps: Vec<Self>) -> Self {
        match steps.pop() {
            Some(only) if steps.is_empty() => only,
            last => {
                steps.extend(last);
                Self::Several(steps)
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Merged { objects, samples } => {
                write!(f, "merged {objects} fresh objects, {samples} samples")
            }
            Self::Absorbed { objects, tenants, samples, distinct, .. } => {
                let tenants = tenants.len();
                write!(
                    f,
                    "divided {objects} objects among {tenants} tenants, {samples} samples, {distinct} of them new"
                )
            }
            Self::SegmentsMerged { tenant, segments, samples } => {
                write!(f, "merged {segments} segments of {tenant}, {samples} samples")
            }
            Self::Thinned { tenant, samples, kept } => {
                write!(f, "thinned a day of {tenant}, {kept} of {samples} samples")
            }
            Self::Several(steps) => write!(f, "merged segments of {} tenants", steps.len()),
            Self::Quarantined { objects } => write!(f, "passed over {objects} objects that cannot be read"),
            Self::Deleted { objects } => write!(f, "deleted {objects} objects"),
            Self::Swept => write!(f, "looked for what can be deleted"),
            Self::Overtaken => write!(f, "somebody else was faster"),
            Self::Rest => write!(f, "nothing left to do"),
        }
    }
}
