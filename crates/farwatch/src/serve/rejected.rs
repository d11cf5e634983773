//! A word to the operator when requests are turned away for their credentials: a client with an old key, or somebody who guesses.

use std::convert::Infallible;

use tenancy::Access;

use super::limits::{REJECTIONS_LOOK, REJECTIONS_PAUSE};

/// Warns soon after the first one, and then once in [`REJECTIONS_PAUSE`] of all there were meanwhile. Goes on until it is dropped.
pub(super) async fn watch(access: &Access) -> Infallible {
    loop {
        tokio::time::sleep(REJECTIONS_LOOK).await;
        let rejected = access.take_rejections();
        if !rejected.is_empty() {
            tracing::warn!(requests = %rejected, "requests were turned away for their credentials");
            tokio::time::sleep(REJECTIONS_PAUSE).await;
        }
    }
}
