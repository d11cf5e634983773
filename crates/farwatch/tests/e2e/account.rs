//! The commands of an account, from signing up to a key that writes, as a customer types them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::harness::customer::{Customer, PASSWORD};
use crate::harness::remote_write::{request, series, write_with_key};
use crate::harness::{Farwatch, eventually, now_ms, signup_token};

const PATIENCE: Duration = Duration::from_secs(30);

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_signs_up_and_manages_keys_and_limits_at_the_shell() {
    let server = Farwatch::start().await;
    let ada = Customer::of(&server.url);
    assert!(ada.refused(&["keys", "list"]).contains("farwatch login"));

    let who = ["--email", "ada@example.com"];
    let said = ada.done_with(&[&["signup"], &who[..]].concat(), PASSWORD);
    assert!(said.contains("--confirm"), "{said}");
    let link = format!("{}/verify#token={}", server.url, signup_token(&server.output).await);
    let confirm = [&["signup"], &who[..], &["--confirm", &link, "--organisation", "Example"]].concat();
    let said = ada.done_with(&confirm, &format!("{PASSWORD}\n"));
    assert!(said.contains("logged in as ada@example.com") && said.contains("Example"), "{said}");
    assert_eq!(mode(&ada.session_file()), 0o600);

    assert!(ada.refused(&["keys", "list"]).contains("tenant create"));
    ada.done(&["tenant", "create", "production"]);
    let staging = ada.json(&["tenant", "create", "staging"]);
    assert!(ada.refused(&["keys", "list"]).contains("--tenant"));
    let table = ada.done(&["tenant", "list"]);
    assert!(table.contains("production") && table.contains(staging["id"].as_str().unwrap()), "{table}");

    let production = ["--tenant", "production"];
    let create = [&["keys", "create", "prometheus", "--scope", "metrics:write"], &production[..]].concat();
    let made = ada.json(&create);
    let (secret, id) = (made["secret"].as_str().unwrap(), made["key"]["id"].as_str().unwrap());
    let shown = ada.done(&create);
    assert!(shown.lines().any(|line| line.trim().starts_with("fw_")), "{shown}");
    let listed = ada.done(&[&["keys", "list"], &production[..]].concat());
    assert!(listed.contains(id) && !listed.contains(secret), "{listed}");
    assert_eq!(ada.json(&["keys", "list", "--tenant", "staging"])["keys"], serde_json::json!([]));

    let becomes = async |wanted: u16| {
        eventually("the data plane to know", PATIENCE, async || {
            let message = request([series(&[("__name__", "up")], &[(now_ms(), 1.0)])]);
            match write_with_key(&server, secret, &message).await.unwrap().0 {
                found if found == wanted => Ok(()),
                found => Err(found.to_string()),
            }
        })
        .await;
    };
    becomes(204).await;
    let set = |limit| ada.done(&[&["quota", "set", limit], &production[..]].concat());
    set("active_series=5k");
    let quotas = set("samples_per_second=0");
    assert!(quotas.contains("5,000"), "a limit that was not named stays: {quotas}");
    becomes(429).await;
    set("samples_per_second=default");
    becomes(204).await;
    assert!(ada.refused(&["quota", "set", "pods=1", "--tenant", "staging"]).contains("active_series"));

    let successor = ada.json(&[&["keys", "rotate", id, "--overlap", "0s"], &production[..]].concat());
    assert_ne!(successor["secret"], made["secret"]);
    becomes(401).await;
    let next = successor["key"]["id"].as_str().unwrap();
    ada.done(&[&["keys", "revoke", next], &production[..]].concat());
    let keys = ada.json(&[&["keys", "list"], &production[..]].concat());
    let state = |id: &str| {
        let all = keys["keys"].as_array().unwrap();
        all.iter().find(|key| key["id"] == id).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(next), "revoked");

    // Another account sees none of it.
    ada.done(&["logout"]);
    assert!(ada.refused(&["keys", "list"]).contains("farwatch login"));
    let wrong = ada.run(&[&["login"], &who[..]].concat(), "wrong horse battery\n");
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("401"));
    ada.done_with(&[&["login"], &who[..]].concat(), PASSWORD);
    assert_eq!(ada.json(&["tenant", "list"])[0]["organisation"]["name"], "Example");
}
