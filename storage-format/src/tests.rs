//! Properties of whole segments: what goes in comes out, and what is damaged is refused.

mod golden;
mod hostile;
mod merging;
mod omitted;
mod round_trip;
mod strategies;

use std::sync::Arc;

use telemetry::{MetricBatch, Series, TenantId};

use crate::tenant::{
    MetricsIndex, SegmentStream, SeriesSamples, StreamStep, TenantFooter, TenantSegmentWriter,
};
use crate::{Footer, FormatError, FreshPartition, Parsed, Signal, decode_metrics_partition, encode_fresh};

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn fresh_of(batch: &MetricBatch) -> Vec<u8> {
    encode_fresh(&[FreshPartition { tenant: &tenant("acme"), metrics: batch }]).unwrap()
}

/// Everything in a fresh segment, by the way that readers go.
fn read_fresh(object: &[u8]) -> Result<Vec<(TenantId, MetricBatch)>, FormatError> {
    let length = object.len() as u64;
    let suffix = &object[object.len().saturating_sub(64)..];
    let footer = match Footer::parse(suffix, length)? {
        Parsed::Done(footer) => footer,
        Parsed::NeedSuffix(bytes) => {
            assert!(bytes <= length, "a reader is asked for more than there is");
            match Footer::parse(&object[object.len() - bytes as usize..], length)? {
                Parsed::Done(footer) => footer,
                Parsed::NeedSuffix(_) => panic!("a reader is asked twice"),
            }
        }
    };
    let mut all = Vec::new();
    for entry in footer.partitions() {
        assert_eq!(entry.signal, Signal::Metrics);
        let bytes = &object[entry.range.start as usize..entry.range.end as usize];
        all.push((entry.tenant.clone(), decode_metrics_partition(entry, bytes)?));
    }
    Ok(all)
}

fn tenant_segment_of(batch: &MetricBatch) -> Vec<u8> {
    let mut writer = TenantSegmentWriter::new(tenant("acme")).unwrap();
    let mut object = Vec::new();
    for (index, series) in batch.series.iter().enumerate() {
        let (timestamps_ms, values) = batch.floats_of(index);
        let of = |row: u32| row as usize == index;
        let histograms: Vec<_> =
            batch.histograms.iter().filter(|row| of(row.0)).map(|row| (row.1, row.2.clone())).collect();
        let exemplars: Vec<_> =
            batch.exemplars.iter().filter(|row| of(row.0)).map(|row| row.1.clone()).collect();
        let samples = SeriesSamples {
            labels: series.labels(),
            timestamps_ms,
            values,
            histograms: &histograms,
            exemplars: &exemplars,
            omitted: &[],
        };
        writer.push(samples).unwrap();
        if index % 3 == 0 {
            object.extend(writer.take_output());
        }
    }
    writer.push_metadata(&batch.metadata);
    let (rest, summary) = writer.finish().unwrap();
    object.extend(rest);
    assert_eq!((summary.counts, summary.len_bytes), (batch.counts(), object.len() as u64));
    object
}

/// Everything in a tenant segment between two times, by the way that readers go.
fn read_tenant_segment(object: &[u8], start_ms: i64, end_ms: i64) -> Result<MetricBatch, FormatError> {
    let Parsed::Done(footer) = TenantFooter::parse(object, object.len() as u64)? else {
        panic!("a reader of everything is asked for more");
    };
    let bytes = |range: std::ops::Range<u64>| &object[range.start as usize..range.end as usize];
    let index = MetricsIndex::parse(&footer, bytes(footer.index_range()))?;
    let series = (0..index.series_count()).collect();
    let blocks = index.blocks_for(&series, start_ms, end_ms, true);
    let fetched: Vec<_> =
        blocks.into_iter().map(|block| (block, bytes(block.section.range.clone()))).collect();
    let mut batch = index.read(&series, start_ms, end_ms, &fetched)?;
    batch.metadata = index.metadata().clone();
    Ok(batch)
}

/// Everything in a tenant segment, series by series as a merge reads it; of the bytes at most `most_bytes` or a block at a time.
fn stream_tenant_segment(object: &[u8], most_bytes: u64) -> Result<MetricBatch, FormatError> {
    let Parsed::Done(footer) = TenantFooter::parse(object, object.len() as u64)? else {
        panic!("a reader of everything is asked for more");
    };
    let bytes = |range: std::ops::Range<u64>| &object[range.start as usize..range.end as usize];
    let index = MetricsIndex::parse(&footer, bytes(footer.index_range()))?;
    let mut stream: SegmentStream<Vec<u8>> = SegmentStream::new(&footer, index)?;
    let mut batch = MetricBatch { metadata: stream.metadata().clone(), ..MetricBatch::default() };
    loop {
        match stream.advance()? {
            StreamStep::End => return Ok(batch),
            StreamStep::Blocks => {
                let range = stream.next_fetch(most_bytes, 0).expect("blocks are missing");
                stream.supply(range.clone(), bytes(range).to_vec())?;
            }
            StreamStep::Series => {
                let index = batch.series.len() as u32;
                let series = stream.series();
                batch.series.push(Arc::new(Series::new(series.labels.clone())));
                batch.timestamps_ms.extend_from_slice(series.timestamps_ms);
                batch.values.extend_from_slice(series.values);
                batch.float_ends.push(batch.values.len() as u32);
                batch
                    .histograms
                    .extend(series.histograms.iter().map(|(at, of)| (index, *at, Arc::clone(of))));
                batch.exemplars.extend(series.exemplars.iter().map(|of| (index, of.clone())));
            }
        }
    }
}

/// Panics unless both hold the same, bit by bit.
fn assert_same(left: &MetricBatch, right: &MetricBatch) {
    let bits = |batch: &MetricBatch| batch.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(left.series, right.series);
    assert_eq!(left.float_ends, right.float_ends);
    assert_eq!(left.timestamps_ms, right.timestamps_ms);
    assert_eq!(bits(left), bits(right));
    assert_eq!(left.histograms, right.histograms);
    assert_eq!(left.exemplars, right.exemplars);
    assert_eq!(left.metadata, right.metadata);
}

fn same(left: &MetricBatch, right: &MetricBatch) -> bool {
    std::panic::catch_unwind(|| assert_same(left, right)).is_ok()
}
