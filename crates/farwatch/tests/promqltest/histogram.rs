//! Native histograms in remote write 1.0, written by hand.

use telemetry::{Histogram, Span};

use crate::harness::protobuf::Message;

/// `prometheus.Histogram` with float counts.
pub(crate) fn message(at_ms: i64, histogram: &Histogram) -> Message {
    Message::new()
        .double(2, histogram.count)
        .double(3, histogram.sum)
        .varint(4, zigzag(histogram.schema.into()))
        .double(5, histogram.zero_threshold)
        .double(7, histogram.zero_count)
        .messages(8, histogram.negative_spans.iter().map(span))
        .bytes(10, &packed(&histogram.negative_buckets))
        .messages(11, histogram.positive_spans.iter().map(span))
        .bytes(13, &packed(&histogram.positive_buckets))
        .varint(14, histogram.counter_reset_hint.to_persisted().into())
        .varint(15, at_ms.cast_unsigned())
        .bytes(16, &packed(&histogram.custom_values))
}

fn span(span: &Span) -> Message {
    Message::new().varint(1, zigzag(span.offset)).varint(2, span.length.into())
}

fn zigzag(number: i32) -> u64 {
    (number << 1 ^ number >> 31).cast_unsigned().into()
}

fn packed(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
