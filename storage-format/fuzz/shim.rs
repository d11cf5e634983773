//! What the fuzz targets do; `storage-format`'s tests replay the seeds through it.
//!
//! Checksums keep a fuzzer out, and do not keep out anybody who can compute them: so here they are made to fit.

use std::sync::OnceLock;

use roaring::RoaringBitmap;
use storage_format::tenant::{MetricsIndex, Postings, SegmentStream, StreamStep, TenantFooter};
use storage_format::{
    Footer, Parsed, PartitionEntry, PartitionMerger, Section, Signal, decode_metrics_partition, inspect,
};
use telemetry::{BatchCounts, TenantId};
use xxhash_rust::xxh3::xxh3_64;

/// `data` is an object.
pub(crate) fn fresh(data: &[u8]) {
    if let Ok(description) = inspect(data) {
        assert!(!description.to_string().is_empty());
    }
    let _ = Footer::parse(data, data.len() as u64);
    let _ = Footer::parse(data, u64::MAX);
    let _ = TenantFooter::parse(data, data.len() as u64);
}

/// `data` is a partition of a fresh segment.
pub(crate) fn partition(data: &[u8]) {
    let Ok(tenant) = TenantId::new("fuzz") else { return };
    let entry = PartitionEntry {
        tenant,
        signal: Signal::Metrics,
        range: 0..data.len() as u64,
        counts: BatchCounts::default(),
        min_time_ms: 0,
        max_time_ms: 0,
        checksum: xxh3_64(data),
    };
    let _ = decode_metrics_partition(&entry, data);
    let mut merger = PartitionMerger::new();
    let _ = merger.push(&entry, data);
    let _ = merger.finish();
}

fn golden() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/v1-tenant.segment");
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/v1-tenant.segment");
        std::fs::read(path).or_else(|_| std::fs::read(beside)).unwrap_or_default()
    })
}

/// `data` is a number and, in its place, the bytes of a section or block of an otherwise good tenant segment.
pub(crate) fn section(data: &[u8]) {
    let Some((&number, replacement)) = data.split_first() else { return };
    let object = golden();
    let Ok(Parsed::Done(mut footer)) = TenantFooter::parse(object, object.len() as u64) else { return };
    let original = footer.clone();
    let bytes = |section: &Section| &object[section.range.start as usize..section.range.end as usize];
    // Sections follow each other: lay them out anew, one of them replaced.
    let mut index = Vec::new();
    let start = footer.index_range().start;
    let mut place = 0;
    let mut lay = |section: &mut Section| {
        let new = if place == number { replacement } else { bytes(section) };
        place += 1;
        let from = start + index.len() as u64;
        index.extend_from_slice(new);
        *section = Section { range: from..from + new.len() as u64, checksum: xxh3_64(new) };
    };
    for section in [&mut footer.rows, &mut footer.series, &mut footer.directory, &mut footer.metadata] {
        lay(section);
    }
    for name in &mut footer.names {
        lay(&mut name.dictionary);
        lay(&mut name.postings);
    }
    let sections = place;
    for name in &footer.names {
        let from = (name.postings.range.start - start) as usize;
        let to = (name.postings.range.end - start) as usize;
        if let Ok(postings) = Postings::parse(name, footer.counts.series, &index[from..to]) {
            let _ = postings.all();
        }
    }
    let Ok(parsed) = MetricsIndex::parse(&footer, &index) else { return };
    let series: RoaringBitmap = (0..parsed.series_count()).collect();
    for number in &series {
        let _ = parsed.labels(number);
    }
    let blocks = parsed.blocks_for(&series, i64::MIN, i64::MAX, true);
    let mut owned: Vec<_> = blocks.into_iter().cloned().collect();
    let mut replaced = None;
    if let Some(block) = number.checked_sub(sections).and_then(|place| owned.get_mut(usize::from(place))) {
        block.section = Section {
            range: block.section.range.start..block.section.range.start + replacement.len() as u64,
            checksum: xxh3_64(replacement),
        };
        replaced = Some(block.section.clone());
    }
    let fetched: Vec<_> = owned
        .iter()
        .map(|block| match &replaced {
            Some(section) if *section == block.section => (block, replacement),
            _ => (
                block,
                object
                    .get(block.section.range.start as usize..block.section.range.end as usize)
                    .unwrap_or_default(),
            ),
        })
        .collect();
    if let Ok(mut stream) = SegmentStream::<&[u8]>::new(&footer, parsed.clone()) {
        // The object as the replaced section makes it; blocks are where they were.
        while let Ok(step) = stream.advance() {
            let range = match step {
                StreamStep::End => break,
                StreamStep::Series => continue,
                StreamStep::Blocks => stream.next_fetch(1 << 20, 0),
            };
            let Some(range) = range else { break };
            let part = object.get(range.start as usize..range.end as usize).unwrap_or_default();
            if stream.supply(range, part).is_err() {
                break;
            }
        }
    }
    if let Ok(batch) = parsed.read(&series, i64::MIN, i64::MAX, &fetched) {
        assert!(batch.series.len() as u64 <= original.counts.series.max(footer.counts.series));
    }
}
