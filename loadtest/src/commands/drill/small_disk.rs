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
    /// Mounts one of `mib` MiB over the empty directory `dir`.
    ///
    /// # Errors
    /// [`CommandError::NotRun`] where mounting is not allowed.
    pub(super) async fn mount(dir: &Path, mib: u32) -> Result<Self, CommandError> {
        let not_run = |reason: &str| {
            CommandError::NotRun(format!("a disk that can be filled needs the right to mount one: {reason}"))
        };
        std::fs::create_dir_all(dir).map_err(|error| not_run(&error.to_string()))?;
        let script = format!("mount -t tmpfs -o size={mib}m tmpfs \"$0\" && echo mounted && cat");
        let mut holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| not_run(&format!("unshare: {error}")))?;
        let pipes = holder.stdin.take().zip(holder.stdout.take());
        let (leash, said) = pipes.ok_or_else(|| not_run("no pipes"))?;
        let said = BufReader::new(said).lines().next_line().await;
        if !matches!(&said, Ok(Some(line)) if line == "mounted") {
            let output = holder.wait_with_output().await.map_err(|error| not_run(&error.to_string()))?;
            return Err(not_run(String::from_utf8_lossy(&output.stderr).trim()));
        }
        let pid = holder.id().ok_or_else(|| not_run("unshare has ended"))?;
        let absolute = std::path::absolute(dir).map_err(|error| not_run(&error.to_string()))?;
        let below_root = absolute.strip_prefix("/").unwrap_or(&absolute);
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
