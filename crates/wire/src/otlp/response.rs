//! Content types, the response of an export, and `google.rpc.Status` for errors.

use crate::protobuf::{push_bytes_field, push_varint_field};

/// How a request, and so its response, is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Binary protobuf.
    Protobuf,
    /// OTLP/JSON.
    Json,
}

impl Format {
    /// The format that the value of a `Content-Type` header names; `None` (HTTP status 415) when it is no supported one.
    #[must_use]
    pub fn from_content_type(value: &str) -> Option<Self> {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        if media_type.eq_ignore_ascii_case("application/x-protobuf") {
            Some(Self::Protobuf)
        } else if media_type.eq_ignore_ascii_case("application/json") {
            Some(Self::Json)
        } else {
            None
        }
    }

    /// The `Content-Type` of a response.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// What became of an export request that was taken: OTLP's partial success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Data points that were refused; the others were taken.
    pub rejected: u64,
    /// Why, with the name of the first metric concerned; with nothing refused, a warning. Empty when all is well.
    pub error_message: String,
}

impl Outcome {
    /// `ExportMetricsServiceResponse`. It is the empty message when all is well, as the protocol wants it.
    #[must_use]
    pub fn encode_metrics_response(&self, format: Format) -> Vec<u8> {
        let all_is_well = *self == Self::default();
        match format {
            Format::Protobuf if all_is_well => Vec::new(),
            Format::Protobuf => {
                let mut partial = Vec::new();
                if self.rejected > 0 {
                    push_varint_field(&mut partial, 1, self.rejected);
                }
                push_bytes_field(&mut partial, 2, self.error_message.as_bytes());
                let mut response = Vec::new();
                push_bytes_field(&mut response, 1, &partial);
                response
            }
            Format::Json if all_is_well => b"{}".to_vec(),
            Format::Json => serde_json::json!({
                "partialSuccess": {
                    "rejectedDataPoints": self.rejected.to_string(),
                    "errorMessage": self.error_message,
                }
            })
            .to_string()
            .into_bytes(),
        }
    }
}

/// `google.rpc.Status`, the body of OTLP/HTTP errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcStatus {
    /// A gRPC status code, such as 3 for an invalid argument.
    pub code: i32,
    /// What was wrong and what to do.
    pub message: String,
}

impl RpcStatus {
    /// The encoded message.
    #[must_use]
    pub fn encode(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Protobuf => {
                let mut status = Vec::new();
                if self.code != 0 {
                    push_varint_field(&mut status, 1, i64::from(self.code) as u64);
                }
                if !self.message.is_empty() {
                    push_bytes_field(&mut status, 2, self.message.as_bytes());
                }
                status
            }
            Format::Json => {
                serde_json::json!({ "code": self.code, "message": self.message }).to_string().into_bytes()
            }
        }
    }
}
