//! The one process is killed with -9 and started again.

use std::time::{Duration, Instant};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::cell::{ALL, Cell, part_of};
use super::traffic::Traffic;
use super::{Figures, Strike};
use crate::cli::Drill;
use crate::clock;
use crate::commands::CommandError;

/// How often a restart is killed before it is ready, again and again.
const STARTUP_KILL_PROBABILITY: f64 = 0.2;
/// How long such a start lives at most.
const STARTUP_LIFE_MAX: Duration = Duration::from_millis(60);

pub(super) struct Crash {
    startup_kills: u64,
}

impl Strike for Crash {
    async fn set_up(args: &Drill, cell: &mut Cell) -> Result<Self, CommandError> {
        super::s3::use_if_given(args, cell).await?;
        cell.start(ALL).await?;
        Ok(Self { startup_kills: 0 })
    }

    async fn strike(
        &mut self,
        cell: &mut Cell,
        _traffic: &Traffic,
        rng: &mut ChaCha8Rng,
    ) -> Result<Instant, CommandError> {
        cell.kill(ALL)?;
        while rng.random_bool(STARTUP_KILL_PROBABILITY) {
            let starting = cell.spawn(ALL)?;
            tokio::time::sleep(part_of(STARTUP_LIFE_MAX, rng)).await;
            starting.kill()?;
            self.startup_kills += 1;
        }
        cell.start(ALL).await?;
        Ok(clock::now())
    }

    fn figures(&self) -> Figures {
        Figures::from([("kills before it was ready", self.startup_kills)])
    }
}
