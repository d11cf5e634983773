//! `POST /api/v1/write`: Prometheus remote write 1.0 and 2.0.
//!
//! | status | when | the sender should |
//! |---|---|---|
//! | 204 | all is durable | go on |
//! | 400 | malformed, or a part was refused: then the rest is durable, and the body names the first bad series | go on |
//! | 401, 403 | no, bad, or insufficient credentials | be configured anew |
//! | 408, 413, 415 | too slow, too large, of another kind | be configured anew |
//! | 429 | above the tenant's rate, or its bytes of a day | wait for `Retry-After` and send again |
//! | 503 | bucket away, memory short, shutdown; or the server has no room for new series: then the rest is durable | wait for `Retry-After` and send again |
//!
//! What is stored comes with a header `Farwatch-Limit-Warning` for each limit that is nearly reached.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use wire::Encoding;
use wire::remote_write::{Version, Written};

use super::{add_error_headers, add_warnings};
use crate::decode::Message;
use crate::error::WriteError;
use crate::service::{Accepted, Ingest};
use crate::stats::Protocol;

pub(super) const PATH: &str = "/api/v1/write";

pub(super) async fn handle(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let version = version_of(&parts.headers);
    let result = write(&ingest, &parts, &version, body).await;
    ingest.note(Protocol::RemoteWrite, &result);
    let mut response = match &result {
        Ok(accepted) if accepted.refusals.is_empty() => StatusCode::NO_CONTENT.into_response(),
        Ok(accepted) => (StatusCode::BAD_REQUEST, partial_message(accepted)).into_response(),
        Err(error) => {
            let verdict = error.verdict();
            let mut response = (verdict.status, format!("{error}\n")).into_response();
            add_error_headers(response.headers_mut(), &verdict);
            response
        }
    };
    if let Ok(accepted) = &result {
        add_warnings(response.headers_mut(), &accepted.nearly);
    }
    if matches!(version, Ok(Version::V2)) {
        // The protocol wants these on every response, so that a sender notices a receiver that ignored a part.
        let written = match &result {
            Ok(Accepted { written, .. }) | Err(WriteError::ServerFull { written, .. }) => *written,
            Err(_) => Written::default(),
        };
        for (name, count) in written.headers() {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from(count));
        }
    }
    response
}

async fn write(
    ingest: &Arc<Ingest>,
    head: &Parts,
    version: &Result<Version, String>,
    body: Body,
) -> Result<Accepted, WriteError> {
    let _in_flight = ingest.begin()?;
    let principal = ingest.authorize(head)?;
    let headers = &head.headers;
    let version = version.as_ref().map_err(|message| WriteError::ContentType(message.clone()))?;
    // Without the header it is snappy all the same: the protocol knows nothing else.
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING) {
        let encoding = String::from_utf8_lossy(encoding.as_bytes());
        if Encoding::from_header(&encoding) != Some(Encoding::Snappy) {
            return Err(WriteError::ContentEncoding(encoding.into_owned(), "snappy"));
        }
    }
    let body = ingest.read_body(&principal, headers, body, ingest.max_body_bytes(&principal)).await?;
    ingest.write(&principal, Message::RemoteWrite(*version), Encoding::Snappy, body).await
}

fn version_of(headers: &HeaderMap) -> Result<Version, String> {
    let content_type =
        headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    Version::from_content_type(&content_type.unwrap_or_default()).map_err(|error| error.to_string())
}

fn partial_message(accepted: &Accepted) -> String {
    let Accepted { written, refusals, .. } = accepted;
    format!(
        "{}\n{} samples of the request were dropped; the other {} are stored and must not be sent again\n",
        refusals.first.as_deref().unwrap_or_default(),
        refusals.total_samples(),
        written.samples + written.histograms
    )
}
