//! Where samples come from: the one thing that evaluation asks of storage.

use std::sync::Arc;

use telemetry::{Histogram, Labels, Omitted};

use crate::Matcher;

/// What a query will read from storage for one selector: series by labels, samples by time.
///
/// All selections of a query are known before its evaluation ([`crate::Plan::selections`]), so that a source can fetch
/// what it needs beforehand and evaluation stays synchronous.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// All of them hold for a selected series; at least one of them does not match the empty string.
    pub matchers: Vec<Matcher>,
    /// Earliest timestamp of interest (ms since the Unix epoch, inclusive).
    pub start_ms: i64,
    /// Latest timestamp of interest (ms, inclusive).
    pub end_ms: i64,
    /// Distance of the evaluation steps in ms; 0 for a single step. A hint: all samples are needed all the same.
    pub step_ms: i64,
    /// Width of the range selector in ms; 0 for an instant selector. A hint.
    pub range_ms: i64,
    /// Which samples are read.
    pub reading: Reading,
}

/// Which samples of a selection have a say in the answer.
///
/// A source that has thinned series may answer from them where the answer is the same. A thinned series at resolution `r` is cut
/// in stretches of time k·r < t ≤ (k + 1)·r, and of each it has the first and the last sample, the last of the least and of
/// the greatest, a NaN if there is one, a staleness marker that comes last, and native histograms; and [`Omitted`] rows say
/// what the samples between would have added to sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reading {
    /// All samples.
    #[default]
    All,
    /// The ends of all windows are multiples of `edges_ms`, and what is asked of them, series thinned at any resolution that
    /// divides it can answer exactly.
    Thinned {
        /// Above 0.
        edges_ms: i64,
        /// Whether [`SeriesSamples::omitted`] is needed.
        with_omitted: bool,
    },
}

impl Reading {
    /// Whether series thinned at `resolution_ms` give the same answer as all samples.
    #[must_use]
    pub const fn allows(self, resolution_ms: i64) -> bool {
        match self {
            Self::All => false,
            Self::Thinned { edges_ms, .. } => resolution_ms > 0 && edges_ms % resolution_ms == 0,
        }
    }

    /// What answers both.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (
                Self::Thinned { edges_ms, with_omitted },
                Self::Thinned { edges_ms: also, with_omitted: too },
            ) => Self::Thinned { edges_ms: gcd(edges_ms, also), with_omitted: with_omitted || too },
            _ => Self::All,
        }
    }
}

/// The greatest common divisor; that of a number and 0 is the number.
pub(crate) const fn gcd(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a.wrapping_rem(b));
    }
    a.saturating_abs()
}

impl Selection {
    /// Whether evaluation looks at nothing but the latest sample of each series: earlier ones may then be left out.
    #[must_use]
    pub fn wants_latest_only(&self) -> bool {
        self.step_ms == 0 && self.range_ms == 0
    }
}

/// A store of series, as of one moment.
pub trait SeriesSource: Sync {
    /// The series that `selection` asks for, in ascending label order, each label set once.
    ///
    /// Series without a sample in the time range may be among them. Evaluation may ask for equal selections again.
    ///
    /// # Errors
    /// [`SourceError`] where the series cannot be had.
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError>;
}

/// The answer to a [`Selection`]. Read by several threads at once, each series usually once, in any order.
pub trait SelectedSeries: Send + Sync {
    /// How many series there are.
    fn len(&self) -> usize;

    /// Whether there is none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of series `index` (below [`len`](Self::len)).
    fn labels(&self, index: usize) -> &Labels;

    /// Whether there may be native histograms among the samples. Without them evaluation spares itself some reads.
    fn may_have_histograms(&self) -> bool {
        true
    }

    /// Puts the samples of series `index` in `out`, which comes empty. Samples outside the selection's time range are
    /// allowed; they are ignored.
    ///
    /// # Errors
    /// [`SourceError`] where the samples cannot be had.
    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError>;
}

/// The samples of one series. Staleness markers are samples like any other here.
#[derive(Clone, Debug, Default)]
pub struct SeriesSamples {
    /// Timestamps of the float samples (ms), strictly ascending.
    pub timestamps_ms: Vec<i64>,
    /// Values of the float samples; as many as timestamps.
    pub values: Vec<f64>,
    /// Native-histogram samples as (timestamp in ms, histogram), strictly ascending; none at a float's timestamp.
    pub histograms: Vec<(i64, Arc<Histogram>)>,
    /// What was left out, by strictly ascending timestamp: only of thinned series ([`Reading`]).
    pub omitted: Vec<Omitted>,
}

impl SeriesSamples {
    /// Removes all samples and keeps the memory for the next series.
    pub fn clear(&mut self) {
        self.timestamps_ms.clear();
        self.values.clear();
        self.histograms.clear();
        self.omitted.clear();
    }

    /// How many samples there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps_ms.len() + self.histograms.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps_ms.is_empty() && self.histograms.is_empty()
    }
}

/// Why a source could not deliver. `Display` is shown to the client; the cause, for the log, is the error's source.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// What the client is told: no text from a bucket or a database.
    pub message: String,
    /// What went wrong beneath.
    #[source]
    pub cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SourceError {
    /// An error without a deeper cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None }
    }
}
