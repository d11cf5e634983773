//! Prometheus remote write 1.0, written by hand.

use reqwest::RequestBuilder;

use super::Farwatch;
use super::compression::snappy;
use super::protobuf::Message;

/// A series: labels as they are sent, and samples as (timestamp in ms, value).
pub(crate) fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Message {
    let labels = labels.iter().map(|(name, value)| Message::new().text(1, name).text(2, value));
    let samples =
        samples.iter().map(|(at, value)| Message::new().double(1, *value).varint(2, at.cast_unsigned()));
    Message::new().messages(1, labels).messages(2, samples)
}

/// A write request of `series`.
pub(crate) fn request(series: impl IntoIterator<Item = Message>) -> Message {
    Message::new().messages(1, series)
}

/// Makes `post` a write with `body`, which is compressed already.
pub(crate) fn write_body(post: RequestBuilder, body: Vec<u8>) -> RequestBuilder {
    post.header("Content-Encoding", "snappy")
        .header("Content-Type", "application/x-protobuf")
        .header("X-Prometheus-Remote-Write-Version", "0.1.0")
        .body(body)
}

/// Writes and returns status and text.
pub(crate) async fn write(server: &Farwatch, message: &Message) -> Result<(u16, String), reqwest::Error> {
    write_with_key(server, &server.key, message).await
}

/// The same with another key than the first tenant's.
pub(crate) async fn write_with_key(
    server: &Farwatch,
    key: &str,
    message: &Message,
) -> Result<(u16, String), reqwest::Error> {
    let post = server.client.post(format!("{}/api/v1/write", server.url)).bearer_auth(key);
    let answer = write_body(post, snappy(&message.0)).send().await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}
