//! A Prometheus server: started on an empty store, filled by remote write, asked over HTTP.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use libtest_mimic::Failed;
use promql::{SeriesSamples, Window};
use telemetry::{Histogram, Labels};

use crate::answer::Answer;
use crate::data::Store;

pub(crate) struct Server {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    pub(crate) fn start(binary: &OsStr) -> Result<Self, Failed> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("prometheus.yml"), "global: {}\n")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(binary)
            .current_dir(folder.path())
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg("--storage.tsdb.retention.time=100y")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .arg("--enable-feature=promql-experimental-functions,promql-duration-expr,native-histograms")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let server = Self { child, port, _folder: folder };
        for _ in 0..300 {
            if server.request("GET", "/-/ready", "text/plain", b"").is_ok_and(|(status, _)| status == 200) {
                return Ok(server);
            }
            // Its readiness can only be asked for.
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("the server does not become ready".into())
    }

    fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Result<(u16, String), Failed> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        let encoding = if path.ends_with("/write") { "Content-Encoding: snappy\r\n" } else { "" };
        // HTTP/1.0 spares chunks.
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: {kind}\r\n{encoding}Content-Length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
        let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).ok_or("no status")?;
        Ok((status, body.to_owned()))
    }

    /// Writes all series. A request takes a series' floats before its histograms, whatever their times, so each request
    /// has of each series the next run of one kind.
    pub(crate) fn load(&self, store: &Store) -> Result<(), Failed> {
        let mut rest: Vec<(&Labels, Vec<Encoded>)> =
            store.series.iter().map(|(labels, samples)| (labels, encoded(samples))).collect();
        while rest.iter().any(|(_, samples)| !samples.is_empty()) {
            let mut request = Vec::new();
            for (labels, samples) in rest.iter_mut().filter(|(_, samples)| !samples.is_empty()) {
                let kind = |sample: &Encoded| sample.1[0];
                let first = kind(&samples[0]);
                let run = samples.iter().take_while(|sample| kind(sample) == first).count();
                let mut series = Vec::new();
                encode_labels(labels, &mut series);
                for (_, sample) in samples.drain(..run) {
                    series.extend(sample);
                }
                message(1, &series, &mut request);
            }
            let (status, body) =
                self.request("POST", "/api/v1/write", "application/x-protobuf", &snappy(&request))?;
            if status / 100 != 2 {
                return Err(format!("remote write: {status} {body}").into());
            }
        }
        Ok(())
    }

    pub(crate) fn query(&self, query: &str, window: Window) -> Result<Answer, Failed> {
        let seconds = |ms: i64| ms as f64 / 1_000.0;
        let (path, times) = if window.is_instant() {
            ("/api/v1/query", format!("time={}", seconds(window.start_ms)))
        } else {
            let times = format!(
                "start={}&end={}&step={}",
                seconds(window.start_ms),
                seconds(window.end_ms),
                seconds(window.step_ms)
            );
            ("/api/v1/query_range", times)
        };
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let body = format!("query={encoded}&{times}");
        let (_, answer) = self.request("POST", path, "application/x-www-form-urlencoded", body.as_bytes())?;
        Ok(Answer::theirs(&serde_json::from_str(&answer)?))
    }
}

/// A sample's time and its bytes.
type Encoded = (i64, Vec<u8>);

/// A series' samples in the order of time, each as a field of a series.
fn encoded(samples: &SeriesSamples) -> Vec<Encoded> {
    let floats = samples.timestamps_ms.iter().zip(&samples.values).map(|(at_ms, value)| {
        let (mut sample, mut field) = (Vec::new(), Vec::new());
        double(1, *value, &mut sample);
        varint_field(2, *at_ms as u64, &mut sample);
        message(2, &sample, &mut field);
        (*at_ms, field)
    });
    let histograms = samples.histograms.iter().map(|(at_ms, histogram)| {
        let mut field = Vec::new();
        message(4, &encode_histogram(histogram, *at_ms), &mut field);
        (*at_ms, field)
    });
    let mut all: Vec<Encoded> = floats.chain(histograms).collect();
    all.sort_by_key(|(at_ms, _)| *at_ms);
    all
}

/// A snappy block of literals alone.
fn snappy(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    varint(data.len() as u64, &mut out);
    for chunk in data.chunks(1 << 16) {
        // Tag 61: the length, less 1, in two bytes.
        out.push(61 << 2);
        out.extend_from_slice(&((chunk.len() - 1) as u16).to_le_bytes());
        out.extend_from_slice(chunk);
    }
    out
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_field(field: u64, value: u64, out: &mut Vec<u8>) {
    varint(field << 3, out);
    varint(value, out);
}

fn double(field: u64, value: f64, out: &mut Vec<u8>) {
    varint(field << 3 | 1, out);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

fn message(field: u64, body: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(body.len() as u64, out);
    out.extend_from_slice(body);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn encode_labels(labels: &Labels, out: &mut Vec<u8>) {
    for (name, value) in labels {
        let mut label = Vec::new();
        message(1, name.as_bytes(), &mut label);
        message(2, value.as_bytes(), &mut label);
        message(1, &label, out);
    }
}

/// `prometheus.Histogram` of remote write 1.0, with float counts.
fn encode_histogram(histogram: &Histogram, at_ms: i64) -> Vec<u8> {
    let mut out = Vec::new();
    double(2, histogram.count, &mut out);
    double(3, histogram.sum, &mut out);
    varint_field(4, zigzag(histogram.schema.into()), &mut out);
    double(5, histogram.zero_threshold, &mut out);
    double(7, histogram.zero_count, &mut out);
    for (spans_field, counts_field, spans, counts) in [
        (8, 10, &histogram.negative_spans, &histogram.negative_buckets),
        (11, 13, &histogram.positive_spans, &histogram.positive_buckets),
    ] {
        for span in spans {
            let mut body = Vec::new();
            varint_field(1, zigzag(span.offset.into()), &mut body);
            varint_field(2, span.length.into(), &mut body);
            message(spans_field, &body, &mut out);
        }
        let packed: Vec<u8> = counts.iter().flat_map(|count| count.to_bits().to_le_bytes()).collect();
        message(counts_field, &packed, &mut out);
    }
    varint_field(14, histogram.counter_reset_hint.to_persisted().into(), &mut out);
    varint_field(15, at_ms as u64, &mut out);
    let bounds: Vec<u8> =
        histogram.custom_values.iter().flat_map(|bound| bound.to_bits().to_le_bytes()).collect();
    message(16, &bounds, &mut out);
    out
}
