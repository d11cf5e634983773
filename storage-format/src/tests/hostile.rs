//! What is damaged, or made to do harm, is refused: no panic, no hang, no allocation out of proportion.

use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

use super::strategies::batch;
use super::*;
use crate::cursor::put_varint;

/// Both kinds of segment with the same content, and ways to read them.
fn both(batch: &MetricBatch) -> [(Vec<u8>, Read); 3] {
    [
        (fresh_of(batch), read_only),
        (tenant_segment_of(batch), read_all),
        (tenant_segment_of(batch), |object| stream_tenant_segment(object, 100)),
    ]
}

type Read = fn(&[u8]) -> Result<MetricBatch, FormatError>;

fn read_only(object: &[u8]) -> Result<MetricBatch, FormatError> {
    read_fresh(object).map(|mut all| all.pop().map(|(_, batch)| batch).unwrap_or_default())
}

fn read_all(object: &[u8]) -> Result<MetricBatch, FormatError> {
    read_tenant_segment(object, i64::MIN, i64::MAX)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn cut_segments_are_refused(batch in batch(5)) {
        for (object, read) in both(&batch) {
            for length in 0..object.len() {
                prop_assert!(read(&object[..length]).is_err(), "{length} of {} bytes", object.len());
                prop_assert!(read(&object[object.len() - length..]).is_err(), "the last {length} bytes");
            }
        }
    }

    /// A flipped bit is an error, or where it means nothing leaves the content as it was.
    #[test]
    fn flipped_bits_change_nothing_silently(batch in batch(4)) {
        for (mut object, read) in both(&batch) {
            for bit in 0..object.len() * 8 {
                object[bit / 8] ^= 1 << (bit % 8);
                if let Ok(changed) = read(&object) {
                    prop_assert!(same(&changed, &batch), "bit {bit}");
                }
                object[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Checksums that fit do not make bytes good: whoever makes a segment can compute them.
    #[test]
    fn spoiled_blocks_with_right_checksums_do_no_harm(
        batch in batch(8),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let object = fresh_of(&batch);
        let Ok(Parsed::Done(footer)) = Footer::parse(&object, object.len() as u64) else { panic!() };
        let mut entry = footer.partitions()[0].clone();
        let mut bytes = object[entry.range.start as usize..entry.range.end as usize].to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        entry.checksum = xxh3_64(&bytes);
        // Whatever it says, it says it without harm, and what it accepts can be written again.
        if let Ok(batch) = decode_metrics_partition(&entry, &bytes) {
            fresh_of(&batch);
        }
    }
}

/// A partition whose bytes are `bytes`.
fn decode(bytes: &[u8]) -> FormatError {
    crate::partition::decode_measured(bytes).map(|_| ()).unwrap_err()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    numbers.iter().for_each(|number| put_varint(&mut out, *number));
    out
}

#[test]
fn bombs_and_impossible_counts_are_refused() {
    let huge = u64::MAX >> 1;
    // A frame that claims to be long, one that is a gigabyte of zeros, and counts beyond everything.
    let zeros = zstd::bulk::compress(&vec![0; 256 << 20], 19).unwrap();
    let mut bomb = numbers(&[1, 1, 0, 0, 0, (256 << 20) << 1 | 1, zeros.len() as u64]);
    bomb.extend_from_slice(&zeros);
    assert!(matches!(decode(&bomb), FormatError::OutOfProportion { .. }), "{}", decode(&bomb));
    let mut lying = numbers(&[1, 1, 0, 0, 0, 1000 << 1 | 1, zeros.len() as u64]);
    lying.extend_from_slice(&zeros);
    assert!(matches!(decode(&lying), FormatError::Corrupt { .. }), "{}", decode(&lying));
    for position in 0..5 {
        let mut counts = [0; 5];
        counts[position] = huge;
        let error = decode(&numbers(&counts));
        assert!(
            matches!(error, FormatError::Corrupt { .. } | FormatError::OutOfProportion { .. }),
            "{error}"
        );
    }
    for claimed in [huge, 1 << 40, 1 << 21] {
        let error = decode(&numbers(&[1, 1, 0, 0, 0, claimed << 1]));
        assert!(
            matches!(error, FormatError::Corrupt { .. } | FormatError::OutOfProportion { .. }),
            "{error}"
        );
    }
}

#[test]
fn other_objects_and_later_versions_are_told_apart() {
    let fresh = fresh_of(&MetricBatch::default());
    let length = fresh.len() as u64;
    assert!(matches!(TenantFooter::parse(&fresh, length), Err(FormatError::NotASegment(_))));
    let segment = tenant_segment_of(&MetricBatch::default());
    assert!(matches!(Footer::parse(&segment, segment.len() as u64), Err(FormatError::NotASegment(_))));
    assert!(matches!(Footer::parse(b"PAR1", 4), Err(FormatError::NotASegment(_))));
    assert!(matches!(Footer::parse(&[7; 100], 100), Err(FormatError::NotASegment(_))));
    let mut later = fresh;
    *later.last_mut().unwrap() = 2;
    assert_eq!(Footer::parse(&later, length), Err(FormatError::Version { found: 2, known: 1 }));
}
