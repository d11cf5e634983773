//! No key, bad keys, keys of another scope.

use reqwest::RequestBuilder;
use segment_store::Seed;
use tenancy::{ApiKey, KeyEntry, Scope};

use super::{Case, case};
use crate::harness::Farwatch;
use crate::harness::tenants::{add_tenant, change_directory};

pub(super) async fn cases(server: &mut Farwatch) -> Vec<Case> {
    let reader = add_tenant(server, "reader", &[Scope::MetricsRead]).await;
    let writer = add_tenant(server, "writer", &[Scope::MetricsWrite]).await;
    let revoked = add_key(server, |entry| entry.revoked_at_ms = Some(1)).await;
    let expired = add_key(server, |entry| entry.expires_at_ms = Some(1)).await;
    let bound = add_key(server, |entry| entry.networks = vec!["192.0.2.0/24".to_owned()]).await;
    let stranger = ApiKey::generate(&mut Seed::from_os().unwrap().rng()).expose().to_owned();
    let mut mistyped = server.key.clone();
    let last = mistyped.pop().unwrap();
    mistyped.push(if last == 'a' { 'b' } else { 'a' });

    let write = || server.client.post(format!("{}/api/v1/write", server.url));
    let otlp = || server.client.post(format!("{}/v1/metrics", server.url));
    let query = || server.client.get(format!("{}/api/v1/query?query=up", server.url));
    let header = |request: RequestBuilder, value: &str| request.header("Authorization", value);
    vec![
        case("write without a key", write(), 401, "no credentials"),
        case("OTLP without a key", otlp(), 401, "no credentials"),
        case("query without a key", query(), 401, "no credentials"),
        case("a key that is none", write().bearer_auth("nonsense"), 401, "an API key is"),
        case("a mistyped key", write().bearer_auth(&mistyped), 401, "checksum"),
        case("a key of nobody", write().bearer_auth(&stranger), 401, "not known here"),
        case("a revoked key", write().bearer_auth(&revoked), 401, "revoked"),
        case("an expired key", query().bearer_auth(&expired), 401, "expired"),
        case("another scheme", header(write(), "Digest username=x"), 401, "neither 'Bearer KEY'"),
        case("Basic that is not Base64", header(query(), "Basic !!!"), 401, "Base64"),
        case("Basic with the key as user", query().basic_auth(&server.key, Some("x")), 401, "an API key is"),
        case(
            "an endless header",
            header(write(), &format!("Bearer {}", "a".repeat(2_000))),
            401,
            "longer than",
        ),
        case("a header that is not text", write().header("Authorization", &b"Bearer \xff\xfe"[..]), 401, ""),
        case("writing with a reader's key", write().bearer_auth(&reader), 403, "metrics:write"),
        case("OTLP with a reader's key", otlp().bearer_auth(&reader), 403, "metrics:write"),
        case("writing from elsewhere", write().bearer_auth(&bound), 403, "from certain networks only"),
        case("OTLP from elsewhere", otlp().bearer_auth(&bound), 403, "from certain networks only"),
        case("reading from elsewhere", query().bearer_auth(&bound), 403, "from certain networks only"),
        case("reading with a writer's key", query().bearer_auth(&writer), 403, "metrics:read"),
    ]
}

/// Adds a key to the first tenant.
async fn add_key(server: &Farwatch, change: impl FnOnce(&mut KeyEntry)) -> String {
    let key = ApiKey::generate(&mut Seed::from_os().unwrap().rng());
    let mut entry = KeyEntry::of(&key, [Scope::MetricsRead, Scope::MetricsWrite]);
    change(&mut entry);
    change_directory(server, |document| document.tenants[0].keys.push(entry)).await;
    key.expose().to_owned()
}
