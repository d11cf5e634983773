//! What goes in comes out.

use std::sync::Arc;

use proptest::prelude::*;
use telemetry::{Labels, Series};

use super::strategies::batch;
use super::*;
use crate::{EncodeError, inspect};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn fresh_segments_round_trip(one in batch(12), two in batch(3)) {
        let object = encode_fresh(&[
            FreshPartition { tenant: &tenant("two"), metrics: &two },
            FreshPartition { tenant: &tenant("one"), metrics: &one },
        ]).unwrap();
        let read = read_fresh(&object).unwrap();
        prop_assert_eq!(&read[0].0, &tenant("one"));
        assert_same(&read[0].1, &one);
        assert_same(&read[1].1, &two);
    }

    /// The same batch gives the same bytes, whatever was encoded before it.
    #[test]
    fn partitions_do_not_depend_on_their_neighbours(one in batch(6), two in batch(6)) {
        let alone = fresh_of(&one);
        let together = encode_fresh(&[
            FreshPartition { tenant: &tenant("aaa"), metrics: &two },
            FreshPartition { tenant: &tenant("acme"), metrics: &one },
        ]).unwrap();
        let bytes_of = |object: &[u8]| {
            let Ok(Parsed::Done(footer)) = Footer::parse(object, object.len() as u64) else { panic!() };
            let range = footer.find(&tenant("acme"), Signal::Metrics).unwrap().range.clone();
            object[range.start as usize..range.end as usize].to_vec()
        };
        prop_assert_eq!(bytes_of(&alone), bytes_of(&together));
    }

    #[test]
    fn tenant_segments_round_trip(batch in batch(12)) {
        let object = tenant_segment_of(&batch);
        assert_same(&read_tenant_segment(&object, i64::MIN, i64::MAX).unwrap(), &batch);
    }

    /// However little is read at a time.
    #[test]
    fn tenant_segments_stream_series_by_series(batch in batch(12), most_bytes in 0..3_000_u64) {
        let object = tenant_segment_of(&batch);
        assert_same(&stream_tenant_segment(&object, most_bytes).unwrap(), &batch);
    }

    /// What was written passes inspection, which accounts for every byte.
    #[test]
    fn segments_pass_inspection(batch in batch(8)) {
        for object in [fresh_of(&batch), tenant_segment_of(&batch)] {
            let description = inspect(&object).unwrap();
            let [partition] = description.partitions.as_slice() else { panic!("{description}") };
            prop_assert_eq!(partition.counts, batch.counts());
            let columns: u64 = partition.columns.iter().map(|(_, bytes)| bytes).sum();
            prop_assert_eq!(columns + 8 + description.footer_bytes + 24, object.len() as u64);
        }
    }

    /// A selection of time is what it says, and no block more is needed than is named.
    #[test]
    fn tenant_segments_are_read_by_time(batch in batch(12), range in any::<(i64, i64)>(), usual: bool) {
        let (mut start, mut end) = (range.0.min(range.1), range.0.max(range.1));
        if usual {
            start = 1_790_000_000_000 + range.0.rem_euclid(700_000);
            end = start + range.1.rem_euclid(300_000);
        }
        let object = tenant_segment_of(&batch);
        let read = read_tenant_segment(&object, start, end).unwrap();
        let inside = |at: &i64| (start..=end).contains(at);
        prop_assert_eq!(read.timestamps_ms.len(), batch.timestamps_ms.iter().filter(|at| inside(at)).count());
        prop_assert_eq!(read.histograms.len(), batch.histograms.iter().filter(|row| inside(&row.1)).count());
        for (index, series) in read.series.iter().enumerate() {
            let whole = batch.series.iter().position(|candidate| candidate == series).unwrap();
            let (times, values) = batch.floats_of(whole);
            let expected: Vec<(i64, u64)> = times.iter().zip(values)
                .filter(|(at, _)| inside(at))
                .map(|(at, value)| (*at, value.to_bits()))
                .collect();
            let (times, values) = read.floats_of(index);
            let found: Vec<(i64, u64)> = times.iter().zip(values).map(|(at, value)| (*at, value.to_bits())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}

#[test]
fn an_empty_batch_and_no_partition_at_all_are_segments() {
    assert_eq!(read_fresh(&encode_fresh(&[]).unwrap()).unwrap().len(), 0);
    let read = read_fresh(&fresh_of(&MetricBatch::default())).unwrap();
    assert!(read[0].1.is_empty());
    assert!(read_tenant_segment(&tenant_segment_of(&read[0].1), 0, 1).unwrap().is_empty());
}

/// What is so regular that readers would take it for a bomb is padded until they do not.
#[test]
fn a_million_samples_of_constant_series_can_be_read() {
    let labels = |pod: &str| Labels::from_pairs([("__name__", "up"), ("pod", pod)]).unwrap();
    let mut batch = MetricBatch::default();
    for pod in ["a", "b", "c", "d"] {
        batch.series.push(Arc::new(Series::new(labels(pod))));
        batch.timestamps_ms.extend((0..250_000).map(|step| step * 1000));
        batch.values.extend(vec![1.0; 250_000]);
        batch.float_ends.push(batch.values.len() as u32);
    }
    let object = fresh_of(&batch);
    assert!(object.len() < 100_000, "{}", object.len());
    assert_same(&read_fresh(&object).unwrap()[0].1, &batch);
    assert_same(&read_tenant_segment(&tenant_segment_of(&batch), i64::MIN, i64::MAX).unwrap(), &batch);
}

#[test]
fn batches_that_break_their_invariants_are_refused() {
    let good = || {
        let mut batch = MetricBatch::default();
        for pod in ["a", "b"] {
            let labels = Labels::from_pairs([("__name__", "up"), ("pod", pod)]).unwrap();
            batch.series.push(Arc::new(Series::new(labels)));
            batch.timestamps_ms.extend([1, 2]);
            batch.values.extend([1.0, 2.0]);
            batch.float_ends.push(batch.values.len() as u32);
        }
        batch
    };
    type Spoil = fn(&mut MetricBatch);
    let cases: [(&str, Spoil); 6] = [
        ("order", |batch| batch.series.swap(0, 1)),
        ("timestamps", |batch| batch.timestamps_ms.swap(0, 1)),
        ("columns", |batch| batch.values.truncate(3)),
        ("columns", |batch| batch.float_ends.truncate(1)),
        ("without samples", |batch| batch.float_ends[0] = 0),
        ("same time", |batch| batch.histograms.push((0, 2, Arc::default()))),
    ];
    for (expected, spoil) in cases {
        let mut batch = good();
        spoil(&mut batch);
        let result = encode_fresh(&[FreshPartition { tenant: &tenant("acme"), metrics: &batch }]);
        let Err(error @ EncodeError::InvalidBatch(_)) = result else { panic!("{expected}: {result:?}") };
        assert!(error.to_string().contains(expected), "{error} does not contain {expected:?}");
    }
    let (tenant, batch) = (tenant("acme"), good());
    let partition = FreshPartition { tenant: &tenant, metrics: &batch };
    assert!(matches!(encode_fresh(&[partition; 2]), Err(EncodeError::DuplicatePartition(_))));
}
