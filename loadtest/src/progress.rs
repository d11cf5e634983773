//! Lines of progress on standard error, at most one every few seconds, so that logs stay short.

use std::sync::Mutex;
use std::time::Instant;

use crate::clock;
use crate::limits::PROGRESS_EVERY;

/// Progress of one piece of work towards a known total.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    /// `None`: nothing is said.
    total: Option<usize>,
    state: Mutex<(usize, Instant)>,
}

impl Progress {
    /// `what` is a phrase like "samples sent".
    #[must_use]
    pub fn new(what: &'static str, total: usize) -> Self {
        Self { what, total: Some(total), state: Mutex::new((0, clock::now())) }
    }

    /// Progress that nobody wants to hear of.
    #[must_use]
    pub fn silent() -> Self {
        Self { what: "", total: None, state: Mutex::new((0, clock::now())) }
    }

    /// Counts `n` more as done, and says so when nothing was said for a while.
    pub fn add(&self, n: usize) {
        let (Some(total), Ok(mut state)) = (self.total, self.state.lock()) else { return };
        state.0 += n;
        if state.1.elapsed() >= PROGRESS_EVERY {
            state.1 = clock::now();
            note(&format!("{} of {total} {}", state.0, self.what));
        }
    }
}

/// Says one thing on standard error.
pub fn note(text: &str) {
    eprintln!("loadtest: {text}");
}
