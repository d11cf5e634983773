//! What of a request was refused while the rest was kept.

use telemetry::Labels;

/// Why a part of a request was refused: a label of a metric, so there are few and they are fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalReason {
    /// Labels, a histogram or an exemplar that are not valid.
    Invalid,
    /// A timestamp before the out-of-order window.
    TooOld,
    /// A timestamp too far in the future.
    TooFarInFuture,
    /// A new series above the tenant's limit of active series, or of one metric's.
    SeriesLimit,
    /// A new series above the server's bound. The sender is told to send again: [`crate::WriteError::ServerFull`].
    ServerFull,
}

impl RefusalReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Invalid, Self::TooOld, Self::TooFarInFuture, Self::SeriesLimit, Self::ServerFull];

    /// The value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::TooOld => "too_old",
            Self::TooFarInFuture => "too_far_in_future",
            Self::SeriesLimit => "series_limit",
            Self::ServerFull => "server_full",
        }
    }
}

/// What of a request was refused while the rest was kept.
#[derive(Clone, Debug, Default)]
pub struct Refusals {
    /// What was wrong with the first part that was refused; it names the series.
    pub first: Option<String>,
    /// Float and histogram samples dropped, by [`RefusalReason`].
    pub samples: [u64; RefusalReason::ALL.len()],
    /// Data points of OTLP of which a part or all was dropped: each is one to its sender, whatever number of samples it makes.
    pub data_points: u64,
    /// Exemplars dropped. They do not make a request a failure: the samples are what was sent for.
    pub exemplars: u64,
}

impl Refusals {
    /// Whether everything was kept, exemplars aside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many samples were dropped.
    #[must_use]
    pub fn total_samples(&self) -> u64 {
        self.samples.iter().sum()
    }

    #[cold]
    pub(crate) fn add(&mut self, reason: RefusalReason, samples: u64, message: impl FnOnce() -> String) {
        self.samples[reason as usize] += samples;
        if self.first.is_none() {
            self.first = Some(message());
        }
    }
}

/// The series as messages show it, cut if it is long.
pub(crate) fn shown(labels: &Labels) -> String {
    const SHOWN_BYTES: usize = 512;
    let mut text = labels.to_string();
    if text.len() > SHOWN_BYTES {
        text.truncate(text.floor_char_boundary(SHOWN_BYTES));
        text.push('…');
    }
    text
}
