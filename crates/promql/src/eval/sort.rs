//! `sort`, `sort_desc` and `sort_by_label`: they matter to instant queries, whose results have an order.

use std::cmp::Ordering;
use std::sync::Arc;

use super::column::{Column, is_absent};
use super::context::{Evaluation, Worker};
use super::operator::{Operator, Table, VectorOperator, with_column};
use super::series::SeriesId;
use crate::EvalError;
use crate::plan::Grid;

impl<'e> Evaluation<'e> {
    /// By value, NaN last, floats only. At more than one step the order has no effect.
    pub(super) fn sorted(
        &self,
        inner: &Operator<'e>,
        descending: bool,
        grid: Grid,
    ) -> Result<Operator<'e>, EvalError> {
        let rows = self.parallel(inner.series().len(), inner.cost(), |worker, index| {
            with_column(&**inner, index, grid.count, worker, |_, column| {
                let floats = Column { floats: column.floats.clone(), histograms: Vec::new() };
                if floats.is_empty() {
                    return Ok(None);
                }
                self.memory.hold(floats.memory_bytes())?;
                Ok(Some((index, floats)))
            })
        })?;
        let mut rows: Vec<(usize, Column)> = rows.into_iter().flatten().collect();
        if grid.count == 1 {
            rows.sort_by(|(_, a), (_, b)| {
                let (a, b) = (a.floats[0], b.floats[0]);
                match (a.is_nan(), b.is_nan()) {
                    (true, true) => Ordering::Equal,
                    (true, false) => Ordering::Greater,
                    (false, true) => Ordering::Less,
                    (false, false) if descending => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
                    (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                }
            });
        }
        debug_assert!(grid.count != 1 || rows.iter().all(|(_, column)| !is_absent(column.floats[0])));
        let series = rows.iter().map(|(index, _)| inner.series()[*index].clone()).collect();
        let columns = rows.into_iter().map(|(_, column)| column).collect();
        Ok(Arc::new(Table { series, columns }))
    }
}

/// Series in another order.
pub(crate) struct Reordered<'e> {
    inner: Operator<'e>,
    series: Vec<SeriesId>,
    order: Vec<usize>,
}

impl<'e> Reordered<'e> {
    /// By the values of `labels`, numbers in them counting as numbers; then by the whole label set.
    pub(super) fn by_labels(inner: Operator<'e>, labels: &[String], descending: bool) -> Self {
        let ids = inner.series();
        let mut order: Vec<usize> = (0..ids.len()).collect();
        let full: Vec<_> = ids.iter().map(SeriesId::to_labels).collect();
        order.sort_by(|&a, &b| {
            let by_label = labels
                .iter()
                .map(|label| natural_order(ids[a].get(label).unwrap_or(""), ids[b].get(label).unwrap_or("")));
            let found = by_label
                .into_iter()
                .find(|ordering| *ordering != Ordering::Equal)
                .unwrap_or_else(|| full[a].cmp(&full[b]));
            if descending { found.reverse() } else { found }
        });
        let series = order.iter().map(|index| ids[*index].clone()).collect();
        Self { inner, series, order }
    }
}

impl VectorOperator for Reordered<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.series
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        self.inner.read(self.order[index], worker, scratch)
    }

    fn cost(&self) -> usize {
        self.inner.cost()
    }

    fn may_have_histograms(&self) -> bool {
        self.inner.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        self.inner.may_note()
    }
}

/// Texts in the order that people expect: runs of digits compare as numbers.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (chunk_a, rest_a) = chunk(a);
        let (chunk_b, rest_b) = chunk(b);
        if chunk_a.is_empty() || chunk_b.is_empty() {
            return chunk_a.len().cmp(&chunk_b.len());
        }
        let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
        let found = if digits(chunk_a) && digits(chunk_b) {
            let (number_a, number_b) = (chunk_a.trim_start_matches('0'), chunk_b.trim_start_matches('0'));
            number_a
                .len()
                .cmp(&number_b.len())
                .then(number_a.cmp(number_b))
                .then(chunk_a.len().cmp(&chunk_b.len()))
        } else {
            chunk_a.cmp(chunk_b)
        };
        if found != Ordering::Equal {
            return found;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The run of digits, or of other characters, at the start.
fn chunk(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_texts_count_as_numbers() {
        for (a, b) in [("a2", "a10"), ("1", "02"), ("a", "b"), ("a1b2", "a1b10"), ("", "a"), ("2", "a")] {
            assert_eq!(natural_order(a, b), Ordering::Less, "{a} < {b}");
            assert_eq!(natural_order(b, a), Ordering::Greater, "{b} > {a}");
        }
        assert_eq!(natural_order("a1", "a1"), Ordering::Equal);
    }
}
