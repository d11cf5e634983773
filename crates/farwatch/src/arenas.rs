//! How much freed memory the allocator keeps.
//!
//! glibc gives threads arenas of their own, up to eight a core, and what was freed in one is not used in another. Compaction computes on
//! whichever thread is free, so each arena comes to hold as much as a merge takes. With one arena a core the same work takes half the
//! memory and no more CPU. glibc reads the number from the environment when a process starts, so the process starts itself once more.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::{env, thread};

/// What glibc calls the number of arenas.
const VARIABLE: &str = "MALLOC_ARENA_MAX";

/// Lets this process, which has not begun anything yet, have one arena a core; unless its user has said how many. Under the same
/// process id it starts anew, and this returns when it has. Where that cannot be done, it goes on as it is and takes more memory.
pub fn limit() {
    if !cfg!(target_env = "gnu") || env::var_os(VARIABLE).is_some() {
        return;
    }
    let Ok(program) = env::current_exe() else { return };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut args = env::args_os();
    let mut again = Command::new(&program);
    again.arg0(args.next().unwrap_or_else(|| program.into()));
    // It only returns when it did not work.
    let _ = again.args(args).env(VARIABLE, cores.to_string()).exec();
}
