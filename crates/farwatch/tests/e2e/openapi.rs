//! Requests that the OpenAPI document allows, and ones that it does not, made up by Schemathesis: none is answered with a 5xx, and
//! every answer is one that the document describes.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::customer::{Customer, PASSWORD};
use crate::harness::postgres::PostgresServer;
use crate::harness::{Farwatch, Options, signup_token, tools};

/// Requests that are made up for each route, beside those at the bounds of what the document allows.
const EXAMPLES: &str = "4";
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                      response_headers_conformance";
/// They would end the session that everything is sent with, or take away what the requests are about.
const LEFT_OUT: [&str; 3] = ["/sessions/current", "/account/password", "/accounts/password-reset/confirm"];

/// Runs Schemathesis against the routes whose path has `under` in it.
async fn run(server: &Farwatch, document: &Path, token: &str, under: &str) {
    let seed = std::env::var("FARWATCH_OPENAPI_SEED").unwrap_or_else(|_| "1".to_owned());
    let mut command = Command::new(tools::tool("python/bin/st"));
    // It leaves files where it runs.
    command.current_dir(document.parent().unwrap());
    command.arg("run").arg(document).args(["--url", &server.url, "--no-color", "--checks", CHECKS]);
    command.args(["--max-examples", EXAMPLES, "--seed", &seed, "--suppress-health-check", "all"]);
    command.args(["--header", &format!("Authorization: Bearer {token}"), "--include-path-regex", under]);
    for path in LEFT_OUT {
        command.args(["--exclude-path", &format!("/api/control/v1{path}")]);
    }
    let output = tokio::time::timeout(Duration::from_secs(900), command.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // That nothing fails proves something only when something was asked.
    let passed = said.lines().find_map(|line| line.trim().split_once(" generated, "));
    let generated: u64 = passed.unwrap().0.parse().unwrap();
    assert!(generated > 100, "{said}");
}

async fn no_request_is_a_server_error(options: Options) {
    let server = Farwatch::start_with(options).await;
    let ada = Customer::of(&server.url);
    let who = ["--email", "ada@example.com"];
    ada.done_with(&[&["signup"], &who[..]].concat(), PASSWORD);
    let token = signup_token(&server.output).await;
    ada.done_with(&[&["signup"], &who[..], &["--confirm", &token]].concat(), PASSWORD);
    let tenant = ada.json(&["tenant", "create", "production"]);
    let session: Value = serde_json::from_str(&std::fs::read_to_string(ada.session_file()).unwrap()).unwrap();

    // What is asked about is there, so that not every answer is 404.
    let served = format!("{}/api/control/v1/openapi.json", server.url);
    let mut document: Value = server.client.get(served).send().await.unwrap().json().await.unwrap();
    for (path, operations) in document["paths"].as_object_mut().unwrap() {
        // It would be gone for all others.
        if path.ends_with("/tenants/{tenant}") {
            operations.as_object_mut().unwrap().remove("delete");
        }
        for operation in operations.as_object_mut().unwrap().values_mut() {
            let Some(parameters) = operation.get_mut("parameters").and_then(Value::as_array_mut) else {
                continue;
            };
            for parameter in parameters {
                let id = match parameter["name"].as_str() {
                    Some("tenant") => &tenant["id"],
                    Some("organisation") => &tenant["organisation"],
                    _ => continue,
                };
                parameter["schema"]["enum"] = json!([id]);
            }
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    run(&server, &file, session["access_token"].as_str().unwrap(), "^/api/control/v1/(?!operator)").await;
    let operator = std::fs::read_to_string(server.data_dir().join("operator.token")).unwrap();
    run(&server, &file, operator.trim(), "^/api/control/v1/operator").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_a_server_error_on_sqlite() {
    no_request_is_a_server_error(Options::default()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_a_server_error_on_postgresql() {
    let database = PostgresServer::start();
    no_request_is_a_server_error(Options::with(&["--database-url", &database.url("postgres")])).await;
}
