//! The two public APIs that everything here goes through: Prometheus remote write and the Prometheus query API.

use std::collections::BTreeMap;

use bytes::Bytes;
use hyper::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use hyper::{Method, StatusCode};
use serde::Deserialize;

use crate::http::{Connection, Endpoint, HttpError, Response};
use crate::proto::EncodedLabels;

const REMOTE_WRITE_VERSION: HeaderName = HeaderName::from_static("x-prometheus-remote-write-version");

/// A request that did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer.
    #[error("the request was not answered")]
    Unanswered(#[from] HttpError),
    /// An answer that says no.
    #[error("answered {status}: {message}")]
    Refused {
        /// The status, not 2xx.
        status: StatusCode,
        /// The beginning of the body.
        message: String,
    },
    /// A 2xx that is not what the query API answers.
    #[error("the answer is not that of a Prometheus query API: {body}")]
    NotUnderstood {
        /// Its beginning.
        body: String,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

impl ApiError {
    /// A short name, so that errors of one kind can be counted together.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Unanswered(HttpError::Connect { .. }) => "no connection".to_owned(),
            Self::Unanswered(HttpError::TimedOut) => "timed out".to_owned(),
            Self::Unanswered(HttpError::Broken(_) | HttpError::Unsendable(_)) => {
                "connection broke".to_owned()
            }
            Self::Refused { status, .. } => format!("HTTP {}", status.as_u16()),
            Self::NotUnderstood { .. } => "not understood".to_owned(),
        }
    }
}

/// A series' labels as one text that is equal when the labels are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey(String);

impl SeriesKey {
    fn from_sorted<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let pairs: Vec<String> = labels.map(|(name, value)| format!("{name}={value:?}")).collect();
        Self(format!("{{{}}}", pairs.join(",")))
    }
}

impl From<&EncodedLabels> for SeriesKey {
    fn from(labels: &EncodedLabels) -> Self {
        let labels = labels.decode();
        Self::from_sorted(labels.iter().map(|label| (label.name.as_str(), label.value.as_str())))
    }
}

impl std::fmt::Display for SeriesKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct QueriedSeries {
    /// Which one.
    pub key: SeriesKey,
    /// Unix milliseconds and value, as they came.
    pub samples: Vec<(i64, f64)>,
}

/// A client on one connection.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

impl Client {
    /// Connects with the first request.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { connection: Connection::new(endpoint) }
    }

    /// Sends one remote-write request; `Ok` is the server's ack.
    ///
    /// # Errors
    /// When it is not acked, which may leave it done or not.
    pub async fn write(&mut self, body: Bytes) -> Result<(), ApiError> {
        let headers = [
            (CONTENT_TYPE, "application/x-protobuf"),
            (CONTENT_ENCODING, "snappy"),
            (REMOTE_WRITE_VERSION, "0.1.0"),
        ];
        let response = self.connection.send(Method::POST, "/api/v1/write", &headers, body).await?;
        success(response).map(|_| ())
    }

    /// Whether `path` answers 2xx.
    pub async fn is_ok(&mut self, path: &str) -> bool {
        let response = self.connection.send(Method::GET, path, &[], Bytes::new()).await;
        response.is_ok_and(|response| response.status.is_success())
    }

    /// An instant query: the samples of a vector, or all samples of a range selector.
    ///
    /// # Errors
    /// When there is no such answer.
    pub async fn query(&mut self, promql: &str, time_ms: i64) -> Result<Vec<QueriedSeries>, ApiError> {
        let seconds = format!("{}.{:03}", time_ms.div_euclid(1000), time_ms.rem_euclid(1000));
        let form = format!("query={}&time={seconds}", percent_encode(promql));
        let headers = [(CONTENT_TYPE, "application/x-www-form-urlencoded"), (ACCEPT, "application/json")];
        let response = self.connection.send(Method::POST, "/api/v1/query", &headers, form.into()).await?;
        parse_answer(&success(response)?)
    }

    /// The body of the answer to a form that is posted, or to a GET without one.
    ///
    /// # Errors
    /// When there is none, or it says no.
    pub async fn ask(&mut self, path: &str, form: Option<&str>) -> Result<Bytes, ApiError> {
        let headers = [(CONTENT_TYPE, "application/x-www-form-urlencoded"), (ACCEPT, "application/json")];
        let response = match form {
            Some(form) => self.connection.send(Method::POST, path, &headers, form.to_owned().into()).await?,
            None => self.connection.send(Method::GET, path, &headers[1..], Bytes::new()).await?,
        };
        success(response)
    }
}

/// Reads the answer to a query.
///
/// # Errors
/// When it is none, or its result is neither a vector nor a matrix.
pub fn parse_answer(body: &[u8]) -> Result<Vec<QueriedSeries>, ApiError> {
    let answer: Answer = parse_json(body)?;
    Ok(answer.data.result.into_iter().map(QueriedSeries::from).collect())
}

/// Reads an answer of any form.
///
/// # Errors
/// When it has another form.
pub fn parse_json<'de, T: Deserialize<'de>>(body: &'de [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|source| ApiError::NotUnderstood { body: beginning(body), source })
}

#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<AnsweredSeries>,
}

#[derive(Deserialize)]
struct AnsweredSeries {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<AnsweredSample>,
    #[serde(default)]
    values: Vec<AnsweredSample>,
}

/// Seconds and the value as text.
#[derive(Deserialize)]
struct AnsweredSample(f64, #[serde(deserialize_with = "float_text")] f64);

fn float_text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
    text.parse().map_err(serde::de::Error::custom)
}

impl From<AnsweredSeries> for QueriedSeries {
    fn from(series: AnsweredSeries) -> Self {
        let key =
            SeriesKey::from_sorted(series.metric.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let samples = series.value.into_iter().chain(series.values);
        Self { key, samples: samples.map(|sample| ((sample.0 * 1000.0).round() as i64, sample.1)).collect() }
    }
}

/// The body of an answer that says yes.
///
/// # Errors
/// When it says no.
pub fn success(response: Response) -> Result<Bytes, ApiError> {
    if response.status.is_success() {
        return Ok(response.body);
    }
    Err(ApiError::Refused { status: response.status, message: beginning(&response.body) })
}

fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(300)]).trim().to_owned()
}

/// The text as a part of a form or a URL's query.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    use std::fmt::Write;
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Vec<QueriedSeries> {
        let answer: Answer = serde_json::from_str(json).unwrap();
        answer.data.result.into_iter().map(QueriedSeries::from).collect()
    }

    #[test]
    fn vectors_and_matrices_are_read() {
        let vector = parse(
            r#"{"status":"success","data":{"resultType":"vector","result":[
                {"metric":{"job":"a","__name__":"up"},"value":[1700000000.123,"+Inf"]}]}}"#,
        );
        let labels = EncodedLabels::new([("job", "a"), ("__name__", "up")]);
        let expected = QueriedSeries {
            key: SeriesKey::from(&labels),
            samples: vec![(1_700_000_000_123, f64::INFINITY)],
        };
        assert_eq!(vector, [expected]);

        let matrix = parse(r#"{"data":{"result":[{"metric":{},"values":[[1,"0.1"],[1.001,"-2e-7"]]}]}}"#);
        assert_eq!(matrix[0].samples, [(1000, 0.1), (1001, -2e-7)]);
        assert!(
            parse(r#"{"data":{"result":[{"metric":{},"values":[[1,"NaN"]]}]}}"#)[0].samples[0].1.is_nan()
        );
    }

    #[test]
    fn an_answer_of_another_shape_is_an_error() {
        for json in ["{}", r#"{"data":{"result":[{"metric":{},"values":[[1,"x"]]}]}}"#, "<html>"] {
            assert!(serde_json::from_str::<Answer>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn series_keys_do_not_confuse_labels() {
        let key = |labels: &[(&str, &str)]| SeriesKey::from(&EncodedLabels::new(labels.iter().copied()));
        assert_eq!(key(&[("a", "1"), ("b", "2")]), key(&[("b", "2"), ("a", "1")]));
        assert_ne!(key(&[("a", "1\",b=\"2")]), key(&[("a", "1"), ("b", "2")]));
        assert_eq!(key(&[("b", "2"), ("a", "1")]).to_string(), r#"{a="1",b="2"}"#);
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(percent_encode(r#"up{a="ä b"}[5m]"#), "up%7Ba%3D%22%C3%A4%20b%22%7D%5B5m%5D");
    }
}
