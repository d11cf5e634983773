//! The routes under [`BASE`]: convert, call a use case, convert back.
//!
//! | module | what |
//! |---|---|
//! | [`accounts`], [`sessions`], [`organisations`], [`members`], [`invitations`], [`tenants`], [`keys`], [`quotas`], [`placement`], [`leases`], [`audit`] | the routes of each thing |
//! | [`usage`], [`billing`], [`invoices`], [`operator`] | the same of money |
//! | [`extract`] | what handlers ask of a request |
//! | [`problem`] | the body of an error |
//! | [`openapi`] | the OpenAPI document, made from the same routes |
//! | [`mod@reference`] | the same as a page for people |
//! | [`pages`] | pages behind the links in mails |

mod accounts;
mod audit;
mod billing;
mod extract;
mod invitations;
mod invoices;
mod keys;
mod leases;
mod members;
pub(crate) mod openapi;
mod operator;
mod organisations;
pub(crate) mod pages;
mod placement;
mod problem;
mod quotas;
pub(crate) mod reference;
mod sessions;
mod tenants;
mod usage;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;
use crate::error::AppError;
use crate::limits::{MAX_BODY_BYTES, REQUEST_TIME};

/// What every path begins with.
pub const BASE: &str = "/api/control/v1";

/// Every route there is, with its description.
fn routes() -> OpenApiRouter<Arc<App>> {
    let routes = OpenApiRouter::new()
        .merge(accounts::routes())
        .merge(sessions::routes())
        .merge(organisations::routes())
        .merge(members::routes())
        .merge(invitations::routes())
        .merge(tenants::routes())
        .merge(keys::routes())
        .merge(quotas::routes())
        .merge(placement::routes())
        .merge(usage::routes())
        .merge(billing::routes())
        .merge(invoices::routes())
        .merge(operator::routes())
        .merge(leases::routes())
        .merge(audit::routes())
        .merge(openapi::routes());
    OpenApiRouter::with_openapi(openapi::head()).nest(BASE, routes)
}

/// The routes, ready to be served.
pub(crate) fn router(app: Arc<App>) -> Router {
    let (router, _) = routes().split_for_parts();
    let unknown = || async { AppError::NotFound("route") };
    let known = router
        .merge(pages::router())
        .method_not_allowed_fallback(|| async { AppError::Method })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(middleware::from_fn(guard))
        .with_state(app);
    // Below the base path, and at the few pages, so that the router can be merged with others.
    ["", "/", "/{*unknown}"]
        .into_iter()
        .fold(known, |router, rest| router.route(&format!("{BASE}{rest}"), axum::routing::any(unknown)))
}

/// What holds for every request: a bound of time, nothing that a database cannot take, and answers that nobody keeps.
async fn guard(request: Request, next: Next) -> Response {
    let uri = request.uri();
    // PostgreSQL takes no text with a zero byte, so nothing has such a name.
    let mut response = if uri.path_and_query().is_some_and(|uri| uri.as_str().contains("%00")) {
        AppError::NotFound("resource").into_response()
    } else {
        match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                AppError::Unavailable("the request took too long; see whether it was done, and try again")
                    .into_response()
            }
        }
    };
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
