//! What is in objects.

use std::ops::Range;

use bytes::Bytes;
use storage_format::tenant::{BlockKind, read_omitted};
use storage_format::{Footer, FooterParse, MetricsIndex, Parsed, TenantFooter, decode_metrics_partition};
use telemetry::{MetricBatch, Omitted, TenantId};

use crate::data::{Contents, contents_of};

/// What an object of the fresh kind holds, of all tenants.
pub(crate) fn of_fresh(body: &Bytes) -> Contents {
    let partitions = partitions_of(body).into_iter();
    partitions.flat_map(|(tenant, batch)| contents_of(tenant.as_str(), &batch)).collect()
}

/// The partitions of an object of the fresh kind.
pub(crate) fn partitions_of(body: &Bytes) -> Vec<(TenantId, MetricBatch)> {
    let FooterParse::Done(footer) = Footer::parse(body, body.len() as u64).unwrap() else {
        panic!("the whole object has its whole footer")
    };
    let batch = |entry| decode_metrics_partition(entry, &body.slice(bytes_of(&entry.range))).unwrap();
    footer.partitions().iter().map(|entry| (entry.tenant.clone(), batch(entry))).collect()
}

/// What a segment of `tenant` holds; and what it does not, by metric name.
pub(crate) fn of_segment(tenant: &str, body: &Bytes) -> (Contents, Vec<(String, Omitted)>) {
    let Parsed::Done(footer) = TenantFooter::parse(body, body.len() as u64).unwrap() else {
        panic!("the whole object has its whole footer")
    };
    let index = MetricsIndex::parse(&footer, &body[bytes_of(&footer.index_range())]).unwrap();
    let fetched: Vec<_> =
        index.blocks().iter().map(|block| (block, &body[bytes_of(&block.section.range)])).collect();
    let name = |series| index.labels(series).unwrap().metric_name().expect("each has one").to_owned();
    let left_out = fetched.iter().filter(|(block, _)| block.kind == BlockKind::Omitted);
    let left_out = left_out.flat_map(|(block, bytes)| read_omitted(block, bytes).unwrap());
    let left_out = left_out.map(|(series, row)| (name(series), row)).collect();
    let all = (0..index.series_count()).collect();
    let mut batch = index.read(&all, i64::MIN, i64::MAX, &fetched).unwrap();
    batch.metadata = index.metadata().clone();
    (contents_of(tenant, &batch), left_out)
}

fn bytes_of(range: &Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}
