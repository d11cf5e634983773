//! Properties of value columns.

use proptest::prelude::*;

use super::*;
use crate::cursor::{Budget, Reader};
use crate::frame::BlockWriter;
use crate::ints::Effort;

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-100_000_i64..100_000, 0..4_i32).prop_map(|(integer, places)| integer as f64 / 10_f64.powi(places)),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(SPECIALS.to_vec()).prop_map(f64::from_bits),
        1 => Just(f64::NAN),
        1 => any::<i64>().prop_map(|integer| integer as f64),
    ]
}

fn check(series: &[Vec<f64>], metric_lengths: &[usize]) {
    let values: Vec<f64> = series.iter().flatten().copied().collect();
    let mut end = 0;
    let ends: Vec<u32> = series
        .iter()
        .map(|one| {
            end += one.len() as u32;
            end
        })
        .collect();
    let mut metric_ends = Vec::new();
    let mut at = 0;
    for length in metric_lengths {
        at = (at + length).min(series.len());
        metric_ends.push(at as u32);
    }
    metric_ends.push(series.len() as u32);
    for effort in [Effort::Fresh, Effort::Compacted] {
        let mut block = BlockWriter::new().unwrap();
        put_values(&values, &ends, &metric_ends, effort, &mut block).unwrap();
        let mut reader = Reader::new(&block.bytes, "values");
        let read = read_values(&mut reader, &ends, &mut Budget::of(1 << 20)).unwrap();
        reader.finish().unwrap();
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read), bits(&values));
    }
}

proptest! {
    /// Whatever the values, series and metrics, all bits come back.
    #[test]
    fn values_round_trip_bit_by_bit(
        series in prop::collection::vec(prop::collection::vec(value(), 0..6), 0..40),
        metrics in prop::collection::vec(0_usize..9, 0..9),
    ) {
        check(&series, &metrics);
    }

    #[test]
    fn long_series_round_trip_bit_by_bit(
        series in prop::collection::vec((prop::collection::vec(value(), 20..40), 0..4_u8), 1..6),
    ) {
        // Few distinct values, steady growth, and anything.
        let series: Vec<Vec<f64>> = series.into_iter().map(|(values, kind)| match kind {
            0 => vec![values[0]; values.len()],
            1 => (0..values.len()).map(|step| step as f64 * 15.5).collect(),
            2 => values.iter().map(|value| (value * 4096.0).trunc()).collect(),
            _ => values,
        }).collect();
        check(&series, &[]);
    }
}
