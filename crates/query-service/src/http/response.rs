//! Bodies of responses: Prometheus's envelope, and query results in it.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use promql::{MatrixSeries, Sample, Value, VectorSample};
use telemetry::Histogram;

use super::json::Json;
use crate::engine::{Answer, Cost};
use crate::error::QueryError;
use crate::limits::RESPONSE_PART_BYTES;

/// A whole body, in parts.
pub(super) type Parts = Vec<Bytes>;

/// The envelope of a success. `data` writes the data; it calls [`Writer::part_done`] now and then where that is long.
pub(super) fn success(warnings: &[String], infos: &[String], data: impl FnOnce(&mut Writer)) -> Parts {
    let mut writer = Writer { json: Json::new(), parts: Vec::new() };
    writer.json.raw("{\"status\":\"success\",\"data\":");
    data(&mut writer);
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            writer.json.raw(",");
            writer.json.string(name);
            writer.json.raw(":");
            writer.json.list(texts, |json, text| json.string(text));
        }
    }
    writer.json.raw("}");
    writer.parts.push(writer.json.into_bytes().into());
    writer.parts
}

/// JSON that leaves in parts.
pub(super) struct Writer {
    pub(super) json: Json,
    parts: Parts,
}

impl Writer {
    /// Says that what was written so far may leave.
    pub(super) fn part_done(&mut self) {
        if self.json.len() >= RESPONSE_PART_BYTES {
            let part = std::mem::replace(&mut self.json, Json::with_capacity(RESPONSE_PART_BYTES + 4096));
            self.parts.push(part.into_bytes().into());
        }
    }

    /// A list of whatever `each` writes.
    pub(super) fn list<T>(&mut self, items: impl IntoIterator<Item = T>, mut each: impl FnMut(&mut Json, T)) {
        self.json.raw("[");
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.json.raw(",");
            }
            each(&mut self.json, item);
            self.part_done();
        }
        self.json.raw("]");
    }
}

pub(super) fn ok(parts: Parts) -> Response {
    let length: usize = parts.iter().map(Bytes::len).sum();
    let body =
        Body::from_stream(futures::stream::iter(parts.into_iter().map(Ok::<_, std::convert::Infallible>)));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) fn error(error: &QueryError) -> Response {
    let kind = error.kind();
    let mut json = Json::new();
    json.raw("{\"status\":\"error\",\"errorType\":");
    json.string(kind.error_type);
    json.raw(",\"error\":");
    json.string(&error.to_string());
    json.raw("}");
    let mut response = Response::new(Body::from(json.into_bytes()));
    *response.status_mut() = StatusCode::from_u16(kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    match error {
        QueryError::Access(error) if !error.is_forbidden() => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"farwatch\""));
        }
        QueryError::TooMany(denied) => {
            if let Some(after) = denied.retry_after {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs().max(1)));
            }
        }
        _ => {}
    }
    response
}

/// What a request wants beside the result.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) stats: bool,
    /// At most so many series.
    pub(super) limit: Option<usize>,
}

pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// The body that answers a query.
pub(super) fn answer(answer: Answer, wanted: Wanted) -> Parts {
    let Answer { mut output, mut warnings, cost } = answer;
    let is_truncated = wanted.limit.is_some_and(|limit| truncate(&mut output.value, limit));
    warnings.extend(output.warnings.iter().map(ToString::to_string));
    if is_truncated {
        warnings.push(TRUNCATED.to_owned());
    }
    let infos: Vec<String> = output.infos.iter().map(ToString::to_string).collect();
    success(&warnings, &infos, |writer| {
        write_value(writer, &output.value);
        if wanted.stats {
            write_stats(&mut writer.json, &output.stats, cost);
        }
        writer.json.raw("}");
    })
}

fn truncate(value: &mut Value, limit: usize) -> bool {
    let before = match value {
        Value::Vector(samples) => {
            let before = samples.len();
            samples.truncate(limit);
            before
        }
        Value::Matrix(series) => {
            let before = series.len();
            series.truncate(limit);
            before
        }
        Value::Scalar(_) | Value::String { .. } => 0,
    };
    before > limit
}

/// The data object without its closing brace.
fn write_value(writer: &mut Writer, value: &Value) {
    match value {
        Value::Scalar(sample) => {
            let json = &mut writer.json;
            json.raw("{\"resultType\":\"scalar\",\"result\":[");
            json.plain_float(sample.timestamp_ms as f64 / 1000.0);
            json.raw(",\"");
            json.plain_float(sample.value);
            json.raw("\"]");
        }
        Value::String { timestamp_ms, text } => {
            let json = &mut writer.json;
            json.raw("{\"resultType\":\"string\",\"result\":[");
            json.plain_float(*timestamp_ms as f64 / 1000.0);
            json.raw(",");
            json.string(text);
            json.raw("]");
        }
        Value::Vector(samples) => {
            writer.json.raw("{\"resultType\":\"vector\",\"result\":");
            writer.list(samples, write_vector_sample);
        }
        Value::Matrix(series) => {
            writer.json.raw("{\"resultType\":\"matrix\",\"result\":[");
            for (place, series) in series.iter().enumerate() {
                if place > 0 {
                    writer.json.raw(",");
                }
                write_matrix_series(writer, series);
            }
            writer.json.raw("]");
        }
    }
}

fn write_vector_sample(json: &mut Json, sample: &VectorSample) {
    json.raw("{\"metric\":");
    json.labels(&sample.labels);
    match &sample.sample {
        Sample::Float(value) => {
            json.raw(",\"value\":");
            write_point(json, sample.timestamp_ms, *value);
        }
        Sample::Histogram(histogram) => {
            json.raw(",\"histogram\":");
            write_histogram_point(json, sample.timestamp_ms, histogram);
        }
    }
    json.raw("}");
}

fn write_matrix_series(writer: &mut Writer, series: &MatrixSeries) {
    writer.json.raw("{\"metric\":");
    writer.json.labels(&series.labels);
    if !series.floats.is_empty() {
        writer.json.raw(",\"values\":");
        writer.list(&series.floats, |json, (timestamp_ms, value)| write_point(json, *timestamp_ms, *value));
    }
    if !series.histograms.is_empty() {
        writer.json.raw(",\"histograms\":");
        writer.list(&series.histograms, |json, (timestamp_ms, histogram)| {
            write_histogram_point(json, *timestamp_ms, histogram);
        });
    }
    writer.json.raw("}");
}

fn write_point(json: &mut Json, timestamp_ms: i64, value: f64) {
    json.raw("[");
    json.timestamp(timestamp_ms);
    json.raw(",");
    json.float(value);
    json.raw("]");
}

fn write_histogram_point(json: &mut Json, timestamp_ms: i64, histogram: &Histogram) {
    json.raw("[");
    json.timestamp(timestamp_ms);
    json.raw(",{\"count\":");
    json.float(histogram.count);
    json.raw(",\"sum\":");
    json.float(histogram.sum);
    let buckets = promql::all_buckets(histogram);
    let mut filled = buckets.iter().filter(|bucket| bucket.count != 0.0).peekable();
    if filled.peek().is_some() {
        json.raw(",\"buckets\":");
        json.list(filled, |json, bucket| {
            // The lowest bucket with custom boundaries has none below, which it includes.
            let lower_inclusive = bucket.lower_inclusive || bucket.lower == f64::NEG_INFINITY;
            json.raw(match (lower_inclusive, bucket.upper_inclusive) {
                (false, true) => "[0,",
                (true, false) => "[1,",
                (false, false) => "[2,",
                (true, true) => "[3,",
            });
            json.float(bucket.lower);
            json.raw(",");
            json.float(bucket.upper);
            json.raw(",");
            json.float(bucket.count);
            json.raw("]");
        });
    }
    json.raw("}]");
}

fn write_stats(json: &mut Json, stats: &promql::QueryStats, cost: Cost) {
    json.raw(",\"stats\":{\"timings\":{\"queryPreparationTime\":");
    json.plain_float(cost.preparation.as_secs_f64());
    json.raw(",\"innerEvalTime\":");
    json.plain_float(cost.evaluation.as_secs_f64());
    json.raw(",\"execTotalTime\":");
    json.plain_float((cost.preparation + cost.evaluation).as_secs_f64());
    json.raw("},\"samples\":{\"totalQueryableSamples\":");
    json.number(stats.samples);
    json.raw("},\"series\":");
    json.number(stats.series);
    json.raw(",\"peakMemoryBytes\":");
    json.number(stats.peak_memory_bytes);
    json.raw(",\"storedBytesRead\":");
    json.number(cost.cold_bytes);
    json.raw(",\"storedPartitionsRead\":");
    json.number(cost.cold_partitions);
    json.raw("}");
}

#[cfg(test)]
mod tests;
