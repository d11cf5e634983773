//! Every route of the data APIs refuses who has no credentials, bad ones, or a key of another scope; and no tenant sees what
//! another one wrote.

use reqwest::Method;
use tenancy::Scope;

use crate::harness::remote_write::{request, series, write};
use crate::harness::tenants::add_tenant;
use crate::harness::{Farwatch, now_ms};

/// Routes that anybody may ask: they say nothing of any tenant.
const OPEN: &[&str] = &["/healthz", "/readyz", "/metrics", "/verify", "/reset", "/join"];

/// Every route with a method that it takes and the scope that it needs.
fn routes() -> Vec<(Method, String, Scope)> {
    let mut routes = Vec::new();
    // What is left out is gRPC's, whose refusals are in `bad_input::grpc`.
    for (method, path) in ingest_service::ROUTES.iter().filter(|(_, path)| !path.contains("opentelemetry")) {
        routes.push((method.parse().unwrap(), (*path).to_owned(), Scope::MetricsWrite));
    }
    for path in query_service::paths() {
        routes.push((Method::GET, path.replace("{name}", "job"), Scope::MetricsRead));
    }
    routes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_asks_for_credentials_and_their_scope() {
    let mut server = Farwatch::start().await;
    let reader = add_tenant(&mut server, "reader", &[Scope::MetricsRead]).await;
    let writer = add_tenant(&mut server, "writer", &[Scope::MetricsWrite]).await;
    let routes = routes();
    assert!(routes.len() >= 12, "{routes:?}");
    for (method, path, scope) in routes {
        let ask = async |key: Option<&str>| {
            let request = server.client.request(method.clone(), format!("{}{path}", server.url));
            let request = if let Some(key) = key { request.bearer_auth(key) } else { request };
            request.send().await.unwrap().status().as_u16()
        };
        assert_eq!(ask(None).await, 401, "{method} {path} without credentials");
        assert_eq!(ask(Some("fw_nonsense")).await, 401, "{method} {path} with nonsense");
        let other = if scope == Scope::MetricsRead { &writer } else { &reader };
        assert_eq!(ask(Some(other)).await, 403, "{method} {path} with a key of another scope");
    }
    for path in OPEN {
        let answer = server.client.get(format!("{}{path}", server.url)).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
    }
    let nowhere = server.get("/api/v1/no_such_thing").send().await.unwrap();
    assert_eq!(nowhere.status(), 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_sees_its_own_data_only() {
    let mut server = Farwatch::start().await;
    let other = add_tenant(&mut server, "other", &[Scope::MetricsRead, Scope::MetricsWrite]).await;
    let message =
        request([series(&[("__name__", "mine"), ("secret_label", "secret_value")], &[(now_ms(), 1.0)])]);
    assert_eq!(write(&server, &message).await.unwrap().0, 204);
    for path in [
        "/api/v1/query?query=mine",
        "/api/v1/query?query={__name__=~%22.%2B%22}",
        "/api/v1/query_range?query=mine&start=0&end=9999999999&step=999999",
        "/api/v1/labels",
        "/api/v1/label/secret_label/values",
        "/api/v1/series?match[]={__name__=~%22.%2B%22}",
        "/api/v1/metadata",
        "/api/v1/query_exemplars?query=mine&start=0&end=9999999999",
    ] {
        let answer =
            server.client.get(format!("{}{path}", server.url)).bearer_auth(&other).send().await.unwrap();
        let text = answer.text().await.unwrap();
        assert!(!text.contains("secret") && !text.contains("mine"), "{path}: {text}");
    }
    // Whatever a request says of tenants: the key alone decides.
    let answer = server.client.get(format!("{}/api/v1/query?query=mine", server.url)).bearer_auth(&other);
    let answer =
        answer.header("X-Scope-OrgID", "default").header("X-Tenant", "default").send().await.unwrap();
    assert!(!answer.text().await.unwrap().contains("secret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_own_metrics_page_is_well_formed_and_names_no_tenant() {
    let mut server = Farwatch::start().await;
    add_tenant(&mut server, "conspicuous", &[Scope::MetricsRead]).await;
    let message = request([series(&[("__name__", "up")], &[(now_ms(), 1.0)])]);
    assert_eq!(write(&server, &message).await.unwrap().0, 204);
    server.get("/api/v1/query?query=up").send().await.unwrap();
    let page = server.client.get(format!("{}/metrics", server.url)).send().await.unwrap();
    assert!(page.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    let text = page.text().await.unwrap();
    assert!(!text.contains("conspicuous"), "{text}");
    for expected in [
        "process_cpu_seconds_total ",
        "process_resident_memory_bytes ",
        "process_open_fds ",
        "farwatch_ingest_samples_total{kind=\"float\"} 1\n",
        "farwatch_bucket_requests_total{operation=\"put\"}",
    ] {
        assert!(text.contains(expected), "{expected} is not in:\n{text}");
    }
    let mut typed = std::collections::BTreeSet::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            assert!(typed.insert(name.to_owned()), "{name} twice");
            assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let name = series.split('{').next().unwrap();
            let family = |suffix| name.strip_suffix(suffix).is_some_and(|base| typed.contains(base));
            assert!(typed.contains(name) || ["_bucket", "_sum", "_count"].into_iter().any(family), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
