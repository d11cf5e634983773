//! Data points of each kind.

use telemetry::{Exemplar, stale_nan};

use super::{Metric, MetricVisitor, PointTime, Walk};
use crate::otlp::attributes::{Attribute, once, push_double};
use crate::otlp::exemplars::{self, millis};
use crate::otlp::histograms::{Exponential, ExponentialSide, Totals, check_explicit, custom_buckets};
use crate::otlp::labels::Origin;
use crate::otlp::point::{PointError, PointProblem, within_request};
use crate::protobuf::{Field, Reader};

const DELTA_LABEL: (&str, &str) = ("__temporality__", "delta");
const LE: &str = "le";
const QUANTILE: &str = "quantile";

/// `DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK`.
const NO_RECORDED_VALUE: u64 = 1;

/// Buffers that serve one data point after the other.
#[derive(Debug, Default)]
pub(super) struct Scratch<'a> {
    counts: Vec<u64>,
    bounds: Vec<f64>,
    quantiles: Vec<(f64, f64)>,
    exemplars: Vec<Field<'a>>,
    number: String,
}

/// What every kind of data point has.
#[derive(Default)]
struct Common {
    start_nanos: u64,
    nanos: u64,
    flags: u64,
}

impl Common {
    /// Start and time have the same numbers in every kind.
    fn read(&mut self, field: &Field<'_>) -> Result<(), PointError> {
        match field.number {
            2 => self.start_nanos = field.fixed64()?,
            3 => self.nanos = field.fixed64()?,
            _ => {}
        }
        Ok(())
    }

    fn time(&self) -> PointTime {
        PointTime {
            timestamp_ms: millis(self.nanos),
            start_time_ms: (self.start_nanos != 0).then(|| millis(self.start_nanos)),
        }
    }

    fn no_recorded_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }

    /// `value`, or the staleness marker.
    fn value(&self, value: f64) -> f64 {
        if self.no_recorded_value() { stale_nan() } else { value }
    }
}

impl<'a, V: MetricVisitor> Walk<'_, 'a, V> {
    pub(super) fn number_point(&mut self, metric: &Metric<'a>, point: &Field<'a>) -> Result<(), PointError> {
        let mut reader = point.message("opentelemetry.NumberDataPoint")?;
        let mut common = Common::default();
        let mut value = None;
        self.scratch.exemplars.clear();
        while let Some(field) = reader.next_field()? {
            match field.number {
                4 => value = Some(field.double()?),
                6 => value = Some(field.fixed64()? as i64 as f64),
                7 => self.labels.push_attribute(&Attribute::read(&field)?)?,
                5 => self.scratch.exemplars.push(field),
                8 => common.flags = field.varint()?,
                _ => common.read(&field)?,
            }
        }
        let value = match value {
            _ if common.no_recorded_value() => stale_nan(),
            Some(value) => value,
            None => return Err(PointProblem::NoValue.into()),
        };
        self.finish_labels(&common);
        self.float(&metric.family, "", metric.extra(), common.time(), value)?;
        self.exemplars_of_last_series()
    }

    pub(super) fn summary_point(&mut self, metric: &Metric<'a>, point: &Field<'a>) -> Result<(), PointError> {
        let mut reader = point.message("opentelemetry.SummaryDataPoint")?;
        let mut common = Common::default();
        let (mut count, mut sum) = (0, 0.0);
        self.scratch.quantiles.clear();
        while let Some(field) = reader.next_field()? {
            match field.number {
                4 => count = field.fixed64()?,
                5 => sum = field.double()?,
                6 => {
                    let quantile = read_quantile(field.message("opentelemetry.ValueAtQuantile")?)?;
                    let max = self.limits.max_histogram_buckets;
                    push_bounded(&mut self.scratch.quantiles, quantile, max)?;
                }
                7 => self.labels.push_attribute(&Attribute::read(&field)?)?,
                8 => common.flags = field.varint()?,
                _ => common.read(&field)?,
            }
        }
        self.finish_labels(&common);
        let (family, time) = (metric.family.as_str(), common.time());
        self.float(family, "_sum", &[], time, common.value(sum))?;
        self.float(family, "_count", &[], time, common.value(count as f64))?;
        let quantiles = std::mem::take(&mut self.scratch.quantiles);
        let told = quantiles.iter().try_for_each(|&(quantile, value)| {
            self.numbered(family, "", &[], QUANTILE, quantile, time, common.value(value))
        });
        self.scratch.quantiles = quantiles;
        told
    }

    pub(super) fn histogram_point(
        &mut self,
        metric: &Metric<'a>,
        point: &Field<'a>,
    ) -> Result<(), PointError> {
        let mut reader = point.message("opentelemetry.HistogramDataPoint")?;
        let mut common = Common::default();
        let (mut count, mut sum) = (0, None);
        let max = self.limits.max_histogram_buckets;
        self.scratch.counts.clear();
        self.scratch.bounds.clear();
        self.scratch.exemplars.clear();
        while let Some(field) = reader.next_field()? {
            match field.number {
                4 => count = field.fixed64()?,
                5 => sum = Some(field.double()?),
                6 => field.each_fixed64(|count| push_bounded(&mut self.scratch.counts, count, max))?,
                7 => field
                    .each_fixed64(|bits| push_bounded(&mut self.scratch.bounds, f64::from_bits(bits), max))?,
                8 => self.scratch.exemplars.push(field),
                9 => self.labels.push_attribute(&Attribute::read(&field)?)?,
                10 => common.flags = field.varint()?,
                _ => common.read(&field)?,
            }
        }
        // An infinite boundary at the end only repeats the bucket that is there anyway.
        if self.scratch.bounds.last() == Some(&f64::INFINITY) {
            self.scratch.bounds.pop();
            let beyond = self.scratch.counts.pop().unwrap_or_default();
            if let Some(last) = self.scratch.counts.last_mut() {
                *last = last.checked_add(beyond).ok_or(PointProblem::BucketOverflow)?;
            }
        }
        check_explicit(&self.scratch.counts, &self.scratch.bounds)?;
        self.finish_labels(&common);
        if self.options.custom_bucket_histograms {
            let totals =
                Totals { count, sum, delta: metric.delta, no_recorded_value: common.no_recorded_value() };
            let histogram = custom_buckets(totals, &self.scratch.counts, &self.scratch.bounds)?;
            self.histogram(&metric.family, metric.extra(), common.time(), histogram)?;
            return self.exemplars_of_last_series();
        }
        self.classic_histogram(metric, &common, count, sum)
    }

    fn classic_histogram(
        &mut self,
        metric: &Metric<'a>,
        common: &Common,
        count: u64,
        sum: Option<f64>,
    ) -> Result<(), PointError> {
        let (family, extra, time) = (metric.family.as_str(), metric.extra(), common.time());
        let exemplars = self.read_exemplars()?;
        if let Some(sum) = sum {
            self.float(family, "_sum", extra, time, common.value(sum))?;
        }
        self.float(family, "_count", extra, time, common.value(count as f64))?;
        let mut cumulative = 0_u64;
        let mut previous = f64::NEG_INFINITY;
        for index in 0..=self.scratch.bounds.len() {
            let (bound, value) = match self.scratch.bounds.get(index) {
                Some(&bound) => {
                    let bucket = self.scratch.counts[index];
                    cumulative = cumulative.checked_add(bucket).ok_or(PointProblem::BucketOverflow)?;
                    (bound, cumulative)
                }
                None => (f64::INFINITY, count),
            };
            self.numbered(family, "_bucket", extra, LE, bound, time, common.value(value as f64))?;
            // An exemplar belongs to the first bucket that counts it.
            for exemplar in &exemplars {
                let above_previous = index == 0 || exemplar.value > previous;
                if above_previous && exemplar.value <= bound {
                    self.visitor.exemplar(self.labels.last_key(), exemplar.clone());
                }
            }
            previous = bound;
        }
        Ok(())
    }

    pub(super) fn exponential_point(
        &mut self,
        metric: &Metric<'a>,
        point: &Field<'a>,
    ) -> Result<(), PointError> {
        let mut reader = point.message("opentelemetry.ExponentialHistogramDataPoint")?;
        let mut common = Common::default();
        let (mut count, mut sum) = (0, None);
        let (mut scale, mut zero_count, mut zero_threshold) = (0, 0, 0.0);
        let (mut positive, mut negative) = (None, None);
        self.scratch.exemplars.clear();
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => self.labels.push_attribute(&Attribute::read(&field)?)?,
                4 => count = field.fixed64()?,
                5 => sum = Some(field.double()?),
                // A sint32: wider values are cut, as protobuf has it.
                6 => scale = i64::from(field.zigzag()? as i32),
                7 => zero_count = field.fixed64()?,
                8 => once(&mut positive, &field, BUCKETS)?,
                9 => once(&mut negative, &field, BUCKETS)?,
                10 => common.flags = field.varint()?,
                11 => self.scratch.exemplars.push(field),
                14 => zero_threshold = field.double()?,
                _ => common.read(&field)?,
            }
        }
        let side = |reader: Option<Reader<'a>>| {
            reader.map_or(Ok(ExponentialSide::default()), |reader| {
                read_side(reader, self.limits.max_histogram_buckets)
            })
        };
        let exponential = Exponential {
            totals: Totals { count, sum, delta: metric.delta, no_recorded_value: common.no_recorded_value() },
            scale,
            zero_count,
            zero_threshold,
            positive: side(positive)?,
            negative: side(negative)?,
        };
        let histogram = exponential.to_native()?;
        self.finish_labels(&common);
        self.histogram(&metric.family, metric.extra(), common.time(), histogram)?;
        self.exemplars_of_last_series()
    }

    fn finish_labels(&mut self, common: &Common) {
        self.labels.finish(Origin::Promoted);
        self.latest_nanos = self.latest_nanos.max(Some(common.nanos));
    }

    /// A float sample of the series with a label that is a number.
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a part of one sample, and two callers need no struct"
    )]
    fn numbered(
        &mut self,
        family: &str,
        suffix: &str,
        extra: &[(&str, &str)],
        label: &str,
        number: f64,
        time: PointTime,
        value: f64,
    ) -> Result<(), PointError> {
        let mut text = std::mem::take(&mut self.scratch.number);
        text.clear();
        push_boundary(number, &mut text);
        let told = match extra {
            [] => self.float(family, suffix, &[(label, &text)], time, value),
            _ => self.float(family, suffix, &[DELTA_LABEL, (label, &text)], time, value),
        };
        self.scratch.number = text;
        told
    }

    fn exemplars_of_last_series(&mut self) -> Result<(), PointError> {
        for exemplar in self.read_exemplars()? {
            self.visitor.exemplar(self.labels.last_key(), exemplar);
        }
        Ok(())
    }

    /// The data point's exemplars. One that is bad costs nothing but itself.
    fn read_exemplars(&mut self) -> Result<Vec<Exemplar>, PointError> {
        let mut read = Vec::new();
        for field in &self.scratch.exemplars {
            self.samples.spend(1)?;
            let exemplar = within_request(exemplars::read(field, self.limits))?;
            read.extend(exemplar.ok().flatten());
        }
        Ok(read)
    }
}

impl Metric<'_> {
    /// Labels of all its series.
    fn extra(&self) -> &'static [(&'static str, &'static str)] {
        if self.delta { &[DELTA_LABEL] } else { &[] }
    }
}

const BUCKETS: &str = "opentelemetry.ExponentialHistogramDataPoint.Buckets";

fn read_side(mut reader: Reader<'_>, max: usize) -> Result<ExponentialSide, PointError> {
    let mut side = ExponentialSide::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            // A sint32: wider values are cut, as protobuf has it.
            1 => side.offset = i64::from(field.zigzag()? as i32),
            2 => field.each_varint(|count| push_bounded(&mut side.counts, count, max))?,
            _ => {}
        }
    }
    Ok(side)
}

fn read_quantile(mut reader: Reader<'_>) -> Result<(f64, f64), PointError> {
    let (mut quantile, mut value) = (0.0, 0.0);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => quantile = field.double()?,
            2 => value = field.double()?,
            _ => {}
        }
    }
    Ok((quantile, value))
}

fn push_bounded<T>(out: &mut Vec<T>, element: T, max: usize) -> Result<(), PointProblem> {
    if out.len() == max {
        return Err(PointProblem::TooManyBuckets { limit: max });
    }
    out.push(element);
    Ok(())
}

/// Appends a bucket boundary or a quantile as a label value: in the shortest form that reads back the same, without an
/// exponent.
fn push_boundary(value: f64, out: &mut String) {
    if value.is_infinite() {
        push_double(value, out);
    } else {
        out.push_str(&value.to_string());
    }
}
