//! A bucket in a local directory.
//!
//! Layout: the object `a/b` is the file `a/b` below the root: a header of 48 bytes (put-id and etag, see `header.rs`), then the
//! body. One file an object, so that one `fsync` makes an object and what is known of it durable together. What the bucket
//! keeps for itself is below `.farwatch/`; names that begin with a dot are never listed and never keys.
//!
//! Order of a put: write a temporary file, `fsync` it, give it its name, `fsync` the directory. The name is given by
//! - `link` for [`PutCondition::IfAbsent`], which fails when the name is taken, so it needs no lock;
//! - `rename` for the others, which replaces. A replacing put and a delete hold a `flock` while they look and act, also
//!   against other processes.
//!
//! Before a put answers that its condition does not hold, it makes the directory durable, too: what it met may be the object of
//! an earlier try whose last `fsync` failed, and a caller that finds its put-id there counts it as stored.
//!
//! Crash: before the name is given there is only a temporary file. Temporary files lie in a directory for each running
//! process, which holds a `flock` beside it; whoever opens the bucket later empties the directories that nobody holds.
//! After the name was given but before the directory is durable, the object may or may not be there: no put has returned.
//!
//! Cost: two `fsync`s a put. Needs a file system with hard links and `flock`, on Linux any of the usual ones.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Bucket, BucketError, Etag, GetRange, ListPage, Object, ObjectMeta, Operation, PutCondition, PutId,
    PutOutcome, check_key,
};

mod dirs;
mod header;
mod list;
mod slot;

use dirs::{Dirs, Fsync, SyncDir};
use header::{HEADER_BYTES, Header};
use slot::Slot;

/// The directory below the root that the bucket keeps for itself.
const PRIVATE_DIR: &str = ".farwatch";

/// A bucket in a local directory. Any number of processes may have it open.
#[derive(Debug)]
pub struct LocalBucket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    slot: Slot,
    next_temporary: AtomicU64,
    dirs: Dirs,
}

impl LocalBucket {
    /// Opens the bucket in directory `root`, which is made where it is missing, durably and with the directories above it, and
    /// removes temporary files that a crash left. Blocks for a few file operations.
    ///
    /// # Errors
    /// When the directory cannot be made, read or written.
    pub fn open(root: &Path) -> io::Result<Self> {
        Self::open_with(root, Box::new(Fsync))
    }

    fn open_with(root: &Path, sync: Box<dyn SyncDir>) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        let private_dir = root.join(PRIVATE_DIR);
        let dirs = Dirs::with_root(&root, sync)?;
        dirs.make(&private_dir)?;
        let shared =
            Shared { slot: Slot::take(&private_dir)?, next_temporary: AtomicU64::new(0), dirs, root };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The object's body in `file`, the bytes of a file that was in some local bucket; bytes of anything else stay as they
    /// are. The etag is not checked against the body.
    #[must_use]
    pub fn body_of_file(file: Bytes) -> Bytes {
        match file.first_chunk().and_then(Header::decode) {
            Some(_) => file.slice(HEADER_BYTES..),
            None => file,
        }
    }

    /// Does `work` on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: Operation,
        key: &str,
        work: impl FnOnce(&Shared) -> Result<T, BucketError> + Send + 'static,
    ) -> Result<T, BucketError> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(result) => result,
            Err(broken_off) => Err(BucketError::Unavailable {
                operation,
                key: key.to_owned(),
                outcome: PutOutcome::Unknown,
                source: Box::new(broken_off),
            }),
        }
    }
}

#[async_trait]
impl Bucket for LocalBucket {
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        check_key(Operation::Put, key)?;
        let owned_key = key.to_owned();
        self.blocking(Operation::Put, key, move |shared| shared.put(&owned_key, &body, &condition, put_id))
            .await
    }

    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError> {
        check_key(Operation::Get, key)?;
        let owned_key = key.to_owned();
        self.blocking(Operation::Get, key, move |shared| shared.get(&owned_key, &range)).await
    }

    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError> {
        check_key(Operation::Get, key)?;
        let (owned_key, known) = (key.to_owned(), known.cloned());
        self.blocking(Operation::Get, key, move |shared| {
            let (file, header, len) = shared.open_object(Operation::Get, &owned_key)?;
            if known == Some(header.etag()) {
                return Ok(None);
            }
            read_range(&owned_key, &file, &header, len, &GetRange::Full).map(Some)
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError> {
        check_key(Operation::Head, key)?;
        let owned_key = key.to_owned();
        self.blocking(Operation::Head, key, move |shared| {
            let (_, header, len) = shared.open_object(Operation::Head, &owned_key)?;
            Ok(ObjectMeta { len, etag: header.etag(), put_id: header.put_id })
        })
        .await
    }

    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError> {
        let (owned_prefix, start_after) = (prefix.to_owned(), start_after.map(str::to_owned));
        self.blocking(Operation::List, prefix, move |shared| {
            list::list(&shared.root, &owned_prefix, start_after.as_deref(), max_keys)
                .map_err(|error| failed(Operation::List, &owned_prefix, PutOutcome::NotDone, error))
        })
        .await
    }

    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        for key in keys {
            check_key(Operation::Delete, key)?;
        }
        let first = keys.first().map_or("", String::as_str);
        let keys = keys.to_vec();
        self.blocking(Operation::Delete, first, move |shared| shared.delete_many(&keys)).await
    }
}

impl Shared {
    fn put(
        &self,
        key: &str,
        body: &[u8],
        condition: &PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError> {
        let not_done = |error| failed(Operation::Put, key, PutOutcome::NotDone, error);
        let header = Header::of(body, put_id);
        let temporary = self.write_temporary(&header, body).map_err(not_done)?;
        let path = self.path_of(key);
        let dir = path.parent().unwrap_or(&self.root);
        self.dirs.make(dir).map_err(not_done)?;
        match condition {
            PutCondition::IfAbsent => match fs::hard_link(&temporary.path, &path) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    return Err(self.precondition_failed(key, dir));
                }
                Err(error) => return Err(not_done(error)),
            },
            PutCondition::Always => {
                let _lock = self.lock().map_err(not_done)?;
                fs::rename(&temporary.path, &path).map_err(not_done)?;
            }
            PutCondition::IfMatch(etag) => {
                let _lock = self.lock().map_err(not_done)?;
                match self.open_object(Operation::Put, key) {
                    Ok((_, found, _)) if found.etag() == *etag => {}
                    Ok(_) | Err(BucketError::NotFound { .. }) => {
                        return Err(self.precondition_failed(key, dir));
                    }
                    Err(error) => return Err(error),
                }
                fs::rename(&temporary.path, &path).map_err(not_done)?;
            }
        }
        // Whether the name survives a crash now depends on the directory alone; until that is known, so is the outcome.
        self.dirs.sync(dir).map_err(|error| failed(Operation::Put, key, PutOutcome::Unknown, error))?;
        Ok(header.etag())
    }

    /// The answer that what is in `dir` keeps `key` from being put, once that is durable.
    fn precondition_failed(&self, key: &str, dir: &Path) -> BucketError {
        match self.dirs.sync(dir) {
            Ok(()) => BucketError::PreconditionFailed { operation: Operation::Put, key: key.to_owned() },
            Err(error) => failed(Operation::Put, key, PutOutcome::NotDone, error),
        }
    }

    /// Writes header and body to a new temporary file, durably.
    fn write_temporary(&self, header: &Header, body: &[u8]) -> io::Result<Temporary> {
        let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = Temporary { path: self.slot.dir().join(number.to_string()) };
        let mut file = OpenOptions::new().write(true).create_new(true).open(&temporary.path)?;
        file.write_all(&header.encode())?;
        file.write_all(body)?;
        file.sync_data()?;
        Ok(temporary)
    }

    fn get(&self, key: &str, range: &GetRange) -> Result<Object, BucketError> {
        let (file, header, len) = self.open_object(Operation::Get, key)?;
        read_range(key, &file, &header, len, range)
    }

    fn open_object(&self, operation: Operation, key: &str) -> Result<(File, Header, u64), BucketError> {
        let fail = |error| failed(operation, key, PutOutcome::NotDone, error);
        let file = match File::open(self.path_of(key)) {
            Ok(file) => file,
            // A file where the key has a directory: then there is no such object either.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(BucketError::NotFound { operation, key: key.to_owned() });
            }
            Err(error) => return Err(fail(error)),
        };
        let metadata = file.metadata().map_err(fail)?;
        if metadata.is_dir() {
            return Err(BucketError::NotFound { operation, key: key.to_owned() });
        }
        let foreign = || BucketError::invalid(operation, key, "the file was not written by this bucket");
        let len = metadata.len().checked_sub(HEADER_BYTES as u64).ok_or_else(foreign)?;
        let mut bytes = [0; HEADER_BYTES];
        file.read_exact_at(&mut bytes, 0).map_err(fail)?;
        let header = Header::decode(&bytes).ok_or_else(foreign)?;
        Ok((file, header, len))
    }

    fn delete_many(&self, keys: &[String]) -> Result<(), BucketError> {
        let mut changed_dirs = HashSet::new();
        for key in keys {
            let fail = |error| failed(Operation::Delete, key, PutOutcome::Unknown, error);
            let path = self.path_of(key);
            let _lock = self.lock().map_err(fail)?;
            match fs::remove_file(&path) {
                Ok(()) => drop(path.parent().map(|dir| changed_dirs.insert(dir.to_owned()))),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(fail(error)),
            }
        }
        for dir in changed_dirs {
            self.dirs.sync(&dir).map_err(|error| {
                failed(Operation::Delete, &dir.to_string_lossy(), PutOutcome::Unknown, error)
            })?;
        }
        Ok(())
    }

    fn path_of(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Waits for the lock that replacing and deleting need. Every call opens the file anew, since a `flock` belongs to an
    /// open file: so threads of one process exclude each other, too. Dropping the file unlocks.
    fn lock(&self) -> io::Result<File> {
        let path = self.root.join(PRIVATE_DIR).join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
        file.lock()?;
        Ok(file)
    }
}

/// A temporary file, removed when dropped (which a rename has done already).
struct Temporary {
    path: PathBuf,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Left behind at worst: then the next to open the bucket removes it.
        let _ = fs::remove_file(&self.path);
    }
}

fn read_range(
    key: &str,
    file: &File,
    header: &Header,
    len: u64,
    range: &GetRange,
) -> Result<Object, BucketError> {
    let bytes = range.resolve(len).ok_or_else(|| BucketError::range_not_satisfiable(key, range, len))?;
    let fail = |error| failed(Operation::Get, key, PutOutcome::NotDone, error);
    let size = usize::try_from(bytes.end - bytes.start).map_err(|error| fail(io::Error::other(error)))?;
    let mut body = vec![0; size];
    file.read_exact_at(&mut body, HEADER_BYTES as u64 + bytes.start).map_err(fail)?;
    Ok(Object { body: Bytes::from(body), etag: header.etag(), len })
}

/// Sorts an error of the file system by what it means for the caller.
fn failed(operation: Operation, key: &str, outcome: PutOutcome, error: io::Error) -> BucketError {
    let key = key.to_owned();
    match error.kind() {
        ErrorKind::PermissionDenied => BucketError::Denied { operation, key, source: Box::new(error) },
        ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            let why = "one key is the directory of another one, which a local bucket cannot hold";
            BucketError::Invalid { operation, key, source: why.into() }
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem
            if outcome == PutOutcome::NotDone =>
        {
            BucketError::NoRoom { operation, key, source: Box::new(error) }
        }
        _ => BucketError::Unavailable { operation, key, outcome, source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests;
