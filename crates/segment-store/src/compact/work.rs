//! Where work that only computes is done, and how much of the other is under way.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, Buffered, StreamExt as _};

use super::CompactError;
use crate::WorkOn;

/// Does `work` where `on` says.
pub(super) async fn run<T: Send + 'static>(
    on: WorkOn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, CompactError> {
    match on {
        WorkOn::SameThread => Ok(work()),
        WorkOn::BlockingThreads => tokio::task::spawn_blocking(work)
            .await
            .map_err(|broken_off| CompactError::BrokenOff(broken_off.to_string())),
    }
}

/// What `work` gives, in its order, with so many under way at the same time.
pub(super) fn in_order<'a, T: 'a>(
    work: impl Iterator<Item = impl Future<Output = T> + Send + 'a>,
    at_once: usize,
) -> Buffered<stream::Iter<std::vec::IntoIter<BoxFuture<'a, T>>>> {
    let work: Vec<BoxFuture<'a, T>> = work.map(|future| future.boxed()).collect();
    stream::iter(work).buffered(at_once)
}
