//! Opens the object store that an address names.

use std::path::PathBuf;
use std::sync::Arc;

use segment_store::{Bucket, LocalBucket};

use crate::config::topics::BucketAddress;

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
        BucketAddress::S3 { .. } => {
            let _ = s3_endpoint;
            todo!()
        }
    }
}
