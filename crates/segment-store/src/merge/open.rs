//! Tenant segments by ranges: the index with one request, blocks with few.

use std::ops::Range;

use bytes::Bytes;
use storage_format::{FormatError, MetricsIndex, Parsed, TenantFooter};

use super::MergeError;
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

/// Reads bytes of input number `input`.
pub(super) async fn read_range(
    bucket: &dyn Bucket,
    segment: &SegmentInput,
    input: usize,
    range: Range<u64>,
) -> Result<Bytes, MergeError> {
    let wanted = range.end - range.start;
    if wanted == 0 {
        return Ok(Bytes::new());
    }
    let object = bucket
        .get(&segment.key, GetRange::Range(range))
        .await
        .map_err(|source| MergeError::Bucket { input, source })?;
    if object.len != segment.len || object.body.len() as u64 != wanted {
        let source = FormatError::Corrupt { what: "tenant segment", why: "not as long as it should be" };
        return Err(MergeError::Damaged { input, source });
    }
    Ok(object.body)
}

/// Footer and index in `bytes`, which are those from `index_start` to the end.
pub(super) fn parse_index(
    segment: &SegmentInput,
    bytes: &[u8],
) -> Result<(TenantFooter, MetricsIndex), FormatError> {
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

/// Reads footer and index of input number `input`: one request.
pub(super) async fn read_index(
    bucket: &dyn Bucket,
    segment: &SegmentInput,
    input: usize,
) -> Result<Bytes, MergeError> {
    if segment.index_start >= segment.len {
        let source = FormatError::Corrupt { what: "index", why: "it does not begin where it should" };
        return Err(MergeError::Damaged { input, source });
    }
    read_range(bucket, segment, input, segment.index_start..segment.len).await
}
