//! What handlers ask of a request. What is wrong is an [`AppError`], so that every error has the same body.

use std::error::Error as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::app::access::Actor;
use crate::error::AppError;
use crate::limits::{MAX_NAME_CHARS, MAX_TOLD_CHARS};

/// The client's address, if the server says it.
pub(super) struct Peer(pub(super) Option<IpAddr>);

impl Peer {
    fn of(parts: &Parts) -> Option<IpAddr> {
        parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AppError> {
        Ok(Self(Self::of(parts)))
    }
}

/// Who asks. Handlers that have it refuse everybody else.
pub(super) struct Caller(pub(super) Actor);

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, AppError> {
        let authorization = parts.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        app.authenticate(authorization, Peer::of(parts)).await.map(Self)
    }
}

/// A JSON body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = AppError;

    async fn from_request(request: Request, state: &S) -> Result<Self, AppError> {
        match Json::<T>::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::MissingJsonContentType(_)) => Err(AppError::MediaType),
            Err(rejection) if rejection.status().as_u16() == 413 => Err(AppError::TooLarge),
            Err(rejection) => {
                // What reads it says where and what; the framework's words about its types help nobody.
                let why = rejection.source().map_or_else(|| rejection.body_text(), ToString::to_string);
                let why: String = why.chars().take(MAX_TOLD_CHARS).collect();
                Err(AppError::Body(format!("the body cannot be read: {why}")))
            }
        }
    }
}

/// The one of `all` that a text names.
///
/// # Errors
/// [`AppError::Invalid`], which says what there is.
pub(super) fn one_of<T: Copy>(
    field: &'static str,
    all: &[T],
    name: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, AppError> {
    all.iter().copied().find(|one| name(*one) == text).ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        let text: String = text.chars().take(MAX_NAME_CHARS).collect();
        AppError::invalid(field, format!("is none of what it can be ({}): {text:?}", names.join(", ")))
    })
}

/// The parameters behind the question mark.
pub(super) struct Parameters<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Parameters<T> {
    type Rejection = AppError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AppError> {
        let query: Result<Query<T>, QueryRejection> = Query::from_request_parts(parts, state).await;
        query.map(|Query(parameters)| Self(parameters)).map_err(|error| AppError::Body(error.body_text()))
    }
}
