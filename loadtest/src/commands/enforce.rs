//! `loadtest enforce`: from a change in the control plane until it holds where data is written and read.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Value, json};

use super::{CommandError, Outcome, api, work_dir};
use crate::api::{ApiError, Client, parse_json, success};
use crate::cli::Enforce;
use crate::clock;
use crate::http::{Connection, Endpoint};
use crate::limits::{ENFORCE_BOUND, ENFORCE_PAUSE_MAX, ENFORCE_POLL, REQUEST_TIMEOUT};
use crate::progress::Progress;
use crate::proto::{EncodedLabels, RequestBuilder};
use crate::server::{Launch, Product};
use crate::stats::{Latencies, LatencySummary};
use crate::table::Table;

const EMAIL: &str = "loadtest@example.com";
const PASSWORD: &str = "only on this machine";

/// From the answer to the change to the first request that is treated accordingly.
#[derive(Debug, Default, Serialize)]
struct Report {
    /// A new key is taken.
    created: LatencySummary,
    /// A limit of zero refuses writes.
    limited: LatencySummary,
    /// A revoked key is refused.
    revoked: LatencySummary,
}

/// Runs the command.
///
/// # Errors
/// When nothing can be said about the server.
pub async fn run(args: &Enforce) -> Result<Outcome, CommandError> {
    let dir = work_dir("loadtest-enforce-", args.work_dir.as_deref())?;
    let mut launch =
        Launch::new(Product::Farwatch, args.farwatch.clone(), dir.path().to_path_buf(), args.args.clone());
    let running = launch.start().await?;
    let mut control = Control::of(running.endpoint.without_key());
    let tenant = control.begin(dir.path()).await?;
    let mut rng = ChaCha8Rng::seed_from_u64(args.seed);
    let (mut created, mut limited, mut revoked) =
        (Latencies::default(), Latencies::default(), Latencies::default());
    let progress = Progress::new("rounds", args.rounds as usize);
    for _ in 0..args.rounds {
        // Rounds begin at any moment of the data plane's own rhythm.
        tokio::time::sleep(ENFORCE_PAUSE_MAX.mul_f64(rng.random())).await;
        let new = json!({ "name": "enforce", "scopes": ["metrics:write"] });
        let keys = format!("/tenants/{tenant}/keys");
        let made = control.call(Method::POST, &keys, &new).await.map_err(api("creating a key"))?;
        let (secret, id) = (text(&made["secret"]), text(&made["key"]["id"]));
        let mut writer = Client::new(running.endpoint.with_key(secret));
        created.push(until(&mut writer, Standing::Taken).await.map_err(api("using a new key"))?);
        let quotas = format!("/tenants/{tenant}/quotas");
        let none = json!({ "samples_per_second": 0 });
        control.call(Method::PUT, &quotas, &none).await.map_err(api("setting a limit"))?;
        let took = until(&mut writer, Standing::Refused(StatusCode::TOO_MANY_REQUESTS)).await;
        limited.push(took.map_err(api("waiting for a limit"))?);
        control.call(Method::PUT, &quotas, &json!({})).await.map_err(api("lifting a limit"))?;
        until(&mut writer, Standing::Taken).await.map_err(api("waiting for no limit"))?;
        let key = format!("{keys}/{id}");
        control.call(Method::DELETE, &key, &Value::Null).await.map_err(api("revoking a key"))?;
        let took = until(&mut writer, Standing::Refused(StatusCode::UNAUTHORIZED)).await;
        revoked.push(took.map_err(api("waiting for a refusal"))?);
        progress.add(1);
    }
    let report =
        Report { created: created.summary(), limited: limited.summary(), revoked: revoked.summary() };
    let mut table = Table::new(["change → in force, ms", "p50", "p99", "max"]);
    let rows =
        [("new key", &report.created), ("limit of zero", &report.limited), ("revoked key", &report.revoked)];
    for (name, LatencySummary { p50_ms, p99_ms, max_ms, .. }) in rows {
        table.row(name, [p50_ms, p99_ms, max_ms].map(|ms| format!("{ms:.0}")));
    }
    let bound_ms = ENFORCE_BOUND.as_secs_f64() * 1000.0;
    let good = report.limited.max_ms <= bound_ms && report.revoked.max_ms <= bound_ms;
    Ok(Outcome { text: table.to_string(), json: serde_json::to_value(&report)?, good })
}

/// How it is with a write.
#[derive(Clone, Copy, PartialEq)]
enum Standing {
    Taken,
    Refused(StatusCode),
}

/// Writes a sample again and again until that is answered as `wanted`; gives up after a time that is too long by far.
async fn until(writer: &mut Client, wanted: Standing) -> Result<Duration, ApiError> {
    let start = clock::now();
    let labels = EncodedLabels::new([("__name__", "loadtest_enforce")]);
    loop {
        let mut request = RequestBuilder::default();
        request.push(&labels, 1.0, clock::unix_ms());
        let found = match writer.write(request.finish().unwrap_or_default()).await {
            Ok(()) => Standing::Taken,
            Err(ApiError::Refused { status, .. }) => Standing::Refused(status),
            Err(error) => return Err(error),
        };
        if found == wanted || start.elapsed() > REQUEST_TIMEOUT {
            return Ok(start.elapsed());
        }
        tokio::time::sleep(ENFORCE_POLL).await;
    }
}

/// The control plane, as one who has an account sees it.
struct Control {
    endpoint: Endpoint,
    connection: Connection,
}

impl Control {
    fn of(endpoint: Endpoint) -> Self {
        Self { connection: Connection::new(endpoint.clone()), endpoint }
    }

    /// Signs up with the link in the log, and makes a tenant; returns its id.
    async fn begin(&mut self, dir: &Path) -> Result<String, CommandError> {
        const DOING: &str = "signing up";
        let account = json!({ "email": EMAIL, "password": PASSWORD });
        self.call(Method::POST, "/accounts", &account).await.map_err(api(DOING))?;
        let start = clock::now();
        let link = loop {
            let log = std::fs::read_to_string(dir.join("server-1.log")).unwrap_or_default();
            if let Some((_, rest)) = log.split_once("/verify#token=") {
                let end = rest.find(|at: char| !(at.is_ascii_alphanumeric() || "-_".contains(at)));
                break rest[..end.unwrap_or(rest.len())].to_owned();
            }
            if start.elapsed() > REQUEST_TIMEOUT {
                return Err(CommandError::Usage(
                    "there is no link to confirm the address in the server's log",
                ));
            }
            tokio::time::sleep(ENFORCE_POLL).await;
        };
        let confirm = json!({ "token": link, "password": PASSWORD });
        self.call(Method::POST, "/accounts/verify", &confirm).await.map_err(api(DOING))?;
        let session = self.call(Method::POST, "/sessions", &account).await.map_err(api(DOING))?;
        *self = Self::of(self.endpoint.with_key(text(&session["access_token"])));
        let name = json!({ "name": "loadtest" });
        let organisation = self.call(Method::POST, "/organisations", &name).await.map_err(api(DOING))?;
        let tenants = format!("/organisations/{}/tenants", text(&organisation["id"]));
        let tenant = self.call(Method::POST, &tenants, &name).await.map_err(api(DOING))?;
        Ok(text(&tenant["id"]).to_owned())
    }

    async fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<Value, ApiError> {
        let path = format!("/api/control/v1{path}");
        let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let headers = [(CONTENT_TYPE, "application/json")];
        let answer = success(self.connection.send(method, &path, &headers, body).await?)?;
        if answer.is_empty() { Ok(Value::Null) } else { parse_json(&answer) }
    }
}

/// A text of an answer.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
