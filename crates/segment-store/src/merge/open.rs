//! Tenant segments by ranges: the index with one request, blocks with few.

use std::ops::Range;

use bytes::Bytes;
use storage_format::{FormatError, MetricsIndex, Parsed, TenantFooter};

use super::MergeError;
use crate::limits::WHOLE_SEGMENT_BYTES;
use crate::{Bucket, GetRange};

/// A tenant segment to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInput {
    /// The key of the object.
    pub key: String,
    /// Its length in bytes.
    pub len: u64,
    /// Where its index begins.
    pub index_start: u64,
}

/// An input that is being read. A small one is read whole with the first request.
#[derive(Clone, Debug)]
pub(super) struct OpenInput {
    segment: SegmentInput,
    /// Its number, for errors.
    number: usize,
    whole: Option<Bytes>,
}

impl OpenInput {
    /// Opens input number `number` with one request. Gives its index, too: the bytes from there to the end.
    pub(super) async fn open(
        bucket: &dyn Bucket,
        segment: SegmentInput,
        number: usize,
    ) -> Result<(Self, Bytes), MergeError> {
        let mut input = Self { segment, number, whole: None };
        let (len, index_start) = (input.segment.len, input.segment.index_start);
        if index_start >= len {
            let source = FormatError::Corrupt { what: "index", why: "it does not begin where it should" };
            return Err(input.damaged(source));
        }
        if len <= WHOLE_SEGMENT_BYTES {
            input.whole = Some(input.read(bucket, 0..len).await?);
        }
        let index = input.read(bucket, index_start..len).await?;
        Ok((input, index))
    }

    /// Reads bytes of it, with a request where that is needed.
    pub(super) async fn read(&self, bucket: &dyn Bucket, range: Range<u64>) -> Result<Bytes, MergeError> {
        let wanted = range.end - range.start;
        if wanted == 0 {
            return Ok(Bytes::new());
        }
        let not_as_long =
            || FormatError::Corrupt { what: "tenant segment", why: "not as long as it should be" };
        if let Some(whole) = &self.whole {
            if range.end > self.segment.len {
                return Err(self.damaged(not_as_long()));
            }
            return Ok(whole.slice(range.start as usize..range.end as usize));
        }
        let object = bucket
            .get(&self.segment.key, GetRange::Range(range))
            .await
            .map_err(|source| MergeError::Bucket { input: self.number, source })?;
        if object.len != self.segment.len || object.body.len() as u64 != wanted {
            return Err(self.damaged(not_as_long()));
        }
        Ok(object.body)
    }

    /// Footer and index in `bytes`, which are those from where the index begins to the end.
    pub(super) fn parse_index(&self, bytes: &[u8]) -> Result<(TenantFooter, MetricsIndex), FormatError> {
        parse_index(&self.segment, bytes)
    }

    /// What it is called when it is damaged.
    pub(super) fn damaged(&self, source: FormatError) -> MergeError {
        MergeError::Damaged { input: self.number, source }
    }
}

/// Footer and index in `bytes`, which are those from `index_start` to the end.
fn parse_index(segment: &SegmentInput, bytes: &[u8]) -> Result<(TenantFooter, MetricsIndex), FormatError> {
    let elsewhere = FormatError::Corrupt { what: "index", why: "it does not begin where it should" };
    let Parsed::Done(footer) = TenantFooter::parse(bytes, segment.len)? else { return Err(elsewhere) };
    let range = footer.index_range();
    let index = range
        .start
        .checked_sub(segment.index_start)
        .filter(|skip| *skip == 0)
        .and_then(|_| bytes.get(..(range.end - range.start) as usize))
        .ok_or(elsewhere)?;
    let index = MetricsIndex::parse(&footer, index)?;
    Ok((footer, index))
}
