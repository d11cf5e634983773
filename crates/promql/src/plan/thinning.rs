//! Which selectors can be answered from thinned series, exactly.

use super::node::{Grid, Reference};
use crate::Reading;
use crate::eval::range::RangeFunction;
use crate::source::gcd;

/// What is asked of a selector's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// About each of them, or their order.
    Each,
    /// Only what kept samples say by themselves: which is the last, the least, the greatest, whether there is one.
    Kept,
    /// Likewise, and sums over all samples.
    Sums,
}

impl Question {
    pub(super) fn of(function: RangeFunction) -> Self {
        use RangeFunction as F;
        match function {
            F::LastOverTime
            | F::MaxOverTime
            | F::MinOverTime
            | F::PresentOverTime
            | F::TsOfLastOverTime
            | F::TsOfMaxOverTime
            | F::TsOfMinOverTime => Self::Kept,
            // How many samples there are decides how far `rate`, `increase` and `delta` extrapolate.
            F::AvgOverTime
            | F::CountOverTime
            | F::Delta
            | F::Increase
            | F::Rate
            | F::Resets
            | F::SumOverTime => Self::Sums,
            F::Changes
            | F::Deriv
            | F::DoubleExponentialSmoothing
            | F::Idelta
            | F::Irate
            | F::MadOverTime
            | F::PredictLinear
            | F::QuantileOverTime
            | F::StddevOverTime
            | F::StdvarOverTime => Self::Each,
        }
    }

    /// What has to be read. `range_ms` is 0 for an instant selector: of the stretch of time that ends at a step, or of one
    /// before, the last sample decides, whatever the look-back; so where the look-back begins does not matter.
    pub(super) fn reading(self, grid: Grid, reference: Reference, range_ms: i64) -> Reading {
        let step_ms = if grid.count > 1 && reference.at_ms.is_none() { grid.step_ms } else { 0 };
        let edges_ms = gcd(gcd(reference.time_ms(grid.start_ms), step_ms), range_ms);
        match self {
            Self::Each => Reading::All,
            _ if edges_ms == 0 => Reading::All,
            Self::Kept => Reading::Thinned { edges_ms, with_omitted: false },
            Self::Sums => Reading::Thinned { edges_ms, with_omitted: true },
        }
    }
}
