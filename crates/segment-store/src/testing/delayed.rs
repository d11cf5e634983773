//! A bucket that is far away.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Hook, Hooked, Request};
use crate::{Bucket, BucketError};

/// Adds the same time to every request, before it is made.
#[derive(Debug)]
pub struct Delayed(Duration);

impl Delayed {
    /// Delays every request to `inner` by `delay`.
    #[must_use]
    pub fn new(inner: Arc<dyn Bucket>, delay: Duration) -> Hooked<Self> {
        Hooked::new(inner, Self(delay))
    }
}

#[async_trait]
impl Hook for Delayed {
    async fn before(&self, _: &dyn Bucket, _: Request<'_>) -> Result<(), BucketError> {
        tokio::time::sleep(self.0).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemoryBucket, conformance};

    #[tokio::test(start_paused = true)]
    async fn conforms_later() {
        let started = tokio::time::Instant::now();
        let far = Delayed::new(Arc::new(MemoryBucket::default()), Duration::from_millis(60));
        conformance::check(Arc::new(far), "delayed").await;
        assert!(started.elapsed() > Duration::from_secs(1));
    }
}
