//! What samples would add that a thinned series does not have.

/// Stands for float samples that were left out of a stretch of a series' time, of which the first and the last sample were kept.
///
/// Sums over a window that has all of these samples or none are those of the kept samples plus what is here.
/// Staleness markers are not among the samples that are counted.
#[derive(Clone, Copy, Debug)]
pub struct Omitted {
    /// The timestamp of the last sample of the stretch that is no staleness marker, in milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// How many were left out.
    pub count: u64,
    /// The sum of those that are numbers. Where a NaN was left out, one was kept.
    pub sum: f64,
    /// What the kept samples lack of the values before resets: `increase` adds these.
    pub lost: f64,
    /// How many resets the kept samples lack. Where NaN was left out between them, they may have some too many.
    pub resets: i64,
}

impl PartialEq for Omitted {
    /// Sums are compared by their bits, so that a sum always equals itself.
    fn eq(&self, other: &Self) -> bool {
        self.timestamp_ms == other.timestamp_ms
            && self.count == other.count
            && self.sum.to_bits() == other.sum.to_bits()
            && self.lost.to_bits() == other.lost.to_bits()
            && self.resets == other.resets
    }
}
