//! The published directory: repaired after crashes, never older than what is published, and no more than the control
//! plane's own tenants.

use serde_json::json;
use telemetry::TenantId;
use tenancy::{ApiKey, Directory, DirectoryDocument, KeyEntry, Limits, Scope, TenantEntry};

use crate::database::{Database, on_both_databases};
use crate::world::{World, signer};

on_both_databases!(
    what_a_crash_left_unpublished_is_published_by_the_next_start,
    tenants_that_others_made_stay_as_they_are,
    a_directory_of_somebody_elses_is_not_overwritten,
    several_processes_publish_everything_and_never_go_back,
);

fn has(directory: &Directory, tenant: &str) -> bool {
    directory.tenant(&TenantId::new(tenant).unwrap()).is_some()
}

async fn what_a_crash_left_unpublished_is_published_by_the_next_start(database: &Database) {
    let mut world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    world.place.set_out_of_reach(true);
    let tenant = world.tenant(&ada, &organisation).await;
    let (_, secret) = world.key(&ada, &tenant, &["metrics:write"]).await;
    world.control_plane.shut_down().await;
    assert_eq!(world.place.bytes(), None);
    world.place.set_out_of_reach(false);
    world.restart().await;
    let key = ApiKey::parse(secret.as_bytes()).unwrap();
    world.place.access_when(|directory| directory.authenticate(&key, 0).is_ok()).await;
    // Nothing is left to publish: the next start leaves the place alone.
    let published = world.place.bytes();
    world.restart().await;
    let session = world.log_in(&ada.email, crate::world::PASSWORD).await.expect(201);
    assert!(!session.field("access_token").is_empty());
    assert_eq!(world.place.bytes(), published);
    // It goes on when the place comes back without a restart, too.
    world.place.set_out_of_reach(true);
    world.delete(&format!("/tenants/{tenant}"), &ada).await.expect(204);
    world.place.set_out_of_reach(false);
    world.place.access_when(|directory| !has(directory, &tenant)).await;
}

async fn tenants_that_others_made_stay_as_they_are(database: &Database) {
    let world = World::new(database).await;
    let key = world_key();
    let first = TenantEntry {
        id: "default".to_owned(),
        shard: 0,
        retention_days: 400,
        home_cell: None,
        limits: Limits::unlimited(),
        keys: vec![KeyEntry::of(&key, [Scope::MetricsWrite])],
    };
    let document = DirectoryDocument { version: 41, issued_at_ms: 1, tenants: vec![first] };
    world.place.put(document.publish(&signer()).unwrap());
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let access = world.place.access_when(|directory| has(directory, &tenant)).await;
    assert_eq!(access.directory().version(), 42);
    assert_eq!(access.directory().authenticate(&key, 0).unwrap().tenant.id.as_str(), "default");
    world.delete(&format!("/tenants/{tenant}"), &ada).await.expect(204);
    let access = world.place.access_when(|directory| !has(directory, &tenant)).await;
    assert_eq!(access.directory().version(), 43);
    assert!(access.directory().authenticate(&key, 0).is_ok());
}

fn world_key() -> ApiKey {
    use rand::SeedableRng as _;
    ApiKey::generate(&mut rand::rngs::StdRng::seed_from_u64(1))
}

async fn a_directory_of_somebody_elses_is_not_overwritten(database: &Database) {
    let world = World::new(database).await;
    let stranger = tenancy::DirectorySigner::from_seed(&[8; 32]);
    let document = DirectoryDocument { version: 7, issued_at_ms: 1, tenants: Vec::new() };
    let strangers = document.publish(&stranger).unwrap();
    world.place.put(strangers.clone());
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    world.key(&ada, &tenant, &["metrics:write"]).await;
    world.control_plane.shut_down().await;
    assert_eq!(world.place.bytes(), Some(strangers));
}

async fn several_processes_publish_everything_and_never_go_back(database: &Database) {
    let world = World::new(database).await;
    let others = [world.another(1).await, world.another(2).await];
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let mut tenants = Vec::new();
    for at in 0..10 {
        let tenant = world.tenant(&ada, &organisation).await;
        if at % 3 == 0 {
            let path = format!("/tenants/{tenant}/quotas");
            world.put(&path, &ada, json!({ "samples_per_second": at })).await.expect(204);
        }
        tenants.push(tenant);
    }
    world.delete(&format!("/tenants/{}", tenants[4]), &ada).await.expect(204);
    let all = |directory: &Directory| {
        tenants.iter().enumerate().all(|(at, id)| {
            let tenant = directory.tenant(&TenantId::new(id).unwrap());
            let rate = tenant.map(|tenant| tenant.limits.samples_per_second);
            match at {
                4 => rate.is_none(),
                at if at % 3 == 0 => rate == Some(Some(at as u32)),
                _ => rate == Some(Some(100_000)),
            }
        })
    };
    let version = world.place.access_when(all).await.directory().version();
    for other in &others {
        other.shut_down().await;
    }
    let after = world.place.access_when(all).await;
    assert!(after.directory().version() >= version);
}
