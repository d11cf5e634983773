//! Malformed, oversized, truncated and hostile requests: each gets its documented status and a message that says what is
//! wrong, nothing that was good is lost, and the process serves on.
//!
//! The statuses are those of `crates/ingest-service/src/front/remote_write.rs` for writes and of Prometheus for queries.

mod credentials;
mod grpc;
mod http;
mod otlp;
mod queries;
mod remote_write;

use reqwest::RequestBuilder;

use crate::harness::promapi::ask;
use crate::harness::remote_write::{request, series, write};
use crate::harness::{Farwatch, now_ms};

/// A request and what it must get.
pub(super) struct Case {
    name: &'static str,
    request: RequestBuilder,
    status: u16,
    /// What the body must contain.
    says: &'static str,
}

pub(super) fn case(name: &'static str, request: RequestBuilder, status: u16, says: &'static str) -> Case {
    Case { name, request, status, says }
}

/// Memory that the process may hold after all that: its bodies are bounded to 256 MiB, and an allocator keeps some.
const MAX_RESIDENT_BYTES: f64 = 900e6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_gets_a_clear_error_and_loses_nothing() {
    let mut server = Farwatch::start().await;
    let credentials = credentials::cases(&mut server).await;
    let good_at = now_ms() - 5_000;
    let good = request([series(&[("__name__", "good")], &[(good_at, 1.0)])]);
    assert_eq!(write(&server, &good).await.unwrap(), (204, String::new()));

    let mut cases = credentials;
    cases.extend(remote_write::cases(&server, good_at));
    cases.extend(otlp::cases(&server, good_at));
    cases.extend(queries::cases(&server));
    let mut wrong = Vec::new();
    let count = cases.len() + grpc::CASES + http::CASES;
    for case in cases {
        let outcome = match case.request.send().await {
            Ok(answer) => (answer.status().as_u16(), answer.text().await.unwrap_or_default()),
            Err(error) => (0, format!("{error:?}")),
        };
        if outcome.0 != case.status || !outcome.1.contains(case.says) {
            let text: String = outcome.1.chars().take(400).collect();
            wrong.push(format!(
                "{}: expected {} {:?}, got {} {text:?}",
                case.name, case.status, case.says, outcome.0
            ));
        }
        if !server.runs() {
            wrong.push(format!("{} ended the process: {}", case.name, server.said()));
            break;
        }
    }
    wrong.extend(grpc::check(&server).await);
    wrong.extend(http::check(&server).await);
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= 60, "{count} cases");

    serves_on(&mut server, good_at).await;
    server.kill().await;
    server.restart().await;
    serves_on(&mut server, good_at).await;
    println!("{count} bad requests");
}

/// Everything good is there, and no more of what came with the bad.
async fn serves_on(server: &mut Farwatch, good_at: i64) {
    assert!(server.runs());
    let at = ((good_at + 1_000) as f64 / 1_000.0).to_string();
    let form = [("query", "{__name__=~\"good|kept_.*\"}".to_owned()), ("time", at)];
    let answer = ask(server.post("/api/v1/query"), &form).await.unwrap();
    let names: Vec<&str> = answer.keys().map(|labels| labels["__name__"].as_str()).collect();
    let mut expected = vec!["good"];
    expected.extend(remote_write::KEPT);
    expected.extend(otlp::KEPT);
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(answer.values().all(|series| series.points.len() == 1));

    let dropped = [("query", "{__name__=~\"bad.*\"}[1h]".to_owned())];
    assert!(ask(server.post("/api/v1/query"), &dropped).await.unwrap().is_empty());

    let page =
        server.client.get(format!("{}/metrics", server.url)).send().await.unwrap().text().await.unwrap();
    let resident = page.lines().find_map(|line| line.strip_prefix("process_resident_memory_bytes "));
    let resident: f64 = resident.unwrap().parse().unwrap();
    assert!(resident < MAX_RESIDENT_BYTES, "{resident} bytes of memory");
    let panicked = server.said().contains("panicked");
    assert!(!panicked, "{}", server.said());
}
