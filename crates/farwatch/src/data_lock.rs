//! Who uses a data directory: servers share it, a command that must be alone has it to itself.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// The file that is locked. It stays empty.
const FILE: &str = "lock";

/// A hold on a data directory, until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
}

impl DataLock {
    /// Uses `data_dir` beside others that share it; nothing when somebody has it alone.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub fn share(data_dir: &Path) -> io::Result<Option<Self>> {
        Self::take(data_dir, File::try_lock_shared)
    }

    /// Uses `data_dir` alone; nothing when somebody uses it.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub fn own(data_dir: &Path) -> io::Result<Option<Self>> {
        Self::take(data_dir, File::try_lock)
    }

    fn take(
        data_dir: &Path,
        lock: impl FnOnce(&File) -> Result<(), TryLockError>,
    ) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(data_dir.join(FILE))?;
        match lock(&file) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_share_and_one_is_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (share, own) =
            (|| DataLock::share(directory.path()).unwrap(), || DataLock::own(directory.path()).unwrap());
        let (first, second) = (share(), share());
        assert!(first.is_some() && second.is_some() && own().is_none());
        drop(first);
        assert!(own().is_none());
        drop(second);
        let alone = own();
        assert!(alone.is_some() && share().is_none() && own().is_none());
        drop(alone);
        assert!(share().is_some());
    }
}
