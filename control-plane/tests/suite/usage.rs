//! Usage in the database is what the ledger has, whatever is repeated, lost or late.

use std::collections::BTreeMap;
use std::time::Duration;

use control_plane::billing::{Attribution, Dimension, Quantities, Resource, ResourceUse, Signal};
use control_plane::placement::Observation;
use control_plane::ports::{Activity, ActivityReport, Clock as _, FootprintSeen};
use http::Method;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

use crate::database::{Database, on_both_databases};
use crate::world::World;

on_both_databases!(
    usage_is_the_ledgers_whatever_is_repeated_crashes_or_comes_late,
    a_tenants_hours_are_its_own_and_a_months,
    it_is_said_until_when_usage_is_known,
    a_report_is_counted_once_however_often_it_comes,
    a_report_with_names_that_no_index_takes_stands_in_nobodys_way,
    what_the_operator_pays_is_seen_beside_what_comes_in,
);

/// 2026-09-21, 14:00 UTC.
const HOUR: i64 = 497_222;

async fn usage_is_the_ledgers_whatever_is_repeated_crashes_or_comes_late(database: &Database) {
    let mut world = World::new(database).await;
    let others = [world.another(1).await, world.another(2).await];
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        let ada = world.person(&format!("ada-{seed}")).await;
        let organisation = world.organisation(&ada).await;
        let tenants = [world.tenant(&ada, &organisation).await, world.tenant(&ada, &organisation).await];
        let mut committed: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for _ in 0..40 {
            match rng.random_range(0..10) {
                0..=3 => {
                    let tenant = &tenants[rng.random_range(0..2)];
                    let (hour, samples) = (HOUR - rng.random_range(0..30), rng.random_range(1..1_000_000));
                    world.records.samples(tenant, hour, samples);
                    *committed.entry((tenant.clone(), hour)).or_default() += samples;
                }
                4 => _ = world.control_plane.settle_usage().await,
                5 => {
                    let (one, two, three) = tokio::join!(
                        world.control_plane.settle_usage(),
                        others[0].settle_usage(),
                        others[1].settle_usage()
                    );
                    let _ = (one, two, three);
                }
                6 => world.records.set_behind(rng.random()),
                7 => world.records.set_out_of_reach(rng.random_range(0..3) == 0),
                8 => world.restart().await,
                _ => {
                    // It crashes in the middle of a round.
                    let settling = world.control_plane.settle_usage();
                    let _ =
                        tokio::time::timeout(Duration::from_millis(rng.random_range(0..4)), settling).await;
                }
            }
        }
        world.records.set_behind(false);
        world.records.set_out_of_reach(false);
        world.settle().await;
        let mut stored: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for tenant in &tenants {
            let usage = world.get(&format!("/tenants/{tenant}/usage"), &ada).await.expect(200).json();
            for hour in usage["hours"].as_array().unwrap() {
                let at = hour["hour_ms"].as_i64().unwrap() / 3_600_000;
                stored.insert((tenant.clone(), at), hour["samples"].as_u64().unwrap());
            }
        }
        assert_eq!(stored, committed, "seed {seed}");
        let path = format!("/organisations/{organisation}/usage");
        let usage = world.get(&path, &ada).await.expect(200).json();
        assert_eq!(usage["total"]["samples"], committed.values().sum::<u64>());
        let days = usage["days"].as_array().unwrap().iter().map(|day| day["samples"].as_u64().unwrap());
        assert_eq!(days.sum::<u64>(), committed.values().sum::<u64>());
    }
    for other in others {
        other.shut_down().await;
    }
}

async fn a_tenants_hours_are_its_own_and_a_months(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let (one, two) = (world.tenant(&ada, &organisation).await, world.tenant(&ada, &organisation).await);
    let more = Quantities { samples: 5, stored_bytes: 80, active_series: 2, ..Quantities::default() };
    world.records.commit(&one, Signal::Metrics, HOUR, more);
    let spans = Quantities { spans: 7, ..Quantities::default() };
    world.records.commit(&one, Signal::Traces, HOUR, spans);
    world.records.samples(&two, HOUR, 11);
    // A month before, and a tenant of nobody here.
    world.records.samples(&one, HOUR - 24 * 30, 13);
    world.records.samples("default", HOUR, 17);
    world.settle().await;

    let usage = world.get(&format!("/tenants/{one}/usage"), &ada).await.expect(200).json();
    assert_eq!(usage["total"], json!({ "samples": 5, "spans": 7, "bytes": 80, "series_hours": 2 }));
    assert_eq!(usage["month"], "2026-09");
    assert_eq!(usage["as_of_ms"], world.clock.now_ms());
    assert_eq!(usage["hours"].as_array().unwrap().len(), 2);
    assert_eq!(usage["hours"][1]["signal"], "traces");
    let august = world.get(&format!("/tenants/{one}/usage?month=2026-08"), &ada).await.expect(200).json();
    assert_eq!(august["total"]["samples"], 13);
    let all = world.get(&format!("/organisations/{organisation}/usage"), &ada).await.expect(200).json();
    assert_eq!(all["total"]["samples"], 16);
    // What a deleted tenant used stays.
    world.delete(&format!("/tenants/{two}"), &ada).await.expect(204);
    let all = world.get(&format!("/organisations/{organisation}/usage"), &ada).await.expect(200).json();
    assert_eq!(all["total"]["samples"], 16);
    for bad in ["2026-13", "2026", "x", "10000-01", "2026-9"] {
        let refused = world.get(&format!("/tenants/{one}/usage?month={bad}"), &ada).await;
        assert_eq!(refused.problem(422), "invalid_field", "{bad}");
    }
}

async fn it_is_said_until_when_usage_is_known(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let (one, two) = (world.tenant(&ada, &organisation).await, world.tenant(&ada, &organisation).await);
    let as_of = async |path: &str| world.get(path, &ada).await.expect(200).json()["as_of_ms"].clone();
    let paths = [
        format!("/tenants/{one}/usage"),
        format!("/tenants/{two}/usage"),
        format!("/organisations/{organisation}/usage"),
        format!("/organisations/{organisation}/invoices/2026-09"),
        format!("/organisations/{organisation}/invoices/2026-09/inputs"),
    ];
    // What was read is known, though something else could never be read.
    world.clock.advance(Duration::from_secs(1));
    world.records.samples(&one, HOUR, 5);
    world.records.samples(&two, HOUR, 5);
    world.records.set_unreadable(Some(&two));
    assert!(world.control_plane.settle_usage().await.is_err());
    let began = world.clock.now_ms();
    assert_eq!(as_of(&paths[0]).await, began);
    assert_ne!(as_of(&paths[2]).await, began);
    world.records.set_unreadable(None);
    world.settle().await;
    world.records.samples(&one, HOUR, 5);
    world.clock.advance(Duration::from_secs(60));
    for path in &paths {
        assert_eq!(as_of(path).await, began, "{path}: not all that there is now is known");
    }
    // What was read while something else could not be, is known until then; all together, only until before.
    world.records.set_unreadable(Some(&two));
    world.records.samples(&two, HOUR, 5);
    assert!(world.control_plane.settle_usage().await.is_err());
    assert_eq!(as_of(&paths[0]).await, began + 60_000);
    for path in &paths[1..] {
        assert_eq!(as_of(path).await, began, "{path}");
    }
    world.records.set_unreadable(None);
    world.settle().await;
    for path in &paths {
        assert_eq!(as_of(path).await, began + 60_000, "{path}");
    }
    let page = world.get(&format!("{}/page", paths[3]), &ada).await.expect(200).text;
    assert!(page.contains("usage as of 2026-09-21 14:14:21 UTC"), "{page}");
    let csv = world.get(&format!("{}/csv", paths[3]), &ada).await.expect(200).text;
    assert!(csv.lines().skip(1).all(|row| row.ends_with(",1790000061")), "{csv}");
}

fn counted(tenant: &str, dimension: Dimension, name: &str, count: u64) -> Attribution {
    let (tenant, name) = (tenant.to_owned(), name.to_owned());
    Attribution { tenant, signal: Signal::Metrics, dimension, name, count }
}

async fn a_report_is_counted_once_however_often_it_comes(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    world.records.samples(&tenant, HOUR, 400_000_000);
    let report = |id: &str, counts| {
        let activity = Activity { at_ms: 1_790_000_000_000, counts, ..Activity::default() };
        ActivityReport { id: id.to_owned(), activity }
    };
    world.records.set_keeps_reports(true);
    world.records.report(report(
        "one",
        vec![
            counted(&tenant, Dimension::Metric, "up", 1_000),
            counted(&tenant, Dimension::ApiKey, "key1", 3_000),
        ],
    ));
    for _ in 0..3 {
        assert!(world.control_plane.settle_usage().await.is_err());
    }
    world.records.set_keeps_reports(false);
    world.records.report(report(
        "two",
        vec![
            counted(&tenant, Dimension::Metric, "http_requests_total", 3_000),
            counted(&tenant, Dimension::ApiKey, "key2", 1_000),
        ],
    ));
    world.settle().await;
    assert_eq!(world.records.reports_left(), 0);
    let path = format!("/organisations/{organisation}/invoices/2026-09");
    let invoice = world.get(&path, &ada).await.expect(200).json()["invoice"].clone();
    let samples = |parts: &Value| -> Vec<(String, u64)> {
        let parts = parts.as_array().unwrap().iter();
        let part = |part: &Value| {
            Some((part["cause"]["name"].as_str()?.to_owned(), part["samples"].as_u64().unwrap()))
        };
        parts.filter_map(part).collect()
    };
    let breakdown = &invoice["breakdown"];
    let named = |names: [(&str, u64); 2]| names.map(|(name, samples)| (name.to_owned(), samples)).to_vec();
    assert_eq!(
        samples(&breakdown["by_metric"]),
        named([("http_requests_total", 300_000_000), ("up", 100_000_000)])
    );
    assert_eq!(samples(&breakdown["by_api_key"]), named([("key1", 300_000_000), ("key2", 100_000_000)]));
}

async fn what_the_operator_pays_is_seen_beside_what_comes_in(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let more = Quantities { samples: 1_100_000_000, stored_bytes: 17_600_000_000, ..Quantities::default() };
    world.records.commit(&tenant, Signal::Metrics, HOUR, more);
    let used = |resource, quantity| ResourceUse { tenant: None, resource, quantity };
    world.records.report(ActivityReport {
        id: "one".to_owned(),
        activity: Activity {
            at_ms: 1_790_000_000_000,
            resources: vec![used(Resource::WriteRequests, 1_000_000), used(Resource::CpuMs, 3_600_000)],
            ..Activity::default()
        },
    });
    world.settle().await;
    // What lies in the bucket for 730 hours costs a month's storage.
    world.clock.advance(Duration::from_secs(2 * 3600));
    world.settle().await;
    let margins =
        world.operate(Method::GET, "/operator/margins?month=2026-09", None).await.expect(200).json();
    let of_tenant =
        margins["tenants"].as_array().unwrap().iter().find(|row| row["tenant"] == *tenant).unwrap();
    let invoice =
        world.get(&format!("/organisations/{organisation}/invoices/2026-09"), &world.back(&ada).await).await;
    let revenue = invoice.expect(200).json()["invoice"]["subtotal_micros"].as_i64().unwrap();
    assert!(revenue > 80_000_000);
    assert_eq!(of_tenant["revenue_micros"], revenue);
    assert_eq!(of_tenant["requests_micros"], 5_000_000);
    assert_eq!(of_tenant["compute_micros"], 32_380);
    // 17.6 GB for two hours at 0.023 $ for 730 GB-hours.
    assert_eq!(of_tenant["storage_micros"], 1_109);
    assert_eq!(of_tenant["margin_micros"], revenue - 5_000_000 - 32_380 - 1_109);
    assert_eq!(margins["left_out"], json!([]));
    let later = world.operate(Method::GET, "/operator/margins?month=2026-10", None).await;
    assert_eq!((later.problem(422), later.field("field")), ("invalid_field".to_owned(), "month".to_owned()));
}

async fn a_report_with_names_that_no_index_takes_stands_in_nobodys_way(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    world.records.samples(&tenant, HOUR, 400_000_000);
    // Long, and nothing that a database could make shorter.
    let long: String = (0..2_000_u32).filter_map(|at| char::from_u32(0x4e00 + at * 7)).collect();
    let counts = [("up", 1_000), ("a\0b", 1_000), (&*long, 2_000)];
    let counts = counts.map(|(name, count)| counted(&tenant, Dimension::Metric, name, count)).to_vec();
    let place = |region: &str| FootprintSeen {
        tenant: tenant.clone(),
        seen: Observation {
            provider: String::new(),
            region: region.to_owned(),
            zone: String::new(),
            samples: 1_000,
            first_seen_ms: 1_790_000_000_000,
            last_seen_ms: 1_790_000_000_000,
        },
    };
    let footprints = ["gcp:europe-west2", "a\0b", &long].map(place).to_vec();
    let activity = Activity { at_ms: 1_790_000_000_000, counts, footprints, ..Activity::default() };
    world.records.report(ActivityReport { id: "odd".to_owned(), activity });
    // This one cannot be noted at all on PostgreSQL, and is dropped.
    world.records.report(ActivityReport { id: "id\0".to_owned(), activity: Activity::default() });
    world.settle().await;
    assert_eq!(world.records.reports_left(), 0);
    let path = format!("/organisations/{organisation}/invoices/2026-09");
    let invoice = world.get(&path, &ada).await.expect(200).json()["invoice"].clone();
    let by_metric = invoice["breakdown"]["by_metric"].as_array().unwrap();
    let up = by_metric.iter().find(|part| part["cause"]["name"] == "up").unwrap();
    assert_eq!((by_metric.len(), &up["samples"]), (2, &json!(100_000_000)), "{by_metric:?}");
    let seen = world.get(&format!("/tenants/{tenant}/placement/conflicts"), &ada).await.expect(200);
    assert!(seen.text.contains("gcp:europe-west2") && !seen.text.contains("a\\u0000b"), "{seen:?}");
}
