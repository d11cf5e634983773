//! The commands of an account, from signing up to a key that writes, as a customer types them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::harness::customer::{Customer, PASSWORD};
use crate::harness::remote_write::{request, series, write_with_key};
use crate::harness::{Farwatch, eventually, now_ms, signup_token};

const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the data plane answers writes with `secret` so.
async fn writes_become(server: &Farwatch, secret: &str, wanted: u16) {
    eventually("the data plane to know", PATIENCE, async || {
        let message = request([series(&[("__name__", "up")], &[(now_ms(), 1.0)])]);
        match write_with_key(server, secret, &message).await.unwrap().0 {
            found if found == wanted => Ok(()),
            found => Err(found.to_string()),
        }
    })
    .await;
}

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

    let becomes = async |wanted| writes_become(&server, secret, wanted).await;
    becomes(204).await;
    let set = |limit| ada.done(&[&["quota", "set", limit], &production[..]].concat());
    set("active_series=5k");
    let quotas = set("samples_per_second=0");
    assert!(quotas.contains("5k"), "a limit that was not named stays: {quotas}");
    assert!(set("query-bytes=1.5GiB").contains("1.5GiB"));
    let too_high = ada.refused(&[&["quota", "set", "samples_per_second=1G"], &production[..]].concat());
    assert!(too_high.contains("samples_per_second=1G") && too_high.contains("100M at most"), "{too_high}");
    becomes(429).await;
    set("samples_per_second=default");
    becomes(204).await;
    assert!(ada.refused(&["quota", "set", "pods=1", "--tenant", "staging"]).contains("active_series"));

    // Two keys have that name, so it says too little.
    let several = ada.refused(&[&["keys", "rotate", "prometheus"], &production[..]].concat());
    assert!(several.contains(id), "{several}");
    let successor = ada.json(&[&["keys", "rotate", id, "--overlap", "0s"], &production[..]].concat());
    assert_ne!(successor["secret"], made["secret"]);
    becomes(401).await;
    let next = successor["key"]["id"].as_str().unwrap();
    let rotated = ada.done(&[&["keys", "rotate", next], &production[..]].concat());
    let replaced = format!("It replaces prometheus ({next}), which is good, too, until 20");
    assert!(rotated.contains(&replaced), "{rotated}");
    ada.done(&[&["keys", "revoke", next], &production[..]].concat());
    ada.done(&[&["keys", "create", "grafana", "--scope", "metrics:read"], &production[..]].concat());
    let revoked = ada.done(&[&["keys", "revoke", "grafana"], &production[..]].concat());
    assert!(revoked.contains("grafana (") && revoked.contains("is revoked"), "{revoked}");
    let keys = ada.json(&[&["keys", "list"], &production[..]].concat());
    let state = |id: &str| {
        let all = keys["keys"].as_array().unwrap();
        all.iter().find(|key| key["id"] == id).unwrap()["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(next), "revoked");

    let elsewhere = ada.refused(&["placement", "propose", "--residency", "JP", "--tenant", "staging"]);
    assert!(
        elsewhere.contains("EU") && elsewhere.contains("US"),
        "it says where there are cells: {elsewhere}"
    );
    let nowhere = ada.refused(&["placement", "propose", "--residency", "XX", "--tenant", "staging"]);
    assert!(nowhere.contains("--residency") && nowhere.contains("JP"), "{nowhere}");
    let too_long = ada.refused(&[
        "keys",
        "create",
        "k",
        "--scope",
        "admin",
        "--expires-in",
        "20y",
        "--tenant",
        "staging",
    ]);
    assert!(too_long.contains("--expires-in"), "{too_long}");

    // Another account sees none of it.
    ada.done(&["logout"]);
    assert!(ada.refused(&["keys", "list"]).contains("farwatch login"));
    let wrong = ada.run(&[&["login"], &who[..]].concat(), "wrong horse battery\n");
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("401"));
    ada.done_with(&[&["login"], &who[..]].concat(), PASSWORD);
    assert_eq!(ada.json(&["tenant", "list"])[0]["organisation"]["name"], "Example");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_with_one_server_and_always_ends_here() {
    let mut server = Farwatch::start().await;
    let ada = Customer::with_account(&server, "ada@example.com").await;
    let mut elsewhere = ada;
    elsewhere.url = "http://127.0.0.1:1".to_owned();
    let refused = elsewhere.refused(&["tenant", "list"]);
    assert!(refused.contains("login --url http://127.0.0.1:1") && refused.contains(&server.url), "{refused}");

    // The server is away.
    server.kill().await;
    let said = elsewhere.done(&["logout"]);
    assert!(said.contains("logged out ada@example.com here") && said.contains(&server.url), "{said}");
    assert!(!elsewhere.session_file().exists());

    std::fs::write(elsewhere.session_file(), "{\"url\":").unwrap();
    assert!(elsewhere.refused(&["tenant", "list"]).contains("farwatch login"));
    assert!(elsewhere.done(&["logout"]).contains("logged out here"));
    assert!(!elsewhere.session_file().exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_renamed_and_deleted_by_its_owner_and_its_data_by_who_runs_the_server() {
    let server = Farwatch::start().await;
    let ada = Customer::with_account(&server, "ada@example.com").await;
    let id = ada.json(&["tenant", "create", "trial"])["id"].as_str().unwrap().to_owned();
    assert!(ada.done(&["tenant", "rename", "trial", "production"]).contains(&id));
    assert!(ada.done(&["tenant", "list"]).contains("production"));
    let made = ada.json(&["keys", "create", "k", "--scope", "metrics:write"]);
    let secret = made["secret"].as_str().unwrap();
    let becomes = async |wanted| writes_become(&server, secret, wanted).await;
    becomes(204).await;

    let data_dir = server.data_dir();
    let data = ["--data-dir", data_dir.to_str().unwrap()];
    let over_data = |words: &[&'static str]| -> Vec<&str> { words.iter().chain(&data).copied().collect() };
    assert!(ada.done(&over_data(&["tenant", "list"])).contains("production"));
    let there = ada.refused(&over_data(&["tenant", "prove-deleted", "production"]));
    assert!(there.contains(&id) && there.contains("never deleted"), "{there}");

    assert!(ada.refused(&["tenant", "delete", "trial"]).contains("tenant list"));
    let said = ada.done(&["tenant", "delete", "production"]);
    assert!(said.contains(&id) && said.contains("refused"), "{said}");
    becomes(401).await;
    assert!(!ada.done(&["tenant", "list"]).contains("production"));

    // Beside a running server what is deleted is kept for a while, so this is not over yet.
    let waits = ada.refused(&over_data(&["tenant", "delete", "production"]));
    assert!(waits.contains("after ten minutes"), "{waits}");
    let record = ada.json(&over_data(&["tenant", "list"]));
    let record = record.as_array().unwrap().iter().find(|tenant| tenant["id"] == *id).unwrap().clone();
    assert!(record["data_deleted"] == true && record["deleted_at_ms"].is_i64(), "{record}");
}
