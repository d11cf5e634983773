//! The body of an error.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::response::{Response as Description, ResponseBuilder};
use utoipa::openapi::{ContentBuilder, Ref, RefOr};
use utoipa::{IntoResponses, ToSchema};

use crate::app::placement::decision::Unplaceable;
use crate::error::AppError;

/// Why a request was not done (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// The HTTP status.
    #[schema(example = 422)]
    status: u16,
    /// What kind of problem it is; stable, for programs.
    #[schema(example = "invalid_field")]
    code: &'static str,
    /// What is wrong, where, and what to do, for people.
    #[schema(example = "name has 1 to 80 characters, none of which is a control character")]
    detail: String,
    /// The field of the request that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "name")]
    field: Option<&'static str>,
    /// Where no cell fits: which constraints contradict each other, and what would help.
    #[serde(skip_serializing_if = "Option::is_none")]
    unplaceable: Option<Unplaceable>,
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let kind = self.kind();
        let status = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let field = match &self {
            Self::Invalid { field, .. } => Some(*field),
            _ => None,
        };
        let unplaceable = match &self {
            Self::Unplaceable(why) => Some(Unplaceable::clone(why)),
            _ => None,
        };
        let detail = self.to_string();
        let problem = Problem { status: kind.status, code: kind.code, detail, field, unplaceable };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Self::Throttled { wait } = &self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs_f64().ceil() as u64));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The errors that any route may answer with, for the OpenAPI document: each is described once, under its name.
const DESCRIBED: [(&str, &str, &str); 10] = [
    ("400", "Unreadable", "The body or a parameter cannot be read."),
    ("401", "Unauthenticated", "No credentials, or credentials that are not good."),
    ("403", "Forbidden", "The caller's role, or the API key's scope, does not allow it."),
    ("404", "NotFound", "There is none, or the caller may not know of it."),
    ("409", "Conflict", "Not as things stand, or a limit is reached."),
    ("413", "TooLarge", "The body is too large."),
    ("415", "NotJson", "The body is not JSON."),
    ("422", "InvalidField", "A field has a value that cannot be."),
    ("429", "TooManyAttempts", "Too many attempts: wait as long as Retry-After says."),
    ("503", "Unavailable", "Not at the moment: try again later."),
];

/// The references to them, for each route.
pub(crate) struct Problems;

impl IntoResponses for Problems {
    fn responses() -> BTreeMap<String, RefOr<Description>> {
        let reference = |name| RefOr::Ref(Ref::from_response_name(name));
        DESCRIBED.into_iter().map(|(status, name, _)| (status.to_owned(), reference(name))).collect()
    }
}

/// What they refer to.
pub(super) fn described() -> impl Iterator<Item = (&'static str, Description)> {
    DESCRIBED.into_iter().map(|(_, name, description)| {
        let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        let response = ResponseBuilder::new().description(description);
        (name, response.content("application/problem+json", body).build())
    })
}
