//! From matchers to ids of series.

use std::ops::Range;

use parking_lot::RwLock;
use promql::Matcher;

use super::cells::Cells;
use super::index::Index;

/// Label values that are looked at under one hold of the lock: well below a millisecond's work for most expressions.
const VALUES_A_HOLD: usize = 1024;

/// The series that all matchers hold for: their ids, ascending, and the cells to find them in.
pub(super) fn select(index: &RwLock<Index>, matchers: &[Matcher]) -> (Vec<u32>, Cells) {
    let cells = index.read().cells().clone();
    let ids = select_within(index, &cells, matchers, 0..cells.len());
    (ids, cells)
}

/// How many series [`select`] finds at most, as far as that can be told at once.
pub(super) fn series_at_most(index: &RwLock<Index>, matchers: &[Matcher]) -> usize {
    let index = index.read();
    let named = matchers.iter().filter(|matcher| names_its_values(matcher));
    let fewest = named.map(|matcher| index.named_series(matcher)).min();
    fewest.unwrap_or(usize::MAX).min(index.cells().len() as usize)
}

/// The series with ids in `within` that all matchers hold for: their ids, ascending.
///
/// Matchers that name their values are answered first, those of few series before the others. What they leave is mostly few,
/// and the rest is then cheaper asked of each series' labels than of each value of the label.
pub(super) fn select_within(
    index: &RwLock<Index>,
    cells: &Cells,
    matchers: &[Matcher],
    within: Range<u32>,
) -> Vec<u32> {
    let (named, mut rest): (Vec<&Matcher>, Vec<&Matcher>) =
        matchers.iter().partition(|matcher| names_its_values(matcher));
    let mut named: Vec<(usize, &Matcher)> = {
        let index = index.read();
        named.into_iter().map(|matcher| (index.named_series(matcher), matcher)).collect()
    };
    named.sort_by_key(|(series, _)| *series);
    let mut selected: Option<Vec<u32>> = None;
    for (series, matcher) in named {
        let next = match selected {
            None => ids_of_named(index, matcher, &within),
            // A look at the labels of few costs less than a copy of a long list.
            Some(before) if before.len() < series / 16 => filter(cells, before, matcher),
            Some(before) => intersect(&before, &ids_of_named(index, matcher, &within)),
        };
        if next.is_empty() {
            return next;
        }
        selected = Some(next);
    }
    // Those that need the label narrow the selection; the others can only take from it.
    rest.sort_by_key(|matcher| matcher.matches_empty());
    for matcher in rest {
        let values = index.read().label(matcher.name()).map_or(0, |label| label.values.len());
        let next = match selected {
            Some(before) if before.len() <= values => filter(cells, before, matcher),
            before if matcher.matches_empty() => {
                let without = ids_of_values(index, matcher.name(), &within, |text| !matcher.matches(text));
                let before = before.unwrap_or_else(|| within.clone().collect());
                subtract(before, &without)
            }
            before => {
                let with = ids_of_values(index, matcher.name(), &within, |text| matcher.matches(text));
                match before {
                    Some(before) => intersect(&before, &with),
                    None => with,
                }
            }
        };
        if next.is_empty() {
            return next;
        }
        selected = Some(next);
    }
    selected.unwrap_or_else(|| within.collect())
}

/// Whether the index has the matcher's series listed under values that it names.
pub(super) fn names_its_values(matcher: &Matcher) -> bool {
    !matcher.op().is_negative() && !matcher.matches_empty() && matcher.as_literals().is_some()
}

fn ids_of_named(index: &RwLock<Index>, matcher: &Matcher, within: &Range<u32>) -> Vec<u32> {
    let texts = matcher.as_literals().unwrap_or_default();
    let index = index.read();
    let mut union = Union::new(within);
    texts.iter().for_each(|text| union.add(part_of(index.postings(matcher.name(), text), within)));
    union.into_ids()
}

/// The ids of the series whose value of label `name` is one to keep.
fn ids_of_values(
    index: &RwLock<Index>,
    name: &str,
    within: &Range<u32>,
    keep: impl Fn(&str) -> bool,
) -> Vec<u32> {
    let mut union = Union::new(within);
    let mut from = 0;
    loop {
        let index = index.read();
        let values = index.label(name).map_or(&[][..], |label| &label.values[from..]);
        let hold = &values[..values.len().min(VALUES_A_HOLD)];
        for value in hold.iter().filter(|value| keep(&value.text)) {
            union.add(part_of(value.ids.as_slice(), within));
        }
        if hold.len() == values.len() {
            break;
        }
        from += hold.len();
    }
    union.into_ids()
}

fn part_of<'a>(ids: &'a [u32], within: &Range<u32>) -> &'a [u32] {
    let ids = match ids.last() {
        Some(&last) if last >= within.end => &ids[..ids.partition_point(|&id| id < within.end)],
        _ => ids,
    };
    match ids.first() {
        Some(&first) if first < within.start => &ids[ids.partition_point(|&id| id < within.start)..],
        _ => ids,
    }
}

/// Puts ascending lists together that have nothing in common.
struct Union {
    ids: Vec<u32>,
    /// Lists in `ids` that are not empty.
    lists: usize,
    /// One bit for each possible id, in place of `ids` once these are many: no sorting then.
    bits: Vec<u64>,
    within: Range<u32>,
}

impl Union {
    /// Of ids in `within`.
    fn new(within: &Range<u32>) -> Self {
        Self { ids: Vec::new(), lists: 0, bits: Vec::new(), within: within.clone() }
    }

    fn add(&mut self, list: &[u32]) {
        if list.is_empty() {
            return;
        }
        if self.bits.is_empty() {
            self.ids.extend_from_slice(list);
            self.lists += 1;
            // From here on going through all bits costs less than sorting.
            if self.lists > 1 && self.ids.len() > self.within.len() / 64 {
                self.bits.resize(self.within.len() / 64 + 1, 0);
                let ids = std::mem::take(&mut self.ids);
                self.set(&ids);
            }
        } else {
            self.set(list);
        }
    }

    fn set(&mut self, ids: &[u32]) {
        for id in ids {
            let place = id - self.within.start;
            self.bits[place as usize / 64] |= 1 << (place % 64);
        }
    }

    fn into_ids(mut self) -> Vec<u32> {
        if self.bits.is_empty() {
            if self.lists > 1 {
                self.ids.sort_unstable();
            }
            return self.ids;
        }
        let count: u32 = self.bits.iter().map(|word| word.count_ones()).sum();
        self.ids.reserve_exact(count as usize);
        for (place, mut word) in (0_u32..).zip(self.bits) {
            while word != 0 {
                self.ids.push(self.within.start + place * 64 + word.trailing_zeros());
                word &= word - 1;
            }
        }
        self.ids
    }
}

fn filter(cells: &Cells, mut ids: Vec<u32>, matcher: &Matcher) -> Vec<u32> {
    ids.retain(|&id| {
        let series = cells.series(id);
        series.is_some_and(|series| matcher.matches(series.labels().get(matcher.name()).unwrap_or("")))
    });
    ids
}

/// What two ascending lists have in common.
fn intersect(a: &[u32], b: &[u32]) -> Vec<u32> {
    let (short, mut long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    // Where one list is much shorter, leaping through the other beats walking it.
    let leap = long.len() / 16 > short.len();
    let mut both = Vec::with_capacity(short.len());
    for &id in short {
        let skip = if leap {
            long.partition_point(|&other| other < id)
        } else {
            long.iter().take_while(|&&other| other < id).count()
        };
        long = &long[skip..];
        if long.first() == Some(&id) {
            both.push(id);
        }
    }
    both
}

/// What is in the ascending list `from` and not in the ascending list `without`.
fn subtract(mut from: Vec<u32>, without: &[u32]) -> Vec<u32> {
    let mut rest = without.iter().copied().peekable();
    from.retain(|&id| {
        while rest.next_if(|&other| other < id).is_some() {}
        rest.peek() != Some(&id)
    });
    from
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use promql::MatchOp;
    use proptest::prelude::*;
    use telemetry::{Labels, Series};

    use super::*;

    fn index_of(series: &[Labels]) -> RwLock<Index> {
        let mut index = Index::default();
        for labels in series {
            let series = Arc::new(Series::new(labels.clone()));
            if index.find(&series).is_none() {
                let (id, _) = index.insert(&series);
                assert_eq!(index.find(&series), Some(id));
            }
        }
        RwLock::new(index)
    }

    fn label_set() -> impl Strategy<Value = Labels> {
        let pairs = prop::collection::btree_map("[abc]", "[xyz]{0,2}", 0..4);
        pairs.prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
    }

    fn matcher() -> impl Strategy<Value = Matcher> {
        let equal = ("[abcd]", any::<bool>(), "[xyz]{0,2}").prop_map(|(name, negative, value)| {
            Matcher::new(&name, if negative { MatchOp::NotEqual } else { MatchOp::Equal }, &value).unwrap()
        });
        let patterns =
            prop::sample::select(vec!["x|y", "x.*", ".*", ".+", "", "(x|yz)?", ".*z", "[xy]+", "|z"]);
        let regex = ("[abcd]", any::<bool>(), patterns).prop_map(|(name, negative, pattern)| {
            Matcher::new(&name, if negative { MatchOp::NotRegex } else { MatchOp::Regex }, pattern).unwrap()
        });
        prop_oneof![equal, regex]
    }

    proptest! {
        /// The index answers what asking every series would.
        #[test]
        fn selecting_is_filtering(
            series in prop::collection::vec(label_set(), 0..60),
            matchers in prop::collection::vec(matcher(), 0..4),
        ) {
            let index = index_of(&series);
            let (ids, cells) = select(&index, &matchers);
            let holds = |labels: &Labels| matchers.iter().all(|m| m.matches(labels.get(m.name()).unwrap_or("")));
            let expected: Vec<u32> =
                (0..cells.len()).filter(|&id| holds(cells.series(id).unwrap().labels())).collect();
            prop_assert_eq!(&ids, &expected);
            prop_assert!(ids.len() <= series_at_most(&index, &matchers));
            // In stretches it is the same.
            let cuts = [0, cells.len() / 3, cells.len() / 2, cells.len()];
            let stretches = cuts.windows(2).map(|cut| select_within(&index, &cells, &matchers, cut[0]..cut[1]));
            prop_assert_eq!(stretches.collect::<Vec<_>>().concat(), expected);
        }
    }
}
