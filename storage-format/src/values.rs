//! Values of series: decimals become integers, and numbers that behave alike are compressed together.
//!
//! Series are cut in *runs*, which share a decimal exponent and a way to be predicted: all series of a metric when each has
//! few samples, one series when it has many. What the prediction leaves over (*residuals*) goes into one of 31 columns,
//! chosen by its usual size in bits, so that each column is long and even, which is what `pco` is good at. Values that are
//! no decimals are written apart as exceptions; a run with many of them is kept as doubles.

mod read;
mod write;

pub(crate) use read::read_values;
pub(crate) use write::put_values;

/// What a run is. The numbers are persisted, in bits 0–1 of its head.
const CONSTANT: u8 = 0;
const CONSTANT_BITS: u8 = 1;
const DECIMAL: u8 = 2;
const DOUBLES: u8 = 3;
/// Bits 2–5 of the head: the exponent.
const EXPONENT_SHIFT: u32 = 2;
/// Bit 6 of the head: mantissas are multiples of a power of two, whose exponent follows.
const HAS_SHIFT: u8 = 0x40;
/// Bit 7 of the head: there are exceptions.
const HAS_EXCEPTIONS: u8 = 0x80;

/// How residuals come from mantissas. The numbers are persisted, in bits 5–6 of a column byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prediction {
    /// The least mantissa of the run.
    Base = 0,
    /// The mantissa before.
    Previous = 1,
    /// The mantissa before, plus the step that led to it.
    Trend = 2,
}

const PREDICTION_SHIFT: u32 = 5;
const COLUMN_MASK: u8 = 0x1f;

/// Columns of residuals. Column 0 has none: all its residuals are zero.
const COLUMNS: usize = 32;

/// How exceptions are written: the usual ones in a byte.
const SPECIALS: [u64; 4] =
    [telemetry::STALE_NAN_BITS, 0x7ff0_0000_0000_0000, 0xfff0_0000_0000_0000, 0x8000_0000_0000_0000];
/// The code of an exception whose bits follow.
const OTHER_BITS: u8 = SPECIALS.len() as u8;

#[cfg(test)]
mod tests;
