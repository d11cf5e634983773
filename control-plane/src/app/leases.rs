//! Shares of tenants' limits for the many processes that take in their writes.
//!
//! The ledgers are in memory: what they know, the processes tell anew every two seconds. So there is one process with this route
//! in a cell that they all ask.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tenancy::lease::{LeaseAnswer, LeaseRequest, Ledger, TenantLease};
use tenancy::limits::{MAX_PROCESS_NAME_BYTES, MAX_TENANTS_PER_LEASE_REQUEST};
use tenancy::{DirectoryVerifier, Limits, service_token};

use super::App;
use crate::error::AppError;
use crate::limits::{DAY_MS, LEASED_LIMITS_TIME, LEDGERS_SWEPT_EVERY};

type TenantLimits = Arc<HashMap<String, Limits>>;

/// What is shared among whom.
#[derive(Debug)]
pub(crate) struct LeaseDesk {
    verifier: DirectoryVerifier,
    books: Mutex<Books>,
    /// The limits of all tenants, and when they were read.
    limits: tokio::sync::Mutex<Option<(Duration, TenantLimits)>>,
}

#[derive(Debug, Default)]
struct Books {
    ledgers: HashMap<String, Ledger>,
    swept_at: Duration,
}

impl LeaseDesk {
    /// Serves processes whose tokens `verifier` believes.
    pub(crate) fn new(verifier: DirectoryVerifier) -> Self {
        Self { verifier, books: Mutex::default(), limits: tokio::sync::Mutex::default() }
    }
}

impl App {
    /// Shares for a process that proves with a token to be one of the cell's. Tenants that are not known have none.
    pub(crate) async fn lease(
        &self,
        token: Option<&str>,
        read: impl AsyncFnOnce() -> Result<LeaseRequest, AppError>,
    ) -> Result<LeaseAnswer, AppError> {
        let now_ms = self.now_ms();
        let process = token.and_then(|token| service_token::verify(&self.leases.verifier, token, now_ms));
        let process =
            process.ok_or(AppError::Unauthenticated("this route is for the processes of a cell"))?;
        let request = read().await?;
        if request.process.len() > MAX_PROCESS_NAME_BYTES || request.process != process {
            return Err(AppError::invalid("process", "is the name in the token, 64 bytes at most"));
        }
        if request.tenants.len() > MAX_TENANTS_PER_LEASE_REQUEST {
            let problem =
                format!("has {MAX_TENANTS_PER_LEASE_REQUEST} entries at most; send several requests");
            return Err(AppError::invalid("tenants", problem));
        }
        let limits = self.limits_to_share().await?;
        let now = self.clock.monotonic();
        let mut books = self.leases.books.lock();
        if now.saturating_sub(books.swept_at) >= LEDGERS_SWEPT_EVERY {
            let day = now_ms.div_euclid(DAY_MS);
            books.ledgers.retain(|_, ledger| !ledger.is_idle(now, day));
            books.swept_at = now;
        }
        let tenants = request.tenants.into_iter().filter_map(|of| {
            let limits = limits.get(&of.tenant)?;
            let ledger = books.ledgers.entry(of.tenant.clone()).or_default();
            let lease = ledger.lease(&process, of.usage, of.held, limits, now)?;
            Some(TenantLease { tenant: of.tenant, lease })
        });
        Ok(LeaseAnswer { tenants: tenants.collect() })
    }

    /// The limits of all tenants, read again every few seconds. While the database is away the last ones serve on.
    async fn limits_to_share(&self) -> Result<TenantLimits, AppError> {
        let now = self.clock.monotonic();
        let mut cached = self.leases.limits.lock().await;
        if let Some((at, limits)) = &*cached
            && now.saturating_sub(*at) < LEASED_LIMITS_TIME
        {
            return Ok(Arc::clone(limits));
        }
        match (self.limits_of_all().await, &*cached) {
            (Ok(limits), _) => {
                let limits = Arc::new(limits);
                *cached = Some((now, Arc::clone(&limits)));
                Ok(limits)
            }
            (Err(_), Some((_, limits))) => Ok(Arc::clone(limits)),
            (Err(error), None) => Err(error.into()),
        }
    }
}
