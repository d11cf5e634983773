//! What the operating system says of this process. Linux's `/proc`; elsewhere there is nothing to say.

use std::fs;

/// What the process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ProcessStats {
    /// CPU time of all threads in user and kernel mode, seconds.
    pub cpu_seconds: f64,
    /// Memory in RAM, bytes.
    pub resident_memory_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Threads.
    pub threads: u64,
}

impl ProcessStats {
    /// Reads them now; `None` where there is no `/proc`.
    #[must_use]
    pub fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        let stats = parse(&stat, rustix::param::clock_ticks_per_second(), rustix::param::page_size() as u64)?;
        Some(Self { open_fds, ..stats })
    }
}

/// Reads a line of `/proc/PID/stat` (proc(5)); its second field may hold anything, in parentheses.
fn parse(stat: &str, ticks_per_second: u64, page_bytes: u64) -> Option<ProcessStats> {
    /// Of the fields after the parentheses: the third of the page is the first here.
    const UTIME: usize = 14 - 3;
    const STIME: usize = 15 - 3;
    const THREADS: usize = 20 - 3;
    const RSS: usize = 24 - 3;
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(ProcessStats {
        cpu_seconds: (number(UTIME)? + number(STIME)?) as f64 / ticks_per_second as f64,
        resident_memory_bytes: number(RSS)? * page_bytes,
        open_fds: 0,
        threads: number(THREADS)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_stat_line_whatever_the_name() {
        let line = "7 (a) b (c) S 1 7 7 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 9 0 100 1000000 300 18446744073709551615";
        let expected =
            ProcessStats { cpu_seconds: 3.0, resident_memory_bytes: 1_228_800, open_fds: 0, threads: 9 };
        assert_eq!(parse(line, 100, 4096), Some(expected));
        assert_eq!(parse("7 (x) S 1", 100, 4096), None);
    }

    #[test]
    fn reads_this_process() {
        let stats = ProcessStats::read().unwrap();
        assert!(stats.resident_memory_bytes > 1 << 20 && stats.open_fds > 2 && stats.threads > 0);
    }
}
