//! What of a window is new: samples, exemplars and (series, hour) pairs that no existing segment has.
//!
//! Existing segments are read one after the other, and of each only the index and those blocks of timestamps (native histograms,
//! exemplars) whose time the window shares. Values are never read: a sample that is there under another value was counted. Where a
//! segment is lost, as many samples of its time as it had count as its own: nobody pays again for sending what was lost.

use std::ops::Range;
use std::sync::Arc;

use storage_format::tenant::{Block, BlockKind, read_exemplars, read_histograms};
use storage_format::{FormatError, MetricsIndex};
use telemetry::{Histogram, MetricBatch};

use super::absorb::{Slice, usize_range};
use super::open::OpenInput;
use super::{MergeError, SegmentInput};
use crate::limits::MERGE_READ_BYTES;
use crate::{Bucket, Hour, HourUsage, Ledger, WorkOn};

/// A segment whose samples were counted, and that cannot be read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostSegment {
    /// Its first and last timestamp, ms.
    pub time_range_ms: (i64, i64),
    /// How many samples of it were counted, and did not come again yet.
    pub samples: u64,
    /// Whether it had exemplars.
    pub has_exemplars: bool,
}

/// What is known about the samples of one window.
///
/// Memory held: a byte a sample, 16 bytes for each hour of each series; and, while it is read, the index of one existing segment and a
/// few of its blocks.
pub(super) struct Count {
    batch: Arc<MetricBatch>,
    slices: Arc<Vec<Slice>>,
    /// For each slice where its samples and hours begin below; one more entry at the end.
    starts: Vec<Starts>,
    floats_known: Vec<bool>,
    histograms_known: Vec<bool>,
    exemplars_known: Vec<bool>,
    /// Hours in which series have samples, and whether that was so before.
    hours: Vec<(Hour, bool)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Starts {
    floats: usize,
    histograms: usize,
    exemplars: usize,
    hours: usize,
}

/// A slice of the window, and the number of the same series in an existing segment.
#[derive(Clone, Copy, Debug)]
struct Common {
    slice: u32,
    series: u32,
}

/// An existing segment, and what it has in common with the window.
struct Existing {
    index: MetricsIndex,
    /// By ascending series.
    common: Vec<Common>,
    /// Lists of timestamps that must be read, ascending, each with the slice and series it is read for.
    lists: Vec<(u32, Common)>,
}

impl Count {
    /// All of it is new, as far as is known.
    pub(super) fn new(batch: Arc<MetricBatch>, slices: Arc<Vec<Slice>>) -> Self {
        let mut starts = Vec::with_capacity(slices.len() + 1);
        let mut next = Starts::default();
        let mut hours = Vec::new();
        for slice in slices.iter() {
            starts.push(next);
            next.floats += slice.floats.len();
            next.histograms += slice.histograms.len();
            next.exemplars += slice.exemplars.len();
            let of_floats = batch.timestamps_ms[usize_range(&slice.floats)].iter().copied();
            let of_histograms = batch.histograms[usize_range(&slice.histograms)].iter().map(|row| row.1);
            let mut own: Vec<Hour> = of_floats.chain(of_histograms).map(Hour::of).collect();
            // Floats and histograms ascend each, so there is little to sort.
            own.dedup();
            own.sort_unstable();
            own.dedup();
            hours.extend(own.into_iter().map(|hour| (hour, false)));
            next.hours = hours.len();
        }
        starts.push(next);
        Self {
            batch,
            slices,
            starts,
            floats_known: vec![false; next.floats],
            histograms_known: vec![false; next.histograms],
            exemplars_known: vec![false; next.exemplars],
            hours,
        }
    }

    /// Takes off what `segment` has.
    pub(super) async fn subtract(
        mut self,
        bucket: &dyn Bucket,
        segment: &SegmentInput,
        input: usize,
        work_on: WorkOn,
    ) -> Result<Self, MergeError> {
        let (input, bytes) = OpenInput::open(bucket, segment.clone(), input).await?;
        let of = input.clone();
        let (mut count, existing, wanted) = work_on
            .run(move || {
                let (_, index) = of.parse_index(&bytes)?;
                let common = self.common(&index)?;
                let mut existing = Existing { index, common, lists: Vec::new() };
                let wanted = self.blocks(&mut existing);
                Ok::<_, FormatError>((self, Arc::new(existing), wanted))
            })
            .await?
            .map_err(|source| input.damaged(source))?;
        for (range, blocks) in together(wanted) {
            let bytes = input.read(bucket, range.clone()).await?;
            let existing = Arc::clone(&existing);
            count = work_on
                .run(move || {
                    for block in &blocks {
                        let of = &block.section.range;
                        let part = (of.start - range.start) as usize..(of.end - range.start) as usize;
                        count.subtract_block(&existing, block, &bytes[part])?;
                    }
                    Ok::<_, FormatError>(count)
                })
                .await?
                .map_err(|source| input.damaged(source))?;
        }
        Ok(count)
    }

    /// Takes off what `lost` may have had; says how many samples that are.
    pub(super) fn subtract_lost(&mut self, lost: &LostSegment) -> u64 {
        let (start_ms, end_ms) = lost.time_range_ms;
        let was_there = |at_ms: i64| (start_ms..=end_ms).contains(&at_ms);
        let mut left = lost.samples;
        for (slice, starts) in self.slices.iter().zip(self.starts.windows(2)) {
            let hours = &mut self.hours[starts[0].hours..starts[1].hours];
            let mut take = |at_ms: i64, known: &mut bool| {
                if left == 0 || *known || !was_there(at_ms) {
                    return;
                }
                (left, *known) = (left - 1, true);
                for (_, known) in hours.iter_mut().filter(|(hour, _)| *hour == Hour::of(at_ms)) {
                    *known = true;
                }
            };
            let times = &self.batch.timestamps_ms[usize_range(&slice.floats)];
            for (at_ms, known) in times.iter().zip(&mut self.floats_known[starts[0].floats..]) {
                take(*at_ms, known);
            }
            let rows = &self.batch.histograms[usize_range(&slice.histograms)];
            for (row, known) in rows.iter().zip(&mut self.histograms_known[starts[0].histograms..]) {
                take(row.1, known);
            }
            if lost.has_exemplars {
                let rows = &self.batch.exemplars[usize_range(&slice.exemplars)];
                for (row, known) in rows.iter().zip(&mut self.exemplars_known[starts[0].exemplars..]) {
                    *known |= was_there(row.1.timestamp_ms);
                }
            }
        }
        lost.samples - left
    }

    /// What is new, by hour.
    pub(super) fn usage(&self) -> Ledger {
        let mut ledger = Ledger::default();
        let mut add = |hour: Hour, more: HourUsage| ledger.hours.entry(hour).or_default().add(&more);
        for (slice, start) in self.slices.iter().zip(&self.starts) {
            let times = &self.batch.timestamps_ms[usize_range(&slice.floats)];
            let mut new = times
                .iter()
                .zip(&self.floats_known[start.floats..])
                .filter(|(_, known)| !**known)
                .map(|(at_ms, _)| Hour::of(*at_ms))
                .peekable();
            while let Some(hour) = new.next() {
                let mut samples = 1;
                while new.next_if_eq(&hour).is_some() {
                    samples += 1;
                }
                let bytes = samples * FLOAT_BYTES;
                add(hour, HourUsage { samples, bytes, ..HourUsage::default() });
            }
            let rows = &self.batch.histograms[usize_range(&slice.histograms)];
            for ((_, at_ms, histogram), _) in
                rows.iter().zip(&self.histograms_known[start.histograms..]).filter(|(_, known)| !**known)
            {
                let bytes = histogram_bytes(histogram);
                add(Hour::of(*at_ms), HourUsage { histogram_samples: 1, bytes, ..HourUsage::default() });
            }
            let rows = &self.batch.exemplars[usize_range(&slice.exemplars)];
            for ((_, exemplar), _) in
                rows.iter().zip(&self.exemplars_known[start.exemplars..]).filter(|(_, known)| !**known)
            {
                add(Hour::of(exemplar.timestamp_ms), HourUsage { exemplars: 1, ..HourUsage::default() });
            }
        }
        for (hour, _) in self.hours.iter().filter(|(_, known)| !known) {
            add(*hour, HourUsage { active_series: 1, ..HourUsage::default() });
        }
        ledger
    }

    /// The series that both have; both are in label order.
    fn common(&self, index: &MetricsIndex) -> Result<Vec<Common>, FormatError> {
        let mut common = Vec::new();
        let mut slices = (0_u32..).zip(self.slices.iter()).peekable();
        for series in 0..index.series_count() {
            if slices.peek().is_none() {
                break;
            }
            let labels = index.labels(series)?;
            let of = |slice: &Slice| self.batch.series[slice.series as usize].labels();
            while slices.next_if(|(_, slice)| *of(slice) < labels).is_some() {}
            if let Some((slice, _)) = slices.next_if(|(_, slice)| *of(slice) == labels) {
                common.push(Common { slice, series });
            }
        }
        Ok(common)
    }

    /// The blocks that must be read to know, in the order of their bytes. What the index says by itself is taken from there.
    fn blocks(&mut self, existing: &mut Existing) -> Vec<Block> {
        let Existing { index, common, lists } = existing;
        let mut with_histograms: Vec<u32> = Vec::new();
        let mut with_exemplars: Vec<u32> = Vec::new();
        let (mut samples_ms, mut exemplars_ms) = ((i64::MAX, i64::MIN), (i64::MAX, i64::MIN));
        for of in common.iter() {
            let hours = self.hours_of(of.slice);
            if let (Some(first), Some(last)) = (self.hours[hours.clone()].first(), self.hours[hours].last()) {
                // In whole hours, since a series that was active in an hour before counts no more in it.
                let end_ms = last.0.start_ms().saturating_add(Hour::MS - 1);
                samples_ms = (samples_ms.0.min(first.0.start_ms()), samples_ms.1.max(end_ms));
                with_histograms.push(of.series);
                if let Some(list) = self.list_to_read(index, *of) {
                    lists.push((list, *of));
                }
            }
            let slice = &self.slices[of.slice as usize];
            let own = &self.batch.exemplars[usize_range(&slice.exemplars)];
            if let (Some(first), Some(last)) = (own.first(), own.last()) {
                exemplars_ms =
                    (exemplars_ms.0.min(first.1.timestamp_ms), exemplars_ms.1.max(last.1.timestamp_ms));
                with_exemplars.push(of.series);
            }
        }
        lists.sort_unstable_by_key(|(list, _)| *list);
        let numbers: Vec<u32> = lists.iter().map(|(list, _)| *list).collect();
        let has = |numbers: &[u32], block: &Block| {
            let from = numbers.partition_point(|number| *number < block.first);
            numbers.get(from).is_some_and(|number| *number <= block.last)
        };
        let wanted = |block: &&Block| match block.kind {
            BlockKind::Values | BlockKind::Omitted => false,
            BlockKind::Times => has(&numbers, block),
            BlockKind::Histograms => {
                block.overlaps(samples_ms.0, samples_ms.1) && has(&with_histograms, block)
            }
            BlockKind::Exemplars => {
                block.overlaps(exemplars_ms.0, exemplars_ms.1) && has(&with_exemplars, block)
            }
        };
        index.blocks().iter().filter(wanted).cloned().collect()
    }

    fn hours_of(&self, slice: u32) -> Range<usize> {
        self.starts[slice as usize].hours..self.starts[slice as usize + 1].hours
    }

    /// The list of timestamps that must be read to know what the existing float samples of a common series take off. Often the
    /// first and the last timestamp, which are in the index, say it all: then the hours are marked here.
    fn list_to_read(&mut self, index: &MetricsIndex, of: Common) -> Option<u32> {
        let times = index.times_of(of.series)?;
        let (first_ms, last_ms) = times.list_range_ms;
        let (first, last) = (Hour::of(first_ms), Hour::of(last_ms));
        let slice = &self.slices[of.slice as usize];
        let floats = &self.batch.timestamps_ms[usize_range(&slice.floats)];
        let histograms = &self.batch.histograms[usize_range(&slice.histograms)];
        let inside = |at_ms: &i64| (first_ms..=last_ms).contains(at_ms);
        let hours = self.hours_of(of.slice);
        let between = |hour: Hour| hour > first && hour < last;
        let near = |hour: Hour| hour >= first && hour <= last;
        let must_read = if times.whole {
            // Samples within its time may be the same ones; hours strictly within it may have samples or not.
            shares(floats, first_ms, last_ms)
                || histograms.iter().any(|row| inside(&row.1))
                || self.hours[hours.clone()].iter().any(|(hour, known)| !known && between(*hour))
        } else {
            self.hours[hours.clone()].iter().any(|(hour, _)| near(*hour))
        };
        if must_read {
            return Some(times.list);
        }
        for (hour, known) in &mut self.hours[hours] {
            *known |= *hour == first || *hour == last;
        }
        None
    }

    fn subtract_block(
        &mut self,
        existing: &Existing,
        block: &Block,
        bytes: &[u8],
    ) -> Result<(), FormatError> {
        let Existing { index, common, lists } = existing;
        let from = common.partition_point(|of| of.series < block.first);
        let in_block = || common[from..].iter().take_while(|of| of.series <= block.last);
        match block.kind {
            BlockKind::Values | BlockKind::Omitted => {}
            BlockKind::Times => {
                let read = index.read_times(block, bytes)?;
                let from = lists.partition_point(|(list, _)| *list < block.first);
                for (list, of) in lists[from..].iter().take_while(|(list, _)| *list <= block.last) {
                    if let Some(times) = index.times_of(of.series) {
                        self.subtract_times(of.slice, times.of(&read[(list - block.first) as usize]));
                    }
                }
            }
            BlockKind::Histograms => {
                let rows = read_histograms(block, bytes)?;
                for of in in_block() {
                    let from = rows.partition_point(|row| row.0 < of.series);
                    let own: Vec<i64> =
                        rows[from..].iter().take_while(|row| row.0 == of.series).map(|row| row.1).collect();
                    self.subtract_times(of.slice, &own);
                }
            }
            BlockKind::Exemplars => {
                let rows = read_exemplars(block, bytes)?;
                for of in in_block() {
                    let slice = &self.slices[of.slice as usize];
                    let start = self.starts[of.slice as usize].exemplars;
                    let new = &self.batch.exemplars[usize_range(&slice.exemplars)];
                    for (known, (_, exemplar)) in self.exemplars_known[start..].iter_mut().zip(new) {
                        let key = (of.series, exemplar.timestamp_ms);
                        let from = rows.partition_point(|row| (row.0, row.1.timestamp_ms) < key);
                        *known = *known
                            || rows[from..]
                                .iter()
                                .take_while(|row| (row.0, row.1.timestamp_ms) == key)
                                .any(|row| row.1 == *exemplar);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes off samples at `times` (ascending) from a slice, whether floats or histograms, and the hours that they are in.
    fn subtract_times(&mut self, slice: u32, times: &[i64]) {
        let start = self.starts[slice as usize];
        let hours = self.hours_of(slice);
        let slice = &self.slices[slice as usize];
        let floats = &self.batch.timestamps_ms[usize_range(&slice.floats)];
        mark(&mut self.floats_known[start.floats..], floats.iter().copied(), times);
        let histograms = &self.batch.histograms[usize_range(&slice.histograms)];
        mark(&mut self.histograms_known[start.histograms..], histograms.iter().map(|row| row.1), times);
        for (hour, known) in &mut self.hours[hours] {
            let from = times.partition_point(|at_ms| Hour::of(*at_ms) < *hour);
            *known = *known || times.get(from).is_some_and(|at_ms| Hour::of(*at_ms) == *hour);
        }
    }
}

/// Whether one of `times` (ascending) lies in `first_ms..=last_ms`.
fn shares(times: &[i64], first_ms: i64, last_ms: i64) -> bool {
    let from = times.partition_point(|at_ms| *at_ms < first_ms);
    times.get(from).is_some_and(|at_ms| *at_ms <= last_ms)
}

/// Marks those of `new` that are among `times`; both ascend.
fn mark(known: &mut [bool], new: impl Iterator<Item = i64>, times: &[i64]) {
    let mut rest = times;
    for (known, at_ms) in known.iter_mut().zip(new) {
        if rest.first().is_some_and(|next| *next < at_ms) {
            rest = &rest[rest.partition_point(|next| *next < at_ms)..];
        }
        *known |= rest.first() == Some(&at_ms);
    }
}

/// What a float sample counts in the ledger, in bytes: a timestamp and a value.
const FLOAT_BYTES: u64 = 16;

/// What a native histogram counts in the ledger, in bytes: 8 for each of timestamp, sum, count, zero bucket, its threshold, the
/// buckets and custom bounds.
fn histogram_bytes(histogram: &Histogram) -> u64 {
    let numbers = histogram.positive_buckets.len()
        + histogram.negative_buckets.len()
        + histogram.custom_values.len()
        + 5;
    8 * numbers as u64
}

/// Blocks that follow each other closely, read together.
fn together(blocks: Vec<Block>) -> Vec<(Range<u64>, Vec<Block>)> {
    let mut groups: Vec<(Range<u64>, Vec<Block>)> = Vec::new();
    for block in blocks {
        let range = block.section.range.clone();
        match groups.last_mut() {
            Some((whole, group))
                if range.start - whole.end <= MERGE_GAP_BYTES
                    && range.end - whole.start <= MERGE_READ_BYTES =>
            {
                whole.end = range.end;
                group.push(block);
            }
            _ => groups.push((range, vec![block])),
        }
    }
    groups
}

/// Bytes between two blocks that are read along rather than asked around.
const MERGE_GAP_BYTES: u64 = 64 << 10;
