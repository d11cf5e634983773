//! Bounds on queries. Every one is an upper bound; going over it ends the query with [`LimitExceeded`].

/// The longest query text, in bytes. Dashboards' longest are some ten kilobytes.
pub const MAX_QUERY_BYTES: usize = 1 << 20;
/// How deep expressions may nest. Parsing, planning and evaluation recurse; a frame of theirs stays far below 2 KiB.
pub const MAX_EXPRESSION_DEPTH: usize = 256;
/// The largest compiled form of one label regular expression, in bytes.
pub const MAX_REGEX_BYTES: usize = 1 << 20;

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Steps of the query, and of each subquery. Prometheus has 11,000 for the query.
    pub max_steps: usize,
    /// Series selected, over all selectors, and series made by an operator.
    pub max_series: usize,
    /// Samples read from the source, and points made by an operator.
    pub max_samples: u64,
    /// Memory held at any moment, in bytes: columns, labels, histograms, the result.
    pub max_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_steps: 100_000,
            max_series: 2_000_000,
            max_samples: 500_000_000,
            max_memory_bytes: 2 << 30,
        }
    }
}

/// A query went over one of its [`Limits`]. The text names the limit and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// [`Limits::max_steps`].
    #[error(
        "the query or a subquery has {steps} steps, more than the limit of {limit}: use a larger step or a shorter range"
    )]
    Steps {
        /// Steps asked for.
        steps: u64,
        /// The limit.
        limit: usize,
    },
    /// [`Limits::max_series`].
    #[error("the query touches more than {limit} series: use more specific matchers")]
    Series {
        /// The limit.
        limit: usize,
    },
    /// [`Limits::max_samples`].
    #[error(
        "the query reads more than {limit} samples: use a shorter range, a larger step or more specific matchers"
    )]
    Samples {
        /// The limit.
        limit: u64,
    },
    /// [`Limits::max_memory_bytes`].
    #[error(
        "the query needs more than {limit} bytes of memory: use a larger step or aggregate to fewer series"
    )]
    Memory {
        /// The limit.
        limit: u64,
    },
}
