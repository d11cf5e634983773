//! `farwatch compact --once`: brings stored data to rest.

use std::io::Write;

use segment_store::compact::{CompactError, CompactorStats, Step, list_tenants};
use segment_store::{
    Bucket, ReadError, Resolution, TenantManifest, list_fresh, read_shard_manifest, read_tenant_manifest,
};
use serde::Serialize;

use super::storage::{SHARD, Storage, StorageError, Use};
use crate::cli::CompactArgs;

/// Why data did not come to rest.
#[derive(Debug, thiserror::Error)]
pub enum CompactCommandError {
    /// There is no data to work on.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A step failed. Nothing is lost.
    #[error("compaction stopped; nothing is lost, and it can be started again")]
    Compact(#[from] CompactError),
    /// What is there could not be read.
    #[error("cannot read what is stored")]
    Read(#[from] ReadError),
    /// The terminal went away.
    #[error("cannot print")]
    Print(#[from] std::io::Error),
    /// The summary is no JSON.
    #[error("cannot print as JSON")]
    Json(#[from] serde_json::Error),
}

/// What is in the bucket.
#[derive(Clone, Debug, Default, Serialize)]
struct Stored {
    tenants: u64,
    segments: u64,
    /// Bytes of segments.
    bytes: u64,
    samples: u64,
    exemplars: u64,
    thinned_segments: u64,
    /// Bytes of thinned segments, which have some of the samples once more. The figures above are without them.
    thinned_bytes: u64,
    /// Fresh segments that came after the start.
    fresh_objects: u64,
    /// Merged objects, which wait for what cannot be read.
    merged_objects: u64,
    /// Objects that nobody needs and that are kept until their grace is over.
    objects_to_delete: u64,
    /// What cannot be read, and why.
    quarantined: Vec<String>,
}

#[derive(Serialize)]
struct Summary {
    stored: Stored,
    /// Bytes of segments for each sample in them, index included.
    bytes_per_sample: Option<f64>,
    done: Done,
}

#[derive(Serialize)]
struct Done {
    merges: u64,
    absorptions: u64,
    segment_merges: u64,
    new_samples: u64,
    bytes_written: u64,
    objects_deleted: u64,
    races_lost: u64,
}

/// Does everything that there is to do; tells each step on `progress`, and in the end what is stored on `out`.
///
/// # Errors
/// [`CompactCommandError`].
pub async fn run(
    args: &CompactArgs,
    progress: &mut dyn Write,
    out: &mut dyn Write,
) -> Result<(), CompactCommandError> {
    let storage = Storage::open(&args.storage, Use::Change).await?;
    if storage.access().await?.is_none() {
        // Nobody is to be told when standard error has gone; the work goes on.
        let _ = writeln!(
            progress,
            "nothing is deleted for its age: how long data is kept is in the tenant directory, and the key to trust that by is in the \
             server's data directory; name it with --data-dir"
        );
    }
    let mut compactor = storage.compactor(args.grace).await?;
    compactor
        .run_until_rest(|step| {
            // As above.
            let _ = writeln!(progress, "{step}");
        })
        .await?;
    let stored = stored(&*storage.bucket).await?;
    let bytes_per_sample = (stored.samples > 0).then(|| stored.bytes as f64 / stored.samples as f64);
    let summary = Summary { stored, bytes_per_sample, done: done(&compactor.stats()) };
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &summary)?;
        writeln!(out)?;
    } else {
        print(&summary, out)?;
    }
    Ok(())
}

/// Brings everything to rest without telling what is stored.
pub(super) async fn rest(storage: &Storage, progress: &mut dyn Write) -> Result<(), CompactCommandError> {
    let tell = |step: &Step| {
        // As above.
        let _ = writeln!(progress, "{step}");
    };
    Ok(storage.compactor(None).await?.run_until_rest(tell).await?)
}

fn done(stats: &CompactorStats) -> Done {
    Done {
        merges: stats.merges,
        absorptions: stats.absorptions,
        segment_merges: stats.segment_merges,
        new_samples: stats.absorbed_samples.1,
        bytes_written: stats.bytes_written,
        objects_deleted: stats.objects_deleted,
        races_lost: stats.races_lost,
    }
}

async fn stored(bucket: &dyn Bucket) -> Result<Stored, CompactCommandError> {
    let mut stored = Stored::default();
    let fresh = list_fresh(bucket, SHARD, None).await?;
    let shard = read_shard_manifest(bucket, SHARD).await?;
    stored.fresh_objects = fresh.iter().filter(|object| !shard.has_absorbed(&object.key)).count() as u64;
    stored.merged_objects = shard.merged.len() as u64;
    stored.objects_to_delete = (shard.absorbed.len() + shard.retired.len()) as u64;
    stored.quarantined.extend(shard.quarantined.iter().map(ToString::to_string));
    for tenant in list_tenants(bucket).await? {
        let manifest = match read_tenant_manifest(bucket, &tenant).await {
            Ok(manifest) => manifest,
            Err(error @ ReadError::Manifest { .. }) => {
                let known = stored.quarantined.iter().any(|of| of.starts_with(&TenantManifest::key(&tenant)));
                if !known {
                    stored.quarantined.push(super::chain(&error));
                }
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        stored.tenants += 1;
        for segment in &manifest.segments {
            if segment.resolution != Resolution::Raw {
                stored.thinned_segments += 1;
                stored.thinned_bytes += segment.len;
                continue;
            }
            stored.segments += 1;
            stored.bytes += segment.len;
            stored.samples += segment.counts.samples;
            stored.exemplars += segment.counts.exemplars;
        }
        stored.objects_to_delete += manifest.retired.len() as u64;
        stored.quarantined.extend(manifest.quarantined.iter().map(ToString::to_string));
    }
    Ok(stored)
}

fn print(summary: &Summary, out: &mut dyn Write) -> std::io::Result<()> {
    let Summary { stored, bytes_per_sample, done } = summary;
    let rows = [
        ("tenants", stored.tenants),
        ("segments", stored.segments),
        ("samples", stored.samples),
        ("exemplars", stored.exemplars),
        ("bytes", stored.bytes),
        ("thinned segments", stored.thinned_segments),
        ("bytes of thinned samples", stored.thinned_bytes),
        ("new samples", done.new_samples),
        ("objects deleted", done.objects_deleted),
        ("objects to delete later", stored.objects_to_delete),
        ("objects that cannot be read", stored.quarantined.len() as u64),
    ];
    for (name, number) in rows {
        writeln!(out, "{name:28}{number:>16}")?;
    }
    if let Some(bytes) = bytes_per_sample {
        writeln!(out, "{:28}{bytes:>16.3}", "bytes a sample")?;
    }
    for quarantined in &stored.quarantined {
        writeln!(out, "cannot be read: {quarantined}")?;
    }
    Ok(())
}
