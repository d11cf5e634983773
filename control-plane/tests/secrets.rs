//! Secrets are where they belong, and nowhere else: not in logs, not in answers, not in the database. A binary of its own, since
//! all that this process logs is looked through.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

#[allow(dead_code, unused_imports, unused_macros, reason = "the suite uses all of it")]
#[path = "suite/database.rs"]
mod database;
#[allow(dead_code, reason = "the suite uses all of it")]
#[path = "suite/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "the suite uses all of it")]
#[path = "suite/world.rs"]
mod world;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use control_plane::payments::{Stripe, StripeSettings};
use control_plane::ports::Mail;
use control_plane::{RootSecret, Secret};
use http::Method;
use parking_lot::Mutex;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use database::Database;
use world::{OPERATOR, PASSWORD, World};

/// Keeps every line that is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_logs_nor_errors_nor_the_database_hold_a_secret() {
    let lines = Lines::default();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(lines.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let files = tempfile::TempDir::new().unwrap();
    let database = Database::sqlite_in(files.path());
    // A payment provider that nobody can reach.
    let stripe = Stripe::new(StripeSettings {
        url: "http://127.0.0.1:9".to_owned(),
        api_key: Secret::new("sk_live_hidden".to_owned()),
        webhook_secret: Secret::new("whsec_hidden".to_owned()),
    });
    let world = World::with_payments(&database, Arc::new(stripe.unwrap())).await;
    let mut secrets = vec![PASSWORD.to_owned()];
    let mut refusals = Vec::new();

    let email = "ada@example.com";
    world.ask("/accounts", json!({ "email": email, "password": PASSWORD })).await.expect(202);
    secrets.push(world.mailbox.next_token(email).await);
    let verify = json!({ "token": secrets[1], "password": "a wrong password" });
    refusals.push(world.ask("/accounts/verify", verify).await);
    world.ask("/accounts/verify", json!({ "token": secrets[1], "password": PASSWORD })).await.expect(204);
    secrets.push("a wrong password".to_owned());
    refusals.push(world.log_in(email, "a wrong password").await);
    let session = world.log_in(email, PASSWORD).await.expect(201);
    let person = world::Person {
        email: email.to_owned(),
        id: String::new(),
        token: session.field("access_token"),
        refresh: session.field("refresh_token"),
    };
    // The signature is what makes an access token one.
    secrets.push(person.token.rsplit('.').next().unwrap().to_owned());
    secrets.push(person.refresh.clone());

    let factor =
        world.post("/account/second-factor", &person, json!({ "password": PASSWORD })).await.expect(200);
    secrets.push(factor.field("secret"));
    refusals.push(world.post("/account/second-factor/confirm", &person, json!({ "code": "839201" })).await);
    secrets.push("839201".to_owned());

    let organisation = world.organisation(&person).await;
    let tenant = world.tenant(&person, &organisation).await;
    let (key, text) = world.key(&person, &tenant, &["admin"]).await;
    // What stands before the secret names the key.
    secrets.push(text[15..].to_owned());
    world.send(Method::GET, &format!("/tenants/{tenant}/keys"), Some(&text), None).await.expect(200);
    let rotate = format!("/tenants/{tenant}/keys/{key}/rotate");
    let next = world.post(&rotate, &person, json!({ "overlap_s": 0 })).await.expect(201).field("secret");
    secrets.push(next[15..].to_owned());
    refusals.push(world.send(Method::GET, &format!("/tenants/{tenant}"), Some(&text), None).await);
    let invitation = json!({ "email": "grace@example.com", "role": "viewer" });
    let invitations = format!("/organisations/{organisation}/invitations");
    world.post(&invitations, &person, invitation).await.expect(201);
    secrets.push(world.mailbox.next_token("grace@example.com").await);
    refusals
        .push(world.post("/invitations/accept", &person, json!({ "token": secrets.last().unwrap() })).await);

    world.clock.advance(Duration::from_secs(600));
    world.ask("/accounts/password-reset", json!({ "email": email })).await.expect(202);
    secrets.push(world.mailbox.next_token(email).await);
    let short = json!({ "token": secrets.last().unwrap(), "password": "short" });
    refusals.push(world.ask("/accounts/password-reset/confirm", short).await);
    let refresh = json!({ "refresh_token": person.refresh });
    let renewed = world.ask("/sessions/refresh", refresh.clone()).await.expect(200);
    secrets.push(renewed.field("refresh_token"));
    // A theft that is noticed is logged, without what was stolen.
    refusals.push(world.ask("/sessions/refresh", refresh).await);
    // A body that cannot be read is not repeated.
    let wrong_shape = json!({ "email": email, "password": [PASSWORD] });
    refusals.push(world.ask("/sessions", wrong_shape).await);
    world.place.access_when(|directory| directory.key_count() == 2).await;

    // A bill that cannot be paid, three days into the next month.
    world.records.samples(&tenant, 497_222, 300_000_000);
    world.clock.advance_to_s(1_790_812_800 + 3 * 24 * 3600);
    world.settle().await;
    let person = world.back(&person).await;
    let pay = format!("/organisations/{organisation}/invoices/2026-09/payment");
    let unpaid = world.send(Method::POST, &pay, Some(&person.token), None).await.expect(503);
    world.operate(Method::GET, "/operator/organisations", None).await.expect(200);
    refusals.push(world.operate(Method::GET, "/account", None).await);
    refusals.push(world.ask("/payments/webhook", json!({ "id": "evt_1" })).await);
    secrets.extend(["sk_live_hidden", "whsec_hidden", OPERATOR].map(str::to_owned));
    assert!(secrets.iter().all(|secret| !unpaid.text.contains(secret)), "{unpaid:?}");
    world.control_plane.shut_down().await;

    let logged = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert!(logged.contains("a refresh token was used twice"), "nothing was logged: {logged}");
    let mut stored = Vec::new();
    for file in std::fs::read_dir(files.path()).unwrap() {
        stored.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    assert!(contains(&stored, email.as_bytes()), "this is not the database");
    assert!(refusals.iter().all(|refusal| refusal.status.is_client_error()), "{refusals:?}");
    for secret in &secrets {
        assert!(secret.len() >= 6);
        assert!(!logged.contains(secret), "the log holds {secret}");
        assert!(!contains(&stored, secret.as_bytes()), "the database holds {secret}");
        for refusal in &refusals {
            assert!(!refusal.text.contains(secret), "{refusal:?} holds {secret}");
        }
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn debug_shows_no_secret() {
    let mail = Mail {
        to: "ada@example.com".to_owned(),
        subject: "subject".to_owned(),
        text: "#token=hidden-token".to_owned(),
    };
    let settings = StripeSettings {
        url: "http://127.0.0.1:9".to_owned(),
        api_key: Secret::new("hidden-key".to_owned()),
        webhook_secret: Secret::new("hidden-secret".to_owned()),
    };
    let stripe = Stripe::new(settings.clone()).unwrap();
    let shown = format!(
        "{mail:?} {:?} {:?} {settings:?} {stripe:?}",
        Secret::new("hidden-word".to_owned()),
        RootSecret::new([77; 32])
    );
    assert!(!shown.contains("hidden") && !shown.contains("77"), "{shown}");
}
