//! Remote write: bodies, messages, labels, samples.

use reqwest::RequestBuilder;

use super::{Case, case};
use crate::harness::compression::{gzip, snappy, zstd};
use crate::harness::protobuf::{Message, put_varint};
use crate::harness::remote_write::{request, series, write_body};
use crate::harness::{Farwatch, now_ms};

/// Metrics that came with bad ones and are kept.
pub(super) const KEPT: &[&str] =
    &["kept_beside_bad_labels", "kept_beside_bad_time", "kept_empty_label", "kept_nan", "kept_unsorted"];

const MIB: usize = 1 << 20;
const YEAR_MS: i64 = 365 * 86_400_000;

pub(super) fn cases(server: &Farwatch, at: i64) -> Vec<Case> {
    let raw = |body: Vec<u8>| write_body(server.post("/api/v1/write"), body);
    let message = |message: &Message| raw(snappy(&message.0));
    let bytes = |bytes: &[u8]| raw(snappy(bytes));
    let mut cases = bodies(server, &raw);
    cases.extend(messages(&bytes, &message));
    cases.extend(labels(&message, at));
    cases.extend(samples(&message, at));
    cases.extend(version_2(server));
    cases
}

fn bodies(server: &Farwatch, raw: &dyn Fn(Vec<u8>) -> RequestBuilder) -> Vec<Case> {
    let post = || server.post("/api/v1/write");
    let good = snappy(&request([series(&[("__name__", "bad_body")], &[(now_ms(), 1.0)])]).0);
    let mut truncated = good.clone();
    truncated.truncate(good.len() - 3);
    // Says 4 GiB in the first five bytes.
    let mut promise = Vec::new();
    put_varint(&mut promise, u64::from(u32::MAX));
    promise.extend_from_slice(&[0; 100]);
    let framed = b"\xff\x06\x00\x00sNaPpY\x01\x05\x00\x00\x00\x00\x00\x00x".to_vec();
    vec![
        case("an empty body", raw(Vec::new()), 400, "not valid snappy"),
        case(
            "a body that is not compressed",
            raw(b"plain text, no snappy".to_vec()),
            400,
            "not valid snappy",
        ),
        case("a truncated body", raw(truncated), 400, "not valid snappy"),
        case("snappy's stream format", raw(framed), 400, "not valid snappy"),
        case("a snappy bomb by promise", raw(promise), 413, "which is the limit"),
        case("a snappy bomb", raw(snappy(&vec![0; 65 * MIB])), 413, "which is the limit"),
        case("gzip in place of snappy", raw(gzip(b"x")), 400, "not valid snappy"),
        case(
            "an encoding that is not the protocol's",
            post()
                .header("Content-Encoding", "gzip")
                .header("Content-Type", "application/x-protobuf")
                .body(good.clone()),
            415,
            "send snappy",
        ),
        case(
            "zstd",
            post()
                .header("Content-Encoding", "zstd")
                .header("Content-Type", "application/x-protobuf")
                .body(zstd(b"x")),
            415,
            "send snappy",
        ),
        case("another content type", post().header("Content-Type", "text/plain").body(good.clone()), 415, ""),
        case(
            "a message that does not exist",
            post()
                .header("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v9.Request")
                .body(good),
            415,
            "",
        ),
    ]
}

fn messages(
    bytes: &dyn Fn(&[u8]) -> RequestBuilder,
    message: &dyn Fn(&Message) -> RequestBuilder,
) -> Vec<Case> {
    let whole = request([series(&[("__name__", "bad_message")], &[(now_ms(), 1.0)])]);
    let mut cut = whole.0.clone();
    cut.truncate(cut.len() - 2);
    let beyond = [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f];
    vec![
        case("random bytes", bytes(&[0xde, 0xad, 0xbe, 0xef, 0x99]), 400, "malformed protobuf"),
        case("a message cut short", bytes(&cut), 400, "malformed protobuf"),
        case("a length beyond the end", bytes(&beyond), 400, "malformed protobuf"),
        case("field number zero", bytes(&[0x02, 0x00]), 400, "malformed protobuf"),
        case("a wire type that does not exist", bytes(&[0x0f]), 400, "malformed protobuf"),
        case(
            "a number that does not end",
            bytes(&[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]),
            400,
            "malformed protobuf",
        ),
        case(
            "a number where series belong",
            message(&Message::new().varint(1, 7)),
            400,
            "malformed protobuf",
        ),
        case(
            "too many series",
            message(&request((0..100_001).map(|_| Message::new()))),
            413,
            "more than 100000",
        ),
    ]
}

fn labels(message: &dyn Fn(&Message) -> RequestBuilder, at: i64) -> Vec<Case> {
    let one = |labels: &[(&str, &str)]| message(&request([series(labels, &[(at, 1.0)])]));
    let label = |name: &[u8], value: &[u8]| Message::new().bytes(1, name).bytes(2, value);
    let raw = |name: &[u8], value: &[u8]| {
        let labels = [label(b"__name__", b"bad_label"), label(name, value)];
        let sample = Message::new().double(1, 1.0).varint(2, at.cast_unsigned());
        message(&request([Message::new().messages(1, labels).message(2, &sample)]))
    };
    let many: Vec<String> = (0..200).map(|i| format!("l{i}")).collect();
    let many: Vec<(&str, &str)> =
        [("__name__", "bad_label")].into_iter().chain(many.iter().map(|name| (name.as_str(), "v"))).collect();
    let beside_bad = request([
        series(&[("__name__", "kept_beside_bad_labels")], &[(at, 1.0)]),
        series(&[("__name__", "bad_label"), ("a", "1"), ("a", "2")], &[(at, 1.0)]),
    ]);
    vec![
        case("no metric name", one(&[("job", "bad")]), 400, "\"__name__\" is missing"),
        case("no labels at all", one(&[]), 400, "\"__name__\" is missing"),
        case("an empty metric name", one(&[("__name__", "")]), 400, "\"__name__\" is missing"),
        case("a label without a name", one(&[("__name__", "bad_label"), ("", "v")]), 400, "empty name"),
        case(
            "the same label twice",
            one(&[("__name__", "bad_label"), ("a", "1"), ("a", "2")]),
            400,
            "label \"a\" appears twice",
        ),
        case(
            "the name twice",
            one(&[("__name__", "bad_label"), ("__name__", "bad_other")]),
            400,
            "appears twice",
        ),
        case("a label name that is not UTF-8", raw(b"\xff\xfe", b"v"), 400, "not valid UTF-8"),
        case("a label value that is not UTF-8", raw(b"a", b"\xc3\x28"), 400, "not valid UTF-8"),
        case("a surrogate in UTF-8's clothes", raw(b"a", b"\xed\xa0\x80"), 400, "not valid UTF-8"),
        case("an endless label name", raw(&[b'n'; 2_000], b"v"), 400, "more than the limit of 1024"),
        case("an endless label value", raw(b"a", &[b'v'; 10_000]), 400, "more than the limit of 8192"),
        case("too many labels", one(&many), 400, "more than 128 labels"),
        case("good beside bad labels", message(&beside_bad), 400, "the other 1 are stored"),
        case("labels out of order", one(&[("z", "1"), ("__name__", "kept_unsorted"), ("a", "1")]), 204, ""),
        case("a label without a value", one(&[("__name__", "kept_empty_label"), ("a", "")]), 204, ""),
    ]
}

fn samples(message: &dyn Fn(&Message) -> RequestBuilder, at: i64) -> Vec<Case> {
    let at_time = |time: i64| message(&request([series(&[("__name__", "bad_time")], &[(time, 1.0)])]));
    let beside_bad = request([
        series(&[("__name__", "kept_beside_bad_time")], &[(at, 1.0), (at - YEAR_MS, 2.0)]),
        series(&[("__name__", "bad_time")], &[(at + YEAR_MS, 1.0)]),
    ]);
    // A NaN with a payload of its own is a value like any other; only one payload means "stale".
    let payload = f64::from_bits(0x7ff8_dead_beef_0001);
    let nan = request([series(&[("__name__", "kept_nan")], &[(at, payload)])]);
    let histogram = |histogram: Message| {
        let name = Message::new().text(1, "__name__").text(2, "bad_histogram");
        message(&request([Message::new().message(1, &name).message(4, &histogram)]))
    };
    let span = |offset: u64, length: u64| Message::new().varint(1, offset).varint(2, length);
    let timed = |m: Message| m.varint(15, at.cast_unsigned());
    let missing_buckets = timed(Message::new().varint(1, 1).double(3, 1.0).message(11, &span(0, 5)));
    let huge_span =
        timed(Message::new().varint(1, 1).double(3, 1.0).message(11, &span(0, u64::from(u32::MAX))));
    let bad_schema = timed(Message::new().varint(1, 1).double(3, 1.0).varint(4, 200));
    vec![
        case("a sample of last year", at_time(at - YEAR_MS), 400, "too old"),
        case("a sample of next year", at_time(at + YEAR_MS), 400, "too far in the future"),
        case("seconds in place of milliseconds", at_time(at / 1_000), 400, "too old"),
        case(
            "nanoseconds in place of milliseconds",
            at_time(at.saturating_mul(1_000_000)),
            400,
            "milliseconds since 1970",
        ),
        case("the beginning of time", at_time(i64::MIN), 400, "too old"),
        case("the end of time", at_time(i64::MAX), 400, "too far in the future"),
        case("good beside bad times", message(&beside_bad), 400, "the other 1 are stored"),
        case("a NaN with a payload", message(&nan), 204, ""),
        case("a histogram without its buckets", histogram(missing_buckets), 400, "histogram"),
        case("a histogram with endless buckets", histogram(huge_span), 400, "bucket"),
        case("a histogram with a schema that does not exist", histogram(bad_schema), 400, "schema"),
    ]
}

fn version_2(server: &Farwatch) -> Vec<Case> {
    let post = |message: &Message| {
        server
            .post("/api/v1/write")
            .header("Content-Encoding", "snappy")
            .header("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request")
            .body(snappy(&message.0))
    };
    let packed = |references: &[u64]| {
        let mut out = Vec::new();
        references.iter().for_each(|reference| put_varint(&mut out, *reference));
        out
    };
    let sample = Message::new().double(1, 1.0).varint(2, now_ms().cast_unsigned());
    let one = |references: &[u64]| {
        let series = Message::new().bytes(1, &packed(references)).message(2, &sample);
        post(&Message::new().text(4, "").text(4, "__name__").text(4, "bad_symbols").message(5, &series))
    };
    let no_empty_symbol = Message::new().text(4, "__name__");
    vec![
        case("2.0: a reference to nothing", one(&[1, 99]), 400, "outside the symbols table"),
        case("2.0: an odd number of references", one(&[1, 2, 1]), 400, "odd number"),
        case("2.0: a first symbol that is not empty", post(&no_empty_symbol), 400, ""),
        // As the protocol has it: nothing is stored, and the response's headers say so.
        case(
            "2.0: a message of 1.0",
            post(&request([series(&[("__name__", "bad_version")], &[(now_ms(), 1.0)])])),
            204,
            "",
        ),
    ]
}
