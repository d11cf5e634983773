//! Passwords, hashed beside the threads that serve requests, a few at a time.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::auth::password::{HashError, PasswordCost, PasswordHasher};
use crate::error::AppError;
use crate::limits::{HASH_WAIT, MAX_HASHES_AT_ONCE};
use crate::random::Random;
use crate::secret::Secret;

pub(crate) struct Passwords {
    hasher: Arc<PasswordHasher>,
    places: Semaphore,
}

impl Passwords {
    pub(crate) fn new(cost: PasswordCost, random: &Random) -> Result<Self, HashError> {
        let hasher = Arc::new(PasswordHasher::new(cost, random.bytes())?);
        Ok(Self { hasher, places: Semaphore::new(MAX_HASHES_AT_ONCE) })
    }

    pub(crate) async fn hash(&self, password: Secret, random: &Random) -> Result<String, AppError> {
        let _place = self.place().await?;
        let (hasher, salt) = (Arc::clone(&self.hasher), random.bytes());
        on_a_thread(move || hasher.hash(&password, salt)).await?.map_err(|error| {
            tracing::error!(error = &error as &dyn std::error::Error, "a password could not be hashed");
            AppError::Internal
        })
    }

    /// [`PasswordHasher::verify`].
    pub(crate) async fn verify(&self, password: Secret, hash: Option<String>) -> Result<bool, AppError> {
        let _place = self.place().await?;
        let hasher = Arc::clone(&self.hasher);
        on_a_thread(move || hasher.verify(&password, hash.as_deref())).await
    }

    async fn place(&self) -> Result<SemaphorePermit<'_>, AppError> {
        match tokio::time::timeout(HASH_WAIT, self.places.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(AppError::Unavailable("too many log in at the moment; try again in a minute")),
        }
    }
}

async fn on_a_thread<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R, AppError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "hashing a password did not end");
        AppError::Internal
    })
}
