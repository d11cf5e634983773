//! Reading request bodies: bounded in size, time and memory.

use std::sync::Arc;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::error::WriteError;
use crate::limits::{BODY_FIRST_BYTES, BODY_IDLE_TIMEOUT, BODY_TOTAL_TIMEOUT};

/// Memory for request bodies, a permit a byte: what all tenants have together, and one tenant's share of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyMemory<'a> {
    pub(crate) all: &'a Arc<Semaphore>,
    pub(crate) tenants_share: &'a Arc<Semaphore>,
}

impl BodyMemory<'_> {
    /// Takes memory for `bytes` more bytes, or says whose is used up.
    fn take(self, bytes: usize) -> Result<HeldMemory, WriteError> {
        let permits = u32::try_from(bytes).map_err(|_| WriteError::Busy)?;
        let take = |memory: &Arc<Semaphore>| Arc::clone(memory).try_acquire_many_owned(permits);
        Ok(HeldMemory {
            of_share: take(self.tenants_share).map_err(|_| WriteError::ShareUsed)?,
            of_all: take(self.all).map_err(|_| WriteError::Busy)?,
        })
    }
}

#[derive(Debug)]
struct HeldMemory {
    of_share: OwnedSemaphorePermit,
    of_all: OwnedSemaphorePermit,
}

/// A whole request body. Its bytes count against the memory for bodies until it is dropped.
#[derive(Debug)]
pub(crate) struct HeldBody {
    bytes: Bytes,
    held: Option<HeldMemory>,
}

impl HeldBody {
    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many bytes came over the wire.
    pub(crate) fn received_bytes(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.of_all.num_permits())
    }

    /// Other bytes in place of the body, which stay counted as what the body was: a part of it, or what it expands to.
    pub(crate) fn with_bytes(self, bytes: Bytes) -> Self {
        Self { bytes, ..self }
    }
}

/// Reads `body` to its end.
///
/// Memory is counted as bytes arrive, not as headers promise them, and a request that finds none left is turned away at
/// once: so nobody waits for memory while holding some.
pub(crate) async fn read_body(
    headers: &HeaderMap,
    body: Body,
    max_bytes: u64,
    memory: BodyMemory<'_>,
) -> Result<HeldBody, WriteError> {
    timeout(BODY_TOTAL_TIMEOUT, read_frames(headers, body, max_bytes, memory))
        .await
        .map_err(|_| WriteError::BodyTooSlow)?
}

async fn read_frames(
    headers: &HeaderMap,
    mut body: Body,
    max_bytes: u64,
    memory: BodyMemory<'_>,
) -> Result<HeldBody, WriteError> {
    let too_large = WriteError::BodyTooLarge { limit_bytes: max_bytes };
    let promised = content_length(headers).unwrap_or_default();
    if promised > max_bytes {
        return Err(too_large);
    }
    let mut held: Option<HeldMemory> = None;
    let mut first = Bytes::new();
    let mut gathered = BytesMut::new();
    let mut length = 0_u64;
    loop {
        let frame = timeout(BODY_IDLE_TIMEOUT, body.frame()).await.map_err(|_| WriteError::BodyTooSlow)?;
        let Some(frame) = frame else { break };
        // Trailers carry nothing that is wanted.
        let Ok(data) = frame.map_err(|_| WriteError::BodyBroken)?.into_data() else {
            continue;
        };
        length += data.len() as u64;
        if length > max_bytes {
            return Err(too_large);
        }
        let more = memory.take(data.len())?;
        match &mut held {
            Some(held) => {
                held.of_share.merge(more.of_share);
                held.of_all.merge(more.of_all);
            }
            None => held = Some(more),
        }
        if first.is_empty() && gathered.is_empty() {
            // A body of one frame, as small ones are, is not copied.
            first = data;
        } else {
            if !first.is_empty() {
                let promised = usize::try_from(promised).unwrap_or_default();
                gathered.reserve(promised.min(BODY_FIRST_BYTES).max(first.len() + data.len()));
                gathered.extend_from_slice(&std::mem::take(&mut first));
            }
            gathered.extend_from_slice(&data);
        }
    }
    let bytes = if gathered.is_empty() { first } else { gathered.freeze() };
    Ok(HeldBody { bytes, held })
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures::StreamExt;
    use futures::stream;

    use super::*;

    fn chunked(chunks: &[&'static str]) -> Body {
        let chunks: Vec<Result<&'static str, Infallible>> = chunks.iter().copied().map(Ok).collect();
        Body::from_stream(stream::iter(chunks))
    }

    async fn read(body: Body, max_bytes: u64, memory: usize) -> Result<Bytes, WriteError> {
        let (all, share) = (Arc::new(Semaphore::new(memory)), Arc::new(Semaphore::new(memory)));
        let memory_for_it = BodyMemory { all: &all, tenants_share: &share };
        let held = read_body(&HeaderMap::new(), body, max_bytes, memory_for_it).await?;
        let length = held.bytes().len();
        assert_eq!(held.received_bytes(), length);
        assert_eq!([&all, &share].map(|some| some.available_permits()), [memory - length; 2]);
        Ok(held.bytes().clone())
    }

    #[tokio::test]
    async fn frames_are_put_together() {
        assert_eq!(read(chunked(&[]), 10, 10).await.unwrap(), "");
        assert_eq!(read(chunked(&["abc"]), 3, 10).await.unwrap(), "abc");
        assert_eq!(read(chunked(&["abc", "", "de", "f"]), 6, 6).await.unwrap(), "abcdef");
    }

    #[tokio::test]
    async fn size_and_memory_are_bounds() {
        let large = read(chunked(&["abc", "de"]), 4, 10).await;
        assert!(matches!(large, Err(WriteError::BodyTooLarge { limit_bytes: 4 })), "{large:?}");
        let busy = read(chunked(&["abc", "de"]), 10, 4).await;
        assert!(matches!(busy, Err(WriteError::ShareUsed)), "{busy:?}");
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, 11.into());
        let never_polled = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        let memory = Arc::new(Semaphore::new(100));
        let both = BodyMemory { all: &memory, tenants_share: &memory };
        let refused = read_body(&headers, never_polled, 10, both).await;
        assert!(matches!(refused, Err(WriteError::BodyTooLarge { .. })), "{refused:?}");
    }

    #[tokio::test]
    async fn memory_is_given_back() {
        let (all, share) = (Arc::new(Semaphore::new(8)), Arc::new(Semaphore::new(5)));
        let memory = BodyMemory { all: &all, tenants_share: &share };
        let left = || (all.available_permits(), share.available_permits());
        for _ in 0..3 {
            let held = read_body(&HeaderMap::new(), chunked(&["abc", "de"]), 10, memory).await.unwrap();
            assert_eq!(left(), (3, 0));
            let above_share = read_body(&HeaderMap::new(), chunked(&["f"]), 10, memory).await;
            assert!(matches!(above_share, Err(WriteError::ShareUsed)), "{above_share:?}");
            let others = Arc::new(Semaphore::new(5));
            let memory_of_another = BodyMemory { tenants_share: &others, ..memory };
            let above_all = read_body(&HeaderMap::new(), chunked(&["ghi", "j"]), 10, memory_of_another).await;
            assert!(matches!(above_all, Err(WriteError::Busy)), "{above_all:?}");
            assert_eq!(others.available_permits(), 5, "what was taken before it failed is given back");
            drop(held);
            assert_eq!(left(), (8, 5));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn slow_bodies_are_given_up() {
        let silent = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert!(matches!(read(silent, 10, 10).await, Err(WriteError::BodyTooSlow)));
        let trickle = stream::iter(0..1000).then(|_| async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            Ok::<_, Infallible>(Bytes::from_static(b"x"))
        });
        let begin = tokio::time::Instant::now();
        assert!(matches!(
            read(Body::from_stream(trickle), 10_000, 10_000).await,
            Err(WriteError::BodyTooSlow)
        ));
        assert_eq!(begin.elapsed(), BODY_TOTAL_TIMEOUT);
    }
}
