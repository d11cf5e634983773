//! What is to be computed: the tree with times resolved, functions chosen and selections numbered.

use std::sync::Arc;

use regex::Regex;
use telemetry::Labels;

use crate::ast::{AggregateOp, BinaryOp, VectorMatching};
use crate::eval::map::MapFunction;
use crate::eval::range::RangeFunction;
use crate::{LimitExceeded, Matcher, PlanError, Window};

/// The steps at which something is evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Grid {
    pub(crate) start_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) count: usize,
}

/// Times further from the epoch than this (ms; 73 million years) could overflow when offsets are added.
const MAX_TIME_MS: i64 = i64::MAX / 4;

impl Grid {
    pub(crate) fn of_window(window: &Window, max_steps: usize) -> Result<Self, PlanError> {
        let Window { start_ms, end_ms, step_ms } = *window;
        if start_ms.abs() > MAX_TIME_MS || end_ms.abs() > MAX_TIME_MS {
            return Err(PlanError::Request("the time is out of range".to_owned()));
        }
        if end_ms < start_ms {
            return Err(PlanError::Request("end timestamp must not be before start time".to_owned()));
        }
        if step_ms < 0 || (step_ms == 0 && end_ms != start_ms) {
            return Err(PlanError::Request(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .to_owned(),
            ));
        }
        Self::between(start_ms, end_ms, step_ms.max(1), max_steps)
    }

    /// Steps from `start_ms` to at most `end_ms`; none when the end comes first.
    pub(crate) fn between(
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        max_steps: usize,
    ) -> Result<Self, PlanError> {
        if end_ms < start_ms {
            return Ok(Self { start_ms, step_ms, count: 0 });
        }
        let steps = (end_ms.saturating_sub(start_ms) / step_ms) as u64 + 1;
        match usize::try_from(steps) {
            Ok(count) if count <= max_steps => Ok(Self { start_ms, step_ms, count }),
            _ => Err(LimitExceeded::Steps { steps, limit: max_steps }.into()),
        }
    }

    /// The first step alone.
    pub(crate) fn first(self) -> Self {
        Self { count: self.count.min(1), ..self }
    }

    pub(crate) fn time_ms(&self, step: usize) -> i64 {
        self.start_ms + self.step_ms * step as i64
    }

    pub(crate) fn last_ms(&self) -> i64 {
        self.time_ms(self.count.saturating_sub(1))
    }
}

/// At what time a selector looks, for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// `@`, resolved.
    pub(crate) at_ms: Option<i64>,
    pub(crate) offset_ms: i64,
}

impl Reference {
    pub(crate) fn time_ms(&self, step_ms: i64) -> i64 {
        self.at_ms.unwrap_or(step_ms).saturating_sub(self.offset_ms)
    }
}

/// What a selector reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SelectionPlan {
    /// Which of the plan's selections.
    pub(crate) number: usize,
    /// Whether only counts and sums are read of histograms.
    pub(crate) without_buckets: bool,
}

/// Where the samples of a range come from.
#[derive(Clone, Debug)]
pub(crate) struct RangeSource {
    pub(crate) input: RangeInputPlan,
    pub(crate) range_ms: i64,
    pub(crate) reference: Reference,
    /// Where it stands in the text.
    pub(crate) position: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum RangeInputPlan {
    Selection(SelectionPlan),
    Subquery(Arc<PlanNode>),
}

#[derive(Clone, Debug)]
pub(crate) struct PlanNode {
    pub(crate) kind: PlanKind,
    pub(crate) grid: Grid,
    /// Where it stands in the text.
    pub(crate) position: u32,
}

#[derive(Clone, Debug)]
pub(crate) enum PlanKind {
    // Scalars.
    Number(f64),
    Time,
    ScalarOf(Arc<PlanNode>),
    ScalarBinary {
        op: BinaryOp,
        lhs: Arc<PlanNode>,
        rhs: Arc<PlanNode>,
    },
    ScalarNegate(Arc<PlanNode>),
    // Texts.
    Text(String),
    // Either.
    /// The inner node has one step, the outer one repeats it.
    StepInvariant(Arc<PlanNode>),
    // Vectors.
    Selector {
        selection: SelectionPlan,
        reference: Reference,
        lookback_ms: i64,
        /// The samples' timestamps instead of their values.
        timestamps: bool,
    },
    VectorOf(Arc<PlanNode>),
    Map {
        function: MapFunction,
        arg: Arc<PlanNode>,
        params: Vec<Arc<PlanNode>>,
    },
    Negate(Arc<PlanNode>),
    VectorScalar {
        op: BinaryOp,
        vector: Arc<PlanNode>,
        scalar: Arc<PlanNode>,
        scalar_left: bool,
        return_bool: bool,
    },
    Binary {
        op: BinaryOp,
        lhs: Arc<PlanNode>,
        rhs: Arc<PlanNode>,
        matching: VectorMatching,
        return_bool: bool,
    },
    Aggregate {
        op: AggregateOp,
        expr: Arc<PlanNode>,
        param: Option<Arc<PlanNode>>,
        /// Sorted.
        grouping: Vec<String>,
        without: bool,
        /// Where the expression and the parameter stand.
        positions: [u32; 2],
    },
    Range {
        function: RangeFunction,
        source: RangeSource,
        params: Vec<Arc<PlanNode>>,
        /// Where the call's first argument stands.
        first_arg: u32,
    },
    AbsentOverTime {
        source: RangeSource,
        labels: Labels,
    },
    Absent {
        arg: Arc<PlanNode>,
        labels: Labels,
    },
    HistogramQuantile {
        quantile: Arc<PlanNode>,
        arg: Arc<PlanNode>,
        /// Where both stand.
        positions: (u32, u32),
    },
    HistogramFraction {
        lower: Arc<PlanNode>,
        upper: Arc<PlanNode>,
        arg: Arc<PlanNode>,
        /// Where the first and the last stand.
        positions: (u32, u32),
    },
    Relabel {
        function: LabelFunction,
        arg: Arc<PlanNode>,
    },
    Sort {
        arg: Arc<PlanNode>,
        descending: bool,
    },
    SortByLabel {
        arg: Arc<PlanNode>,
        labels: Vec<String>,
        descending: bool,
    },
    Info(InfoPlan),
    /// A range selector or subquery as the result of an instant query.
    RawRange(RangeSource),
}

#[derive(Clone, Debug)]
pub(crate) enum LabelFunction {
    Replace { destination: String, replacement: String, source: String, regex: Regex },
    Join { destination: String, separator: String, sources: Vec<String> },
}

#[derive(Clone, Debug)]
pub(crate) struct InfoPlan {
    pub(crate) arg: Arc<PlanNode>,
    /// The info series.
    pub(crate) selection: SelectionPlan,
    pub(crate) lookback_ms: i64,
    /// The matchers of the second argument but for those of `__name__`.
    pub(crate) data_matchers: Vec<Matcher>,
    /// Which metrics are info metrics.
    pub(crate) name_matchers: Vec<Matcher>,
}
