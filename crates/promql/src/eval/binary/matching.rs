//! Arithmetic and comparisons between two vectors.
//!
//! Who meets whom is settled from labels. Nearly always a result series is made of one series of each side; it is
//! computed when it is read. Where several series share a match signature it depends on the step which of them meet, or
//! whether they are in each other's way; such groups are computed at once.

use std::collections::HashMap;
use std::sync::Arc;

use telemetry::Labels;

use super::{changes_metric, of_points, zip_columns};
use crate::EvalError;
use crate::ast::{BinaryOp, Cardinality, VectorMatching};
use crate::eval::column::{Column, Point};
use crate::eval::context::{Evaluation, Worker};
use crate::eval::key_map::{KeyMap, write_pairs};
use crate::eval::merge::same_labels;
use crate::eval::operator::{Operator, VectorOperator, with_column};
use crate::eval::series::{LabelSubset, NameState, SeriesId, is_reserved, labels_of};
use crate::plan::Grid;

/// The operation without its operands.
#[derive(Clone)]
pub(crate) struct Operation {
    pub(crate) op: BinaryOp,
    pub(crate) matching: VectorMatching,
    pub(crate) return_bool: bool,
    pub(crate) grid: Grid,
    pub(crate) position: u32,
}

struct Matched<'e> {
    operation: Operation,
    many: Operator<'e>,
    one: Operator<'e>,
    /// Columns of the "one" side that are needed more than once.
    kept: HashMap<usize, Column>,
    series: Vec<SeriesId>,
    results: Vec<ResultColumn>,
}

enum ResultColumn {
    /// Of one series of the "many" side and one of the other.
    Pair {
        many: usize,
        one: usize,
    },
    Computed(Column),
}

/// Series with the same match signature.
#[derive(Default)]
struct Group {
    many: Vec<usize>,
    one: Vec<usize>,
}

/// `lhs op rhs`.
pub(crate) fn matched<'e>(
    evaluation: &Evaluation<'e>,
    lhs: Operator<'e>,
    rhs: Operator<'e>,
    operation: Operation,
) -> Result<Operator<'e>, EvalError> {
    let (many, one) = if operation.swapped() { (rhs, lhs) } else { (lhs, rhs) };
    let mut names = operation.matching.labels.clone();
    names.sort_unstable();
    let subset = LabelSubset { names: &names, only: operation.matching.on };
    let mut signatures = KeyMap::default();
    let mut groups: Vec<Group> = Vec::new();
    for (index, id) in one.series().iter().enumerate() {
        let (number, new) = signatures.number(|key| write_pairs(subset.pairs(id), key));
        if new {
            groups.push(Group::default());
        }
        groups[number].one.push(index);
    }
    let mut group_of: Vec<Option<usize>> = Vec::with_capacity(many.series().len());
    for (index, id) in many.series().iter().enumerate() {
        let number = signatures.find(|key| write_pairs(subset.pairs(id), key));
        if let Some(number) = number {
            groups[number].many.push(index);
        }
        group_of.push(number);
    }
    let steps = operation.grid.count;
    let alone = |index: &usize| group_of[*index].is_none();
    evaluation.read_for_notes(&*many, steps, (0..group_of.len()).filter(alone))?;
    let without_many = groups.iter().filter(|group| group.many.is_empty());
    evaluation.read_for_notes(&*one, steps, without_many.flat_map(|group| group.one.iter().copied()))?;
    let mut results = Results {
        evaluation,
        operation: &operation,
        many: &*many,
        one: &*one,
        series: Vec::new(),
        columns: Vec::new(),
        groups: Vec::new(),
        known: KeyMap::default(),
        many_present: None,
    };
    let one_to_one = operation.matching.cardinality == Cardinality::OneToOne;
    let entangled = |group: &Group| group.one.len() > 1 || (one_to_one && group.many.len() > 1);
    for (index, number) in group_of.into_iter().enumerate() {
        if let Some(number) = number.filter(|number| !entangled(&groups[*number])) {
            results.add_pair(index, groups[number].one[0], number)?;
        }
    }
    for (number, group) in groups.iter().enumerate().filter(|(_, group)| entangled(group)) {
        evaluation.check_cancelled()?;
        results.compute(number, group)?;
    }
    let Results { series, columns, .. } = results;
    let simple = groups.iter().filter(|group| !entangled(group));
    let kept = keep_needed_often(evaluation, &*one, simple, operation.grid)?;
    Ok(Arc::new(Matched { operation, many, one, kept, series, results: columns }))
}

/// Columns of the "one" side that several results need, unless they are stored anyway.
fn keep_needed_often<'g>(
    evaluation: &Evaluation<'_>,
    one: &dyn VectorOperator,
    groups: impl Iterator<Item = &'g Group>,
    grid: Grid,
) -> Result<HashMap<usize, Column>, EvalError> {
    if one.is_stored() {
        return Ok(HashMap::new());
    }
    let wanted: Vec<usize> = groups.filter(|group| group.many.len() > 1).map(|group| group.one[0]).collect();
    let columns = evaluation.parallel(wanted.len(), one.cost(), |worker, number| {
        with_column(one, wanted[number], grid.count, worker, |_, column| {
            evaluation.memory.hold(column.memory_bytes())?;
            Ok((wanted[number], column.clone()))
        })
    })?;
    Ok(columns.into_iter().collect())
}

impl Operation {
    /// The identity of what a series of the "many" side makes with one of the other.
    fn result_id(&self, many: &SeriesId, one: &SeriesId, delayed: bool) -> SeriesId {
        let matching = &self.matching;
        let drops = changes_metric(self.op) || (self.return_bool && !delayed);
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        let is_kept = |name: &str| {
            let named = |labels: &[String]| labels.iter().any(|label| label == name);
            if (drops && is_reserved(name)) || named(&matching.include) {
                return false;
            }
            !one_to_one || named(&matching.labels) == matching.on
        };
        let kept = many.pairs().filter(|(name, _)| is_kept(name));
        let included = matching.include.iter().filter_map(|label| Some((label.as_str(), one.get(label)?)));
        let labels = labels_of(kept.chain(included));
        let state = match many.name_state() {
            NameState::Delayed => NameState::Delayed,
            _ if self.return_bool && delayed => NameState::Delayed,
            _ => NameState::Kept,
        };
        SeriesId::with_state(labels, state)
    }

    fn swapped(&self) -> bool {
        self.matching.cardinality == Cardinality::OneToMany
    }
}

/// The result series as they come about.
struct Results<'a, 'e> {
    evaluation: &'a Evaluation<'e>,
    operation: &'a Operation,
    many: &'a dyn VectorOperator,
    one: &'a dyn VectorOperator,
    series: Vec<SeriesId>,
    columns: Vec<ResultColumn>,
    /// The group that each result came from first.
    groups: Vec<usize>,
    known: KeyMap,
    /// At which steps the "many" side has any sample; only then does a duplicate on the other side matter.
    many_present: Option<Vec<bool>>,
}

impl Results<'_, '_> {
    /// The number of the result that two series make, and whether it is new; then it has no column yet.
    fn number(&mut self, many: usize, one: usize, group: usize) -> Result<(usize, bool), EvalError> {
        let delayed = self.evaluation.delayed_name_removal;
        let id = self.operation.result_id(&self.many.series()[many], &self.one.series()[one], delayed);
        let canonical = id.raw_labels().as_canonical().as_bytes();
        let (number, new) = self.known.number(|key| key.extend_from_slice(canonical));
        if new {
            self.evaluation.memory.hold(id.raw_labels().memory_bytes() + 96)?;
            self.evaluation.count_pairs(number + 1)?;
            self.series.push(id);
            self.groups.push(group);
        }
        Ok((number, new))
    }

    /// Adds the result of two series whose group no other series disturbs.
    fn add_pair(&mut self, many: usize, one: usize, group: usize) -> Result<(), EvalError> {
        let (number, new) = self.number(many, one, group)?;
        if new {
            self.columns.push(ResultColumn::Pair { many, one });
            return Ok(());
        }
        // Another pair has the same labels: they may take turns.
        let column = self.pair_column(many, one)?;
        for step in 0..column.floats.len() {
            if let Some(point) = column.get(step) {
                self.put(number, step, point, group)?;
            }
        }
        Ok(())
    }

    fn pair_column(&self, many: usize, one: usize) -> Result<Column, EvalError> {
        let mut columns = self.columns_of(self.many, &[many])?;
        columns.extend(self.columns_of(self.one, &[one])?);
        let (a, b) =
            if self.operation.swapped() { (&columns[1], &columns[0]) } else { (&columns[0], &columns[1]) };
        let mut out = Column::absent(self.operation.grid.count);
        zip_columns(self.operation.op, self.operation.return_bool, a, b, &mut out, |note| {
            self.evaluation.note(note, self.operation.position);
        });
        self.evaluation.memory.hold(out.memory_bytes())?;
        Ok(out)
    }

    /// Gives a result a point, where it has none yet.
    fn put(&mut self, number: usize, step: usize, point: Point, group: usize) -> Result<(), EvalError> {
        if let ResultColumn::Pair { many, one } = self.columns[number] {
            self.columns[number] = ResultColumn::Computed(self.pair_column(many, one)?);
        }
        let ResultColumn::Computed(column) = &mut self.columns[number] else { return Ok(()) };
        if !column.is_present(step) {
            column.set(step, point);
            return Ok(());
        }
        if self.groups[number] == group && self.operation.matching.cardinality != Cardinality::OneToOne {
            let message = "multiple matches for labels: grouping labels must ensure unique matches";
            return Err(EvalError::Execution(message.to_owned()));
        }
        Err(same_labels())
    }

    /// Computes a group in which series may be in each other's way, step by step.
    fn compute(&mut self, number: usize, group: &Group) -> Result<(), EvalError> {
        let steps = self.operation.grid.count;
        let ones = self.columns_of(self.one, &group.one)?;
        let manys = self.columns_of(self.many, &group.many)?;
        let mut numbers: HashMap<(usize, usize), usize> = HashMap::new();
        for step in 0..steps {
            let mut present = (0..ones.len()).filter(|at| ones[*at].is_present(step));
            let Some(partner) = present.next() else { continue };
            if let Some(other) = present.next()
                && self.many_is_present(step)?
            {
                return Err(self.duplicate(group.one[other], group.one[partner]));
            }
            let Some(one_point) = ones[partner].get(step) else { continue };
            let mut matches = 0;
            for (at, column) in manys.iter().enumerate() {
                let Some(many_point) = column.get(step) else { continue };
                let (a, b) = if self.operation.swapped() {
                    (&one_point, &many_point)
                } else {
                    (&many_point, &one_point)
                };
                let point = match of_points(self.operation.op, a, b, self.operation.return_bool) {
                    Ok(Some(point)) => point,
                    Ok(None) => continue,
                    Err(note) => {
                        self.evaluation.note(note, self.operation.position);
                        continue;
                    }
                };
                matches += 1;
                if matches > 1 && self.operation.matching.cardinality == Cardinality::OneToOne {
                    let message = "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)";
                    return Err(EvalError::Execution(message.to_owned()));
                }
                let pair = (group.many[at], group.one[partner]);
                let result = match numbers.get(&pair) {
                    Some(result) => *result,
                    None => {
                        let (result, new) = self.number(pair.0, pair.1, number)?;
                        if new {
                            let column = Column::absent(steps);
                            self.evaluation.memory.hold(column.memory_bytes())?;
                            self.columns.push(ResultColumn::Computed(column));
                        }
                        numbers.insert(pair, result);
                        result
                    }
                };
                self.put(result, step, point, number)?;
            }
        }
        Ok(())
    }

    fn columns_of(&self, side: &dyn VectorOperator, wanted: &[usize]) -> Result<Vec<Column>, EvalError> {
        self.evaluation.parallel(wanted.len(), side.cost(), |worker, number| {
            with_column(side, wanted[number], self.operation.grid.count, worker, |_, column| {
                self.evaluation.memory.hold(column.memory_bytes())?;
                Ok(column.clone())
            })
        })
    }

    fn many_is_present(&mut self, step: usize) -> Result<bool, EvalError> {
        if self.many_present.is_none() {
            let steps = self.operation.grid.count;
            let mut any = vec![false; steps];
            let mut worker = Worker::new(self.evaluation);
            for index in 0..self.many.series().len() {
                self.evaluation.check_cancelled()?;
                with_column(self.many, index, steps, &mut worker, |_, column| {
                    for (step, any) in any.iter_mut().enumerate() {
                        *any |= column.is_present(step);
                    }
                    Ok(())
                })?;
            }
            self.many_present = Some(any);
        }
        Ok(self.many_present.as_ref().is_some_and(|any| any[step]))
    }

    fn duplicate(&self, found: usize, known: usize) -> EvalError {
        let matching = &self.operation.matching;
        let side = if self.operation.swapped() { "left" } else { "right" };
        let mut names = matching.labels.clone();
        names.sort_unstable();
        let subset = LabelSubset { names: &names, only: matching.on };
        let ids = self.one.series();
        let group = labels_of(subset.pairs(&ids[found]));
        EvalError::Execution(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            in_braces(&group),
            in_braces(&ids[found].to_labels()),
            in_braces(&ids[known].to_labels()),
        ))
    }
}

/// A label set as Prometheus's messages write it, the name among the other labels.
fn in_braces(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", crate::quote(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

impl VectorOperator for Matched<'_> {
    fn series(&self) -> &[SeriesId] {
        &self.series
    }

    fn read<'a>(
        &'a self,
        index: usize,
        worker: &mut Worker<'_>,
        scratch: &'a mut Column,
    ) -> Result<&'a Column, EvalError> {
        let (many, one) = match &self.results[index] {
            ResultColumn::Computed(column) => return Ok(column),
            ResultColumn::Pair { many, one } => (*many, *one),
        };
        let operation = &self.operation;
        let steps = operation.grid.count;
        let mut many_scratch = worker.take_column(steps);
        let mut one_scratch = worker.take_column(steps);
        let many_column = self.many.read(many, worker, &mut many_scratch)?;
        let one_column = match self.kept.get(&one) {
            Some(column) => column,
            None => self.one.read(one, worker, &mut one_scratch)?,
        };
        let (a, b) = if operation.swapped() { (one_column, many_column) } else { (many_column, one_column) };
        zip_columns(operation.op, operation.return_bool, a, b, scratch, |note| {
            worker.evaluation.note(note, operation.position);
        });
        worker.give_column(many_scratch);
        worker.give_column(one_scratch);
        Ok(scratch)
    }

    fn cost(&self) -> usize {
        self.many.cost() + self.one.cost() + self.operation.grid.count
    }

    fn may_have_histograms(&self) -> bool {
        self.many.may_have_histograms() || self.one.may_have_histograms()
    }

    fn may_note(&self) -> bool {
        self.may_have_histograms() || self.many.may_note() || self.one.may_note()
    }
}
