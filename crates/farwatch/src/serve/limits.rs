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

/// How long a server waits at its start for a command that has the data directory to itself.
pub(crate) const DATA_DIR_WAIT: Duration = Duration::from_secs(20);

/// How often it looks meanwhile.
pub(crate) const DATA_DIR_RETRY: Duration = Duration::from_millis(250);

/// Streams of one HTTP/2 connection at the same time.
pub(crate) const MAX_STREAMS: u32 = 256;

/// How long requests that run when the process is told to stop may take to end.
pub(crate) const DRAIN_TIME: Duration = Duration::from_secs(15);

/// How long storing what is pending may take after that. It has had the whole of [`DRAIN_TIME`] already, and nothing that is
/// lost was acknowledged; together they stay below the 30 s after which supervisors commonly kill.
pub(crate) const FLUSH_TIME: Duration = Duration::from_secs(5);

/// How long what only reads the bucket may take to end after that: a read that hangs is nothing to wait for.
pub(crate) const BACKGROUND_TIME: Duration = Duration::from_secs(3);

/// How often a process looks whether there is something to report to the control plane.
pub(crate) const ACTIVITY_LOOK: Duration = Duration::from_secs(5);

/// A process reports at most so often: each report is a request that is paid.
pub(crate) const ACTIVITY_PAUSE: Duration = Duration::from_secs(60);

/// How often a process looks whether requests were turned away for their credentials.
pub(crate) const REJECTIONS_LOOK: Duration = Duration::from_secs(5);

/// Of those there is a line in the log at most so often: a client with a bad key tries for days.
pub(crate) const REJECTIONS_PAUSE: Duration = Duration::from_secs(60);

/// A process that does nothing for anybody says so often what it used up.
pub(crate) const RESOURCES_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Reports of one process that wait for a control plane: a day's.
pub(crate) const MAX_REPORTS_KEPT: usize = 24 * 60;

/// Metric names of a tenant that are counted apart between two reports. The rest has no name in bills.
pub(crate) const MAX_COUNTED_NAMES: usize = 5_000;

/// Largest answer of a lease server, in bytes; for the most tenants that are asked for at once it has some 40 KiB.
pub(super) const MAX_LEASE_ANSWER_BYTES: usize = 256 << 10;

/// Flushes under way whose samples are counted by name.
pub(crate) const MAX_FLUSHES_COUNTED: usize = 1_024;
