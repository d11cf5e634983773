//! Sums that lose little: Kahan's summation in Neumaier's variant, with Prometheus's treatment of infinity.

/// A sum and what was lost on the way.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kahan {
    pub(crate) sum: f64,
    pub(crate) lost: f64,
}

impl Kahan {
    /// Without a branch, so that several sums can be taken at once.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        let sum = self.sum + value;
        let (large, small) =
            if self.sum.abs() >= value.abs() { (self.sum, value) } else { (value, self.sum) };
        let lost = self.lost + ((large - sum) + small);
        self.lost = if sum.is_infinite() { 0.0 } else { lost };
        self.sum = sum;
    }

    /// Adds another sum.
    #[inline]
    pub(crate) fn merge(mut self, other: Self) -> Self {
        self.add(other.sum);
        if !self.sum.is_infinite() {
            self.lost += other.lost;
        }
        self
    }

    /// The sum; what was lost cannot be added to infinity.
    #[inline]
    pub(crate) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }

    /// The sum and what was lost.
    #[inline]
    pub(crate) fn plain_total(self) -> f64 {
        self.sum + self.lost
    }
}
