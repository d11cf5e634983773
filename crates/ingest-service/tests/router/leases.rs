//! Limits that many processes share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use ingest_service::leases::{LeaseError, LeaseServer};
use parking_lot::Mutex;
use tenancy::Limits;
use tenancy::lease::{LeaseAnswer, LeaseRequest, Ledger, TenantLease};

use crate::support::messages::request;
use crate::support::{Setup, World};

fn limits() -> Limits {
    Limits { samples_per_second: Some(640), samples_burst: 6400, ..Limits::unlimited() }
}

/// Has one tenant's ledger, and can be away.
#[derive(Debug, Default)]
struct Server {
    ledger: Mutex<Ledger>,
    away: AtomicBool,
    asked: tokio::sync::Notify,
}

#[async_trait]
impl LeaseServer for Server {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseAnswer, LeaseError> {
        self.asked.notify_one();
        if self.away.load(Ordering::Relaxed) {
            return Err(LeaseError("away".into()));
        }
        let mut ledger = self.ledger.lock();
        let tenants = request.tenants.iter().map(|of| {
            assert_eq!(of.tenant, "acme", "others have no limits to share");
            let lease = ledger.lease(&request.process, of.usage, of.held, &limits(), Duration::from_secs(1));
            TenantLease { tenant: of.tenant.clone(), lease: lease.unwrap() }
        });
        Ok(LeaseAnswer { tenants: tenants.collect() })
    }
}

fn world(server: &Arc<Server>, seed: u64) -> World {
    World::with(Setup { limits: limits(), leases: Some(Arc::clone(server) as _), seed, ..Setup::default() })
}

async fn send(world: &World, samples: usize) -> StatusCode {
    world.write(&request(&vec!["x"; samples])).await.status
}

/// Until the process has asked for its shares again, with what was sent so far.
async fn asked_again(server: &Server) {
    for _ in 0..4 {
        server.asked.notified().await;
    }
    tokio::task::yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_that_takes_over_knows_what_was_used_of_the_day() {
    let server = Arc::new(Server::default());
    let bytes_of_one = prost::Message::encoded_len(&request(&["x"])) as u64;
    let start = |seed| {
        let limits = Limits { bytes_per_day: Some(10 * bytes_of_one), ..Limits::unlimited() };
        World::with(Setup { limits, leases: Some(Arc::clone(&server) as _), seed, ..Setup::default() })
    };
    let one = start(1);
    assert_eq!(send(&one, 4).await, StatusCode::NO_CONTENT);
    asked_again(&server).await;
    assert_eq!(send(&one, 2).await, StatusCode::NO_CONTENT);
    // The last it tells when it ends.
    one.ingest.shutdown().await;

    let two = start(2);
    assert_eq!(send(&two, 1).await, StatusCode::NO_CONTENT);
    asked_again(&server).await;
    assert_eq!(send(&two, 4).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send(&two, 3).await, StatusCode::NO_CONTENT);
    assert_eq!(send(&two, 1).await, StatusCode::TOO_MANY_REQUESTS);
    two.ingest.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_process_has_its_share_and_a_safe_one_without_a_lease_server() {
    let server = Arc::new(Server::default());
    server.away.store(true, Ordering::Relaxed);
    let (one, two) = (world(&server, 1), world(&server, 2));
    // Nobody knows how many there are: a sixty-fourth.
    assert_eq!(send(&one, 10).await, StatusCode::NO_CONTENT);
    let refused = one.write(&request(&["x"; 10])).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, Some("1")));
    assert_eq!(one.ingest.snapshot().lease_age_ms, None);
    assert_eq!(one.write(&request(&vec!["x"; 6401])).await.status, StatusCode::PAYLOAD_TOO_LARGE);

    server.away.store(false, Ordering::Relaxed);
    asked_again(&server).await;
    one.clock.advance(Duration::from_secs(5));
    assert_eq!(send(&one, 3000).await, StatusCode::NO_CONTENT, "alone it has it all");
    assert!(one.ingest.snapshot().lease_age_ms.is_some());
    assert_eq!(send(&two, 10).await, StatusCode::NO_CONTENT);
    for _ in 0..4 {
        asked_again(&server).await;
        assert_eq!(send(&two, 6000).await, StatusCode::TOO_MANY_REQUESTS);
    }
    // Both asked for about the same by now, and the first one has given some of it up.
    two.clock.advance(Duration::from_secs(5));
    let sent = send(&two, 1200).await;
    assert_eq!(sent, StatusCode::NO_CONTENT);
    assert!(matches!(send(&two, 1700).await, StatusCode::TOO_MANY_REQUESTS));

    // It goes away again: the last shares go on.
    server.away.store(true, Ordering::Relaxed);
    asked_again(&server).await;
    one.clock.advance(Duration::from_secs(5));
    assert_eq!(send(&one, 500).await, StatusCode::NO_CONTENT);
    one.ingest.shutdown().await;
    two.ingest.shutdown().await;
}
