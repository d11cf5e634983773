//! What a process and its children have used, from Linux's `/proc`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::limits::{SETTLE_WINDOW, SETTLED_CPU_SHARE};

/// Linux reports CPU times to user space in hundredths of a second on every architecture it has.
const TICKS_PER_S: f64 = 100.0;

/// The length to which the kernel cuts a process's name.
const COMM_LEN: usize = 15;

/// What a process and all its descendants have used since they started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system time, with that of descendants that have ended and were waited for.
    pub cpu_s: f64,
    /// Peak resident memory: the sum of the `VmHWM` of all that are alive.
    pub peak_rss_bytes: u64,
}

/// A process that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    /// `/proc` did not give or did not say it.
    #[error("process {pid} cannot be read from /proc: it has ended, or belongs to somebody else")]
    Unreadable {
        /// Its id.
        pid: u32,
    },
    /// Not exactly one process of that name.
    #[error("{} processes are called {name:?} ({pids:?}): give its --pid", pids.len())]
    NotOne {
        /// The name asked for.
        name: String,
        /// Those that have it.
        pids: Vec<u32>,
    },
}

/// The fields of `/proc/PID/stat` that count here.
#[derive(Debug, PartialEq)]
struct Stat {
    comm: String,
    parent: u32,
    cpu_ticks: u64,
}

/// Reads what `pid` and its descendants have used.
///
/// # Errors
/// When there is no such process.
pub fn usage(pid: u32) -> Result<Usage, ProcError> {
    let stats = all_stats();
    if !stats.contains_key(&pid) {
        return Err(ProcError::Unreadable { pid });
    }
    let mut usage = Usage::default();
    for (&member, stat) in stats.iter().filter(|(member, _)| descends_from(&stats, **member, pid)) {
        usage.cpu_s += stat.cpu_ticks as f64 / TICKS_PER_S;
        let status = std::fs::read_to_string(format!("/proc/{member}/status")).unwrap_or_default();
        usage.peak_rss_bytes += parse_peak_rss(&status).unwrap_or(0);
    }
    Ok(usage)
}

/// Lets the peak of resident memory of `pid`, without its descendants, begin anew; see proc_pid_clear_refs(5).
///
/// # Errors
/// When there is no such process.
pub fn reset_peak_rss(pid: u32) -> Result<(), ProcError> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").map_err(|_| ProcError::Unreadable { pid })
}

/// The one process whose name (the program's file name, as `ps -o comm` shows it) is `name`.
///
/// # Errors
/// When none or several have it.
pub fn find(name: &str) -> Result<u32, ProcError> {
    let cut: String = name.chars().take(COMM_LEN).collect();
    let stats = all_stats();
    let mut pids: Vec<u32> = stats.iter().filter(|(_, stat)| stat.comm == cut).map(|(pid, _)| *pid).collect();
    pids.sort_unstable();
    match pids[..] {
        [pid] => Ok(pid),
        _ => Err(ProcError::NotOne { name: name.to_owned(), pids }),
    }
}

/// Waits until `pid` is at rest, so that the work it does in the background counts as well; at most `longest`.
/// Returns whether it came to rest.
///
/// # Errors
/// When the process ends meanwhile.
pub async fn settle(pid: u32, longest: Duration) -> Result<bool, ProcError> {
    let start = clock::now();
    let mut before = usage(pid)?;
    while start.elapsed() < longest {
        let window_start = clock::now();
        tokio::time::sleep(SETTLE_WINDOW.min(longest)).await;
        let after = usage(pid)?;
        if after.cpu_s - before.cpu_s < SETTLED_CPU_SHARE * window_start.elapsed().as_secs_f64() {
            return Ok(true);
        }
        before = after;
    }
    Ok(false)
}

fn all_stats() -> HashMap<u32, Stat> {
    let Ok(entries) = std::fs::read_dir(Path::new("/proc")) else { return HashMap::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, parse_stat(&text)?))
    })
    .collect()
}

fn descends_from(stats: &HashMap<u32, Stat>, mut pid: u32, ancestor: u32) -> bool {
    // Parents form a tree; the bound is for a tree that changed while it was read.
    for _ in 0..stats.len() {
        if pid == ancestor {
            return true;
        }
        match stats.get(&pid) {
            Some(stat) => pid = stat.parent,
            None => return false,
        }
    }
    false
}

/// `pid (comm) state ppid ...`, where the name may itself hold spaces and parentheses; see proc_pid_stat(5).
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.split_once('(')?;
    let (comm, rest) = rest.rsplit_once(')')?;
    // The first of these is field 3, the state.
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<i64>().ok();
    let parent = u32::try_from(field(4)?).ok()?;
    let cpu_ticks = (14..=17).map(field).sum::<Option<i64>>()?;
    Some(Stat { comm: comm.to_owned(), parent, cpu_ticks: u64::try_from(cpu_ticks).ok()? })
}

/// `VmHWM` of `/proc/PID/status` in bytes; a process that is just ending has none.
fn parse_peak_rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_name() {
        let line = "4242 (a (b) c) S 7 4242 4242 0 -1 4194304 1 2 3 4 150 50 20 3 20 0 9 0 1000 1 2";
        let expected = Stat { comm: "a (b) c".to_owned(), parent: 7, cpu_ticks: 223 };
        assert_eq!(parse_stat(line), Some(expected));
        for broken in ["", "1 (x)", "1 (x) S", "1 (x) S 7 1 1 0 -1 4 1 2 3 4 a b c d", "1 x S 7"] {
            assert_eq!(parse_stat(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn the_peak_is_read() {
        assert_eq!(
            parse_peak_rss("Name:\tx\nVmPeak:\t 900 kB\nVmHWM:\t  123 kB\nVmRSS:\t 5 kB\n"),
            Some(123 * 1024)
        );
        assert_eq!(parse_peak_rss("Name:\tx\n"), None);
        assert_eq!(parse_peak_rss("VmHWM:\t x kB\n"), None);
    }

    #[test]
    fn this_process_and_its_children_are_counted() {
        let own = std::process::id();
        let before = usage(own).unwrap();
        assert!(before.peak_rss_bytes > 100_000);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let stats = all_stats();
        assert!(descends_from(&stats, child.id(), own));
        assert!(!descends_from(&stats, own, child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(matches!(usage(u32::MAX), Err(ProcError::Unreadable { pid: u32::MAX })));
        assert!(matches!(find("no-such-process"), Err(ProcError::NotOne { pids, .. }) if pids.is_empty()));
    }
}
