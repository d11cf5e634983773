//! From usage to final invoices.

use std::collections::BTreeSet;
use std::time::Duration;

use control_plane::Plan;
use control_plane::billing::{Invoice, InvoiceExport, Month, UsageRow};
use control_plane::ports::Clock as _;
use http::Method;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use telemetry::TenantId;
use tenancy::Directory;

use crate::database::{Database, on_both_databases};
use crate::world::{Person, World};

on_both_databases!(
    a_draft_becomes_the_invoice_and_never_changes_again,
    what_comes_late_is_billed_by_the_next_invoice,
    numbers_have_no_gap_whoever_finalises,
    a_new_price_counts_from_its_second_on_and_never_before,
    credits_pay_first_and_never_go_below_zero,
    a_spend_limit_warns_and_stops_and_lets_go_again,
    the_last_word_on_spending_is_in_force_at_once,
    what_is_stamped_before_the_signup_is_billed_with_its_month,
    all_invoices_together_charge_each_distinct_sample_once,
    an_old_draft_agrees_with_a_ledger_that_has_grown,
    an_invoice_names_tenants_as_they_were_called,
    nothing_is_final_while_a_ledger_cannot_be_read,
    prices_and_credits_that_cannot_be_are_refused,
);

/// 2026-09-21, 14:00 UTC.
const HOUR: i64 = 497_222;

fn month(text: &str) -> Month {
    text.parse().unwrap()
}

/// Two days after the end of a month, to the second.
fn grace_ends_s(text: &str) -> i64 {
    month(text).span().end_s + 2 * 24 * 3600
}

struct Customer {
    owner: Person,
    organisation: String,
    tenant: String,
}

impl Customer {
    async fn new(world: &World, name: &str) -> Self {
        let owner = world.person(name).await;
        let organisation = world.organisation(&owner).await;
        let tenant = world.tenant(&owner, &organisation).await;
        Self { owner, organisation, tenant }
    }

    fn path(&self, rest: &str) -> String {
        format!("/organisations/{}/{rest}", self.organisation)
    }

    async fn invoice(&self, world: &World, month: &str) -> Invoice {
        let answer = world.get(&self.path(&format!("invoices/{month}")), &self.owner).await.expect(200);
        serde_json::from_value(answer.json()["invoice"].clone()).unwrap()
    }

    /// The ledger has what the invoice states, nothing less and nothing more.
    async fn assert_agrees(&self, world: &World, month: &str) {
        let found = self.export(world, month).await.verify(&world.records.rows()).unwrap();
        assert_eq!((found.differences, found.late), (Vec::new(), Vec::new()));
    }

    async fn export(&self, world: &World, month: &str) -> InvoiceExport {
        let path = self.path(&format!("invoices/{month}/inputs"));
        serde_json::from_str(&world.get(&path, &self.owner).await.expect(200).text).unwrap()
    }
}

async fn a_draft_becomes_the_invoice_and_never_changes_again(database: &Database) {
    let world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    // 300 million samples above what is included, in the part of the month that the organisation was there.
    world.records.samples(&acme.tenant, HOUR, 150_000_000);
    world.records.samples(&acme.tenant, HOUR + 24, 250_000_000);
    world.settle().await;
    let draft = acme.invoice(&world, "2026-09").await;
    assert!(draft.total_micros > 0);
    let lines: i64 = draft.lines.iter().map(|line| line.quantity).sum();
    assert_eq!(lines, 400_000_000);
    let list = world.get(&acme.path("invoices"), &acme.owner).await.expect(200).json();
    assert_eq!(list, json!({ "invoices": [], "drafts": ["2026-09"] }));
    acme.assert_agrees(&world, "2026-09").await;
    for unknown in ["2026-08", "2026-10", "2027-01", "nonsense"] {
        let path = acme.path(&format!("invoices/{unknown}"));
        assert_eq!(world.get(&path, &acme.owner).await.problem(404), "not_found", "{unknown}");
    }

    // A second before the grace ends it is a draft.
    world.clock.advance_to_s(grace_ends_s("2026-09") - 1);
    acme.owner = world.back(&acme.owner).await;
    world.settle().await;
    let list = world.get(&acme.path("invoices"), &acme.owner).await.expect(200).json();
    assert_eq!(list["drafts"], json!(["2026-09", "2026-10"]));
    world.clock.advance(Duration::from_secs(1));
    world.settle().await;
    let list = world.get(&acme.path("invoices"), &acme.owner).await.expect(200).json();
    assert_eq!(list["drafts"], json!(["2026-10"]));
    assert_eq!(list["invoices"][0]["name"], "FW-000001");
    assert_eq!(list["invoices"][0]["paid_at_ms"], Value::Null);
    let invoice = acme.invoice(&world, "2026-09").await;
    assert_eq!(invoice, draft.clone().finalised(), "the estimate is the bill");
    let mail = world.mailbox.next(&acme.owner.email).await;
    assert!(mail.subject.contains("FW-000001") && mail.text.contains("USD"), "{}", mail.text);

    let export = acme.export(&world, "2026-09").await;
    assert_eq!(export.number, Some(1));
    acme.assert_agrees(&world, "2026-09").await;
    let path = acme.path("invoices/2026-09");
    let page = world.get(&format!("{path}/page"), &acme.owner).await.expect(200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(page.text.contains("FW-000001") && page.text.contains("Farwatch Ltd."), "{}", page.text);
    let csv = world.get(&format!("{path}/csv"), &acme.owner).await.expect(200);
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert!(csv.text.starts_with("kind,") && csv.text.contains("USD"), "{}", csv.text);

    // Nothing that happens afterwards changes it.
    let before = world.get(&path, &acme.owner).await.expect(200).text;
    world.records.samples(&acme.tenant, HOUR, 999);
    world.control_plane.set_plan(&acme.organisation, Plan::Free).await.unwrap();
    for _ in 0..3 {
        world.settle().await;
    }
    assert_eq!(world.get(&path, &acme.owner).await.expect(200).text, before);
    let log = world.get(&acme.path("audit"), &acme.owner).await.expect(200).json();
    let finalised = log["entries"].as_array().unwrap().iter().filter(|e| e["action"] == "invoice.finalise");
    assert_eq!(finalised.count(), 1);
}

async fn what_comes_late_is_billed_by_the_next_invoice(database: &Database) {
    let world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    world.records.samples(&acme.tenant, HOUR, 200_000_000);
    world.clock.advance_to_s(grace_ends_s("2026-09"));
    world.settle().await;
    acme.owner = world.back(&acme.owner).await;
    let first = acme.invoice(&world, "2026-09").await;

    // It had been held up for weeks.
    world.clock.advance(Duration::from_secs(3 * 24 * 3600));
    world.records.samples(&acme.tenant, HOUR, 50_000_000);
    world.settle().await;
    acme.owner = world.back(&acme.owner).await;
    let draft = acme.invoice(&world, "2026-10").await;
    let late: Vec<_> = draft.lines.iter().filter(|line| line.adjusts == Some(month("2026-09"))).collect();
    assert_eq!(late.iter().map(|line| line.quantity).sum::<i64>(), 50_000_000);
    let export = acme.export(&world, "2026-09").await;
    let found = export.verify(&world.records.rows()).unwrap();
    assert_eq!((found.differences.len(), found.late.len()), (0, 1));
    assert_eq!(found.late[0].quantity, 50_000_000);

    world.clock.advance_to_s(grace_ends_s("2026-10"));
    world.settle().await;
    acme.owner = world.back(&acme.owner).await;
    let second = acme.invoice(&world, "2026-10").await;
    acme.assert_agrees(&world, "2026-10").await;
    // Both together are what one would have been, but for the rounding to cents.
    let at_once = 250_000_000_i64;
    let billed: i64 = [&first, &second].iter().flat_map(|invoice| &invoice.lines).map(|l| l.quantity).sum();
    assert_eq!(billed, at_once);
    // It is billed once: the month after has nothing of it.
    world.clock.advance_to_s(grace_ends_s("2026-11"));
    world.settle().await;
    acme.owner = world.back(&acme.owner).await;
    let third = acme.invoice(&world, "2026-11").await;
    assert_eq!((third.lines.len(), third.total_micros), (0, 0));
    let list = world.get(&acme.path("invoices"), &acme.owner).await.expect(200).json();
    assert!(list["invoices"][2]["paid_at_ms"].is_i64(), "nothing is to be paid: {list}");
}

async fn numbers_have_no_gap_whoever_finalises(database: &Database) {
    let world = World::new(database).await;
    let mut customers = Vec::new();
    for at in 0..5 {
        let customer = Customer::new(&world, &format!("owner-{at}")).await;
        world.records.samples(&customer.tenant, HOUR, 200_000_000 + at);
        customers.push(customer);
    }
    // The second's invoice cannot be computed: it takes no number.
    world.records.samples(&customers[1].tenant, HOUR, i64::MAX as u64 - 1_000_000_000);
    world.records.samples(&customers[1].tenant, HOUR + 1, i64::MAX as u64);
    world.clock.advance_to_s(grace_ends_s("2026-10"));
    let (one, two) = (world.another(1).await, world.another(2).await);
    for _ in 0..2 {
        let (a, b, c) =
            tokio::join!(world.control_plane.settle_usage(), one.settle_usage(), two.settle_usage());
        // Two that do the same at once may get into each other's way.
        let _ = (a, b, c);
    }
    world.settle().await;
    let mut numbers = Vec::new();
    for (at, customer) in customers.iter_mut().enumerate() {
        customer.owner = world.back(&customer.owner).await;
        let list = world.get(&customer.path("invoices"), &customer.owner).await.expect(200).json();
        let own: Vec<i64> =
            list["invoices"].as_array().unwrap().iter().map(|i| i["number"].as_i64().unwrap()).collect();
        assert_eq!(own.len(), if at == 1 { 0 } else { 2 }, "{list}");
        assert!(own.is_sorted());
        numbers.extend(own);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    // Whose draft it is, is told why there is none.
    let path = customers[1].path("invoices/2026-09");
    let refused = world.get(&path, &customers[1].owner).await;
    assert_eq!(refused.problem(409), "conflict");
    one.shut_down().await;
    two.shut_down().await;
}

async fn a_new_price_counts_from_its_second_on_and_never_before(database: &Database) {
    let world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    // The fourth hour from now on, and a half.
    let change_s = (HOUR + 4) * 3600 + 1800;
    let plans = world.send(Method::GET, "/plans", None, None).await.expect(200).json();
    let mut version =
        plans["plans"].as_array().unwrap().iter().find(|plan| plan["plan"] == "team").unwrap().clone();
    version["version"] = json!(2);
    version["effective_from_s"] = json!(change_s);
    version["base_fee_micros"] = json!(30_000_000);
    version["prices"][0]["tiers"] = json!([{ "up_to": null, "price_micros": 1_000_000, "per": 1_000_000 }]);
    world.operate(Method::POST, "/operator/plans", Some(version.clone())).await.expect(204);
    assert_eq!(
        world.operate(Method::POST, "/operator/plans", Some(version)).await.problem(422),
        "invalid_field"
    );
    for hour in 0..10 {
        world.records.samples(&acme.tenant, HOUR + hour, 1_000_003);
    }
    world.clock.advance(Duration::from_secs(12 * 3600));
    world.settle().await;
    acme.owner = world.back(&acme.owner).await;
    let invoice = acme.invoice(&world, "2026-09").await;
    let of = |version: u32| -> i64 {
        let of_version =
            |line: &&control_plane::billing::Line| line.plan_version == version && line.meter.is_some();
        invoice.lines.iter().filter(of_version).map(|line| line.quantity).sum()
    };
    // An hour's usage has the price in force when it began.
    assert_eq!((of(1), of(2)), (5 * 1_000_003, 5 * 1_000_003));
    let fee = invoice.lines.iter().find(|line| line.unit_price_micros == 30_000_000).unwrap();
    assert_eq!(fee.quantity, month("2026-09").span().end_s - change_s, "the fee counts by the second");

    // Another plan, from this second on.
    let path = format!("/operator/organisations/{}/plan", acme.organisation);
    world.operate(Method::PUT, &path, Some(json!({ "plan": "free" }))).await.expect(204);
    world.records.samples(&acme.tenant, HOUR + 13, 500_000_000);
    world.settle().await;
    let after = acme.invoice(&world, "2026-09").await;
    let of_free: i64 =
        after.lines.iter().filter(|line| line.plan == "free").map(|line| line.amount_micros).sum();
    assert_eq!(of_free, 0);
    let terms = world.get(&acme.path("plan"), &acme.owner).await.expect(200).json();
    assert_eq!(terms["terms"].as_array().unwrap().len(), 2);
    assert_eq!(
        terms["terms"][1],
        json!({ "plan": "free", "from_s": 1_790_000_000 + 12 * 3600, "until_s": null })
    );
    // However the month is cut up, all of the usage is in it.
    let used: u64 = world.records.rows().iter().map(|row: &UsageRow| row.quantities.samples).sum();
    let billed: i64 = after.lines.iter().filter(|line| line.meter.is_some()).map(|line| line.quantity).sum();
    assert_eq!(billed.unsigned_abs(), used);
    acme.assert_agrees(&world, "2026-09").await;
}

async fn credits_pay_first_and_never_go_below_zero(database: &Database) {
    let world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    let grant = format!("/operator/organisations/{}/credits", acme.organisation);
    let credit = json!({ "kind": "sla", "currency": "USD", "micros": 30_000_000, "reason": "an hour without queries" });
    world.operate(Method::POST, &grant, Some(credit)).await.expect(201);
    world.records.samples(&acme.tenant, HOUR, 300_000_000);
    world.settle().await;
    let before = acme.invoice(&world, "2026-09").await;
    assert_eq!(before.total_micros, 0);
    assert_eq!(before.credits[0].applied_micros, before.subtotal_micros.unsigned_abs());

    // In the days when September is not final, October knows what September will use up.
    world.clock.advance_to_s(month("2026-10").span().start_s + 3600);
    let october = month("2026-10").span().start_s / 3600;
    world.records.samples(&acme.tenant, october, 500_000_000);
    world.settle().await;
    acme.owner = world.back(&acme.owner).await;
    let draft = acme.invoice(&world, "2026-10").await;
    let left = 30_000_000 - before.credits[0].applied_micros;
    assert_eq!(draft.credits[0].applied_micros, left.min(draft.subtotal_micros.unsigned_abs()));

    world.clock.advance_to_s(grace_ends_s("2026-10"));
    for _ in 0..2 {
        world.settle().await;
    }
    acme.owner = world.back(&acme.owner).await;
    let second = acme.invoice(&world, "2026-10").await;
    assert_eq!(second, draft.finalised());
    let credits = world.get(&acme.path("credits"), &acme.owner).await.expect(200).json();
    let used = before.credits[0].applied_micros + second.credits[0].applied_micros;
    assert_eq!(credits["credits"][0]["left_micros"], 30_000_000 - used);
    assert_eq!(credits["credits"][0]["granted_micros"], 30_000_000);
}

/// The rate that the data plane lets a tenant write with.
fn rate(directory: &Directory, tenant: &str) -> Option<Option<u32>> {
    let tenant = directory.tenant(&TenantId::new(tenant).unwrap())?;
    Some(tenant.limits.samples_per_second)
}

async fn a_spend_limit_warns_and_stops_and_lets_go_again(database: &Database) {
    let world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    let bob = world.member(&acme.owner, &acme.organisation, "bob", "billing").await;
    let carol = world.member(&acme.owner, &acme.organisation, "carol", "viewer").await;
    let path = acme.path("spend-limit");
    world.put(&path, &acme.owner, json!({ "limit_micros": 100_000_000 })).await.expect(204);
    // What is included is as much less as the organisation was there of the month; then 0.08 $ a million.
    let samples =
        |world: &World, millions: u64| world.records.samples(&acme.tenant, HOUR, millions * 1_000_000);
    samples(&world, 600);
    world.settle().await;
    let shown = world.get(&path, &acme.owner).await.expect(200).json();
    assert_eq!((&shown["reached_percent"], &shown["stopped"]), (&json!(0), &json!(false)), "{shown}");
    for (millions, percent) in [(100, 50), (350, 80), (300, 100)] {
        samples(&world, millions);
        for _ in 0..2 {
            world.settle().await;
        }
        let shown = world.get(&path, &acme.owner).await.expect(200).json();
        assert_eq!(shown["reached_percent"], percent, "{shown}");
        for person in [&acme.owner, &bob] {
            let mail = world.mailbox.next(&person.email).await;
            assert!(mail.subject.starts_with(&format!("{percent} %")), "{}", mail.subject);
            assert!(mail.text.contains("100.00 USD"), "{}", mail.text);
        }
    }
    let access = world.place.access_when(|d| rate(d, &acme.tenant) == Some(Some(0))).await;
    let tenant = access.directory().tenant(&TenantId::new(&acme.tenant).unwrap()).cloned().unwrap();
    assert_eq!(tenant.limits.spans_per_second, Some(0));
    assert!(tenant.limits.query_concurrency != Some(0), "queries go on");
    let _ = &carol;
    assert!(world.mailbox.is_empty(), "each step is told once, and to who has to do with money");

    // More may be spent: at once.
    world.put(&path, &bob, json!({ "limit_micros": 1_000_000_000 })).await.expect(204);
    world.place.access_when(|d| rate(d, &acme.tenant) == Some(Some(100_000))).await;
    world.put(&path, &bob, json!({ "limit_micros": 1 })).await.expect(204);
    world.place.access_when(|d| rate(d, &acme.tenant) == Some(Some(0))).await;
    assert!(world.get(&path, &bob).await.expect(200).json()["stopped"].as_bool().unwrap());
    // A new month.
    world.clock.advance_to_s(month("2026-10").span().start_s);
    world.settle().await;
    world.place.access_when(|d| rate(d, &acme.tenant) == Some(Some(100_000))).await;
    acme.owner = world.back(&acme.owner).await;
    world.put(&path, &acme.owner, json!({ "limit_micros": null })).await.expect(204);
    let shown = world.get(&path, &acme.owner).await.expect(200).json();
    assert_eq!((&shown["limit_micros"], &shown["stopped"]), (&Value::Null, &json!(false)));
    world.put(&path, &acme.owner, json!({ "limit_micros": -1 })).await.problem(422);
    let log = world.get(&acme.path("audit"), &acme.owner).await.expect(200).json();
    let entries = log["entries"].as_array().unwrap();
    let revisions: Vec<i64> = entries.iter().map(|entry| entry["revision"].as_i64().unwrap()).collect();
    assert!(revisions.is_sorted_by(|a, b| *a == b + 1), "the log has a gap: {log}");
    let of = |action: &str| entries.iter().filter(|entry| entry["action"] == action).count();
    assert_eq!(
        ["spend_limit.warn", "spend_limit.reached", "spend_limit.cleared"].map(of),
        [2, 2, 2],
        "{log}"
    );
}

async fn the_last_word_on_spending_is_in_force_at_once(database: &Database) {
    let world = World::new(database).await;
    let acme = Customer::new(&world, "ada").await;
    let path = acme.path("spend-limit");
    let limit = async |micros: i64| {
        world.put(&path, &acme.owner, json!({ "limit_micros": micros })).await.expect(204);
    };
    let shown = async || world.get(&path, &acme.owner).await.expect(200).json();
    world.records.samples(&acme.tenant, HOUR, 600_000_000);
    world.settle().await;

    // A credit, or another plan, pays for what had reached the limit: nobody has to wait until usage is looked at again.
    limit(1).await;
    assert_eq!(shown().await["stopped"], true);
    let spent = shown().await["spent_micros"].as_i64().unwrap();
    let grant = format!("/operator/organisations/{}/credits", acme.organisation);
    let credit =
        json!({ "kind": "sla", "currency": "USD", "micros": spent, "reason": "an hour without queries" });
    world.operate(Method::POST, &grant, Some(credit)).await.expect(201);
    assert_eq!(shown().await["stopped"], false);
    world.place.access_when(|d| rate(d, &acme.tenant) == Some(Some(100_000))).await;

    // While usage is being counted that reaches the limit, the owner raises it: whichever comes first, the raised one holds.
    let other = world.another(1).await;
    let mut rng = StdRng::seed_from_u64(7);
    for round in 0..25 {
        limit(shown().await["spent_micros"].as_i64().unwrap() + 1).await;
        assert_eq!(shown().await["stopped"], false, "round {round}");
        world.records.samples(&acme.tenant, HOUR, 100_000_000);
        let pause = Duration::from_micros(rng.random_range(0..8_000));
        let raise = async {
            tokio::time::sleep(pause).await;
            limit(1_000_000_000_000).await;
        };
        let (one, two, ()) = tokio::join!(world.control_plane.settle_usage(), other.settle_usage(), raise);
        // Two that do the same at once may get into each other's way.
        let _ = (one, two);
        assert_eq!(shown().await["stopped"], false, "round {round}");
        world.settle().await;
    }
    other.shut_down().await;
}

/// Samples that an invoice charges, corrections among them.
fn charged(invoice: &Invoice) -> i64 {
    invoice.lines.iter().filter(|line| line.meter.is_some()).map(|line| line.quantity).sum()
}

async fn what_is_stamped_before_the_signup_is_billed_with_its_month(database: &Database) {
    let world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    // Hours before the signup, and months.
    world.records.samples(&acme.tenant, HOUR - 5, 20_000_000);
    world.records.samples(&acme.tenant, HOUR - 24 * 40, 30_000_000);
    world.records.samples(&acme.tenant, HOUR, 100_000_000);
    world.settle().await;
    let draft = acme.invoice(&world, "2026-09").await;
    assert_eq!((charged(&draft), draft.unbilled.len()), (150_000_000, 0));
    acme.assert_agrees(&world, "2026-09").await;
    world.clock.advance_to_s(grace_ends_s("2026-09"));
    world.settle().await;
    acme.owner = world.back(&acme.owner).await;
    assert_eq!(acme.invoice(&world, "2026-09").await, draft.finalised());

    // When that month is final, the next invoice has it, once.
    world.records.samples(&acme.tenant, HOUR - 24 * 41, 7_000_000);
    world.clock.advance(Duration::from_secs(7200));
    acme.owner = world.back(&acme.owner).await;
    world.settle().await;
    let draft = acme.invoice(&world, "2026-10").await;
    assert!(draft.lines.iter().all(|line| line.adjusts == Some(month("2026-09"))), "{:?}", draft.lines);
    assert_eq!(charged(&draft), 7_000_000);
    for (at, expected) in [("2026-10", 7_000_000), ("2026-11", 0)] {
        world.clock.advance_to_s(grace_ends_s(at));
        world.settle().await;
        acme.owner = world.back(&acme.owner).await;
        assert_eq!(charged(&acme.invoice(&world, at).await), expected, "{at}");
        acme.assert_agrees(&world, at).await;
    }
}

async fn all_invoices_together_charge_each_distinct_sample_once(database: &Database) {
    let mut world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    let mut rng = StdRng::seed_from_u64(11);
    let mut distinct: BTreeSet<(i64, u16)> = BTreeSet::new();
    let months = ["2026-09", "2026-10", "2026-11", "2026-12", "2027-01", "2027-02"];
    for (at, name) in months.iter().enumerate() {
        // In the last month all is quiet.
        for _ in 0..if at + 1 < months.len() { 12 } else { 0 } {
            match rng.random_range(0..8) {
                0 => world.restart().await,
                1 => world.settle().await,
                _ => {
                    // From half a year ago, before the signup, to the end of this month; some of it was sent before.
                    let latest = month(name).span().end_s / 3600;
                    let hour = latest - rng.random_range(1..24 * 180);
                    let sent: BTreeSet<u16> = (0..50).map(|_| rng.random_range(0..200)).collect();
                    let before = distinct.len();
                    distinct.extend(sent.into_iter().map(|id| (hour, id)));
                    world.records.samples(&acme.tenant, hour, (distinct.len() - before) as u64);
                }
            }
        }
        world.clock.advance_to_s(grace_ends_s(name));
        // While the invoice is made final, and just afterwards, more may come.
        for _ in 0..3 {
            world.settle().await;
        }
    }
    acme.owner = world.back(&acme.owner).await;
    let mut all = 0;
    for name in months {
        let invoice = acme.invoice(&world, name).await;
        all += charged(&invoice);
        let found = acme.export(&world, name).await.verify(&world.records.rows()).unwrap();
        assert_eq!((found.differences, invoice.unbilled), (Vec::new(), Vec::new()), "{name}");
    }
    assert_eq!(all.unsigned_abs(), distinct.len() as u64);
}

async fn an_old_draft_agrees_with_a_ledger_that_has_grown(database: &Database) {
    let world = World::new(database).await;
    let acme = Customer::new(&world, "ada").await;
    world.records.samples(&acme.tenant, HOUR, 200_000_000);
    world.settle().await;
    let downloaded_ms = world.clock.now_ms();
    let draft = acme.export(&world, "2026-09").await;
    world.clock.advance(Duration::from_secs(300));
    world.records.samples(&acme.tenant, HOUR, 9);
    world.records.samples(&acme.tenant, HOUR + 3, 7);
    let found = draft.verify(&world.records.rows()).unwrap();
    assert_eq!((found.differences, found.as_of_ms), (Vec::new(), Some(downloaded_ms)));
    let newer: Vec<(i64, u64)> = found.late.iter().map(|late| (late.hour, late.quantity)).collect();
    assert_eq!(newer, [(HOUR, 9), (HOUR + 3, 7)]);
    world.settle().await;
    acme.assert_agrees(&world, "2026-09").await;
    // One that states more than there is, is wrong all the same.
    let mut wrong = draft;
    wrong.input.rows[0].quantities.samples += 100;
    assert!(!wrong.verify(&world.records.rows()).unwrap().differences.is_empty());
}

async fn an_invoice_names_tenants_as_they_were_called(database: &Database) {
    let world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    world.records.samples(&acme.tenant, HOUR, 200_000_000);
    world.clock.advance_to_s(grace_ends_s("2026-09"));
    world.settle().await;
    acme.owner = world.back(&acme.owner).await;
    let rename = Some(json!({ "name": "live" }));
    let path = format!("/tenants/{}", acme.tenant);
    world.send(Method::PATCH, &path, Some(&acme.owner.token), rename).await.expect(204);
    world.records.samples(&acme.tenant, month("2026-10").span().start_s / 3600, 5);
    world.settle().await;
    for (at, name) in [("2026-09", "production"), ("2026-10", "live")] {
        let invoice = acme.invoice(&world, at).await;
        let named = format!("{name} ({})", acme.tenant);
        assert!(invoice.breakdown.by_tenant.iter().any(|part| part.named().as_ref() == Some(&named)));
        let page = world.get(&acme.path(&format!("invoices/{at}/page")), &acme.owner).await.expect(200);
        assert!(page.text.contains(&named), "{at}");
        acme.assert_agrees(&world, at).await;
    }
}

async fn nothing_is_final_while_a_ledger_cannot_be_read(database: &Database) {
    let world = World::new(database).await;
    let mut acme = Customer::new(&world, "ada").await;
    world.records.samples(&acme.tenant, HOUR, 200_000_000);
    world.records.set_out_of_reach(true);
    world.clock.advance_to_s(grace_ends_s("2026-09"));
    assert!(world.control_plane.settle_usage().await.is_err());
    acme.owner = world.back(&acme.owner).await;
    let list = world.get(&acme.path("invoices"), &acme.owner).await.expect(200).json();
    assert_eq!(list["invoices"], json!([]));
    world.records.set_out_of_reach(false);
    world.settle().await;
    assert!(acme.invoice(&world, "2026-09").await.total_micros > 0);
}

async fn prices_and_credits_that_cannot_be_are_refused(database: &Database) {
    let world = World::new(database).await;
    let acme = Customer::new(&world, "ada").await;
    let later = 1_790_000_001;
    let tier = |up_to: Value, per: u64| json!({ "up_to": up_to, "price_micros": 1, "per": per });
    let version = |number: u32, plan: &str, from_s: i64, currency: &str, tiers: Vec<Value>| {
        json!({
            "plan": plan, "version": number, "currency": currency, "effective_from_s": from_s, "base_fee_micros": 0,
            "minimum_micros": 0, "prices": [{ "meter": "samples", "tiers": tiers }],
        })
    };
    let good = || vec![tier(Value::Null, 1)];
    for bad in [
        version(3, "team", later, "USD", good()),
        version(1, "team", later, "USD", good()),
        version(2, "nonsense", later, "USD", good()),
        version(2, "team", later - 1, "USD", good()),
        version(2, "team", later, "EUR", good()),
        version(2, "team", later, "USD", vec![]),
        version(2, "team", later, "USD", vec![tier(json!(5), 1)]),
        version(2, "team", later, "USD", vec![tier(Value::Null, 0)]),
    ] {
        let refused = world.operate(Method::POST, "/operator/plans", Some(bad.clone())).await;
        assert_eq!(refused.problem(422), "invalid_field", "{bad}");
    }
    world
        .operate(Method::POST, "/operator/plans", Some(version(2, "team", later, "USD", good())))
        .await
        .expect(204);

    let grant = |organisation: &str| format!("/operator/organisations/{organisation}/credits");
    let credit = |micros: i64, expires_s: Value| json!({ "kind": "promotion", "currency": "USD", "micros": micros, "expires_s": expires_s, "reason": "" });
    for bad in [credit(0, Value::Null), credit(-1, Value::Null), credit(1, json!(1_790_000_000))] {
        let refused = world.operate(Method::POST, &grant(&acme.organisation), Some(bad.clone())).await;
        assert_eq!(refused.problem(422), "invalid_field", "{bad}");
    }
    for (field, value) in [("currency", "EUR"), ("kind", "overpayment"), ("kind", "carried_over")] {
        let mut bad = credit(1, Value::Null);
        bad[field] = json!(value);
        let refused = world.operate(Method::POST, &grant(&acme.organisation), Some(bad)).await;
        assert_eq!(
            (refused.problem(422), refused.field("field")),
            ("invalid_field".to_owned(), field.to_owned())
        );
    }
    let unknown = world.operate(Method::POST, &grant("org_nobody"), Some(credit(1, Value::Null))).await;
    assert_eq!(unknown.problem(404), "not_found");
    let plan = json!({ "plan": "free" });
    let unknown = world.operate(Method::PUT, "/operator/organisations/org_nobody/plan", Some(plan)).await;
    assert_eq!(unknown.problem(404), "not_found");
    let standings = world.operate(Method::GET, "/operator/organisations", None).await.expect(200).json();
    assert_eq!(standings["organisations"][0]["plan"], "team");
    assert_eq!(standings["organisations"][0]["unpaid_invoices"], 0);
}
