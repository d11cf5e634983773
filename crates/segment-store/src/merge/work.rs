//! Where the work is done.

use super::MergeError;
use crate::WorkOn;

/// Does `work`, which only computes, where `on` says.
pub(super) async fn run<T: Send + 'static>(
    on: WorkOn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, MergeError> {
    match on {
        WorkOn::SameThread => Ok(work()),
        WorkOn::BlockingThreads => tokio::task::spawn_blocking(work)
            .await
            .map_err(|broken_off| MergeError::BrokenOff(broken_off.to_string())),
    }
}
