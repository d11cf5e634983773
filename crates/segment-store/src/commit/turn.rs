//! Segments get their names in one order and are offered to the tail in the same, though flushes run beside each other.
//!
//! Why: the tail takes what comes with an earlier name than it has folded in already for late data, which it does not sort in.
//! An overwrite in it would not be seen until a restart.
//!
//! With its name, each offer gets a place behind the one before it. A flush holds its place among the flights before it gets a
//! name, so whoever is waited for is under way, and waits only for names that are earlier still: somebody is always first.

use tokio::sync::oneshot;

/// Where the next place is.
#[derive(Debug)]
pub(super) struct Queue {
    last: oneshot::Receiver<()>,
}

impl Queue {
    pub(super) fn new() -> Self {
        // The sender is gone: the first waits for nobody.
        Self { last: oneshot::channel().1 }
    }

    /// A place behind all others.
    pub(super) fn join(&mut self) -> Place {
        let (end, ended) = oneshot::channel();
        Place { before: std::mem::replace(&mut self.last, ended), end }
    }
}

/// A place in the queue. Who has one waits for the turn, even with nothing to offer: those behind rely on it.
#[derive(Debug)]
pub(super) struct Place {
    before: oneshot::Receiver<()>,
    end: oneshot::Sender<()>,
}

impl Place {
    pub(super) async fn turn(self) -> Turn {
        // However the turn before ended, it has.
        let _ = self.before.await;
        Turn { _end: self.end }
    }
}

/// The turn to offer, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _end: oneshot::Sender<()>,
}
