//! A compactor that runs until it is told to stop.

use std::sync::Arc;

use rand::Rng as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::stats::add;
use super::{Compactor, CompactorStats, Step};
use crate::backoff::Backoff;
use crate::limits::{COMPACT_BACKOFF, RACE_PAUSE};

/// A compactor in the background.
#[derive(Debug)]
pub struct CompactorHandle {
    context: Arc<Context>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl CompactorHandle {
    /// Figures since the start.
    #[must_use]
    pub fn stats(&self) -> CompactorStats {
        self.context.counters.snapshot()
    }

    /// Breaks off what is under way, which loses nothing, and returns when it has ended.
    pub async fn shutdown(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "compaction had failed");
        }
    }
}

impl Compactor {
    /// Runs steps as there is work, looking for it from time to time, until it is told to stop.
    #[must_use]
    pub fn start(self) -> CompactorHandle {
        let (context, stop) = (Arc::clone(&self.context), CancellationToken::new());
        let task = tokio::spawn(self.run(stop.clone()));
        CompactorHandle { context, stop, task }
    }

    async fn run(mut self, stop: CancellationToken) {
        let context = Arc::clone(&self.context);
        // Compactors that started together do not look together.
        context.wait(context.settings.interval, &stop).await;
        let mut backoff = Backoff::new(COMPACT_BACKOFF);
        while !stop.is_cancelled() {
            // A step that is broken off is one that crashed: it leaves at most objects behind that nobody refers to.
            let step = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                step = self.step() => step,
            };
            let wait = match step {
                Ok(Step::Rest) => context.settings.interval,
                Ok(Step::Overtaken) => RACE_PAUSE,
                Ok(step) => {
                    tracing::debug!(%step, "compaction");
                    backoff = Backoff::new(COMPACT_BACKOFF);
                    continue;
                }
                Err(error) => {
                    add(&context.counters.failures, 1);
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "compaction will be tried again"
                    );
                    backoff.next_wait(&mut context.rng())
                }
            };
            context.wait(wait, &stop).await;
        }
    }
}

impl Context {
    /// Waits for about this long, or until told to stop.
    async fn wait(&self, time: std::time::Duration, stop: &CancellationToken) {
        let time = time.mul_f64(self.rng().random_range(0.8..=1.2));
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// Leaves somebody else, who was faster, some time.
    pub(super) async fn pause(&self) {
        let time = RACE_PAUSE.mul_f64(self.rng().random_range(0.0..=1.0));
        tokio::time::sleep(time).await;
    }
}
