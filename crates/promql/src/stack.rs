//! Room on the stack for deep expressions.
//!
//! Planning and evaluation recurse along the tree. Nearly all queries are shallow and stay on the caller's stack; the
//! few deep ones get a thread with a large one, so that how deep a query may be does not depend on who asks.

use std::io;
use std::thread;

/// Expressions up to this depth fit on the smallest stack in use, even in an unoptimised build.
pub(crate) const SHALLOW_DEPTH: usize = 24;
/// The stack of threads that work on deep expressions; only what is used of it becomes memory.
pub(crate) const DEEP_STACK_BYTES: usize = 64 << 20;

/// Runs `work` where there is room for a tree of this depth.
///
/// # Errors
/// When there is no thread to be had.
pub(crate) fn with_room<T: Send>(depth: usize, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    if depth <= SHALLOW_DEPTH {
        return Ok(work());
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(DEEP_STACK_BYTES).spawn_scoped(scope, work)?;
        thread.join().or_else(|panic| std::panic::resume_unwind(panic))
    })
}
