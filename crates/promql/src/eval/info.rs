//! `info`: labels of info metrics for the series that they are about.

use std::collections::BTreeMap;
use std::sync::Arc;

use telemetry::METRIC_NAME;

use super::column::{Column, is_absent};
use super::context::{Evaluation, Worker};
use super::key_map::{KeyMap, write_pairs};
use super::merge::same_labels;
use super::operator::VectorOperator;
use super::operator::{Operator, Table, with_column};
use super::selector::{InstantSelector, Selected};
use super::series::{NameState, SeriesId, labels_of};
use crate::EvalError;
use crate::plan::{Grid, InfoPlan, Reference};

/// The labels by which an info series is known to be about a series.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// Info series of one metric about the same thing, with when each was last written.
struct Candidates {
    /// (series, timestamps in seconds a step)
    series: Vec<(usize, Column)>,
}

fn identity(id: &SeriesId) -> impl Iterator<Item = (&str, &str)> {
    id.pairs().filter(|(name, _)| IDENTIFYING.contains(name))
}

impl<'e> Evaluation<'e> {
    pub(super) fn info(&self, plan: &InfoPlan, grid: Grid) -> Result<Operator<'e>, EvalError> {
        let base = self.vector(&plan.arg)?;
        let is_info_metric = |id: &SeriesId| {
            let name = id.get(METRIC_NAME).unwrap_or("");
            !plan.name_matchers.is_empty() && plan.name_matchers.iter().all(|matcher| matcher.matches(name))
        };
        let mut wanted = KeyMap::default();
        for id in base.series().iter().filter(|id| !is_info_metric(id)) {
            if identity(id).next().is_some() {
                wanted.number(|key| write_pairs(identity(id), key));
            }
        }
        let info = InstantSelector {
            selected: Selected::new(self, plan.selection)?,
            grid,
            reference: Reference { at_ms: None, offset_ms: 0 },
            lookback_ms: plan.lookback_ms,
            timestamps: true,
        };
        let candidates = self.candidates(&info, &mut wanted, grid)?;
        let mut results =
            Results { evaluation: self, series: Vec::new(), columns: Vec::new(), known: KeyMap::default() };
        let mut worker = Worker::new(self);
        let unmatched_stay = plan.data_matchers.iter().all(|matcher| matcher.matches_empty());
        for (index, id) in base.series().iter().enumerate() {
            self.check_cancelled()?;
            with_column(&*base, index, grid.count, &mut worker, |_, column| {
                if is_info_metric(id) {
                    return results.add(id, column, |_| true);
                }
                let number = wanted.find(|key| write_pairs(identity(id), key));
                let about = number.and_then(|number| candidates.get(&number));
                // Steps with the same info series have the same labels.
                let mut by_choice: BTreeMap<Vec<usize>, Vec<bool>> = BTreeMap::new();
                for step in (0..grid.count).filter(|step| column.is_present(*step)) {
                    let chosen: Vec<usize> = about
                        .into_iter()
                        .flat_map(BTreeMap::values)
                        .filter_map(|candidates| candidates.latest(step))
                        .collect();
                    by_choice.entry(chosen).or_insert_with(|| vec![false; grid.count])[step] = true;
                }
                for (chosen, steps) in by_choice {
                    let added = added_labels(id, &chosen, info.series(), plan)?;
                    if !added.is_empty() || unmatched_stay {
                        results.add(&enriched(id, &added), column, |step| steps[step])?;
                    }
                }
                Ok(())
            })?;
        }
        let Results { series, columns, .. } = results;
        Ok(Arc::new(Table::new(self, series, columns)?))
    }

    /// The info series by what they are about and by their metric.
    fn candidates(
        &self,
        info: &InstantSelector<'_>,
        wanted: &mut KeyMap,
        grid: Grid,
    ) -> Result<BTreeMap<usize, BTreeMap<String, Candidates>>, EvalError> {
        let mut candidates: BTreeMap<usize, BTreeMap<String, Candidates>> = BTreeMap::new();
        let mut worker = Worker::new(self);
        for (index, id) in info.series().iter().enumerate() {
            let Some(number) = wanted.find(|key| write_pairs(identity(id), key)) else { continue };
            let column = with_column(info, index, grid.count, &mut worker, |_, column| Ok(column.clone()))?;
            self.memory.hold(column.memory_bytes())?;
            let of_metric = candidates
                .entry(number)
                .or_default()
                .entry(id.metric_name().to_owned())
                .or_insert_with(|| Candidates { series: Vec::new() });
            for (other, known) in &of_metric.series {
                let together = |step: &usize| {
                    !is_absent(column.floats[*step]) && column.floats[*step] == known.floats[*step]
                };
                if let Some(step) = (0..grid.count).find(together) {
                    let at_ms = (column.floats[step] * 1_000.0) as i64;
                    return Err(EvalError::Execution(format!(
                        "found duplicate series for info metric: existing {} @ {at_ms}, new {} @ {at_ms}",
                        info.series()[*other].raw_labels(),
                        id.raw_labels(),
                    )));
                }
            }
            of_metric.series.push((index, column));
        }
        Ok(candidates)
    }
}

/// The asked-for labels of the info series that the identity lacks.
fn added_labels<'a>(
    id: &SeriesId,
    chosen: &[usize],
    info: &'a [SeriesId],
    plan: &InfoPlan,
) -> Result<BTreeMap<&'a str, &'a str>, EvalError> {
    let mut added: BTreeMap<&str, &str> = BTreeMap::new();
    for (name, value) in chosen.iter().flat_map(|index| info[*index].pairs()) {
        let asked =
            plan.data_matchers.is_empty() || plan.data_matchers.iter().any(|matcher| matcher.name() == name);
        if name == METRIC_NAME || !asked {
            continue;
        }
        if added.get(name).is_some_and(|known| *known != value) {
            return Err(EvalError::Execution(format!("conflicting label: {name}")));
        }
        if id.get(name).is_none() {
            added.insert(name, value);
        }
    }
    Ok(added)
}

fn enriched(id: &SeriesId, added: &BTreeMap<&str, &str>) -> SeriesId {
    let labels = labels_of(id.pairs().chain(added.iter().map(|(name, value)| (*name, *value))));
    let state = match id.name_state() {
        NameState::Dropped => NameState::Kept,
        state => state,
    };
    SeriesId::with_state(labels, state)
}

impl Candidates {
    /// The series with the latest sample at a step.
    fn latest(&self, step: usize) -> Option<usize> {
        self.series
            .iter()
            .filter(|(_, column)| !is_absent(column.floats[step]))
            .max_by(|(_, a), (_, b)| a.floats[step].total_cmp(&b.floats[step]))
            .map(|(index, _)| *index)
    }
}

struct Results<'a, 'e> {
    evaluation: &'a Evaluation<'e>,
    series: Vec<SeriesId>,
    columns: Vec<Column>,
    known: KeyMap,
}

impl Results<'_, '_> {
    fn add(&mut self, id: &SeriesId, column: &Column, at: impl Fn(usize) -> bool) -> Result<(), EvalError> {
        let steps = column.floats.len();
        let (number, new) = self.known.number(|key| write_pairs(id.pairs(), key));
        if new {
            self.evaluation.memory.hold(steps * 8)?;
            self.series.push(id.clone());
            self.columns.push(Column::absent(steps));
        }
        for step in (0..steps).filter(|step| at(*step)) {
            if let Some(point) = column.get(step) {
                if self.columns[number].is_present(step) {
                    return Err(same_labels());
                }
                self.columns[number].set(step, point);
            }
        }
        Ok(())
    }
}
