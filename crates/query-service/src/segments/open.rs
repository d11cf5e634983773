//! A tenant segment whose index is in memory.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use promql::Matcher;
use roaring::{MultiOps, RoaringBitmap};
use storage_format::tenant::{Block, BlockKind, LabelValues, Postings};
use storage_format::{FormatError, MetricsIndex, TenantFooter, TenantFooterParse};
use telemetry::{Series, TenantId};

/// A segment's index, its postings as far as they were asked for, and the series that queries found.
pub(crate) struct OpenSegment {
    key: Arc<str>,
    /// Its name among the segments that were opened in this process.
    number: u64,
    footer: TenantFooter,
    index: MetricsIndex,
    /// The end of the object, and where it begins.
    end: Bytes,
    end_start: u64,
    /// By label name, in the footer's order.
    postings: Vec<OnceLock<Postings>>,
    /// By label name, in the footer's order: the numbers of its values in ascending order of their texts.
    orders: Vec<OnceLock<Box<[u32]>>>,
    series: Box<[OnceLock<Arc<Series>>]>,
    /// How many of them are kept, and may be.
    kept_series: AtomicU32,
    max_kept_series: u32,
    /// Numbers of the blocks of each kind, in the order of their series.
    kinds: [Vec<u32>; 5],
    memory_bytes: usize,
}

impl std::fmt::Debug for OpenSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSegment").field("key", &self.key).finish_non_exhaustive()
    }
}

fn corrupt(why: &'static str) -> FormatError {
    FormatError::Corrupt { what: "tenant segment", why }
}

/// Series by which the memory of all of them is estimated.
const SAMPLED_SERIES: u32 = 64;
/// What an allocator adds to the two pieces of memory of a series.
const ALLOCATION_BYTES: usize = 32;
/// Memory of a bitmap for a byte of it as it is stored, about.
const POSTINGS_MEMORY_A_BYTE: u64 = 4;

impl OpenSegment {
    /// Opens the segment `key` of `tenant`; `end` is the object from `end_start` on, which the index begins at or after. Series
    /// that were found are kept in up to so many bytes: a segment may have so many that a cache would not take it otherwise.
    pub(super) fn parse(
        tenant: &TenantId,
        key: Arc<str>,
        number: u64,
        (end, end_start): (Bytes, u64),
        series_memory_bytes: usize,
    ) -> Result<Self, FormatError> {
        let object_len = end_start + end.len() as u64;
        let TenantFooterParse::Done(footer) = TenantFooter::parse(&end, object_len)? else {
            return Err(corrupt("a footer that begins before the index"));
        };
        if footer.tenant != *tenant {
            return Err(corrupt("it is another tenant's"));
        }
        let index_bytes = slice(&end, end_start, &footer.index_range())?;
        let index = MetricsIndex::parse(&footer, &index_bytes)?;
        let kind = |kind: BlockKind| {
            let numbers = (0..).zip(index.blocks()).filter(|(_, block)| block.kind == kind);
            numbers.map(|(number, _)| number).collect()
        };
        let kinds = [
            kind(BlockKind::Values),
            kind(BlockKind::Times),
            kind(BlockKind::Histograms),
            kind(BlockKind::Exemplars),
            kind(BlockKind::Omitted),
        ];
        let mut opened = Self {
            key,
            number,
            postings: footer.names.iter().map(|_| OnceLock::new()).collect(),
            orders: footer.names.iter().map(|_| OnceLock::new()).collect(),
            series: (0..index.series_count()).map(|_| OnceLock::new()).collect(),
            kept_series: AtomicU32::new(0),
            max_kept_series: 0,
            footer,
            index,
            end,
            end_start,
            kinds,
            memory_bytes: 0,
        };
        let series_bytes = opened.estimate_memory_a_series()?;
        let max_kept_series = (series_memory_bytes / series_bytes).min(opened.series.len());
        opened.max_kept_series = max_kept_series as u32;
        opened.memory_bytes = opened.estimate_memory() + max_kept_series * series_bytes;
        Ok(opened)
    }

    /// What a series takes that is kept, about.
    fn estimate_memory_a_series(&self) -> Result<usize, FormatError> {
        let count = self.index.series_count();
        let sampled = count.min(SAMPLED_SERIES);
        let mut label_bytes = 0;
        for place in 0..sampled {
            let series = (u64::from(place) * u64::from(count) / u64::from(sampled)) as u32;
            label_bytes += self.index.labels(series)?.memory_bytes() + size_of::<Series>();
        }
        Ok(label_bytes / sampled.max(1) as usize + ALLOCATION_BYTES)
    }

    /// What it takes without series that are kept, once everything else in it was asked for.
    fn estimate_memory(&self) -> usize {
        let postings: u64 = self.footer.names.iter().map(|name| name.postings.len_bytes()).sum();
        let values: u64 = self.footer.names.iter().map(|name| name.values).sum();
        self.end.len()
            + self.index.memory_bytes()
            + (postings * POSTINGS_MEMORY_A_BYTE) as usize
            + values as usize * size_of::<u32>()
            + size_of_val(&*self.series)
    }

    pub(crate) fn key(&self) -> &Arc<str> {
        &self.key
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn index(&self) -> &MetricsIndex {
        &self.index
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Blocks of `kind` that may be of series `series`, with their numbers.
    pub(crate) fn blocks_of(&self, kind: BlockKind, series: u32) -> impl Iterator<Item = (u32, &Block)> {
        let blocks = self.index.blocks();
        let numbers = match kind {
            BlockKind::Values => &self.kinds[0],
            BlockKind::Times => &self.kinds[1],
            BlockKind::Histograms => &self.kinds[2],
            BlockKind::Exemplars => &self.kinds[3],
            BlockKind::Omitted => &self.kinds[4],
        };
        let from = numbers.partition_point(|number| blocks[*number as usize].last < series);
        let of_kind = numbers[from..].iter().map(move |number| (*number, &blocks[*number as usize]));
        of_kind.take_while(move |(_, block)| block.first <= series)
    }

    /// Whether series `series` may have samples in the time range (ms, both inclusive).
    pub(crate) fn has_samples(&self, series: u32, (start_ms, end_ms): (i64, i64)) -> bool {
        let floats = self.index.times_of(series).map(|times| times.list_range_ms);
        floats.is_some_and(|(first_ms, last_ms)| first_ms <= end_ms && last_ms >= start_ms)
            || self
                .blocks_of(BlockKind::Histograms, series)
                .any(|(_, block)| block.overlaps(start_ms, end_ms))
    }

    /// Whether series `series` may have exemplars in the time range.
    pub(crate) fn has_exemplars(&self, series: u32, (start_ms, end_ms): (i64, i64)) -> bool {
        self.blocks_of(BlockKind::Exemplars, series).any(|(_, block)| block.overlaps(start_ms, end_ms))
    }

    /// Whether all of its samples are in the time range (ms, both inclusive).
    fn is_within(&self, (start_ms, end_ms): (i64, i64)) -> bool {
        start_ms <= self.footer.min_time_ms && self.footer.max_time_ms <= end_ms
    }

    /// The series that may have samples in the time range.
    fn present(&self, time_range_ms: (i64, i64)) -> RoaringBitmap {
        (0..self.index.series_count()).filter(|series| self.has_samples(*series, time_range_ms)).collect()
    }

    /// Calls `each` with every label name of series that may have samples in the time range.
    pub(crate) fn for_each_name(&self, time_range_ms: (i64, i64), each: impl FnMut(&str)) {
        if self.is_within(time_range_ms) {
            self.index.label_names().for_each(each);
        } else {
            self.names_of(0..self.index.series_count(), time_range_ms).into_iter().for_each(each);
        }
    }

    /// The label names of those of `series` that may have samples in the time range.
    pub(crate) fn names_of(
        &self,
        series: impl IntoIterator<Item = u32>,
        time_range_ms: (i64, i64),
    ) -> Vec<&str> {
        self.index.names_of(series, |series| self.has_samples(series, time_range_ms))
    }

    /// Calls `each` with every value of label `name` that such series have; in ascending order where all of them count.
    pub(crate) fn for_each_value(&self, name: &str, time_range_ms: (i64, i64), mut each: impl FnMut(&str)) {
        if !self.is_within(time_range_ms) {
            self.index.values_of(name, &self.present(time_range_ms)).into_iter().for_each(each);
        } else if let Some((place, values)) = self.values(name) {
            self.order(place, values).iter().for_each(|number| each(values.value(*number)));
        }
    }

    /// The number of a label name, and its values.
    fn values(&self, name: &str) -> Option<(usize, LabelValues<'_>)> {
        let place = self.footer.names.iter().position(|section| section.name == name)?;
        Some((place, self.index.values_by_number(place)?))
    }

    /// The numbers of the values of the label name that has number `place`, in ascending order of their texts.
    fn order(&self, place: usize, values: LabelValues<'_>) -> &[u32] {
        self.orders[place].get_or_init(|| {
            let mut order: Vec<u32> = (0..values.count()).collect();
            order.sort_by_key(|number| values.value(*number));
            order.into()
        })
    }

    /// How many values label `name` has.
    pub(crate) fn value_count(&self, name: &str) -> usize {
        self.values(name).map_or(0, |(_, values)| values.count() as usize)
    }

    /// How many series there are at most that all `matchers` hold for, as far as that can be told at once.
    pub(crate) fn series_at_most(&self, matchers: &[Matcher]) -> usize {
        let counts = matchers.iter().filter(|matcher| names_its_values(matcher)).map(|matcher| {
            let Some((place, values)) = self.values(matcher.name()) else { return Some(0) };
            let postings = self.postings[place].get()?;
            let listed = self.listed(matcher, place, values);
            let counts = listed.into_iter().map(|number| postings.of(number).map(|series| series.len()));
            counts.sum::<Result<u64, FormatError>>().ok()
        });
        counts.flatten().min().map_or(self.index.series_count() as usize, |count| count as usize)
    }

    /// Whether it takes microseconds to tell which of the series that all `matchers` hold for, of at most so many, have samples
    /// in the time range.
    pub(crate) fn is_brief(&self, matchers: &[Matcher], series: usize, time_range_ms: (i64, i64)) -> bool {
        if matchers.is_empty() {
            return self.is_within(time_range_ms);
        }
        matchers.iter().all(names_its_values) && self.series_at_most(matchers) <= series
    }

    /// The series `series`.
    pub(crate) fn series(&self, series: u32) -> Result<Arc<Series>, FormatError> {
        let place = self.series.get(series as usize).ok_or(corrupt("a series that does not exist"))?;
        if let Some(known) = place.get() {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(Series::new(self.index.labels(series)?));
        let has_room = self.kept_series.load(Ordering::Relaxed) < self.max_kept_series;
        if has_room && place.set(Arc::clone(&made)).is_ok() {
            self.kept_series.fetch_add(1, Ordering::Relaxed);
        }
        Ok(made)
    }

    fn postings(&self, name: usize) -> Result<&Postings, FormatError> {
        if let Some(known) = self.postings[name].get() {
            return Ok(known);
        }
        let section = &self.footer.names[name];
        let bytes = slice(&self.end, self.end_start, &section.postings.range)?;
        let parsed = Postings::parse(section, self.footer.counts.series, &bytes)?;
        Ok(self.postings[name].get_or_init(|| parsed))
    }

    /// Calls `each` with every label name, value, and how many series have it.
    pub(crate) fn for_each_pair(&self, mut each: impl FnMut(&str, &str, u64)) -> Result<(), FormatError> {
        for (place, section) in self.footer.names.iter().enumerate() {
            let postings = self.postings(place)?;
            for (id, value) in (0..).zip(self.index.label_values(&section.name)) {
                each(&section.name, value, postings.of(id)?.len());
            }
        }
        Ok(())
    }

    /// The series that all `matchers` hold for.
    ///
    /// Matchers that name their values are answered first. What they leave is mostly few, and the rest is then cheaper
    /// asked of each series' labels than of each value of the label.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, FormatError> {
        let (named, mut rest): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| names_its_values(matcher));
        rest.sort_by_key(|matcher| matcher.matches_empty());
        let mut selected: Option<RoaringBitmap> = None;
        for matcher in named.into_iter().chain(rest) {
            let next = match selected {
                Some(before) if before.is_empty() => return Ok(before),
                Some(before) => self.narrow(before, matcher)?,
                None => self.matching(matcher)?,
            };
            selected = Some(next);
        }
        Ok(selected.unwrap_or_else(|| self.all()))
    }

    /// Those of `before` that `matcher` holds for.
    fn narrow(&self, mut before: RoaringBitmap, matcher: &Matcher) -> Result<RoaringBitmap, FormatError> {
        let values = self.footer.name(matcher.name()).map_or(0, |section| section.values);
        if before.len() > values || matcher.as_literals().is_some_and(|texts| texts.len() == 1) {
            before &= self.matching(matcher)?;
            return Ok(before);
        }
        let mut kept = RoaringBitmap::new();
        for number in before {
            if matcher.matches(self.series(number)?.labels().get(matcher.name()).unwrap_or("")) {
                kept.insert(number);
            }
        }
        Ok(kept)
    }

    /// All series that `matcher` holds for.
    fn matching(&self, matcher: &Matcher) -> Result<RoaringBitmap, FormatError> {
        let Some((place, values)) = self.values(matcher.name()) else {
            return Ok(if matcher.matches_empty() { self.all() } else { RoaringBitmap::new() });
        };
        // Series without the label count as having the empty value: then the others are those to be taken off.
        let listed = self.listed(matcher, place, values);
        if listed.len() == values.count() as usize && self.index.all_have(place) {
            return Ok(if matcher.matches_empty() { RoaringBitmap::new() } else { self.all() });
        }
        let postings = self.postings(place)?;
        let listed: Result<Vec<RoaringBitmap>, FormatError> =
            listed.into_iter().map(|number| postings.of(number)).collect();
        let listed = listed?.union();
        Ok(if matcher.matches_empty() { self.all() - listed } else { listed })
    }

    /// All series.
    fn all(&self) -> RoaringBitmap {
        let mut all = RoaringBitmap::new();
        all.insert_range(0..self.index.series_count());
        all
    }

    /// The numbers of the values of a label for which `matcher` does not say the same as for the empty text.
    fn listed(&self, matcher: &Matcher, place: usize, values: LabelValues<'_>) -> Vec<u32> {
        let is_listed = |text: &str| matcher.matches(text) != matcher.matches_empty();
        // Otherwise the pattern matches the empty text, and those are wanted that it does not match.
        let is_of_pattern = matcher.op().is_negative() == matcher.matches_empty();
        if let Some(texts) = matcher.as_literals().filter(|_| is_of_pattern) {
            let order = self.order(place, values);
            let find = |text: &String| {
                let at = order.binary_search_by_key(&text.as_str(), |number| values.value(*number));
                at.ok().map(|at| order[at])
            };
            return texts.iter().filter_map(find).collect();
        }
        let prefix = matcher.prefix();
        if is_of_pattern && !prefix.is_empty() {
            let order = self.order(place, values);
            let from = order.partition_point(|number| values.value(*number) < prefix);
            let from = order[from..].iter().copied();
            let with_prefix = from.take_while(|number| values.value(*number).starts_with(prefix));
            return with_prefix.filter(|number| is_listed(values.value(*number))).collect();
        }
        values.iter().filter(|(_, text)| is_listed(text)).map(|(number, _)| number).collect()
    }
}

/// Whether the postings have the matcher's series listed under values that it names.
fn names_its_values(matcher: &Matcher) -> bool {
    !matcher.op().is_negative() && !matcher.matches_empty() && matcher.as_literals().is_some()
}

/// The bytes of `range` of the object.
fn slice(end: &Bytes, end_start: u64, range: &Range<u64>) -> Result<Bytes, FormatError> {
    let from = range.start.checked_sub(end_start).ok_or(corrupt("an index that begins too early"))? as usize;
    let to = from + (range.end - range.start) as usize;
    if to > end.len() { Err(corrupt("cut short")) } else { Ok(end.slice(from..to)) }
}
