//! Partitions of one tenant into one batch.

use bytes::Bytes;
use storage_format::{MergeCounts, PartitionEntry, PartitionMerger};
use telemetry::MetricBatch;

use super::MergeError;
use crate::WorkOn;

/// A partition of a fresh segment or of a merged object.
#[derive(Clone, Debug)]
pub struct PartitionInput {
    /// What the footer says about it.
    pub entry: PartitionEntry,
    /// Its bytes, those of `entry.range`.
    pub bytes: Bytes,
}

/// Merges partitions of one tenant, given from the earliest to the latest, in storage order. Those that are damaged are left
/// out and returned as errors.
///
/// `samples_read` of the counts less `samples_replaced` are the samples of the batch; check it against what footers say.
///
/// # Errors
/// [`MergeError::Encode`], [`MergeError::BrokenOff`].
pub async fn merge_partitions(
    inputs: Vec<PartitionInput>,
    work_on: WorkOn,
) -> Result<(MetricBatch, MergeCounts, Vec<MergeError>), MergeError> {
    work_on
        .run(move || {
            let samples = inputs.iter().map(|input| input.entry.counts.samples).fold(0, u64::saturating_add);
            let mut merger = PartitionMerger::with_capacity(samples);
            let mut damaged = Vec::new();
            for (input, partition) in inputs.into_iter().enumerate() {
                if let Err(source) = merger.push(&partition.entry, &partition.bytes) {
                    damaged.push(MergeError::Damaged { input, source });
                }
            }
            let (batch, counts) = merger.finish()?;
            Ok((batch, counts, damaged))
        })
        .await?
}
