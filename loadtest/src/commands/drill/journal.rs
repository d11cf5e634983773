//! What one writer has sent, and what must be there of it. Values follow from series and timestamp, so that this needs no second store.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;

use crate::api::SeriesKey;
use crate::proto::{EncodedLabels, RequestBuilder};
use crate::verify::{ExpectedSeries, Group, Sent};

/// One writer with all that it has sent. Each request has one sample of each of its series, a millisecond after the last one's.
#[derive(Debug)]
pub(super) struct Journal {
    name: String,
    run: String,
    series: Vec<EncodedLabels>,
    first_timestamp_ms: i64,
    /// When each request was acked first.
    acked: Vec<Option<Instant>>,
}

impl Journal {
    pub(super) fn new(writer: u32, series: u32, run: &str, first_timestamp_ms: i64) -> Self {
        let name = writer.to_string();
        let labels = |series: u32| {
            let series = series.to_string();
            let pairs = [
                ("__name__", "loadtest_drill"),
                ("job", "loadtest"),
                ("run", run),
                ("series", &series),
                ("writer", &name),
            ];
            EncodedLabels::new(pairs)
        };
        let series = (0..series).map(labels).collect();
        Self { name, run: run.to_owned(), series, first_timestamp_ms, acked: Vec::new() }
    }

    /// Requests that were begun.
    pub(super) fn len(&self) -> usize {
        self.acked.len()
    }

    /// Requests that were acked.
    pub(super) fn acked_len(&self) -> usize {
        self.acked.iter().flatten().count()
    }

    /// Begins another request and returns its number.
    pub(super) fn begin(&mut self) -> usize {
        self.acked.push(None);
        self.acked.len() - 1
    }

    /// Notes that a request was acked; that of one which is sent again counts no more.
    pub(super) fn ack(&mut self, request: usize, at: Instant) {
        if let Some(acked) = self.acked.get_mut(request) {
            acked.get_or_insert(at);
        }
    }

    /// The request's body.
    pub(super) fn body(&self, request: usize) -> Bytes {
        let timestamp_ms = self.timestamp_ms(request);
        let mut body = RequestBuilder::default();
        for (series, labels) in self.series.iter().enumerate() {
            body.push(labels, value_of(&self.name, series, timestamp_ms), timestamp_ms);
        }
        body.finish().unwrap_or_default()
    }

    /// What must be there of some requests, or may be: those count as acked that were by `acked_by`.
    pub(super) fn expected(&self, requests: Range<usize>, acked_by: Instant) -> Group {
        let requests = requests.start..requests.end.min(self.acked.len());
        let sent = |series: usize| {
            let sample = |request: usize| {
                let timestamp_ms = self.timestamp_ms(request);
                let value = value_of(&self.name, series, timestamp_ms);
                Sent { timestamp_ms, value, acked: self.acked[request].is_some_and(|at| at <= acked_by) }
            };
            requests.clone().map(sample).collect()
        };
        let series = self.series.iter().enumerate();
        let series =
            series.map(|(index, labels)| ExpectedSeries { key: SeriesKey::from(labels), sent: sent(index) });
        let selector = format!("loadtest_drill{{run={:?},writer={:?}}}", self.run, self.name);
        Group { selector, series: series.collect() }
    }

    fn timestamp_ms(&self, request: usize) -> i64 {
        self.first_timestamp_ms + request as i64
    }
}

/// The value that a series has at a time: 52 bits that look random, so that no other sample has the same.
fn value_of(writer: &str, series: usize, timestamp_ms: i64) -> f64 {
    let mut hash = timestamp_ms as u64;
    for part in writer.bytes().map(u64::from).chain([0x100, series as u64]) {
        // SplitMix64's finalizer.
        hash = hash.wrapping_add(part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^= hash >> 31;
    }
    (hash >> 12) as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    #[test]
    fn values_differ_and_survive_as_text() {
        let mut seen = std::collections::HashSet::new();
        for writer in ["1", "11"] {
            for series in 0..50 {
                for timestamp_ms in 1_700_000_000_000..1_700_000_000_050 {
                    let value = value_of(writer, series, timestamp_ms);
                    assert_eq!(value.to_string().parse(), Ok(value));
                    assert!(seen.insert(value.to_bits()));
                }
            }
        }
    }

    #[test]
    fn what_was_acked_late_need_not_be_there_yet() {
        let mut journal = Journal::new(3, 2, "run", 1_000);
        let now = clock::now();
        for _ in 0..3 {
            journal.begin();
        }
        journal.ack(0, now);
        journal.ack(2, now + Duration::from_secs(1));
        journal.ack(0, now + Duration::from_secs(2));
        let acked = |requests, by| -> Vec<(i64, bool)> {
            let group = journal.expected(requests, by);
            assert_eq!(group.series.len(), 2);
            group.series[1].sent.iter().map(|sent| (sent.timestamp_ms, sent.acked)).collect()
        };
        assert_eq!(acked(0..9, now), [(1_000, true), (1_001, false), (1_002, false)]);
        assert_eq!(acked(1..3, now + Duration::from_secs(1)), [(1_001, false), (1_002, true)]);
        assert_eq!(journal.acked_len(), 2);
    }
}
