//! Reading the form bodies of requests: bounded in size, time and memory.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::QueryError;
use crate::limits::{FORM_IDLE_TIMEOUT, FORM_TOTAL_TIMEOUT, MAX_FORM_BYTES};

/// A whole form body. Its bytes count against the memory for forms until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Form {
    pub(super) bytes: Vec<u8>,
    held: Option<OwnedSemaphorePermit>,
}

impl Form {
    /// What keeps the bytes counted, for as long as something made of them is in use.
    pub(super) fn into_held(self) -> Option<OwnedSemaphorePermit> {
        self.held
    }
}

/// Reads `body` to its end. Memory is counted as bytes arrive, not as headers promise them; a request that finds none left
/// is turned away at once, so that nobody waits for memory while holding some.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Body,
    memory: &Arc<Semaphore>,
) -> Result<Form, QueryError> {
    timeout(FORM_TOTAL_TIMEOUT, read_frames(headers, body, memory))
        .await
        .map_err(|_| QueryError::BodyTooSlow)?
}

async fn read_frames(
    headers: &HeaderMap,
    mut body: Body,
    memory: &Arc<Semaphore>,
) -> Result<Form, QueryError> {
    let too_long =
        || QueryError::BadRequest(format!("the request body is longer than {MAX_FORM_BYTES} bytes"));
    if content_length(headers).is_some_and(|promised| promised > MAX_FORM_BYTES as u64) {
        return Err(too_long());
    }
    let mut form = Form::default();
    loop {
        let frame = timeout(FORM_IDLE_TIMEOUT, body.frame()).await.map_err(|_| QueryError::BodyTooSlow)?;
        let Some(frame) = frame else { return Ok(form) };
        let frame =
            frame.map_err(|_| QueryError::BadRequest("the request body ends too early".to_owned()))?;
        // Trailers carry nothing that is wanted.
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > MAX_FORM_BYTES - form.bytes.len() {
            return Err(too_long());
        }
        let permits = u32::try_from(data.len()).map_err(|_| too_long())?;
        let more =
            Arc::clone(memory).try_acquire_many_owned(permits).map_err(|_| QueryError::Unavailable(BUSY))?;
        match &mut form.held {
            Some(held) => held.merge(more),
            None => form.held = Some(more),
        }
        form.bytes.extend_from_slice(&data);
    }
}

const BUSY: &str = "too many large requests at the same time; try again later";

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use bytes::Bytes;
    use futures::{StreamExt, stream};

    use super::*;

    fn chunked(chunks: &[&'static str]) -> Body {
        let chunks: Vec<Result<&'static str, Infallible>> = chunks.iter().copied().map(Ok).collect();
        Body::from_stream(stream::iter(chunks))
    }

    fn silent() -> Body {
        Body::from_stream(stream::pending::<Result<Bytes, Infallible>>())
    }

    #[tokio::test]
    async fn bytes_are_counted_while_they_are_held() {
        let memory = Arc::new(Semaphore::new(5));
        let form = read(&HeaderMap::new(), chunked(&["abc", "", "de"]), &memory).await.unwrap();
        assert_eq!((&*form.bytes, memory.available_permits()), (&b"abcde"[..], 0));
        let busy = read(&HeaderMap::new(), chunked(&["x"]), &memory).await;
        assert!(matches!(busy, Err(QueryError::Unavailable(_))), "{busy:?}");
        let held = form.into_held();
        assert_eq!(memory.available_permits(), 0);
        drop(held);
        assert_eq!(memory.available_permits(), 5);
        let busy = read(&HeaderMap::new(), chunked(&["abc", "def"]), &memory).await;
        assert!(matches!(busy, Err(QueryError::Unavailable(_))), "{busy:?}");
        assert_eq!(memory.available_permits(), 5);
    }

    #[tokio::test]
    async fn a_body_that_promises_too_much_is_not_waited_for() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, (MAX_FORM_BYTES + 1).into());
        let refused = read(&headers, silent(), &Arc::new(Semaphore::new(10))).await;
        assert!(matches!(refused, Err(QueryError::BadRequest(_))), "{refused:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_are_given_up() {
        let memory = Arc::new(Semaphore::new(10_000));
        let begin = tokio::time::Instant::now();
        let given_up = read(&HeaderMap::new(), silent(), &memory).await;
        assert!(matches!(given_up, Err(QueryError::BodyTooSlow)), "{given_up:?}");
        assert_eq!(begin.elapsed(), FORM_IDLE_TIMEOUT);
        let trickle = stream::iter(0..1000).then(|_| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        });
        let begin = tokio::time::Instant::now();
        let given_up = read(&HeaderMap::new(), Body::from_stream(trickle), &memory).await;
        assert!(matches!(given_up, Err(QueryError::BodyTooSlow)), "{given_up:?}");
        assert_eq!((begin.elapsed(), memory.available_permits()), (FORM_TOTAL_TIMEOUT, 10_000));
    }
}
