//! A control plane with all of its world in the test's hands.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::extract::ConnectInfo;
use control_plane::billing::render::Party;
use control_plane::billing::{CostTable, Quantities, Signal, UsageRow};
use control_plane::payments::{Manual, PaymentProvider};
use control_plane::ports::{
    Activity, ActivityReport, Clock, DirectoryPublisher, LedgerState, Mail, MailError, Mailer, PublishError,
    Published, TenantData, TenantDataError, UsageSource, UsageSourceError,
};
use control_plane::{ControlPlane, Parts, PasswordCost, Plan, RootSecret, Secret, Settings};
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tenancy::{Access, Directory, DirectorySigner};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::database::Database;

pub(crate) const BASE: &str = "/api/control/v1";
pub(crate) const PASSWORD: &str = "correct horse battery";
/// What a test waits for happens at once; this only ends those that would hang.
const PATIENCE: Duration = Duration::from_secs(20);
const START_MS: i64 = 1_790_000_000_000;

/// Stands still until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(Mutex<i64>);

impl HandClock {
    /// Goes on to a time.
    pub(crate) fn advance_to_s(&self, unix_s: i64) {
        *self.0.lock() = unix_s * 1000;
    }

    pub(crate) fn advance(&self, by: Duration) {
        *self.0.lock() += i64::try_from(by.as_millis()).unwrap();
    }
}

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        *self.0.lock()
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(*self.0.lock() - START_MS).unwrap())
    }
}

/// Keeps what is sent.
#[derive(Debug)]
pub(crate) struct Mailbox(watch::Sender<Vec<Mail>>);

#[async_trait]
impl Mailer for Mailbox {
    async fn send(&self, mail: &Mail) -> Result<(), MailError> {
        self.0.send_modify(|mails| mails.push(mail.clone()));
        Ok(())
    }
}

impl Mailbox {
    /// Takes the next mail to this address, when it comes.
    pub(crate) async fn next(&self, to: &str) -> Mail {
        let mut mails = self.0.subscribe();
        let waiting = mails.wait_for(|mails| mails.iter().any(|mail| mail.to == to));
        drop(tokio::time::timeout(PATIENCE, waiting).await.expect("no mail came").unwrap());
        let mut taken = None;
        self.0.send_modify(|mails| {
            let at = mails.iter().position(|mail| mail.to == to).unwrap();
            taken = Some(mails.remove(at));
        });
        taken.unwrap()
    }

    /// The token in the link of the next mail to this address.
    pub(crate) async fn next_token(&self, to: &str) -> String {
        let mail = self.next(to).await;
        let (_, rest) = mail.text.split_once("#token=").expect("the mail has a link");
        rest.split_whitespace().next().unwrap().to_owned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }
}

/// A place for the directory, which can be out of reach.
#[derive(Debug)]
pub(crate) struct Place {
    published: watch::Sender<(u64, Option<Vec<u8>>)>,
    out_of_reach: Mutex<bool>,
}

#[async_trait]
impl DirectoryPublisher for Place {
    async fn current(&self) -> Result<Option<Published>, PublishError> {
        if *self.out_of_reach.lock() {
            return Err(PublishError("the place is out of reach".into()));
        }
        let (version, document) = self.published.borrow().clone();
        Ok(document.map(|document| Published { document, tag: version.to_string() }))
    }

    async fn publish(&self, document: Vec<u8>, replaces: Option<&str>) -> Result<bool, PublishError> {
        if *self.out_of_reach.lock() {
            return Err(PublishError("the place is out of reach".into()));
        }
        Ok(self.published.send_if_modified(|(version, published)| {
            let tag = published.as_ref().map(|_| version.to_string());
            if tag.as_deref() != replaces {
                return false;
            }
            *version += 1;
            *published = Some(document);
            true
        }))
    }
}

impl Place {
    pub(crate) fn set_out_of_reach(&self, out_of_reach: bool) {
        *self.out_of_reach.lock() = out_of_reach;
    }

    /// Puts a document there by hand.
    pub(crate) fn put(&self, document: Vec<u8>) {
        self.published.send_modify(|(version, published)| {
            *version += 1;
            *published = Some(document);
        });
    }

    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        self.published.borrow().1.clone()
    }

    /// What a process of the data plane has in force, as soon as it is as `wanted`.
    pub(crate) async fn access_when(&self, wanted: impl Fn(&Directory) -> bool) -> Access {
        let mut published = self.published.subscribe();
        let open = |bytes: &Option<Vec<u8>>| {
            let bytes = bytes.as_ref()?;
            Access::new(bytes, signer().verifier(), None, START_MS).ok()
        };
        let waiting =
            published.wait_for(|(_, bytes)| open(bytes).is_some_and(|access| wanted(&access.directory())));
        let found = tokio::time::timeout(PATIENCE, waiting).await.expect("the directory did not become so");
        let found = found.unwrap();
        open(&found.1).unwrap()
    }
}

/// What the data plane knows of its use.
#[derive(Debug, Default)]
pub(crate) struct Records(Mutex<RecordsState>);

#[derive(Debug, Default)]
struct RecordsState {
    ledgers: BTreeMap<(String, Signal), (u64, BTreeMap<i64, Quantities>)>,
    /// Versions before the last one.
    old: BTreeMap<(String, Signal), LedgerState>,
    reports: Vec<ActivityReport>,
    out_of_reach: bool,
    behind: bool,
    keeps_reports: bool,
    unreadable: Option<String>,
    erased: Vec<String>,
}

impl Records {
    /// Commits more usage of an hour.
    pub(crate) fn commit(&self, tenant: &str, signal: Signal, hour: i64, more: Quantities) {
        let before = self.state(tenant, signal);
        let mut state = self.0.lock();
        state.old.extend(before.map(|before| ((tenant.to_owned(), signal), before)));
        let (generation, hours) = state.ledgers.entry((tenant.to_owned(), signal)).or_default();
        *generation += 1;
        let sum = hours.entry(hour).or_default();
        sum.samples += more.samples;
        sum.spans += more.spans;
        sum.stored_bytes += more.stored_bytes;
        sum.active_series += more.active_series;
    }

    /// Commits samples.
    pub(crate) fn samples(&self, tenant: &str, hour: i64, samples: u64) {
        self.commit(tenant, Signal::Metrics, hour, Quantities { samples, ..Quantities::default() });
    }

    pub(crate) fn report(&self, report: ActivityReport) {
        self.0.lock().reports.push(report);
    }

    pub(crate) fn reports_left(&self) -> usize {
        self.0.lock().reports.len()
    }

    pub(crate) fn set_out_of_reach(&self, out_of_reach: bool) {
        self.0.lock().out_of_reach = out_of_reach;
    }

    /// Answers with ledgers as they were one version ago: a reader that was held up.
    pub(crate) fn set_behind(&self, behind: bool) {
        self.0.lock().behind = behind;
    }

    /// The ledger of this tenant cannot be read.
    pub(crate) fn set_unreadable(&self, tenant: Option<&str>) {
        self.0.lock().unreadable = tenant.map(str::to_owned);
    }

    /// Deleting reports fails.
    pub(crate) fn set_keeps_reports(&self, keeps: bool) {
        self.0.lock().keeps_reports = keeps;
    }

    /// Every hour that was committed.
    pub(crate) fn rows(&self) -> Vec<UsageRow> {
        let state = self.0.lock();
        let rows = state.ledgers.iter().flat_map(|((tenant, signal), (_, hours))| {
            hours.iter().map(|(hour, quantities)| UsageRow {
                tenant: tenant.clone(),
                signal: *signal,
                hour: *hour,
                quantities: *quantities,
            })
        });
        rows.collect()
    }

    fn state(&self, tenant: &str, signal: Signal) -> Option<LedgerState> {
        let state = self.0.lock();
        let (generation, hours) = state.ledgers.get(&(tenant.to_owned(), signal))?;
        Some(LedgerState {
            generation: *generation,
            tag: generation.to_string(),
            at_rest_bytes: hours.values().map(|hour| hour.stored_bytes).sum(),
            hours: hours.iter().map(|(hour, quantities)| (*hour, *quantities)).collect(),
        })
    }

    fn reach(&self) -> Result<(), UsageSourceError> {
        if self.0.lock().out_of_reach {
            return Err(UsageSourceError("the bucket is out of reach".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl UsageSource for Records {
    async fn tenants(&self) -> Result<Vec<String>, UsageSourceError> {
        self.reach()?;
        let mut tenants: Vec<String> =
            self.0.lock().ledgers.keys().map(|(tenant, _)| tenant.clone()).collect();
        tenants.dedup();
        Ok(tenants)
    }

    async fn ledger(
        &self,
        tenant: &str,
        signal: Signal,
        known: Option<&str>,
    ) -> Result<Option<LedgerState>, UsageSourceError> {
        self.reach()?;
        if self.0.lock().unreadable.as_deref() == Some(tenant) {
            return Err(UsageSourceError("its ledger cannot be read".into()));
        }
        let old = {
            let state = self.0.lock();
            state.old.get(&(tenant.to_owned(), signal)).filter(|_| state.behind).cloned()
        };
        Ok(old.or_else(|| self.state(tenant, signal)).filter(|state| Some(state.tag.as_str()) != known))
    }

    async fn reports(&self, count: usize) -> Result<Vec<ActivityReport>, UsageSourceError> {
        self.reach()?;
        Ok(self.0.lock().reports.iter().take(count).cloned().collect())
    }

    async fn forget(&self, ids: &[String]) -> Result<(), UsageSourceError> {
        self.reach()?;
        let mut state = self.0.lock();
        if state.keeps_reports {
            return Err(UsageSourceError("nothing can be deleted".into()));
        }
        state.reports.retain(|report| !ids.contains(&report.id));
        Ok(())
    }
}

#[async_trait]
impl TenantData for Records {
    async fn delete(&self, tenant: &str) -> Result<(), TenantDataError> {
        self.reach().map_err(|error| TenantDataError(error.into()))?;
        let mut state = self.0.lock();
        state.ledgers.retain(|(of, _), _| of != tenant);
        state.erased.push(tenant.to_owned());
        Ok(())
    }
}

impl Records {
    /// The tenants whose data was deleted, each time.
    pub(crate) fn erased(&self) -> Vec<String> {
        self.0.lock().erased.clone()
    }
}

pub(crate) fn signer() -> DirectorySigner {
    DirectorySigner::from_seed(&[7; 32])
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn field(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}")).to_owned()
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// The problem's code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.json()["status"], status);
        assert!(self.json()["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{self:?}");
        self.field("code")
    }
}

/// Somebody who logged in.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) email: String,
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) refresh: String,
}

pub(crate) struct World {
    pub(crate) control_plane: ControlPlane,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) place: Arc<Place>,
    pub(crate) records: Arc<Records>,
    payments: Arc<dyn PaymentProvider>,
    database_url: String,
    starts: u8,
    next_address: AtomicU32,
}

impl World {
    pub(crate) async fn new(database: &Database) -> Self {
        let instructions = "Account 4711".to_owned();
        Self::with_payments(database, Arc::new(Manual { instructions })).await
    }

    pub(crate) async fn with_payments(database: &Database, payments: Arc<dyn PaymentProvider>) -> Self {
        let clock = Arc::new(HandClock(Mutex::new(START_MS)));
        let mailbox = Arc::new(Mailbox(watch::Sender::new(Vec::new())));
        let place =
            Arc::new(Place { published: watch::Sender::new((0, None)), out_of_reach: Mutex::new(false) });
        let records = Arc::new(Records::default());
        let (database_url, next_address) = (database.url.clone(), AtomicU32::new(0));
        let outside = Outside {
            clock: &clock,
            mailbox: &mailbox,
            place: &place,
            records: &records,
            payments: &payments,
        };
        let control_plane = start(&database.url, 0, outside).await;
        Self {
            control_plane,
            clock,
            mailbox,
            place,
            records,
            payments,
            database_url,
            starts: 0,
            next_address,
        }
    }

    fn outside(&self) -> Outside<'_> {
        let Self { clock, mailbox, place, records, payments, .. } = self;
        Outside { clock, mailbox, place, records, payments }
    }

    /// Another process on the same database and the same place.
    pub(crate) async fn another(&self, number: u8) -> ControlPlane {
        start(&self.database_url, 100 + number, self.outside()).await
    }

    /// The process ends and another one begins.
    pub(crate) async fn restart(&mut self) {
        self.control_plane.shut_down().await;
        self.starts += 1;
        self.control_plane = start(&self.database_url, self.starts, self.outside()).await;
    }

    /// A process of the data plane reports this.
    pub(crate) async fn report(&self, activity: Activity) {
        let id = format!("report {}", self.next_address.fetch_add(1, Ordering::Relaxed));
        let activity = Activity { at_ms: self.clock.now_ms(), ..activity };
        self.records.report(ActivityReport { id, activity });
        self.settle().await;
    }

    /// Sends a request from an address that nobody had before.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let address = 0x0a00_0000 + self.next_address.fetch_add(1, Ordering::Relaxed);
        self.send_from(IpAddr::V4(Ipv4Addr::from(address)), method, path, token, body).await
    }

    pub(crate) async fn send_from(
        &self,
        address: IpAddr,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("{BASE}{path}"));
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        self.send_request(address, request.body(body).unwrap()).await
    }

    pub(crate) async fn send_request(&self, address: IpAddr, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 4711))));
        let response = self.control_plane.router().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, path: &str, person: &Person) -> Answer {
        self.send(Method::GET, path, Some(&person.token), None).await
    }

    pub(crate) async fn post(&self, path: &str, person: &Person, body: Value) -> Answer {
        self.send(Method::POST, path, Some(&person.token), Some(body)).await
    }

    pub(crate) async fn put(&self, path: &str, person: &Person, body: Value) -> Answer {
        self.send(Method::PUT, path, Some(&person.token), Some(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, person: &Person) -> Answer {
        self.send(Method::DELETE, path, Some(&person.token), None).await
    }

    /// With the operator's token.
    pub(crate) async fn operate(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.send(method, path, Some(OPERATOR), body).await
    }

    /// Without credentials.
    pub(crate) async fn ask(&self, path: &str, body: Value) -> Answer {
        self.send(Method::POST, path, None, Some(body)).await
    }

    pub(crate) async fn log_in(&self, email: &str, password: &str) -> Answer {
        self.ask("/sessions", json!({ "email": email, "password": password })).await
    }

    /// The same person, logged in anew.
    pub(crate) async fn back(&self, person: &Person) -> Person {
        let session = self.log_in(&person.email, PASSWORD).await.expect(201);
        let (token, refresh) = (session.field("access_token"), session.field("refresh_token"));
        Person { token, refresh, ..person.clone() }
    }

    /// Unix seconds.
    pub(crate) fn now_s(&self) -> i64 {
        self.clock.now_ms() / 1000
    }

    /// Lets the data plane's records be counted.
    pub(crate) async fn settle(&self) {
        self.control_plane.settle_usage().await.unwrap();
    }

    /// Signs somebody up, confirms the address, and logs in.
    pub(crate) async fn person(&self, name: &str) -> Person {
        let email = format!("{name}@example.com");
        self.ask("/accounts", json!({ "email": email, "password": PASSWORD })).await.expect(202);
        let token = self.mailbox.next_token(&email).await;
        self.ask("/accounts/verify", json!({ "token": token, "password": PASSWORD })).await.expect(204);
        let session = self.log_in(&email, PASSWORD).await.expect(201);
        let (token, refresh) = (session.field("access_token"), session.field("refresh_token"));
        let mut person = Person { email, id: String::new(), token, refresh };
        person.id = self.get("/account", &person).await.expect(200).field("id");
        person
    }

    /// An organisation of this person's; its id.
    pub(crate) async fn organisation(&self, owner: &Person) -> String {
        self.post("/organisations", owner, json!({ "name": "Example Ltd." })).await.expect(201).field("id")
    }

    /// Somebody new with this role in an organisation.
    pub(crate) async fn member(&self, owner: &Person, organisation: &str, name: &str, role: &str) -> Person {
        let person = self.person(name).await;
        let invitation = json!({ "email": person.email, "role": role });
        self.post(&format!("/organisations/{organisation}/invitations"), owner, invitation).await.expect(201);
        let token = self.mailbox.next_token(&person.email).await;
        self.post("/invitations/accept", &person, json!({ "token": token })).await.expect(200);
        person
    }

    /// A tenant of an organisation; its id. The first is called `production`.
    pub(crate) async fn tenant(&self, owner: &Person, organisation: &str) -> String {
        let path = format!("/organisations/{organisation}/tenants");
        let there = self.get(&path, owner).await.expect(200).json()["tenants"].as_array().unwrap().len();
        let name = if there == 0 { "production".to_owned() } else { format!("production {there}") };
        self.post(&path, owner, json!({ "name": name })).await.expect(201).field("id")
    }

    /// An API key: its id and its text.
    pub(crate) async fn key(&self, owner: &Person, tenant: &str, scopes: &[&str]) -> (String, String) {
        let body = json!({ "name": "a key", "scopes": scopes });
        let made = self.post(&format!("/tenants/{tenant}/keys"), owner, body).await.expect(201);
        (made.json()["key"]["id"].as_str().unwrap().to_owned(), made.field("secret"))
    }
}

/// What the operator's requests are sent with.
pub(crate) const OPERATOR: &str = "operator-hidden-4711";

/// The world around a control plane.
#[derive(Clone, Copy)]
struct Outside<'a> {
    clock: &'a Arc<HandClock>,
    mailbox: &'a Arc<Mailbox>,
    place: &'a Arc<Place>,
    records: &'a Arc<Records>,
    payments: &'a Arc<dyn PaymentProvider>,
}

async fn start(url: &str, number: u8, outside: Outside<'_>) -> ControlPlane {
    let Outside { clock, mailbox, place, records, payments } = outside;
    let parts = Parts {
        settings: Settings {
            database_url: url.to_owned(),
            public_url: "https://farwatch.example.com/".to_owned(),
            default_plan: Plan::Team,
            // As cheap as can be: what it costs is tested elsewhere.
            password_cost: PasswordCost { memory_kib: 8, passes: 1 },
            seller: Party { name: "Farwatch Ltd.".to_owned(), details: "1 High Street".to_owned() },
            costs: CostTable::aws(),
        },
        clock: Arc::clone(clock) as _,
        publisher: Arc::clone(place) as _,
        usage: Arc::clone(records) as _,
        data: Arc::clone(records) as _,
        payments: Arc::clone(payments),
        mailer: Arc::clone(mailbox) as _,
        signer: signer(),
        root: RootSecret::new([9; 32]),
        operator_token: Secret::new(OPERATOR.to_owned()),
        seed: [number; 32],
    };
    ControlPlane::start(parts).await.unwrap()
}
