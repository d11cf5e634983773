use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;
use prost::Message;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use telemetry::TenantId;
use tenancy::Tenant;
use wire::remote_write::Version;

use super::*;
use crate::decode::{DecodeContext, decode};
use crate::tenants::Tenants;

const NOW_MS: i64 = 1_790_000_000_000;

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// A series of a request: its name (`None` for bad labels), whether its labels come in the other order, and for each
/// sample whether its time is good.
type Sent = (Option<u8>, bool, Vec<bool>);

fn to_message(request: &[Sent]) -> Vec<u8> {
    let label = |name: &str, value: String| Label { name: name.to_owned(), value };
    let timeseries = request
        .iter()
        .map(|(name, reversed, samples)| {
            let mut labels = vec![label("job", "j".to_owned())];
            labels.extend(name.map(|name| label("__name__", format!("m{name}"))));
            if *reversed {
                labels.reverse();
            }
            let samples = samples.iter().zip(1..).map(|(good, value)| Sample {
                value: f64::from(value),
                timestamp: if *good { NOW_MS } else { 0 },
            });
            TimeSeries { labels, samples: samples.collect() }
        })
        .collect();
    WriteRequest { timeseries }.encode_to_vec()
}

/// What should become of requests, told without keys, hashes or ranges.
#[derive(Default)]
struct Model {
    active: BTreeSet<u8>,
}

impl Model {
    /// The rows, in order of name and arrival, and how many samples are refused.
    fn receive(&mut self, request: &[Sent], limit: usize) -> (Vec<(String, f64)>, u64) {
        let mut rows = Vec::new();
        let mut refused = 0;
        for (name, _, samples) in request {
            let good: Vec<f64> = samples
                .iter()
                .zip(1..)
                .filter(|(good, _)| **good)
                .map(|(_, value)| f64::from(value))
                .collect();
            let full = self.active.len() >= limit;
            match name {
                Some(name) if self.active.contains(name) || (!full && !good.is_empty()) => {
                    self.active.insert(*name);
                    refused += (samples.len() - good.len()) as u64;
                    rows.extend(good.into_iter().map(|value| (format!("m{name}{{job=\"j\"}}"), value)));
                }
                _ => refused += samples.len() as u64,
            }
        }
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        (rows, refused)
    }
}

proptest! {
    /// Whatever is known, new, bad or above the limit, and however it is spelt: exactly the good samples of the series that
    /// may be there come out, each series is one, and all others are counted.
    #[test]
    fn rows_are_the_good_samples_of_allowed_series(
        requests in prop::collection::vec(
            prop::collection::vec(
                (prop::option::weighted(0.9, 0_u8..12), any::<bool>(), prop::collection::vec(any::<bool>(), 0..4)),
                0..12,
            ),
            1..5,
        ),
        limit in 0_usize..14,
        turn_after in 0_usize..5,
    ) {
        let tenants =
            Tenants::new(&mut ChaCha8Rng::seed_from_u64(1), u64::MAX, 0, Arc::new(|| Duration::ZERO), None);
        let limits = Limits { active_series: Some(limit as u64), ..Limits::unlimited() };
        let id = TenantId::new("t").unwrap();
        let (tenant, _) =
            tenants.state(&Tenant {
                id,
                shard: 0,
                retention_days: 1,
                limits: limits.clone(),
                highest_priority: tenancy::Priority::Normal,
            });
        let mut model = Model::default();
        for (number, request) in requests.iter().enumerate() {
            let context = DecodeContext {
                tenant: &tenant,
                tenant_limits: &limits,
                priorities_above: 0,
                wire_limits: &wire::Limits::DEFAULT,
                otlp: &wire::otlp::MetricOptions::default(),
                times: TimeRule::new(NOW_MS, Some(Duration::from_secs(60))),
                now: Duration::ZERO,
            };
            let message = crate::decode::Message::RemoteWrite(Version::V1);
            let decoded = decode(message, &to_message(request), &context).unwrap().register(&context);
            let (expected, refused) = model.receive(request, limit);

            let mut rows: Vec<(String, f64)> =
                decoded.rows.floats.iter().map(|row| (row.series.labels().to_string(), row.value)).collect();
            rows.sort_by(|a, b| a.0.cmp(&b.0));
            prop_assert_eq!(rows, expected);
            prop_assert_eq!(decoded.refusals.total_samples(), refused);
            prop_assert_eq!(tenant.registry.active_series(), model.active.len());
            let mut shared: Vec<&Arc<Series>> = decoded.rows.floats.iter().map(|row| &row.series).collect();
            shared.sort_by(|a, b| a.labels().cmp(b.labels()));
            prop_assert!(shared.windows(2).all(|two| Arc::ptr_eq(two[0], two[1]) == (two[0] == two[1])));
            if number == turn_after {
                // What was met in the generation stays, so the model need not know.
                tenant.registry.turn_generation();
                tenant.registry.rank();
            }
        }
    }
}
