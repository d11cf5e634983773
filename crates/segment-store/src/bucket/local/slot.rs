//! A directory for the temporary files of one running process.
//!
//! Slot `n` is the directory `temporary-{n}` with the file `temporary-{n}.lock` beside it, which its holder keeps under
//! `flock`. The operating system lets go of that when the process ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// More processes than this cannot have one bucket open.
const MAX_SLOTS: usize = 256;

#[derive(Debug)]
pub(super) struct Slot {
    dir: PathBuf,
    _lock: File,
}

impl Slot {
    /// Empties every slot below `private_dir` that nobody holds, and takes the first.
    pub(super) fn take(private_dir: &Path) -> io::Result<Self> {
        let mut taken: Option<Self> = None;
        for number in 0..MAX_SLOTS {
            let dir = private_dir.join(format!("temporary-{number}"));
            if taken.is_some() && !dir.exists() {
                break;
            }
            let lock_path = private_dir.join(format!("temporary-{number}.lock"));
            let lock = OpenOptions::new().write(true).create(true).truncate(false).open(lock_path)?;
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(error),
            }
            empty(&dir)?;
            taken.get_or_insert(Self { dir, _lock: lock });
        }
        taken.ok_or_else(|| io::Error::other(format!("{MAX_SLOTS} processes have the bucket open already")))
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }
}

fn empty(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir(dir)
}
