//! Properties of label tables.

use proptest::prelude::*;
use telemetry::Labels;

use super::*;
use crate::cursor::{Budget, Reader};
use crate::frame::BlockWriter;

fn label_set() -> impl Strategy<Value = Labels> {
    let name = prop::sample::select(vec!["A", "__name__", "a", "b", "c", "\u{e4}"]);
    let value = prop_oneof!["[a-c]{1,2}", "[\u{1F600}x]{60,70}", Just("0".to_owned())];
    prop::collection::btree_map(name, value, 0..6).prop_map(|pairs| Labels::from_pairs(pairs).unwrap())
}

fn write(sets: &[Labels]) -> Result<Vec<u8>, crate::EncodeError> {
    let mut block = BlockWriter::new()?;
    let mut writer = LabelWriter::<&str>::default();
    for labels in sets {
        writer.push(labels)?;
    }
    writer.put(&mut block)?;
    Ok(block.bytes)
}

proptest! {
    /// Whatever the sets, in ascending order, they come back; shared text makes the same bytes as borrowed text.
    #[test]
    fn label_sets_round_trip(sets in prop::collection::btree_set(label_set_text(), 0..60)) {
        let mut sets: Vec<Labels> = sets.iter().map(|text| Labels::from_canonical(text).unwrap()).collect();
        sets.sort();
        let bytes = write(&sets).unwrap();
        let mut reader = Reader::new(&bytes, "labels");
        let read = read_labels(&mut reader, sets.len(), &mut Budget::of(1 << 16)).unwrap();
        prop_assert_eq!(reader.finish(), Ok(()));
        prop_assert_eq!(read.iter().map(|series| series.labels().clone()).collect::<Vec<_>>(), sets.clone());

        let mut shared = LabelWriter::<std::sync::Arc<str>>::default();
        sets.iter().try_for_each(|labels| shared.push(labels)).unwrap();
        let mut block = BlockWriter::new().unwrap();
        shared.put(&mut block).unwrap();
        prop_assert_eq!(block.bytes, bytes);
        let mut metric_ends: Vec<u32> = (1..sets.len())
            .filter(|index| sets[*index].metric_name() != sets[index - 1].metric_name())
            .map(|index| index as u32)
            .collect();
        metric_ends.push(sets.len() as u32);
        prop_assert_eq!(shared.metric_ends(), metric_ends);
    }

    /// Sets that do not strictly ascend are refused.
    #[test]
    fn other_orders_are_refused(sets in prop::collection::vec(label_set(), 2..12)) {
        let ascends = sets.windows(2).all(|pair| pair[0] < pair[1]);
        prop_assert_eq!(write(&sets).is_ok(), ascends);
    }
}

fn label_set_text() -> impl Strategy<Value = String> {
    label_set().prop_map(|labels| labels.as_canonical().to_owned())
}

#[test]
fn a_table_of_nothing_is_read() {
    let bytes = write(&[Labels::empty()]).unwrap();
    let read = read_labels(&mut Reader::new(&bytes, "labels"), 1, &mut Budget::of(100)).unwrap();
    assert!(read[0].labels().is_empty());
}
