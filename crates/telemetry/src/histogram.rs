//! Native histograms: sparse exponential buckets, or buckets with custom boundaries.
//!
//! One representation serves both of Prometheus's kinds (integer and float): counts are absolute doubles, which hold
//! every integer count up to 2⁵³ exactly. Bucket layout and schemas follow Prometheus's `model/histogram`.

use crate::sample::is_stale_nan;

/// The schema number of histograms with custom bucket boundaries.
pub const CUSTOM_BUCKETS_SCHEMA: i8 = -53;
/// The coarsest exponential schema: each boundary is the square of the square of … (a factor of 2^16) the one before.
pub const MIN_EXPONENTIAL_SCHEMA: i8 = -4;
/// The finest exponential schema: 2⁸ boundaries to a power of two.
pub const MAX_EXPONENTIAL_SCHEMA: i8 = 8;

/// What the writer knows about a counter reset just before a histogram sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterResetHint {
    /// Nothing is known: compare with the sample before.
    #[default]
    Unknown,
    /// This sample follows a reset.
    CounterReset,
    /// This sample surely follows no reset.
    NotCounterReset,
    /// A gauge histogram, which has no resets.
    Gauge,
}

impl CounterResetHint {
    /// The number under which the hint is persisted; also that of remote write's `Histogram.ResetHint`.
    #[must_use]
    pub const fn to_persisted(self) -> u8 {
        self as u8
    }

    /// The hint with this persisted number, or `None` where there is none.
    #[must_use]
    pub const fn from_persisted(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Unknown),
            1 => Some(Self::CounterReset),
            2 => Some(Self::NotCounterReset),
            3 => Some(Self::Gauge),
            _ => None,
        }
    }
}

/// A run of consecutive buckets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    /// Gap to the previous span in buckets; for the first span the index of its first bucket, which may be negative.
    pub offset: i32,
    /// How many buckets the span has.
    pub length: u32,
}

/// One native-histogram sample.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// What is known about a counter reset before this sample.
    pub counter_reset_hint: CounterResetHint,
    /// [`MIN_EXPONENTIAL_SCHEMA`] to [`MAX_EXPONENTIAL_SCHEMA`], or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i8,
    /// Width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Sum of all observations. The staleness marker here marks the whole sample stale.
    pub sum: f64,
    /// Layout of `positive_buckets`.
    pub positive_spans: Vec<Span>,
    /// Layout of `negative_buckets`; empty with custom buckets.
    pub negative_spans: Vec<Span>,
    /// Absolute (not cumulative, not delta) counts; as many as the spans' lengths together.
    pub positive_buckets: Vec<f64>,
    /// Absolute counts; as many as the spans' lengths together.
    pub negative_buckets: Vec<f64>,
    /// Upper bounds with custom buckets, strictly ascending, without the last one, +Inf; otherwise empty.
    pub custom_values: Vec<f64>,
}

/// Why a histogram is not a valid one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum HistogramError {
    /// The schema is not one of those known.
    #[error(
        "native histogram schema {0} is neither {MIN_EXPONENTIAL_SCHEMA}..={MAX_EXPONENTIAL_SCHEMA} nor {CUSTOM_BUCKETS_SCHEMA}"
    )]
    Schema(i32),
    /// Spans and buckets do not fit together.
    #[error("native histogram spans need {needed} {side} buckets, found {found}")]
    BucketCount {
        /// `positive` or `negative`.
        side: &'static str,
        /// Sum of the spans' lengths.
        needed: u64,
        /// Buckets present.
        found: usize,
    },
    /// A span after the first goes backwards.
    #[error("native histogram {side} span {index} has negative offset {offset}")]
    SpanOffset {
        /// `positive` or `negative`.
        side: &'static str,
        /// Which span, from 0.
        index: usize,
        /// Its offset.
        offset: i32,
    },
    /// Bucket indexes do not fit the type.
    #[error("native histogram {side} bucket index overflows")]
    IndexOverflow {
        /// `positive` or `negative`.
        side: &'static str,
    },
    /// A count that is negative.
    #[error("native histogram has a negative {what}: {value}")]
    NegativeCount {
        /// `count`, `zero count` or `bucket`.
        what: &'static str,
        /// The offending number.
        value: f64,
    },
    /// The zero threshold is negative, NaN or infinite.
    #[error("native histogram zero threshold {0} is not a finite number of at least 0")]
    ZeroThreshold(f64),
    /// Custom boundaries are not finite and strictly ascending.
    #[error("native histogram custom boundary {index} ({value}) is not finite or not above the one before")]
    CustomBoundary {
        /// Which boundary, from 0.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// Parts that custom buckets cannot have, or that only they can have.
    #[error("native histogram has {0}")]
    Mixed(&'static str),
}

impl Histogram {
    /// Whether this sample marks the end of its series.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        is_stale_nan(self.sum)
    }

    /// Whether the buckets have custom boundaries.
    #[must_use]
    pub fn uses_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Checks that the parts fit together. Decoders call it before anything is stored.
    ///
    /// # Errors
    /// The first [`HistogramError`] found.
    pub fn validate(&self) -> Result<(), HistogramError> {
        let exponential = (MIN_EXPONENTIAL_SCHEMA..=MAX_EXPONENTIAL_SCHEMA).contains(&self.schema);
        if !exponential && !self.uses_custom_buckets() {
            return Err(HistogramError::Schema(self.schema.into()));
        }
        if self.uses_custom_buckets() {
            if !self.negative_spans.is_empty() || !self.negative_buckets.is_empty() {
                return Err(HistogramError::Mixed("negative buckets besides custom boundaries"));
            }
            if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
                return Err(HistogramError::Mixed("a zero bucket besides custom boundaries"));
            }
            let mut previous = f64::NEG_INFINITY;
            for (index, &value) in self.custom_values.iter().enumerate() {
                if !(value.is_finite() && value > previous) {
                    return Err(HistogramError::CustomBoundary { index, value });
                }
                previous = value;
            }
        } else if !self.custom_values.is_empty() {
            return Err(HistogramError::Mixed("custom boundaries with an exponential schema"));
        }
        if !(self.zero_threshold.is_finite() && self.zero_threshold >= 0.0) {
            return Err(HistogramError::ZeroThreshold(self.zero_threshold));
        }
        for (what, value) in [("count", self.count), ("zero count", self.zero_count)] {
            if value < 0.0 {
                return Err(HistogramError::NegativeCount { what, value });
            }
        }
        validate_side("positive", &self.positive_spans, &self.positive_buckets)?;
        validate_side("negative", &self.negative_spans, &self.negative_buckets)?;
        if self.uses_custom_buckets() {
            let last = last_index(&self.positive_spans);
            if last.is_some_and(|index| index > self.custom_values.len() as i64)
                || self.positive_spans.first().is_some_and(|span| span.offset < 0)
            {
                return Err(HistogramError::Mixed("a bucket beyond its custom boundaries"));
            }
        }
        Ok(())
    }

    /// Memory held, in bytes, allocations included: what limits count.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>()
            + (self.positive_spans.capacity() + self.negative_spans.capacity()) * size_of::<Span>()
            + (self.positive_buckets.capacity()
                + self.negative_buckets.capacity()
                + self.custom_values.capacity())
                * size_of::<f64>()
    }
}

fn last_index(spans: &[Span]) -> Option<i64> {
    let mut next = 0_i64;
    let mut last = None;
    for span in spans {
        next += i64::from(span.offset) + i64::from(span.length);
        if span.length > 0 {
            last = Some(next - 1);
        }
    }
    last
}

fn validate_side(side: &'static str, spans: &[Span], buckets: &[f64]) -> Result<(), HistogramError> {
    let mut needed = 0_u64;
    let mut next = 0_i64;
    for (index, span) in spans.iter().enumerate() {
        if index > 0 && span.offset < 0 {
            return Err(HistogramError::SpanOffset { side, index, offset: span.offset });
        }
        needed += u64::from(span.length);
        next += i64::from(span.offset) + i64::from(span.length);
        if i32::try_from(next).is_err() {
            return Err(HistogramError::IndexOverflow { side });
        }
    }
    if needed != buckets.len() as u64 {
        return Err(HistogramError::BucketCount { side, needed, found: buckets.len() });
    }
    match buckets.iter().find(|&&count| count < 0.0) {
        Some(&value) => Err(HistogramError::NegativeCount { what: "bucket", value }),
        None => Ok(()),
    }
}

impl PartialEq for Histogram {
    /// Doubles are compared by their bits, so that NaN equals itself: this is "the same sample", not "equal numbers".
    fn eq(&self, other: &Self) -> bool {
        fn same(a: &[f64], b: &[f64]) -> bool {
            a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x.to_bits() == y.to_bits())
        }
        self.counter_reset_hint == other.counter_reset_hint
            && self.schema == other.schema
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && self.zero_count.to_bits() == other.zero_count.to_bits()
            && self.count.to_bits() == other.count.to_bits()
            && self.sum.to_bits() == other.sum.to_bits()
            && self.positive_spans == other.positive_spans
            && self.negative_spans == other.negative_spans
            && same(&self.positive_buckets, &other.positive_buckets)
            && same(&self.negative_buckets, &other.negative_buckets)
            && same(&self.custom_values, &other.custom_values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn valid() -> Histogram {
        Histogram {
            schema: 1,
            count: 3.0,
            sum: 4.5,
            positive_spans: vec![Span { offset: -2, length: 1 }, Span { offset: 1, length: 1 }],
            positive_buckets: vec![1.0, 2.0],
            ..Histogram::default()
        }
    }

    #[test]
    fn a_fitting_histogram_is_valid() {
        assert_eq!(valid().validate(), Ok(()));
        let custom = Histogram {
            schema: CUSTOM_BUCKETS_SCHEMA,
            positive_spans: vec![Span { offset: 0, length: 3 }],
            positive_buckets: vec![1.0, 0.0, 2.0],
            custom_values: vec![0.5, 1.0],
            ..Histogram::default()
        };
        assert_eq!(custom.validate(), Ok(()));
    }

    #[test]
    fn parts_that_do_not_fit_are_named() {
        type Spoil = fn(&mut Histogram);
        let cases: [(&str, Spoil); 8] = [
            ("schema 9", |h| h.schema = 9),
            ("need 3 positive buckets, found 2", |h| h.positive_spans[1].length = 2),
            ("span 1 has negative offset -1", |h| h.positive_spans[1].offset = -1),
            ("negative bucket: -1", |h| h.positive_buckets[0] = -1.0),
            ("negative count: -3", |h| h.count = -3.0),
            ("zero threshold NaN", |h| h.zero_threshold = f64::NAN),
            ("custom boundaries with an exponential schema", |h| h.custom_values = vec![1.0]),
            ("overflows", |h| h.positive_spans[0].offset = i32::MAX),
        ];
        for (expected, spoil) in cases {
            let mut histogram = valid();
            spoil(&mut histogram);
            let error = histogram.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }
}
