//! Tenant segments on their way out: cut by series when one is full.

use std::collections::BTreeMap;

use bytes::Bytes;
use storage_format::tenant::{SeriesSamples, TenantSegmentSummary};
use storage_format::{EncodeError, TenantSegmentWriter};
use telemetry::{Metadata, TenantId};

use crate::Resolution;
use crate::limits::{MAX_SEGMENT_BYTES, MAX_SEGMENT_SERIES};

/// A tenant segment to be put.
#[derive(Clone, Debug)]
pub struct SegmentBody {
    /// The whole object.
    pub body: Bytes,
    /// What it holds.
    pub summary: TenantSegmentSummary,
    /// How far apart its samples are.
    pub resolution: Resolution,
}

/// Writes series, given in label order, to segments that are cut where one is full.
pub(super) struct Output {
    tenant: TenantId,
    resolution: Resolution,
    writer: Option<TenantSegmentWriter>,
    body: Vec<u8>,
    limits: OutputLimits,
}

/// When a segment is full.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputLimits {
    pub(super) bytes: u64,
    pub(super) series: u32,
}

impl Default for OutputLimits {
    fn default() -> Self {
        Self { bytes: MAX_SEGMENT_BYTES, series: MAX_SEGMENT_SERIES }
    }
}

impl Output {
    pub(super) fn new(tenant: TenantId, resolution: Resolution, limits: OutputLimits) -> Self {
        Self { tenant, resolution, writer: None, body: Vec::new(), limits }
    }

    /// Adds a series; gives the segment before it, if that was full. What is added last is never cut off, so that there is one
    /// to add metadata to.
    pub(super) fn push(&mut self, series: SeriesSamples<'_>) -> Result<Option<SegmentBody>, EncodeError> {
        let full = match &self.writer {
            Some(writer) if self.is_full(writer) => self.finish()?,
            _ => None,
        };
        let writer = self.writer()?;
        writer.push(series)?;
        let mut more = writer.take_output();
        self.body.append(&mut more);
        Ok(full)
    }

    /// Adds what metrics say about themselves to the segment at hand.
    pub(super) fn push_metadata(&mut self, metadata: &BTreeMap<String, Metadata>) -> Result<(), EncodeError> {
        if !metadata.is_empty() {
            self.writer()?.push_metadata(metadata);
        }
        Ok(())
    }

    /// The last segment, unless nothing was added since the one before.
    pub(super) fn finish(&mut self) -> Result<Option<SegmentBody>, EncodeError> {
        self.writer.take().map(|writer| self.close(writer)).transpose()
    }

    fn is_full(&self, writer: &TenantSegmentWriter) -> bool {
        writer.estimated_len() >= self.limits.bytes || writer.series_count() >= self.limits.series
    }

    fn writer(&mut self) -> Result<&mut TenantSegmentWriter, EncodeError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => TenantSegmentWriter::new(self.tenant.clone())?,
        };
        Ok(self.writer.insert(writer))
    }

    fn close(&mut self, writer: TenantSegmentWriter) -> Result<SegmentBody, EncodeError> {
        let (mut rest, summary) = writer.finish()?;
        let mut body = std::mem::take(&mut self.body);
        body.append(&mut rest);
        Ok(SegmentBody { body: Bytes::from(body), summary, resolution: self.resolution })
    }
}
