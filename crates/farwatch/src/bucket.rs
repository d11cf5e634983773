//! Opens the object store that an address names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use segment_store::{Bucket, LocalBucket, S3Bucket, S3Settings};

use crate::config::topics::BucketAddress;

/// The directory that every local bucket keeps for itself below its root.
const PRIVATE_DIR: &str = ".farwatch";

/// Why a bucket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BucketOpenError {
    /// The directory cannot be used.
    #[error("cannot use the directory {} as a bucket", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Opens the bucket at `address`; `s3_endpoint` is that of an S3 server that is not Amazon's.
///
/// # Errors
/// [`BucketOpenError`].
pub async fn open(
    address: &BucketAddress,
    s3_endpoint: Option<&str>,
) -> Result<Arc<dyn Bucket>, BucketOpenError> {
    match address {
        BucketAddress::Directory(path) => Ok(Arc::new(
            LocalBucket::open(path)
                .map_err(|source| BucketOpenError::Directory { path: path.clone(), source })?,
        )),
        BucketAddress::S3 { name, prefix } => {
            let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
            Ok(Arc::new(S3Bucket::connect(&S3Settings::new(name, prefix, s3_endpoint)).await))
        }
    }
}

/// The root of the local bucket that `path` lies in, if it lies in one.
#[must_use]
pub fn root_above(path: &Path) -> Option<&Path> {
    path.ancestors().skip(1).find(|directory| directory.join(PRIVATE_DIR).is_dir())
}
