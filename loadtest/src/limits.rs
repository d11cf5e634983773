//! What the tool bounds, and why.

use std::time::Duration;

/// Most bytes of encoded payloads that are held at a time, since they are all made before the clock starts.
pub const PAYLOADS_BYTES_MAX: usize = 4 << 30;

/// Most series a workload may have: each costs about 0.5 KB here.
pub const SERIES_MAX: usize = 5_000_000;

/// Most bytes of a response that are read. A window of a verification is a few MB.
pub const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// Samples that one verification query asks for at most (unless a single instant holds more), far below the
/// limits that servers put on a query.
pub const VERIFY_SAMPLES_PER_QUERY: usize = 100_000;

/// Findings that are listed in full; the others are only counted.
pub const FINDINGS_LISTED_MAX: usize = 20;

/// How long one request may take before it counts as an error: longer than servers try, so that what they answer in the end is heard.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);

/// How long a server may take from its start until it is ready.
pub const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause between two looks at a server that is starting: start-to-ready is exact to about this.
pub const READY_POLL: Duration = Duration::from_millis(1);

/// Pause between two polls for a sample, so that polling itself does not take a core from the server.
/// Visibility is exact to about this and one query.
pub const VISIBLE_POLL: Duration = Duration::from_millis(1);

/// A server is at rest when it uses less than this share of one core for a [`SETTLE_WINDOW`].
pub const SETTLED_CPU_SHARE: f64 = 0.05;

/// See [`SETTLED_CPU_SHARE`].
pub const SETTLE_WINDOW: Duration = Duration::from_secs(1);

/// Least time between two lines of progress.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// In how many turns a question's time is given to each server, so that none of them gets only the bad moments of the
/// machine.
pub const QUERY_TURNS: u32 = 3;

/// Requests at the beginning of a turn that are not measured, so that caches are warm: at most so many, and none that
/// begins after the turn's time.
pub const QUERIES_WARM_UP: usize = 2;

/// Most measured requests of a turn.
pub const QUERY_RUNS_MAX: usize = 200;

/// Pause between two looks at a command that runs to its end. Its CPU time and peak memory are exact to about this.
pub const COMMAND_POLL: Duration = Duration::from_millis(5);

/// VictoriaMetrics writes what it has in memory to disk after five seconds; then one more for doing it.
pub const VICTORIA_METRICS_TO_DISK: Duration = Duration::from_secs(6);

/// How long a process that has just started is left alone before it is asked, and before it is killed.
pub const COLD_PAUSE: Duration = Duration::from_millis(300);

/// How often a question is asked again of a process that has answered it.
pub const COLD_WARM_RUNS: usize = 5;

/// What holds for revocations and limits, everywhere: `loadtest enforce` fails when one takes longer.
pub const ENFORCE_BOUND: Duration = Duration::from_secs(5);

/// Pause between two looks at whether a change holds. What is measured is exact to about this and one request.
pub const ENFORCE_POLL: Duration = Duration::from_millis(5);

/// Rounds are at most so long apart, which is longer than the data plane takes between two looks at its directory.
pub const ENFORCE_PAUSE_MAX: Duration = Duration::from_secs(3);
