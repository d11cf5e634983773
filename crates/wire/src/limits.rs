//! Every limit of the codecs, with its unit, its default and its reason.
//!
//! What happens at a limit: those of a body or a request refuse the whole request with an error that says which limit it
//! was and what to do; those of one series refuse that series and keep the rest.

use telemetry::exemplar::MAX_EXEMPLAR_LABEL_CHARS;

/// What one request and one series may hold. [`Default`] gives the documented defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Body as it arrives, in bytes. Default 32 MiB: ten times what Prometheus's largest sensible batches need.
    pub max_compressed_bytes: usize,
    /// Body after decompression, in bytes. Default 64 MiB: bounds the memory of one request.
    pub max_decompressed_bytes: usize,
    /// Series (remote write) or data points (OTLP) of one request. Default 100,000.
    pub max_series: usize,
    /// Different metadata entries of one remote-write request. Default 20,000: ten times what Prometheus sends at once.
    pub max_metadata: usize,
    /// Samples of one request, float and histogram together; an OTLP data point counts once for each sample that it
    /// becomes. Default 1,000,000.
    pub max_samples: usize,
    /// Labels of one series. Default 128: far above what people can use, far below what makes indexes explode.
    pub max_labels: usize,
    /// Length of a label's name, in bytes. Default 1 KiB.
    pub max_label_name_bytes: usize,
    /// Length of a label's value, in bytes. Default 8 KiB.
    pub max_label_value_bytes: usize,
    /// Characters of an exemplar's label names and values together. Default 128, as OpenMetrics has it.
    pub max_exemplar_label_chars: usize,
    /// Buckets of one histogram, positive and negative together; also its spans and boundaries. Default 4,096.
    pub max_histogram_buckets: usize,
    /// Strings in the symbols table of a remote-write 2.0 request. Default 1,000,000.
    pub max_symbols: usize,
    /// Label bytes of one request after references into a shared table (remote write 2.0) or shared attributes (OTLP)
    /// are resolved. Default 256 MiB: a few bytes of body may stand for a whole label set, and copying those must not
    /// become the cheapest way to keep a server busy.
    pub max_resolved_bytes: usize,
    /// Help text of a metric, in bytes; longer text is cut, since nothing depends on it. Default 4 KiB.
    pub max_help_bytes: usize,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Limits {
    /// The documented defaults.
    pub const DEFAULT: Self = Self {
        max_compressed_bytes: 32 * MIB,
        max_decompressed_bytes: 64 * MIB,
        max_series: 100_000,
        max_metadata: 20_000,
        max_samples: 1_000_000,
        max_labels: 128,
        max_label_name_bytes: KIB,
        max_label_value_bytes: 8 * KIB,
        max_exemplar_label_chars: MAX_EXEMPLAR_LABEL_CHARS,
        max_histogram_buckets: 4096,
        max_symbols: 1_000_000,
        max_resolved_bytes: 256 * MIB,
        max_help_bytes: 4 * KIB,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Output buffer that a [`Decompressor`](crate::Decompressor) keeps between requests, in bytes. A rare large request
/// must not pin its memory for good.
pub(crate) const KEPT_BUFFER_BYTES: usize = 4 * MIB;

/// Largest zstd window as a power of two, in bytes: 8 MiB, what RFC 9659 allows in HTTP.
pub(crate) const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Most output bytes that one byte of snappy can stand for: a three-byte element copies at most 64 bytes. A block that
/// declares more is refused before memory is taken for it.
pub(crate) const SNAPPY_MAX_EXPANSION: usize = 22;

/// Depth of lists and maps in the value of an OTLP attribute.
pub(crate) const MAX_ATTRIBUTE_DEPTH: usize = 16;

/// Bytes of a name, value or series that an error message repeats.
pub(crate) const QUOTED_BYTES: usize = 256;
