//! OTLP over gRPC, spoken by hand.

use crate::harness::Farwatch;
use crate::harness::compression::gzip;
use crate::harness::farwatch::client_of_http2;

/// How many requests [`check`] makes.
pub(super) const CASES: usize = 7;

const EXPORT: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const MIB: usize = 1 << 20;

/// A gRPC message: whether it is compressed, its length, its bytes.
fn framed(compressed: bool, length: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![u8::from(compressed)];
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    out
}

fn message(bytes: &[u8]) -> Vec<u8> {
    framed(false, bytes.len() as u32, bytes)
}

/// What went wrong; nothing is good.
pub(super) async fn check(server: &Farwatch) -> Vec<String> {
    let client = client_of_http2();
    let call = async |path: &str, key: Option<&str>, encoding: Option<&str>, body: Vec<u8>| {
        let mut request =
            client.post(format!("{}{path}", server.grpc_url)).header("content-type", "application/grpc");
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        // An error without a body comes with its status among the headers.
        match request.body(body).send().await {
            Ok(answer) => {
                let status =
                    answer.headers().get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
                status.unwrap_or_else(|| format!("no grpc-status: {answer:?}"))
            }
            Err(error) => format!("{error:?}"),
        }
    };
    let key = Some(server.key.as_str());
    let bomb = gzip(&vec![0; 70 * MIB]);
    let (unauthenticated, invalid, unimplemented) = ("16", "3", "12");
    let outcomes = [
        ("no key", call(EXPORT, None, None, message(b"")).await, &[unauthenticated][..]),
        ("a bad key", call(EXPORT, Some("fw_x"), None, message(b"")).await, &[unauthenticated][..]),
        ("a message that is none", call(EXPORT, key, None, message(&[0xff; 9])).await, &[invalid][..]),
        ("another method", call("/a.b/C", key, None, message(b"")).await, &[unimplemented][..]),
        (
            "an encoding that is not known",
            call(EXPORT, key, Some("br"), framed(true, 3, b"abc")).await,
            &[unimplemented][..],
        ),
        // INTERNAL or INVALID_ARGUMENT: the frame is cut, which the library in use calls one or the other.
        (
            "a length beyond the end",
            call(EXPORT, key, None, framed(false, 1_000, b"abc")).await,
            &["13", invalid][..],
        ),
        // RESOURCE_EXHAUSTED or OUT_OF_RANGE.
        (
            "a bomb",
            call(EXPORT, key, Some("gzip"), framed(true, bomb.len() as u32, &bomb)).await,
            &["8", "11"][..],
        ),
    ];
    assert_eq!(outcomes.len(), CASES);
    let wrong = outcomes.into_iter().filter(|(_, found, expected)| !expected.contains(&found.as_str()));
    wrong.map(|(name, found, expected)| format!("gRPC, {name}: expected {expected:?}, got {found}")).collect()
}
