//! Having invoices paid: by hand, and by Stripe, for which a stand-in answers as Stripe's documents say.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use control_plane::Secret;
use control_plane::payments::{Stripe, StripeSettings};
use hmac::{Hmac, Mac as _};
use http::{Method, Request};
use parking_lot::Mutex;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::database::{Database, on_both_databases};
use crate::world::{Answer, BASE, Person, World};

on_both_databases!(
    an_invoice_is_paid_by_hand_once,
    an_invoice_is_paid_on_a_page_of_stripes_once,
    whatever_gets_lost_there_is_one_payment,
    what_is_not_signed_by_stripe_is_not_believed,
    what_is_paid_twice_becomes_a_credit,
);

const API_KEY: &str = "sk_test_hidden";
const WEBHOOK_SECRET: &str = "whsec_hidden";
const HOUR: i64 = 497_222;
/// Two days after the end of September.
const FINAL_S: i64 = 1_790_812_800 + 2 * 24 * 3600;

/// Stripe, as far as its documents say what it does.
#[derive(Default)]
struct StandIn {
    /// What was answered to which idempotency key and form.
    answered: HashMap<String, (Vec<(String, String)>, Value)>,
    sessions: Vec<Value>,
    /// How the next requests fail.
    failures: Vec<Failure>,
    requests: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// Before anything is done.
    Status(u16),
    /// After the session was made.
    AnswerLost,
}

type Shared = Arc<Mutex<StandIn>>;

fn problem(status: u16, kind: &str, message: &str) -> Response {
    let body = json!({ "error": { "type": kind, "message": message } });
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}

async fn create_session(
    State(stripe): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<Vec<(String, String)>>,
) -> Response {
    let mut stripe = stripe.lock();
    stripe.requests += 1;
    if headers["authorization"] != format!("Bearer {API_KEY}").as_str() {
        return problem(401, "invalid_request_error", "Invalid API Key provided");
    }
    assert!(headers["stripe-version"].to_str().unwrap().starts_with("20"));
    let failure = (!stripe.failures.is_empty()).then(|| stripe.failures.remove(0));
    if let Some(Failure::Status(status)) = failure {
        return problem(status, "api_error", "try again");
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    if let Some((before, answer)) = stripe.answered.get(&key) {
        if *before != form {
            return problem(
                400,
                "idempotency_error",
                "Keys for idempotent requests can only be used with the same parameters",
            );
        }
        return ([("idempotent-replayed", "true")], axum::Json(answer.clone())).into_response();
    }
    let field = |name: &str| form.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str());
    for needed in ["mode", "success_url", "line_items[0][price_data][currency]", "line_items[0][quantity]"] {
        if field(needed).is_none() {
            return problem(400, "invalid_request_error", &format!("Missing required param: {needed}."));
        }
    }
    let life_s = field("expires_at").unwrap().parse::<i64>().unwrap() - FINAL_S;
    assert!((1800..=3 * 24 * 3600).contains(&life_s), "{life_s}");
    let number = stripe.sessions.len() + 1;
    let amount: i64 = field("line_items[0][price_data][unit_amount]").unwrap().parse().unwrap();
    let session = json!({
        "id": format!("cs_test_{number}"), "object": "checkout.session", "status": "open", "payment_status": "unpaid",
        "url": format!("https://checkout.stripe.com/c/pay/cs_test_{number}"), "amount_total": amount,
        "currency": field("line_items[0][price_data][currency]"), "mode": field("mode"),
        "client_reference_id": field("client_reference_id"), "livemode": false,
    });
    stripe.sessions.push(session.clone());
    stripe.answered.insert(key, (form, session.clone()));
    if failure == Some(Failure::AnswerLost) {
        return problem(502, "api_error", "the answer got lost");
    }
    axum::Json(session).into_response()
}

impl StandIn {
    async fn start() -> (Shared, Arc<Stripe>) {
        let stripe = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v1/checkout/sessions", post(create_session))
            .with_state(Arc::clone(&stripe));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let (api_key, webhook_secret) =
            (Secret::new(API_KEY.to_owned()), Secret::new(WEBHOOK_SECRET.to_owned()));
        let client = Stripe::new(StripeSettings { url, api_key, webhook_secret }).unwrap();
        (stripe, Arc::new(client))
    }
}

/// An event that Stripe sends when a session was paid.
fn paid(session: &Value, event: &str) -> Value {
    let mut session = session.clone();
    session["status"] = json!("complete");
    session["payment_status"] = json!("paid");
    json!({
        "id": event, "object": "event", "type": "checkout.session.completed", "livemode": false,
        "data": { "object": session },
    })
}

fn signature(body: &str, at_s: i64, secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at_s}.{body}").as_bytes());
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={at_s},v1={hex},v0=00")
}

async fn deliver(world: &World, body: &str, signature: &str) -> Answer {
    let request = Request::post(format!("{BASE}/payments/webhook"))
        .header("content-type", "application/json; charset=utf-8")
        .header("stripe-signature", signature)
        .body(Body::from(body.to_owned()))
        .unwrap();
    world.send_request("192.0.2.1".parse().unwrap(), request).await
}

/// A good event, now.
async fn tell(world: &World, event: &Value) -> Answer {
    let body = event.to_string();
    deliver(world, &body, &signature(&body, world.now_s(), WEBHOOK_SECRET)).await
}

/// Somebody with a final invoice of some dollars.
async fn debtor(world: &World) -> (Person, String) {
    let owner = world.person("ada").await;
    let organisation = world.organisation(&owner).await;
    let tenant = world.tenant(&owner, &organisation).await;
    world.records.samples(&tenant, HOUR, 300_000_000);
    world.clock.advance_to_s(FINAL_S);
    world.settle().await;
    let owner = world.back(&owner).await;
    (owner, format!("/organisations/{organisation}"))
}

async fn standing(world: &World, owner: &Person, organisation: &str) -> Value {
    let list = world.get(&format!("{organisation}/invoices"), owner).await.expect(200).json();
    list["invoices"][0].clone()
}

async fn an_invoice_is_paid_by_hand_once(database: &Database) {
    let world = World::new(database).await;
    let (owner, organisation) = debtor(&world).await;
    let pay = format!("{organisation}/invoices/2026-09/payment");
    let offer = world.send(Method::POST, &pay, Some(&owner.token), None).await.expect(200).json();
    assert_eq!(offer, json!({ "url": null, "expires_at_ms": null, "instructions": "Account 4711" }));
    assert_eq!(standing(&world, &owner, &organisation).await["paid_at_ms"], Value::Null);
    let unpaid = world.operate(Method::GET, "/operator/organisations", None).await.expect(200).json();
    assert_eq!(unpaid["organisations"][0]["unpaid_invoices"], 1);
    let noted = json!({ "reference": "bank 4711" });
    let paid = world.operate(Method::PUT, "/operator/invoices/1/paid", Some(noted.clone())).await.expect(200);
    assert_eq!(paid.json()["paid_at_ms"], FINAL_S * 1000);
    let again = world.operate(Method::PUT, "/operator/invoices/1/paid", Some(noted.clone())).await;
    assert_eq!(again.problem(409), "conflict");
    for unknown in ["2", "nonsense"] {
        let path = format!("/operator/invoices/{unknown}/paid");
        assert_eq!(world.operate(Method::PUT, &path, Some(noted.clone())).await.problem(404), "not_found");
    }
    assert_eq!(standing(&world, &owner, &organisation).await["paid_at_ms"], FINAL_S * 1000);
    let offer = world.send(Method::POST, &pay, Some(&owner.token), None).await;
    assert_eq!(offer.problem(409), "conflict");
    let draft = format!("{organisation}/invoices/2026-10/payment");
    assert_eq!(world.send(Method::POST, &draft, Some(&owner.token), None).await.problem(404), "not_found");
    // Nobody else tells of payments.
    assert_eq!(tell(&world, &json!({})).await.problem(401), "unauthenticated");
}

async fn an_invoice_is_paid_on_a_page_of_stripes_once(database: &Database) {
    let (stripe, provider) = StandIn::start().await;
    let mut world = World::with_payments(database, provider).await;
    let (owner, organisation) = debtor(&world).await;
    let pay = format!("{organisation}/invoices/2026-09/payment");
    let first = world.send(Method::POST, &pay, Some(&owner.token), None).await.expect(200);
    assert_eq!(first.field("url"), "https://checkout.stripe.com/c/pay/cs_test_1");
    world.restart().await;
    let second = world.send(Method::POST, &pay, Some(&owner.token), None).await.expect(200);
    assert_eq!(second.text, first.text);
    let session = stripe.lock().sessions[0].clone();
    let total_micros = standing(&world, &owner, &organisation).await["total_micros"].as_i64().unwrap();
    assert_eq!(session["amount_total"], total_micros / 10_000);
    assert_eq!(session["currency"], "usd");

    // Waiting for the bank, and other people's news, pay nothing.
    let mut waiting = paid(&session, "evt_0");
    waiting["data"]["object"]["payment_status"] = json!("unpaid");
    tell(&world, &waiting).await.expect(204);
    let mut other = paid(&session, "evt_1");
    other["type"] = json!("checkout.session.expired");
    tell(&world, &other).await.expect(204);
    let mut unknown = paid(&session, "evt_2");
    unknown["data"]["object"]["client_reference_id"] = json!("somebody else's");
    tell(&world, &unknown).await.expect(204);
    unknown["data"]["object"]["client_reference_id"] = Value::Null;
    tell(&world, &unknown).await.expect(204);
    assert_eq!(standing(&world, &owner, &organisation).await["paid_at_ms"], Value::Null);
    // Less than was asked for is no payment.
    let mut less = paid(&session, "evt_3");
    less["data"]["object"]["amount_total"] = json!(1);
    assert_eq!(tell(&world, &less).await.problem(409), "conflict");
    assert_eq!(standing(&world, &owner, &organisation).await["paid_at_ms"], Value::Null);

    for event in ["evt_4", "evt_4", "evt_5"] {
        tell(&world, &paid(&session, event)).await.expect(204);
    }
    assert_eq!(standing(&world, &owner, &organisation).await["paid_at_ms"], FINAL_S * 1000);
    let credits = world.get(&format!("{organisation}/credits"), &owner).await.expect(200).json();
    assert_eq!(credits["credits"], json!([]), "three messages were of one payment");
    assert_eq!(stripe.lock().sessions.len(), 1);
}

async fn whatever_gets_lost_there_is_one_payment(database: &Database) {
    let (stripe, provider) = StandIn::start().await;
    let world = World::with_payments(database, provider).await;
    let (owner, organisation) = debtor(&world).await;
    let pay = format!("{organisation}/invoices/2026-09/payment");
    stripe.lock().failures = [500, 429, 500].map(Failure::Status).to_vec();
    let refused = world.send(Method::POST, &pay, Some(&owner.token), None).await;
    assert_eq!(refused.problem(503), "unavailable");
    stripe.lock().failures = vec![Failure::Status(409), Failure::AnswerLost];
    let offer = world.send(Method::POST, &pay, Some(&owner.token), None).await.expect(200);
    assert_eq!(offer.field("url"), "https://checkout.stripe.com/c/pay/cs_test_1");
    let made = stripe.lock().sessions.len();
    assert_eq!((made, stripe.lock().requests), (1, 6));
    // What Stripe refuses is not tried again, and not passed on.
    stripe.lock().answered.clear();
    stripe.lock().failures = vec![Failure::Status(402)];
    world.clock.advance(Duration::from_secs(23 * 3600));
    let owner = world.back(&owner).await;
    let refused = world.send(Method::POST, &pay, Some(&owner.token), None).await;
    assert_eq!(refused.problem(409), "conflict");
    assert!(!refused.text.contains("try again") && !refused.text.contains(API_KEY));
    assert_eq!(stripe.lock().requests, 7);
}

async fn what_is_not_signed_by_stripe_is_not_believed(database: &Database) {
    let (stripe, provider) = StandIn::start().await;
    let world = World::with_payments(database, provider).await;
    let (owner, organisation) = debtor(&world).await;
    let pay = format!("{organisation}/invoices/2026-09/payment");
    world.send(Method::POST, &pay, Some(&owner.token), None).await.expect(200);
    let session = stripe.lock().sessions[0].clone();
    let (body, now_s) = (paid(&session, "evt_1").to_string(), world.now_s());
    for bad in [
        signature(&body, now_s, "whsec_another"),
        signature(&body, now_s - 301, WEBHOOK_SECRET),
        signature(&body, now_s + 301, WEBHOOK_SECRET),
        signature("{}", now_s, WEBHOOK_SECRET),
        "nonsense".to_owned(),
    ] {
        assert_eq!(deliver(&world, &body, &bad).await.problem(401), "unauthenticated", "{bad}");
    }
    assert_eq!(tell(&world, &json!("no event")).await.problem(400), "invalid_body");
    assert_eq!(standing(&world, &owner, &organisation).await["paid_at_ms"], Value::Null);
    deliver(&world, &body, &signature(&body, now_s - 299, WEBHOOK_SECRET)).await.expect(204);
    assert_eq!(standing(&world, &owner, &organisation).await["paid_at_ms"], FINAL_S * 1000);
}

async fn what_is_paid_twice_becomes_a_credit(database: &Database) {
    let (stripe, provider) = StandIn::start().await;
    let world = World::with_payments(database, provider).await;
    let (owner, organisation) = debtor(&world).await;
    let pay = format!("{organisation}/invoices/2026-09/payment");
    world.send(Method::POST, &pay, Some(&owner.token), None).await.expect(200);
    // The page is good for 23 hours; then there is another one.
    world.clock.advance(Duration::from_secs(23 * 3600));
    let owner = world.back(&owner).await;
    let second = world.send(Method::POST, &pay, Some(&owner.token), None).await.expect(200);
    assert_eq!(second.field("url"), "https://checkout.stripe.com/c/pay/cs_test_2");
    let sessions = stripe.lock().sessions.clone();
    tell(&world, &paid(&sessions[0], "evt_1")).await.expect(204);
    tell(&world, &paid(&sessions[1], "evt_2")).await.expect(204);
    let total = standing(&world, &owner, &organisation).await["total_micros"].clone();
    let credits = world.get(&format!("{organisation}/credits"), &owner).await.expect(200).json();
    assert_eq!(credits["credits"][0]["kind"], "overpayment");
    assert_eq!(credits["credits"][0]["left_micros"], total);
    assert_eq!(credits["credits"].as_array().unwrap().len(), 1);
}
