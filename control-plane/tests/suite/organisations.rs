//! Organisations, who is in them, and the log of what they change.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::database::{Database, on_both_databases};
use crate::world::{Person, World};

on_both_databases!(
    an_organisation_has_the_members_that_accepted_their_invitations,
    an_invitation_is_for_its_address_once_and_for_a_week,
    only_owners_touch_owners_and_one_stays,
    of_two_owners_who_leave_at_once_one_stays,
    every_change_is_in_the_log_without_a_gap,
    the_spend_limit_is_for_owners_and_billing,
    a_removed_member_sees_nothing_at_once,
    tenants_of_an_organisation_have_different_names,
    a_deleted_tenants_data_goes_a_day_later_and_its_invoices_stay,
);

async fn roles(world: &World, person: &Person, organisation: &str) -> Vec<(String, String)> {
    let list = world.get(&format!("/organisations/{organisation}/members"), person).await.expect(200).json();
    let members = list["members"].as_array().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    members.iter().map(|member| (text(&member["email"]), text(&member["role"]))).collect()
}

async fn an_organisation_has_the_members_that_accepted_their_invitations(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let grace = world.member(&ada, &organisation, "grace", "viewer").await;
    let expected = [("ada@example.com", "owner"), ("grace@example.com", "viewer")];
    assert_eq!(
        roles(&world, &grace, &organisation).await,
        expected.map(|(email, role)| (email.to_owned(), role.to_owned()))
    );
    let own = world.get("/organisations", &grace).await.expect(200).json();
    assert_eq!(own["organisations"][0]["id"], organisation);
    assert_eq!(own["organisations"][0]["role"], "viewer");
    let path = format!("/organisations/{organisation}/members/{}", grace.id);
    world.put(&path, &ada, json!({ "role": "admin" })).await.expect(204);
    assert_eq!(
        world.get(&format!("/organisations/{organisation}"), &grace).await.expect(200).field("role"),
        "admin"
    );
    world.delete(&path, &grace).await.expect(204);
    assert_eq!(roles(&world, &ada, &organisation).await.len(), 1);
}

async fn an_invitation_is_for_its_address_once_and_for_a_week(database: &Database) {
    let world = World::new(database).await;
    let (ada, grace, mallory) =
        (world.person("ada").await, world.person("grace").await, world.person("mallory").await);
    let organisation = world.organisation(&ada).await;
    let path = format!("/organisations/{organisation}/invitations");
    let invite = || world.post(&path, &ada, json!({ "email": "Grace@example.com", "role": "member" }));
    let accept = |person: &Person, token: &str| {
        let person = person.clone();
        let body = json!({ "token": token });
        let world = &world;
        async move { world.post("/invitations/accept", &person, body).await }
    };
    let first_id = invite().await.expect(201).field("id");
    let first = world.mailbox.next_token(&grace.email).await;
    accept(&mallory, &first).await.problem(404);
    // A newer one takes its place.
    invite().await.expect(201);
    let second = world.mailbox.next_token(&grace.email).await;
    accept(&grace, &first).await.problem(404);
    world.delete(&format!("{path}/{first_id}"), &ada).await.problem(404);
    let open = world.get(&path, &ada).await.expect(200).json();
    assert_eq!(open["invitations"].as_array().unwrap().len(), 1);
    accept(&grace, &second).await.expect(200);
    accept(&grace, &second).await.problem(404);

    let late = world.post(&path, &ada, json!({ "email": mallory.email, "role": "admin" })).await.expect(201);
    let token = world.mailbox.next_token(&mallory.email).await;
    world.clock.advance(Duration::from_secs(7 * 24 * 3600));
    let session = world.log_in(&mallory.email, crate::world::PASSWORD).await.expect(201);
    let mallory = Person { token: session.field("access_token"), ..mallory };
    accept(&mallory, &token).await.problem(404);
    let _ = late;
}

async fn only_owners_touch_owners_and_one_stays(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let admin = world.member(&ada, &organisation, "grace", "admin").await;
    let member = world.member(&ada, &organisation, "mary", "member").await;
    let path = |person: &Person| format!("/organisations/{organisation}/members/{}", person.id);
    let invitations = format!("/organisations/{organisation}/invitations");

    world.put(&path(&ada), &admin, json!({ "role": "viewer" })).await.problem(403);
    world.put(&path(&member), &admin, json!({ "role": "owner" })).await.problem(403);
    world.delete(&path(&ada), &admin).await.problem(403);
    world.post(&invitations, &admin, json!({ "email": "x@example.com", "role": "owner" })).await.problem(403);
    world.put(&path(&member), &member, json!({ "role": "owner" })).await.problem(403);
    // Money is not an admin's: so nor is the role for it, by whatever way.
    let billing = world.member(&ada, &organisation, "betty", "billing").await;
    for person in [&admin, &member] {
        world.put(&path(person), &admin, json!({ "role": "billing" })).await.problem(403);
    }
    world.put(&path(&billing), &admin, json!({ "role": "viewer" })).await.problem(403);
    world.delete(&path(&billing), &admin).await.problem(403);
    world
        .post(&invitations, &admin, json!({ "email": "x@example.com", "role": "billing" }))
        .await
        .problem(403);
    world.delete(&path(&billing), &billing).await.expect(204);
    assert_eq!(world.delete(&path(&ada), &ada).await.problem(409), "conflict");
    assert_eq!(world.put(&path(&ada), &ada, json!({ "role": "admin" })).await.problem(409), "conflict");
    world.put(&path(&admin), &ada, json!({ "role": "owner" })).await.expect(204);
    world.delete(&path(&ada), &ada).await.expect(204);
    assert_eq!(roles(&world, &admin, &organisation).await.len(), 2);
}

async fn of_two_owners_who_leave_at_once_one_stays(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    for attempt in 0..5 {
        let organisation = world.organisation(&ada).await;
        let grace = world.member(&ada, &organisation, &format!("grace{attempt}"), "owner").await;
        let path = |person: &Person| format!("/organisations/{organisation}/members/{}", person.id);
        let (own, other) = (path(&ada), path(&grace));
        let (one, two) = tokio::join!(world.delete(&own, &ada), world.delete(&other, &grace));
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409]);
    }
}

async fn every_change_is_in_the_log_without_a_gap(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let path = format!("/organisations/{organisation}");
    let names: Vec<_> = (0..8).map(|at| json!({ "name": format!("name {at}") })).collect();
    let renames =
        names.iter().map(|name| world.send(Method::PATCH, &path, Some(&ada.token), Some(name.clone())));
    for answer in join_all(renames).await {
        answer.expect(204);
    }
    let (key, secret) = world.key(&ada, &tenant, &["metrics:write"]).await;
    world.delete(&format!("/tenants/{tenant}/keys/{key}"), &ada).await.expect(204);
    // Nothing changes, nothing is logged.
    world.delete(&format!("/tenants/{tenant}/keys/{key}"), &ada).await.expect(204);
    world.put(&format!("/tenants/{tenant}/keys/{key}"), &ada, json!({})).await.problem(405);

    let log = world.get(&format!("{path}/audit"), &ada).await.expect(200);
    assert!(!log.text.contains(&secret));
    let log = log.json();
    let entries = log["entries"].as_array().unwrap();
    let revisions: Vec<i64> = entries.iter().map(|entry| entry["revision"].as_i64().unwrap()).collect();
    assert_eq!(revisions, (1..=12).rev().collect::<Vec<i64>>());
    let actions: Vec<&str> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(actions[..2], ["key.revoke", "key.create"]);
    assert_eq!(actions[10..], ["tenant.create", "organisation.create"]);
    assert!(actions[2..10].iter().all(|action| *action == "organisation.rename"));
    assert!(entries.iter().all(|entry| entry["actor"] == format!("user:{}", ada.id)));
    let page = world.get(&format!("{path}/audit?before=3&limit=1"), &ada).await.expect(200).json();
    assert_eq!(page["entries"][0]["revision"], 2);
    assert_eq!(page["entries"].as_array().unwrap().len(), 1);
}

async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, output) in &mut waiting {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if waiting.iter().all(|(_, output)| output.is_some()) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    waiting.into_iter().filter_map(|(_, output)| output).collect()
}

async fn the_spend_limit_is_for_owners_and_billing(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let path = format!("/organisations/{organisation}/spend-limit");
    let limit = async || world.get(&path, &ada).await.expect(200).json()["limit_micros"].clone();
    assert_eq!(limit().await, json!(null));
    for (role, reads, writes) in
        [("admin", 200, 403), ("member", 403, 403), ("billing", 200, 204), ("viewer", 403, 403)]
    {
        let person = world.member(&ada, &organisation, role, role).await;
        assert_eq!(world.get(&path, &person).await.status.as_u16(), reads, "{role}");
        let answer = world.put(&path, &person, json!({ "limit_micros": 250_000_000 })).await;
        assert_eq!(answer.status.as_u16(), writes, "{role}");
    }
    assert_eq!(limit().await, 250_000_000);
    assert_eq!(world.put(&path, &ada, json!({ "limit_micros": -1 })).await.problem(422), "invalid_field");
    world.put(&path, &ada, json!({ "limit_micros": null })).await.expect(204);
    assert_eq!(limit().await, json!(null));
}

async fn a_removed_member_sees_nothing_at_once(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let grace = world.member(&ada, &organisation, "grace", "admin").await;
    world.get(&format!("/tenants/{tenant}"), &grace).await.expect(200);
    world.delete(&format!("/organisations/{organisation}/members/{}", grace.id), &ada).await.expect(204);
    for path in [format!("/tenants/{tenant}"), format!("/organisations/{organisation}")] {
        let refused = world.get(&path, &grace).await;
        assert_eq!(refused.problem(404), "not_found");
    }
}

async fn tenants_of_an_organisation_have_different_names(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let (one, two) = (world.organisation(&ada).await, world.organisation(&ada).await);
    let create = async |organisation: &str, name: &str| {
        let path = format!("/organisations/{organisation}/tenants");
        world.post(&path, &ada, json!({ "name": name })).await
    };
    let first = create(&one, "production").await.expect(201).field("id");
    for name in ["production", " production "] {
        let refused = create(&one, name).await;
        assert_eq!(refused.problem(409), "conflict");
        assert!(refused.field("detail").contains("\"production\""), "{refused:?}");
    }
    create(&two, "production").await.expect(201);
    let second = create(&one, "staging").await.expect(201).field("id");
    let rename = async |tenant: &str, name: &str| {
        let body = Some(json!({ "name": name }));
        world.send(Method::PATCH, &format!("/tenants/{tenant}"), Some(&ada.token), body).await
    };
    assert_eq!(rename(&second, "production").await.problem(409), "conflict");
    rename(&second, "staging").await.expect(204);
    rename(&first, "live").await.expect(204);
    rename(&second, "production").await.expect(204);
    // What a deleted one was called is free, and of many at once one has a name.
    world.delete(&format!("/tenants/{second}"), &ada).await.expect(204);
    let answers = join_all((0..4).map(|_| create(&one, "production"))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409]);
}

async fn a_deleted_tenants_data_goes_a_day_later_and_its_invoices_stay(database: &Database) {
    let world = World::new(database).await;
    let mut ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let (gone, stays) = (world.tenant(&ada, &organisation).await, world.tenant(&ada, &organisation).await);
    // 2026-09-21, 14:00 UTC.
    for tenant in [&gone, &stays] {
        world.records.samples(tenant, 497_222, 700);
    }
    world.delete(&format!("/tenants/{gone}"), &ada).await.expect(204);
    world.clock.advance(Duration::from_millis(24 * 3_600_000 - 1));
    world.settle().await;
    assert!(world.records.erased().is_empty());
    world.clock.advance(Duration::from_millis(1));
    // Not while something of it may not be counted yet.
    world.records.set_out_of_reach(true);
    assert!(world.control_plane.settle_usage().await.is_err());
    world.records.set_out_of_reach(false);
    assert!(world.records.erased().is_empty());
    for _ in 0..2 {
        world.settle().await;
    }
    assert_eq!(world.records.erased(), std::slice::from_ref(&gone));
    ada = world.back(&ada).await;
    let log = world.get(&format!("/organisations/{organisation}/audit"), &ada).await.expect(200).json();
    assert_eq!(
        (&log["entries"][0]["action"], &log["entries"][0]["subject"]),
        (&json!("tenant.erase"), &json!(gone))
    );
    let usage = world.get(&format!("/organisations/{organisation}/usage"), &ada).await.expect(200).json();
    assert_eq!(usage["total"]["samples"], 1_400);
    let path = format!("/organisations/{organisation}/invoices/2026-09/inputs");
    let inputs = world.get(&path, &ada).await.expect(200);
    let export: control_plane::billing::InvoiceExport = serde_json::from_str(&inputs.text).unwrap();
    let found = export.verify(&world.records.rows()).unwrap();
    assert_eq!((found.differences, found.without_ledger), (Vec::new(), vec![gone]));
}
