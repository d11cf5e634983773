//! Where telemetry says that it comes from, counted.

use http::StatusCode;
use ingest_service::CloudPlace;
use tenancy::{LimitName, Limits};

use crate::support::messages::{WriteRequest, request, series};
use crate::support::{NOW_MS, Setup, World, post};

fn taken(world: &World) -> Vec<(String, CloudPlace, u64)> {
    let mut taken: Vec<_> = world
        .ingest
        .take_footprints()
        .into_iter()
        .map(|(tenant, place, seen)| {
            assert_eq!((seen.first_ms, seen.last_ms), (NOW_MS, NOW_MS));
            (tenant.to_string(), place, seen.samples)
        })
        .collect();
    taken.sort_by_key(|(_, _, samples)| std::cmp::Reverse(*samples));
    taken
}

#[tokio::test]
async fn resources_of_otlp_are_counted_by_place_to_the_sample() {
    let world = World::new();
    let attribute =
        |key: &str, value: &str| serde_json::json!({ "key": key, "value": { "stringValue": value } });
    let resource = |attributes: Vec<serde_json::Value>, points: usize| {
        let point = serde_json::json!({ "timeUnixNano": (NOW_MS * 1_000_000).to_string(), "asDouble": 1.0 });
        let metric = |i| serde_json::json!({ "name": format!("m{i}"), "gauge": { "dataPoints": [point] } });
        let metrics: Vec<_> = (0..points).map(metric).collect();
        serde_json::json!({ "resource": { "attributes": attributes }, "scopeMetrics": [{ "metrics": metrics }] })
    };
    let dublin = || {
        vec![
            attribute("cloud.provider", "aws"),
            attribute("cloud.region", "eu-west-1"),
            attribute("cloud.availability_zone", "eu-west-1b"),
        ]
    };
    let body = serde_json::json!({ "resourceMetrics": [
        resource(dublin(), 5),
        resource(vec![attribute("service.name", "nowhere")], 9),
        resource(vec![attribute("cloud.provider", "gcp")], 4),
        resource(dublin(), 2),
        resource(vec![attribute("cloud.region", "westeurope")], 3),
    ] });
    let json = [("content-type", "application/json")];
    for _ in 0..2 {
        let answer = world.send(post("/v1/metrics", Some(&world.keys.acme), &json, body.to_string())).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    }
    let place = |provider: &str, region: &str, zone: &str| CloudPlace {
        provider: provider.to_owned(),
        region: region.to_owned(),
        zone: zone.to_owned(),
    };
    assert_eq!(
        taken(&world),
        [
            ("acme".to_owned(), place("aws", "eu-west-1", "eu-west-1b"), 14),
            ("acme".to_owned(), place("", "westeurope", ""), 6)
        ]
    );
    assert!(taken(&world).is_empty(), "each is told once");
}

#[tokio::test]
async fn labels_of_remote_write_are_sampled() {
    let world = World::new();
    let names: Vec<String> = (0..200).map(|i| format!("m{i}")).collect();
    let labels = |i: usize| {
        let region = if i.is_multiple_of(4) { "us-east-1" } else { "eu-north-1" };
        [("__name__", names[i].as_str()), ("cloud_region", region)]
    };
    let timeseries = (0..200).map(|i| series(&labels(i), &[(NOW_MS, 1.0)])).collect();
    let message = WriteRequest { timeseries, metadata: Vec::new() };
    for _ in 0..61 {
        assert_eq!(world.write(&message).await.status, StatusCode::NO_CONTENT);
    }
    // Each of the 200 samples had its turn once in 61 requests, and counted 61 times.
    let taken = taken(&world);
    let counts: Vec<(&str, u64)> =
        taken.iter().map(|(_, place, samples)| (place.region.as_str(), *samples)).collect();
    assert_eq!(counts, [("eu-north-1", 150 * 61), ("us-east-1", 50 * 61)]);
}

#[tokio::test]
async fn limits_that_are_nearly_reached_are_told_with_their_greatest_use() {
    let limits = Limits { active_series: Some(5), ..Limits::unlimited() };
    let world = World::with(Setup { limits, ..Setup::default() });
    world.write(&request(&["a", "b", "c"])).await;
    assert!(world.ingest.take_nearly().is_empty());
    for names in [&["a", "b", "c", "d"][..], &["e"], &["a"]] {
        assert_eq!(world.write(&request(names)).await.status, StatusCode::NO_CONTENT);
    }
    let taken = world.ingest.take_nearly();
    assert_eq!(taken.len(), 1);
    let (tenant, near) = &taken[0];
    assert_eq!(
        (tenant.as_str(), near.limit, near.allowed, near.used),
        ("acme", LimitName::ActiveSeries, 5, 5)
    );
    assert!(world.ingest.take_nearly().is_empty());
}
