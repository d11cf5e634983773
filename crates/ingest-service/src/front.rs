//! The fronts: HTTP and gRPC, both as axum routers.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::routing::post;
use http::header;
use tower::util::MapRequestLayer;

use crate::service::Ingest;

mod grpc;
mod otlp;
mod remote_write;

/// Every route of [`http_router`] and [`grpc_router`] as method and path. All need the scope `metrics:write`; a test walks
/// the list.
pub const ROUTES: [(&str, &str); 3] =
    [("POST", remote_write::PATH), ("POST", otlp::METRICS_PATH), ("POST", grpc::METRICS_EXPORT_PATH)];

/// `POST /api/v1/write` and `POST /v1/metrics`.
pub fn http_router(ingest: Arc<Ingest>) -> Router {
    Router::new()
        .route(remote_write::PATH, post(remote_write::handle))
        .route(otlp::METRICS_PATH, post(otlp::handle_metrics))
        .layer(MapRequestLayer::new(hide_credentials))
        .with_state(ingest)
}

/// OTLP over gRPC, to be served over HTTP/2 without or with TLS.
pub fn grpc_router(ingest: Arc<Ingest>) -> Router {
    Router::new()
        .route(grpc::METRICS_EXPORT_PATH, post(grpc::handle_metrics_export))
        .fallback(grpc::unimplemented)
        .layer(MapRequestLayer::new(hide_credentials))
        .with_state(ingest)
}

/// So that no log line or error shows them.
fn hide_credentials(mut request: Request) -> Request {
    if let header::Entry::Occupied(mut values) = request.headers_mut().entry(header::AUTHORIZATION) {
        values.iter_mut().for_each(|value| value.set_sensitive(true));
    }
    request
}

/// Tells of a limit that is nearly reached, once for each: `bytes_per_day; used=850; limit=1000`.
const LIMIT_WARNING: &str = "farwatch-limit-warning";

/// Headers that a response has when limits are nearly reached.
fn add_warnings(headers: &mut http::HeaderMap, nearly: &[tenancy::Nearly]) {
    for value in nearly.iter().filter_map(|near| http::HeaderValue::try_from(near.to_string()).ok()) {
        headers.append(LIMIT_WARNING, value);
    }
}

/// Headers that an error response has besides its body.
fn add_error_headers(headers: &mut http::HeaderMap, verdict: &crate::error::Verdict) {
    if let Some(after) = verdict.retry_after {
        // Whole seconds, and never "at once".
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, seconds.max(1).into());
    }
    if verdict.status == http::StatusCode::UNAUTHORIZED {
        let challenge = http::HeaderValue::from_static("Bearer realm=\"farwatch\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
}
