//! Several compactors at once on the same work, again and again.

use std::time::Instant;

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use super::cell::Cell;
use super::traffic::Traffic;
use super::{Figures, Strike};
use crate::cli::Drill;
use crate::clock;
use crate::commands::CommandError;

/// No compactor of its own, so that the others have all the work to themselves.
const SERVER: &str = "ingest,query";
/// How many at once.
const COMPACTORS: usize = 3;
/// How long they keep what readers may look at; short, so that much is deleted.
pub(super) const GRACE: &str = "1s";

pub(super) struct Compactors {
    done: Done,
}

/// What `farwatch compact --once --json` says that it has done.
#[derive(Debug, Default, Deserialize)]
struct Done {
    merges: u64,
    absorptions: u64,
    segment_merges: u64,
    objects_deleted: u64,
    races_lost: u64,
}

#[derive(Deserialize)]
struct Summary {
    done: Done,
}

impl Strike for Compactors {
    async fn set_up(args: &Drill, cell: &mut Cell) -> Result<Self, CommandError> {
        super::s3::use_if_given(args, cell).await?;
        cell.start(SERVER).await?;
        Ok(Self { done: Done::default() })
    }

    async fn strike(
        &mut self,
        cell: &mut Cell,
        _traffic: &Traffic,
        _rng: &mut ChaCha8Rng,
    ) -> Result<Instant, CommandError> {
        let words = ["compact", "--once", "--grace", GRACE, "--json"];
        let all = (0..COMPACTORS).map(|_| cell.ask::<Summary>(&words));
        for Summary { done } in futures::future::try_join_all(all).await? {
            self.done.merges += done.merges;
            self.done.absorptions += done.absorptions;
            self.done.segment_merges += done.segment_merges;
            self.done.objects_deleted += done.objects_deleted;
            self.done.races_lost += done.races_lost;
        }
        Ok(clock::now())
    }

    fn figures(&self) -> Figures {
        Figures::from([
            ("commits: merges of fresh objects", self.done.merges),
            ("commits: absorptions", self.done.absorptions),
            ("commits: merges of segments", self.done.segment_merges),
            ("commits that somebody else was faster with", self.done.races_lost),
            ("objects deleted", self.done.objects_deleted),
        ])
    }
}
