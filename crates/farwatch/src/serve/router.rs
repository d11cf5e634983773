//! The routes of the HTTP port: those of the services, and a few that say how the process is.

use std::borrow::Cow;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use query_service::HttpParts;

use super::control::Control;
use super::metrics;
use super::node::Node;

/// All routes of the HTTP port.
pub fn http(node: &Arc<Node>) -> Router {
    let own = Router::new()
        // The process is alive if it answers.
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(page))
        .with_state(Arc::clone(node));
    let ingest = node.ingest.as_ref().map(|ingest| ingest_service::http_router(Arc::clone(ingest)));
    let query = node.query.as_ref().map(|query| {
        let (engine, access) = (Arc::clone(&query.engine), Arc::clone(&node.access));
        query_service::router(HttpParts { engine, access })
    });
    let control = node.control.as_ref().map(Control::router);
    [ingest, query, control].into_iter().flatten().fold(own, Router::merge)
}

/// All routes of the gRPC port.
pub fn grpc(node: &Node) -> Router {
    node.ingest.as_ref().map_or_else(Router::new, |ingest| ingest_service::grpc_router(Arc::clone(ingest)))
}

/// Writes are served from the moment on at which the port answers, since what has to be there before is put together first.
/// Queries are answered once it is known what is in the bucket; those that come before that wait. While the process goes
/// down no new connection is taken.
async fn ready(State(node): State<Arc<Node>>) -> (StatusCode, Cow<'static, str>) {
    let is_caught_up =
        node.query.as_ref().is_none_or(|query| query.follower_stats(&*node.clock).is_caught_up);
    let not_ready = |why| (StatusCode::SERVICE_UNAVAILABLE, why);
    if !is_caught_up {
        let damaged =
            node.query.as_ref().and_then(|query| query.segments.damaged_manifest().borrow().clone());
        return not_ready(match damaged {
            Some(key) => format!("not ready: the manifest {key} is damaged\n").into(),
            None => "not ready: still looking through what is stored\n".into(),
        });
    }
    if node.commit.as_ref().is_some_and(|commit| commit.has_no_room()) {
        const WHY: &str = "not ready: writes fail, the bucket's disk or quota is full, or it is read-only\n";
        return not_ready(WHY.into());
    }
    // Where there are other services, they are what has to be ready: they do not need the database.
    let is_alone = node.query.is_none() && node.ingest.is_none();
    if is_alone && node.control.as_ref().is_some_and(|control| !control.is_open()) {
        return not_ready("not ready: the database cannot be used\n".into());
    }
    (StatusCode::OK, "ready\n".into())
}

async fn page(State(node): State<Arc<Node>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics::page(&node))
}
