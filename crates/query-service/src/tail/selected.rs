//! The series that a selection finds in all the places where a tenant's data is, each once.

use std::ops::ControlFlow;
use std::sync::Arc;

use promql::{Matcher, SelectedSeries, SeriesSamples, SourceError};
use storage_format::tenant::BlockKind;
use telemetry::labels::{READ_AHEAD, read_ahead};
use telemetry::{Exemplar, Labels, MetricBatch, Series, order_by_labels, series};

use super::cells::Cells;
use super::head::Head;
use super::provisional::{batch_overlaps, exemplars_of, read_batch};
use super::tenant::TenantView;
use crate::samples::merge_newer;
use crate::segments::{Cold, SegmentPart};

/// Series in ascending label order, and where their samples are.
#[derive(Debug, Default)]
pub(crate) struct Selected {
    series: Vec<SeriesParts>,
    parts: Vec<Part>,
    /// Cells of the generations.
    cells: Vec<Cells>,
    /// Cold batches, then provisional ones.
    batches: Vec<Arc<MetricBatch>>,
    segments: Vec<Arc<SegmentPart>>,
    time_range_ms: (i64, i64),
    /// Whether samples before the latest may be left out.
    latest_only: bool,
}

#[derive(Debug)]
struct SeriesParts {
    series: Arc<Series>,
    /// Its run in `Selected::parts` begins where that of the series before ends.
    end: u32,
}

/// What a series must have in the time range to be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Having {
    Samples,
    /// Samples, of which the latest is all that is read.
    Latest,
    Exemplars,
}

/// A place with samples of one series.
#[derive(Clone, Copy, Debug)]
enum Part {
    Cell { cells: u32, id: u32 },
    Batch { batch: u32, index: u32 },
    Segment { segment: u32, series: u32 },
}

impl Selected {
    /// What all `matchers` hold for among `cold` (in the order in which they win) and `view`, and what has something in the time range
    /// (ms, both inclusive).
    pub(crate) fn new(
        view: &TenantView,
        cold: &[Cold],
        matchers: &[Matcher],
        having: Having,
        time_range_ms: (i64, i64),
    ) -> Self {
        let selected = Self { time_range_ms, latest_only: having == Having::Latest, ..Self::default() };
        let mut finder = Finder { found: Vec::new(), runs: Vec::new(), selected, matchers, having };
        // From the oldest to the newest: the order of a series' parts is the order in which they win.
        for cold in cold {
            match cold {
                Cold::Batch(batch) => finder.look_in_batch(batch),
                Cold::Segment(segment) => finder.look_in_segment(segment),
            }
        }
        let mut provisional = Vec::new();
        for generation in &view.generations {
            let (ids, cells) = generation.select(matchers);
            for batch in &generation.provisional {
                batch.for_each_of(&ids, |id, index| {
                    if let Some(series) = cells.series(id) {
                        provisional.push((batch.segment, Arc::clone(series), &batch.batch, index));
                    }
                });
            }
            finder.look_in_cells(&ids, cells);
        }
        provisional.sort_by_key(|(segment, ..)| *segment);
        finder.begin_run(false);
        for (_, series, batch, index) in provisional {
            finder.add_from_batch(series, batch, index);
        }
        finder.finish()
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn labels(&self, index: usize) -> &Labels {
        self.series[index].series.labels()
    }

    fn parts(&self, index: usize) -> &[Part] {
        let start = if index == 0 { 0 } else { self.series[index - 1].end };
        &self.parts[start as usize..self.series[index].end as usize]
    }

    pub(crate) fn read(&self, index: usize, out: &mut SeriesSamples) {
        let parts = self.parts(index);
        if let [part] = parts {
            return self.read_part(*part, out);
        }
        let mut newer = SeriesSamples::default();
        for part in parts {
            newer.clear();
            self.read_part(*part, &mut newer);
            merge_newer(out, &newer);
        }
    }

    fn read_part(&self, part: Part, out: &mut SeriesSamples) {
        let (start_ms, end_ms) = self.time_range_ms;
        match part {
            Part::Cell { cells, id } => {
                self.cells[cells as usize].read(id, |head| {
                    if self.latest_only {
                        head.read_latest(start_ms, end_ms, out);
                    } else {
                        head.read(start_ms, end_ms, out);
                    }
                });
            }
            Part::Batch { batch, index } => {
                read_batch(&self.batches[batch as usize], index as usize, self.time_range_ms, out);
            }
            Part::Segment { segment, series } => {
                self.segments[segment as usize].read(series, self.time_range_ms, out);
            }
        }
    }

    /// The exemplars of series `index` in the time range, ascending by time, each once.
    pub(crate) fn exemplars(&self, index: usize) -> Vec<Exemplar> {
        let (start_ms, end_ms) = self.time_range_ms;
        let mut all: Vec<Exemplar> = Vec::new();
        for part in self.parts(index) {
            match *part {
                Part::Cell { cells, id } => {
                    self.cells[cells as usize]
                        .read(id, |head| all.extend(head.exemplars(start_ms, end_ms).cloned()));
                }
                Part::Batch { batch, index } => {
                    let exemplars = exemplars_of(&self.batches[batch as usize], index as usize);
                    let within = |exemplar: &&Exemplar| (start_ms..=end_ms).contains(&exemplar.timestamp_ms);
                    all.extend(exemplars.iter().map(|(_, exemplar)| exemplar).filter(within).cloned());
                }
                Part::Segment { segment, series } => {
                    all.extend(self.segments[segment as usize].exemplars(series, self.time_range_ms));
                }
            }
        }
        all.sort_by(|a, b| a.timestamp_ms.cmp(&b.timestamp_ms).then_with(|| a.labels.cmp(&b.labels)));
        all.dedup();
        all
    }
}

impl SelectedSeries for Selected {
    fn len(&self) -> usize {
        self.len()
    }

    fn labels(&self, index: usize) -> &Labels {
        self.labels(index)
    }

    fn may_have_histograms(&self) -> bool {
        self.parts.iter().any(|part| match *part {
            Part::Cell { cells, id } => {
                self.cells[cells as usize].read(id, Head::has_histograms) == Some(true)
            }
            Part::Batch { batch, .. } => !self.batches[batch as usize].histograms.is_empty(),
            Part::Segment { segment, series } => {
                let segment = self.segments[segment as usize].segment();
                segment.blocks_of(BlockKind::Histograms, series).next().is_some()
            }
        })
    }

    fn read(&self, index: usize, out: &mut SeriesSamples) -> Result<(), SourceError> {
        self.read(index, out);
        Ok(())
    }
}

/// Calls `each` with every series that all `matchers` hold for and that has samples in the time range (ms, both inclusive),
/// several times, in no order, until it breaks off. With few of them wanted, not all are looked for.
pub(crate) fn for_each_series(
    view: &TenantView,
    cold: &[Cold],
    matchers: &[Matcher],
    (start_ms, end_ms): (i64, i64),
    mut each: impl FnMut(&Arc<Series>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    for cold in cold {
        match cold {
            Cold::Batch(batch) => {
                for (index, series) in batch.series.iter().enumerate() {
                    if all_hold(matchers, series) && batch_overlaps(batch, index, start_ms, end_ms) {
                        each(series)?;
                    }
                }
            }
            Cold::Segment(part) => {
                let selected = part.select(matchers).into_iter();
                let within =
                    selected.filter(|number| part.segment().has_samples(*number, (start_ms, end_ms)));
                for number in within {
                    if let Some(series) = part.series(number) {
                        each(&series)?;
                    }
                }
            }
        }
    }
    for generation in &view.generations {
        generation.select_in_stretches(matchers, |ids| {
            let Some(presence) = generation.presence(Some(ids), (start_ms, end_ms)) else {
                return ControlFlow::Continue(());
            };
            let present: Vec<u32> = ids.iter().copied().filter(|id| presence.has(*id)).collect();
            present.chunks(READ_AHEAD).try_for_each(|some| {
                let series = || some.iter().filter_map(|id| presence.cells().series(*id));
                read_ahead(series().map(|series| series.labels()));
                series().try_for_each(&mut each)
            })
        })?;
    }
    ControlFlow::Continue(())
}

/// Calls `each` with sets of label names of such series, until it breaks off: every name of theirs is in one.
pub(crate) fn for_each_name_set(
    view: &TenantView,
    cold: &[Cold],
    matchers: &[Matcher],
    time_range_ms: (i64, i64),
    mut each: impl FnMut(&mut dyn Iterator<Item = &str>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let (start_ms, end_ms) = time_range_ms;
    for cold in cold {
        match cold {
            Cold::Batch(batch) => {
                for (index, series) in batch.series.iter().enumerate() {
                    if all_hold(matchers, series) && batch_overlaps(batch, index, start_ms, end_ms) {
                        each(&mut names(series))?;
                    }
                }
            }
            Cold::Segment(part) => {
                let selected = part.select(matchers);
                each(&mut part.segment().names_of(selected, time_range_ms).into_iter())?;
            }
        }
    }
    for generation in &view.generations {
        let (ids, _) = generation.select(matchers);
        let Some(presence) = generation.presence(Some(&ids), time_range_ms) else { continue };
        let mut seen: Vec<bool> = Vec::new();
        for (&id, set) in ids.iter().zip(generation.name_sets(&ids)) {
            let set = set as usize;
            if seen.get(set) != Some(&true)
                && presence.has(id)
                && let Some(series) = presence.cells().series(id)
            {
                seen.resize(seen.len().max(set + 1), false);
                seen[set] = true;
                each(&mut names(series))?;
            }
        }
    }
    ControlFlow::Continue(())
}

fn names(series: &Series) -> impl Iterator<Item = &str> {
    series.labels().iter().map(|(name, _)| name)
}

fn all_hold(matchers: &[Matcher], series: &Series) -> bool {
    let labels = series.labels();
    matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name()).unwrap_or("")))
}

struct Finder<'a> {
    found: Vec<(Arc<Series>, Part)>,
    /// Where in `found` that of each place begins.
    runs: Vec<Run>,
    selected: Selected,
    matchers: &'a [Matcher],
    having: Having,
}

/// What was found in one place.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: usize,
    /// Whether it is in label order.
    is_sorted: bool,
}

impl Finder<'_> {
    fn begin_run(&mut self, is_sorted: bool) {
        // What has to be sorted anyway is sorted together.
        if is_sorted || self.runs.last().is_none_or(|last| last.is_sorted) {
            self.runs.push(Run { start: self.found.len(), is_sorted });
        }
    }

    fn look_in_batch(&mut self, batch: &Arc<MetricBatch>) {
        self.begin_run(true);
        for (index, series) in batch.series.iter().enumerate() {
            if all_hold(self.matchers, series) {
                self.add_from_batch(Arc::clone(series), batch, index);
            }
        }
    }

    fn look_in_segment(&mut self, part: &Arc<SegmentPart>) {
        self.begin_run(true);
        let segment = self.selected.segments.len() as u32;
        let time_range_ms = self.selected.time_range_ms;
        for number in part.select(self.matchers) {
            let is_wanted = match self.having {
                Having::Samples | Having::Latest => part.segment().has_samples(number, time_range_ms),
                Having::Exemplars => part.segment().has_exemplars(number, time_range_ms),
            };
            if let Some(series) = Some(number).filter(|_| is_wanted).and_then(|number| part.series(number)) {
                self.found.push((series, Part::Segment { segment, series: number }));
            }
        }
        self.selected.segments.push(Arc::clone(part));
    }

    fn add_from_batch(&mut self, series: Arc<Series>, batch: &Arc<MetricBatch>, index: usize) {
        let (start_ms, end_ms) = self.selected.time_range_ms;
        let is_wanted = match self.having {
            Having::Samples | Having::Latest => batch_overlaps(batch, index, start_ms, end_ms),
            Having::Exemplars => !exemplars_of(batch, index).is_empty(),
        };
        if !is_wanted {
            return;
        }
        let batches = &mut self.selected.batches;
        if batches.last().is_none_or(|last| !Arc::ptr_eq(last, batch)) {
            batches.push(Arc::clone(batch));
        }
        let batch = batches.len() as u32 - 1;
        self.found.push((series, Part::Batch { batch, index: index as u32 }));
    }

    fn look_in_cells(&mut self, ids: &[u32], cells: Cells) {
        self.begin_run(false);
        let (start_ms, end_ms) = self.selected.time_range_ms;
        let place = self.selected.cells.len() as u32;
        for some in ids.chunks(READ_AHEAD) {
            series::read_ahead(some.iter().filter_map(|id| cells.series(*id)).map(|series| &**series));
            for &id in some {
                let is_wanted = cells.read(id, |head| match self.having {
                    Having::Samples | Having::Latest => head.overlaps(start_ms, end_ms),
                    Having::Exemplars => head.exemplars(start_ms, end_ms).next().is_some(),
                });
                if let Some(series) = cells.series(id).filter(|_| is_wanted == Some(true)) {
                    self.found.push((Arc::clone(series), Part::Cell { cells: place, id }));
                }
            }
        }
        self.selected.cells.push(cells);
    }

    /// Puts the series in order and the parts of each together, in the order in which they were found.
    fn finish(self) -> Selected {
        let order = in_label_order(&self.found, &self.runs);
        let Self { found, mut selected, .. } = self;
        let mut found: Vec<(Option<Arc<Series>>, Part)> =
            found.into_iter().map(|(series, part)| (Some(series), part)).collect();
        selected.series.reserve(order.len());
        selected.parts.reserve(order.len());
        for some in order.chunks(READ_AHEAD) {
            series::read_ahead(some.iter().filter_map(|place| found[*place as usize].0.as_deref()));
            for place in some {
                let (series, part) = &mut found[*place as usize];
                let Some(series) = series.take() else { continue };
                selected.parts.push(*part);
                let end = selected.parts.len() as u32;
                match selected.series.last_mut() {
                    Some(last) if Arc::ptr_eq(&last.series, &series) || last.series == series => {
                        last.end = end;
                    }
                    _ => selected.series.push(SeriesParts { series, end }),
                }
            }
        }
        selected
    }
}

/// Places in `found` in label order; equal series in the order in which they were found. Sorts each run for itself, which ranks
/// make cheap, and merges them, which costs a comparison of labels or two a series.
fn in_label_order(found: &[(Arc<Series>, Part)], runs: &[Run]) -> Vec<u32> {
    let ends = runs.iter().skip(1).map(|run| run.start).chain([found.len()]);
    let mut sorted: Vec<Vec<u32>> = Vec::with_capacity(runs.len());
    for (run, end) in runs.iter().zip(ends).filter(|(run, end)| run.start < *end) {
        let start = run.start as u32;
        sorted.push(if run.is_sorted {
            (start..end as u32).collect()
        } else {
            let order = order_by_labels(&found[run.start..end], |(series, _)| series);
            order.into_iter().map(|place| start + place).collect()
        });
    }
    // Neighbours are merged, so that of equal series that of the earlier run comes first.
    while sorted.len() > 1 {
        let mut rest = std::mem::take(&mut sorted).into_iter();
        while let Some(first) = rest.next() {
            sorted.push(match rest.next() {
                Some(second) => merge(found, &first, &second),
                None => first,
            });
        }
    }
    sorted.pop().unwrap_or_default()
}

fn merge(found: &[(Arc<Series>, Part)], first: &[u32], second: &[u32]) -> Vec<u32> {
    let mut merged = Vec::with_capacity(first.len() + second.len());
    let mut rest = second;
    for &place in first {
        let series = &found[place as usize].0;
        let comes_before = |other: &Arc<Series>| {
            !Arc::ptr_eq(other, series) && other != series && other.labels() < series.labels()
        };
        while let Some((&other, after)) =
            rest.split_first().filter(|(other, _)| comes_before(&found[**other as usize].0))
        {
            merged.push(other);
            rest = after;
        }
        merged.push(place);
    }
    merged.extend_from_slice(rest);
    merged
}
