//! Ingest, query and compaction in processes of their own; the latter two are killed with -9.

use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::cell::{Cell, part_of};
use super::compactors::GRACE;
use super::traffic::Traffic;
use super::{Figures, Strike};
use crate::cli::Drill;
use crate::clock;
use crate::commands::CommandError;

const INGEST: &str = "ingest";
const QUERY: &str = "query";
const COMPACT: &str = "compact";
/// How long a compaction of everything is left alone at most.
const COMPACTION_LIFE_MAX: Duration = Duration::from_secs(2);
/// How often the query process is killed as well.
const QUERY_KILL_PROBABILITY: f64 = 0.5;

pub(super) struct Roles {
    compaction_kills: u64,
    compactions_ended: u64,
    query_kills: u64,
}

impl Strike for Roles {
    /// A query process lists what others wrote each second.
    const VISIBLE_WITHIN: Duration = Duration::from_secs(5);

    async fn set_up(args: &Drill, cell: &mut Cell) -> Result<Self, CommandError> {
        super::s3::use_if_given(args, cell).await?;
        for role in [INGEST, QUERY, COMPACT] {
            cell.start(role).await?;
        }
        Ok(Self { compaction_kills: 0, compactions_ended: 0, query_kills: 0 })
    }

    async fn strike(
        &mut self,
        cell: &mut Cell,
        traffic: &Traffic,
        rng: &mut ChaCha8Rng,
    ) -> Result<Instant, CommandError> {
        // One that does everything there is to do is in the middle of something when it is killed.
        let mut everything = cell.command(&["compact", "--once", "--grace", GRACE]);
        let failed = |error: std::io::Error| CommandError::Tool {
            words: "compact --once".to_owned(),
            reason: error.to_string(),
        };
        let mut compaction = everything
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .map_err(failed)?;
        match tokio::time::timeout(part_of(COMPACTION_LIFE_MAX, rng), compaction.wait()).await {
            Ok(Ok(status)) if status.success() => self.compactions_ended += 1,
            Ok(Ok(status)) => traffic.find("compaction", format!("compact --once ended with {status}")),
            Ok(Err(error)) => return Err(failed(error)),
            Err(_) => {
                compaction.kill().await.map_err(failed)?;
                self.compaction_kills += 1;
            }
        }
        cell.kill(COMPACT)?;
        cell.start(COMPACT).await?;
        self.compaction_kills += 1;
        if rng.random_bool(QUERY_KILL_PROBABILITY) {
            cell.kill(QUERY)?;
            cell.start(QUERY).await?;
            self.query_kills += 1;
        }
        Ok(clock::now())
    }

    fn figures(&self) -> Figures {
        Figures::from([
            ("kills of compactors", self.compaction_kills),
            ("compactions that ended before", self.compactions_ended),
            ("kills of the query process", self.query_kills),
        ])
    }
}
