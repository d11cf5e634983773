//! `farwatch segment`: what is in a segment, and whether it is whole.

use std::io::Write;
use std::path::PathBuf;

use storage_format::{
    Footer, FooterParse, FormatError, PartitionEntry, Signal, VERSION, decode_metrics_partition,
};

use crate::bucket::{self, BucketOpenError};
use crate::cli::SegmentArgs;
use crate::config::topics::BucketAddress;
use crate::config::value::SettingValue as _;

/// Why a segment could not be looked into, or what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The bucket's address is none.
    #[error("--bucket is {text:?}; it must be {expected}")]
    Address {
        /// What was given.
        text: String,
        /// What it must be.
        expected: String,
    },
    /// The bucket cannot be opened.
    #[error("cannot open the bucket")]
    Open(#[from] BucketOpenError),
    /// The object cannot be read.
    #[error("cannot read the object {key}")]
    Object {
        /// Its key.
        key: String,
        /// Why.
        source: segment_store::BucketError,
    },
    /// The bytes are no readable segment.
    #[error("{what} is damaged, or no segment")]
    Format {
        /// Which part.
        what: String,
        /// Why.
        source: FormatError,
    },
    /// The terminal went away.
    #[error("cannot print")]
    Print(#[from] std::io::Error),
}

/// Prints what the segment holds.
///
/// # Errors
/// [`SegmentError`].
pub async fn inspect(args: &SegmentArgs, out: &mut dyn Write) -> Result<(), SegmentError> {
    let bytes = read(args).await?;
    let footer = footer(&bytes)?;
    writeln!(out, "fresh segment, format version {VERSION}, {} bytes", bytes.len())?;
    table(footer.partitions(), out)?;
    Ok(())
}

/// Decodes every partition, which checks every checksum.
///
/// # Errors
/// [`SegmentError`]; the first thing that is wrong.
pub async fn verify(args: &SegmentArgs, out: &mut dyn Write) -> Result<(), SegmentError> {
    let bytes = read(args).await?;
    let footer = footer(&bytes)?;
    let mut samples = 0;
    for entry in footer.partitions() {
        let what = || format!("the partition of tenant {}", entry.tenant);
        // The footer was checked against the object's length, so the range is within it.
        let range = usize::try_from(entry.range.start).unwrap_or(usize::MAX)
            ..usize::try_from(entry.range.end).unwrap_or(usize::MAX);
        let slice = bytes.get(range).unwrap_or_default();
        match entry.signal {
            Signal::Metrics => decode_metrics_partition(entry, slice)
                .map_err(|source| SegmentError::Format { what: what(), source })?,
            Signal::Traces => continue,
        };
        samples += entry.counts.samples;
    }
    writeln!(out, "good: {} partitions, {samples} samples, every checksum right", footer.partitions().len())?;
    Ok(())
}

fn footer(bytes: &[u8]) -> Result<Footer, SegmentError> {
    let damaged = |source| SegmentError::Format { what: "the footer".to_owned(), source };
    match Footer::parse(bytes, bytes.len() as u64).map_err(damaged)? {
        FooterParse::Done(footer) => Ok(footer),
        // All bytes are here already.
        FooterParse::NeedSuffix(_) => Err(damaged(FormatError::NotASegment("it is cut short"))),
    }
}

async fn read(args: &SegmentArgs) -> Result<Vec<u8>, SegmentError> {
    let Some(address) = &args.bucket else {
        let path = PathBuf::from(&args.segment);
        return std::fs::read(&path).map_err(|source| SegmentError::File { path, source });
    };
    let address = BucketAddress::parse(address)
        .map_err(|expected| SegmentError::Address { text: address.clone(), expected })?;
    let bucket = bucket::open(&address, args.s3_endpoint.as_deref()).await?;
    let object = bucket
        .get(&args.segment, segment_store::GetRange::Full)
        .await
        .map_err(|source| SegmentError::Object { key: args.segment.clone(), source })?;
    Ok(object.body.to_vec())
}

fn table(partitions: &[PartitionEntry], out: &mut dyn Write) -> std::io::Result<()> {
    let heading =
        ["TENANT", "SIGNAL", "SERIES", "SAMPLES", "EXEMPLARS", "BYTES", "FROM", "TO"].map(str::to_owned);
    let mut rows = vec![heading];
    for entry in partitions {
        rows.push([
            entry.tenant.to_string(),
            entry.signal.as_str().to_owned(),
            entry.counts.series.to_string(),
            entry.counts.samples.to_string(),
            entry.counts.exemplars.to_string(),
            (entry.range.end - entry.range.start).to_string(),
            time(entry.min_time_ms),
            time(entry.max_time_ms),
        ]);
    }
    let mut widths = [0; 8];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// RFC 3339, or a dash where there is no time.
fn time(at_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(at_ms).map_or_else(|_| "-".to_owned(), |at| at.to_string())
}
