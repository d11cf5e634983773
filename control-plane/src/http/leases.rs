//! What the processes of a cell ask for.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest as _, Request, State};
use axum::http::header;
use tenancy::lease::LeaseAnswer;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::extract::Body;
use super::problem::Problems;
use crate::app::App;
use crate::error::AppError;

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(lease))
}

/// Renew the shares of limits of an ingest process
///
/// For the processes of a cell alone: the credential is a token that is signed with the cell's key.
#[utoipa::path(post, path = "/data-plane/leases", tag = "data plane", security(("bearer" = [])),
    request_body(content = serde_json::Value, description = "What the process counted of each tenant."),
    responses((status = 200, body = serde_json::Value, description = "A share for each tenant that is known."), Problems))]
async fn lease(State(app): State<Arc<App>>, request: Request) -> Result<Json<LeaseAnswer>, AppError> {
    let token = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    let read = async || Body::from_request(request, &()).await.map(|Body(body)| body);
    Ok(Json(app.lease(token.as_deref(), read).await?))
}
