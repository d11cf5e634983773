use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// What a client of HTTP/2 begins with: the preface and empty settings.
const HTTP2_BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// `GET /` as stream 1, whole.
const HTTP2_GET: &[u8] = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01x";

/// Sends `bytes`, then listens only: what came until the server closed, and when that was. Time is paused, so it goes on
/// when all wait.
async fn say(bytes: &[u8]) -> (Vec<u8>, Duration) {
    let listener = Listener::bind("test", "127.0.0.1:0").await.unwrap();
    let address = listener.address();
    let router = Router::new().route("/", get(|| async { "answer" }));
    let stop = CancellationToken::new();
    let server = tokio::spawn(listener.serve(router, stop.clone()));
    let begin = tokio::time::Instant::now();
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(bytes).await.unwrap();
    let mut heard = Vec::new();
    let closed = tokio::time::timeout(10 * HEAD_TIMEOUT, client.read_to_end(&mut heard)).await;
    let after = begin.elapsed();
    assert!(closed.is_ok(), "the connection is held for ever");
    stop.cancel();
    server.await.unwrap();
    (heard, after)
}

#[tokio::test(start_paused = true)]
async fn who_sends_no_request_is_let_go() {
    let half_a_head = b"GET / HTTP/1.1\r\nHost:";
    for beginning in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n\r\nS", HTTP2_BEGIN, half_a_head] {
        let (_, after) = say(beginning).await;
        let allowed = HEAD_TIMEOUT..HEAD_TIMEOUT + Duration::from_secs(1);
        // One who does not answer pings is let go earlier.
        let or_earlier = beginning == HTTP2_BEGIN && after < HEAD_TIMEOUT;
        assert!(allowed.contains(&after) || or_earlier, "{after:?} after {}", beginning.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn an_http2_client_that_is_gone_is_let_go_after_its_request_was_answered() {
    let (heard, after) = say(&[HTTP2_BEGIN, HTTP2_GET].concat()).await;
    assert!(heard.windows(6).any(|part| part == b"answer"), "{}", heard.escape_ascii());
    assert!(after <= PING_INTERVAL + PING_TIMEOUT + Duration::from_secs(1), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_http1_connection_that_falls_silent_is_let_go_after_its_request_was_answered() {
    let (heard, after) = say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(heard.ends_with(b"answer"), "{}", heard.escape_ascii());
    assert!(after < HEAD_TIMEOUT + Duration::from_secs(1), "{after:?}");
}
