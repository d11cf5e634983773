//! The control plane in the one process: from signing up to a key that is good at the data plane, and back.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use segment_store::{Clock as _, SystemClock};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::farwatch::BINARY;
use crate::harness::remote_write::{request, series, write, write_with_key};
use crate::harness::{Farwatch, Options, eventually, now_ms, signup_token};

mod sharing;

/// What holds for revocations and limits, everywhere.
const ENFORCED_WITHIN: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);
const PASSWORD: &str = "correct horse battery";

/// Somebody who uses the control plane.
struct Client<'a> {
    server: &'a Farwatch,
    token: Option<String>,
}

impl Client<'_> {
    async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        let url = format!("{}/api/control/v1{path}", self.server.url);
        let mut request = self.server.client.request(method, url);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(json!(text)))
    }

    async fn done(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(method.clone(), path, body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        answer
    }
}

/// Signs up with the link that is in the log, and logs in.
async fn sign_up(server: &Farwatch) -> Client<'_> {
    let mut client = Client { server, token: None };
    let account = json!({ "email": "ada@example.com", "password": PASSWORD });
    client.done(Method::POST, "/accounts", account.clone()).await;
    let token = signup_token(&server.output).await;
    client.done(Method::POST, "/accounts/verify", json!({ "token": token, "password": PASSWORD })).await;
    let session = client.done(Method::POST, "/sessions", account).await;
    client.token = session["access_token"].as_str().map(str::to_owned);
    client
}

fn text(answer: &Value) -> String {
    answer.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_control_plane_writes_until_it_is_limited_or_revoked() {
    let server = Farwatch::start().await;
    let client = sign_up(&server).await;
    let organisation = client.done(Method::POST, "/organisations", json!({ "name": "Example" })).await;
    let tenants = format!("/organisations/{}/tenants", text(&organisation["id"]));
    let tenant = text(&client.done(Method::POST, &tenants, json!({ "name": "production" })).await["id"]);
    let keys = format!("/tenants/{tenant}/keys");
    let new = |networks: Value| json!({ "name": "a", "scopes": ["metrics:write", "metrics:read"], "networks": networks });
    let made = client.done(Method::POST, &keys, new(json!(["127.0.0.0/8"]))).await;
    let elsewhere = client.done(Method::POST, &keys, new(json!(["192.0.2.0/24"]))).await;
    let (key, elsewhere) = (text(&made["secret"]), text(&elsewhere["secret"]));

    let message = || request([series(&[("__name__", "up")], &[(now_ms(), 1.0)])]);
    let status = async |key: &str| write_with_key(&server, key, &message()).await.unwrap().0;
    let becomes = async |wanted: u16| {
        let clock = SystemClock::new();
        eventually("the data plane to know", PATIENCE, async || match status(&key).await {
            found if found == wanted => Ok(()),
            found => Err(found.to_string()),
        })
        .await;
        clock.monotonic()
    };
    becomes(204).await;
    // It is a key like any other, but not from everywhere.
    assert_eq!(status(&elsewhere).await, 403);
    let ask = async |key: &str| {
        let asked = server.client.get(format!("{}/api/v1/query?query=up", server.url)).bearer_auth(key);
        let answer = asked.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ask(&elsewhere).await.0, 403);
    let (found, answer) = ask(&key).await;
    assert!(found == 200 && answer.contains("\"up\""), "{found} {answer}");
    // Nobody else sees it.
    assert!(
        !server.get("/api/v1/query?query=up").send().await.unwrap().text().await.unwrap().contains("\"up\"")
    );

    let quotas = format!("/tenants/{tenant}/quotas");
    client.done(Method::PUT, &quotas, json!({ "samples_per_second": 0 })).await;
    assert!(becomes(429).await < ENFORCED_WITHIN);
    client.done(Method::PUT, &quotas, json!({})).await;
    becomes(204).await;
    let revoke = format!("{keys}/{}", text(&made["key"]["id"]));
    client.done(Method::DELETE, &revoke, Value::Null).await;
    assert!(becomes(401).await < ENFORCED_WITHIN);
    // The first tenant, which the control plane does not know, goes on.
    assert_eq!(write(&server, &message()).await.unwrap().0, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_and_keys_survive_a_crash() {
    let mut server = Farwatch::start().await;
    let (token, key) = {
        let client = sign_up(&server).await;
        let organisation = client.done(Method::POST, "/organisations", json!({ "name": "Example" })).await;
        let tenants = format!("/organisations/{}/tenants", text(&organisation["id"]));
        let tenant = text(&client.done(Method::POST, &tenants, json!({ "name": "production" })).await["id"]);
        let new = json!({ "name": "a", "scopes": ["metrics:write"] });
        let made = client.done(Method::POST, &format!("/tenants/{tenant}/keys"), new).await;
        (client.token, text(&made["secret"]))
    };
    server.kill().await;
    server.restart().await;
    let client = Client { server: &server, token };
    eventually("the control plane", PATIENCE, async || {
        match client.send(Method::GET, "/account", Value::Null).await {
            (StatusCode::OK, account) if account["email"] == "ada@example.com" => Ok(()),
            (status, answer) => Err(format!("{status} {answer}")),
        }
    })
    .await;
    eventually("the key", PATIENCE, async || {
        let message = request([series(&[("__name__", "up")], &[(now_ms(), 1.0)])]);
        match write_with_key(&server, &key, &message).await {
            Ok((204, _)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_and_queries_go_on_without_the_database() {
    // Nobody listens there.
    let server =
        Farwatch::start_with(Options::with(&["--database-url", "postgres://ada:hidden@127.0.0.1:1/x"])).await;
    let message = request([series(&[("__name__", "up")], &[(now_ms(), 1.0)])]);
    assert_eq!(write(&server, &message).await.unwrap().0, 204);
    assert_eq!(server.get("/api/v1/query?query=up").send().await.unwrap().status(), 200);
    let client = Client { server: &server, token: None };
    let (status, problem) = client.send(Method::GET, "/account", Value::Null).await;
    assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("unavailable")));
    eventually("a word in the log", PATIENCE, async || {
        let said = server.said();
        if said.contains("control plane's database cannot be used") { Ok(()) } else { Err(said) }
    })
    .await;
    assert!(!server.said().contains("hidden"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alone_it_serves_accounts_and_no_data() {
    let server = Farwatch::start_with(Options::with(&["--role", "control-plane"])).await;
    let client = sign_up(&server).await;
    assert_eq!(client.done(Method::GET, "/account", Value::Null).await["email"], "ada@example.com");
    assert_eq!(server.post("/api/v1/write").send().await.unwrap().status(), 404);
    assert_eq!(server.get("/api/v1/query?query=up").send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_database_of_another_kind_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    for (flag, value, words) in [
        ("--database-url", "mysql://ada:hidden@db.example.com/x", "sqlite:// nor postgres://"),
        ("--smtp-url", "http://ada:hidden@mail.example.com", "smtp-url"),
    ] {
        let ended = Command::new(BINARY)
            .args(["control-plane", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path().join("data"))
            .args([flag, value])
            .env_remove("FARWATCH_CONFIG")
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success() && said.contains(words) && !said.contains("hidden"), "{said}");
        assert!(!directory.path().join("data").exists(), "{flag} made the data directory");
    }
}
