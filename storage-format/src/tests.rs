//! Properties of whole segments.

use telemetry::{FloatRow, Labels, MetricBatch, MetricRows, Series, TenantId};

use super::*;

fn small_batch() -> MetricBatch {
    let mut rows = MetricRows::default();
    for pod in ["a", "b"] {
        let labels = Labels::from_pairs([("__name__", "up"), ("pod", pod)]).unwrap();
        let series = std::sync::Arc::new(Series::new(labels));
        rows.floats.push(FloatRow { series, timestamp_ms: 5, value: -0.0 });
    }
    MetricBatch::from_rows(vec![rows])
}

#[test]
fn a_segment_of_two_tenants_reads_back_by_ranges() {
    let (one, two) = (TenantId::new("one").unwrap(), TenantId::new("two").unwrap());
    let (batch, empty) = (small_batch(), MetricBatch::default());
    let object = encode_fresh(&[
        FreshPartition { tenant: &two, metrics: &empty },
        FreshPartition { tenant: &one, metrics: &batch },
    ])
    .unwrap();
    let parsed = Footer::parse(&object[object.len() - 24..], object.len() as u64).unwrap();
    let FooterParse::NeedSuffix(needed) = parsed else { panic!("{parsed:?}") };
    let suffix = &object[object.len() - needed as usize..];
    let FooterParse::Done(footer) = Footer::parse(suffix, object.len() as u64).unwrap() else { panic!() };
    assert_eq!(footer.partitions().len(), 2);
    let entry = footer.find(&one, Signal::Metrics).unwrap();
    let range = entry.range.start as usize..entry.range.end as usize;
    let read = decode_metrics_partition(entry, &object[range]).unwrap();
    assert_eq!(read.series, batch.series);
    assert_eq!(read.timestamps_ms, batch.timestamps_ms);
    assert_eq!(read.values[0].to_bits(), (-0.0_f64).to_bits());
}
