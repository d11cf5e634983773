//! Ways to break the protocol: each is what a process with that mistake would make of the bucket's requests and answers, so the product
//! itself needs no switches for them.
//!
//! [`bucket`] is the bucket as a process with a mistake sees it; [`stored`] what it stores instead.

mod bucket;
mod stored;

use std::sync::Arc;
use std::time::Duration;

use segment_store::Bucket;
use segment_store::compact::CompactorSettings;
use segment_store::testing::tenant;
use telemetry::TenantId;

use crate::record::{FORGETFUL, RETENTION};
use bucket::Broken;

/// Whose mistake it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Writer,
    Reader,
    Compactor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The protocol as it is.
    Nothing,

    /// A writer's ack does not wait for the put's answer.
    AckBeforePut,
    /// "There is such an object" is taken for "it is mine".
    NoPutIdCheck,
    /// Puts of writers replace what is there.
    NoCondition,
    /// Puts of writers carry no put-id, so nobody's object is known again.
    NoPutId,
    /// A lost answer to a writer is taken for a failure.
    UnknownIsFailure,
    /// A lost answer to a writer is taken for a success.
    UnknownIsSuccess,
    /// "Somebody else is at it" is taken for a success.
    ConflictIsSuccess,
    /// What a lost answer was about is deleted.
    UnknownIsDeleted,

    /// A reader lists after it has read the manifests.
    ListAfterManifests,
    /// A reader reads the tenant's manifest before the shard's.
    TenantManifestFirst,
    /// A reader does not take off what the shard's manifest has absorbed.
    AbsorbedFreshIsRead,
    /// A reader does not take off what the tenant's manifest has absorbed.
    AbsorbedMergedIsRead,
    /// A reader takes no new snapshot when an object is gone.
    NoNewSnapshot,
    /// A reader takes an object that is gone for an empty one.
    GoneIsEmpty,

    /// Objects are deleted as soon as no manifest needs them.
    NoGrace,
    /// Manifests are replaced whoever has replaced them meanwhile.
    NoEtag,
    /// A lost race for a manifest is taken for a won one.
    LostRaceIsWon,
    /// A lost answer to a compactor is taken for a success.
    UnknownCommitIsSuccess,
    /// A merged object is referred to before it is stored.
    CommitBeforePut,
    /// Merged objects leave the shard's manifest before the tenants' manifests are stored.
    RetireBeforeAbsorbed,
    /// They do so when one of the tenants has not absorbed its part.
    RetireWithoutOne,
    /// Fresh objects are deleted before the manifest says that they are absorbed.
    DeleteBeforeCommit,
    /// What is to be deleted leaves the manifest before it is deleted.
    ForgetBeforeDelete,
    /// It is not looked after the tenants' manifests whether the shard's still names what is absorbed.
    LookedOnce,
    /// A tenant's manifest does not say what it has absorbed.
    AbsorbedIsNotNoted,
    /// Orphans are deleted before a manifest says that they will be.
    OrphansAreNotDoomed,
    /// What lost a race stays where it is.
    OrphansAreKept,
    /// The ledger goes up with a commit of its own.
    LedgerLater,
    /// The ledger counts what was there before.
    LedgerCountsDuplicates,
    /// The ledger goes up by what lost a race.
    LedgerOfLostRace,
    /// The ledger counts thinned samples.
    LedgerCountsThinned,

    /// The grace begins when an object was made.
    GraceFromBirth,
    /// A tenant's manifest forgets with the next commit what it has absorbed, whatever the shard's says.
    ForgottenEarly,
    /// What a commit refers to is deleted when the answer to the commit was lost.
    OutputsOfUnknownAreDeleted,
    /// Native histograms do not come through a merge.
    HistogramsAreLost,
    /// The ends of series do not.
    EndsAreLost,
    /// What metrics say about themselves does not.
    MetadataIsLost,
    /// Exemplars come through it twice.
    ExemplarsAreDoubled,
    /// What is merged takes the place of the first of its inputs.
    PlaceOfFirst,
    /// What is absorbed does so.
    AbsorbedPlaceOfFirst,
    /// A shard's manifest does not say that something has left it.
    EpochStays,
    /// It does not count what was deleted.
    SweptIsNotCounted,

    /// A day that got samples after it was thinned is not thinned again, nor read raw.
    ThinnedOnce,
    /// Raw segments go when they are thinned.
    RawGoesWhenThinned,
    /// Thinned segments go when the raw ones of their time are too old.
    ThinnedGoesWithRaw,
    /// One tenant's retention is everybody's.
    RetentionOfAnother,
    /// A segment is too old when its first samples are.
    RetentionByStart,
    /// A deleted tenant is not noted.
    DeletionIsNotNoted,
    /// A deleted tenant's name is forgotten, so what comes late or was still fresh is absorbed.
    DeletionIsForgotten,
}

impl Break {
    pub(crate) fn settings(self, settings: CompactorSettings) -> CompactorSettings {
        match self {
            Self::NoGrace => CompactorSettings { grace: Duration::ZERO, ..settings },
            _ => settings,
        }
    }

    /// How long data of `of` is kept.
    pub(crate) fn retention(self, of: &TenantId) -> Option<Duration> {
        let day = Duration::from_secs(24 * 3_600);
        match self {
            Self::RetentionOfAnother => Some(RETENTION),
            // Windows end a day after they begin at most.
            Self::RetentionByStart if *of == tenant(FORGETFUL) => Some(RETENTION - day),
            _ => (*of == tenant(FORGETFUL)).then_some(RETENTION),
        }
    }

    fn role(self) -> Option<Role> {
        match self {
            Self::Nothing => None,
            Self::AckBeforePut
            | Self::NoPutIdCheck
            | Self::NoCondition
            | Self::NoPutId
            | Self::UnknownIsFailure
            | Self::UnknownIsSuccess
            | Self::ConflictIsSuccess
            | Self::UnknownIsDeleted => Some(Role::Writer),
            Self::ListAfterManifests
            | Self::TenantManifestFirst
            | Self::AbsorbedFreshIsRead
            | Self::AbsorbedMergedIsRead
            | Self::NoNewSnapshot
            | Self::GoneIsEmpty => Some(Role::Reader),
            _ => Some(Role::Compactor),
        }
    }

    /// The bucket as somebody in `role` with this mistake sees it.
    pub(crate) fn seen_by(self, role: Role, bucket: Arc<dyn Bucket>) -> Arc<dyn Bucket> {
        if self.role() != Some(role) {
            return bucket;
        }
        Arc::new(Broken::new(bucket, self))
    }
}
