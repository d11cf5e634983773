//! The order statistics of a sliding window.

use std::ops::Range;

/// NaN before all numbers.
fn order(a: f64, b: f64) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => std::cmp::Ordering::Equal,
        (true, false) => std::cmp::Ordering::Less,
        (false, true) => std::cmp::Ordering::Greater,
        (false, false) => a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal),
    }
}

/// The quantile `q` of values, which are put in order; between two values, a weighted average.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    values.sort_unstable_by(|a, b| order(*a, *b));
    quantile_of(q, values.len(), |rank| values[rank])
}

/// The quantile `q` of `count` values, of which `at` knows the one of a rank.
fn quantile_of(q: f64, count: usize, at: impl Fn(usize) -> f64) -> f64 {
    if count == 0 || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (count - 1) as f64;
    let lower = rank.floor();
    let upper = (lower as usize + 1).min(count - 1);
    let weight = rank - lower;
    at(lower as usize) * (1.0 - weight) + at(upper) * weight
}

/// The values of a window in order, also of a long one that moves often: all values of the series are put in order once,
/// and a Fenwick tree over that order knows which of them are in the window. A value comes, goes or is found by its rank
/// in the logarithm of their number.
pub(super) struct Ranked {
    /// The values in order.
    sorted: Vec<f64>,
    /// For each value its place in that order.
    places: Vec<u32>,
    /// A Fenwick tree of how many of the places are in the window.
    tree: Vec<u32>,
    window: Range<usize>,
}

impl Ranked {
    pub(super) fn new(values: &[f64]) -> Self {
        let mut by_value: Vec<u32> = (0..values.len() as u32).collect();
        by_value.sort_unstable_by(|a, b| order(values[*a as usize], values[*b as usize]));
        let mut places = vec![0; values.len()];
        for (place, index) in by_value.iter().enumerate() {
            places[*index as usize] = place as u32;
        }
        let sorted = by_value.iter().map(|index| values[*index as usize]).collect();
        Self { sorted, places, tree: vec![0; values.len() + 1], window: 0..0 }
    }

    /// Moves to a window of which neither end is before that of the last one.
    pub(super) fn slide(&mut self, window: Range<usize>) {
        for index in self.window.start..window.start.min(self.window.end) {
            self.change(index, u32::wrapping_sub);
        }
        for index in self.window.end.max(window.start)..window.end {
            self.change(index, u32::wrapping_add);
        }
        self.window = window;
    }

    fn change(&mut self, index: usize, by_one: impl Fn(u32, u32) -> u32) {
        let mut node = self.places[index] as usize + 1;
        while let Some(count) = self.tree.get_mut(node) {
            *count = by_one(*count, 1);
            node += node & node.wrapping_neg();
        }
    }

    /// The value of a rank below the window's length.
    fn at(&self, rank: usize) -> f64 {
        let (mut before, mut rest) = (0, rank as u32);
        let mut width = self.tree.len().next_power_of_two() / 2;
        while width > 0 {
            if let Some(count) = self.tree.get(before + width)
                && *count <= rest
            {
                rest -= count;
                before += width;
            }
            width /= 2;
        }
        self.sorted[before]
    }

    pub(super) fn quantile(&self, q: f64) -> f64 {
        quantile_of(q, self.window.len(), |rank| self.at(rank))
    }

    /// The median of the distances from the median.
    pub(super) fn median_deviation(&self) -> f64 {
        let count = self.window.len();
        let median = self.quantile(0.5);
        // NaN has no distance from anything, and infinity none from itself. Those come first.
        let numbers = self.first_rank(|value| !value.is_nan());
        let (below, above) =
            (self.first_rank(|value| value >= median), self.first_rank(|value| value > median));
        if !median.is_finite() {
            let none = if median.is_nan() { count } else { numbers + above - below };
            return quantile_of(0.5, count, |rank| if rank < none { f64::NAN } else { f64::INFINITY });
        }
        // Downwards from the median and upwards from it distances grow.
        let down = |place: usize| median - self.at(below - 1 - place);
        let up = |place: usize| self.at(below + place) - median;
        let (downs, ups) = (below - numbers, count - below);
        quantile_of(0.5, count, |rank| {
            let Some(rank) = rank.checked_sub(numbers) else { return f64::NAN };
            // Of the `rank` smallest distances, how many are downwards?
            let (mut fewest, mut most) = (rank.saturating_sub(ups), rank.min(downs));
            while fewest < most {
                let guess = (fewest + most) / 2;
                if rank - guess > 0 && down(guess) < up(rank - guess - 1) {
                    fewest = guess + 1;
                } else {
                    most = guess;
                }
            }
            let next_down = (fewest < downs).then(|| down(fewest));
            let next_up = (rank - fewest < ups).then(|| up(rank - fewest));
            match (next_down, next_up) {
                (Some(a), Some(b)) => a.min(b),
                (a, b) => a.or(b).unwrap_or(f64::NAN),
            }
        })
    }

    /// The first rank of which `holds`, which holds for all from there on.
    fn first_rank(&self, holds: impl Fn(f64) -> bool) -> usize {
        let mut node = self.sorted.partition_point(|value| !holds(*value));
        let mut rank = 0;
        while node > 0 {
            rank += self.tree[node] as usize;
            node &= node - 1;
        }
        rank
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (-4..5_i32).prop_map(f64::from),
            1 => Just(f64::NAN),
            1 => prop_oneof![Just(f64::INFINITY), Just(f64::NEG_INFINITY)],
        ]
    }

    proptest! {
        #[test]
        fn windows_are_as_if_sorted_anew(
            values in prop::collection::vec(value(), 1..60),
            width in 1..40_usize,
            step in 1..50_usize,
        ) {
            let mut ranked = Ranked::new(&values);
            for end in (1..=values.len()).step_by(step) {
                let window = end.saturating_sub(width)..end;
                ranked.slide(window.clone());
                for q in [0.0, 0.3, 0.5, 1.0, -1.0, 2.0] {
                    let expected = quantile(q, &mut values[window.clone()].to_vec());
                    prop_assert_eq!(ranked.quantile(q).to_bits(), expected.to_bits());
                }
                let median = quantile(0.5, &mut values[window.clone()].to_vec());
                let mut distances: Vec<f64> =
                    values[window.clone()].iter().map(|value| (value - median).abs()).collect();
                let (expected, found) = (quantile(0.5, &mut distances), ranked.median_deviation());
                prop_assert!(
                    expected == found || (expected.is_nan() && found.is_nan()),
                    "{:?}: {} {}", &values[window], found, expected
                );
            }
        }
    }
}
