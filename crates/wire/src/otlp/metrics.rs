//! The walk over an `ExportMetricsServiceRequest`.

use std::fmt;

use telemetry::{Exemplar, Histogram, MetricType};

use super::attributes::{Attribute, once};
use super::exemplars::millis;
use super::json;
use super::labels::{Origin, PointLabels};
use super::names::{NameKind, family_name};
use super::options::MetricOptions;
use super::point::{PointError, PointProblem, Refusals, within_request};
use super::response::{Format, Outcome};
use crate::budget::Budget;
use crate::error::{RequestError, quoted_lossy};
use crate::limits::Limits;
use crate::metadata::MetadataRef;
use crate::protobuf::{Field, Reader};
use crate::series_key::SeriesKey;

mod points;
use points::Scratch;

/// When a data point was observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointTime {
    /// Milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// When its accumulation began, in milliseconds since the Unix epoch; `None` when not said.
    pub start_time_ms: Option<i64>,
}

/// What a resource says of its place: the attributes `cloud.provider`, `cloud.region` and `cloud.availability_zone`, empty where
/// they are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CloudOrigin<'a> {
    /// `cloud.provider`.
    pub provider: &'a str,
    /// `cloud.region`.
    pub region: &'a str,
    /// `cloud.availability_zone`.
    pub zone: &'a str,
}

/// Receives what a request holds. Keys live for the call only.
pub trait MetricVisitor {
    /// Why a sample is not wanted: text for the sender.
    type Refusal: fmt::Display;

    /// Where the samples that follow come from, once for each resource and before its samples.
    fn origin(&mut self, _origin: CloudOrigin<'_>) {}

    /// A float sample. A refusal counts its data point as rejected and skips the rest of it.
    ///
    /// # Errors
    /// A refusal.
    fn float(&mut self, series: SeriesKey<'_>, time: PointTime, value: f64) -> Result<(), Self::Refusal>;

    /// A native-histogram sample, valid. A refusal counts its data point as rejected.
    ///
    /// # Errors
    /// A refusal.
    fn histogram(
        &mut self,
        series: SeriesKey<'_>,
        time: PointTime,
        histogram: Histogram,
    ) -> Result<(), Self::Refusal>;

    /// An exemplar of the series whose sample came last.
    fn exemplar(&mut self, series: SeriesKey<'_>, exemplar: Exemplar);

    /// A data point has ended, which had the samples since the one before; with `is_refused`, not all of them were taken. Samples
    /// after the last data point of a resource tell of the resource itself.
    fn data_point(&mut self, _is_refused: bool) {}

    /// What a metric family says about itself, before its samples.
    fn metadata(&mut self, metadata: MetadataRef<'_>);
}

/// Reads the decompressed body of an export of metrics and calls `visitor` for everything in it.
///
/// # Errors
/// [`RequestError`]: refuse the whole request and throw away what the visitor got.
pub fn read_metrics<V: MetricVisitor>(
    format: Format,
    body: &[u8],
    options: &MetricOptions,
    limits: &Limits,
    visitor: &mut V,
) -> Result<Outcome, RequestError> {
    match format {
        Format::Protobuf => Walk::new(options, limits, visitor).request(body),
        Format::Json => {
            let body = json::metrics_to_protobuf(body, limits)?;
            Walk::new(options, limits, visitor).request(&body)
        }
    }
}

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE_ID: &str = "service.instance.id";
const CLOUD_PROVIDER: &str = "cloud.provider";
const CLOUD_REGION: &str = "cloud.region";
const CLOUD_ZONE: &str = "cloud.availability_zone";

/// The series that holds a resource's attributes.
const TARGET_INFO: &str = "target_info";

struct Walk<'w, 'a, V> {
    options: &'w MetricOptions,
    limits: &'w Limits,
    visitor: &'w mut V,
    labels: PointLabels,
    refusals: Refusals,
    points: Budget,
    samples: Budget,
    resolved_bytes: Budget,
    /// Latest time of a data point of the resource, in nanoseconds; `None` before the first.
    latest_nanos: Option<u64>,
    scratch: Scratch<'a>,
}

/// What all data points of a metric share.
struct Metric<'a> {
    /// As it was sent, for messages.
    name: &'a str,
    /// As series are named.
    family: String,
    kind: Kind,
    delta: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gauge,
    Sum { monotonic: bool },
    Histogram,
    ExponentialHistogram,
    Summary,
}

impl Kind {
    fn metric_type(self) -> MetricType {
        match self {
            Self::Sum { monotonic: true } => MetricType::Counter,
            Self::Gauge | Self::Sum { monotonic: false } => MetricType::Gauge,
            Self::Histogram | Self::ExponentialHistogram => MetricType::Histogram,
            Self::Summary => MetricType::Summary,
        }
    }

    fn name_kind(self) -> NameKind {
        match self {
            Self::Gauge => NameKind::Gauge,
            Self::Sum { monotonic: true } => NameKind::MonotonicSum,
            _ => NameKind::Other,
        }
    }
}

impl<'w, 'a, V: MetricVisitor> Walk<'w, 'a, V> {
    fn new(options: &'w MetricOptions, limits: &'w Limits, visitor: &'w mut V) -> Self {
        Self {
            options,
            limits,
            visitor,
            labels: PointLabels::new(options.translation, limits),
            refusals: Refusals::default(),
            points: Budget::new("data points", limits.max_series),
            samples: Budget::new("samples", limits.max_samples),
            resolved_bytes: Budget::new("bytes of labels", limits.max_resolved_bytes),
            latest_nanos: None,
            scratch: Scratch::default(),
        }
    }

    fn request(mut self, body: &'a [u8]) -> Result<Outcome, RequestError> {
        let mut reader = Reader::new(body, "opentelemetry.ExportMetricsServiceRequest");
        while let Some(field) = reader.next_field()? {
            if field.number == 1 {
                self.resource_metrics(field.message("opentelemetry.ResourceMetrics")?)?;
            }
        }
        Ok(self.refusals.into_outcome())
    }

    fn resource_metrics(&mut self, message: Reader<'a>) -> Result<(), RequestError> {
        let mut resource = None;
        let mut reader = message;
        while let Some(field) = reader.next_field()? {
            if field.number == 1 {
                once(&mut resource, &field, "opentelemetry.Resource")?;
            }
        }
        self.latest_nanos = None;
        self.visitor.origin(CloudOrigin::default());
        self.labels.start_resource();
        let described = resource.map_or(Ok(()), |resource| self.describe_resource(resource));
        let problem = within_request(described)?.err();
        self.labels.end_resource();
        let mut reader = message;
        while let Some(field) = reader.next_field()? {
            if field.number == 2 {
                self.scope_metrics(field.message("opentelemetry.ScopeMetrics")?, problem.as_ref())?;
            }
        }
        if let (Some(resource), Some(latest_nanos), None) = (resource, self.latest_nanos, problem) {
            match self.target_info(resource, latest_nanos) {
                Ok(()) => {}
                Err(PointError::Request(error)) => return Err(error),
                Err(PointError::Problem(problem)) => self.refusals.warn(TARGET_INFO, &problem),
                Err(PointError::Refused(reason)) => self.refusals.warn(TARGET_INFO, &reason),
            }
        }
        Ok(())
    }

    /// Adds the labels that every series of the resource has.
    fn describe_resource(&mut self, mut resource: Reader<'a>) -> Result<(), PointProblem> {
        let (mut name, mut namespace, mut instance) = (None, None, None);
        let (mut provider, mut region, mut zone) = (None, None, None);
        while let Some(field) = resource.next_field()? {
            if field.number != 1 {
                continue;
            }
            let attribute = Attribute::read(&field)?;
            let slot = match attribute.key {
                SERVICE_NAME => Some(&mut name),
                SERVICE_NAMESPACE => Some(&mut namespace),
                SERVICE_INSTANCE_ID => Some(&mut instance),
                CLOUD_PROVIDER => Some(&mut provider),
                CLOUD_REGION => Some(&mut region),
                CLOUD_ZONE => Some(&mut zone),
                _ => None,
            };
            if let Some(slot) = slot {
                attribute.push_value(slot.insert(String::new()))?;
            }
            if self.options.promotion.promotes(attribute.key) {
                self.labels.push_base_attribute(Origin::Promoted, "", &attribute)?;
            }
        }
        if let Some(name) = name {
            let job = match namespace {
                Some(namespace) => format!("{namespace}/{name}"),
                None => name,
            };
            self.labels.push_base(Origin::Identity, "job", &job)?;
        }
        if let Some(instance) = instance {
            self.labels.push_base(Origin::Identity, "instance", &instance)?;
        }
        self.visitor.origin(CloudOrigin {
            provider: provider.as_deref().unwrap_or_default(),
            region: region.as_deref().unwrap_or_default(),
            zone: zone.as_deref().unwrap_or_default(),
        });
        Ok(())
    }

    /// One sample of the resource's other attributes, if it has any and says who it is.
    fn target_info(&mut self, mut resource: Reader<'a>, latest_nanos: u64) -> Result<(), PointError> {
        self.labels.start_scope();
        self.labels.start_point();
        let mut has_others = false;
        while let Some(field) = resource.next_field()? {
            if field.number != 1 {
                continue;
            }
            let attribute = Attribute::read(&field)?;
            if !matches!(attribute.key, SERVICE_NAME | SERVICE_NAMESPACE | SERVICE_INSTANCE_ID) {
                self.labels.push_attribute(&attribute)?;
                has_others = true;
            }
        }
        self.labels.finish(Origin::Identity);
        if !has_others || !(self.labels.contains("job") || self.labels.contains("instance")) {
            return Ok(());
        }
        self.visitor.metadata(MetadataRef {
            family: TARGET_INFO,
            metric_type: MetricType::Gauge,
            help: "Target metadata",
            unit: "",
        });
        let time = PointTime { timestamp_ms: millis(latest_nanos), start_time_ms: None };
        self.float(TARGET_INFO, "", &[], time, 1.0)
    }

    /// `problem` is what makes all data points of the resource unusable.
    fn scope_metrics(
        &mut self,
        message: Reader<'a>,
        problem: Option<&PointProblem>,
    ) -> Result<(), RequestError> {
        let mut scope = None;
        let mut schema_url = &[][..];
        let mut reader = message;
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => once(&mut scope, &field, "opentelemetry.InstrumentationScope")?,
                3 => schema_url = field.bytes()?,
                _ => {}
            }
        }
        self.labels.start_scope();
        let described = match scope {
            Some(scope) if self.options.scope_labels => self.describe_scope(scope, schema_url),
            _ => Ok(()),
        };
        let scope_problem = within_request(described)?.err();
        self.labels.end_scope();
        let problem = problem.or(scope_problem.as_ref());
        let mut reader = message;
        while let Some(field) = reader.next_field()? {
            if field.number == 2 {
                self.metric(field.message("opentelemetry.Metric")?, problem)?;
            }
        }
        Ok(())
    }

    /// Adds the labels that every series of the scope has; a scope without a name has none.
    fn describe_scope(&mut self, scope: Reader<'a>, schema_url: &[u8]) -> Result<(), PointProblem> {
        let (mut name, mut version) = (&[][..], &[][..]);
        let mut reader = scope;
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => version = field.bytes()?,
                _ => {}
            }
        }
        if name.is_empty() {
            return Ok(());
        }
        for (label, value) in [
            ("otel_scope_name", name),
            ("otel_scope_version", version),
            ("otel_scope_schema_url", schema_url),
        ] {
            let value = utf8(value, "scope")?;
            if !value.is_empty() {
                self.labels.push_base(Origin::Scope, label, value)?;
            }
        }
        let mut reader = scope;
        while let Some(field) = reader.next_field()? {
            if field.number == 3 {
                let attribute = Attribute::read(&field)?;
                self.labels.push_base_attribute(Origin::Scope, "otel_scope_", &attribute)?;
            }
        }
        Ok(())
    }

    fn metric(&mut self, message: Reader<'a>, problem: Option<&PointProblem>) -> Result<(), RequestError> {
        let (mut name, mut description, mut unit) = (&[][..], &[][..], &[][..]);
        let mut data = None;
        let mut data_field = 0;
        let mut reader = message;
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => name = field.bytes()?,
                2 => description = field.bytes()?,
                3 => unit = field.bytes()?,
                5 | 7 | 9 | 10 | 11 => {
                    once(&mut data, &field, "opentelemetry.Metric.data")?;
                    data_field = field.number;
                }
                _ => {}
            }
        }
        let Some(data) = data else { return Ok(()) };
        let points = self.count_points(data)?;
        if points == 0 {
            return Ok(());
        }
        let metric = match problem {
            Some(problem) => Err(problem.clone()),
            None => self.describe_metric(name, unit, data_field, data),
        };
        let metric = match within_request(metric)? {
            Ok(metric) => metric,
            Err(problem) => {
                self.refusals.add(points, &quoted_lossy(name), &problem);
                return Ok(());
            }
        };
        let family = metric.family.as_bytes();
        if let Some(metadata) =
            MetadataRef::new(family, metric.kind.metric_type(), description, unit, self.limits)
        {
            self.visitor.metadata(metadata);
        }
        let mut reader = data;
        while let Some(field) = reader.next_field()? {
            if field.number == DATA_POINTS {
                self.point(&metric, &field)?;
            }
        }
        Ok(())
    }

    /// Counts the data points of a metric, also towards the limit.
    fn count_points(&mut self, mut data: Reader<'a>) -> Result<u64, RequestError> {
        let mut count = 0;
        while let Some(field) = data.next_field()? {
            count += u64::from(field.number == DATA_POINTS);
        }
        self.points.spend(usize::try_from(count).unwrap_or(usize::MAX))?;
        Ok(count)
    }

    fn describe_metric(
        &self,
        name: &'a [u8],
        unit: &'a [u8],
        data_field: u32,
        mut data: Reader<'a>,
    ) -> Result<Metric<'a>, PointProblem> {
        let name = utf8(name, "name")?;
        let unit = utf8(unit, "unit")?;
        let mut temporality = 0;
        let mut monotonic = false;
        while let Some(field) = data.next_field()? {
            match field.number {
                2 => temporality = field.varint()?,
                3 => monotonic = field.varint()? != 0,
                _ => {}
            }
        }
        let kind = match data_field {
            5 => Kind::Gauge,
            7 => Kind::Sum { monotonic },
            9 => Kind::Histogram,
            10 => Kind::ExponentialHistogram,
            _ => Kind::Summary,
        };
        let delta = match (kind, temporality) {
            (Kind::Gauge | Kind::Summary, _) | (_, CUMULATIVE) => false,
            (_, DELTA) => true,
            _ => return Err(PointProblem::Temporality),
        };
        let family = family_name(name, unit, kind.name_kind(), self.options.translation)
            .ok_or(PointProblem::NoName)?;
        Ok(Metric { name, family, kind, delta })
    }

    fn point(&mut self, metric: &Metric<'a>, field: &Field<'a>) -> Result<(), RequestError> {
        self.labels.start_point();
        let read = match metric.kind {
            Kind::Gauge | Kind::Sum { .. } => self.number_point(metric, field),
            Kind::Histogram => self.histogram_point(metric, field),
            Kind::ExponentialHistogram => self.exponential_point(metric, field),
            Kind::Summary => self.summary_point(metric, field),
        };
        self.visitor.data_point(read.is_err());
        match read {
            Ok(()) => {}
            Err(PointError::Request(error)) => return Err(error),
            Err(PointError::Problem(problem)) => self.refusals.add(1, metric.name, &problem),
            Err(PointError::Refused(reason)) => self.refusals.add(1, metric.name, &reason),
        }
        Ok(())
    }

    fn float(
        &mut self,
        family: &str,
        suffix: &str,
        extra: &[(&str, &str)],
        time: PointTime,
        value: f64,
    ) -> Result<(), PointError> {
        let key = self.labels.key(family, suffix, extra);
        self.samples.spend(1)?;
        self.resolved_bytes.spend(key.as_bytes().len())?;
        self.visitor.float(key, time, value).map_err(|refusal| PointError::Refused(refusal.to_string()))
    }

    fn histogram(
        &mut self,
        family: &str,
        extra: &[(&str, &str)],
        time: PointTime,
        histogram: Histogram,
    ) -> Result<(), PointError> {
        let key = self.labels.key(family, "", extra);
        self.samples.spend(1)?;
        self.resolved_bytes.spend(key.as_bytes().len())?;
        self.visitor
            .histogram(key, time, histogram)
            .map_err(|refusal| PointError::Refused(refusal.to_string()))
    }
}

/// The number of the data points' field in every kind of metric.
const DATA_POINTS: u32 = 1;
/// `AGGREGATION_TEMPORALITY_DELTA`.
const DELTA: u64 = 1;
/// `AGGREGATION_TEMPORALITY_CUMULATIVE`.
const CUMULATIVE: u64 = 2;

fn utf8<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, PointProblem> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| PointProblem::TextNotUtf8(what))
}
