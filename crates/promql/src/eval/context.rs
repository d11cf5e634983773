//! What all parts of one evaluation share, and what each of its threads has of its own.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::column::Column;
use super::memory::Memory;
use super::notes::{Note, Notes};
use super::operator::SharedNodes;
use super::range::KeptSpans;
use super::step_counts::StepCounts;
use crate::output::{QueryOutput, QueryStats, Value};
use crate::{
    EvalError, EvalOptions, LimitExceeded, Limits, Plan, Selection, SeriesSamples, SeriesSource, stack,
};

/// Work (series times steps, roughly) below which threads cost more than they bring.
const MIN_PARALLEL_WORK: usize = 200_000;
/// What a thread did, block by block, or the first error it met with the number of its item.
type Outcome<T> = Result<Vec<(usize, Vec<T>)>, (usize, EvalError)>;

/// So many samples (some milliseconds) are looked at again before the query is asked whether it is cancelled.
const RESCANNED_UNASKED: usize = 1 << 20;

/// A series that costs more is worth asking whether the query is cancelled.
const HEAVY: usize = 10_000;
/// A thread takes so many series at a time.
const BLOCK: usize = 64;

pub(crate) struct Evaluation<'e> {
    pub(super) source: &'e dyn SeriesSource,
    pub(super) selections: &'e [Selection],
    pub(super) limits: Limits,
    pub(super) delayed_name_removal: bool,
    pub(super) memory: Memory,
    pub(super) notes: Notes,
    pub(super) shared: SharedNodes<'e>,
    threads: usize,
    /// The stack of helping threads, in bytes.
    stack_bytes: usize,
    cancelled: &'e (dyn Fn() -> bool + Sync),
    series: AtomicU64,
    samples: AtomicU64,
    step_counts: Option<StepCounts>,
}

impl<'e> Evaluation<'e> {
    pub(super) fn new(plan: &'e Plan, source: &'e dyn SeriesSource, options: &EvalOptions<'e>) -> Self {
        Self {
            source,
            selections: plan.selections(),
            limits: options.limits,
            delayed_name_removal: options.delayed_name_removal,
            memory: Memory::new(options.limits.max_memory_bytes),
            notes: Notes::default(),
            shared: SharedNodes::default(),
            threads: options.threads.get(),
            stack_bytes: if plan.depth > stack::SHALLOW_DEPTH { stack::DEEP_STACK_BYTES } else { 2 << 20 },
            cancelled: options.cancelled,
            series: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            step_counts: options.count_per_step.then(|| StepCounts::new(plan.root.grid)),
        }
    }

    pub(super) fn note(&self, note: Note<'_>, position: u32) {
        self.notes.add(note, position);
    }

    pub(super) fn check_cancelled(&self) -> Result<(), EvalError> {
        if (self.cancelled)() { Err(EvalError::Cancelled) } else { Ok(()) }
    }

    /// Counts series that were selected or made.
    pub(super) fn count_series(&self, count: usize) -> Result<(), LimitExceeded> {
        let before = self.series.fetch_add(count as u64, Ordering::Relaxed);
        if before + count as u64 > self.limits.max_series as u64 {
            return Err(LimitExceeded::Series { limit: self.limits.max_series });
        }
        Ok(())
    }

    /// Checks how many series an operator makes.
    pub(super) fn count_pairs(&self, made: usize) -> Result<(), LimitExceeded> {
        if made > self.limits.max_series {
            return Err(LimitExceeded::Series { limit: self.limits.max_series });
        }
        Ok(())
    }

    pub(super) fn count_samples(&self, count: usize) -> Result<(), LimitExceeded> {
        let before = self.samples.fetch_add(count as u64, Ordering::Relaxed);
        if before + count as u64 > self.limits.max_samples {
            return Err(LimitExceeded::Samples { limit: self.limits.max_samples });
        }
        Ok(())
    }

    pub(super) fn into_output(self, plan: &Plan, value: Value) -> QueryOutput {
        let stats = QueryStats {
            series: self.series.load(Ordering::Relaxed),
            samples: self.samples.load(Ordering::Relaxed),
            peak_memory_bytes: self.memory.peak(),
        };
        drop(self.shared);
        let (warnings, infos) = self.notes.into_annotations(&plan.text);
        let samples_per_step = self.step_counts.map(StepCounts::into_steps).unwrap_or_default();
        QueryOutput { value, warnings, infos, stats, samples_per_step }
    }

    /// Calls `run` for each number below `count` and returns what it returns, in that order. `cost` is roughly the
    /// steps one call goes through. On an error, that of the lowest number is returned of those that came about.
    pub(super) fn parallel<T: Send>(
        &self,
        count: usize,
        cost: usize,
        run: impl Fn(&mut Worker<'_>, usize) -> Result<T, EvalError> + Sync,
    ) -> Result<Vec<T>, EvalError> {
        let wanted = if count.saturating_mul(cost) < MIN_PARALLEL_WORK { 1 } else { self.threads.min(count) };
        if wanted <= 1 {
            let mut worker = Worker::new(self);
            let mut results = Vec::with_capacity(count);
            for index in 0..count {
                if index % BLOCK == 0 || cost > HEAVY {
                    self.check_cancelled()?;
                }
                results.push(run(&mut worker, index)?);
            }
            return Ok(results);
        }
        // Few heavy items are handed out one by one.
        let block = BLOCK.min(count / (wanted * 4)).max(1);
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let work = || {
            let mut worker = Worker::new(self);
            let mut results: Vec<(usize, Vec<T>)> = Vec::new();
            while !failed.load(Ordering::Relaxed) {
                let first = next.fetch_add(block, Ordering::Relaxed);
                if first >= count {
                    break;
                }
                let mut done = Vec::with_capacity(block);
                let mut one_block = || -> Result<(), (usize, EvalError)> {
                    self.check_cancelled().map_err(|error| (first, error))?;
                    for index in first..count.min(first + block) {
                        if cost > HEAVY {
                            self.check_cancelled().map_err(|error| (index, error))?;
                        }
                        done.push(run(&mut worker, index).map_err(|error| (index, error))?);
                    }
                    Ok(())
                };
                if let Err(error) = one_block() {
                    failed.store(true, Ordering::Relaxed);
                    return Err(error);
                }
                results.push((first, done));
            }
            Ok(results)
        };
        let outcomes: Vec<Outcome<T>> = std::thread::scope(|scope| {
            // Fewer helpers than wanted do as well.
            let helpers: Vec<_> = (1..wanted)
                .map_while(|_| {
                    std::thread::Builder::new().stack_size(self.stack_bytes).spawn_scoped(scope, work).ok()
                })
                .collect();
            let own = work();
            let joined = helpers.into_iter().map(|helper| match helper.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            joined.chain([own]).collect()
        });
        let mut blocks = Vec::new();
        let mut first_error: Option<(usize, EvalError)> = None;
        for outcome in outcomes {
            match outcome {
                Ok(done) => blocks.extend(done),
                Err(error) if first_error.as_ref().is_none_or(|(index, _)| error.0 < *index) => {
                    first_error = Some(error);
                }
                Err(_) => {}
            }
        }
        if let Some((_, error)) = first_error {
            return Err(error);
        }
        blocks.sort_unstable_by_key(|(first, _)| *first);
        Ok(blocks.into_iter().flat_map(|(_, results)| results).collect())
    }
}

/// What one thread reuses from series to series.
pub(crate) struct Worker<'w> {
    pub(super) evaluation: &'w dyn Counters,
    columns: Vec<Column>,
    samples: Vec<SeriesSamples>,
    /// Memory for what rates are found with.
    pub(super) spans: Cell<KeptSpans>,
    /// Samples looked at again since the query was last asked whether it is cancelled.
    rescanned: Cell<usize>,
}

/// The counting side of an [`Evaluation`], free of its lifetimes.
pub(crate) trait Counters {
    fn count_samples(&self, count: usize) -> Result<(), LimitExceeded>;
    fn check_cancelled(&self) -> Result<(), EvalError>;
    fn step_counts(&self) -> Option<&StepCounts>;
    fn note(&self, note: Note<'_>, position: u32);
}

impl Counters for Evaluation<'_> {
    fn count_samples(&self, count: usize) -> Result<(), LimitExceeded> {
        Evaluation::count_samples(self, count)
    }

    fn check_cancelled(&self) -> Result<(), EvalError> {
        Evaluation::check_cancelled(self)
    }

    fn step_counts(&self) -> Option<&StepCounts> {
        self.step_counts.as_ref()
    }

    fn note(&self, note: Note<'_>, position: u32) {
        Evaluation::note(self, note, position);
    }
}

impl<'w> Worker<'w> {
    pub(super) fn new(evaluation: &'w dyn Counters) -> Self {
        Self {
            evaluation,
            columns: Vec::new(),
            samples: Vec::new(),
            spans: Cell::default(),
            rescanned: Cell::new(0),
        }
    }

    /// To be called before so many samples of one series are looked at once more. That may take long where windows are
    /// wide and steps many, so that a cancelled query ends here, too.
    pub(super) fn rescan(&self, samples: usize) -> Result<(), EvalError> {
        let rescanned = self.rescanned.get() + samples;
        if rescanned < RESCANNED_UNASKED {
            self.rescanned.set(rescanned);
            return Ok(());
        }
        self.rescanned.set(0);
        self.evaluation.check_cancelled()
    }

    /// An empty column.
    pub(super) fn take_column(&mut self, steps: usize) -> Column {
        let mut column = self.columns.pop().unwrap_or_default();
        column.reset(steps);
        column
    }

    /// Takes a column back for reuse.
    pub(super) fn give_column(&mut self, column: Column) {
        self.columns.push(column);
    }

    pub(super) fn take_samples(&mut self) -> SeriesSamples {
        let mut samples = self.samples.pop().unwrap_or_default();
        samples.clear();
        samples
    }

    pub(super) fn give_samples(&mut self, samples: SeriesSamples) {
        self.samples.push(samples);
    }
}
