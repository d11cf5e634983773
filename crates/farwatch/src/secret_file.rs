//! Files that only their owner may read.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Writes `text` to `path` with mode 0600, whole or not at all, and durably.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let directory = directory_of(path);
    std::fs::create_dir_all(directory)?;
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = directory.join(name);
    // What a crashed start left would keep its own mode.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

/// Makes the file `path` with mode 0600 and writes `text` to it, durably. What fails half-way leaves no file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when anything has that name, and when the file system refuses.
pub(crate) fn create(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(text).and_then(|()| file.sync_all());
    let written = written.and_then(|()| File::open(directory_of(path))?.sync_all());
    if written.is_err() {
        // Without its text it would only be in the way of the next start; the error to tell is the first one.
        let _ = std::fs::remove_file(path);
    }
    written
}

/// The directory that `path` is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_may_read_it_whatever_lay_there() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/key");
        for text in ["one", "two"] {
            write(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
        assert_eq!(std::fs::read_dir(directory.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn what_lies_there_is_never_replaced_by_a_new_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        create(&path, b"one").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(create(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one");
        assert!(create(&directory.path().join("missing/key"), b"one").is_err());
        assert!(!directory.path().join("missing").exists());
    }
}
