//! The OpenAPI document, made from the routes themselves.

use std::sync::{Arc, OnceLock};

use axum::http::header;
use axum::response::{Html, IntoResponse};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::problem::{self, Problem};
use super::reference;
use crate::app::App;

const DESCRIPTION: &str = "Accounts, organisations, tenants, API keys and limits of Farwatch.

Log in at `POST /sessions`, and send the access token as `Authorization: Bearer TOKEN`. An API key with the scope `admin` is good \
in its place for the keys and limits of its own tenant. Bodies are JSON. Times are milliseconds since the Unix epoch. Errors have a \
body of the type `Problem`; what the caller may not know of is answered like what does not exist.";

/// The document without its paths.
pub(super) fn head() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("An access token, or an API key with the scope `admin`."))
        .build();
    let components = problem::described()
        .fold(ComponentsBuilder::new(), |components, (name, response)| components.response(name, response))
        .security_scheme("bearer", SecurityScheme::Http(bearer))
        .schema(Problem::name(), Problem::schema())
        .build();
    let info = InfoBuilder::new()
        .title("Farwatch control plane")
        .version("1")
        .description(Some(DESCRIPTION))
        .build();
    OpenApiBuilder::new().info(info).components(Some(components)).build()
}

/// The OpenAPI document of every route.
#[must_use]
pub fn document() -> OpenApi {
    super::routes().into_openapi()
}

pub(super) fn routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::new().routes(routes!(openapi)).routes(routes!(page))
}

/// This document
#[utoipa::path(get, path = "/openapi.json", tag = "documentation",
    responses((status = 200, content_type = "application/json", description = "OpenAPI 3.1")))]
async fn openapi() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_pretty_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], text.as_str())
}

/// The same as a page for people
#[utoipa::path(get, path = "/reference", tag = "documentation",
    responses((status = 200, content_type = "text/html", description = "A web page")))]
async fn page() -> impl IntoResponse {
    static TEXT: OnceLock<String> = OnceLock::new();
    Html(TEXT.get_or_init(|| reference::page(&document())).as_str())
}
