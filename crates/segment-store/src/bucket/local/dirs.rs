//! Directories whose names survive a crash.
//!
//! A new name in a directory is durable when the directory was fsynced after the name was given, and when that directory's
//! own name is durable, too.

use std::collections::HashSet;
use std::fmt::Debug;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// How a directory is made durable.
pub(super) trait SyncDir: Debug + Send + Sync {
    /// Makes the names in `dir` durable.
    fn sync(&self, dir: &Path) -> io::Result<()>;
}

/// With `fsync`.
#[derive(Debug)]
pub(super) struct Fsync;

impl SyncDir for Fsync {
    fn sync(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// Makes directories durable, and knows which are.
#[derive(Debug)]
pub(super) struct Dirs {
    sync: Box<dyn SyncDir>,
    /// Directories that are known to be there and durable.
    known: Mutex<HashSet<PathBuf>>,
}

impl Dirs {
    /// Makes `root`, an absolute path, with every directory above it, durably.
    pub(super) fn with_root(root: &Path, sync: Box<dyn SyncDir>) -> io::Result<Self> {
        let mut from_the_top: Vec<&Path> = root.ancestors().collect();
        from_the_top.reverse();
        for dir in from_the_top {
            let Some(above) = dir.parent() else { continue };
            let made = make(dir)?;
            match sync.sync(above) {
                Ok(()) => {}
                Err(error) if !made && is_not_ours(&error) => {}
                Err(error) => {
                    if made {
                        // The next to open must not take it for one that was always there.
                        let _ = fs::remove_dir(dir);
                    }
                    return Err(error);
                }
            }
        }
        Ok(Self { sync, known: Mutex::new(HashSet::from([root.to_owned()])) })
    }

    /// Makes `dir`, below the root, with every directory above it, durably.
    pub(super) fn make(&self, dir: &Path) -> io::Result<()> {
        if self.known.lock().contains(dir) {
            return Ok(());
        }
        if let Some(above) = dir.parent() {
            self.make(above)?;
            make(dir)?;
            // Also when it was there: whoever made it may not have come to make it durable.
            self.sync(above)?;
        }
        self.known.lock().insert(dir.to_owned());
        Ok(())
    }

    /// Makes the names in `dir` durable.
    pub(super) fn sync(&self, dir: &Path) -> io::Result<()> {
        self.sync.sync(dir)
    }
}

/// Makes one directory; whether it was missing.
fn make(dir: &Path) -> io::Result<bool> {
    match fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(_) if dir.is_dir() => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether the directory above one that was there belongs to the system: it may be searched only, or lie on a file system that
/// is read-only or knows no `fsync` of directories. No bucket made anything in it, since that fails where it cannot be fsynced.
fn is_not_ours(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::InvalidInput
            | ErrorKind::Unsupported
    )
}
