//! One process's services, put together and taken apart.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ingest_service::leases::LeaseServer;
use ingest_service::{Ingest, IngestParts, IngestSettings};
use parking_lot::Mutex;
use query_service::{
    CacheError, CacheParts, CacheSettings, EngineParts, Follower, FollowerParts, FollowerStats, PageCache,
    QueryEngine, QuerySettings, Segments, SegmentsParts, SegmentsSettings, Tail, TailSettings,
};
use rand::Rng as _;
use segment_store::compact::{
    CommitListener, Compactor, CompactorHandle, CompactorParts, CompactorSettings, CompactorStats,
    RetentionPolicy,
};
use segment_store::{
    Bucket, Clock, Counted, GroupCommit, GroupCommitParts, GroupCommitSettings, NoTail, Retrying, Seed,
    ShardId, ShardManifest, TailSink, TenantManifest, WorkOn,
};
use telemetry::TenantId;
use tenancy::Access;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use wire::otlp::MetricOptions;

use super::activity::{NameCounter, Reporter};
use super::control::{self, Control, ControlError, ControlNews};
use super::directory::{self, FirstKey, SetupParts};
use super::leases::HttpLeases;
use super::limits::{BACKGROUND_TIME, DATA_DIR_RETRY, DATA_DIR_WAIT, FLUSH_TIME};
use crate::bucket;
use crate::config::Config;
use crate::config::topics::BucketAddress;
use crate::config::value::{Bound, ServerUrl};
use crate::data_lock::DataLock;

/// The one shard of a process that stands alone.
pub(super) const SHARD: ShardId = ShardId(0);

/// Why the services could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The bucket cannot be opened.
    #[error(transparent)]
    Bucket(#[from] bucket::BucketOpenError),
    /// There is no tenant directory to serve with.
    #[error(transparent)]
    Directory(#[from] directory::DirectorySetupError),
    /// The cache cannot be opened.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The control plane cannot be had with these settings.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Nobody can be asked for shares of limits.
    #[error("cannot make requests to the lease server")]
    LeaseServer(#[source] reqwest::Error),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Randomness(#[source] std::io::Error),
    /// The data directory cannot be made.
    #[error("cannot make the data directory {path}")]
    DataDir {
        /// The directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The data directory cannot be locked.
    #[error("cannot lock the data directory {path}")]
    Lock {
        /// The directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A command has the data directory to itself.
    #[error(
        "a command such as `farwatch compact --once` works on the data directory {path}; start again when it has ended"
    )]
    Busy {
        /// The directory.
        path: String,
    },
}

/// The services of this process. Which there are, its roles say.
pub struct Node {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) bucket: Arc<Counted>,
    pub(super) access: Arc<Access>,
    pub(super) commit: Option<Arc<GroupCommit>>,
    pub(super) ingest: Option<Arc<Ingest>>,
    pub(super) query: Option<QueryNode>,
    pub(super) control: Option<Control>,
    compactor: Mutex<Option<CompactorHandle>>,
    stop: CancellationToken,
    directory_poller: Mutex<Option<JoinHandle<()>>>,
    stop_reporting: CancellationToken,
    reporter: Mutex<Option<JoinHandle<()>>>,
    _data: DataLock,
}

/// What a start has to tell its user of the first tenant's key.
#[derive(Default)]
pub struct HandOver {
    /// The key, if it is to be shown.
    pub first_key: Option<FirstKey>,
    /// The file that this start wrote it to.
    pub key_file: Option<PathBuf>,
}

/// What answers queries.
pub struct QueryNode {
    pub(super) engine: Arc<QueryEngine>,
    pub(super) tail: Arc<Tail>,
    pub(super) cache: PageCache,
    pub(super) segments: Arc<Segments>,
    follower: Mutex<Option<Follower>>,
}

impl QueryNode {
    pub(super) fn follower_stats(&self, clock: &dyn Clock) -> FollowerStats {
        self.follower.lock().as_ref().map(|follower| follower.stats(clock)).unwrap_or_default()
    }
}

impl Node {
    /// Puts the services together and starts what runs in the background.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> Result<(Self, HandOver), NodeError> {
        let storage = &config.storage;
        if let Some(key_file) = &config.service.bootstrap_key_file {
            directory::check_bootstrap_key_file(&storage.data_dir, key_file)?;
        }
        if config.service.role.control_plane {
            control::check(config)?;
        }
        std::fs::create_dir_all(&storage.data_dir)
            .map_err(|source| NodeError::DataDir { path: storage.data_dir.display().to_string(), source })?;
        let data = share(&storage.data_dir, &*clock).await?;
        let address = storage.bucket.clone().unwrap_or_else(|| own_bucket(&storage.data_dir));
        let opened = bucket::open(&address, storage.s3_endpoint.as_ref().map(ServerUrl::as_str)).await?;
        let bucket = Arc::new(Counted::new(opened));
        // Counted below the retries: each request is billed.
        let counted: Arc<dyn Bucket> = Arc::clone(&bucket) as _;
        let shared: Arc<dyn Bucket> = Arc::new(Retrying::new(counted, Arc::clone(&clock), &seed()?));

        let anonymous = config.service.anonymous_tenant.as_ref();
        let setup = SetupParts {
            bucket: &*shared,
            data_dir: &storage.data_dir,
            bootstrap_key_file: config.service.bootstrap_key_file.as_deref(),
            anonymous_tenant: anonymous,
            now_ms: clock.now_ms(),
        };
        let setup = setup.set_up(&mut seed()?.rng()).await?;
        let access = setup.access;

        let query = match config.service.role.query {
            true => Some(query_node(config, &address, &shared, &clock).await?),
            false => None,
        };
        let tail: Arc<dyn TailSink> = match &query {
            Some(query) => Arc::clone(&query.tail) as _,
            None => Arc::new(NoTail),
        };
        let (mut names, mut tail) = (None, tail);
        if config.service.role.ingest {
            let counter = Arc::new(NameCounter::new(tail));
            tail = Arc::clone(&counter) as _;
            names = Some(counter);
        }
        let (commit, ingest) = if config.service.role.ingest {
            let commit = Arc::new(GroupCommit::start(GroupCommitParts {
                bucket: Arc::clone(&shared),
                shard: SHARD,
                tail,
                clock: Arc::clone(&clock),
                seed: seed()?,
                work_on: WorkOn::BlockingThreads,
                settings: GroupCommitSettings {
                    linger: config.ingest.linger.0,
                    ..GroupCommitSettings::default()
                },
            }));
            let ingest = Ingest::start(IngestParts {
                access: Arc::clone(&access),
                commits: BTreeMap::from([(SHARD, Arc::clone(&commit))]),
                leases: lease_server(config, &clock)?,
                clock: Arc::clone(&clock),
                seed: seed()?,
                settings: ingest_settings(config),
            });
            (Some(commit), Some(ingest))
        } else {
            (None, None)
        };

        let control_plane = match config.service.role.control_plane {
            true => {
                let (bucket, clock) = (Arc::clone(&shared), Arc::clone(&clock));
                Some(Control::start(config, bucket, clock, &mut seed()?.rng())?)
            }
            false => None,
        };

        let news = control_plane.as_ref().map(Control::news);
        let compactor = match config.service.role.compact {
            true => Some(compactor(&shared, &clock, &access, query.as_ref(), news.clone())?.start()),
            false => None,
        };

        let stop = CancellationToken::new();
        let stop_reporting = CancellationToken::new();
        let reporter = Reporter {
            bucket: Arc::clone(&shared),
            access: Arc::clone(&access),
            names,
            ingest: ingest.clone(),
            requests: Arc::clone(&bucket),
            clock: Arc::clone(&clock),
            process: format!("{:032x}", seed()?.rng().random::<u128>()),
            control: news,
        };
        let reporter = Mutex::new(Some(tokio::spawn(reporter.run(stop_reporting.clone()))));
        let poller = directory::poll(
            Arc::clone(&shared),
            Arc::clone(&access),
            setup.etag,
            Arc::clone(&clock),
            stop.clone(),
        );
        let directory_poller = Mutex::new(Some(tokio::spawn(poller)));
        let hand_over = HandOver { first_key: setup.first_key, key_file: setup.key_file };
        let compactor = Mutex::new(compactor);
        let node = Self {
            clock,
            bucket,
            access,
            commit,
            ingest,
            query,
            control: control_plane,
            compactor,
            stop,
            directory_poller,
            stop_reporting,
            reporter,
            _data: data,
        };
        Ok((node, hand_over))
    }

    /// Lets requests that run end soon: none waits for company any more. Call it when told to stop, before waiting for them.
    pub fn hurry(&self) {
        if let Some(commit) = &self.commit {
            commit.stop_lingering();
        }
    }

    /// Finishes what has begun, after the last request has ended. Nothing that was acknowledged depends on it; it takes
    /// bounded time.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        if let Some(ingest) = &self.ingest
            && tokio::time::timeout(FLUSH_TIME, ingest.shutdown()).await.is_err()
        {
            tracing::warn!("gave up storing pending writes; none of them was acknowledged");
        }
        if tokio::time::timeout(BACKGROUND_TIME, self.end_background()).await.is_err() {
            tracing::warn!("gave up waiting for reads from the bucket");
        }
    }

    /// Figures of the compactor, where there is one.
    pub(super) fn compactor_stats(&self) -> Option<CompactorStats> {
        self.compactor.lock().as_ref().map(CompactorHandle::stats)
    }

    async fn end_background(&self) {
        // Nothing is written any more: this is the last report.
        self.stop_reporting.cancel();
        let reporter = self.reporter.lock().take();
        if let Some(reporter) = reporter
            && let Err(error) = reporter.await
        {
            tracing::error!(%error, "reporting activity had failed");
        }
        let compactor = self.compactor.lock().take();
        if let Some(compactor) = compactor {
            compactor.shutdown().await;
        }
        let follower = self.query.as_ref().and_then(|query| query.follower.lock().take());
        if let Some(follower) = follower {
            follower.shutdown().await;
        }
        if let Some(query) = &self.query {
            query.cache.close().await;
        }
        if let Some(control) = &self.control {
            control.shut_down().await;
        }
        let poller = self.directory_poller.lock().take();
        if let Some(poller) = poller
            && let Err(error) = poller.await
        {
            tracing::error!(%error, "polling the tenant directory had failed");
        }
    }
}

/// Uses the data directory beside other servers, as soon as no command has it to itself, if that is within
/// [`DATA_DIR_WAIT`].
async fn share(data_dir: &Path, clock: &dyn Clock) -> Result<DataLock, NodeError> {
    let path = data_dir.display().to_string();
    let deadline = clock.monotonic() + DATA_DIR_WAIT;
    let mut is_waiting = false;
    loop {
        match DataLock::share(data_dir) {
            Ok(Some(lock)) => return Ok(lock),
            Ok(None) if clock.monotonic() >= deadline => return Err(NodeError::Busy { path }),
            Ok(None) if !is_waiting => {
                is_waiting = true;
                tracing::warn!(
                    path,
                    wait_seconds = DATA_DIR_WAIT.as_secs(),
                    "a command such as `farwatch compact --once` works on the data directory: waiting for it to end"
                );
            }
            Ok(None) => {}
            Err(source) => return Err(NodeError::Lock { path, source }),
        }
        tokio::time::sleep(DATA_DIR_RETRY).await;
    }
}

/// What compacts beside the other services.
fn compactor(
    bucket: &Arc<dyn Bucket>,
    clock: &Arc<dyn Clock>,
    access: &Arc<Access>,
    query: Option<&QueryNode>,
    control: Option<ControlNews>,
) -> Result<Compactor, NodeError> {
    let committed = query.and_then(|query| query.follower.lock().as_ref().map(Follower::committed));
    let listener = Arc::new(Notifier { committed, control });
    Ok(Compactor::new(CompactorParts {
        bucket: Arc::clone(bucket),
        shard: SHARD,
        clock: Arc::clone(clock),
        seed: seed()?,
        work_on: WorkOn::BlockingThreads,
        retention: Arc::new(DirectoryRetention(Arc::clone(access))),
        listener,
        settings: CompactorSettings::default(),
    }))
}

/// Tells the query node in this process that there is a new manifest, and the control plane that there is more in a ledger.
#[derive(Debug)]
struct Notifier {
    committed: Option<Arc<Notify>>,
    control: Option<ControlNews>,
}

impl CommitListener for Notifier {
    fn shard_committed(&self, _manifest: &ShardManifest) {
        if let Some(committed) = &self.committed {
            committed.notify_one();
        }
    }

    fn tenant_committed(&self, tenant: &TenantId, _manifest: &TenantManifest) {
        if let Some(control) = &self.control {
            control.usage_changed(tenant);
        }
    }
}

/// Keeps data for as long as the tenant directory says; that of tenants which it does not have, for ever.
#[derive(Debug)]
pub(crate) struct DirectoryRetention(pub(crate) Arc<Access>);

impl RetentionPolicy for DirectoryRetention {
    fn retention(&self, tenant: &TenantId) -> Option<Duration> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        let directory = self.0.directory();
        directory.tenant(tenant).map(|tenant| DAY.saturating_mul(tenant.retention_days))
    }
}

/// The bucket of a process that was given none.
fn own_bucket(data_dir: &Path) -> BucketAddress {
    BucketAddress::Directory(data_dir.join("bucket"))
}

fn seed() -> Result<Seed, NodeError> {
    Seed::from_os().map_err(NodeError::Randomness)
}

/// Who shares limits among ingest processes, if anybody does.
fn lease_server(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Arc<dyn LeaseServer>>, NodeError> {
    let Some(server) = &config.ingest.lease_server else { return Ok(None) };
    let signer = directory::signer(&config.storage.data_dir, &mut seed()?.rng())?;
    let leases = HttpLeases::new(server, signer, Arc::clone(clock)).map_err(NodeError::LeaseServer)?;
    Ok(Some(Arc::new(leases)))
}

fn ingest_settings(config: &Config) -> IngestSettings {
    IngestSettings {
        out_of_order_window: match config.ingest.out_of_order_window {
            Bound::Within(window) => Some(window),
            Bound::Unlimited => None,
        },
        otlp: MetricOptions {
            promotion: config.ingest.otlp_promote_attributes.clone(),
            ..MetricOptions::default()
        },
        ..IngestSettings::default()
    }
}

/// Shares of the memory of the cache, in sixteenths: pages of objects, parsed indexes; the rest is for decoded data.
const PAGES_SIXTEENTHS: u64 = 4;
const INDEXES_SIXTEENTHS: u64 = 4;

async fn query_node(
    config: &Config,
    address: &BucketAddress,
    bucket: &Arc<dyn Bucket>,
    clock: &Arc<dyn Clock>,
) -> Result<QueryNode, NodeError> {
    let features = config.query.enable_feature;
    let memory = |sixteenths: u64| {
        usize::try_from(config.cache.cache_memory.0 / 16 * sixteenths).unwrap_or(usize::MAX)
    };
    let in_data_dir = || config.storage.data_dir.join("cache");
    let is_far = matches!(address, BucketAddress::S3 { .. });
    let dir = config.cache.cache_dir.clone().or_else(|| is_far.then(in_data_dir));
    let cache = PageCache::open(CacheParts {
        bucket: Arc::clone(bucket),
        clock: Arc::clone(clock),
        settings: CacheSettings {
            memory_bytes: memory(PAGES_SIXTEENTHS),
            disk: dir.map(|dir| (dir, config.cache.cache_disk.0)),
        },
    })
    .await?;
    let tail = Arc::new(Tail::new(TailSettings::default()));
    let segments = Segments::new(SegmentsParts {
        bucket: Arc::clone(bucket),
        cache: cache.clone(),
        shard: SHARD,
        tail: Arc::clone(&tail),
        clock: Arc::clone(clock),
        settings: SegmentsSettings {
            index_memory_bytes: memory(INDEXES_SIXTEENTHS),
            decoded_memory_bytes: memory(16 - PAGES_SIXTEENTHS - INDEXES_SIXTEENTHS),
            ..SegmentsSettings::default()
        },
    });
    let follower = Follower::start(FollowerParts {
        bucket: Arc::clone(bucket),
        shard: SHARD,
        tail: Arc::clone(&tail),
        segments: Arc::clone(&segments),
        clock: Arc::clone(clock),
        // A bucket that was named may have other writers.
        is_only_writer: config.service.role.ingest && config.storage.bucket.is_none(),
    });
    let engine = Arc::new(QueryEngine::new(EngineParts {
        segments: Arc::clone(&segments),
        caught_up: follower.caught_up(),
        warm: follower.warm(),
        shard: SHARD,
        clock: Arc::clone(clock),
        settings: QuerySettings {
            experimental: features.experimental_functions,
            delayed_name_removal: features.delayed_name_removal,
            ..QuerySettings::default()
        },
    }));
    Ok(QueryNode { engine, tail, cache, segments, follower: Mutex::new(Some(follower)) })
}
