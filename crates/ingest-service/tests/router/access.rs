//! Who may write, and whose data it becomes.

use crate::support::{NOW_MS, REMOTE_WRITE_HEADERS, Setup, World, bearer, messages, post, remote_write};
use axum::body::Body;
use http::{Request, StatusCode};
use ingest_service::ROUTES;

/// A request with nothing in it, of the right kind for `path`.
fn empty_request(path: &str, authorization: Option<&str>) -> Request<Body> {
    let (content_type, body) = match path {
        "/api/v1/write" => ("application/x-protobuf", messages::snappy(&messages::WriteRequest::default())),
        "/v1/metrics" => ("application/x-protobuf", Vec::new()),
        _ => ("application/grpc", messages::grpc_frame(false, b"")),
    };
    let mut request = Request::post(path).header("content-type", content_type);
    if let Some(authorization) = authorization {
        request = request.header("authorization", authorization);
    }
    request.body(Body::from(body)).unwrap()
}

/// The status of HTTP, or what gRPC's code means in HTTP.
async fn status_of(world: &World, path: &str, authorization: Option<&str>) -> StatusCode {
    let request = empty_request(path, authorization);
    if !path.starts_with("/opentelemetry") {
        return world.send(request).await.status;
    }
    let answer = world.send_grpc(request).await;
    assert_eq!(answer.status, StatusCode::OK);
    let code = answer.header("grpc-status").map(str::to_owned);
    let code = code.or_else(|| Some(answer.trailers.get("grpc-status")?.to_str().unwrap().to_owned()));
    match code.as_deref() {
        Some("0") => StatusCode::OK,
        Some("16") => StatusCode::UNAUTHORIZED,
        Some("7") => StatusCode::FORBIDDEN,
        other => panic!("grpc-status {other:?}"),
    }
}

#[tokio::test]
async fn every_route_lets_in_exactly_the_keys_that_may_write_metrics() {
    let world = World::new();
    let keys = &world.keys;
    let mut tampered = bearer(&keys.acme);
    tampered.replace_range(10..11, if &tampered[10..11] == "x" { "y" } else { "x" });
    let refused = [
        ("no credentials", None, StatusCode::UNAUTHORIZED),
        ("an empty header", Some(String::new()), StatusCode::UNAUTHORIZED),
        ("garbage", Some("Bearer garbage".to_owned()), StatusCode::UNAUTHORIZED),
        ("a scheme of its own", Some(format!("Key {}", keys.acme.expose())), StatusCode::UNAUTHORIZED),
        ("a key with a typing error", Some(tampered), StatusCode::UNAUTHORIZED),
        ("a key that is not listed", Some(bearer(&keys.unlisted)), StatusCode::UNAUTHORIZED),
        ("an expired key", Some(bearer(&keys.expired)), StatusCode::UNAUTHORIZED),
        ("a revoked key", Some(bearer(&keys.revoked)), StatusCode::UNAUTHORIZED),
        ("a key that may read", Some(bearer(&keys.read_only)), StatusCode::FORBIDDEN),
        ("a key that may administer", Some(bearer(&keys.admin_only)), StatusCode::FORBIDDEN),
        ("a key that may write traces", Some(bearer(&keys.traces_only)), StatusCode::FORBIDDEN),
    ];
    for (method, path) in ROUTES {
        assert_eq!(method, "POST");
        for (what, authorization, expected) in &refused {
            let found = status_of(&world, path, authorization.as_deref()).await;
            assert_eq!(found, *expected, "{path} with {what}");
        }
        let allowed = status_of(&world, path, Some(&bearer(&keys.acme))).await;
        assert!(allowed.is_success(), "{path}: {allowed}");
    }
    assert!(world.stored("acme").await.is_empty());
}

#[tokio::test]
async fn a_refusal_says_why_and_never_repeats_the_key() {
    let world = World::new();
    let message = messages::request(&["up"]);
    let cases = [
        (&world.keys.expired, "has expired"),
        (&world.keys.revoked, "has been revoked"),
        (&world.keys.unlisted, "is not known here"),
        (&world.keys.read_only, "lacks the scope metrics:write"),
    ];
    for (key, expected) in cases {
        let answer = world.send(remote_write(Some(key), &message)).await;
        assert!(answer.text().contains(expected), "{}", answer.text());
        assert!(!answer.text().contains(&key.expose()[15..]));
        let challenged = answer.header("www-authenticate").is_some();
        assert_eq!(challenged, answer.status == StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn the_tenant_comes_from_the_key_and_nowhere_else() {
    let world = World::new();
    let claims =
        [("x-scope-orgid", "other"), ("x-tenant", "other"), ("tenant", "other"), ("host", "other.example")];
    let headers: Vec<(&str, &str)> = REMOTE_WRITE_HEADERS.into_iter().chain(claims).collect();
    let body = messages::snappy(&messages::request(&["mine"]));
    let path = "/api/v1/write?tenant=other";
    let answer = world.send(post(path, Some(&world.keys.acme), &headers, body)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let labelled = messages::series(
        &[("__name__", "labelled"), ("tenant", "other"), ("__tenant__", "other")],
        &[(NOW_MS, 1.0)],
    );
    let message = messages::WriteRequest { timeseries: vec![labelled], metadata: Vec::new() };
    assert_eq!(world.write(&message).await.status, StatusCode::NO_CONTENT);

    let others = world.send(remote_write(Some(&world.keys.other), &messages::request(&["theirs"]))).await;
    assert_eq!(others.status, StatusCode::NO_CONTENT);

    let mine = world.stored_names("acme").await;
    assert_eq!(mine, ["labelled{__tenant__=\"other\", tenant=\"other\"}", "mine"]);
    assert_eq!(world.stored_names("other").await, ["theirs"]);
}

#[tokio::test]
async fn who_sends_no_credentials_belongs_to_the_anonymous_tenant_where_there_is_one() {
    let world = World::with(Setup { anonymous: Some("acme"), ..Setup::default() });
    let answer = world.send(remote_write(None, &messages::request(&["nobodys"]))).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(world.stored_names("acme").await, ["nobodys"]);
    for (_, path) in ROUTES {
        assert!(status_of(&world, path, None).await.is_success(), "{path}");
        assert_eq!(status_of(&world, path, Some("Bearer garbage")).await, StatusCode::UNAUTHORIZED, "{path}");
        let revoked = bearer(&world.keys.revoked);
        assert_eq!(status_of(&world, path, Some(&revoked)).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    let other = world.send(remote_write(Some(&world.keys.other), &messages::request(&["theirs"]))).await;
    assert_eq!(other.status, StatusCode::NO_CONTENT);
    assert_eq!(world.stored_names("other").await, ["theirs"]);
}
