//! What the service counts. Label values are fixed names: never a tenant.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use tenancy::LimitName;

use crate::refusals::RefusalReason;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All of it is durable.
    Accepted,
    /// A part was refused, the rest is durable.
    Partial,
    /// No credentials, or bad ones.
    Unauthenticated,
    /// Credentials of another scope.
    Forbidden,
    /// Malformed.
    BadRequest,
    /// Above a limit of size.
    TooLarge,
    /// Of a kind or in an encoding that is not taken.
    Unsupported,
    /// Above the tenant's rate, or its share of the memory for bodies.
    RateLimited,
    /// The body came too slowly.
    TimedOut,
    /// To be sent again: bucket away, memory short, shutdown.
    Unavailable,
    /// A bug.
    Internal,
}

impl Outcome {
    /// Every outcome, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Accepted,
        Self::Partial,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::BadRequest,
        Self::TooLarge,
        Self::Unsupported,
        Self::RateLimited,
        Self::TimedOut,
        Self::Unavailable,
        Self::Internal,
    ];

    /// The value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Partial => "partial",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::BadRequest => "bad_request",
            Self::TooLarge => "too_large",
            Self::Unsupported => "unsupported",
            Self::RateLimited => "rate_limited",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
        }
    }
}

/// The way by which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Prometheus remote write.
    RemoteWrite,
    /// OTLP over HTTP.
    OtlpHttp,
    /// OTLP over gRPC.
    OtlpGrpc,
}

impl Protocol {
    /// Every protocol, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::RemoteWrite, Self::OtlpHttp, Self::OtlpGrpc];

    /// The value of the metric's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RemoteWrite => "remote_write",
            Self::OtlpHttp => "otlp_http",
            Self::OtlpGrpc => "otlp_grpc",
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: [[AtomicU64; Outcome::ALL.len()]; Protocol::ALL.len()],
    pub(crate) float_samples: AtomicU64,
    pub(crate) histogram_samples: AtomicU64,
    pub(crate) exemplars: AtomicU64,
    pub(crate) refused_samples: [AtomicU64; RefusalReason::ALL.len()],
    pub(crate) refused_exemplars: AtomicU64,
    pub(crate) limited: [AtomicU64; LimitName::ALL.len()],
    pub(crate) limit_warnings: [AtomicU64; LimitName::ALL.len()],
    pub(crate) body_bytes: AtomicU64,
    pub(crate) decompressed_bytes: AtomicU64,
}

pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// What was counted since the process began, and what is held now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IngestSnapshot {
    /// Requests by [`Protocol`] and [`Outcome`].
    pub requests: [[u64; Outcome::ALL.len()]; Protocol::ALL.len()],
    /// Float samples made durable.
    pub float_samples: u64,
    /// Native-histogram samples made durable.
    pub histogram_samples: u64,
    /// Exemplars made durable.
    pub exemplars: u64,
    /// Samples refused while the rest of their request was kept, by [`RefusalReason`].
    pub refused_samples: [u64; RefusalReason::ALL.len()],
    /// Exemplars refused.
    pub refused_exemplars: u64,
    /// Requests refused for a tenant's limit, by [`LimitName`].
    pub limited: [u64; LimitName::ALL.len()],
    /// Requests that were told of a limit that is nearly reached, by [`LimitName`].
    pub limit_warnings: [u64; LimitName::ALL.len()],
    /// Bytes of request bodies as they arrived.
    pub body_bytes: u64,
    /// Bytes of request bodies after decompression.
    pub decompressed_bytes: u64,
    /// Bytes of request bodies in memory now.
    pub held_body_bytes: u64,
    /// Requests being worked on now.
    pub requests_in_flight: u64,
    /// Tenants that sent something lately.
    pub tenants: u64,
    /// Series that got something lately, of all tenants.
    pub active_series: u64,
    /// Spellings of series held in registries.
    pub series_keys: u64,
    /// Milliseconds since shares of limits were last leased; `None` where none ever were.
    pub lease_age_ms: Option<u64>,
    /// Version of the tenant directory in force.
    pub directory_version: u64,
    /// Milliseconds since the directory in force was last known to be the published one.
    pub directory_age_ms: u64,
}

impl Counters {
    /// The counted part of a snapshot.
    pub(crate) fn snapshot(&self) -> IngestSnapshot {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        IngestSnapshot {
            requests: std::array::from_fn(|protocol| {
                std::array::from_fn(|outcome| get(&self.requests[protocol][outcome]))
            }),
            float_samples: get(&self.float_samples),
            histogram_samples: get(&self.histogram_samples),
            exemplars: get(&self.exemplars),
            refused_samples: std::array::from_fn(|reason| get(&self.refused_samples[reason])),
            refused_exemplars: get(&self.refused_exemplars),
            limited: std::array::from_fn(|limit| get(&self.limited[limit])),
            limit_warnings: std::array::from_fn(|limit| get(&self.limit_warnings[limit])),
            body_bytes: get(&self.body_bytes),
            decompressed_bytes: get(&self.decompressed_bytes),
            ..IngestSnapshot::default()
        }
    }
}

impl IngestSnapshot {
    /// Appends everything in Prometheus's text format.
    pub fn write_prometheus(&self, out: &mut String) {
        let mut family = |name: &str, kind: &str, help: &str, samples: &[(String, f64)]| {
            // Writing to a string does not fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(out, "{name}{labels} {value}");
            }
        };
        let one = |value: u64| [(String::new(), value as f64)];
        let labelled = |name: &str, values: &[(&str, u64)]| -> Vec<(String, f64)> {
            values.iter().map(|(label, value)| (format!("{{{name}=\"{label}\"}}"), *value as f64)).collect()
        };
        let requests: Vec<(String, f64)> = Protocol::ALL
            .into_iter()
            .flat_map(|protocol| Outcome::ALL.map(|outcome| (protocol, outcome)))
            .map(|(protocol, outcome)| {
                let labels =
                    format!("{{protocol=\"{}\",outcome=\"{}\"}}", protocol.as_str(), outcome.as_str());
                (labels, self.requests[protocol as usize][outcome as usize] as f64)
            })
            .collect();
        family("farwatch_ingest_requests_total", "counter", "Write requests by how they ended.", &requests);
        let samples = labelled(
            "kind",
            &[
                ("float", self.float_samples),
                ("histogram", self.histogram_samples),
                ("exemplar", self.exemplars),
            ],
        );
        family("farwatch_ingest_samples_total", "counter", "Samples and exemplars made durable.", &samples);
        let refused =
            RefusalReason::ALL.map(|reason| (reason.as_str(), self.refused_samples[reason as usize]));
        family(
            "farwatch_ingest_refused_samples_total",
            "counter",
            "Samples refused while the rest of their request was kept.",
            &labelled("reason", &refused),
        );
        family(
            "farwatch_ingest_refused_exemplars_total",
            "counter",
            "Exemplars refused while the rest of their request was kept.",
            &one(self.refused_exemplars),
        );
        let by_limit = |counts: &[u64]| LimitName::ALL.map(|limit| (limit.as_str(), counts[limit as usize]));
        family(
            "farwatch_ingest_limited_requests_total",
            "counter",
            "Requests refused for a limit of their tenant.",
            &labelled("limit", &by_limit(&self.limited)),
        );
        family(
            "farwatch_ingest_limit_warnings_total",
            "counter",
            "Requests that were kept and told of a limit that is nearly reached.",
            &labelled("limit", &by_limit(&self.limit_warnings)),
        );
        let bytes =
            labelled("stage", &[("received", self.body_bytes), ("decompressed", self.decompressed_bytes)]);
        family("farwatch_ingest_body_bytes_total", "counter", "Bytes of request bodies.", &bytes);
        let gauges = [
            ("held_body_bytes", "Bytes of request bodies in memory.", self.held_body_bytes),
            ("requests_in_flight", "Write requests being worked on.", self.requests_in_flight),
            ("tenants", "Tenants that sent something lately.", self.tenants),
            ("active_series", "Series that got something lately.", self.active_series),
            ("series_keys", "Spellings of series held in registries.", self.series_keys),
        ];
        for (name, help, value) in gauges {
            family(&format!("farwatch_ingest_{name}"), "gauge", help, &one(value));
        }
        if let Some(age_ms) = self.lease_age_ms {
            family(
                "farwatch_ingest_lease_age_seconds",
                "gauge",
                "Time since shares of tenants' limits were last leased.",
                &[(String::new(), age_ms as f64 / 1000.0)],
            );
        }
        family(
            "farwatch_directory_version",
            "gauge",
            "Version of the tenant directory in force.",
            &one(self.directory_version),
        );
        family(
            "farwatch_directory_age_seconds",
            "gauge",
            "Time since the tenant directory in force was last known to be the published one.",
            &[(String::new(), self.directory_age_ms as f64 / 1000.0)],
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_numbers_fit_the_order() {
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
        }
        for (number, reason) in RefusalReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
        for (number, limit) in LimitName::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, number);
        }
        for (number, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, number);
        }
    }

    #[test]
    fn a_snapshot_is_written_in_prometheus_text() {
        let counters = Counters::default();
        add(&counters.float_samples, 3000);
        add(&counters.requests[Protocol::OtlpGrpc as usize][Outcome::Partial as usize], 2);
        let mut text = String::new();
        IngestSnapshot { directory_age_ms: 1500, ..counters.snapshot() }.write_prometheus(&mut text);
        for line in [
            "# TYPE farwatch_ingest_samples_total counter",
            "farwatch_ingest_samples_total{kind=\"float\"} 3000",
            "farwatch_ingest_requests_total{protocol=\"otlp_grpc\",outcome=\"partial\"} 2",
            "farwatch_ingest_active_series 0",
            "farwatch_directory_age_seconds 1.5",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
