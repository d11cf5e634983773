//! A small file system in memory, to be filled.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use crate::commands::CommandError;

/// The file that takes up the room.
const BALLAST: &str = "ballast";

/// A file system of some size. It lives in a mount namespace of a process that does nothing else, so that it is gone, whatever
/// happens, when that process is; it is used through that process's root.
#[derive(Debug)]
pub(super) struct SmallDisk {
    _holder: Child,
    /// The holder ends when this is closed.
    _leash: ChildStdin,
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB over the directory `dir`, which is made where it is missing.
    ///
    /// # Errors
    /// [`CommandError::NotRun`] where mounting is not allowed.
    pub(super) async fn mount(dir: &Path, mib: u32) -> Result<Self, CommandError> {
        let not_run =
            |why: String| CommandError::NotRun(format!("a disk to be filled cannot be mounted here: {why}"));
        let dir = std::path::absolute(dir).map_err(|error| not_run(error.to_string()))?;
        std::fs::create_dir_all(&dir).map_err(|error| not_run(error.to_string()))?;
        // As root; otherwise as one who is root in a namespace of his own, where the system lets him.
        match Self::mount_in(&["--mount"], &dir, mib).await {
            Ok(disk) => Ok(disk),
            Err(_) => Self::mount_in(&["--map-root-user", "--mount"], &dir, mib).await.map_err(not_run),
        }
    }

    /// Mounts one in the namespaces that `unshare` is to make; the error is what it said.
    async fn mount_in(namespaces: &[&str], dir: &Path, mib: u32) -> Result<Self, String> {
        let script = format!("mount -t tmpfs -o size={mib}m tmpfs \"$0\" && echo mounted && cat");
        let mut holder = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", &script])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("unshare: {error}"))?;
        let leash = holder.stdin.take().ok_or("unshare has no pipes")?;
        let said = holder.stdout.take().ok_or("unshare has no pipes")?;
        let said = BufReader::new(said).lines().next_line().await;
        if !matches!(&said, Ok(Some(line)) if line == "mounted") {
            let output = holder.wait_with_output().await.map_err(|error| error.to_string())?;
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        let pid = holder.id().ok_or("unshare has ended")?;
        let below_root = dir.strip_prefix("/").unwrap_or(dir);
        let path = Path::new("/proc").join(pid.to_string()).join("root").join(below_root);
        Ok(Self { _holder: holder, _leash: leash, path })
    }

    /// Where it is for everybody else.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes up all room that is left.
    pub(super) fn fill(&self) -> std::io::Result<()> {
        let mut ballast = OpenOptions::new().create(true).append(true).open(self.path.join(BALLAST))?;
        // The last bytes, too.
        for size in [1 << 20, 1 << 12, 1] {
            let zeros = vec![0; size];
            while write_all_of(&mut ballast, &zeros)? {}
        }
        Ok(())
    }

    /// Gives it back.
    pub(super) fn free(&self) -> std::io::Result<()> {
        std::fs::remove_file(self.path.join(BALLAST))
    }
}

/// Whether there was room for it.
fn write_all_of(file: &mut File, bytes: &[u8]) -> std::io::Result<bool> {
    match file.write(bytes) {
        Ok(written) => Ok(written > 0),
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_disk_is_full_until_it_is_freed_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let disk = match SmallDisk::mount(dir.path(), 2).await {
            Ok(disk) => disk,
            Err(CommandError::NotRun(why)) => return eprintln!("not run: {why}"),
            Err(error) => panic!("{error}"),
        };
        let file = disk.path().join("file");
        std::fs::write(&file, [1; 4_096]).unwrap();
        disk.fill().unwrap();
        let error = std::fs::write(disk.path().join("more"), [1; 4_096]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        disk.free().unwrap();
        std::fs::write(disk.path().join("more"), [1; 4_096]).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), [1; 4_096]);
        drop(disk);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "it was another file system");
    }
}
