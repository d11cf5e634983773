//! Listing a directory tree in the order of keys.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

use super::super::{ListPage, ListedObject, Operation, check_key};
use super::header::HEADER_BYTES;

struct Walk<'a> {
    prefix: &'a str,
    start_after: &'a str,
    /// One more than the page holds, so that it is known whether there is more.
    limit: usize,
    found: Vec<ListedObject>,
}

pub(super) fn list(
    root: &Path,
    prefix: &str,
    start_after: Option<&str>,
    max_keys: usize,
) -> io::Result<ListPage> {
    let max_keys = max_keys.max(1);
    let mut walk = Walk {
        prefix,
        start_after: start_after.unwrap_or(""),
        limit: max_keys.saturating_add(1),
        found: Vec::new(),
    };
    walk.visit(root, "")?;
    let truncated = walk.found.len() > max_keys;
    walk.found.truncate(max_keys);
    Ok(ListPage { objects: walk.found, truncated })
}

impl Walk<'_> {
    /// Visits `dir`, whose keys begin with `dir_key`. Recursion ends with the longest key.
    fn visit(&mut self, dir: &Path, dir_key: &str) -> io::Result<()> {
        let mut names = self.names_in(dir, dir_key)?;
        // A directory is named with its slash here: so the names sort as the keys below them do.
        names.sort_unstable();
        for name in names {
            if self.found.len() == self.limit {
                return Ok(());
            }
            let (path, key) = (dir.join(&name), format!("{dir_key}{name}"));
            if name.ends_with('/') {
                self.visit(&path, &key)?;
                continue;
            }
            match fs::metadata(&path) {
                Ok(metadata) => {
                    let len = metadata.len().saturating_sub(HEADER_BYTES as u64);
                    self.found.push(ListedObject { key, len });
                }
                // Deleted since the directory was read.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The names in `dir` that a key of the page can be or go through.
    fn names_in(&self, dir: &Path, dir_key: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Ok(mut name) = entry.file_name().into_string() else { continue };
            if check_key(Operation::List, &name).is_err() {
                continue;
            }
            let is_dir = entry.file_type()?.is_dir();
            if is_dir {
                name.push('/');
            }
            let key = format!("{dir_key}{name}");
            let wanted = if is_dir {
                (key.starts_with(self.prefix) || self.prefix.starts_with(&key))
                    && (key.as_str() > self.start_after || self.start_after.starts_with(&key))
            } else {
                key.starts_with(self.prefix) && key.as_str() > self.start_after
            };
            if wanted {
                names.push(name);
            }
        }
        Ok(names)
    }
}
