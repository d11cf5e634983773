//! The first stage at work: objects of the fresh kind into one.
//!
//! Order: the listing and the shard's manifest were read; read the inputs; put the merged object; replace the manifest, if it is still
//! the same. An input that is gone was merged by somebody else. Meanwhile the inputs of the next merge are read, as far as it can be
//! foreseen.
//!
//! Crash: an object that no manifest names is left behind; the sweep finds it.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::StreamExt as _;
use storage_format::{
    EncodeError, Footer, FooterParse, FormatError, FreshSegmentWriter, PartitionEntry, PartitionMerger,
    Signal,
};
use telemetry::TenantId;

use super::context::{Context, LOST, Versioned};
use super::in_order::in_order;
use super::plan::{MergePlan, Unit, UnitName};
use super::stats::{add, add_pair};
use super::{CompactError, Step};
use crate::limits::{MERGE_READS, MERGE_SAMPLES};
use crate::{BucketError, GetRange, Merged, Quarantined, ReadError, Retired, ShardManifest};

/// An input in memory.
#[derive(Clone, Debug)]
struct Input {
    unit: Unit,
    key: String,
    bytes: Bytes,
    footer: Footer,
}

/// What merging gave.
struct Output {
    body: Vec<u8>,
    tenants: u64,
    samples_read: u64,
    samples: u64,
    /// Parts that cannot be read.
    damaged: Vec<(String, TenantId, FormatError)>,
}

/// What reading an input gave.
#[derive(Debug)]
enum Opened {
    Whole(Box<Input>),
    Damaged(UnitName, String, FormatError),
    Gone(UnitName, String),
}

/// The inputs of a plan, or as many of the latest as are enough, as they were read.
#[derive(Debug)]
pub(super) struct Inputs {
    plan: MergePlan,
    /// From the latest to the earliest.
    opened: Vec<Opened>,
}

impl Inputs {
    /// Reads the inputs of `plan`. They never change, so that can be done before it is their turn.
    pub(super) async fn read(context: &Context, plan: MergePlan) -> Result<Self, CompactError> {
        let (mut samples, mut taken) = (0_u64, Vec::with_capacity(plan.inputs.len()));
        // The latest first: when there is enough, what is left is the earlier part.
        let mut opened = in_order(plan.inputs.iter().rev().map(|unit| open(context, unit)), MERGE_READS);
        while let Some(opened) = opened.next().await {
            let opened = opened?;
            if let Opened::Whole(input) = &opened {
                let partitions = input.footer.partitions().iter();
                let more = partitions.map(|entry| entry.counts.samples).fold(0, u64::saturating_add);
                if samples > 0 && samples.saturating_add(more) > MERGE_SAMPLES {
                    break;
                }
                samples = samples.saturating_add(more);
            }
            taken.push(opened);
        }
        drop(opened);
        Ok(Self { plan, opened: taken })
    }

    /// Whether they are those of `plan`.
    pub(super) fn are_of(&self, plan: &MergePlan) -> bool {
        self.plan == *plan
    }

    /// Which units are merged.
    pub(super) fn units(&self) -> &[Unit] {
        &self.plan.inputs[self.plan.inputs.len() - self.opened.len()..]
    }
}

/// Merges `inputs`.
pub(super) async fn merge_fresh(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    inputs: Inputs,
) -> Result<Step, CompactError> {
    let Inputs { plan, opened } = inputs;
    let mut inputs: Vec<Input> = Vec::with_capacity(opened.len());
    let mut quarantined = Vec::new();
    for opened in opened.into_iter().rev() {
        match opened {
            Opened::Whole(input) => inputs.push(*input),
            Opened::Damaged(name, key, source) => quarantined.push((name, key, source.to_string())),
            Opened::Gone(name @ UnitName::Merged(_), key) if context.is_current(shard).await? => {
                quarantined.push((name, key, LOST.to_owned()));
            }
            Opened::Gone(..) => return Ok(Step::Overtaken),
        }
    }
    if !quarantined.is_empty() {
        // Without them the neighbours are others: note it, and plan anew.
        return quarantine(context, shard, quarantined).await;
    }
    let read_once = merge(context, shard, inputs.clone()).await?;
    let output = if read_once.damaged.is_empty() {
        read_once
    } else {
        // It may have been damaged on its way here only.
        for input in &mut inputs {
            if read_once.damaged.iter().any(|(key, _, _)| *key == input.key) {
                match open(context, &input.unit).await? {
                    Opened::Whole(again) => *input = *again,
                    Opened::Damaged(..) | Opened::Gone(..) => return Ok(Step::Overtaken),
                }
            }
        }
        merge(context, shard, inputs.clone()).await?
    };
    commit(context, shard, plan.tier, &inputs, output).await
}

/// Reads an input; twice when it seems to be damaged.
async fn open(context: &Context, unit: &Unit) -> Result<Opened, CompactError> {
    let key = unit.name.key(context.shard);
    let mut read_before = false;
    loop {
        let object = match context.bucket.get(&key, GetRange::Full).await {
            Ok(object) => object,
            Err(BucketError::NotFound { .. }) => return Ok(Opened::Gone(unit.name, key)),
            Err(error) => return Err(ReadError::from(error).into()),
        };
        match parse(&object.body) {
            Ok(footer) => {
                let input = Input { unit: *unit, key, bytes: object.body, footer };
                return Ok(Opened::Whole(Box::new(input)));
            }
            Err(source) if read_before => return Ok(Opened::Damaged(unit.name, key, source)),
            Err(_) => read_before = true,
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Footer, FormatError> {
    let FooterParse::Done(footer) = Footer::parse(bytes, bytes.len() as u64)? else {
        return Err(FormatError::Corrupt { what: "footer", why: "it is longer than the object" });
    };
    if footer.partitions().iter().any(|entry| entry.signal != Signal::Metrics) {
        return Err(FormatError::Corrupt { what: "partition", why: "its signal cannot be compacted here" });
    }
    Ok(footer)
}

async fn merge(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    inputs: Vec<Input>,
) -> Result<Output, CompactError> {
    let deleted = shard.manifest.deleted_tenants.clone();
    let merged = context.work_on.run(move || {
        let mut tenants: BTreeMap<&TenantId, Vec<(&Input, &PartitionEntry)>> = BTreeMap::new();
        for input in &inputs {
            for entry in input.footer.partitions().iter().filter(|entry| !deleted.contains(&entry.tenant)) {
                tenants.entry(&entry.tenant).or_default().push((input, entry));
            }
        }
        merge_tenants(tenants)
    });
    Ok(merged.await??)
}

fn merge_tenants(
    tenants: BTreeMap<&TenantId, Vec<(&Input, &PartitionEntry)>>,
) -> Result<Output, EncodeError> {
    let mut writer = FreshSegmentWriter::new()?;
    let mut output =
        Output { body: Vec::new(), tenants: 0, samples_read: 0, samples: 0, damaged: Vec::new() };
    for (tenant, parts) in tenants {
        let bytes_of = |input: &Input, entry: &PartitionEntry| {
            // The footer's ranges lie within the object: parsing has checked that.
            input.bytes.slice(entry.range.start as usize..entry.range.end as usize)
        };
        if let [(input, entry)] = parts[..] {
            match writer.copy(entry, &bytes_of(input, entry)) {
                Ok(()) => {
                    output.tenants += 1;
                    output.samples_read += entry.counts.samples;
                    output.samples += entry.counts.samples;
                }
                Err(storage_format::CopyError::Format(source)) => {
                    output.damaged.push((input.key.clone(), tenant.clone(), source));
                }
                Err(storage_format::CopyError::Encode(source)) => return Err(source),
            }
            continue;
        }
        let samples = parts.iter().map(|(_, entry)| entry.counts.samples).fold(0, u64::saturating_add);
        let mut merger = PartitionMerger::with_capacity(samples);
        for (input, entry) in parts {
            if let Err(source) = merger.push(entry, &bytes_of(input, entry)) {
                output.damaged.push((input.key.clone(), tenant.clone(), source));
            }
        }
        let (batch, counts) = merger.finish()?;
        if batch.is_empty() {
            continue;
        }
        writer.push(tenant, &batch)?;
        output.tenants += 1;
        output.samples_read += counts.samples_read;
        output.samples += batch.counts().samples;
    }
    output.body = writer.finish();
    Ok(output)
}

async fn commit(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    tier: u8,
    inputs: &[Input],
    output: Output,
) -> Result<Step, CompactError> {
    check_conservation(shard, inputs, &output)?;
    let (Some(first), Some(last)) =
        (inputs.iter().map(|input| input.unit.first).min(), inputs.iter().map(|input| input.unit.last).max())
    else {
        return Ok(Step::Overtaken);
    };
    let mut merged = None;
    if output.tenants > 0 {
        let id = context.new_id();
        let len = output.body.len() as u64;
        context.put_new(&ShardManifest::merged_key(context.shard, &id), Bytes::from(output.body)).await?;
        let (samples, tenants) = (output.samples, output.tenants);
        let fresh_in = |input: &Input| match input.unit.name {
            UnitName::Fresh(_) => 1,
            UnitName::Merged(id) => shard.manifest.merged(&id).map_or(0, |merged| merged.fresh),
        };
        let fresh = inputs.iter().map(fresh_in).fold(0, u64::saturating_add);
        merged = Some(Merged { id, len, tier, first, last, samples, tenants, fresh });
    }
    // The grace begins now, not before a put that may have taken its time.
    let now_ms = context.clock.now_ms();
    let mut next = shard.manifest.clone();
    for input in inputs {
        match input.unit.name {
            UnitName::Fresh(key) => {
                next.absorbed.insert(key, now_ms);
            }
            UnitName::Merged(id) => {
                next.merged.retain(|merged| merged.id != id);
                next.retired.push(Retired { id, since_ms: now_ms });
                next.epoch = shard.manifest.epoch + 1;
            }
        }
    }
    for (object, tenant, source) in &output.damaged {
        tracing::error!(object, %tenant, error = %source, "a tenant's part of an object cannot be read and is passed over");
        next.quarantined.push(Quarantined {
            object: object.clone(),
            tenant: Some(tenant.clone()),
            reason: source.to_string(),
            since_ms: now_ms,
        });
    }
    if let Some(merged) = merged {
        next.merged.push(merged);
        next.merged.sort_unstable_by_key(|merged| merged.id);
    }
    if context.commit_shard(shard, next).await?.is_none() {
        return Ok(Step::Overtaken);
    }
    add(&context.counters.merges, 1);
    add(&context.counters.quarantined, output.damaged.len() as u64);
    add_pair(&context.counters.merged_samples, (output.samples_read, output.samples));
    Ok(Step::Merged { objects: inputs.len(), samples: output.samples })
}

/// What was read is what footers say, less what cannot be read or is not wanted any more.
fn check_conservation(
    shard: &Versioned<ShardManifest>,
    inputs: &[Input],
    output: &Output,
) -> Result<(), CompactError> {
    let mut expected = 0;
    for input in inputs {
        let wanted = input.footer.partitions().iter().filter(|entry| {
            !shard.manifest.deleted_tenants.contains(&entry.tenant)
                && !output.damaged.iter().any(|(key, tenant, _)| *key == input.key && *tenant == entry.tenant)
        });
        expected += wanted.map(|entry| entry.counts.samples).sum::<u64>();
    }
    if output.samples_read == expected {
        return Ok(());
    }
    let what = format!("merging {} objects of shard {}", inputs.len(), inputs[0].unit.last.shard());
    Err(CompactError::NotConserved { what, found: output.samples_read, expected })
}

/// Notes that whole objects cannot be read.
pub(super) async fn quarantine(
    context: &Context,
    shard: &Versioned<ShardManifest>,
    objects: Vec<(UnitName, String, String)>,
) -> Result<Step, CompactError> {
    let mut next = shard.manifest.clone();
    let since_ms = context.clock.now_ms();
    let count = objects.len() as u64;
    for (_, object, reason) in objects {
        tracing::error!(object, reason, "an object cannot be read and is passed over");
        next.quarantined.push(Quarantined { object, tenant: None, reason, since_ms });
    }
    if context.commit_shard(shard, next).await?.is_none() {
        return Ok(Step::Overtaken);
    }
    add(&context.counters.quarantined, count);
    Ok(Step::Quarantined { objects: count as usize })
}
