//! What the SDK's errors mean.

use std::error::Error;
use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::{BucketError, Operation, PutOutcome};

/// The HTTP status of the answer, where there was one.
pub(super) fn status_of<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Which bucket it is, and where.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) bucket: String,
    /// `None`: AWS, or what the environment says.
    pub(super) endpoint: Option<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bucket {}", self.bucket)?;
        self.endpoint.as_ref().map_or(Ok(()), |endpoint| write!(f, " at {endpoint}"))
    }
}

/// Why there is nothing to be had of a bucket as a whole.
#[derive(Debug, thiserror::Error)]
enum PlaceError {
    #[error("{0} does not exist; create it first")]
    Missing(Place),
    #[error("no answer from {place}")]
    NoAnswer { place: Place, source: Box<dyn Error + Send + Sync> },
}

/// Sorts an error by what it means for the caller.
pub(super) fn classify<E>(
    place: &Place,
    operation: Operation,
    key: &str,
    error: SdkError<E, HttpResponse>,
) -> BucketError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let key = key.to_owned();
    if let SdkError::ConstructionFailure(_) = error {
        // No region, or no URL that an endpoint could be: nothing was sent, and nothing ever will be.
        return BucketError::Invalid { operation, key, source: Box::new(error) };
    }
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    match (status_of(&error), code) {
        (Some(404), "NoSuchBucket") => {
            BucketError::Invalid { operation, key, source: Box::new(PlaceError::Missing(place.clone())) }
        }
        (Some(404), _) => BucketError::NotFound { operation, key },
        (Some(412), _) => BucketError::PreconditionFailed { operation, key },
        (Some(409), _) => BucketError::Conflict { operation, key },
        // The answer to a body that came too slowly, and to a clock that is wrong for now.
        (Some(_), "RequestTimeout" | "RequestTimeTooSkewed") | (Some(429), _) => {
            BucketError::Unavailable { operation, key, outcome: PutOutcome::NotDone, source: Box::new(error) }
        }
        (Some(401 | 403), _) | (Some(400), "ExpiredToken" | "InvalidToken") => {
            BucketError::Denied { operation, key, source: Box::new(error) }
        }
        (Some(400..=499), _) => BucketError::Invalid { operation, key, source: Box::new(error) },
        (None, _) => {
            let source = PlaceError::NoAnswer { place: place.clone(), source: Box::new(error) };
            BucketError::Unavailable {
                operation,
                key,
                outcome: PutOutcome::Unknown,
                source: Box::new(source),
            }
        }
        // Servers fail after the work as well as before it; a lost connection or a late answer says nothing either.
        _ => {
            BucketError::Unavailable { operation, key, outcome: PutOutcome::Unknown, source: Box::new(error) }
        }
    }
}

/// The first object that a deletion of many did not delete.
pub(super) fn of_deletion(first: &str, failed: &aws_sdk_s3::types::Error) -> BucketError {
    let key = failed.key().unwrap_or(first).to_owned();
    let code = failed.code().unwrap_or("without a code");
    let source = format!("{code}: {}", failed.message().unwrap_or_default()).into();
    match code {
        "AccessDenied" => BucketError::Denied { operation: Operation::Delete, key, source },
        _ => BucketError::Unavailable {
            operation: Operation::Delete,
            key,
            outcome: PutOutcome::Unknown,
            source,
        },
    }
}
