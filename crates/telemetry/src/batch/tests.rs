use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::series::assign_ranks;
use crate::{Labels, Series};

fn series(number: u8) -> Arc<Series> {
    Arc::new(Series::new(Labels::from_pairs([("__name__", format!("m{number:03}"))]).unwrap()))
}

fn float(series: &Arc<Series>, timestamp_ms: i64, value: f64) -> FloatRow {
    FloatRow { series: Arc::clone(series), timestamp_ms, value }
}

proptest! {
    /// Whatever is ranked or shared, a batch holds the last value of each series and timestamp, in order.
    #[test]
    fn batch_is_the_sorted_last_writes(
        rows in proptest::collection::vec((0_u8..12, -3_i64..4, any::<f64>()), 0..200),
        epochs in proptest::collection::vec(0_u8..3, 12),
        cut in 0_usize..200,
        shared in proptest::collection::vec(proptest::bool::weighted(0.9), 200),
    ) {
        let pool: Vec<_> = (0..12).map(series).collect();
        // Those of epoch 0 have no rank.
        for epoch in 1..3 {
            let of_epoch = pool.iter().zip(&epochs).filter(|(_, its)| **its == epoch);
            assign_ranks(&of_epoch.map(|(series, _)| Arc::clone(series)).collect::<Vec<_>>());
        }
        let pick = |number: u8, shared| if shared { Arc::clone(&pool[usize::from(number)]) } else { series(number) };
        let all: Vec<_> =
            rows.iter().zip(shared).map(|(&(number, at, value), shared)| float(&pick(number, shared), at, value)).collect();
        let (first, second) = all.split_at(cut.min(all.len()));
        let batch = MetricBatch::from_rows(vec![
            MetricRows { floats: first.to_vec(), ..MetricRows::default() },
            MetricRows { floats: second.to_vec(), ..MetricRows::default() },
        ]);

        let mut expected: BTreeMap<(u8, i64), u64> = BTreeMap::new();
        for &(number, at, value) in &rows {
            expected.insert((number, at), value.to_bits());
        }
        let mut found = Vec::new();
        for (index, series) in batch.series.iter().enumerate() {
            let number: u8 = series.labels().metric_name().unwrap()[1..].parse().unwrap();
            let (timestamps, values) = batch.floats_of(index);
            prop_assert!(!timestamps.is_empty());
            found.extend(timestamps.iter().zip(values).map(|(&at, value)| ((number, at), value.to_bits())));
        }
        prop_assert_eq!(found, expected.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn one_series_may_have_floats_histograms_and_exemplars() {
    let (a, b) = (series(1), series(2));
    let histogram = |count: f64| Arc::new(Histogram { count, ..Histogram::default() });
    let exemplar = |at: i64| Exemplar { labels: Labels::empty(), value: 1.0, timestamp_ms: at };
    let batch = MetricBatch::from_rows(vec![MetricRows {
        floats: vec![float(&b, 10, 1.0)],
        histograms: vec![
            HistogramRow { series: Arc::clone(&b), timestamp_ms: 20, histogram: histogram(1.0) },
            HistogramRow { series: Arc::clone(&b), timestamp_ms: 10, histogram: histogram(2.0) },
            HistogramRow { series: Arc::clone(&b), timestamp_ms: 20, histogram: histogram(3.0) },
        ],
        exemplars: vec![
            ExemplarRow { series: Arc::clone(&a), exemplar: exemplar(7) },
            ExemplarRow { series: Arc::clone(&a), exemplar: exemplar(5) },
            ExemplarRow { series: Arc::clone(&a), exemplar: exemplar(7) },
        ],
        metadata: BTreeMap::new(),
    }]);
    assert_eq!(batch.series, [a, b]);
    assert_eq!(batch.floats_of(0).0, [0_i64; 0]);
    assert_eq!(batch.floats_of(1).0, [10]);
    // At 10 ms the float stands; at 20 ms the later histogram does.
    assert_eq!(batch.histograms, [(1, 20, histogram(3.0))]);
    assert_eq!(batch.exemplars, [(0, exemplar(5)), (0, exemplar(7))]);
    assert_eq!(batch.counts(), BatchCounts { series: 2, samples: 2, exemplars: 2 });
    assert_eq!(batch.time_range_ms(), Some((5, 20)));
}
