//! API keys, and what the data plane makes of them.

use std::time::Duration;

use control_plane::ports::{Activity, ActivityReport, KeyUse};
use http::Method;
use serde_json::json;
use tenancy::{Access, AccessError, ApiKey, AuthError, Directory, Scope};

use crate::database::{Database, on_both_databases};
use crate::world::{Person, World};

on_both_databases!(
    a_key_is_shown_once_and_good_in_the_directory,
    a_revoked_key_is_refused_and_named,
    a_rotated_key_overlaps_with_its_successor,
    what_is_wrong_with_a_wish_for_a_key_is_said,
    keys_come_in_pages_newest_first,
    a_tenant_has_200_keys_at_most,
    an_admin_key_manages_its_own_tenant_and_nothing_else,
    who_may_not_set_limits_gets_no_key_that_may,
    a_key_that_is_bound_to_networks_is_refused_elsewhere,
    the_last_use_is_the_latest_one_told,
);

const DAY_MS: i64 = 24 * 3600 * 1000;
const NOW_MS: i64 = 1_790_000_000_000;

/// Whether the directory lists so many keys.
fn lists(keys: usize) -> impl Fn(&Directory) -> bool {
    move |directory| directory.key_count() == keys
}

fn authorize(access: &Access, secret: &str, now_ms: i64) -> Result<String, AccessError> {
    let header = format!("Bearer {secret}");
    let principal = access.authorize(Some(header.as_bytes()), Scope::MetricsWrite, now_ms)?;
    Ok(principal.tenant.id.to_string())
}

async fn a_key_is_shown_once_and_good_in_the_directory(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let body = json!({ "name": "prometheus", "scopes": ["metrics:write"], "priority": "high" });
    let made = world.post(&format!("/tenants/{tenant}/keys"), &ada, body).await.expect(201);
    let secret = made.field("secret");
    let id = ApiKey::parse(secret.as_bytes()).unwrap().id().to_string();
    let expected = json!({
        "id": id, "name": "prometheus", "state": "live", "scopes": ["metrics:write"], "priority": "high", "networks": [],
        "created_at_ms": NOW_MS, "expires_at_ms": NOW_MS + 365 * DAY_MS, "revoked_at_ms": null, "last_used_at_ms": null,
    });
    assert_eq!(made.json()["key"], expected);
    for path in [format!("/tenants/{tenant}/keys"), format!("/tenants/{tenant}/keys/{id}")] {
        let shown = world.get(&path, &ada).await.expect(200);
        assert!(shown.text.contains(&id) && !shown.text.contains(&secret[20..40]), "{shown:?}");
    }
    let access = world.place.access_when(lists(1)).await;
    assert_eq!(authorize(&access, &secret, NOW_MS), Ok(tenant));
    let header = format!("Bearer {secret}");
    let read = access.authorize(Some(header.as_bytes()), Scope::MetricsRead, NOW_MS).unwrap_err();
    assert_eq!(read, AccessError::Scope(Scope::MetricsRead));
    let published = String::from_utf8(world.place.bytes().unwrap()).unwrap();
    assert!(published.contains("\"priority\":\"high\"") && !published.contains(&secret[20..40]));
}

async fn a_revoked_key_is_refused_and_named(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let (id, secret) = world.key(&ada, &tenant, &["metrics:write"]).await;
    let access = world.place.access_when(lists(1)).await;
    authorize(&access, &secret, NOW_MS).unwrap();
    world.delete(&format!("/tenants/{tenant}/keys/{id}"), &ada).await.expect(204);
    let key = ApiKey::parse(secret.as_bytes()).unwrap();
    let access = world.place.access_when(|directory| directory.authenticate(&key, NOW_MS).is_err()).await;
    let refused = authorize(&access, &secret, NOW_MS).unwrap_err();
    assert_eq!(refused, AccessError::Key(AuthError::Revoked(key.id())));
    assert_eq!(
        world.get(&format!("/tenants/{tenant}/keys/{id}"), &ada).await.expect(200).field("state"),
        "revoked"
    );
    world
        .post(&format!("/tenants/{tenant}/keys/{id}/rotate"), &ada, json!({ "overlap_s": 0 }))
        .await
        .problem(409);

    // With its tenant, every key goes.
    let (_, other) = world.key(&ada, &tenant, &["metrics:write"]).await;
    world.place.access_when(lists(2)).await;
    world.delete(&format!("/tenants/{tenant}"), &ada).await.expect(204);
    let access = world.place.access_when(lists(0)).await;
    assert_eq!(authorize(&access, &other, NOW_MS), Err(AccessError::Key(AuthError::Unknown)));
    world.get(&format!("/tenants/{tenant}/keys"), &ada).await.problem(404);
}

async fn a_rotated_key_overlaps_with_its_successor(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let body = json!({
        "name": "prometheus", "scopes": ["metrics:write", "metrics:read"], "networks": [],
        "expires_at_ms": NOW_MS + 10 * DAY_MS,
    });
    let made = world.post(&format!("/tenants/{tenant}/keys"), &ada, body).await.expect(201).json();
    let (id, old) = (made["key"]["id"].as_str().unwrap(), made["secret"].as_str().unwrap());
    let path = format!("/tenants/{tenant}/keys/{id}/rotate");
    for bad in [-1, 30 * 24 * 3600 + 1] {
        world.post(&path, &ada, json!({ "overlap_s": bad })).await.problem(422);
    }
    let rotated = world.post(&path, &ada, json!({ "overlap_s": 3600 })).await.expect(201).json();
    let new = rotated["secret"].as_str().unwrap();
    assert_eq!(rotated["key"]["scopes"], made["key"]["scopes"]);
    assert_eq!(rotated["key"]["expires_at_ms"], NOW_MS + 10 * DAY_MS);
    let access = world.place.access_when(lists(2)).await;
    // Who does it again, since the answer was lost, gets a key that is good for as long.
    let again = world.post(&path, &ada, json!({ "overlap_s": 3600 })).await.expect(201).json();
    assert_eq!(again["key"]["expires_at_ms"], rotated["key"]["expires_at_ms"]);
    let hour = 3_600_000;
    assert!(authorize(&access, old, NOW_MS + hour - 1).is_ok());
    let key = ApiKey::parse(old.as_bytes()).unwrap();
    let expired = Err(AccessError::Key(AuthError::Expired(key.id())));
    assert_eq!(authorize(&access, old, NOW_MS + hour), expired);
    assert!(authorize(&access, new, NOW_MS + 10 * DAY_MS - 1).is_ok());
    // An overlap never gives a key a longer life than it had.
    let soon = json!({ "name": "short", "scopes": ["metrics:write"], "expires_at_ms": NOW_MS + 1000 });
    let soon = world.post(&format!("/tenants/{tenant}/keys"), &ada, soon).await.expect(201).json();
    let id = soon["key"]["id"].as_str().unwrap();
    world
        .post(&format!("/tenants/{tenant}/keys/{id}/rotate"), &ada, json!({ "overlap_s": 3600 }))
        .await
        .expect(201);
    let old = world.get(&format!("/tenants/{tenant}/keys/{id}"), &ada).await.expect(200).json();
    assert_eq!(old["expires_at_ms"], NOW_MS + 1000);
}

async fn what_is_wrong_with_a_wish_for_a_key_is_said(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let good = json!({ "name": "a", "scopes": ["metrics:write"] });
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("a\nb")),
        ("name", json!("x".repeat(81))),
        ("scopes", json!([])),
        ("expires_at_ms", json!(NOW_MS)),
        ("expires_at_ms", json!(NOW_MS + 11 * 366 * DAY_MS)),
        ("expires_at_ms", json!(i64::MAX)),
        ("networks", json!(["10.1.1.1/8"])),
        ("networks", json!(["here"])),
        ("networks", json!(vec!["10.0.0.1"; 51])),
        ("scopes", json!(["metrics:write", "metrics:delete"])),
        ("priority", json!("highest")),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = world.post(&format!("/tenants/{tenant}/keys"), &ada, body.clone()).await;
        assert_eq!(answer.problem(422), "invalid_field", "{body}");
        assert_eq!(answer.field("field"), field);
    }
    for (field, value, told) in [
        (
            "scopes",
            json!(["logs:write"]),
            "scopes is none of what it can be (metrics:write, metrics:read, traces:write, traces:read, admin): \"logs:write\"",
        ),
        ("priority", json!("highest"), "priority is none of what it can be (low, normal, high): \"highest\""),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let answer = world.post(&format!("/tenants/{tenant}/keys"), &ada, body).await;
        assert_eq!((answer.field("field").as_str(), answer.field("detail").as_str()), (field, told));
    }
    for (field, value) in [("expires_at_ms", json!("tomorrow")), ("colour", json!("red"))] {
        let mut body = good.clone();
        body[field] = value;
        let answer = world.post(&format!("/tenants/{tenant}/keys"), &ada, body.clone()).await;
        assert_eq!(answer.problem(400), "invalid_body", "{body}");
        let told = answer.field("detail");
        assert!(told.starts_with(&format!("the body cannot be read: {field}: ")), "{told}");
    }
    let listed = world.get(&format!("/tenants/{tenant}/keys"), &ada).await.expect(200).json();
    assert_eq!(listed["keys"], json!([]));
}

async fn keys_come_in_pages_newest_first(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let mut made = Vec::new();
    for at in 0..7 {
        // Some at the same time.
        world.clock.advance(Duration::from_millis(at % 2));
        made.push(world.key(&ada, &tenant, &["metrics:write"]).await.0);
    }
    let (mut seen, mut before) = (Vec::new(), String::new());
    loop {
        let page =
            world.get(&format!("/tenants/{tenant}/keys?limit=3{before}"), &ada).await.expect(200).json();
        let ids: Vec<String> = page["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["id"].as_str().unwrap().to_owned())
            .collect();
        let Some(last) = ids.last() else { break };
        before = format!("&before={last}");
        seen.extend(ids);
    }
    assert_eq!(seen.len(), 7);
    made.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, made);
    world.get(&format!("/tenants/{tenant}/keys?before=unknown"), &ada).await.problem(404);
    world.get(&format!("/tenants/{tenant}/keys?limit=many"), &ada).await.problem(400);
}

async fn a_tenant_has_200_keys_at_most(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let mut last = String::new();
    for _ in 0..200 {
        last = world.key(&ada, &tenant, &["metrics:write"]).await.0;
    }
    let path = format!("/tenants/{tenant}/keys");
    let one_more = || world.post(&path, &ada, json!({ "name": "a", "scopes": ["metrics:write"] }));
    assert_eq!(one_more().await.problem(409), "limit_reached");
    world.delete(&format!("{path}/{last}"), &ada).await.expect(204);
    one_more().await.expect(201);
}

async fn an_admin_key_manages_its_own_tenant_and_nothing_else(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let (tenant, other) = (world.tenant(&ada, &organisation).await, world.tenant(&ada, &organisation).await);
    let (id, admin) = world.key(&ada, &tenant, &["admin"]).await;
    let (_, writer) = world.key(&ada, &tenant, &["metrics:write", "metrics:read"]).await;
    let send = |method: Method, path: String, key: &str, body| {
        let key = key.to_owned();
        let world = &world;
        async move { world.send(method, &path, Some(&key), body).await }
    };
    let new = || Some(json!({ "name": "made by a key", "scopes": ["metrics:write"] }));
    let keys = format!("/tenants/{tenant}/keys");
    send(Method::GET, keys.clone(), &admin, None).await.expect(200);
    send(Method::POST, keys.clone(), &admin, new()).await.expect(201);
    send(Method::GET, format!("/tenants/{tenant}/quotas"), &admin, None).await.expect(200);
    let log = world.get(&format!("/organisations/{organisation}/audit"), &ada).await.json();
    assert_eq!(log["entries"][0]["actor"], format!("key:{id}"));
    let used = world.get(&format!("{keys}/{id}"), &ada).await.expect(200).json();
    assert_eq!(used["last_used_at_ms"], NOW_MS);

    assert_eq!(
        send(Method::GET, format!("/tenants/{other}/keys"), &admin, None).await.problem(404),
        "not_found"
    );
    send(Method::POST, format!("/tenants/{other}/keys"), &admin, new()).await.problem(404);
    send(Method::GET, format!("/organisations/{organisation}"), &admin, None).await.problem(404);
    send(Method::DELETE, format!("/tenants/{tenant}"), &admin, None).await.problem(403);
    send(Method::GET, "/account".to_owned(), &admin, None).await.problem(403);
    assert_eq!(send(Method::GET, keys.clone(), &writer, None).await.problem(403), "forbidden");
    world.delete(&format!("{keys}/{id}"), &ada).await.expect(204);
    assert_eq!(send(Method::GET, keys, &admin, None).await.problem(401), "unauthenticated");
}

async fn who_may_not_set_limits_gets_no_key_that_may(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let mary = world.member(&ada, &organisation, "mary", "member").await;
    let grace = world.member(&ada, &organisation, "grace", "admin").await;
    let (admin, _) = world.key(&ada, &tenant, &["metrics:write", "admin"]).await;
    let (writer, _) = world.key(&ada, &tenant, &["metrics:write"]).await;
    let keys = format!("/tenants/{tenant}/keys");
    let rotate = async |key: &str, by: &Person| {
        world.post(&format!("{keys}/{key}/rotate"), by, json!({ "overlap_s": 0 })).await
    };
    let new = json!({ "name": "a", "scopes": ["admin"] });
    assert_eq!(world.post(&keys, &mary, new.clone()).await.problem(403), "forbidden");
    assert_eq!(rotate(&admin, &mary).await.problem(403), "forbidden");
    rotate(&writer, &mary).await.expect(201);
    rotate(&admin, &grace).await.expect(201);
    world.post(&keys, &grace, new).await.expect(201);
}

async fn a_key_that_is_bound_to_networks_is_refused_elsewhere(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let path = format!("/tenants/{tenant}/keys");
    let body = json!({ "name": "a", "scopes": ["admin", "metrics:write"], "networks": ["192.0.2.0/24", "2001:db8::1"] });
    let made = world.post(&path, &ada, body).await.expect(201);
    assert_eq!(made.json()["key"]["networks"], json!(["192.0.2.0/24", "2001:db8::1/128"]));
    let secret = made.field("secret");
    let from =
        |address: &str| world.send_from(address.parse().unwrap(), Method::GET, &path, Some(&secret), None);
    from("192.0.2.9").await.expect(200);
    from("2001:db8::1").await.expect(200);
    assert_eq!(from("198.51.100.1").await.problem(403), "forbidden");
    let access = world.place.access_when(lists(1)).await;
    let header = format!("Bearer {secret}");
    let data = |address: &str| {
        let address = Some(address.parse().unwrap());
        access.authorize_from(Some(header.as_bytes()), address, Scope::MetricsWrite, NOW_MS).is_ok()
    };
    assert!(data("192.0.2.9") && !data("198.51.100.1"));
}

async fn the_last_use_is_the_latest_one_told(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let (id, secret) = world.key(&ada, &tenant, &["metrics:write"]).await;
    let key = ApiKey::parse(secret.as_bytes()).unwrap().id();
    world.clock.advance(Duration::from_millis(10));
    for (told, shown) in [(NOW_MS + 5, NOW_MS + 5), (NOW_MS + 3, NOW_MS + 5), (NOW_MS + 9, NOW_MS + 9)] {
        let used = KeyUse { id: key.to_string(), at_ms: told };
        let activity = Activity { at_ms: told, keys: vec![used], ..Activity::default() };
        world.records.report(ActivityReport { id: told.to_string(), activity });
        world.control_plane.settle_usage().await.unwrap();
        let found = world.get(&format!("/tenants/{tenant}/keys/{id}"), &ada).await.expect(200).json();
        assert_eq!(found["last_used_at_ms"], shown);
    }
}
