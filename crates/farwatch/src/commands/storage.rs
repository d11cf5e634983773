//! The data that a command works on: which bucket, and whether nobody else uses it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use segment_store::compact::{
    Compactor, CompactorParts, CompactorSettings, KeepForever, NoListener, RetentionPolicy,
};
use segment_store::{Bucket, Clock, Retrying, Seed, ShardId, SystemClock, WorkOn};
use tenancy::Access;

use crate::bucket::{self, BucketOpenError};
use crate::cli::StorageArgs;
use crate::config::ENDPOINT_WITHOUT_S3;
use crate::config::topics::BucketAddress;
use crate::config::value::{ServerUrl, SettingValue as _};
use crate::data_lock::DataLock;
use crate::serve::directory::{self, DirectorySetupError};
use crate::serve::node::DirectoryRetention;

/// Where a server's data is that was told nothing else.
const DEFAULT_DATA_DIR: &str = "farwatch-data";

/// The one shard of a bucket.
pub(super) const SHARD: ShardId = ShardId(0);

/// Why there is no data to work on.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
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
    /// There is no such data directory: a wrong path would look like an empty one.
    #[error("there is no data in {}; give --data-dir or --bucket", path.display())]
    NoData {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The data directory cannot be locked.
    #[error("cannot lock the data directory {}", path.display())]
    Lock {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bucket cannot be opened.
    #[error(transparent)]
    Open(#[from] BucketOpenError),
    /// The tenant directory cannot be read, or not be trusted.
    #[error(transparent)]
    Directory(#[from] DirectorySetupError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Randomness(#[source] std::io::Error),
}

/// What a command does with the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// It only reads, whoever else uses the bucket.
    Read,
    /// It changes what is stored, and does more when it is alone.
    Change,
}

/// A bucket that was opened.
pub(super) struct Storage {
    pub(super) bucket: Arc<dyn Bucket>,
    pub(super) clock: Arc<dyn Clock>,
    /// The data directory of the server that the bucket belongs to, if it was named.
    pub(super) data_dir: Option<PathBuf>,
    /// Held when nobody else uses the bucket, by who changes it.
    alone: Option<DataLock>,
    /// Held by who reads, unless somebody has the data to itself.
    _shared: Option<DataLock>,
}

impl Storage {
    pub(super) async fn open(args: &StorageArgs, to: Use) -> Result<Self, StorageError> {
        let (address, owned) = address(args)?;
        let endpoint = args.s3_endpoint.as_ref().map(|text| {
            ServerUrl::parse(text).map_err(|expected| StorageError::Endpoint { text: text.clone(), expected })
        });
        let endpoint = endpoint.transpose()?;
        let data_dir = args.data_dir.clone().or_else(|| owned.clone());
        let lock = |lock: fn(&Path) -> io::Result<Option<DataLock>>, path: &Path| {
            lock(path).map_err(|source| StorageError::Lock { path: path.to_owned(), source })
        };
        let (alone, shared) = match (owned, to) {
            (Some(path), Use::Change) => (lock(DataLock::own, &path)?, None),
            (Some(path), Use::Read) => (None, lock(DataLock::share, &path)?),
            (None, _) => (None, None),
        };
        let opened = bucket::open(&address, endpoint.as_ref().map(ServerUrl::as_str)).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let bucket = Arc::new(Retrying::new(opened, Arc::clone(&clock), &seed()?));
        Ok(Self { bucket, clock, data_dir, alone, _shared: shared })
    }

    /// Whether nobody else uses the bucket.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// The tenant directory, where it is there and the data directory has the key to trust it by.
    pub(super) async fn access(&self) -> Result<Option<Arc<Access>>, StorageError> {
        let Some(data_dir) = &self.data_dir else { return Ok(None) };
        Ok(directory::published(&*self.bucket, data_dir, self.clock.now_ms()).await?)
    }

    /// A compactor; without `grace`, it keeps nothing when it is alone, and what readers may need when it is not. With none, it also
    /// deletes at once what was left behind by others. It keeps data for
    /// as long as the tenant directory says, and for ever where there is none.
    pub(super) async fn compactor(&self, grace: Option<Duration>) -> Result<Compactor, StorageError> {
        let retention: Arc<dyn RetentionPolicy> = match self.access().await? {
            Some(access) => Arc::new(DirectoryRetention(access)),
            None => Arc::new(KeepForever),
        };
        let mut settings = CompactorSettings::default();
        if self.is_alone() {
            settings.grace = Duration::ZERO;
        }
        settings.grace = grace.unwrap_or(settings.grace);
        if settings.grace.is_zero() {
            // Nobody reads or writes, so nothing that no manifest names is about to be named.
            settings.orphan_age = Duration::ZERO;
        }
        Ok(Compactor::new(CompactorParts {
            bucket: Arc::clone(&self.bucket),
            shard: SHARD,
            clock: Arc::clone(&self.clock),
            seed: seed()?,
            work_on: WorkOn::BlockingThreads,
            retention,
            listener: Arc::new(NoListener),
            settings,
        }))
    }
}

/// The bucket, and the data directory that it belongs to.
fn address(args: &StorageArgs) -> Result<(BucketAddress, Option<PathBuf>), StorageError> {
    if let Some(text) = &args.bucket {
        let address = BucketAddress::parse(text)
            .map_err(|expected| StorageError::Address { text: text.clone(), expected })?;
        return match &address {
            BucketAddress::Directory(_) if args.s3_endpoint.is_some() => Err(StorageError::EndpointWithoutS3),
            BucketAddress::Directory(path) => {
                exists(path)?;
                Ok((address, None))
            }
            BucketAddress::S3 { .. } => Ok((address, None)),
        };
    }
    if args.s3_endpoint.is_some() {
        return Err(StorageError::EndpointWithoutS3);
    }
    let data_dir = args.data_dir.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
    let path = data_dir.join("bucket");
    exists(&path)?;
    Ok((BucketAddress::Directory(path), Some(data_dir)))
}

fn exists(path: &Path) -> Result<(), StorageError> {
    if path.is_dir() { Ok(()) } else { Err(StorageError::NoData { path: path.to_owned() }) }
}

fn seed() -> Result<Seed, StorageError> {
    Seed::from_os().map_err(StorageError::Randomness)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_reads_needs_nobody_to_leave() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("bucket")).unwrap();
        let args =
            StorageArgs { data_dir: Some(directory.path().to_owned()), bucket: None, s3_endpoint: None };
        let server = DataLock::share(directory.path()).unwrap().unwrap();
        let reader = Storage::open(&args, Use::Read).await.unwrap();
        assert!(!Storage::open(&args, Use::Change).await.unwrap().is_alone());
        drop(server);
        assert!(!Storage::open(&args, Use::Change).await.unwrap().is_alone(), "somebody reads");
        assert!(DataLock::share(directory.path()).unwrap().is_some(), "a server can start");
        drop(reader);
        let alone = Storage::open(&args, Use::Change).await.unwrap();
        assert!(alone.is_alone());
        Storage::open(&args, Use::Read).await.unwrap();
    }
}
