//! Access and refresh tokens.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::database::{Database, on_both_databases};
use crate::world::{Answer, PASSWORD, World};

on_both_databases!(
    tokens_expire_and_are_refreshed,
    a_refresh_token_that_is_used_twice_ends_the_session,
    of_two_who_refresh_at_once_none_keeps_the_session,
    logging_out_ends_both_tokens_at_once,
    a_session_ends_after_thirty_days,
    garbage_is_refused,
);

async fn refresh(world: &World, token: &str) -> Answer {
    world.ask("/sessions/refresh", json!({ "refresh_token": token })).await
}

async fn is_good(world: &World, access: &str) -> bool {
    let answer = world.send(Method::GET, "/account", Some(access), None).await;
    assert!(answer.status == 200 || answer.problem(401) == "unauthenticated");
    answer.status == 200
}

async fn tokens_expire_and_are_refreshed(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    world.clock.advance(Duration::from_secs(599));
    assert!(is_good(&world, &ada.token).await);
    world.clock.advance(Duration::from_secs(1));
    assert!(!is_good(&world, &ada.token).await);
    let mut token = ada.refresh;
    for _ in 0..5 {
        let next = refresh(&world, &token).await.expect(200);
        assert_eq!(next.json()["expires_in_s"], 600);
        assert!(is_good(&world, &next.field("access_token")).await);
        assert_ne!(next.field("refresh_token"), token);
        token = next.field("refresh_token");
        world.clock.advance(Duration::from_secs(600));
    }
}

async fn a_refresh_token_that_is_used_twice_ends_the_session(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let bystander = world.log_in(&ada.email, PASSWORD).await.expect(201).field("access_token");
    let next = refresh(&world, &ada.refresh).await.expect(200);
    refresh(&world, &ada.refresh).await.problem(401);
    assert!(!is_good(&world, &ada.token).await);
    assert!(!is_good(&world, &next.field("access_token")).await);
    refresh(&world, &next.field("refresh_token")).await.problem(401);
    assert!(is_good(&world, &bystander).await, "another session goes on");
    let log = world.send(Method::GET, "/account/audit", Some(&bystander), None).await.json();
    assert_eq!(log["entries"][0]["action"], "session.end");
    assert_eq!(log["entries"][0]["details"]["reason"], "a refresh token was used twice");
}

async fn of_two_who_refresh_at_once_none_keeps_the_session(database: &Database) {
    let world = World::new(database).await;
    for attempt in 0..5 {
        let ada = world.person(&format!("ada{attempt}")).await;
        let (one, other) = tokio::join!(refresh(&world, &ada.refresh), refresh(&world, &ada.refresh));
        let good: Vec<Answer> = [one, other].into_iter().filter(|answer| answer.status == 200).collect();
        assert_eq!(good.len(), 1, "{good:?}");
        assert!(!is_good(&world, &good[0].field("access_token")).await);
        refresh(&world, &good[0].field("refresh_token")).await.problem(401);
    }
}

async fn logging_out_ends_both_tokens_at_once(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    world.delete("/sessions/current", &ada).await.expect(204);
    assert!(!is_good(&world, &ada.token).await);
    refresh(&world, &ada.refresh).await.problem(401);
}

async fn a_session_ends_after_thirty_days(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    world.clock.advance(Duration::from_secs(30 * 24 * 3600 - 1));
    let next = refresh(&world, &ada.refresh).await.expect(200);
    world.clock.advance(Duration::from_secs(1));
    assert!(!is_good(&world, &next.field("access_token")).await);
    refresh(&world, &next.field("refresh_token")).await.problem(401);
}

async fn garbage_is_refused(database: &Database) {
    let world = World::new(database).await;
    for token in [
        "",
        "x",
        "a.b.c",
        &"x".repeat(5000),
        "fw_000000000000000000000000000000000000000000000000000000000000",
    ] {
        assert!(!is_good(&world, token).await);
        refresh(&world, token).await.problem(401);
    }
    for header in ["Basic YTpi", "Bearer", "nonsense"] {
        let request = http::Request::get(format!("{}/account", crate::world::BASE))
            .header("authorization", header)
            .body(axum::body::Body::empty())
            .unwrap();
        let answer = world.send_request("192.0.2.1".parse().unwrap(), request).await;
        assert_eq!(answer.problem(401), "unauthenticated");
        assert_eq!(answer.headers["www-authenticate"], "Bearer");
    }
}
