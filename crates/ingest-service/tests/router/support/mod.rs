//! A service over a bucket, and requests to it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use ingest_service::leases::LeaseServer;
use ingest_service::{Ingest, IngestParts, IngestSettings, grpc_router, http_router};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;
use segment_store::{
    Bucket, GroupCommit, GroupCommitParts, GroupCommitSettings, LocalBucket, ManualClock, NoTail, Seed,
    ShardId, WorkOn,
};
use telemetry::{MetricBatch, TenantId};
use tenancy::{
    Access, ApiKey, DirectoryDocument, DirectorySigner, KeyEntry, Limits, Priority, Scope, TenantEntry,
};
use tower::ServiceExt;

pub(crate) mod messages;

/// The time in every test.
pub(crate) const NOW_MS: i64 = 1_790_000_000_000;

/// What a test sets up differently.
pub(crate) struct Setup {
    pub(crate) limits: Limits,
    pub(crate) settings: IngestSettings,
    pub(crate) anonymous: Option<&'static str>,
    pub(crate) bucket: Option<Arc<dyn Bucket>>,
    pub(crate) commit: GroupCommitSettings,
    pub(crate) leases: Option<Arc<dyn LeaseServer>>,
    /// Makes the process another one than those of other numbers.
    pub(crate) seed: u64,
}

impl Default for Setup {
    fn default() -> Self {
        // Nothing is won by waiting for company in a test.
        let commit =
            GroupCommitSettings { linger: Duration::from_millis(1), ..GroupCommitSettings::default() };
        Self {
            limits: Limits::unlimited(),
            settings: IngestSettings::default(),
            anonymous: None,
            bucket: None,
            commit,
            leases: None,
            seed: 2,
        }
    }
}

/// The keys of the directory: two tenants, and keys of `acme` that are not good for writing metrics.
pub(crate) struct Keys {
    pub(crate) acme: ApiKey,
    pub(crate) other: ApiKey,
    pub(crate) read_only: ApiKey,
    pub(crate) admin_only: ApiKey,
    pub(crate) traces_only: ApiKey,
    pub(crate) expired: ApiKey,
    pub(crate) revoked: ApiKey,
    pub(crate) unlisted: ApiKey,
    pub(crate) elsewhere: ApiKey,
    pub(crate) low: ApiKey,
}

pub(crate) struct World {
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) http: Router,
    pub(crate) grpc: Router,
    pub(crate) bucket: Arc<dyn Bucket>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) keys: Keys,
    _dir: tempfile::TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(crate) fn with(setup: Setup) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(42);
        let mut key = || ApiKey::generate(&mut rng);
        let keys = Keys {
            acme: key(),
            other: key(),
            read_only: key(),
            admin_only: key(),
            traces_only: key(),
            expired: key(),
            revoked: key(),
            unlisted: key(),
            elsewhere: key(),
            low: key(),
        };
        let signer = DirectorySigner::generate(&mut rng);
        let document = directory(&keys, &setup.limits).publish(&signer).unwrap();
        let anonymous = setup.anonymous.map(|id| TenantId::new(id).unwrap());
        let access = Access::new(&document, signer.verifier(), anonymous, NOW_MS).unwrap();
        let clock = Arc::new(ManualClock::new(NOW_MS));
        let dir = tempfile::tempdir().unwrap();
        let bucket = setup.bucket.unwrap_or_else(|| Arc::new(LocalBucket::open(dir.path()).unwrap()));
        let commit = GroupCommit::start(GroupCommitParts {
            bucket: Arc::clone(&bucket),
            shard: ShardId(0),
            tail: Arc::new(NoTail),
            clock: clock.clone(),
            seed: Seed::from_number(1),
            work_on: WorkOn::SameThread,
            settings: setup.commit,
        });
        let ingest = Ingest::start(IngestParts {
            access: Arc::new(access),
            commits: BTreeMap::from([(ShardId(0), Arc::new(commit))]),
            leases: setup.leases,
            clock: clock.clone(),
            seed: Seed::from_number(setup.seed),
            settings: setup.settings,
        });
        let (http, grpc) = (http_router(Arc::clone(&ingest)), grpc_router(Arc::clone(&ingest)));
        Self { ingest, http, grpc, bucket, clock, keys, _dir: dir }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        answer(self.http.clone().oneshot(request).await.unwrap()).await
    }

    pub(crate) async fn send_grpc(&self, request: Request<Body>) -> Answer {
        answer(self.grpc.clone().oneshot(request).await.unwrap()).await
    }

    /// Remote write 1.0 with `acme`'s key.
    pub(crate) async fn write(&self, message: &messages::WriteRequest) -> Answer {
        self.send(remote_write(Some(&self.keys.acme), message)).await
    }

    /// Everything durable of a tenant, as `series → (timestamp, value)`, without duplicates.
    pub(crate) async fn stored(&self, tenant: &str) -> Vec<(String, i64, f64)> {
        let mut samples: BTreeMap<(String, i64), f64> = BTreeMap::new();
        for batch in self.batches(tenant).await {
            for (index, series) in batch.series.iter().enumerate() {
                let (timestamps_ms, values) = batch.floats_of(index);
                for (at, value) in timestamps_ms.iter().zip(values) {
                    samples.insert((series.labels().to_string(), *at), *value);
                }
            }
        }
        samples.into_iter().map(|((series, at), value)| (series, at, value)).collect()
    }

    /// The names of what is stored of a tenant.
    pub(crate) async fn stored_names(&self, tenant: &str) -> Vec<String> {
        self.stored(tenant).await.into_iter().map(|(series, _, _)| series).collect()
    }

    pub(crate) async fn batches(&self, tenant: &str) -> Vec<MetricBatch> {
        let mut batches = Vec::new();
        for object in segment_store::list_fresh(&*self.bucket, ShardId(0), None).await.unwrap() {
            for (owner, batch) in segment_store::read_fresh_partitions(&*self.bucket, &object).await.unwrap()
            {
                if owner.as_str() == tenant {
                    batches.push(batch.unwrap());
                }
            }
        }
        batches
    }
}

async fn answer(response: http::Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let trailers = collected.trailers().cloned().unwrap_or_default();
    Answer { status: parts.status, headers: parts.headers, body: collected.to_bytes(), trailers }
}

pub(crate) fn bearer(key: &ApiKey) -> String {
    format!("Bearer {}", key.expose())
}

/// A `POST` of `body`, with `key` if there is one.
pub(crate) fn post(
    path: &str,
    key: Option<&ApiKey>,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Request<Body> {
    let mut request = Request::post(path);
    if let Some(key) = key {
        request = request.header("authorization", bearer(key));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).unwrap()
}

pub(crate) const REMOTE_WRITE_HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/x-protobuf"),
    ("content-encoding", "snappy"),
    ("x-prometheus-remote-write-version", "0.1.0"),
];

pub(crate) fn remote_write(key: Option<&ApiKey>, message: &messages::WriteRequest) -> Request<Body> {
    post("/api/v1/write", key, &REMOTE_WRITE_HEADERS, messages::snappy(message))
}

fn directory(keys: &Keys, limits: &Limits) -> DirectoryDocument {
    let entry = |key: &ApiKey, scopes: &[Scope]| KeyEntry::of(key, scopes.iter().copied());
    let write = [Scope::MetricsWrite];
    let tenant = |id: &str, shard, limits: Limits, keys| TenantEntry {
        id: id.to_owned(),
        shard,
        retention_days: 30,
        home_cell: None,
        limits,
        keys,
    };
    let acme = vec![
        entry(&keys.acme, &write),
        entry(&keys.read_only, &[Scope::MetricsRead, Scope::TracesRead]),
        entry(&keys.admin_only, &[Scope::Admin]),
        entry(&keys.traces_only, &[Scope::TracesWrite]),
        KeyEntry { expires_at_ms: Some(NOW_MS - 1), ..entry(&keys.expired, &write) },
        KeyEntry { revoked_at_ms: Some(NOW_MS - 1), ..entry(&keys.revoked, &write) },
        KeyEntry { priority: Priority::Low, ..entry(&keys.low, &write) },
    ];
    DirectoryDocument {
        version: 7,
        issued_at_ms: NOW_MS,
        tenants: vec![
            tenant("acme", 0, limits.clone(), acme),
            tenant("other", 0, Limits::unlimited(), vec![entry(&keys.other, &write)]),
            tenant("elsewhere", 9, Limits::unlimited(), vec![entry(&keys.elsewhere, &write)]),
        ],
    }
}
