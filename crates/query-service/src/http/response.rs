//! Bodies of responses: Prometheus's envelope, and query results in it.

use std::io;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use futures::future::{BoxFuture, Either, select};
use futures::{StreamExt, stream};
use promql::{MatrixSeries, Sample, Value, VectorSample};
use telemetry::labels::{READ_AHEAD, read_ahead};
use telemetry::{Histogram, Labels};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio_util::task::AbortOnDropHandle;

use super::json::Json;
use crate::engine::{Answer, Cost, Deadline};
use crate::error::QueryError;
use crate::limits::{RESPONSE_PART_BYTES, RESPONSE_PARTS_AHEAD, STALLED_CLIENT_TIMEOUT};

/// What is on its way to the client.
#[derive(Debug)]
enum Part {
    More(Bytes),
    Last(Bytes),
}

/// Where an answer is written to; it leaves in parts, as fast as the client reads.
#[derive(Debug)]
pub(super) struct Sink {
    parts: mpsc::Sender<Part>,
    runtime: Handle,
}

/// The other end of a [`Sink`].
#[derive(Debug)]
pub(super) struct Parts(mpsc::Receiver<Part>);

/// Must be called within a runtime.
pub(super) fn channel() -> (Sink, Parts) {
    let (sender, receiver) = mpsc::channel(RESPONSE_PARTS_AHEAD);
    (Sink { parts: sender, runtime: Handle::current() }, Parts(receiver))
}

impl Sink {
    /// Writes a success whose data is short, as a whole. Never waits.
    pub(super) fn short(self, data: impl FnOnce(&mut Json)) -> Result<(), QueryError> {
        let mut json = Json::new();
        json.raw(SUCCESS);
        data(&mut json);
        json.raw("}");
        self.parts.try_send(Part::Last(json.into_bytes().into())).map_err(|_| QueryError::Canceled)
    }

    /// Writes a success. `data` writes the data; it calls [`Writer::part_done`] now and then where that is long. Waits for
    /// the client unless [`Deadline::may_wait`] says no, so that it must be called on a thread for blocking work then.
    pub(super) fn success(
        self,
        deadline: &Deadline,
        warnings: &[String],
        infos: &[String],
        data: impl FnOnce(&mut Writer<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let mut writer = Writer { json: Json::new(), sink: self, deadline };
        writer.json.raw(SUCCESS);
        data(&mut writer)?;
        for (name, texts) in [("warnings", warnings), ("infos", infos)] {
            if !texts.is_empty() {
                writer.json.raw(",");
                writer.json.string(name);
                writer.json.raw(":");
                writer.json.list(texts, |json, text| json.string(text));
            }
        }
        writer.json.raw("}");
        writer.send(Json::new(), Part::Last)
    }
}

const SUCCESS: &str = "{\"status\":\"success\",\"data\":";

/// JSON that leaves in parts.
pub(super) struct Writer<'a> {
    pub(super) json: Json,
    sink: Sink,
    deadline: &'a Deadline,
}

impl Writer<'_> {
    /// Says that what was written so far may leave. Fails when nobody waits for the rest any more, or when time is up.
    pub(super) fn part_done(&mut self) -> Result<(), QueryError> {
        // What is made in passing is short, and leaves as a whole.
        if self.json.len() < RESPONSE_PART_BYTES || !self.deadline.may_wait() {
            return Ok(());
        }
        self.send(Json::with_capacity(RESPONSE_PART_BYTES + 4096), Part::More)
    }

    fn send(&mut self, next: Json, part: impl FnOnce(Bytes) -> Part) -> Result<(), QueryError> {
        if self.deadline.is_over() {
            return Err(self.deadline.error("sending the answer"));
        }
        let part = part(std::mem::replace(&mut self.json, next).into_bytes().into());
        let part = match self.sink.parts.try_send(part) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Closed(_)) => return Err(QueryError::Canceled),
            Err(TrySendError::Full(part)) => part,
        };
        let limit = self.deadline.left().min(STALLED_CLIENT_TIMEOUT);
        // The future is made within the runtime, whose timer it needs.
        let sending = async { tokio::time::timeout(limit, self.sink.parts.send(part)).await };
        match self.sink.runtime.block_on(sending) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(QueryError::Canceled),
            Err(_) => Err(QueryError::Timeout { phase: "waiting for the client to read the answer", limit }),
        }
    }

    /// A list of whatever `each` writes.
    pub(super) fn list<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Json, T),
    ) -> Result<(), QueryError> {
        self.json.raw("[");
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                self.json.raw(",");
            }
            each(&mut self.json, item);
            self.part_done()?;
        }
        self.json.raw("]");
        Ok(())
    }
}

/// All of `items`; the label sets of some of them are read ahead.
pub(super) fn reading_ahead<T>(items: Vec<T>, labels_of: impl Fn(&T) -> &Labels) -> impl Iterator<Item = T> {
    let (mut items, mut ahead) = (items.into_iter(), 0);
    std::iter::from_fn(move || {
        if ahead == 0 {
            let next = items.as_slice();
            ahead = next.len().min(READ_AHEAD);
            read_ahead(next[..ahead].iter().map(&labels_of));
        }
        ahead = ahead.saturating_sub(1);
        items.next()
    })
}

/// Responds with what `answering` writes into the sink of `parts`. Its error is the response as long as nothing was
/// written; after that it cuts the body off, so that half an answer is never taken for a whole one. `answering` is dropped
/// when nobody wants the response any more.
pub(super) async fn respond(
    Parts(mut parts): Parts,
    mut answering: BoxFuture<'static, Result<(), QueryError>>,
) -> Result<Response, QueryError> {
    let earlier = match select(pin!(parts.recv()), &mut answering).await {
        Either::Left((first, _)) => Some(first),
        Either::Right((result, _)) => {
            result?;
            None
        }
    };
    let (first, answering) = match earlier {
        Some(first) => (first, Some(answering)),
        None => (parts.recv().await, None),
    };
    let body = match first {
        Some(Part::More(first)) => {
            let answering = answering.map(|answering| AbortOnDropHandle::new(tokio::spawn(answering)));
            let rest = stream::try_unfold(Some((parts, answering)), following);
            Body::from_stream(stream::once(std::future::ready(Ok(first))).chain(rest))
        }
        first => {
            if let Some(answering) = answering {
                answering.await?;
            }
            let Some(Part::Last(whole)) = first else { return Err(QueryError::Internal) };
            Body::from(whole)
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    Ok(response)
}

/// What is left to send, and who writes it unless that is done. `None` after the last part.
type Rest = Option<(mpsc::Receiver<Part>, Option<AbortOnDropHandle<Result<(), QueryError>>>)>;

async fn following(rest: Rest) -> io::Result<Option<(Bytes, Rest)>> {
    let Some((mut parts, answering)) = rest else { return Ok(None) };
    match parts.recv().await {
        Some(Part::More(part)) => Ok(Some((part, Some((parts, answering))))),
        Some(Part::Last(part)) => {
            // It is done, and counts as done before the client has the answer.
            if let Some(answering) = answering {
                _ = answering.await;
            }
            Ok(Some((part, None)))
        }
        None => Err(io::Error::other("the answer was given up while it was sent")),
    }
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

/// How much of a query's cost is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stats {
    #[default]
    None,
    /// All but the samples of each step.
    Some,
    All,
}

/// What a request wants beside the result.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) stats: Stats,
    /// At most so many series.
    pub(super) limit: Option<usize>,
}

pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// Writes the answer to a query.
pub(super) fn answer(
    sink: Sink,
    deadline: &Deadline,
    answer: Answer,
    wanted: Wanted,
) -> Result<(), QueryError> {
    let Answer { mut output, mut warnings, cost } = answer;
    let is_truncated = wanted.limit.is_some_and(|limit| truncate(&mut output.value, limit));
    warnings.extend(output.warnings.iter().map(ToString::to_string));
    if is_truncated {
        warnings.push(TRUNCATED.to_owned());
    }
    let infos: Vec<String> = output.infos.iter().map(ToString::to_string).collect();
    sink.success(deadline, &warnings, &infos, |writer| {
        write_value(writer, output.value)?;
        if wanted.stats != Stats::None {
            let per_step = &output.samples_per_step;
            write_stats(writer, &output.stats, per_step, wanted.stats == Stats::All, cost)?;
        }
        writer.json.raw("}");
        Ok(())
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

/// The data object without its closing brace. What was written is no longer in memory.
fn write_value(writer: &mut Writer<'_>, value: Value) -> Result<(), QueryError> {
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
            json.plain_float(timestamp_ms as f64 / 1000.0);
            json.raw(",");
            json.string(&text);
            json.raw("]");
        }
        Value::Vector(samples) => {
            writer.json.raw("{\"resultType\":\"vector\",\"result\":");
            let samples = reading_ahead(samples, |sample| &sample.labels);
            writer.list(samples, |json, sample| write_vector_sample(json, &sample))?;
        }
        Value::Matrix(series) => {
            writer.json.raw("{\"resultType\":\"matrix\",\"result\":[");
            let series = reading_ahead(series, |series| &series.labels);
            for (place, series) in series.enumerate() {
                if place > 0 {
                    writer.json.raw(",");
                }
                write_matrix_series(writer, &series)?;
            }
            writer.json.raw("]");
        }
    }
    Ok(())
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

fn write_matrix_series(writer: &mut Writer<'_>, series: &MatrixSeries) -> Result<(), QueryError> {
    writer.json.raw("{\"metric\":");
    writer.json.labels(&series.labels);
    if !series.floats.is_empty() {
        writer.json.raw(",\"values\":");
        writer
            .list(&series.floats, |json, (timestamp_ms, value)| write_point(json, *timestamp_ms, *value))?;
    }
    if !series.histograms.is_empty() {
        writer.json.raw(",\"histograms\":");
        writer.list(&series.histograms, |json, (timestamp_ms, histogram)| {
            write_histogram_point(json, *timestamp_ms, histogram);
        })?;
    }
    writer.json.raw("}");
    Ok(())
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
            json.raw(match (bucket.lower_inclusive, bucket.upper_inclusive) {
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

/// A point takes so many bytes in Prometheus, whose peak of samples is a peak of memory.
const BYTES_A_POINT: u64 = 16;

/// What the query cost: first what Prometheus tells, by its names, then what it has no name for.
fn write_stats(
    writer: &mut Writer<'_>,
    stats: &promql::QueryStats,
    per_step: &[(i64, u64)],
    with_steps: bool,
    cost: Cost,
) -> Result<(), QueryError> {
    let evaluated = cost.preparation + cost.evaluation;
    let timings = [
        ("evalTotalTime", evaluated),
        // A part of the evaluation.
        ("resultSortTime", Duration::ZERO),
        ("queryPreparationTime", cost.preparation),
        ("innerEvalTime", cost.evaluation),
        ("execQueueTime", cost.queue),
        ("execTotalTime", cost.queue + evaluated),
    ];
    writer.json.raw(",\"stats\":{\"timings\":{");
    for (place, (name, time)) in timings.into_iter().enumerate() {
        if place > 0 {
            writer.json.raw(",");
        }
        writer.json.string(name);
        writer.json.raw(":");
        writer.json.plain_float(time.as_secs_f64());
    }
    writer.json.raw("},\"samples\":{");
    if with_steps {
        writer.json.raw("\"totalQueryableSamplesPerStep\":");
        writer.list(per_step, |json, (timestamp_ms, samples)| {
            json.raw("[");
            json.timestamp(*timestamp_ms);
            json.raw(",");
            json.number(*samples);
            json.raw("]");
        })?;
        writer.json.raw(",");
    }
    let json = &mut writer.json;
    json.raw("\"totalQueryableSamples\":");
    json.number(per_step.iter().map(|(_, samples)| samples).sum());
    json.raw(",\"peakSamples\":");
    json.number(stats.peak_memory_bytes / BYTES_A_POINT);
    json.raw("}");
    for (name, number) in [
        ("seriesRead", stats.series),
        ("samplesRead", stats.samples),
        ("peakMemoryBytes", stats.peak_memory_bytes),
        ("storedPartitionsRead", cost.cold_partitions),
        ("storedBytesRead", cost.cold_bytes),
    ] {
        json.raw(",");
        json.string(name);
        json.raw(":");
        json.number(number);
    }
    json.raw("}");
    Ok(())
}

#[cfg(test)]
mod tests;
