//! Folding a sliding window without scanning it again and without taking anything back.
//!
//! Taking a value that leaves back out of a sum loses digits, and no minimum can be taken back. So the window is two
//! stacks: the values up to a border, of which the fold from each to the border is known, and those behind the border,
//! of which the fold is known. When the window's start passes the border, the border moves to the window's end. Each
//! value is folded at most twice, however long the window is.

use std::ops::Range;

pub(super) struct Sliding<T, F> {
    combine: F,
    /// `suffixes[i]` is the fold of the values from `first + i` up to the border.
    suffixes: Vec<T>,
    first: usize,
    border: usize,
    /// The fold of the values from the border up to `until`.
    tail: Option<T>,
    until: usize,
}

impl<T: Clone, F: Fn(T, T) -> T> Sliding<T, F> {
    pub(super) fn new(combine: F) -> Self {
        Self { combine, suffixes: Vec::new(), first: 0, border: 0, tail: None, until: 0 }
    }

    /// The fold of a window, `None` of an empty one. Both its ends must not be before those of the last call.
    #[inline]
    pub(super) fn fold(&mut self, window: Range<usize>, value: impl Fn(usize) -> T) -> Option<T> {
        if window.is_empty() {
            return None;
        }
        if window.start >= self.border {
            self.flip(&window, &value);
        }
        while self.until < window.end {
            let next = value(self.until);
            self.tail = Some(match self.tail.take() {
                Some(tail) => (self.combine)(tail, next),
                None => next,
            });
            self.until += 1;
        }
        let head = self.suffixes[window.start - self.first].clone();
        Some(match &self.tail {
            Some(tail) => (self.combine)(head, tail.clone()),
            None => head,
        })
    }

    fn flip(&mut self, window: &Range<usize>, value: &impl Fn(usize) -> T) {
        self.first = window.start;
        self.border = window.end;
        self.until = window.end;
        self.tail = None;
        self.suffixes.clear();
        let mut fold = value(window.end - 1);
        self.suffixes.push(fold.clone());
        for index in (window.start..window.end - 1).rev() {
            fold = (self.combine)(value(index), fold);
            self.suffixes.push(fold.clone());
        }
        self.suffixes.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_those_of_the_window_for_all_ways_to_slide() {
        let values: Vec<u64> = (1..40).map(|n| n * n % 17).collect();
        for width in 1..12 {
            for step in 1..8 {
                let mut sums = Sliding::new(|a: u64, b: u64| a + b);
                let mut texts = Sliding::new(|a: (usize, usize), b: (usize, usize)| (a.0, b.1));
                let mut end = 1;
                while end <= values.len() {
                    let window = end.saturating_sub(width)..end;
                    let expected: u64 = values[window.clone()].iter().sum();
                    assert_eq!(sums.fold(window.clone(), |i| values[i]), Some(expected));
                    assert_eq!(texts.fold(window.clone(), |i| (i, i)), Some((window.start, window.end - 1)));
                    end += step;
                }
            }
        }
        assert_eq!(Sliding::new(|a: u64, _| a).fold(3..3, |_| 0), None);
    }
}
