//! Distinct texts in ascending order, from places that each have many and share most.

/// Texts in one piece of memory. They may come several times and in any order; when they come in ascending order, nothing has
/// to be sorted.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    bytes: String,
    /// Where each text ends in `bytes`.
    ends: Vec<usize>,
    /// How many there were after doubles were last taken out.
    settled: usize,
    /// Whether the texts did not come in ascending order since.
    is_unordered: bool,
}

/// With fewer texts nothing is taken out before the end.
const SETTLE_AT_LEAST: usize = 4096;

impl Texts {
    /// Takes one in.
    pub(crate) fn add(&mut self, text: &str) {
        if self.is_unordered && self.len() >= SETTLE_AT_LEAST.max(2 * self.settled) {
            self.settle();
        }
        if let Some(last) = self.len().checked_sub(1).map(|last| self.text(last)) {
            if last == text {
                return;
            }
            self.is_unordered |= last > text;
        }
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
    }

    /// Puts them in order, each once.
    pub(crate) fn settle(&mut self) {
        if self.is_unordered {
            let mut order: Vec<&str> = (0..self.len()).map(|place| self.text(place)).collect();
            // Runs that come in order, as from each of several places, are merged.
            order.sort();
            order.dedup();
            let mut settled = Self::default();
            for text in order {
                settled.bytes.push_str(text);
                settled.ends.push(settled.bytes.len());
            }
            *self = settled;
        }
        self.settled = self.len();
    }

    /// How many there are: more than different ones before [`Self::settle`].
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    fn text(&self, place: usize) -> &str {
        let start = if place == 0 { 0 } else { self.ends[place - 1] };
        &self.bytes[start..self.ends[place]]
    }

    /// In the order in which they are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|place| self.text(place))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_a_set(runs in prop::collection::vec((0..2_000_u32, 0..3_000_u32, any::<bool>()), 0..6)) {
            let (mut texts, mut expected) = (Texts::default(), BTreeSet::new());
            for (start, count, is_ascending) in runs {
                let mut run: Vec<String> = (start..start + count).map(|number| format!("{number:05}")).collect();
                if !is_ascending {
                    run.reverse();
                }
                for text in run {
                    texts.add(&text);
                    expected.insert(text);
                }
            }
            texts.settle();
            prop_assert!(texts.iter().eq(expected.iter().map(String::as_str)));
            prop_assert_eq!(texts.len(), expected.len());
        }
    }

    #[test]
    fn the_empty_text_is_one() {
        let mut texts = Texts::default();
        ["", "", "a", ""].into_iter().for_each(|text| texts.add(text));
        texts.settle();
        assert_eq!(texts.iter().collect::<Vec<_>>(), ["", "a"]);
    }
}
