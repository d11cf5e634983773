//! Properties of tenant segments.

use telemetry::{Labels, TenantId};

use super::*;
use crate::footer::Parsed;

#[test]
fn a_segment_reads_back_by_ranges() {
    let tenant = TenantId::new("acme").unwrap();
    let mut writer = TenantSegmentWriter::new(tenant.clone()).unwrap();
    let times: Vec<i64> = (0..300_000).map(|step| step * 15_000).collect();
    let values: Vec<f64> = (0..300_000).map(|step| f64::from(step) / 4.0).collect();
    let mut object = Vec::new();
    for pod in ["a", "b", "c"] {
        let labels = Labels::from_pairs([("__name__", "up"), ("pod", pod)]).unwrap();
        let skip = if pod == "b" { 100 } else { 0 };
        writer
            .push(SeriesSamples {
                labels: &labels,
                timestamps_ms: &times[skip..],
                values: &values[skip..],
                histograms: &[],
                exemplars: &[],
                omitted: &[],
            })
            .unwrap();
        object.extend(writer.take_output());
    }
    let (rest, summary) = writer.finish().unwrap();
    object.extend(rest);
    assert_eq!(summary.len_bytes, object.len() as u64);
    let Parsed::Done(footer) = TenantFooter::parse(&object, object.len() as u64).unwrap() else { panic!() };
    assert_eq!(footer.tenant, tenant);
    assert_eq!(footer.counts.samples, 900_000 - 100);
    let bytes = |range: std::ops::Range<u64>| &object[range.start as usize..range.end as usize];
    let index = MetricsIndex::parse(&footer, bytes(footer.index_range())).unwrap();
    assert_eq!(index.label_values("pod").collect::<Vec<_>>(), ["a", "b", "c"]);
    let name = footer.name("pod").unwrap();
    let postings = Postings::parse(name, footer.counts.series, bytes(name.postings.range.clone())).unwrap();
    let selected = postings.of(1).unwrap();
    assert_eq!(selected.iter().collect::<Vec<_>>(), [1]);
    let (start, end) = (times[50], times[200_000]);
    let blocks = index.blocks_for(&selected, start, end, false);
    let fetched: Vec<_> = blocks.iter().map(|block| (*block, bytes(block.section.range.clone()))).collect();
    let batch = index.read(&selected, start, end, &fetched).unwrap();
    assert_eq!(batch.timestamps_ms, times[100..=200_000]);
    assert_eq!(batch.values, values[100..=200_000]);
    assert_eq!(batch.series[0].labels().get("pod"), Some("b"));
}
