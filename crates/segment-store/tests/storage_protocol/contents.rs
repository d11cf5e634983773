//! What is in objects.

use std::ops::Range;

use bytes::Bytes;
use segment_store::testing::floats_of;
use storage_format::{Footer, FooterParse, MetricsIndex, Parsed, TenantFooter, decode_metrics_partition};
use telemetry::MetricBatch;

use crate::record::{Id, known_tenant};

/// Samples, and their values by their bits.
pub(crate) type Contents = Vec<(Id, u64)>;

/// What an object of the fresh kind holds, of all tenants.
pub(crate) fn of_fresh(body: &Bytes) -> Contents {
    let FooterParse::Done(footer) = Footer::parse(body, body.len() as u64).unwrap() else {
        panic!("the whole object has its whole footer")
    };
    let mut contents = Contents::new();
    for entry in footer.partitions() {
        let bytes = body.slice(bytes_of(&entry.range));
        add(&mut contents, entry.tenant.as_str(), &decode_metrics_partition(entry, &bytes).unwrap());
    }
    contents
}

/// What a segment of `tenant` holds.
pub(crate) fn of_segment(tenant: &str, body: &Bytes) -> Contents {
    let Parsed::Done(footer) = TenantFooter::parse(body, body.len() as u64).unwrap() else {
        panic!("the whole object has its whole footer")
    };
    let index = MetricsIndex::parse(&footer, &body[bytes_of(&footer.index_range())]).unwrap();
    let all = (0..index.series_count()).collect();
    let blocks = index.blocks_for(&all, i64::MIN, i64::MAX, true);
    let fetched: Vec<_> =
        blocks.into_iter().map(|block| (block, &body[bytes_of(&block.section.range)])).collect();
    let mut contents = Contents::new();
    add(&mut contents, tenant, &index.read(&all, i64::MIN, i64::MAX, &fetched).unwrap());
    contents
}

fn bytes_of(range: &Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn add(contents: &mut Contents, tenant: &str, batch: &MetricBatch) {
    let tenant = known_tenant(tenant);
    let floats = floats_of(batch).into_iter();
    contents.extend(floats.map(|(name, at_ms, value)| (Id { tenant, at_ms, name }, value.to_bits())));
}
