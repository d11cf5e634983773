//! Prometheus's HTTP API (as of 3.5) over a [`QueryEngine`].
//!
//! Every route is in `ROUTES`. All of them need a credential with the scope `metrics:read`; the tenant comes from it and
//! from nowhere else. Beyond Prometheus: `provisional=false` leaves out what is not durable yet.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::routing::{MethodFilter, on};
use tenancy::{Access, Scope};

use crate::engine::QueryEngine;
use crate::error::QueryError;
use crate::limits::MAX_FORM_BYTES;

mod json;
mod lookups;
mod params;
mod queries;
mod response;
mod status;

use params::Params;
use response::Parts;

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
const ROUTES: [(&str, bool, Endpoint); 15] = [
    ("/api/v1/query", true, Endpoint::Query),
    ("/api/v1/query_range", true, Endpoint::QueryRange),
    ("/api/v1/format_query", true, Endpoint::FormatQuery),
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

/// The routes, to be merged with those of other parts.
pub fn router(parts: HttpParts) -> Router {
    let mut router = Router::new();
    for (path, with_post, endpoint) in ROUTES {
        let methods = if with_post { MethodFilter::GET.or(MethodFilter::POST) } else { MethodFilter::GET };
        let handler = move |State(parts): State<HttpParts>,
                            name: Option<Path<String>>,
                            RawQuery(query_string): RawQuery,
                            headers: HeaderMap,
                            body: Result<Bytes, BytesRejection>| async move {
            let name = name.map_or_else(String::new, |Path(name)| name);
            let params = match body {
                Ok(body) => Params::parse(&body, query_string.as_deref().unwrap_or_default()),
                Err(rejection) => return response::error(&unread(&rejection)),
            };
            match answer(&parts, endpoint, &headers, &params, &name).await {
                Ok(parts) => response::ok(parts),
                Err(error) => response::error(&error),
            }
        };
        router = router.route(path, on(methods, handler));
    }
    router.layer(DefaultBodyLimit::max(MAX_FORM_BYTES)).with_state(parts)
}

/// What a client is told whose body is longer than [`MAX_FORM_BYTES`], or came in half.
fn unread(rejection: &BytesRejection) -> QueryError {
    QueryError::BadRequest(format!("the request body cannot be read: {}", rejection.body_text()))
}

async fn answer(
    parts: &HttpParts,
    endpoint: Endpoint,
    headers: &HeaderMap,
    params: &Params,
    label: &str,
) -> Result<Parts, QueryError> {
    let engine = &*parts.engine;
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let principal = parts
        .access
        .authorize(authorization, Scope::MetricsRead, engine.now_ms())
        .inspect_err(|_| engine.count(crate::Outcome::Refused))?;
    let tenant = &*principal.tenant;
    match endpoint {
        Endpoint::Query => queries::query(engine, tenant, params).await,
        Endpoint::QueryRange => queries::query_range(engine, tenant, params).await,
        Endpoint::FormatQuery => queries::format_query(params),
        Endpoint::Series => lookups::series(engine, tenant, params).await,
        Endpoint::Labels => lookups::labels(engine, tenant, params).await,
        Endpoint::LabelValues => lookups::label_values(engine, tenant, params, label).await,
        Endpoint::Metadata => lookups::metadata(engine, tenant, params),
        Endpoint::QueryExemplars => lookups::query_exemplars(engine, tenant, params).await,
        Endpoint::BuildInfo => Ok(status::build_info()),
        Endpoint::Cardinality => lookups::cardinality(engine, tenant, params).await,
        Endpoint::Config => Ok(status::fixed(status::CONFIG)),
        Endpoint::Flags => Ok(status::fixed(status::FLAGS)),
        Endpoint::RuntimeInfo => Ok(status::fixed(status::RUNTIME_INFO)),
        Endpoint::Rules => Ok(status::fixed(status::RULES)),
        Endpoint::Alerts => Ok(status::fixed(status::ALERTS)),
    }
}

#[cfg(test)]
mod tests;
