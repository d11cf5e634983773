//! Signing up, passwords, the second factor.

use std::time::Duration;

use control_plane::ports::Clock as _;
use hmac::{Hmac, Mac as _};
use http::Method;
use serde_json::json;
use sha1::Sha1;

use crate::database::{Database, on_both_databases};
use crate::world::{PASSWORD, World};

on_both_databases!(
    an_account_takes_the_link_and_the_password_of_its_own_signup,
    nobody_chooses_a_password_for_somebody_elses_address,
    whether_there_is_an_account_is_not_said,
    a_forgotten_password_is_replaced_once_and_ends_all_sessions,
    changing_the_password_ends_other_sessions,
    a_second_factor_is_asked_for_and_its_codes_are_good_once,
    guessing_is_slowed_down_for_accounts_that_are_there_and_that_are_not,
    bad_fields_are_named,
);

const EMAIL: &str = "ada@example.com";

async fn an_account_takes_the_link_and_the_password_of_its_own_signup(database: &Database) {
    let world = World::new(database).await;
    world.ask("/accounts", json!({ "email": " Ada@Example.com", "password": PASSWORD })).await.expect(202);
    assert_eq!(world.log_in(EMAIL, PASSWORD).await.problem(401), "unauthenticated", "not confirmed yet");
    let token = world.mailbox.next_token(EMAIL).await;
    let verify = |token: &str, password: &str| {
        world.ask("/accounts/verify", json!({ "token": token, "password": password }))
    };
    verify("nonsense", PASSWORD).await.problem(401);
    verify(&token, "another password").await.problem(401);
    verify(&token, PASSWORD).await.expect(204);
    verify(&token, PASSWORD).await.problem(401);
    let session = world.log_in("ADA@example.com", PASSWORD).await.expect(201);
    let account =
        world.send(Method::GET, "/account", Some(&session.field("access_token")), None).await.expect(200);
    assert_eq!(account.field("email"), EMAIL);
    assert_eq!(account.json()["second_factor"], false);

    // A link is good for a day.
    world.ask("/accounts", json!({ "email": "late@example.com", "password": PASSWORD })).await.expect(202);
    let token = world.mailbox.next_token("late@example.com").await;
    world.clock.advance(Duration::from_secs(24 * 3600));
    verify(&token, PASSWORD).await.problem(401);
}

async fn nobody_chooses_a_password_for_somebody_elses_address(database: &Database) {
    let world = World::new(database).await;
    // Mallory is faster than Ada, who gets two mails and may open either.
    world.ask("/accounts", json!({ "email": EMAIL, "password": "mallory's choice" })).await.expect(202);
    world.ask("/accounts", json!({ "email": EMAIL, "password": PASSWORD })).await.expect(202);
    let mallorys = world.mailbox.next_token(EMAIL).await;
    let own = world.mailbox.next_token(EMAIL).await;
    let verify =
        |token: String| world.ask("/accounts/verify", json!({ "token": token, "password": PASSWORD }));
    verify(mallorys.clone()).await.problem(401);
    verify(own).await.expect(204);
    world.log_in(EMAIL, "mallory's choice").await.problem(401);
    world.log_in(EMAIL, PASSWORD).await.expect(201);
    let again = json!({ "token": mallorys, "password": "mallory's choice" });
    world.ask("/accounts/verify", again).await.problem(401);
}

async fn whether_there_is_an_account_is_not_said(database: &Database) {
    let world = World::new(database).await;
    world.person("ada").await;
    let sign_up =
        |email: &str| world.ask("/accounts", json!({ "email": email, "password": "another choice" }));
    let (known, unknown) =
        (sign_up(EMAIL).await.expect(202), sign_up("nobody@example.com").await.expect(202));
    assert_eq!((known.text, known.headers), (unknown.text, unknown.headers));
    let mail = world.mailbox.next(EMAIL).await;
    assert!(mail.subject.contains("already") && !mail.text.contains("#token="), "{mail:?}");
    world.mailbox.next_token("nobody@example.com").await;

    let (known, unknown) = (
        world.log_in(EMAIL, "wrong password").await,
        world.log_in("who@example.com", "wrong password").await,
    );
    assert_eq!(known.problem(401), unknown.problem(401));
    assert_eq!(known.text, unknown.text);
    world.log_in(EMAIL, PASSWORD).await.expect(201);

    let reset = |email: &str| world.ask("/accounts/password-reset", json!({ "email": email }));
    let (known, unknown) = (reset(EMAIL).await.expect(202), reset("who@example.com").await.expect(202));
    assert_eq!((known.text, known.headers), (unknown.text, unknown.headers));
    world.mailbox.next_token(EMAIL).await;
    assert!(world.mailbox.is_empty());
}

async fn a_forgotten_password_is_replaced_once_and_ends_all_sessions(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let ask = || world.ask("/accounts/password-reset", json!({ "email": EMAIL }));
    ask().await.expect(202);
    ask().await.expect(202);
    let (first, second) = (world.mailbox.next_token(EMAIL).await, world.mailbox.next_token(EMAIL).await);
    let confirm = |token: &str, password: &str| {
        world.ask("/accounts/password-reset/confirm", json!({ "token": token, "password": password }))
    };
    confirm("nonsense", "a new password").await.problem(401);
    assert_eq!(confirm(&second, "short").await.problem(422), "invalid_field");
    confirm(&second, "a new password").await.expect(204);
    confirm(&second, "a newer password").await.problem(401);
    confirm(&first, "a newer password").await.problem(401);
    world.get("/account", &ada).await.problem(401);
    world.ask("/sessions/refresh", json!({ "refresh_token": ada.refresh })).await.problem(401);
    world.log_in(EMAIL, PASSWORD).await.problem(401);
    world.log_in(EMAIL, "a new password").await.expect(201);

    world.clock.advance(Duration::from_secs(600));
    ask().await.expect(202);
    let late = world.mailbox.next_token(EMAIL).await;
    world.clock.advance(Duration::from_secs(3600));
    confirm(&late, "a newer password").await.problem(401);
}

async fn changing_the_password_ends_other_sessions(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let other = world.log_in(EMAIL, PASSWORD).await.expect(201).field("access_token");
    let change = |current: &str, new: &str| {
        world.put("/account/password", &ada, json!({ "current_password": current, "new_password": new }))
    };
    assert_eq!(change("wrong password", "a new password").await.problem(422), "invalid_field");
    change(PASSWORD, "a new password").await.expect(204);
    world.get("/account", &ada).await.expect(200);
    world.send(Method::GET, "/account", Some(&other), None).await.problem(401);
    world.log_in(EMAIL, PASSWORD).await.problem(401);
    world.log_in(EMAIL, "a new password").await.expect(201);
    let log = world.get("/account/audit", &ada).await.expect(200).json();
    let actions: Vec<&str> =
        log["entries"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    let expected = ["session.start", "password.change", "session.start", "session.start", "account.create"];
    assert_eq!(actions, expected);
}

async fn a_second_factor_is_asked_for_and_its_codes_are_good_once(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let path = "/account/second-factor";
    world.post(path, &ada, json!({ "password": "wrong password" })).await.problem(422);
    let proposed = world.post(path, &ada, json!({ "password": PASSWORD })).await.expect(200);
    let secret = proposed.field("secret");
    assert_eq!(
        proposed.field("uri"),
        format!("otpauth://totp/Farwatch:{EMAIL}?secret={secret}&issuer=Farwatch")
    );
    let code = |world: &World| totp(&secret, world);
    world.log_in(EMAIL, PASSWORD).await.expect(201);
    let confirm = |code: String| world.post("/account/second-factor/confirm", &ada, json!({ "code": code }));
    confirm("000000".to_owned()).await.problem(401);
    let recovery = confirm(code(&world)).await.expect(200).json()["recovery_codes"].clone();
    let recovery = |at: usize| recovery[at].as_str().unwrap().to_owned();
    assert_eq!(world.get("/account", &ada).await.json()["second_factor"], true);
    world.post(path, &ada, json!({ "password": PASSWORD })).await.problem(409);

    let log_in = |password: &str, code: String| {
        world.ask("/sessions", json!({ "email": EMAIL, "password": password, "code": code }))
    };
    // The code that turned it on was used by that.
    log_in(PASSWORD, code(&world)).await.problem(401);
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(world.log_in(EMAIL, PASSWORD).await.problem(401), "second_factor_needed");
    assert_eq!(world.log_in(EMAIL, "wrong password").await.problem(401), "unauthenticated");
    let next = code(&world);
    log_in("wrong password", next.clone()).await.problem(401);
    log_in(PASSWORD, next.clone()).await.expect(201);
    log_in(PASSWORD, next).await.problem(401);

    // For a lost telephone, once each.
    log_in(PASSWORD, recovery(3).to_lowercase()).await.expect(201);
    world.clock.advance(Duration::from_secs(3600));
    log_in(PASSWORD, recovery(3)).await.problem(401);
    log_in(PASSWORD, recovery(4)).await.expect(201);

    // Guesses are few, whoever has the password.
    world.clock.advance(Duration::from_secs(3600));
    for _ in 0..5 {
        log_in(PASSWORD, "000000".to_owned()).await.problem(401);
    }
    assert_eq!(log_in(PASSWORD, code(&world)).await.problem(429), "too_many_attempts");

    world.clock.advance(Duration::from_secs(3600));
    let again = log_in(PASSWORD, code(&world)).await.expect(201).field("access_token");
    let off = |code: String| {
        let body = json!({ "password": PASSWORD, "code": code });
        world.send(Method::DELETE, path, Some(&again), Some(body))
    };
    off("000000".to_owned()).await.problem(401);
    world.clock.advance(Duration::from_secs(30));
    off(code(&world)).await.expect(204);
    world.log_in(EMAIL, PASSWORD).await.expect(201);
}

async fn guessing_is_slowed_down_for_accounts_that_are_there_and_that_are_not(database: &Database) {
    let world = World::new(database).await;
    world.person("ada").await;
    let guesser = "198.51.100.7".parse().unwrap();
    let guess = |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password });
        world.send_from(guesser, Method::POST, "/sessions", None, Some(body))
    };
    for email in [EMAIL, "nobody@example.com"] {
        for _ in 0..15 {
            guess(email, "wrong password").await.problem(401);
        }
        let refused = guess(email, "wrong password").await;
        assert_eq!(refused.problem(429), "too_many_attempts");
        let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=60).contains(&wait), "{wait}");
    }
    // Also the right password waits, so that the answer does not tell it from others; but only where the guesses came from.
    assert_eq!(guess(EMAIL, PASSWORD).await.problem(429), "too_many_attempts");
    world.log_in(EMAIL, PASSWORD).await.expect(201);
    world.clock.advance(Duration::from_secs(60));
    guess(EMAIL, PASSWORD).await.expect(201);

    // One address that tries many accounts.
    let address = "192.0.2.1".parse().unwrap();
    let mut statuses = Vec::new();
    for at in 0..61 {
        let body = json!({ "email": format!("user{at}@example.com"), "password": "wrong password" });
        let answer = world.send_from(address, Method::POST, "/sessions", None, Some(body)).await;
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 60, "{statuses:?}");
    assert_eq!(statuses.last(), Some(&429));
    world.clock.advance(Duration::from_secs(60));
    world.log_in(EMAIL, PASSWORD).await.expect(201);
}

async fn bad_fields_are_named(database: &Database) {
    let world = World::new(database).await;
    for (email, password, field) in [
        ("ada", PASSWORD, "email"),
        ("ada@example.com\u{0}", PASSWORD, "email"),
        (EMAIL, "short", "password"),
        (EMAIL, "ada@example.com", "password"),
        (EMAIL, &"long".repeat(100), "password"),
    ] {
        let answer = world.ask("/accounts", json!({ "email": email, "password": password })).await;
        assert_eq!((answer.problem(422).as_str(), answer.field("field").as_str()), ("invalid_field", field));
    }
    let unknown = json!({ "email": EMAIL, "password": PASSWORD, "admin": true });
    assert_eq!(world.ask("/accounts", unknown).await.problem(400), "invalid_body");
    assert!(world.mailbox.is_empty());
}

/// What the app on Ada's telephone shows.
fn totp(secret: &str, world: &World) -> String {
    let mut bits = 0_u64;
    let mut count = 0;
    let mut key = Vec::new();
    for character in secret.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|at| *at == character).unwrap();
        bits = bits << 5 | value as u64;
        count += 5;
        if count >= 8 {
            count -= 8;
            key.push((bits >> count) as u8);
        }
    }
    let mut mac = Hmac::<Sha1>::new_from_slice(&key).unwrap();
    mac.update(&(world.clock.now_ms() / 30_000).to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let at = usize::from(hash[19] & 15);
    let number = u32::from_be_bytes(hash[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}
