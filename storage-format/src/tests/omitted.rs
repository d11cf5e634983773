//! What thinned series left out comes back, and what is damaged is refused.

use proptest::collection::vec;
use proptest::prelude::*;
use telemetry::{Labels, Omitted};

use super::*;
use crate::cursor::{Budget, Reader};
use crate::frame::{BlockWriter, finish_block};
use crate::omitted::{put_omitted, read_omitted};
use crate::tenant::{self, BlockKind};

fn row() -> impl Strategy<Value = (i64, Omitted)> {
    let finite =
        prop_oneof![Just(0.0), -1e9..1e9_f64, any::<f64>().prop_filter("finite", |value| value.is_finite())];
    let step = prop_oneof![Just(300_000_i64), 1..400_000_i64];
    (step, 1..100_000_u64, finite.clone(), finite, -3..20_i64).prop_map(|(step, count, sum, lost, resets)| {
        (step, Omitted { timestamp_ms: 0, count, sum, lost, resets })
    })
}

/// Rows of some series, of which some have none.
fn rows() -> impl Strategy<Value = Vec<(u32, Omitted)>> {
    vec((-5_000_000_000_000..5_000_000_000_000_i64, vec(row(), 0..40)), 1..12).prop_map(|series| {
        let of_series = (0_u32..).zip(series).flat_map(|(number, (start_ms, rows))| {
            let mut timestamp_ms = start_ms;
            rows.into_iter().map(move |(step, row)| {
                timestamp_ms += step;
                (number, Omitted { timestamp_ms, ..row })
            })
        });
        of_series.collect()
    })
}

fn encoded(rows: &[(u32, Omitted)]) -> Vec<u8> {
    let mut block = BlockWriter::new().unwrap();
    put_omitted(rows, &mut block).unwrap();
    let mut out = Vec::new();
    block.finish(&mut out);
    out
}

fn decoded(bytes: &[u8], count: usize, series: u64) -> Result<Vec<(u32, Omitted)>, FormatError> {
    let mut reader = Reader::new(bytes, "rows");
    let rows = read_omitted(&mut reader, count, series, &mut Budget::of(bytes.len()))?;
    finish_block(reader).map(|()| rows)
}

proptest! {
    #[test]
    fn rows_round_trip_in_segments(rows in rows()) {
        let mut writer = TenantSegmentWriter::new(tenant("acme")).unwrap();
        let series = rows.last().map_or(1, |row| row.0 + 1);
        for number in 0..series {
            let labels = Labels::from_pairs([("__name__", "x"), ("pod", &format!("{number:03}"))]).unwrap();
            let omitted: Vec<Omitted> = rows.iter().filter(|row| row.0 == number).map(|row| row.1).collect();
            writer.push(SeriesSamples {
                labels: &labels,
                timestamps_ms: &[7],
                values: &[1.5],
                histograms: &[],
                exemplars: &[],
                omitted: &omitted,
            }).unwrap();
        }
        let (object, _) = writer.finish().unwrap();
        let Ok(Parsed::Done(footer)) = TenantFooter::parse(&object, object.len() as u64) else { panic!() };
        let bytes = |range: std::ops::Range<u64>| &object[range.start as usize..range.end as usize];
        let index = MetricsIndex::parse(&footer, bytes(footer.index_range())).unwrap();
        let blocks = index.blocks().iter().filter(|block| block.kind == BlockKind::Omitted);
        let read: Vec<(u32, Omitted)> = blocks
            .flat_map(|block| tenant::read_omitted(block, bytes(block.section.range.clone())).unwrap())
            .collect();
        prop_assert_eq!(&read, &rows);
        // Who asks for samples is not given what was left out of them, and is not bothered by it.
        prop_assert_eq!(read_tenant_segment(&object, i64::MIN, i64::MAX).unwrap().values.len(), series as usize);

        let mut stream: SegmentStream<Vec<u8>> = SegmentStream::new(&footer, index).unwrap();
        let (mut streamed, mut number) = (Vec::new(), 0);
        loop {
            match stream.advance().unwrap() {
                StreamStep::End => break,
                StreamStep::Blocks => {
                    let range = stream.next_fetch(100, 0).unwrap();
                    stream.supply(range.clone(), bytes(range).to_vec()).unwrap();
                }
                StreamStep::Series => {
                    streamed.extend(stream.series().omitted.iter().map(|row| (number, *row)));
                    number += 1;
                }
            }
        }
        prop_assert_eq!(&streamed, &rows);
    }

    #[test]
    fn spoiled_rows_do_no_harm(
        rows in rows(),
        edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        more in 0..3_usize,
    ) {
        let mut bytes = encoded(&rows);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(read) = decoded(&bytes, rows.len() + more, 12) {
            // What is accepted can be written again.
            prop_assert_eq!(decoded(&encoded(&read), read.len(), 12).unwrap(), read);
        }
    }

    #[test]
    fn cut_rows_are_refused(rows in rows()) {
        let bytes = encoded(&rows);
        for length in 0..bytes.len() {
            let cut = decoded(&bytes[..length], rows.len(), 12);
            // Nothing but padding may be missing.
            prop_assert!(cut.is_err() || bytes[length..].iter().all(|byte| *byte == 0), "{length}");
        }
    }
}

#[test]
fn rows_that_cannot_be_are_refused() {
    let good = Omitted { timestamp_ms: 5, count: 3, sum: 1.0, lost: 0.0, resets: 0 };
    let after = Omitted { timestamp_ms: 6, ..good };
    assert_eq!(decoded(&encoded(&[(1, good), (1, after)]), 2, 2).unwrap().len(), 2);
    let cases = [
        ("series", vec![(2, good)]),
        ("number", vec![(0, Omitted { count: 0, ..good })]),
        ("number", vec![(0, Omitted { sum: f64::NAN, ..good })]),
        ("number", vec![(0, Omitted { lost: f64::INFINITY, ..good })]),
        ("ascend", vec![(0, after), (0, good)]),
    ];
    for (what, rows) in cases {
        let error = decoded(&encoded(&rows), rows.len(), 2).unwrap_err().to_string();
        assert!(error.contains(what), "{error} is not about {what}");
    }
}
