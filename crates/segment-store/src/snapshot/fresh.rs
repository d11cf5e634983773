//! Reading fresh segments and merged objects, which are of the same kind: footers, one tenant's part, or all.

use bytes::Bytes;
use storage_format::{Footer, FooterParse, FormatError, PartitionEntry, Signal, decode_metrics_partition};
use telemetry::{MetricBatch, TenantId};

use super::{FreshObject, ReadError};
use crate::{Bucket, BucketError, GetRange};

/// Reads the footer of a fresh segment: one request, or two when it has a very large number of partitions.
///
/// # Errors
/// As [`read_footer`].
pub async fn read_fresh_footer(bucket: &dyn Bucket, object: &FreshObject) -> Result<Footer, ReadError> {
    read_footer(bucket, &object.key.to_string()).await
}

/// Reads the footer of the fresh segment or merged object `key`: one request, or two when it has a very large number of
/// partitions.
///
/// # Errors
/// [`ReadError::Gone`], [`ReadError::Bucket`], [`ReadError::Segment`].
pub async fn read_footer(bucket: &dyn Bucket, key: &str) -> Result<Footer, ReadError> {
    let mut suffix_len = Footer::SUFFIX_HINT_BYTES;
    loop {
        let (suffix, len) = get(bucket, key, GetRange::Suffix(suffix_len)).await?;
        match Footer::parse(&suffix, len).map_err(|source| damaged(key, source))? {
            FooterParse::Done(footer) => return Ok(footer),
            FooterParse::NeedSuffix(bytes) if bytes > suffix_len => suffix_len = bytes,
            FooterParse::NeedSuffix(_) => {
                let source = FormatError::Corrupt { what: "footer", why: "it has no end" };
                return Err(damaged(key, source));
            }
        }
    }
}

/// Reads one tenant's metrics from a fresh segment: one request. `entry` is from the segment's footer. Decodes on the
/// calling task.
///
/// # Errors
/// As [`read_partition`].
pub async fn read_fresh_partition(
    bucket: &dyn Bucket,
    object: &FreshObject,
    entry: &PartitionEntry,
) -> Result<MetricBatch, ReadError> {
    read_partition(bucket, &object.key.to_string(), entry).await
}

/// Reads one tenant's metrics from the fresh segment or merged object `key`: one request. `entry` is from its footer. Decodes
/// on the calling task.
///
/// # Errors
/// [`ReadError::Gone`], [`ReadError::Bucket`], [`ReadError::Segment`].
pub async fn read_partition(
    bucket: &dyn Bucket,
    key: &str,
    entry: &PartitionEntry,
) -> Result<MetricBatch, ReadError> {
    let (bytes, _) = get(bucket, key, GetRange::Range(entry.range.clone())).await?;
    decode_metrics_partition(entry, &bytes).map_err(|source| damaged(key, source))
}

/// The metrics of each tenant in a segment, or [`ReadError::Segment`] for those whose partition is damaged. Partitions have
/// checksums of their own, so one's damage is no other's.
pub type FreshPartitions = Vec<(TenantId, Result<MetricBatch, ReadError>)>;

/// Reads the metrics of all tenants from a fresh segment, by ascending tenant: one request for the whole object. Decodes
/// on the calling task, and lets others run between partitions.
///
/// # Errors
/// [`ReadError::Gone`], [`ReadError::Bucket`], and [`ReadError::Segment`] if it cannot be known what is in the segment.
pub async fn read_fresh_partitions(
    bucket: &dyn Bucket,
    object: &FreshObject,
) -> Result<FreshPartitions, ReadError> {
    let key = &object.key.to_string();
    let (bytes, len) = get(bucket, key, GetRange::Full).await?;
    let whole = Footer::parse(&bytes, len).map_err(|source| damaged(key, source))?;
    let FooterParse::Done(footer) = whole else {
        let source = FormatError::Corrupt { what: "footer", why: "it is longer than the object" };
        return Err(damaged(key, source));
    };
    let mut partitions = Vec::with_capacity(footer.partitions().len());
    for entry in footer.partitions().iter().filter(|entry| entry.signal == Signal::Metrics) {
        // The footer's ranges lie within the object: parsing has checked that.
        let range = entry.range.start as usize..entry.range.end as usize;
        let metrics =
            decode_metrics_partition(entry, &bytes.slice(range)).map_err(|source| damaged(key, source));
        partitions.push((entry.tenant.clone(), metrics));
        tokio::task::yield_now().await;
    }
    Ok(partitions)
}

/// Bytes of the object, and its whole length.
async fn get(bucket: &dyn Bucket, key: &str, range: GetRange) -> Result<(Bytes, u64), ReadError> {
    match bucket.get(key, range).await {
        Ok(found) => Ok((found.body, found.len)),
        Err(BucketError::NotFound { .. }) => Err(ReadError::Gone(key.to_owned())),
        Err(error) => Err(error.into()),
    }
}

fn damaged(key: &str, source: FormatError) -> ReadError {
    ReadError::Segment { key: key.to_owned(), source }
}
