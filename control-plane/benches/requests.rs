//! How many requests a second does a control plane answer, on each database, and what does checking a key cost the data plane?
//!
//! Setup: one process, 16 clients without a network in between, an organisation with one tenant; PostgreSQL runs beside it with
//! `fsync` off, SQLite with it on. Reads list ten keys; writes set the tenant's limits, each with its entry in the audit log and in the
//! directory's outbox (of which the publisher takes many at once). The directory of the last figure has 10,000 keys.
//!
//! Run: `cargo bench -p control-plane`. With `cargo test` it does a little of the same, so that it goes on working.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark may")]

#[allow(dead_code, unused_imports, unused_macros, reason = "the tests use all of it")]
#[path = "../tests/suite/database.rs"]
mod database;
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/suite/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "the tests use all of it")]
#[path = "../tests/suite/world.rs"]
mod world;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;
use tenancy::{ApiKey, Directory, DirectoryDocument, KeyEntry, Limits, Scope, TenantEntry};

use database::Database;
use world::{World, signer};

const CLIENTS: usize = 16;
const KEYS_OF_THE_DIRECTORY: usize = 10_000;

fn main() {
    let is_whole = std::env::args().any(|argument| argument == "--bench");
    let requests = if is_whole { 5_000 } else { 50 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        measure("SQLite", &Database::sqlite(), requests).await;
        measure("PostgreSQL", &Database::postgres().await, requests).await;
    });
    check_keys(if is_whole { 1_000_000 } else { 1_000 });
}

async fn measure(name: &str, database: &Database, requests: usize) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    for _ in 0..10 {
        world.key(&ada, &tenant, &["metrics:write"]).await;
    }
    let (keys, quotas) = (format!("/tenants/{tenant}/keys"), format!("/tenants/{tenant}/quotas"));
    let (world, ada, keys, quotas) = (&world, &ada, &keys, &quotas);
    let reads = rate(requests, |_| async move { world.get(keys, ada).await.expect(200) }).await;
    let writes = rate(requests, |at| async move {
        world.put(quotas, ada, json!({ "samples_per_second": at })).await.expect(204)
    })
    .await;
    println!("{name}: {reads:.0} reads/s, {writes:.0} writes/s");
    world.control_plane.shut_down().await;
}

/// Requests a second with all clients at it.
async fn rate<T, F: Future<Output = T>>(requests: usize, request: impl Fn(usize) -> F) -> f64 {
    let next = AtomicUsize::new(0);
    let client = || async {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= requests {
                return;
            }
            request(at).await;
        }
    };
    let started = now();
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Box::pin(client())).collect();
    let mut open: Vec<bool> = vec![true; CLIENTS];
    std::future::poll_fn(|context| {
        for (client, open) in clients.iter_mut().zip(&mut open) {
            *open = *open && client.as_mut().poll(context).is_pending();
        }
        if open.contains(&true) { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    requests as f64 / started.elapsed().as_secs_f64()
}

fn check_keys(checks: usize) {
    let mut rng = StdRng::seed_from_u64(1);
    let keys: Vec<ApiKey> = (0..KEYS_OF_THE_DIRECTORY).map(|_| ApiKey::generate(&mut rng)).collect();
    let tenants = keys.chunks(10).enumerate().map(|(at, keys)| TenantEntry {
        id: format!("tenant-{at}"),
        shard: 0,
        retention_days: 30,
        home_cell: None,
        limits: Limits::default(),
        keys: keys.iter().map(|key| KeyEntry::of(key, [Scope::MetricsWrite])).collect(),
    });
    let document = DirectoryDocument { version: 1, issued_at_ms: 0, tenants: tenants.collect() };
    let published = document.publish(&signer()).unwrap();
    let started = now();
    let directory = Directory::open(&published, &signer().verifier()).unwrap();
    let opened: Duration = started.elapsed();
    let texts: Vec<&str> = keys.iter().map(ApiKey::expose).collect();
    let started = now();
    for at in 0..checks {
        let key = ApiKey::parse(texts[at * 7919 % texts.len()].as_bytes()).unwrap();
        std::hint::black_box(directory.authenticate(&key, 0).unwrap());
    }
    let each = started.elapsed().as_secs_f64() / checks as f64;
    println!(
        "a key's check among {KEYS_OF_THE_DIRECTORY}: {:.2} µs; opening their directory ({} KiB): {:.1} ms",
        each * 1e6,
        published.len() >> 10,
        opened.as_secs_f64() * 1e3
    );
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
