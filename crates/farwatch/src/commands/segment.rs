//! `farwatch segment`: what is in a segment, and whether it is whole.

use std::io::Write;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use segment_store::{BucketError, GetRange, LocalBucket};
use storage_format::{FormatError, SegmentDescription};

use crate::bucket::{self, BucketOpenError};
use crate::cli::SegmentArgs;
use crate::config::ENDPOINT_WITHOUT_S3;
use crate::config::topics::BucketAddress;
use crate::config::value::{ServerUrl, SettingValue as _};

/// Why a segment could not be looked into, or what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bucket's address is none.
    #[error("--bucket is {text:?}; it must be {expected}")]
    Address {
        /// What was given.
        text: String,
        /// What it must be.
        expected: String,
    },
    /// The endpoint is none.
    #[error("--s3-endpoint is {text:?}; it must be {expected}")]
    Endpoint {
        /// What was given.
        text: String,
        /// What it must be.
        expected: String,
    },
    /// The endpoint is that of no bucket.
    #[error("{ENDPOINT_WITHOUT_S3}")]
    EndpointWithoutS3,
    /// The bucket cannot be opened.
    #[error("cannot open the bucket")]
    Open(#[from] BucketOpenError),
    /// The object cannot be read.
    #[error("cannot read the object {key}")]
    Object {
        /// Its key.
        key: String,
        /// Why.
        source: BucketError,
    },
    /// The bytes are no readable segment.
    #[error("{segment} is damaged, or no segment")]
    Format {
        /// Which.
        segment: String,
        /// Why.
        source: FormatError,
    },
    /// The terminal went away.
    #[error("cannot print")]
    Print(#[from] std::io::Error),
}

/// Prints what the segment holds.
///
/// # Errors
/// [`SegmentError`].
pub async fn inspect(args: &SegmentArgs, out: &mut dyn Write) -> Result<(), SegmentError> {
    write!(out, "{}", describe(args).await?)?;
    Ok(())
}

/// Decodes every partition, which checks every checksum.
///
/// # Errors
/// [`SegmentError`]; the first thing that is wrong.
pub async fn verify(args: &SegmentArgs, out: &mut dyn Write) -> Result<(), SegmentError> {
    let description = describe(args).await?;
    let samples: u64 = description.partitions.iter().map(|partition| partition.counts.samples).sum();
    let partitions = description.partitions.len();
    writeln!(out, "good: {partitions} partition(s), {samples} samples, every checksum right")?;
    Ok(())
}

async fn describe(args: &SegmentArgs) -> Result<SegmentDescription, SegmentError> {
    let bytes = read(args).await?;
    storage_format::inspect(&bytes)
        .map_err(|source| SegmentError::Format { segment: args.segment.clone(), source })
}

async fn read(args: &SegmentArgs) -> Result<Bytes, SegmentError> {
    if let Some(text) = &args.bucket {
        let address = BucketAddress::parse(text)
            .map_err(|expected| SegmentError::Address { text: text.clone(), expected })?;
        if args.s3_endpoint.is_some() && !matches!(address, BucketAddress::S3 { .. }) {
            return Err(SegmentError::EndpointWithoutS3);
        }
        let endpoint = args.s3_endpoint.as_ref().map(|text| {
            ServerUrl::parse(text).map_err(|expected| SegmentError::Endpoint { text: text.clone(), expected })
        });
        let endpoint = endpoint.transpose()?;
        return object(&address, endpoint.as_ref().map(ServerUrl::as_str), &args.segment).await;
    }
    if args.s3_endpoint.is_some() {
        return Err(SegmentError::EndpointWithoutS3);
    }
    let path = Path::new(&args.segment);
    let file_error = |source| SegmentError::File { path: path.to_owned(), source };
    let absolute = path.canonicalize().map_err(file_error)?;
    // A file of a local bucket holds more than the object's bytes; the bucket knows which are which.
    let in_bucket = bucket::root_above(&absolute)
        .and_then(|root| Some((root, absolute.strip_prefix(root).ok()?.to_str()?)));
    match in_bucket {
        Some((root, key)) => object(&BucketAddress::Directory(root.to_owned()), None, key).await,
        None => {
            std::fs::read(&absolute).map(|file| LocalBucket::body_of_file(file.into())).map_err(file_error)
        }
    }
}

async fn object(address: &BucketAddress, endpoint: Option<&str>, key: &str) -> Result<Bytes, SegmentError> {
    let object = bucket::open(address, endpoint).await?.get(key, GetRange::Full).await;
    Ok(object.map_err(|source| SegmentError::Object { key: key.to_owned(), source })?.body)
}
