//! Shares of tenants' limits, where many processes take in the same tenants' writes.

use std::fmt::Debug;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use rand::Rng;
use tenancy::lease::{LeaseAnswer, LeaseRequest, TenantUse};
use tenancy::limits::{LEASE_REFRESH, MAX_TENANTS_PER_LEASE_REQUEST};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::limits::{LEASE_REQUEST_TIME, LEASE_SOONEST};
use crate::service::Ingest;
use crate::tenants::TenantState;

/// Hands out shares.
#[async_trait]
pub trait LeaseServer: Send + Sync + Debug {
    /// The next shares of a process.
    ///
    /// # Errors
    /// [`LeaseError`] when there are none to be had; asked again soon.
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseAnswer, LeaseError>;
}

/// There are no shares to be had: the last ones go on, then safe ones.
#[derive(Debug, thiserror::Error)]
#[error("the lease server does not answer")]
pub struct LeaseError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Renews shares until told to stop or the service is gone: every [`LEASE_REFRESH`], and soon for a tenant that is new here. Told
/// to stop, it says a last time what was used: whoever takes over begins with that.
pub(crate) async fn keep(
    ingest: Weak<Ingest>,
    server: Arc<dyn LeaseServer>,
    mut rng: impl Rng + Send,
    stop: CancellationToken,
) {
    let process = format!("{:016x}", rng.random::<u64>());
    let mut failing = false;
    loop {
        let Some(service) = ingest.upgrade() else { return };
        let renewed = renew(&service, &*server, &process).await;
        // Once when it begins and once when it ends, not every two seconds.
        match &renewed {
            Ok(()) if failing => tracing::info!("limits are shared by leases again"),
            Err(error) if !failing => tracing::warn!(
                error = error as &dyn std::error::Error,
                "cannot renew the shares of limits; the last ones go on, then safe ones"
            ),
            _ => {}
        }
        failing = renewed.is_err();
        let new_tenant = service.new_tenant();
        drop(service);
        // Processes that began together do not ask together for ever.
        let pause = LEASE_REFRESH.mul_f64(rng.random_range(0.9..1.1));
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => {}
            () = async {
                tokio::time::sleep(LEASE_SOONEST).await;
                new_tenant.notified().await;
            } => {}
        }
    }
    if let Some(ingest) = ingest.upgrade() {
        // The shutdown of the process does not wait longer for it, however many tenants there are.
        let _ = timeout(LEASE_REQUEST_TIME, renew(&ingest, &*server, &process)).await;
    }
}

async fn renew(ingest: &Ingest, server: &dyn LeaseServer, process: &str) -> Result<(), LeaseError> {
    let tenants = ingest.tenants_with_shared_limits();
    let mut outcome = Ok(());
    for some in tenants.chunks(MAX_TENANTS_PER_LEASE_REQUEST) {
        let uses = some.iter().map(|(id, tenant)| use_of(ingest, id, tenant)).collect();
        let request = LeaseRequest { process: process.to_owned(), tenants: uses };
        let answer = match timeout(LEASE_REQUEST_TIME, server.lease(&request)).await {
            Ok(answer) => answer,
            Err(elapsed) => Err(LeaseError(Box::new(elapsed))),
        };
        let leases = match answer {
            Ok(answer) => answer.tenants,
            Err(error) => {
                outcome = Err(error);
                Vec::new()
            }
        };
        let now = ingest.monotonic();
        for (id, tenant) in some {
            if let Some(leased) = leases.iter().find(|leased| leased.tenant == *id) {
                tenant.tenure.lock().renew(leased.lease, now);
            }
            apply(ingest, tenant, now);
        }
    }
    if outcome.is_ok() && !tenants.is_empty() {
        ingest.note_leased();
    }
    outcome
}

fn use_of(ingest: &Ingest, id: &str, tenant: &TenantState) -> TenantUse {
    let usage = tenant.limiter().usage(ingest.now_ms());
    TenantUse { tenant: id.to_owned(), usage, held: tenant.tenure.lock().held(ingest.monotonic()) }
}

/// What holds now, leased or safe.
fn apply(ingest: &Ingest, tenant: &TenantState, now: Duration) {
    let (limiter, now_ms) = (tenant.limiter(), ingest.now_ms());
    let day = limiter.usage(now_ms).day;
    let tenure = *tenant.tenure.lock();
    limiter.share(tenure.rates(limiter.limits(), now), tenure.bytes_of_others(day), now_ms);
}
