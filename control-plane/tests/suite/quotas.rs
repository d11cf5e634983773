//! Limits: what the plan says, what a tenant sets, and what the data plane is told.

use std::sync::Arc;

use control_plane::Plan;
use control_plane::ports::{Activity, LimitNear};
use serde_json::{Value, json};
use telemetry::TenantId;
use tenancy::{Directory, Tenant};

use crate::database::{Database, on_both_databases};
use crate::world::World;

on_both_databases!(
    a_tenant_has_the_limits_of_its_plan_until_it_sets_its_own,
    limits_above_the_plans_ceiling_are_refused,
    another_plan_has_other_limits,
    who_may_change_a_limit_is_told_once_a_day_that_it_is_nearly_reached,
);

fn found(directory: &Directory, tenant: &str) -> Option<Arc<Tenant>> {
    directory.tenant(&TenantId::new(tenant).unwrap()).cloned()
}

fn value(quotas: &Value, name: &str, field: &str) -> Value {
    let quotas = quotas["quotas"].as_array().unwrap();
    quotas.iter().find(|quota| quota["name"] == name).unwrap()[field].clone()
}

async fn a_tenant_has_the_limits_of_its_plan_until_it_sets_its_own(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let access = world.place.access_when(|directory| found(directory, &tenant).is_some()).await;
    let limits = found(&access.directory(), &tenant).unwrap().limits.clone();
    assert_eq!((limits.samples_per_second, limits.samples_burst), (Some(100_000), 1_000_000));
    assert_eq!((limits.spans_per_second, limits.bytes_per_day), (Some(50_000), Some(500 << 30)));

    let path = format!("/tenants/{tenant}/quotas");
    let shown = world.get(&path, &ada).await.expect(200).json();
    assert_eq!(shown["plan"], "team");
    assert_eq!(shown["quotas"].as_array().unwrap().len(), 7);
    assert_eq!(value(&shown, "active_series", "value"), 1_500_000);
    let set = json!({
        "samples_per_second": 0, "spans_per_second": 1, "bytes_per_day": 2, "active_series": 3, "series_per_metric": 4,
        "query_concurrency": 5, "query_bytes": 6,
    });
    world.put(&path, &ada, set).await.expect(204);
    let access = world
        .place
        .access_when(|directory| {
            found(directory, &tenant).is_some_and(|tenant| tenant.limits.active_series == Some(3))
        })
        .await;
    let limits = found(&access.directory(), &tenant).unwrap().limits.clone();
    assert_eq!((limits.samples_per_second, limits.samples_burst), (Some(0), 1));
    assert_eq!((limits.spans_per_second, limits.bytes_per_day), (Some(1), Some(2)));
    assert_eq!(
        (limits.series_per_metric, limits.query_concurrency, limits.query_bytes),
        (Some(4), Some(5), Some(6))
    );
    let shown = world.get(&path, &ada).await.expect(200).json();
    assert_eq!(value(&shown, "active_series", "set"), 3);
    assert_eq!(value(&shown, "active_series", "default"), 1_500_000);

    // What is left out is the plan's again.
    world.put(&path, &ada, json!({ "active_series": 9 })).await.expect(204);
    let shown = world.get(&path, &ada).await.expect(200).json();
    assert_eq!(value(&shown, "samples_per_second", "value"), 100_000);
    assert_eq!(value(&shown, "active_series", "value"), 9);
}

async fn limits_above_the_plans_ceiling_are_refused(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let path = format!("/tenants/{tenant}/quotas");
    world.put(&path, &ada, json!({ "samples_per_second": 1_000_000 })).await.expect(204);
    for bad in [json!({ "samples_per_second": 1_000_001 }), json!({ "samples_per_second": u64::MAX })] {
        let answer = world.put(&path, &ada, bad).await;
        assert_eq!(answer.problem(422), "invalid_field");
        assert_eq!(answer.field("field"), "samples_per_second");
        assert!(answer.field("detail").contains("1000000"), "{answer:?}");
    }
    for bad in
        [json!({ "samples_per_second": -1 }), json!({ "samples_per_second": 0.5 }), json!({ "samples": 1 })]
    {
        world.put(&path, &ada, bad).await.problem(400);
    }
    let shown = world.get(&path, &ada).await.expect(200).json();
    assert_eq!(value(&shown, "samples_per_second", "set"), 1_000_000);
    assert!(world.control_plane.set_plan(&organisation, Plan::Unlimited).await.unwrap());
    world.put(&path, &ada, json!({ "query_bytes": u64::MAX })).await.problem(422);
    world.put(&path, &ada, json!({ "query_bytes": i64::MAX })).await.expect(204);
    let shown = world.get(&path, &ada).await.expect(200).json();
    assert_eq!(value(&shown, "query_bytes", "value"), i64::MAX);
}

async fn another_plan_has_other_limits(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    let tenant = world.tenant(&ada, &organisation).await;
    world
        .put(&format!("/tenants/{tenant}/quotas"), &ada, json!({ "samples_per_second": 500_000 }))
        .await
        .expect(204);
    assert!(!world.control_plane.set_plan("org_nobody", Plan::Free).await.unwrap());
    assert!(world.control_plane.set_plan(&organisation, Plan::Free).await.unwrap());
    let is_free = |directory: &Directory| {
        found(directory, &tenant).is_some_and(|tenant| tenant.limits.samples_per_second == Some(1_000))
    };
    let access = world.place.access_when(is_free).await;
    assert_eq!(found(&access.directory(), &tenant).unwrap().limits.query_concurrency, Some(4));
    let shown = world.get(&format!("/tenants/{tenant}/quotas"), &ada).await.expect(200).json();
    assert_eq!(
        (value(&shown, "samples_per_second", "set"), value(&shown, "samples_per_second", "value")),
        (json!(500_000), json!(1_000))
    );
    world.control_plane.set_plan(&organisation, Plan::Unlimited).await.unwrap();
    world
        .place
        .access_when(|directory| {
            found(directory, &tenant).is_some_and(|tenant| {
                tenant.limits.samples_per_second == Some(500_000) && tenant.limits.active_series.is_none()
            })
        })
        .await;
}

async fn who_may_change_a_limit_is_told_once_a_day_that_it_is_nearly_reached(database: &Database) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    world.member(&ada, &organisation, "viewer", "viewer").await;
    let tenant = world.tenant(&ada, &organisation).await;
    let near = |tenant: &str, limit: &str, used| {
        let limits =
            vec![LimitNear { tenant: tenant.to_owned(), limit: limit.to_owned(), allowed: 1000, used }];
        world.report(Activity { limits, ..Activity::default() })
    };
    near(&tenant, "bytes_per_day", 850).await;
    let mail = world.mailbox.next(&ada.email).await;
    assert_eq!(mail.subject, "production uses 85 % of its limit of 1,000 bytes a day");
    let told = "production uses 85 % of its limit bytes_per_day: 850 bytes a day, of 1,000.";
    assert!(mail.text.starts_with(told), "{}", mail.text);
    let log = world.get(&format!("/organisations/{organisation}/audit"), &ada).await.expect(200).json();
    assert_eq!(log["entries"][0]["action"], "quota.nearly_reached");
    assert_eq!(log["entries"][0]["details"]["used"], 850);
    // Again on the same day; of nobody; a name that only a later version knows.
    for (tenant, limit) in
        [(&*tenant, "bytes_per_day"), ("ten_of_nobody", "bytes_per_day"), (&tenant, "dreams")]
    {
        near(tenant, limit, 900).await;
    }
    near(&tenant, "active_series", 801).await;
    assert!(world.mailbox.next(&ada.email).await.subject.ends_with("active series"));
    assert!(world.mailbox.is_empty(), "nobody else was told, and nothing twice");
    // That it is reached is another thing than that it is near.
    for used in [1_000, 1_200] {
        near(&tenant, "bytes_per_day", used).await;
    }
    let mail = world.mailbox.next(&ada.email).await;
    assert_eq!(mail.subject, "production has reached its limit of 1,000 bytes a day");
    assert!(mail.text.contains("1,000 bytes a day, of 1,000"), "{}", mail.text);
    assert!(world.mailbox.is_empty());
    let log = world.get(&format!("/organisations/{organisation}/audit"), &ada).await.expect(200).json();
    assert_eq!(log["entries"][0]["action"], "quota.reached");
    world.clock.advance(std::time::Duration::from_secs(24 * 3600));
    near(&tenant, "bytes_per_day", 999).await;
    assert!(world.mailbox.next(&ada.email).await.text.contains("999"));
}
