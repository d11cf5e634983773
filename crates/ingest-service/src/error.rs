//! Why a request failed as a whole, and what that means to its sender: one table.

use std::time::Duration;

use http::StatusCode;
use segment_store::CommitError;
use tenancy::{AccessError, Denied};
use tonic::Code;
use wire::remote_write::Written;
use wire::{DecompressError, RequestError};

use crate::limits::RETRY_AFTER;
use crate::stats::Outcome;

/// Why a request failed as a whole. Nothing of it is acked; nothing of it is stored, unless it is a commit whose outcome is
/// unknown, or [`WriteError::ServerFull`]. The message is for the sender.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Not let in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// A message of a kind that is not taken here.
    #[error("{0}")]
    ContentType(String),
    /// Compressed in a way that is not known here.
    #[error("content encoding {0:?} is not supported here: send {1}")]
    ContentEncoding(String, &'static str),
    /// More bytes than are taken.
    #[error("the request body is larger than {limit_bytes} bytes, which is the limit: send smaller batches")]
    BodyTooLarge {
        /// The most that is taken.
        limit_bytes: u64,
    },
    /// The connection broke in the middle of the body.
    #[error("the request body could not be read to its end")]
    BodyBroken,
    /// The body came too slowly.
    #[error("the request body did not arrive within the time allowed: send it at once")]
    BodyTooSlow,
    /// Too many bodies in memory.
    #[error("the server holds as many request bodies as it can: send the same request again later")]
    Busy,
    /// Too many bodies of this tenant in memory.
    #[error(
        "request bodies of your tenant that are being received hold all the memory that one tenant may have: send the same request again later, with fewer requests at a time"
    )]
    ShareUsed,
    /// The body does not decompress.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The message cannot be read.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A limit of the tenant.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The tenant's shard is another process's.
    #[error("this server does not take writes of your shard: send the same request again later")]
    ShardNotHere,
    /// The process is going down.
    #[error("the server is shutting down: send the same request again")]
    ShuttingDown,
    /// It was not made durable. The bucket's words stay in the log.
    #[error("{}", commit_message(.0))]
    Commit(#[source] CommitError),
    /// New series above the server's bound. The rest of the request is durable, and counts once when it comes again.
    #[error(
        "the server holds as many active series as it can: {refused_samples} samples of new series are not stored, the other {} are; send the same request again later, samples that were stored count once",
        .written.samples + .written.histograms
    )]
    ServerFull {
        /// Samples that were not stored for want of room.
        refused_samples: u64,
        /// What is durable.
        written: Written,
    },
    /// A bug.
    #[error("the request failed inside the server: send the same request again later")]
    Internal,
}

fn commit_message(error: &CommitError) -> String {
    if error.is_for_want_of_room() {
        "the server's storage takes no data, it is full or read-only: send the same request again later"
            .to_owned()
    } else if error.is_retryable() {
        "the data could not be made durable now: send the same request again, samples that were stored count once"
            .to_owned()
    } else {
        // What cannot be retried is about the request itself.
        error.to_string()
    }
}

/// What an error means to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// HTTP.
    pub status: StatusCode,
    /// gRPC.
    pub code: Code,
    /// The metric.
    pub outcome: Outcome,
    /// When to send the same request again; `None` when that is useless.
    pub retry_after: Option<Duration>,
}

impl WriteError {
    /// The table of statuses.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let never = |status, code, outcome| Verdict { status, code, outcome, retry_after: None };
        let later = |after| Verdict {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: Code::Unavailable,
            outcome: Outcome::Unavailable,
            retry_after: Some(after),
        };
        let too_large = never(StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted, Outcome::TooLarge);
        let bad = never(StatusCode::BAD_REQUEST, Code::InvalidArgument, Outcome::BadRequest);
        let unsupported = |code| never(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, Outcome::Unsupported);
        match self {
            Self::Access(error) if error.is_forbidden() => {
                never(StatusCode::FORBIDDEN, Code::PermissionDenied, Outcome::Forbidden)
            }
            Self::Access(_) => {
                never(StatusCode::UNAUTHORIZED, Code::Unauthenticated, Outcome::Unauthenticated)
            }
            Self::ContentType(_) => unsupported(Code::InvalidArgument),
            Self::ContentEncoding(..) => unsupported(Code::Unimplemented),
            Self::BodyTooLarge { .. }
            | Self::Decompress(
                DecompressError::BodyTooLarge { .. } | DecompressError::DecompressedTooLarge { .. },
            )
            | Self::Request(RequestError::TooMany { .. })
            | Self::Denied(Denied { retry_after: None, .. })
            | Self::Commit(CommitError::TooLarge { .. }) => too_large,
            Self::Denied(Denied { retry_after: Some(after), .. }) => Verdict {
                status: StatusCode::TOO_MANY_REQUESTS,
                code: Code::ResourceExhausted,
                outcome: Outcome::RateLimited,
                retry_after: Some(*after),
            },
            // 503, not 429: by default Prometheus drops what was answered with the latter.
            Self::ShareUsed => Verdict { outcome: Outcome::RateLimited, ..later(RETRY_AFTER) },
            Self::BodyTooSlow => {
                never(StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded, Outcome::TimedOut)
            }
            Self::BodyBroken
            | Self::Decompress(DecompressError::Invalid { .. })
            | Self::Request(RequestError::Protobuf(_) | RequestError::Json(_) | RequestError::Protocol(_))
            | Self::Commit(CommitError::Empty) => bad,
            Self::Busy | Self::ShardNotHere | Self::ShuttingDown | Self::ServerFull { .. } => {
                later(RETRY_AFTER)
            }
            Self::Commit(
                CommitError::Overloaded { .. }
                | CommitError::ShuttingDown
                | CommitError::NotStored { .. }
                | CommitError::Unknown { .. }
                | CommitError::BrokenOff(_),
            ) => later(RETRY_AFTER),
            Self::Internal => never(StatusCode::INTERNAL_SERVER_ERROR, Code::Internal, Outcome::Internal),
        }
    }
}
