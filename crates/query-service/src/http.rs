//! Prometheus's HTTP API (as of 3.5) over a [`QueryEngine`].
//!
//! Every route is in `ROUTES`. All of them need a credential with the scope `metrics:read`; the tenant comes from it and
//! from nowhere else. Beyond Prometheus: `provisional=false` leaves out what is not durable yet.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{ConnectInfo, RawPathParams, Request, State};
use axum::http::header;
use axum::response::Response;
use axum::routing::{MethodFilter, any, on};
use tenancy::{Access, Scope, Tenant};
use tokio::sync::Semaphore;

use crate::engine::QueryEngine;
use crate::error::QueryError;
use crate::limits::FORM_MEMORY_BYTES;

mod form;
mod json;
mod lookups;
mod params;
mod queries;
mod response;
mod status;

use params::Params;
use response::Sink;

/// What the HTTP API works with.
#[derive(Clone, Debug)]
pub struct HttpParts {
    /// Who answers.
    pub engine: Arc<QueryEngine>,
    /// Who may ask.
    pub access: Arc<Access>,
}

/// One thing that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Query,
    QueryRange,
    FormatQuery,
    ParseQuery,
    Series,
    Labels,
    LabelValues,
    Metadata,
    QueryExemplars,
    BuildInfo,
    Cardinality,
    Config,
    Flags,
    RuntimeInfo,
    Rules,
    Alerts,
}

/// Every route: path, whether POST is taken beside GET, and what it is. Tests walk this list.
const ROUTES: [(&str, bool, Endpoint); 16] = [
    ("/api/v1/query", true, Endpoint::Query),
    ("/api/v1/query_range", true, Endpoint::QueryRange),
    ("/api/v1/format_query", true, Endpoint::FormatQuery),
    ("/api/v1/parse_query", true, Endpoint::ParseQuery),
    ("/api/v1/series", true, Endpoint::Series),
    ("/api/v1/labels", true, Endpoint::Labels),
    ("/api/v1/label/{name}/values", false, Endpoint::LabelValues),
    ("/api/v1/metadata", false, Endpoint::Metadata),
    ("/api/v1/query_exemplars", true, Endpoint::QueryExemplars),
    ("/api/v1/status/buildinfo", false, Endpoint::BuildInfo),
    ("/api/v1/status/tsdb", false, Endpoint::Cardinality),
    ("/api/v1/status/config", false, Endpoint::Config),
    ("/api/v1/status/flags", false, Endpoint::Flags),
    ("/api/v1/status/runtimeinfo", false, Endpoint::RuntimeInfo),
    ("/api/v1/rules", false, Endpoint::Rules),
    ("/api/v1/alerts", false, Endpoint::Alerts),
];

/// The paths of every route, as axum writes them.
pub fn paths() -> impl Iterator<Item = &'static str> {
    ROUTES.into_iter().map(|(path, _, _)| path)
}

/// What every request works with.
#[derive(Clone, Debug)]
struct Service {
    parts: HttpParts,
    /// Bytes that forms in memory may still take.
    form_memory: Arc<Semaphore>,
}

/// The routes, to be merged with those of other parts. Bodies are bounded by all requests of one router together.
pub fn router(parts: HttpParts) -> Router {
    let mut router = Router::new();
    for (path, with_post, endpoint) in ROUTES {
        let methods = if with_post { MethodFilter::GET.or(MethodFilter::POST) } else { MethodFilter::GET };
        let handler = move |State(service): State<Service>,
                            path: Result<RawPathParams, RawPathParamsRejection>,
                            request: Request| async move {
            handle(&service, endpoint, path, request).await.unwrap_or_else(|error| response::error(&error))
        };
        router = router.route(path, on(methods, handler));
    }
    let form_memory = Arc::new(Semaphore::new(FORM_MEMORY_BYTES));
    router.route("/api/v1/{*rest}", any(not_found)).with_state(Service { parts, form_memory })
}

async fn not_found() -> Response {
    response::error(&QueryError::NotFound("there is nothing under this path".to_owned()))
}

/// Nothing of the body is read before it is known who sends it.
async fn handle(
    service: &Service,
    endpoint: Endpoint,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
) -> Result<Response, QueryError> {
    let engine = Arc::clone(&service.parts.engine);
    let (head, body) = request.into_parts();
    let authorization = head.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    // What the server noted of the connection.
    let peer = head.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let principal = service
        .parts
        .access
        .authorize_from(authorization, peer, Scope::MetricsRead, engine.now_ms())
        .inspect_err(|_| engine.count(crate::Outcome::Refused))?;
    let path = path.map_err(|error| QueryError::BadRequest(error.body_text()))?;
    let label = path.iter().next().map_or_else(String::new, |(_, name)| name.to_owned());
    let form = form::read(&head.headers, body, &service.form_memory).await?;
    let params = Params::parse(&form.bytes, head.uri.query().unwrap_or_default());
    let (sink, parts) = response::channel();
    let answering = async move {
        // The parameters take about what the form took.
        let _held = form.into_held();
        answer(&engine, endpoint, &principal.tenant, &params, &label, sink).await
    };
    response::respond(parts, Box::pin(answering)).await
}

async fn answer(
    engine: &Arc<QueryEngine>,
    endpoint: Endpoint,
    tenant: &Tenant,
    params: &Params,
    label: &str,
    sink: Sink,
) -> Result<(), QueryError> {
    match endpoint {
        Endpoint::Query => queries::query(engine, tenant, params, sink).await,
        Endpoint::QueryRange => queries::query_range(engine, tenant, params, sink).await,
        Endpoint::FormatQuery => queries::format_query(params, sink),
        Endpoint::ParseQuery => queries::parse_query(params, sink),
        Endpoint::Series => lookups::series(engine, tenant, params, sink).await,
        Endpoint::Labels => lookups::labels(engine, tenant, params, sink).await,
        Endpoint::LabelValues => lookups::label_values(engine, tenant, params, label, sink).await,
        Endpoint::Metadata => lookups::metadata(engine, tenant, params, sink).await,
        Endpoint::QueryExemplars => lookups::query_exemplars(engine, tenant, params, sink).await,
        Endpoint::BuildInfo => status::build_info(sink),
        Endpoint::Cardinality => lookups::cardinality(engine, tenant, params, sink).await,
        Endpoint::Config => status::fixed(sink, status::CONFIG),
        Endpoint::Flags => status::fixed(sink, status::FLAGS),
        Endpoint::RuntimeInfo => status::fixed(sink, status::RUNTIME_INFO),
        Endpoint::Rules => status::fixed(sink, status::RULES),
        Endpoint::Alerts => status::fixed(sink, status::ALERTS),
    }
}

#[cfg(test)]
mod tests;
