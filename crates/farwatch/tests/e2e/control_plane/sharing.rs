//! What processes tell each other by way of the control plane: where telemetry comes from, and shares of limits.

use super::*;
use crate::harness::compression::snappy;
use crate::harness::remote_write::write_body;
use crate::harness::tools;

/// A tenant with this declaration, and a key of it: its id and the key's text.
async fn tenant(client: &Client<'_>, placement: Value) -> (String, String) {
    let organisation = client.done(Method::POST, "/organisations", json!({ "name": "Example" })).await;
    let tenants = format!("/organisations/{}/tenants", text(&organisation["id"]));
    let made =
        client.done(Method::POST, &tenants, json!({ "name": "production", "placement": placement })).await;
    let tenant = text(&made["id"]);
    let new = json!({ "name": "a", "scopes": ["metrics:write"] });
    let key = client.done(Method::POST, &format!("/tenants/{tenant}/keys"), new).await;
    (tenant, text(&key["secret"]))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_whose_telemetry_comes_from_its_home_region_is_told() {
    let server = Farwatch::start().await;
    let client = sign_up(&server).await;
    let (tenant, key) =
        tenant(&client, json!({ "production": ["aws:eu-west-1"], "residency": ["EU"] })).await;
    let path = format!("/tenants/{tenant}/placement");
    let placement = client.done(Method::GET, &path, Value::Null).await;
    let home = text(&placement["placement"]["decision"]["home"]["region"]);
    assert_ne!(home, "aws:eu-west-1");

    let (provider, code) = home.split_once(':').unwrap();
    let attribute = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let time = (now_ms() * 1_000_000).to_string();
    let point = |i: i32| {
        let host = attribute("host", &i.to_string());
        json!({ "timeUnixNano": time, "asDouble": 1.0, "attributes": [host] })
    };
    let points: Vec<Value> = (0..1500).map(point).collect();
    let export = json!({ "resourceMetrics": [{
        "resource": { "attributes": [attribute("cloud.provider", provider), attribute("cloud.region", code)] },
        "scopeMetrics": [{ "metrics": [{ "name": "load", "gauge": { "dataPoints": points } }] }],
    }] });
    eventually("the data plane to know the key", PATIENCE, async || {
        let sent = server.client.post(format!("{}/v1/metrics", server.url)).bearer_auth(&key).json(&export);
        let answer = sent.send().await.unwrap();
        if answer.status() == 200 { Ok(()) } else { Err(answer.text().await.unwrap()) }
    })
    .await;
    let seen = eventually("the conflict", PATIENCE, async || {
        let seen = client.done(Method::GET, &format!("{path}/conflicts"), Value::Null).await;
        if seen["conflicts"][0]["region"] == home { Ok(seen) } else { Err(seen.to_string()) }
    })
    .await;
    assert_eq!((&seen["seen"][0]["region"], &seen["seen"][0]["samples"]), (&json!(home), &json!(1500)));
    assert!(seen["proposal"]["home"]["region"].is_string() && seen["proposal"]["home"]["region"] != home);
    let told = format!("1500 samples (1000 in a thousand) came from {home}");
    eventually("the mail in the log", PATIENCE, async || match server.said().contains(&told) {
        true => Ok(()),
        false => Err(server.said()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ingest_processes_share_a_limit_and_go_on_without_the_lease_server() {
    let mut server = Farwatch::start_with(Options::with(&["--default-plan", "team"])).await;
    let (tenant, key) = {
        let client = sign_up(&server).await;
        let (tenant, key) = tenant(&client, json!({})).await;
        let quotas = format!("/tenants/{tenant}/quotas");
        client.done(Method::PUT, &quotas, json!({ "samples_per_second": 6400 })).await;
        (tenant, key)
    };
    assert!(!tenant.is_empty());
    let port = tools::free_port();
    let mut ingest = Command::new(BINARY);
    ingest
        .args(["serve", "--role", "ingest", "--lease-server", &server.url, "--data-dir"])
        .arg(server.data_dir());
    ingest.arg(format!("--listen=127.0.0.1:{port}")).env_remove("FARWATCH_CONFIG");
    ingest.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let _ingest = ingest.spawn().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let http = server.client.clone();

    let write = async |samples: usize| {
        let hosts: Vec<String> = (0..samples).map(|i| i.to_string()).collect();
        let all = hosts.iter().map(|host| series(&[("__name__", "m"), ("host", host)], &[(now_ms(), 1.0)]));
        let post = http.post(format!("{url}/api/v1/write")).bearer_auth(&key);
        let answer = write_body(post, snappy(&request(all).0)).send().await;
        answer.map_err(|error| error.to_string()).map(|answer| answer.status().as_u16())
    };
    let lease_age = async || {
        let page = http.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
        let age = page.lines().find_map(|line| line.strip_prefix("farwatch_ingest_lease_age_seconds "));
        age.map(|age| age.parse::<f64>().unwrap())
    };
    // Its whole rate is leased to it, since nobody else asks; a safe share would take a quarter of a minute for so much.
    let status = |wanted: u16, found: Result<u16, String>| match found {
        Ok(found) if found == wanted => Ok(()),
        other => Err(format!("{other:?}")),
    };
    eventually("the first write", PATIENCE, async || status(204, write(1).await)).await;
    eventually("a lease", PATIENCE, async || {
        lease_age().await.map(drop).ok_or_else(|| "none yet".to_owned())
    })
    .await;
    for _ in 0..3 {
        eventually("its share", Duration::from_secs(5), async || status(204, write(2000).await)).await;
    }
    server.kill().await;
    eventually("the server's absence", PATIENCE, async || match lease_age().await {
        Some(age) if age > 4.0 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    eventually("the last share to go on", Duration::from_secs(5), async || status(204, write(2000).await))
        .await;
}
