//! Leases: who may have them, and that they share what the tenant may do.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tenancy::{DirectorySigner, service_token};

use crate::database::{Database, on_both_databases};
use crate::world::{World, signer};

on_both_databases!(processes_share_a_tenants_rate, others_are_not_served);

const NOW_MS: i64 = 1_790_000_000_000;
const PATH: &str = "/data-plane/leases";

fn request(process: &str, tenant: &str, asked: u64, bytes: u64) -> Value {
    let per_signal = |samples: u64| json!({ "samples": samples, "spans": 0 });
    json!({ "process": process, "tenants": [{
        "tenant": tenant, "asked_per_second": per_signal(asked), "admitted": per_signal(0),
        "day": NOW_MS / 86_400_000, "bytes_of_day": bytes, "held": null,
    }] })
}

async fn processes_share_a_tenants_rate(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let lease = async |process: &str, asked, bytes| {
        let token = service_token::issue(&signer(), process, NOW_MS);
        let body = request(process, &tenant, asked, bytes);
        let answer = world.send(Method::POST, PATH, Some(&token), Some(body)).await.expect(200).json();
        let lease = answer["tenants"][0].clone();
        assert_eq!(lease["tenant"], tenant);
        (
            lease["rates"]["samples"].as_u64().unwrap(),
            lease["processes"].as_u64().unwrap(),
            lease["bytes_of_others"].as_u64().unwrap(),
        )
    };
    assert_eq!(lease("one", 500_000, 7).await, (100_000, 1, 0));
    lease("two", 500_000, 5).await;
    assert_eq!(lease("one", 500_000, 7).await, (50_000, 2, 5));
    assert_eq!(lease("two", 500_000, 5).await, (50_000, 2, 7));
    // New limits are shared soon.
    world
        .put(&format!("/tenants/{tenant}/quotas"), &ada, json!({ "samples_per_second": 1000 }))
        .await
        .expect(204);
    world.clock.advance(Duration::from_millis(1000));
    lease("one", 500_000, 7).await;
    assert!(
        lease("two", 500_000, 5).await.0 <= 750,
        "a share of the new limit, and what was saved meanwhile"
    );
    // What is not known has none.
    let token = service_token::issue(&signer(), "one", NOW_MS);
    let answer = world.send(Method::POST, PATH, Some(&token), Some(request("one", "ten_nobody", 1, 1))).await;
    assert_eq!(answer.expect(200).json(), json!({ "tenants": [] }));
}

async fn others_are_not_served(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let (_, key) = world.key(&ada, &tenant, &["admin", "metrics:write"]).await;
    let body = || Some(request("one", &tenant, 1, 1));
    let stranger = service_token::issue(&DirectorySigner::from_seed(&[8; 32]), "one", NOW_MS);
    let old = service_token::issue(&signer(), "one", NOW_MS - 60_000);
    for bad in [None, Some(&ada.token), Some(&key), Some(&stranger), Some(&old)] {
        let answer = world.send(Method::POST, PATH, bad.map(String::as_str), body()).await;
        assert_eq!(answer.problem(401), "unauthenticated");
    }
    let good = service_token::issue(&signer(), "one", NOW_MS);
    let other = Some(request("two", &tenant, 1, 1));
    assert_eq!(world.send(Method::POST, PATH, Some(&good), other).await.problem(422), "invalid_field");
    let many = json!({ "process": "one", "tenants": vec![request("one", &tenant, 1, 1)["tenants"][0].clone(); 201] });
    assert_eq!(world.send(Method::POST, PATH, Some(&good), Some(many)).await.problem(422), "invalid_field");
    world.send(Method::POST, PATH, Some(&good), Some(json!({}))).await.problem(400);
}
