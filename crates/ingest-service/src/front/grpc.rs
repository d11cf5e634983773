//! OTLP over gRPC: `MetricsService/Export`.
//!
//! Messages stay bytes: `wire` reads them where they lie. The body of a call is read whole first, under the same bounds as
//! one of HTTP; only then is it taken apart.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::{Buf, BufMut, Bytes};
use prost::Message as _;
use tenancy::Principal;
use tonic::codec::{
    Codec, CompressionEncoding, DecodeBuf, Decoder, EnabledCompressionEncodings, EncodeBuf, Encoder,
};
use tonic::{Code, Status};
use wire::Encoding;
use wire::otlp::Format;

use super::add_warnings;
use crate::body::HeldBody;
use crate::decode::Message;
use crate::error::WriteError;
use crate::service::{InFlight, Ingest};
use crate::stats::Protocol;

pub(super) const METRICS_EXPORT_PATH: &str =
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

/// Bytes before each message: whether it is compressed, and its length.
const MESSAGE_HEADER_BYTES: u64 = 5;

pub(super) async fn handle_metrics_export(State(ingest): State<Arc<Ingest>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (in_flight, principal, held) = match admit(&ingest, &parts, body).await {
        Ok(admitted) => admitted,
        Err(error) => {
            let status = status_of(&error);
            ingest.note(Protocol::OtlpGrpc, &Err(error));
            return status.into_http();
        }
    };
    let max_message = usize::try_from(ingest.max_body_bytes(&principal)).unwrap_or(usize::MAX);
    let whole = http::Request::from_parts(parts, Body::from(held.bytes().clone()));
    // The service is called at most once; what it needs moves in then.
    let mut call = Some((Arc::clone(&ingest), principal, held));
    let export = tower::service_fn(move |message: tonic::Request<Bytes>| {
        let call = call.take();
        async move {
            let (ingest, principal, held) = call.ok_or_else(|| Status::internal("called twice"))?;
            let body = held.with_bytes(message.into_inner());
            let message = Message::OtlpMetrics(Format::Protobuf);
            let result = ingest.write(&principal, message, Encoding::Identity, body).await;
            ingest.note(Protocol::OtlpGrpc, &result);
            match result {
                Ok(accepted) => {
                    let response = accepted.otlp_outcome().encode_metrics_response(Format::Protobuf);
                    let mut response = tonic::Response::new(Bytes::from(response));
                    add_warnings(response.metadata_mut().as_mut(), &accepted.nearly);
                    Ok(response)
                }
                Err(error) => Err(status_of(&error)),
            }
        }
    });
    let mut encodings = EnabledCompressionEncodings::default();
    encodings.enable(CompressionEncoding::Gzip);
    encodings.enable(CompressionEncoding::Zstd);
    let response = tonic::server::Grpc::new(RawCodec)
        .apply_compression_config(encodings, EnabledCompressionEncodings::default())
        .apply_max_message_size_config(Some(max_message), None)
        .unary(export, whole)
        .await;
    drop(in_flight);
    response.map(Body::new)
}

/// Any other method of any service.
pub(super) async fn unimplemented() -> Response {
    Status::unimplemented("this server has MetricsService/Export of OTLP 1 only").into_http()
}

async fn admit(
    ingest: &Arc<Ingest>,
    head: &http::request::Parts,
    body: Body,
) -> Result<(InFlight, Principal, HeldBody), WriteError> {
    let in_flight = ingest.begin()?;
    let principal = ingest.authorize(head)?;
    let max_bytes = ingest.max_body_bytes(&principal).saturating_add(MESSAGE_HEADER_BYTES);
    let held = ingest.read_body(&principal, &head.headers, body, max_bytes).await?;
    Ok((in_flight, principal, held))
}

/// OTLP clients send again after UNAVAILABLE, and after RESOURCE_EXHAUSTED only when it comes with a `RetryInfo`.
fn status_of(error: &WriteError) -> Status {
    let verdict = error.verdict();
    match verdict.retry_after {
        None => Status::new(verdict.code, error.to_string()),
        Some(after) => {
            let details = details_with_retry_info(verdict.code, &error.to_string(), after);
            Status::with_details(verdict.code, error.to_string(), details)
        }
    }
}

/// `google.rpc.Status` with one detail.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, prost::Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<ProtobufDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, prost::Message)]
struct ProtobufDuration {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn details_with_retry_info(code: Code, message: &str, after: Duration) -> Bytes {
    let retry_delay = ProtobufDuration {
        seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
        nanos: after.subsec_nanos().cast_signed(),
    };
    let retry_info = RetryInfo { retry_delay: Some(retry_delay) };
    let detail = Any {
        type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
        value: retry_info.encode_to_vec(),
    };
    let status = RpcStatus { code: code as i32, message: message.to_owned(), details: vec![detail] };
    status.encode_to_vec().into()
}

/// Hands messages through as they are.
#[derive(Clone, Copy, Debug, Default)]
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
