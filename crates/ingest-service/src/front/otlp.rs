//! `POST /v1/metrics`: OTLP over HTTP as protobuf and JSON.
//!
//! 200 with an `ExportMetricsServiceResponse`, which tells what was refused (`partial_success`, which a sender does not
//! send again; so want of room for new series is a 503, though the rest is durable); otherwise the statuses of
//! remote write with a `google.rpc.Status` in the format of the request.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use wire::Encoding;
use wire::otlp::{Format, RpcStatus};

use super::{add_error_headers, add_warnings};
use crate::decode::Message;
use crate::error::WriteError;
use crate::service::{Accepted, Ingest};
use crate::stats::Protocol;

pub(super) const METRICS_PATH: &str = "/v1/metrics";

pub(super) async fn handle_metrics(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let format = format_of(&parts.headers);
    let result = write(&ingest, &parts, &format, body).await;
    ingest.note(Protocol::OtlpHttp, &result);
    // A sender whose format is not known gets the one that people can read.
    let format = format.unwrap_or(Format::Json);
    let content_type = [(header::CONTENT_TYPE, format.content_type())];
    match result {
        Ok(accepted) => {
            let body = accepted.otlp_outcome().encode_metrics_response(format);
            let mut response = (StatusCode::OK, content_type, body).into_response();
            add_warnings(response.headers_mut(), &accepted.nearly);
            response
        }
        Err(error) => {
            let verdict = error.verdict();
            let status = RpcStatus { code: verdict.code as i32, message: error.to_string() };
            let mut response = (verdict.status, content_type, status.encode(format)).into_response();
            add_error_headers(response.headers_mut(), &verdict);
            response
        }
    }
}

async fn write(
    ingest: &Arc<Ingest>,
    head: &Parts,
    format: &Result<Format, String>,
    body: Body,
) -> Result<Accepted, WriteError> {
    let _in_flight = ingest.begin()?;
    let principal = ingest.authorize(head)?;
    let headers = &head.headers;
    let format = format.as_ref().map_err(|content_type| {
        WriteError::ContentType(format!(
            "content type {content_type:?} is not one of OTLP: send application/x-protobuf or application/json"
        ))
    })?;
    let encoding = encoding_of(headers)?;
    let body = ingest.read_body(&principal, headers, body, ingest.max_body_bytes(&principal)).await?;
    ingest.write(&principal, Message::OtlpMetrics(*format), encoding, body).await
}

fn format_of(headers: &HeaderMap) -> Result<Format, String> {
    let content_type =
        headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let content_type = content_type.unwrap_or_default();
    Format::from_content_type(&content_type).ok_or_else(|| content_type.into_owned())
}

fn encoding_of(headers: &HeaderMap) -> Result<Encoding, WriteError> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(Encoding::Identity);
    };
    let value = String::from_utf8_lossy(value.as_bytes());
    match Encoding::from_header(&value) {
        Some(encoding @ (Encoding::Identity | Encoding::Gzip | Encoding::Zstd)) => Ok(encoding),
        Some(Encoding::Snappy) | None => {
            Err(WriteError::ContentEncoding(value.into_owned(), "gzip, zstd or none"))
        }
    }
}
