//! From the bytes of a body to rows.

use std::collections::HashSet;
use std::time::Duration;

use telemetry::{Exemplar, Histogram, MetricRows};
use tenancy::{Limits, Load};
use wire::otlp::{CloudOrigin, Format, MetricOptions, MetricVisitor, PointTime, read_metrics};
use wire::remote_write::{Item, MetadataRef, Request, Version};
use wire::{RequestError, SeriesKey};

use crate::families::FamilyHash;
use crate::footprint::{CloudPlace, Places};
use crate::intake::{Intake, Refused, Taken};
use crate::limits::MAX_PLACES;
use crate::refusals::Refusals;
use crate::tenants::TenantState;
use crate::times::TimeRule;

/// What the names of a family's series may have after its own: of histograms and summaries, and of what `OpenMetrics` names
/// differently from its series.
const SERIES_SUFFIXES: [&str; 8] =
    ["_bucket", "_count", "_sum", "_total", "_created", "_info", "_gcount", "_gsum"];

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Prometheus remote write.
    RemoteWrite(Version),
    /// An export of OTLP metrics.
    OtlpMetrics(Format),
}

/// What decoding depends on besides the body.
#[derive(Debug)]
pub(crate) struct DecodeContext<'a> {
    pub(crate) tenant: &'a TenantState,
    pub(crate) tenant_limits: &'a Limits,
    /// How many of the tenant's priorities are higher than the writer's.
    pub(crate) priorities_above: u32,
    pub(crate) wire_limits: &'a wire::Limits,
    pub(crate) otlp: &'a MetricOptions,
    pub(crate) times: TimeRule,
    /// On the monotonic clock.
    pub(crate) now: Duration,
}

/// A request that was read and may be refused yet: nothing of it is kept.
#[derive(Debug)]
pub(crate) struct Decoded {
    taken: Taken,
    /// Of the body, decompressed.
    bytes: u64,
    places: Places,
}

/// A request, ready to be committed.
#[derive(Debug)]
pub(crate) struct Registered {
    pub(crate) rows: MetricRows,
    pub(crate) refusals: Refusals,
    /// Where they come from, to be noted once they are durable; for remote write not known yet.
    pub(crate) places: Places,
    /// To be noted once `rows` are durable.
    pub(crate) families: Vec<FamilyHash>,
}

pub(crate) fn decode(
    message: Message,
    body: &[u8],
    context: &DecodeContext<'_>,
) -> Result<Decoded, RequestError> {
    let mut places = Places::new();
    let mut intake = Intake::new(&context.tenant.registry, context.wire_limits, context.times);
    match message {
        Message::RemoteWrite(version) => {
            read_remote_write(version, body, context, &mut intake)?;
        }
        Message::OtlpMetrics(format) => places = read_otlp(format, body, context, &mut intake)?,
    }
    Ok(Decoded { taken: intake.finish(), bytes: body.len() as u64, places })
}

impl Decoded {
    /// What is to be admitted.
    pub(crate) fn load(&self) -> Load {
        Load { samples: self.taken.samples(), spans: 0, bytes: self.bytes }
    }

    /// Registers the series that are new, as far as limits allow.
    pub(crate) fn register(self, context: &DecodeContext<'_>) -> Registered {
        let Self { taken, places, .. } = self;
        let registry = &context.tenant.registry;
        let (mut rows, refusals) = taken.register(registry, context.tenant_limits, context.priorities_above);
        if !refusals.is_empty() {
            keep_families_of_rows(&mut rows);
        }
        let families =
            rows.metadata.iter().map(|(name, family)| context.tenant.families.hash(name, family)).collect();
        Registered { rows, refusals, places, families }
    }
}

fn read_remote_write(
    version: Version,
    body: &[u8],
    context: &DecodeContext<'_>,
    intake: &mut Intake<'_>,
) -> Result<(), RequestError> {
    let mut request = Request::new(version, body, context.wire_limits)?;
    while let Some(item) = request.next_item()? {
        match item {
            Item::Series(sent) => {
                let samples = sent.samples().len() + sent.histogram_count();
                // What is refused is noted where that happens.
                let Ok(mut series) = intake.series(sent.key(), samples as u64) else {
                    continue;
                };
                for sample in sent.samples() {
                    let _ = series.float(sample.timestamp_ms, sample.value);
                }
                if sent.histogram_count() > 0 {
                    for histogram in sent.histograms() {
                        match histogram {
                            Ok((timestamp_ms, histogram)) => {
                                let _ = series.histogram(timestamp_ms, histogram);
                            }
                            Err(error) => series.refuse_sample(&error),
                        }
                    }
                }
                if sent.exemplar_count() > 0 {
                    for exemplar in sent.exemplars() {
                        match exemplar {
                            Ok(exemplar) => series.exemplar(exemplar),
                            Err(_) => series.refuse_exemplar(),
                        }
                    }
                }
            }
            Item::Rejected { error, samples } => intake.refuse(samples as u64, || error.to_string()),
            Item::Metadata(family) => store_metadata(&family, context, intake),
        }
    }
    Ok(())
}

fn read_otlp(
    format: Format,
    body: &[u8],
    context: &DecodeContext<'_>,
    intake: &mut Intake<'_>,
) -> Result<Places, RequestError> {
    let mut visitor = OtlpVisitor {
        context,
        intake,
        places: Places::new(),
        origin: None,
        counted: 0,
        refused_samples: 0,
        refused_points: 0,
    };
    let outcome = read_metrics(format, body, context.otlp, context.wire_limits, &mut visitor)?;
    // The reader counts what the visitor refused, too.
    let invalid = outcome.rejected.saturating_sub(visitor.refused_points);
    let places = visitor.into_places();
    intake.refuse_points(outcome.rejected);
    if invalid > 0 {
        intake.refuse(invalid, || outcome.error_message);
    }
    Ok(places)
}

struct OtlpVisitor<'v, 'a> {
    context: &'v DecodeContext<'v>,
    intake: &'v mut Intake<'a>,
    places: Places,
    /// The place of the resource that is being read.
    origin: Option<CloudPlace>,
    /// Samples taken before it.
    counted: u64,
    /// Samples refused before the data point that is being read.
    refused_samples: u64,
    /// Data points with a sample that was refused here.
    refused_points: u64,
}

impl OtlpVisitor<'_, '_> {
    /// What was taken since the last resource comes from its place.
    fn count(&mut self, next: Option<CloudPlace>) {
        let taken = self.intake.taken_samples();
        if let Some(place) = std::mem::replace(&mut self.origin, next) {
            let samples = taken - self.counted;
            let full = self.places.len() >= MAX_PLACES;
            match self.places.iter_mut().find(|(known, _)| *known == place) {
                Some((_, sum)) => *sum += samples,
                None if samples > 0 && !full => self.places.push((place, samples)),
                None => {}
            }
        }
        self.counted = taken;
    }

    fn into_places(mut self) -> Places {
        self.count(None);
        self.places
    }
}

impl MetricVisitor for OtlpVisitor<'_, '_> {
    type Refusal = Refused;

    fn origin(&mut self, origin: CloudOrigin<'_>) {
        self.count(CloudPlace::new(origin.provider, origin.region, origin.zone));
        // What came after the last data point is nothing that the sender calls one.
        self.intake.end_point(true);
        self.refused_samples = self.intake.refused_samples();
    }

    fn data_point(&mut self, is_refused: bool) {
        let refused_samples = self.intake.refused_samples();
        self.refused_points += u64::from(is_refused && refused_samples > self.refused_samples);
        self.refused_samples = refused_samples;
        self.intake.end_point(is_refused);
    }

    fn float(&mut self, series: SeriesKey<'_>, time: PointTime, value: f64) -> Result<(), Refused> {
        self.intake.series(series, 1)?.float(time.timestamp_ms, value)
    }

    fn histogram(
        &mut self,
        series: SeriesKey<'_>,
        time: PointTime,
        histogram: Histogram,
    ) -> Result<(), Refused> {
        self.intake.series(series, 1)?.histogram(time.timestamp_ms, histogram)
    }

    fn exemplar(&mut self, series: SeriesKey<'_>, exemplar: Exemplar) {
        // Its series was taken just before, so the labels are good.
        if let Ok(mut series) = self.intake.series(series, 0) {
            series.exemplar(exemplar);
        }
    }

    fn metadata(&mut self, metadata: MetadataRef<'_>) {
        store_metadata(&metadata, self.context, self.intake);
    }
}

fn store_metadata(family: &MetadataRef<'_>, context: &DecodeContext<'_>, intake: &mut Intake<'_>) {
    if context.tenant.families.is_due(family, context.now) {
        intake.metadata().insert(family.family.to_owned(), family.to_metadata());
    }
}

/// Drops metadata of families without a row: where samples were refused it would tell of metrics that are not there. A
/// family that came without samples of its own beside refused ones goes, too; senders repeat metadata.
fn keep_families_of_rows(rows: &mut MetricRows) {
    let MetricRows { floats, histograms, metadata, .. } = rows;
    if metadata.is_empty() {
        return;
    }
    let series = floats.iter().map(|row| &row.series).chain(histograms.iter().map(|row| &row.series));
    let names: HashSet<&str> = series.filter_map(|series| series.labels().metric_name()).collect();
    metadata.retain(|family, _| {
        names.contains(family.as_str())
            || SERIES_SUFFIXES.iter().any(|suffix| names.contains(format!("{family}{suffix}").as_str()))
    });
}
