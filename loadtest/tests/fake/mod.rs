//! A server that has remote write and range selectors and nothing else, and that can be made to fail.

#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use loadtest::proto::WriteRequest;
use loadtest::workload::is_stale_marker;
use prost::Message;
use tokio::net::TcpListener;

/// How the server fails.
#[allow(dead_code, reason = "each test program uses some of them")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It does not.
    None,
    /// One sample of an acked request is gone.
    LoseOne,
    /// One sample has another value.
    AlterOne,
    /// One sample comes twice in answers.
    RepeatOne,
    /// Acks are sent for a second before anything is kept.
    AckFirst,
    /// Every third request is refused, but kept.
    RefuseSomeButKeep,
    /// Every third request is refused, and not kept.
    RefuseSome,
}

/// Samples by labels.
type Series = BTreeMap<Vec<(String, String)>, Vec<(i64, f64)>>;

pub(crate) struct FakeServer {
    fault: Fault,
    /// Where bodies are kept, each behind its length, for servers that are killed.
    journal: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    series: Series,
    requests: usize,
    samples: usize,
    /// What [`Fault::AckFirst`] has acked and not kept.
    unkept: Vec<u8>,
}

impl FakeServer {
    pub(crate) fn new(fault: Fault, journal: Option<PathBuf>) -> Arc<Self> {
        let server = Self { fault, journal, state: Mutex::default() };
        let mut kept = Vec::new();
        if let Some(Ok(mut file)) = server.journal.as_ref().map(File::open) {
            file.read_to_end(&mut kept).unwrap();
        }
        let mut kept = &kept[..];
        while let Some((len, rest)) = kept.split_first_chunk::<8>() {
            // The last body may have been cut off by the kill: it was not acked.
            let Some((body, rest)) = rest.split_at_checked(usize::from_le_bytes(*len)) else { break };
            server.insert(body, &mut server.state.lock().unwrap());
            kept = rest;
        }
        Arc::new(server)
    }

    /// Samples that it has, each of them once.
    #[allow(dead_code, reason = "not each test program counts")]
    pub(crate) fn distinct_samples(&self) -> u64 {
        let state = self.state.lock().unwrap();
        let distinct = |samples: &Vec<(i64, f64)>| {
            samples
                .iter()
                .map(|(timestamp_ms, _)| timestamp_ms)
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        };
        state.series.values().map(distinct).sum::<usize>() as u64
    }

    /// Serves until the runtime ends.
    pub(crate) async fn listen(self: Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = self.clone();
                let service = service_fn(move |request| server.clone().answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        address
    }

    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let (status, text) = match path.as_str() {
            "/readyz" => (200, String::new()),
            "/api/v1/write" => (self.write(&body), "a message".to_owned()),
            "/api/v1/query" => (200, self.query(&body)),
            _ => (404, String::new()),
        };
        Ok(Response::builder().status(status).body(Full::new(text.into())).unwrap())
    }

    fn write(&self, body: &[u8]) -> u16 {
        let mut state = self.state.lock().unwrap();
        state.requests += 1;
        let refused = state.requests.is_multiple_of(3);
        match self.fault {
            Fault::RefuseSome if refused => return 503,
            Fault::RefuseSomeButKeep if refused => {
                self.insert(body, &mut state);
                return 503;
            }
            _ => {}
        }
        if let Some(journal) = &self.journal {
            state.unkept.extend(body.len().to_le_bytes());
            state.unkept.extend(body);
            if self.fault != Fault::AckFirst || state.requests.is_multiple_of(200) {
                let mut file = File::options().create(true).append(true).open(journal).unwrap();
                file.write_all(&std::mem::take(&mut state.unkept)).unwrap();
            }
        }
        self.insert(body, &mut state);
        204
    }

    fn insert(&self, body: &[u8], state: &mut State) {
        let message = snap::raw::Decoder::new().decompress_vec(body).unwrap();
        for series in WriteRequest::decode(&*message).unwrap().timeseries {
            let labels = series.labels.into_iter().map(|label| (label.name, label.value)).collect();
            let samples = state.series.entry(labels).or_default();
            for sample in series.samples {
                state.samples += 1;
                // Neither the first nor the last, so that nobody finds it by looking at the ends only.
                let (copies, value) = match self.fault {
                    Fault::LoseOne if state.samples == 777 => (0, sample.value),
                    Fault::AlterOne if state.samples == 777 => (1, sample.value + 1.0),
                    Fault::RepeatOne if state.samples == 777 => (2, sample.value),
                    _ => (1, sample.value),
                };
                samples.retain(|(timestamp_ms, _)| *timestamp_ms != sample.timestamp);
                samples.extend(std::iter::repeat_n((sample.timestamp, value), copies));
            }
        }
    }

    /// Answers `query=NAME{LABEL="VALUE",...}[Nms]&time=SECONDS`.
    fn query(&self, form: &[u8]) -> String {
        let form = String::from_utf8(form.to_vec()).unwrap();
        let (query, time) = form.strip_prefix("query=").unwrap().split_once("&time=").unwrap();
        let query = percent_decode(query);
        let (selector, range) = query.rsplit_once('[').unwrap();
        let (name, matchers) = selector.trim_end_matches('}').split_once('{').unwrap();
        let wanted: Vec<(&str, &str)> = matchers
            .split(',')
            .map(|matcher| matcher.split_once('=').unwrap())
            .map(|(label, value)| (label, value.trim_matches('"')))
            .chain([("__name__", name)])
            .collect();
        let range_ms: i64 = range.trim_end_matches("ms]").parse().unwrap();
        let end_ms = (time.parse::<f64>().unwrap() * 1000.0).round() as i64;
        let state = self.state.lock().unwrap();
        let found = state.series.iter().filter(|(labels, _)| {
            let has = |(label, value): &(&str, &str)| labels.iter().any(|(l, v)| l == label && v == value);
            wanted.iter().all(has)
        });
        let result: Vec<_> = found
            .map(|(labels, samples)| {
                let values: Vec<_> = samples
                    .iter()
                    .filter(|(timestamp_ms, _)| (end_ms - range_ms..=end_ms).contains(timestamp_ms))
                    .filter(|(_, value)| !is_stale_marker(*value))
                    .map(|(timestamp_ms, value)| (*timestamp_ms as f64 / 1000.0, value.to_string()))
                    .collect();
                let labels: BTreeMap<_, _> = labels.iter().cloned().collect();
                serde_json::json!({ "metric": labels, "values": values })
            })
            .collect();
        serde_json::json!({ "status": "success", "data": { "resultType": "matrix", "result": result } })
            .to_string()
    }
}

fn percent_decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        decoded.push(u8::from_str_radix(&part[..2], 16).unwrap());
        decoded.extend(part[2..].bytes());
    }
    String::from_utf8(decoded).unwrap()
}
