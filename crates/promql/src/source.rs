//! Where samples come from: the one thing that evaluation asks of storage.

use std::sync::Arc;

use telemetry::{Histogram, Labels};

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
}

impl SeriesSamples {
    /// Removes all samples and keeps the memory for the next series.
    pub fn clear(&mut self) {
        self.timestamps_ms.clear();
        self.values.clear();
        self.histograms.clear();
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
