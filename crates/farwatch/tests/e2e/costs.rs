//! What processes report beside the ledger: when keys were used, what a bill is for, and what the operator pays.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::harness::customer::{Customer, PASSWORD};
use crate::harness::farwatch::BINARY;
use crate::harness::remote_write::{request, series, write_with_key};
use crate::harness::{Farwatch, Options, eventually, now_ms, signup_token};

const PATIENCE: Duration = Duration::from_secs(60);

/// The samples of what is named in a part of an invoice's breakdown.
fn named(invoice: &Value, dimension: &str) -> Vec<(String, u64)> {
    let parts = invoice["invoice"]["breakdown"][dimension].as_array().unwrap().iter();
    let part =
        |part: &Value| Some((part["cause"]["name"].as_str()?.to_owned(), part["samples"].as_u64().unwrap()));
    parts.filter_map(part).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keys_use_and_the_names_behind_a_bill_are_known() {
    let mut server = Farwatch::start_with(Options::with(&["--default-plan", "team"])).await;
    let mut ada = Customer::of(&server.url);
    let who = ["--email", "ada@example.com"];
    ada.done_with(&[&["signup"], &who[..]].concat(), PASSWORD);
    let token = signup_token(&server.output).await;
    ada.done_with(&[&["signup"], &who[..], &["--confirm", &token]].concat(), PASSWORD);
    let tenant = ada.json(&["tenant", "create", "production"]);
    let made = ada.json(&["keys", "create", "prometheus", "--scope", "metrics:write"]);
    let (key, key_id) = (made["secret"].as_str().unwrap(), made["key"]["id"].as_str().unwrap());
    assert_eq!(made["key"]["last_used_at_ms"], Value::Null);

    let before_ms = now_ms();
    let times: Vec<(i64, f64)> = (0..30).map(|at| (before_ms - at * 1000, 1.0)).collect();
    let message = request([
        series(&[("__name__", "up"), ("job", "a")], &times[..10]),
        series(&[("__name__", "http_requests_total"), ("job", "a")], &times),
    ]);
    eventually("the data plane to know the key", PATIENCE, async || {
        match write_with_key(&server, key, &message).await.unwrap() {
            (204, _) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    eventually("the key's last use", PATIENCE, async || {
        let listed = ada.json(&["keys", "list"]);
        let used = listed["keys"][0]["last_used_at_ms"].as_i64();
        if used.is_some_and(|used| used >= before_ms) { Ok(()) } else { Err(listed.to_string()) }
    })
    .await;

    // Telling the process to stop makes it report the rest, too.
    server.terminate().await;
    let mut compact = Command::new(BINARY);
    compact.args(["compact", "--once", "--data-dir"]).arg(server.data_dir()).stdin(Stdio::null());
    assert!(compact.env_remove("FARWATCH_BUCKET").output().await.unwrap().status.success());
    server.restart().await;
    // It has another port now.
    ada.url.clone_from(&server.url);
    ada.done_with(&[&["login"], &who[..]].concat(), PASSWORD);
    let invoice = eventually("usage in the bill", PATIENCE, async || {
        let invoice = ada.json(&["invoice", "show"]);
        let by_tenant = named(&invoice, "by_tenant");
        if by_tenant.iter().any(|(_, samples)| *samples == 40) {
            Ok(invoice)
        } else {
            Err(invoice.to_string())
        }
    })
    .await;
    assert_eq!(named(&invoice, "by_tenant"), [(tenant["id"].as_str().unwrap().to_owned(), 40)]);
    assert_eq!(named(&invoice, "by_metric"), [("http_requests_total".to_owned(), 30), ("up".to_owned(), 10)]);
    assert_eq!(named(&invoice, "by_api_key"), [(key_id.to_owned(), 40)]);

    let operator = std::fs::read_to_string(server.data_dir().join("operator.token")).unwrap();
    let margins = async |token: &str| {
        let url = format!("{}/api/control/v1/operator/margins", server.url);
        server.client.get(url).bearer_auth(token).send().await.unwrap()
    };
    assert_eq!(margins(key).await.status(), 403);
    let margins: Value = margins(operator.trim()).await.json().await.unwrap();
    let uses = margins["uses"].as_array().unwrap();
    for resource in ["write_requests", "cpu_ms"] {
        assert!(uses.iter().any(|used| used["resource"] == resource), "{resource}: {margins:#}");
    }
    let ours = margins["tenants"].as_array().unwrap().iter().find(|row| row["tenant"] == tenant["id"]);
    assert!(ours.unwrap()["requests_micros"].as_i64().unwrap() >= 0, "{margins:#}");
}
