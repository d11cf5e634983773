//! What a query reads from: the tail as of one moment, and what is not in it, fetched beforehand.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use promql::{Matcher, Plan, SelectedSeries, Selection, SeriesSource, SourceError};
use storage_format::FormatError;
use telemetry::{Labels, Metadata, MetricBatch, Series, TenantId};

use crate::error::QueryError;
use crate::limits::{BRIEF_POINTS, BRIEF_POINTS_TIMES_SAMPLES, BRIEF_SEGMENTS, BRIEF_SERIES};
use crate::segments::{Cold, Loaded, SegmentPart, Segments};
use crate::tail::{Having, Selected, batch_overlaps, for_each_name_set, for_each_series};

/// Which of a tenant's data a query needs.
#[derive(Clone, Debug)]
pub struct Scope {
    /// Earliest and latest timestamp (ms, inclusive).
    pub time_range_ms: (i64, i64),
    /// Whether data counts that is not durable yet.
    pub with_provisional: bool,
    /// What of it.
    pub needs: Needs,
}

/// What of the data in a time range a query needs.
#[derive(Clone, Debug)]
pub enum Needs {
    /// What the newest data says about itself: metadata, and which labels there are; whatever the time range.
    Overview,
    /// Labels of series.
    Labels,
    /// The samples that are selected, each in its own time range.
    Samples(Arc<[Selection]>),
    /// The exemplars of series that one of these finds.
    Exemplars(Arc<[Vec<Matcher>]>),
}

/// What fetching may cost.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Bytes of segments.
    pub bytes: u64,
    /// Memory for what is held of them (bytes).
    pub memory_bytes: u64,
}

/// A tenant's data as one query sees it: in memory, all of it.
#[derive(Debug)]
pub struct TenantSource {
    segments: Arc<Segments>,
    tenant: TenantId,
    loaded: Loaded,
}

impl TenantSource {
    /// Fetches what is not in memory. What is damaged is left out, and a warning says so. An object that is not there,
    /// although the newest manifests name it, is an error: going on without it would be a wrong answer.
    ///
    /// # Errors
    /// [`QueryError::Bytes`], [`QueryError::Limit`], [`QueryError::FetchedMemory`], [`QueryError::Unavailable`].
    pub async fn fetch(
        segments: &Arc<Segments>,
        tenant: &TenantId,
        scope: &Scope,
        limits: FetchLimits,
    ) -> Result<Self, QueryError> {
        let loaded = segments.load(tenant, scope, limits).await?;
        Ok(Self { segments: Arc::clone(segments), tenant: tenant.clone(), loaded })
    }

    /// Bytes of segments that it needs.
    pub(crate) fn cold_bytes(&self) -> u64 {
        self.loaded.cold_bytes
    }

    /// How many objects have something of it.
    pub(crate) fn cold_units(&self) -> usize {
        self.loaded.cold.len()
    }

    /// What the store has to say about every answer from it; known in full once everything is read.
    pub(crate) fn warnings(&self) -> Vec<String> {
        for damaged in self.segment_parts().filter_map(SegmentPart::damaged) {
            self.segments.note_damaged(&self.tenant, damaged);
        }
        let quarantined = self.loaded.quarantined.iter().map(String::as_str);
        let mut warnings = self.segments.warnings(&self.tenant, quarantined, &self.loaded.spared);
        warnings.extend_from_slice(&self.loaded.notes);
        warnings
    }

    /// Series that all matchers hold for.
    pub(crate) fn select(&self, matchers: &[Matcher], having: Having, time_range_ms: (i64, i64)) -> Selected {
        Selected::new(&self.loaded.view, &self.loaded.cold, matchers, having, time_range_ms)
    }

    /// Calls `each` with every series that all matchers hold for and that has samples in the time range (ms, both
    /// inclusive), several times, in no order, until it breaks off.
    pub(crate) fn for_each_series(
        &self,
        matchers: &[Matcher],
        time_range_ms: (i64, i64),
        each: impl FnMut(&Arc<Series>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for_each_series(&self.loaded.view, &self.loaded.cold, matchers, time_range_ms, each)
    }

    /// Calls `each` with sets of label names of such series, until it breaks off: every name of theirs is in one.
    pub(crate) fn for_each_name_set(
        &self,
        matchers: &[Matcher],
        time_range_ms: (i64, i64),
        each: impl FnMut(&mut dyn Iterator<Item = &str>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for_each_name_set(&self.loaded.view, &self.loaded.cold, matchers, time_range_ms, each)
    }

    /// Calls `each` with every label name of series with samples in the time range (ms, both inclusive); several times, in
    /// no order.
    pub(crate) fn for_each_label_name(&self, time_range_ms: (i64, i64), mut each: impl FnMut(&str)) {
        self.loaded.view.for_each_label_name(time_range_ms, &mut each);
        for part in self.segment_parts() {
            part.segment().for_each_name(time_range_ms, &mut each);
        }
        for labels in self.cold_labels(time_range_ms) {
            labels.iter().for_each(|(name, _)| each(name));
        }
    }

    /// Calls `each` with every value of label `name` of such series; several times, in no order.
    pub(crate) fn for_each_label_value(
        &self,
        name: &str,
        time_range_ms: (i64, i64),
        mut each: impl FnMut(&str),
    ) {
        self.loaded.view.for_each_label_value(name, time_range_ms, &mut each);
        for part in self.segment_parts() {
            part.segment().for_each_value(name, time_range_ms, &mut each);
        }
        self.cold_labels(time_range_ms).filter_map(|labels| labels.get(name)).for_each(&mut each);
    }

    /// Whether evaluating `plan` takes so little that handing it to another thread would take longer: everything is in
    /// memory, and it is few series and steps.
    pub(crate) fn is_brief(&self, plan: &Plan) -> bool {
        let samples = || -> Option<u64> {
            let in_memory =
                plan.selections().iter().map(|each| self.loaded.view.samples_at_most(&each.matchers));
            let at_rest = self.loaded.cold.iter().map(|cold| match cold {
                Cold::Batch(_) => None,
                Cold::Segment(part) => part.samples_at_most(),
            });
            in_memory.chain(at_rest).sum()
        };
        self.loaded.cold.len() <= BRIEF_SEGMENTS
            && plan.points() <= BRIEF_POINTS
            && samples()
                .is_some_and(|samples| plan.points().saturating_mul(samples) <= BRIEF_POINTS_TIMES_SAMPLES)
    }

    /// The same of looking up which series there are that fulfil all matchers of one of `selectors`, or of all series where there
    /// are no selectors: where these are no more than `series`, even if few have to be looked at.
    pub(crate) fn is_brief_lookup(
        &self,
        selectors: &[Vec<Matcher>],
        series: usize,
        time_range_ms: (i64, i64),
    ) -> bool {
        let (matchers, series) = match selectors {
            [] => (&[][..], usize::MAX),
            [selector] => (selector.as_slice(), series),
            _ => return false,
        };
        let is_brief = |cold: &Cold| match cold {
            Cold::Batch(batch) => batch.series.len() <= series.min(BRIEF_SERIES),
            Cold::Segment(part) => part.segment().is_brief(matchers, series, time_range_ms),
        };
        self.loaded.cold.len() <= BRIEF_SEGMENTS
            && self.loaded.cold.iter().all(is_brief)
            && self.loaded.view.is_brief(matchers, series, time_range_ms)
    }

    /// How many values label `name` has where it has most of them.
    pub(crate) fn most_values(&self, name: &str) -> usize {
        let at_rest = self.segment_parts().map(|part| part.segment().value_count(name));
        at_rest.max().unwrap_or(0).max(self.loaded.view.values(name))
    }

    /// Calls `each` with every label name, value, and the number of series that have it, object by object.
    pub(crate) fn for_each_pair(&self, mut each: impl FnMut(&str, &str, u64)) {
        self.loaded.view.for_each_pair(&mut each);
        for part in self.segment_parts() {
            if let Err(error) = part.segment().for_each_pair(&mut each) {
                self.note_damage(part, &error);
            }
        }
    }

    /// Series in the largest place where there are any.
    pub(crate) fn most_series(&self) -> u64 {
        let at_rest = self.segment_parts().map(|part| part.segment().index().series_count());
        u64::from(at_rest.max().unwrap_or(0).max(self.loaded.view.series()))
    }

    /// What the objects at rest say about metrics: family name → metadata; later ones win.
    pub(crate) fn metadata(&self) -> BTreeMap<&str, &Metadata> {
        let mut all = BTreeMap::new();
        for cold in &self.loaded.cold {
            let metadata = match cold {
                Cold::Batch(batch) => &batch.metadata,
                Cold::Segment(part) => part.segment().index().metadata(),
            };
            all.extend(metadata.iter().map(|(name, entry)| (name.as_str(), entry)));
        }
        all
    }

    fn note_damage(&self, part: &SegmentPart, error: &FormatError) {
        let (object, error) = (part.segment().key(), error as &dyn std::error::Error);
        tracing::error!(tenant = %self.tenant, %object, error, "an index cannot be read");
        self.segments.note_damaged(&self.tenant, object);
    }

    fn segment_parts(&self) -> impl Iterator<Item = &SegmentPart> {
        self.loaded.cold.iter().filter_map(|cold| match cold {
            Cold::Segment(part) => Some(&**part),
            Cold::Batch(_) => None,
        })
    }

    fn batches(&self) -> impl Iterator<Item = &MetricBatch> {
        self.loaded.cold.iter().filter_map(|cold| match cold {
            Cold::Batch(batch) => Some(&**batch),
            Cold::Segment(_) => None,
        })
    }

    fn cold_labels(&self, (start_ms, end_ms): (i64, i64)) -> impl Iterator<Item = &Labels> {
        self.batches().flat_map(move |batch| {
            let series = batch.series.iter().enumerate();
            let within = series.filter(move |(index, _)| batch_overlaps(batch, *index, start_ms, end_ms));
            within.map(|(_, series)| series.labels())
        })
    }
}

impl SeriesSource for TenantSource {
    fn select(&self, selection: &Selection) -> Result<Box<dyn SelectedSeries + '_>, SourceError> {
        let time_range_ms = (selection.start_ms, selection.end_ms);
        let having = if selection.wants_latest_only() { Having::Latest } else { Having::Samples };
        let answers = |cold: &&Cold| match cold {
            Cold::Batch(_) => true,
            Cold::Segment(part) => part.answers(selection.reading),
        };
        let cold: Vec<Cold> = self.loaded.cold.iter().filter(answers).cloned().collect();
        let view = &self.loaded.view;
        Ok(Box::new(Selected::new(view, &cold, &selection.matchers, having, time_range_ms)))
    }
}
