//! Merged partitions hold what a plain map holds in which the later one wins.

use std::collections::BTreeMap;

use proptest::prelude::*;
use telemetry::{Exemplar, Labels};

use super::strategies::batch;
use super::*;
use crate::{MergeCounts, PartitionEntry, PartitionMerger};

/// A sample bit by bit, as far as tests tell samples apart.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Sample {
    Float(u64),
    Histogram(String),
}

#[derive(Debug, Default, PartialEq)]
struct Model {
    samples: BTreeMap<(Labels, i64), Sample>,
    exemplars: BTreeMap<(Labels, i64), Vec<String>>,
    metadata: BTreeMap<String, telemetry::Metadata>,
}

impl Model {
    fn add(&mut self, batch: &MetricBatch) {
        for (index, series) in batch.series.iter().enumerate() {
            let (times, values) = batch.floats_of(index);
            for (at, value) in times.iter().zip(values) {
                self.samples.insert((series.labels().clone(), *at), Sample::Float(value.to_bits()));
            }
        }
        for (index, at, histogram) in &batch.histograms {
            let labels = batch.series[*index as usize].labels().clone();
            // Whatever differs in its bits differs in what is printed, but for the payload of NaNs.
            self.samples.insert((labels, *at), Sample::Histogram(format!("{histogram:?}")));
        }
        let text = |of: &Exemplar| format!("{:?} {:x}", of.labels, of.value.to_bits());
        for (index, exemplar) in &batch.exemplars {
            let labels = batch.series[*index as usize].labels().clone();
            let all = self.exemplars.entry((labels, exemplar.timestamp_ms)).or_default();
            if !all.contains(&text(exemplar)) {
                all.push(text(exemplar));
                all.sort();
            }
        }
        self.metadata.extend(batch.metadata.clone());
    }
}

fn entry_of(object: &[u8]) -> (PartitionEntry, &[u8]) {
    let Ok(Parsed::Done(footer)) = Footer::parse(object, object.len() as u64) else { panic!() };
    let entry = footer.partitions()[0].clone();
    let range = entry.range.start as usize..entry.range.end as usize;
    (entry, &object[range])
}

fn merge(batches: &[MetricBatch]) -> (MetricBatch, MergeCounts) {
    let mut merger = PartitionMerger::new();
    for batch in batches {
        let object = fresh_of(batch);
        let (entry, bytes) = entry_of(&object);
        merger.push(&entry, bytes).unwrap();
    }
    merger.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn the_later_partition_wins_and_nothing_is_lost(
        batches in prop::collection::vec(batch(6), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut model = Model::default();
        batches.iter().for_each(|batch| model.add(batch));
        let (merged, counts) = merge(&batches);
        let mut found = Model::default();
        found.add(&merged);
        prop_assert_eq!(&found, &model);
        prop_assert_eq!(counts.samples_read, batches.iter().map(|batch| batch.counts().samples).sum::<u64>());
        prop_assert_eq!(merged.counts().samples, model.samples.len() as u64);
        prop_assert_eq!(counts.samples_read - counts.samples_replaced, merged.counts().samples);
        prop_assert_eq!(counts.exemplars_read - counts.exemplars_dropped, merged.counts().exemplars);
        // It is a batch like any other, and merging in steps gives the same bytes.
        let at_once = fresh_of(&merged);
        assert_same(&read_fresh(&at_once).unwrap()[0].1, &merged);
        let cut = cut.index(batches.len() + 1);
        let steps = [merge(&batches[..cut]).0, merge(&batches[cut..]).0];
        prop_assert!(fresh_of(&merge(&steps).0) == at_once);
    }

    /// A partition that is refused leaves no trace.
    #[test]
    fn a_damaged_partition_is_as_if_it_had_not_been(
        good in batch(5), other in batch(5), damage in any::<prop::sample::Index>(), byte: u8,
    ) {
        let (one, two) = (fresh_of(&good), fresh_of(&other));
        let mut merger = PartitionMerger::new();
        let (entry, bytes) = entry_of(&two);
        let mut spoiled = bytes.to_vec();
        spoiled[damage.index(bytes.len())] = byte;
        let entry = PartitionEntry { checksum: xxhash_rust::xxh3::xxh3_64(&spoiled), ..entry };
        let decoded = crate::decode_metrics_partition(&entry, &spoiled);
        let taken = merger.push(&entry, &spoiled);
        prop_assert_eq!(decoded.is_ok(), taken.is_ok());
        let (entry, bytes) = entry_of(&one);
        merger.push(&entry, bytes).unwrap();
        let (merged, _) = merger.finish().unwrap();
        let mut model = Model::default();
        decoded.iter().for_each(|batch| model.add(batch));
        model.add(&good);
        let mut found = Model::default();
        found.add(&merged);
        prop_assert_eq!(found, model);
    }
}
