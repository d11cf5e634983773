//! A bucket on S3 or a server that speaks it.
//!
//! What is needed of the server: conditional puts (`If-None-Match: *`, and `If-Match` for manifests), listings that see every earlier put,
//! ranges, user metadata. AWS has all of it. Known quirks, all met here:
//! - ETags come in quotes; AWS takes `If-Match` with or without, radosgw on a put only without: so they are sent without;
//! - `If-Match` on a key that is not there is 404 on AWS and 412 elsewhere: both mean that the condition does not hold;
//! - radosgw answers some losers of an `If-Match` race with 500: like any 500, that leaves the outcome unknown;
//! - checksums in trailers are not known everywhere: they are sent only where S3 requires one.
//!
//! The SDK's own retries are off: [`Retrying`](super::retrying::Retrying) repeats reads, and group commit its puts.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use bytes::Bytes;

use super::{
    Bucket, BucketError, Etag, GetRange, ListPage, ListedObject, Object, ObjectMeta, Operation, PutCondition,
    PutId, PutOutcome, check_key,
};

mod connect;
mod error;

pub use connect::{Addressing, S3Settings};
use error::{Place, classify, status_of};

/// The user metadata that holds the put-id, as `x-amz-meta-farwatch-put-id`.
const PUT_ID_METADATA: &str = "farwatch-put-id";
/// S3 lists at most so many objects a request; some servers refuse to be asked for more.
const LIST_MAX_KEYS: usize = 1_000;
/// S3 deletes at most so many objects a request.
const DELETE_BATCH_KEYS: usize = 1_000;
/// How long the body of an object may take, once the answer has begun. Stalls are noticed sooner.
const BODY_TIME: Duration = Duration::from_secs(60);

/// A bucket on S3, or the part of one under a prefix.
#[derive(Debug)]
pub struct S3Bucket {
    client: Client,
    bucket: String,
    /// Empty, or with a slash at its end.
    prefix: String,
    /// Which it is, for errors.
    place: Place,
}

impl S3Bucket {
    /// A bucket that `settings` describe, with credentials and region from the environment as every AWS tool reads
    /// them: variables, profile files, web identity, container and instance metadata. Makes no request to the bucket.
    pub async fn connect(settings: &S3Settings) -> Self {
        Self::new(connect::client(settings).await, settings)
    }

    fn new(client: Client, settings: &S3Settings) -> Self {
        let prefix = settings.prefix.as_ref().map_or_else(String::new, |prefix| format!("{prefix}/"));
        let place = Place { bucket: settings.bucket.clone(), endpoint: settings.endpoint.clone() };
        Self { client, bucket: settings.bucket.clone(), prefix, place }
    }

    /// What `error` means; where it takes more than one request to mend, it says which bucket it is, and where.
    fn failed<E>(&self, operation: Operation, key: &str, error: SdkError<E, HttpResponse>) -> BucketError
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        classify(&self.place, operation, key, error)
    }

    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn read_body(
        &self,
        key: &str,
        output: GetObjectOutput,
        range: &GetRange,
    ) -> Result<Object, BucketError> {
        let unavailable = |source: Box<dyn std::error::Error + Send + Sync>| BucketError::Unavailable {
            operation: Operation::Get,
            key: key.to_owned(),
            outcome: PutOutcome::NotDone,
            source,
        };
        let etag = etag_of(Operation::Get, key, output.e_tag())?;
        let whole_len = output.content_range().and_then(len_of_content_range);
        let body = match tokio::time::timeout(BODY_TIME, output.body.collect()).await {
            Ok(Ok(body)) => body.into_bytes(),
            Ok(Err(error)) => return Err(unavailable(Box::new(error))),
            Err(elapsed) => return Err(unavailable(Box::new(elapsed))),
        };
        let Some(len) = whole_len else {
            // The whole object: asked for, or from a server that has no ranges.
            let len = body.len() as u64;
            let bytes =
                range.resolve(len).ok_or_else(|| BucketError::range_not_satisfiable(key, range, len))?;
            return Ok(Object { body: body.slice(bytes.start as usize..bytes.end as usize), etag, len });
        };
        let expected = range.resolve(len).map(|bytes| bytes.end - bytes.start);
        if expected != Some(body.len() as u64) {
            return Err(unavailable("the answer is not as long as the range".into()));
        }
        Ok(Object { body, etag, len })
    }
}

#[async_trait]
impl Bucket for S3Bucket {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        check_key(Operation::Put, key)?;
        let timeouts = connect::timeouts_of_put(body.len() as u64);
        let mut request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .content_length(body.len() as i64)
            .body(ByteStream::from(body));
        if let Some(id) = put_id {
            request = request.metadata(PUT_ID_METADATA, id.to_string());
        }
        request = match condition {
            PutCondition::Always => request,
            PutCondition::IfAbsent => request.if_none_match("*"),
            PutCondition::IfMatch(etag) => request.if_match(etag.as_str()),
        };
        let sent = match timeouts {
            None => request.send().await,
            Some(timeouts) => {
                let patient = aws_sdk_s3::Config::builder().timeout_config(timeouts);
                request.customize().config_override(patient).send().await
            }
        };
        match sent {
            Ok(output) => etag_of(Operation::Put, key, output.e_tag()),
            Err(error) => Err(match self.failed(Operation::Put, key, error) {
                BucketError::NotFound { operation, key } => {
                    BucketError::PreconditionFailed { operation, key }
                }
                error => error,
            }),
        }
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        check_key(Operation::Get, key)?;
        let header = match &range {
            GetRange::Full => None,
            // Servers differ on these; for us they are mistakes.
            GetRange::Range(range) if range.start >= range.end => {
                return Err(BucketError::invalid(Operation::Get, key, "an empty range"));
            }
            GetRange::Suffix(0) => return Err(BucketError::invalid(Operation::Get, key, "an empty suffix")),
            GetRange::Range(range) => Some(format!("bytes={}-{}", range.start, range.end - 1)),
            GetRange::Suffix(bytes) => Some(format!("bytes=-{bytes}")),
        };
        let request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key)).set_range(header);
        let output = request.send().await.map_err(|error| self.failed(Operation::Get, key, error))?;
        self.read_body(key, output, &range).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        check_key(Operation::Get, key)?;
        let known = known.map(|etag| format!("\"{}\"", etag.as_str()));
        let request =
            self.client.get_object().bucket(&self.bucket).key(self.full_key(key)).set_if_none_match(known);
        match request.send().await {
            Ok(output) => self.read_body(key, output, &GetRange::Full).await.map(Some),
            Err(error) if status_of(&error) == Some(304) => Ok(None),
            Err(error) => Err(self.failed(Operation::Get, key, error)),
        }
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        check_key(Operation::Head, key)?;
        let request = self.client.head_object().bucket(&self.bucket).key(self.full_key(key));
        let output = request.send().await.map_err(|error| self.failed(Operation::Head, key, error))?;
        let len = output.content_length().and_then(|len| u64::try_from(len).ok()).unwrap_or(0);
        let put_id =
            output.metadata().and_then(|all| all.get(PUT_ID_METADATA)).and_then(|id| PutId::parse(id));
        Ok(ObjectMeta { len, etag: etag_of(Operation::Head, key, output.e_tag())?, put_id })
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        let request = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(self.full_key(prefix))
            .set_start_after(start_after.map(|key| self.full_key(key)))
            .max_keys(max_keys.clamp(1, LIST_MAX_KEYS) as i32);
        let output = request.send().await.map_err(|error| self.failed(Operation::List, prefix, error))?;
        let objects: Vec<ListedObject> = output
            .contents()
            .iter()
            .filter_map(|object| {
                let key = object.key()?.strip_prefix(&self.prefix)?.to_owned();
                let len = object.size().and_then(|len| u64::try_from(len).ok()).unwrap_or(0);
                Some(ListedObject { key, len })
            })
            .collect();
        let truncated = output.is_truncated().unwrap_or(false) && !objects.is_empty();
        Ok(ListPage { objects, truncated })
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        for key in keys {
            check_key(Operation::Delete, key)?;
        }
        for batch in keys.chunks(DELETE_BATCH_KEYS) {
            let first = &batch[0];
            let invalid = |error| BucketError::invalid(Operation::Delete, first, error);
            let mut delete = Delete::builder().quiet(true);
            for key in batch {
                delete = delete
                    .objects(ObjectIdentifier::builder().key(self.full_key(key)).build().map_err(invalid)?);
            }
            let request = self.client.delete_objects().bucket(&self.bucket);
            let request = request.delete(delete.build().map_err(invalid)?);
            let output =
                request.send().await.map_err(|error| self.failed(Operation::Delete, first, error))?;
            if let Some(failed) = output.errors().first() {
                return Err(error::of_deletion(first, failed));
            }
        }
        Ok(())
    }
}

fn etag_of(operation: Operation, key: &str, etag: Option<&str>) -> Result<Etag, BucketError> {
    let etag = etag.ok_or_else(|| BucketError::invalid(operation, key, "the server gives no etag"))?;
    Ok(Etag::new(etag.trim_matches('"')))
}

/// The length of the whole object in `bytes 3-7/10`.
fn len_of_content_range(header: &str) -> Option<u64> {
    header.rsplit_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests;
