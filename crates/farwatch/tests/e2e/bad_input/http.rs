//! What no HTTP library would send, over bare sockets.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::Farwatch;

/// How many requests [`check`] makes.
pub(super) const CASES: usize = 6;
/// Longer than any bound of the server that is tried here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `bytes`, ends the sending side if told to, and returns the answer's first line; empty when there is none.
async fn send(server: &Farwatch, bytes: Vec<u8>, end: bool) -> String {
    let address = server.url.strip_prefix("http://").unwrap();
    let exchange = async {
        let mut socket = TcpStream::connect(address).await?;
        socket.write_all(&bytes).await?;
        if end {
            socket.shutdown().await?;
        }
        let mut answer = vec![0; 256];
        let length = socket.read(&mut answer).await?;
        answer.truncate(length);
        Ok::<_, std::io::Error>(answer)
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(answer) => {
            let answer = answer.unwrap_or_default();
            String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
        }
        Err(_) => "no answer in time".to_owned(),
    }
}

fn post(server: &Farwatch, more: &str) -> Vec<u8> {
    format!("POST /api/v1/write HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n{more}\r\n", server.key)
        .into_bytes()
}

/// What went wrong; nothing is good.
pub(super) async fn check(server: &Farwatch) -> Vec<String> {
    let endless_header = format!("X-Long: {}\r\n", "x".repeat(1 << 20));
    let protobuf = "Content-Type: application/x-protobuf\r\n";
    let promised = format!("{protobuf}Content-Length: 4000000000\r\n");
    let mut broken = post(server, &format!("{protobuf}Content-Length: 1000\r\n"));
    broken.extend_from_slice(b"ten bytes!");
    let mut endless_chunk = post(server, &format!("{protobuf}Transfer-Encoding: chunked\r\n"));
    endless_chunk.extend_from_slice(b"ffffffffffffffffff\r\nx");
    let outcomes = futures::join!(
        send(server, b"MAKE COFFEE\r\n\r\n".to_vec(), false),
        send(server, post(server, &endless_header), false),
        send(server, post(server, &promised), false),
        send(server, broken.clone(), true),
        send(server, endless_chunk, false),
        // Silence in the middle of a body.
        send(server, broken, false),
    );
    let outcomes = [
        ("what is not HTTP", outcomes.0, "400"),
        ("a header without end", outcomes.1, "431"),
        ("a body that is promised too large", outcomes.2, "413"),
        ("a body that breaks off", outcomes.3, "400"),
        ("a chunk beyond counting", outcomes.4, "400"),
        ("a body that does not come", outcomes.5, "408"),
    ];
    assert_eq!(outcomes.len(), CASES);
    let wrong = outcomes.into_iter().filter(|(_, found, expected)| !found.contains(expected));
    wrong.map(|(name, found, expected)| format!("HTTP, {name}: expected {expected}, got {found:?}")).collect()
}
