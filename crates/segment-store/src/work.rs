//! Where work that only computes is done.

/// Where the work of a flush or of compaction that only computes is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkOn {
    /// On the runtime's threads for blocking work, so that it holds up no request.
    #[default]
    BlockingThreads,
    /// Where its caller runs: one thread alone, so that a simulation is repeatable.
    SameThread,
}

/// Why there is no result: the work panicked, or the runtime ended.
#[derive(Debug)]
pub(crate) struct BrokenOff(pub(crate) String);

impl WorkOn {
    /// Does `work` there.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BrokenOff> {
        match self {
            Self::SameThread => Ok(work()),
            Self::BlockingThreads => tokio::task::spawn_blocking(work)
                .await
                .map_err(|broken_off| BrokenOff(broken_off.to_string())),
        }
    }
}
