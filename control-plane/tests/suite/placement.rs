//! Placement: what a tenant declares, where it is put, and what happens when it turns up there.

use std::collections::BTreeSet;

use control_plane::placement::{Observation, RegionRef, resolve};
use control_plane::ports::{Activity, FootprintSeen};
use http::Method;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tenancy::DirectoryDocument;

use crate::database::{Database, on_both_databases};
use crate::world::{Person, World, signer};

const START_MS: i64 = 1_790_000_000_000;

on_both_databases!(
    a_tenant_is_placed_away_from_what_it_declares,
    an_impossible_declaration_names_what_contradicts_what,
    what_cannot_be_read_names_its_field,
    telemetry_from_the_home_region_raises_a_conflict_once,
    a_conflict_ends_by_itself_when_nothing_is_seen_any_more,
    what_the_operator_sets_is_in_the_operators_log,
    room_is_promised_once,
    no_declaration_leads_into_its_own_regions,
);

async fn setting(database: &Database) -> (World, Person, String) {
    let world = World::new(database).await;
    let ada = world.person("ada").await;
    let organisation = world.organisation(&ada).await;
    (world, ada, organisation)
}

async fn put_cell(world: &World, id: &str, region: &str, capacity: u64, open: bool) {
    let body = json!({ "region": region, "capacity": capacity, "open": open });
    world.operate(Method::PUT, &format!("/operator/cells/{id}"), Some(body)).await.expect(204);
}

/// The regions that an answer of `GET /cells` says a cell's outage comes with.
fn regions_of(cells: &Value, id: &Value) -> BTreeSet<String> {
    let cell = cells["cells"].as_array().unwrap().iter().find(|cell| cell["id"] == *id).unwrap();
    let hidden = cell["depends_on"].as_array().unwrap().iter();
    let named = std::iter::once(&cell["region"]).chain(hidden);
    named.map(|text| text.as_str().unwrap().to_owned()).collect()
}

async fn a_tenant_is_placed_away_from_what_it_declares(database: &Database) {
    let (world, ada, organisation) = setting(database).await;
    let declaration = json!({
        "production": ["eu-west-1", "(Europe) West Europe"], "standby": ["europe-west4"], "residency": ["EU"],
        "latency": { "ms": 40 }, "capacity": 1000,
    });
    let tenants = format!("/organisations/{organisation}/tenants");
    let body = json!({ "name": "production", "placement": declaration });
    let tenant = world.post(&tenants, &ada, body).await.expect(201).field("id");
    let path = format!("/tenants/{tenant}/placement");
    let placement = world.get(&path, &ada).await.expect(200).json()["placement"].clone();
    assert_eq!(placement["declaration"]["production"], declaration["production"]);
    let decision = &placement["decision"];
    let cells = world.get("/cells", &ada).await.expect(200).json();
    for chosen in [&decision["home"], &decision["standby"]] {
        let regions = regions_of(&cells, &chosen["cell"]);
        for declared in ["aws:eu-west-1", "azure:westeurope", "gcp:europe-west4"] {
            assert!(!regions.contains(declared), "{chosen}");
        }
        let reasons = chosen["reasons"].as_array().unwrap();
        assert!(reasons.len() >= 4, "{chosen}");
        let points: i64 = reasons.iter().map(|reason| reason["points"].as_i64().unwrap()).sum();
        assert_eq!(chosen["score"], points);
        assert!(reasons.iter().any(|reason| reason["text"].as_str().unwrap().contains("where data may be")));
    }
    let excluded = decision["excluded"].as_array().unwrap();
    let dublin = excluded.iter().find(|excluded| excluded["cell"] == "eu-dublin").unwrap();
    assert_eq!(dublin["obstacles"][0]["constraint"], "production");

    // The data plane is told.
    let home = decision["home"]["cell"].as_str().unwrap().to_owned();
    let in_directory = |world: &World| {
        let document = DirectoryDocument::open(&world.place.bytes().unwrap(), &signer().verifier()).unwrap();
        document.tenants.into_iter().find(|entry| entry.id == tenant).and_then(|entry| entry.home_cell)
    };
    let id = telemetry::TenantId::new(&tenant).unwrap();
    world.place.access_when(|directory| directory.tenant(&id).is_some()).await;
    assert_eq!(in_directory(&world).as_ref(), Some(&home));

    // Another declaration moves it, and a proposal moves nothing.
    let moved =
        json!({ "production": [decision["home"]["region"]], "residency": ["EU"], "without_standby": true });
    let proposed = world
        .post(&format!("{path}/propose"), &ada, json!({ "declaration": moved }))
        .await
        .expect(200)
        .json();
    assert_ne!(proposed["home"]["cell"], home);
    assert_eq!(world.get(&path, &ada).await.expect(200).json()["placement"], placement);
    let version = |world: &World| {
        DirectoryDocument::open(&world.place.bytes().unwrap(), &signer().verifier()).unwrap().version
    };
    let before = version(&world);
    let now = world.put(&path, &ada, moved).await.expect(200).json();
    assert_eq!(now["decision"]["home"], proposed["home"]);
    assert_eq!(now["decision"]["standby"], Value::Null);
    world.place.access_when(|directory| directory.version() > before).await;
    assert_eq!(in_directory(&world).unwrap(), now["decision"]["home"]["cell"].as_str().unwrap());
    let log = world.get(&format!("/organisations/{organisation}/audit"), &ada).await.expect(200).json();
    assert_eq!(
        (&log["entries"][0]["action"], &log["entries"][0]["subject"]),
        (&json!("placement.set"), &json!(tenant))
    );
}

async fn an_impossible_declaration_names_what_contradicts_what(database: &Database) {
    let (world, ada, organisation) = setting(database).await;
    let tenants = format!("/organisations/{organisation}/tenants");
    let body =
        json!({ "name": "a", "placement": { "production": ["gcp:europe-west2"], "residency": ["UK"] } });
    let answer = world.post(&tenants, &ada, body).await;
    assert_eq!(answer.problem(409), "no_cell_fits");
    let why = &answer.json()["unplaceable"];
    let sets: BTreeSet<String> = why["conflicts"].as_array().unwrap().iter().map(Value::to_string).collect();
    assert_eq!(
        sets,
        BTreeSet::from([
            r#"["production","residency"]"#.to_owned(),
            r#"["residency","independent_standby"]"#.to_owned()
        ])
    );
    assert!(!why["relaxations"].as_array().unwrap().is_empty(), "{why}");
    assert_eq!(answer.json()["detail"], why["text"]);
    let listed = world.get(&tenants, &ada).await.expect(200).json();
    assert_eq!(listed["tenants"], json!([]), "nothing was made");

    // The same for a change: the tenant stays where it was.
    let tenant = world.tenant(&ada, &organisation).await;
    let path = format!("/tenants/{tenant}/placement");
    let before = world.get(&path, &ada).await.expect(200).json();
    assert_eq!(world.put(&path, &ada, json!({ "residency": ["JP"] })).await.problem(409), "no_cell_fits");
    let cells = world.get("/cells", &ada).await.expect(200).json();
    for cell in cells["cells"].as_array().unwrap() {
        put_cell(&world, cell["id"].as_str().unwrap(), cell["region"].as_str().unwrap(), 500_000, true).await;
    }
    let propose = json!({ "declaration": { "capacity": 1_000_000 } });
    let answer = world.post(&format!("{path}/propose"), &ada, propose).await;
    assert_eq!(answer.problem(409), "no_cell_fits");
    assert_eq!(answer.json()["unplaceable"]["conflicts"], json!([["capacity"]]));
    assert_eq!(world.get(&path, &ada).await.expect(200).json(), before);
}

async fn what_cannot_be_read_names_its_field(database: &Database) {
    let (world, ada, organisation) = setting(database).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let path = format!("/tenants/{tenant}/placement");
    for (body, field, hint) in [
        (json!({ "production": ["eu-west-11"] }), "production", "did you mean aws:eu-west-1 (Dublin)"),
        (json!({ "standby": ["the cellar"] }), "standby", "is no region"),
        (json!({ "residency": ["Atlantis"] }), "residency", "is no place"),
        (json!({ "production": vec!["eu-west-1"; 101] }), "production", "100 entries at most"),
        (json!({ "capacity": u64::MAX }), "capacity", "at most"),
        (json!({ "capacity": 1_000_001 }), "capacity", "1000000 at most on the plan team"),
    ] {
        let answer = world.put(&path, &ada, body).await;
        assert_eq!(answer.problem(422), "invalid_field");
        assert_eq!(answer.field("field"), field);
        assert!(answer.field("detail").contains(hint), "{answer:?}");
    }
    world.put(&path, &ada, json!({ "residancy": ["EU"] })).await.problem(400);
    world.put(&path, &ada, json!({ "latency": { "miles": 3 } })).await.problem(400);
    let catalogue = world.send(Method::GET, "/regions", None, None).await.expect(200).json();
    assert_eq!(catalogue["regions"].as_array().unwrap().len(), RegionRef::all().count());
    assert_eq!(catalogue["regions"][0]["id"], "aws:us-east-1");
}

fn seen(region: &str, samples: u64, at_ms: i64) -> Observation {
    Observation {
        provider: String::new(),
        region: region.to_owned(),
        zone: format!("{region}a"),
        samples,
        first_seen_ms: START_MS + at_ms,
        last_seen_ms: START_MS + at_ms,
    }
}

/// Tells the control plane in a report, as processes do.
async fn note(world: &World, tenant: &str, seen: &[Observation]) {
    let footprint = |seen: &Observation| FootprintSeen { tenant: tenant.to_owned(), seen: seen.clone() };
    let footprints = seen.iter().map(footprint).collect();
    world.report(Activity { footprints, ..Activity::default() }).await;
}

async fn telemetry_from_the_home_region_raises_a_conflict_once(database: &Database) {
    let (world, ada, organisation) = setting(database).await;
    let viewer = world.member(&ada, &organisation, "viewer", "viewer").await;
    let tenant = world.tenant(&ada, &organisation).await;
    let path = format!("/tenants/{tenant}/placement");
    let placement = world.get(&path, &ada).await.expect(200).json()["placement"].clone();
    let home = placement["decision"]["home"]["region"].as_str().unwrap().to_owned();
    let code = home.split_once(':').unwrap().1.to_owned();

    // A laptop is no production.
    let mostly_elsewhere =
        [seen("eu-south-1", 5_000_000, -20), seen(&code, 999, -20), seen("the cellar", 5, -20)];
    note(&world, &tenant, &mostly_elsewhere).await;
    let conflicts = format!("{path}/conflicts");
    let shown = world.get(&conflicts, &viewer).await.expect(200).json();
    assert_eq!((&shown["conflicts"], &shown["proposal"]), (&json!([]), &Value::Null));
    assert_eq!(
        (&shown["seen"][0]["region"], &shown["seen"][0]["noise"]),
        (&json!("aws:eu-south-1"), &json!(false))
    );
    assert_eq!((&shown["seen"][1]["region"], &shown["seen"][1]["noise"]), (&json!(home), &json!(true)));
    assert_eq!(shown["unknown"][0]["region"], "the cellar");
    assert!(world.mailbox.is_empty());

    // Counts add up, and from then on it is one.
    note(&world, &tenant, &[seen(&code, 20_000, -10)]).await;
    let mail = world.mailbox.next(&ada.email).await;
    assert!(
        mail.text.contains(&format!("20999 samples (4 in a thousand) came from {home}")),
        "{}",
        mail.text
    );
    assert!(mail.text.contains("A better place would be"), "{}", mail.text);
    let shown = world.get(&conflicts, &ada).await.expect(200).json();
    let open = &shown["conflicts"][0];
    assert_eq!(
        (&open["role"], &open["region"], &open["resolved_at_ms"]),
        (&json!("home"), &json!(home), &Value::Null)
    );
    assert_eq!(shown["conflicts"].as_array().unwrap().len(), 1);
    let evidence = shown["seen"].as_array().unwrap().iter().find(|seen| seen["region"] == home).unwrap();
    assert_eq!(
        (&evidence["samples"], &evidence["first_seen_ms"], &evidence["last_seen_ms"]),
        (&json!(20_999), &json!(START_MS - 20), &json!(START_MS - 10))
    );
    assert_eq!(evidence["zones"], json!([format!("{code}a")]));
    let proposed = shown["proposal"]["home"].clone();
    assert_ne!(proposed["region"], home);
    let log = world.get(&format!("/organisations/{organisation}/audit"), &ada).await.expect(200).json();
    assert_eq!(log["entries"][0]["action"], "placement.conflict");
    assert_eq!(log["entries"][0]["details"]["conflicts"][0]["evidence"]["samples"], 20_999);

    // Once is enough.
    note(&world, &tenant, &[seen(&code, 20_000, 0)]).await;
    note(&world, "ten_of_nobody", &[seen(&code, 20_000, 0)]).await;
    assert!(world.mailbox.is_empty(), "only who manages tenants was told, and once");

    // Its own declaration, without a word of the region, moves it away from what was seen.
    let now = world.put(&path, &ada, json!({})).await.expect(200).json();
    assert_eq!(now["decision"]["home"]["cell"], proposed["cell"]);
    let shown = world.get(&conflicts, &ada).await.expect(200).json();
    assert!(shown["conflicts"][0]["resolved_at_ms"].is_i64(), "{shown}");
    assert_eq!(shown["proposal"], Value::Null);

    // What is not seen for a month was left.
    world.clock.advance(std::time::Duration::from_secs(31 * 24 * 3600));
    let ada = world.back(&ada).await;
    let shown = world.get(&conflicts, &ada).await.expect(200).json();
    assert_eq!(shown["seen"], json!([]));
}

async fn a_conflict_ends_by_itself_when_nothing_is_seen_any_more(database: &Database) {
    let (world, mut ada, organisation) = setting(database).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let path = format!("/tenants/{tenant}/placement");
    let placement = world.get(&path, &ada).await.expect(200).json()["placement"].clone();
    let home = placement["decision"]["home"]["region"].as_str().unwrap().to_owned();
    let code = home.split_once(':').unwrap().1.to_owned();
    let conflicts = format!("{path}/conflicts");
    let day_ms = 24 * 3_600_000;
    note(&world, &tenant, &[seen(&code, 50_000, 0), seen("eu-south-1", 50_000, 0)]).await;
    world.mailbox.next(&ada.email).await;

    // As long as something comes from there, it goes on; what comes too late to matter does not count.
    world.clock.advance(std::time::Duration::from_secs(23 * 3600));
    note(&world, &tenant, &[seen(&code, 1, day_ms / 2)]).await;
    world.clock.advance(std::time::Duration::from_secs(13 * 3600));
    ada = world.back(&ada).await;
    world.settle().await;
    let shown = world.get(&conflicts, &ada).await.expect(200).json();
    assert_eq!(shown["conflicts"][0]["resolved_at_ms"], Value::Null, "{shown}");
    assert_ne!(shown["proposal"], Value::Null);

    // A day after the last sample it is over, and stays so while others come.
    world.clock.advance(std::time::Duration::from_millis(1));
    world.records.set_out_of_reach(true);
    assert!(world.control_plane.settle_usage().await.is_err());
    let shown = world.get(&conflicts, &ada).await.expect(200).json();
    assert_eq!(shown["conflicts"][0]["resolved_at_ms"], Value::Null, "reports may wait that are not read");
    world.records.set_out_of_reach(false);
    world.settle().await;
    note(&world, &tenant, &[seen("eu-south-1", 5_000, 2 * day_ms)]).await;
    for _ in 0..2 {
        world.settle().await;
    }
    let shown = world.get(&conflicts, &ada).await.expect(200).json();
    let ended = &shown["conflicts"][0];
    assert_eq!(
        (&ended["resolved_at_ms"], &ended["resolution"]),
        (&json!(START_MS + day_ms * 3 / 2 + 1), &json!("not_seen"))
    );
    assert_eq!((shown["conflicts"].as_array().unwrap().len(), &shown["proposal"]), (1, &Value::Null));
    assert!(world.mailbox.is_empty());

    // It begins anew when production comes back, and ends with the proposal that is accepted.
    note(&world, &tenant, &[seen(&code, 1, day_ms * 3 / 2)]).await;
    world.mailbox.next(&ada.email).await;
    let shown = world.get(&conflicts, &ada).await.expect(200).json();
    assert_eq!(
        (shown["conflicts"].as_array().unwrap().len(), &shown["conflicts"][0]["resolution"]),
        (2, &Value::Null)
    );
    world.put(&path, &ada, json!({})).await.expect(200);
    let shown = world.get(&conflicts, &ada).await.expect(200).json();
    assert_eq!(shown["conflicts"][0]["resolution"], "moved");

    let log = world.get(&format!("/organisations/{organisation}/audit"), &ada).await.expect(200).json();
    let entries = log["entries"].as_array().unwrap();
    let actions: Vec<&str> = entries.iter().map(|entry| entry["action"].as_str().unwrap()).collect();
    assert_eq!(
        actions[..4],
        ["placement.set", "placement.conflict", "placement.conflict_ended", "placement.conflict"]
    );
    assert_eq!(entries[0]["details"]["conflicts_ended"][0]["resolution"], "moved");
    assert_eq!(entries[2]["details"]["conflicts"][0]["region"], json!(home));
    // Reports that change nothing leave no gap.
    let revisions: Vec<i64> = entries.iter().map(|entry| entry["revision"].as_i64().unwrap()).collect();
    assert!(revisions.is_sorted_by(|a, b| *a == b + 1), "{log}");
}

async fn what_the_operator_sets_is_in_the_operators_log(database: &Database) {
    let (world, ada, _) = setting(database).await;
    put_cell(&world, "one", "eu-west-1", 1000, true).await;
    put_cell(&world, "one", "eu-west-1", 2000, false).await;
    let version = json!({
        "plan": "team", "version": 2, "currency": "USD", "effective_from_s": START_MS / 1000 + 60, "base_fee_micros": 0,
        "minimum_micros": 0, "prices": [],
    });
    world.operate(Method::POST, "/operator/plans", Some(version.clone())).await.expect(204);
    // What is refused is not in it.
    world.operate(Method::POST, "/operator/plans", Some(version)).await.problem(422);
    world.get("/operator/audit", &ada).await.problem(403);
    let log = world.operate(Method::GET, "/operator/audit", None).await.expect(200).json();
    let entries = log["entries"].as_array().unwrap();
    let said = |at: usize| {
        let entry = &entries[at];
        [&entry["actor"], &entry["action"], &entry["subject"]].map(|text| text.as_str().unwrap().to_owned())
    };
    assert_eq!(said(0), ["operator", "price_plan.add", "team v2"]);
    assert_eq!(said(1), ["operator", "cell.set", "one"]);
    assert_eq!(entries[1]["details"]["before"]["capacity"], 1000);
    assert_eq!(
        (&entries[1]["details"]["cell"]["capacity"], &entries[1]["details"]["cell"]["open"]),
        (&json!(2000), &json!(false))
    );
    assert_eq!(entries[2]["details"]["before"], Value::Null);
    let revisions: Vec<i64> = entries.iter().map(|entry| entry["revision"].as_i64().unwrap()).collect();
    assert_eq!(revisions, [3, 2, 1]);
    let older = world.operate(Method::GET, "/operator/audit?before=2", None).await.expect(200).json();
    assert_eq!(older["entries"].as_array().unwrap().len(), 1);
}

async fn room_is_promised_once(database: &Database) {
    let (world, ada, organisation) = setting(database).await;
    let cells = world.get("/cells", &ada).await.expect(200).json();
    for old in cells["cells"].as_array().unwrap() {
        let (id, region) = (old["id"].as_str().unwrap(), old["region"].as_str().unwrap());
        put_cell(&world, id, region, 1, false).await;
    }
    put_cell(&world, "one", "eu-west-1", 1000, true).await;
    put_cell(&world, "two", "gcp:europe-west4", 1000, true).await;
    for (id, body, field) in [
        ("two", json!({ "region": "europe-west11", "capacity": 1 }), "region"),
        ("two", json!({ "region": "europe-west4", "capacity": 1, "depends_on": ["the moon"] }), "depends_on"),
        ("two", json!({ "region": "europe-west4", "capacity": u64::MAX }), "capacity"),
        ("Two", json!({ "region": "europe-west4", "capacity": 1 }), "cell"),
    ] {
        let answer = world.operate(Method::PUT, &format!("/operator/cells/{id}"), Some(body)).await;
        assert_eq!(
            (answer.problem(422), answer.field("field")),
            ("invalid_field".to_owned(), field.to_owned())
        );
    }
    let elsewhere = json!({ "region": "europe-west1", "capacity": 1000 });
    let answer = world.operate(Method::PUT, "/operator/cells/two", Some(elsewhere)).await;
    assert_eq!(answer.problem(409), "conflict");
    let tenants = format!("/organisations/{organisation}/tenants");
    let of = |name: &str| json!({ "name": name, "placement": { "capacity": 300 } });
    // Many at once: as many as fit, and none more.
    let one = |name| world.post(&tenants, &ada, of(name));
    let (a, b, c, d, e) = tokio::join!(one("a"), one("b"), one("c"), one("d"), one("e"));
    let mut made = Vec::new();
    for answer in [a, b, c, d, e] {
        match answer.status.as_u16() {
            201 => made.push(answer.field("id")),
            _ => assert_eq!(answer.problem(409), "no_cell_fits"),
        }
    }
    assert_eq!(made.len(), 3);
    let free = |cells: Value, id: &str| {
        let cells = cells["cells"].as_array().unwrap().clone();
        cells.into_iter().find(|cell| cell["id"] == id).unwrap()["free"].clone()
    };
    assert_eq!(free(world.get("/cells", &ada).await.expect(200).json(), "one"), 100);
    // Who is there already has its room; who goes makes room.
    world.put(&format!("/tenants/{}/placement", made[0]), &ada, json!({ "capacity": 400 })).await.expect(200);
    world.delete(&format!("/tenants/{}", made[1]), &ada).await.expect(204);
    world.post(&tenants, &ada, of("f")).await.expect(201);
    assert_eq!(free(world.get("/cells", &ada).await.expect(200).json(), "two"), 0);
}

/// The same property as the solver's own, through the whole control plane and with what was seen on top.
async fn no_declaration_leads_into_its_own_regions(database: &Database) {
    let (world, ada, organisation) = setting(database).await;
    let tenant = world.tenant(&ada, &organisation).await;
    let path = format!("/tenants/{tenant}/placement/propose");
    let cells = world.get("/cells", &ada).await.expect(200).json();
    let homes: Vec<String> = cells["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| cell["region"].as_str().unwrap().to_owned())
        .collect();
    let seen_there = resolve(None, &homes[0]).unwrap();
    note(&world, &tenant, &[seen(seen_there.code, 10_000, 0)]).await;
    let all: Vec<String> = RegionRef::all().map(|region| region.to_string()).collect();
    let region = proptest::prop_oneof![
        3 => proptest::sample::select(homes.clone()),
        1 => proptest::sample::select(all)
    ];
    let regions = || proptest::collection::vec(region.clone(), 0..5);
    let residency =
        proptest::collection::vec(proptest::sample::select(vec!["EU", "UK", "US", "EEA", "JP"]), 0..2);
    let declarations = (regions(), regions(), residency, proptest::bool::ANY);
    let mut runner = TestRunner::deterministic();
    let mut impossible = 0;
    for _ in 0..200 {
        let (production, standby, residency, alone) = declarations.new_tree(&mut runner).unwrap().current();
        let footprint: BTreeSet<&String> = production.iter().chain(&standby).chain([&homes[0]]).collect();
        let declaration = json!({
            "production": production, "standby": standby, "residency": residency, "without_standby": alone,
        });
        let answer = world.post(&path, &ada, json!({ "declaration": declaration })).await;
        if answer.status == 409 {
            impossible += 1;
            let why = answer.json()["unplaceable"].clone();
            assert!(!why["conflicts"].as_array().unwrap().is_empty(), "{declaration} {why}");
            continue;
        }
        let decision = answer.expect(200).json();
        assert_eq!(decision["standby"].is_null(), alone);
        for chosen in [&decision["home"], &decision["standby"]].into_iter().filter(|chosen| !chosen.is_null())
        {
            let touched = regions_of(&cells, &chosen["cell"]);
            assert!(touched.iter().all(|region| !footprint.contains(region)), "{declaration} {decision}");
            assert!(!chosen["reasons"].as_array().unwrap().is_empty());
        }
    }
    assert!((10..190).contains(&impossible), "{impossible}");
}
