//! Bounds of the server around the services.

use std::time::Duration;

/// Connections of one port at the same time; more wait to be accepted. Each may hold a request body, whose sizes the
/// services bound; this is far above what senders and dashboards of one process open.
pub(crate) const MAX_CONNECTIONS: usize = 4096;

/// How long a connection may take to send a request's head, idle time between requests included. Senders that scrape once
/// a minute keep their connection.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(90);

/// How often an HTTP/2 connection on which nothing comes is asked whether the other side is still there.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(30);

/// How long it may take to say so.
pub(crate) const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Streams of one HTTP/2 connection at the same time.
pub(crate) const MAX_STREAMS: u32 = 256;

/// How long requests that run when the process is told to stop may take to end.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(15);

/// How long storing what is pending may take after that. It has had the whole of [`DRAIN_TIME`] already, and nothing that is
/// lost was acknowledged; together they stay below the 30 s after which supervisors commonly kill.
pub(crate) const FLUSH_TIME: Duration = Duration::from_secs(5);

/// How long what only reads the bucket may take to end after that: a read that hangs is nothing to wait for.
pub(crate) const BACKGROUND_TIME: Duration = Duration::from_secs(3);
