//! How much is under way at the same time.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use futures::stream::{self, Buffered, StreamExt as _};

/// What `work` gives, in its order, with so many under way at the same time.
pub(super) fn in_order<'a, T: 'a>(
    work: impl Iterator<Item = impl Future<Output = T> + Send + 'a>,
    at_once: usize,
) -> Buffered<stream::Iter<std::vec::IntoIter<BoxFuture<'a, T>>>> {
    let work: Vec<BoxFuture<'a, T>> = work.map(|future| future.boxed()).collect();
    stream::iter(work).buffered(at_once)
}
