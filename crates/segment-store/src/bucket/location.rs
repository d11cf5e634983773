//! Where a bucket is, as operators write it: `file://DIR` or `s3://NAME[/PREFIX]`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use super::counted::Counted;
use super::local::LocalBucket;
use super::retrying::Retrying;
use super::s3::{S3Bucket, S3Settings};
use super::{Bucket, Operation, check_key};
use crate::{Clock, Seed};

/// Where a bucket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketLocation {
    /// A local directory.
    Directory(PathBuf),
    /// A bucket on S3, or the part of one under a prefix.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// The prefix, without slashes at its ends.
        prefix: Option<String>,
    },
}

/// Text that says of no bucket where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a bucket is file://DIR or s3://NAME[/PREFIX], not {0:?}")]
pub struct BucketLocationError(String);

impl FromStr for BucketLocation {
    type Err = BucketLocationError;

    fn from_str(text: &str) -> Result<Self, BucketLocationError> {
        let error = || BucketLocationError(text.to_owned());
        if let Some(dir) = text.strip_prefix("file://").filter(|dir| !dir.is_empty()) {
            return Ok(Self::Directory(PathBuf::from(dir)));
        }
        let rest = text.strip_prefix("s3://").ok_or_else(error)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = Some(prefix.trim_end_matches('/')).filter(|prefix| !prefix.is_empty());
        let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let good_prefix = prefix.is_none_or(|prefix| check_key(Operation::List, prefix).is_ok());
        if bucket.is_empty() || !bucket.bytes().all(name_byte) || !good_prefix {
            return Err(error());
        }
        Ok(Self::S3 { bucket: bucket.to_owned(), prefix: prefix.map(str::to_owned) })
    }
}

impl fmt::Display for BucketLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => write!(f, "file://{}", dir.display()),
            Self::S3 { bucket, prefix: None } => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix: Some(prefix) } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// An open bucket as the product uses it.
#[derive(Clone, Debug)]
pub struct OpenBucket {
    /// Counts every request and repeats reads that fail.
    pub bucket: Arc<dyn Bucket>,
    /// The counter of its requests.
    pub counted: Arc<Counted>,
}

impl BucketLocation {
    /// Opens the bucket. `endpoint` is the URL of an S3 server other than AWS; `seed` is for the waits between tries.
    ///
    /// # Errors
    /// When the directory cannot be used. S3 is not asked anything yet.
    pub async fn open(
        &self,
        endpoint: Option<&str>,
        clock: Arc<dyn Clock>,
        seed: &Seed,
    ) -> io::Result<OpenBucket> {
        let bucket: Arc<dyn Bucket> = match self {
            Self::Directory(dir) => Arc::new(LocalBucket::open(dir)?),
            Self::S3 { bucket, prefix } => {
                Arc::new(S3Bucket::connect(&S3Settings::new(bucket, prefix.as_deref(), endpoint)).await)
            }
        };
        let counted = Arc::new(Counted::new(bucket));
        let bucket = Arc::new(Retrying::new(Arc::clone(&counted) as _, clock, seed));
        Ok(OpenBucket { bucket, counted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_their_text() {
        for text in ["file:///var/lib/farwatch", "file://data/bucket", "s3://name", "s3://name/a/prefix"] {
            assert_eq!(text.parse::<BucketLocation>().unwrap().to_string(), text);
        }
        let slashed = "s3://name/prefix/".parse::<BucketLocation>().unwrap();
        assert_eq!(slashed.to_string(), "s3://name/prefix");
        for bad in
            ["", "data", "/data", "file://", "s3://", "s3:///x", "s3://a b", "s3://name//x", "gs://name"]
        {
            assert_eq!(bad.parse::<BucketLocation>(), Err(BucketLocationError(bad.to_owned())));
        }
    }

    #[tokio::test]
    async fn an_open_bucket_counts() {
        let dir = tempfile::tempdir().unwrap();
        let location = BucketLocation::Directory(dir.path().join("made"));
        let clock = Arc::new(crate::SystemClock::new());
        let open = location.open(None, clock, &Seed::from_number(1)).await.unwrap();
        open.bucket.list("", None, 1).await.unwrap();
        assert_eq!(open.counted.counts().of(Operation::List), 1);
    }
}
