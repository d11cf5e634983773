//! The control plane of one process, put together and taken apart.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use parking_lot::Mutex;
use tenancy::DirectorySigner;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::leases::LeaseDesk;
use crate::app::passwords::Passwords;
use crate::app::post::{PostOffice, Postman};
use crate::app::quotas::plan::Plan;
use crate::app::throttle::Throttle;
use crate::app::usage::fold::FoldError;
use crate::auth::access_token::AccessTokens;
use crate::auth::password::PasswordCost;
use crate::auth::root::RootSecret;
use crate::billing::CostTable;
use crate::billing::render::Party;
use crate::db::{Db, DbError, OpenError};
use crate::http;
use crate::limits::{ACTIVITY_INTERVAL, CLEANUP_INTERVAL, FOLD_INTERVAL, OUTBOX_INTERVAL};
use crate::payments::PaymentProvider;
use crate::ports::{Clock, DirectoryPublisher, Mailer, TenantData, UsageSource};
use crate::random::Random;
use crate::secret::Secret;

/// What can be chosen.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `sqlite://FILE` or `postgres://…`.
    pub database_url: String,
    /// What the links in mails begin with, such as `https://farwatch.example.com`.
    pub public_url: String,
    /// The plan of new organisations.
    pub default_plan: Plan,
    /// What hashing a password costs.
    pub password_cost: PasswordCost,
    /// Who invoices come from.
    pub seller: Party,
    /// What the operator pays for resources.
    pub costs: CostTable,
}

/// What is given to a control plane.
pub struct Parts {
    /// What was chosen.
    pub settings: Settings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the directory goes.
    pub publisher: Arc<dyn DirectoryPublisher>,
    /// What was used.
    pub usage: Arc<dyn UsageSource>,
    /// What there is of tenants.
    pub data: Arc<dyn TenantData>,
    /// Who takes money.
    pub payments: Arc<dyn PaymentProvider>,
    /// How mails go out.
    pub mailer: Arc<dyn Mailer>,
    /// Signs the directory.
    pub signer: DirectorySigner,
    /// The secret of this control plane; the same for all of its processes.
    pub root: RootSecret,
    /// What the operator's requests are sent with: as good as every account together.
    pub operator_token: Secret,
    /// Where randomness begins: 256 bits from the operating system.
    pub seed: [u8; 32],
}

/// Why a control plane cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] OpenError),
    /// Its cells cannot be read or made.
    #[error("cannot read the control plane's cells")]
    Cells(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The same, when it had been opened already.
    #[error("the database does not take the price plans")]
    Plans(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The password cost is out of range.
    #[error("the password cost (memory of 8 KiB and one pass at least) is out of range")]
    PasswordCost,
}

/// What the data plane said of itself: where there is something to fold.
#[derive(Default)]
struct News {
    tenants: Mutex<BTreeSet<String>>,
    reports: AtomicBool,
    came: Notify,
}

/// The data plane, as far as it is billed and cleared up.
#[derive(Clone)]
struct DataPlane {
    usage: Arc<dyn UsageSource>,
    data: Arc<dyn TenantData>,
}

/// A running control plane.
pub struct ControlPlane {
    app: Arc<App>,
    plane: DataPlane,
    news: Arc<News>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl ControlPlane {
    /// Opens the database, brings its tables up to date, and starts what runs in the background.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts {
            settings,
            clock,
            publisher,
            usage,
            data,
            payments,
            mailer,
            signer,
            root,
            operator_token,
            seed,
        } = parts;
        let plane = DataPlane { usage, data };
        let random = Random::from_seed(seed);
        let passwords =
            Passwords::new(settings.password_cost, &random).map_err(|_| StartError::PasswordCost)?;
        let (post, postman) = PostOffice::new(&settings.public_url, mailer);
        let app = Arc::new(App {
            db: Db::open(&settings.database_url).await?,
            throttle: Throttle::new(Arc::clone(&clock)),
            clock,
            random,
            tokens: AccessTokens::new(&root),
            root,
            passwords,
            post,
            leases: LeaseDesk::new(signer.verifier()),
            directory_changed: Notify::new(),
            default_plan: settings.default_plan,
            operator_token,
            payments,
            costs: settings.costs,
            seller: settings.seller,
        });
        app.make_default_cells().await.map_err(|error| StartError::Cells(error.into()))?;
        app.make_built_in_plans().await.map_err(|error| StartError::Plans(Box::new(error)))?;
        let news = Arc::new(News::default());
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(publish(Arc::clone(&app), publisher, signer, stop.clone())),
            tokio::spawn(clean_up(Arc::clone(&app), stop.clone())),
            tokio::spawn(deliver(postman, stop.clone())),
            tokio::spawn(bill(Arc::clone(&app), plane.clone(), Arc::clone(&news), stop.clone())),
        ];
        Ok(Self { app, plane, news, stop, tasks: Mutex::new(tasks) })
    }

    /// The routes, all under `/api/control/v1/`. Requests should carry the client's address as
    /// [`axum::extract::ConnectInfo`]; those that do not count as one client where attempts are counted.
    pub fn router(&self) -> Router {
        http::router(Arc::clone(&self.app))
    }

    /// A tenant's ledger has changed: it will be folded at once, not only when all are.
    pub fn usage_changed(&self, tenant: &str) {
        self.news.tenants.lock().insert(tenant.to_owned());
        self.news.came.notify_one();
    }

    /// There is a report of activity.
    pub fn activity_reported(&self) {
        self.news.reports.store(true, Ordering::Relaxed);
        self.news.came.notify_one();
    }

    /// Does at once what is done at intervals: counts reports, folds all ledgers, compares what is spent with limits, makes
    /// invoices final that are due, ends conflicts that are over, and deletes the data of deleted tenants. Doing it again does nothing.
    ///
    /// # Errors
    /// When the data plane's records or the database cannot be reached; what was done stays done.
    pub async fn settle_usage(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        Ok(settle_usage(&self.app, &self.plane).await?)
    }

    /// Puts an organisation on another plan. `false` when there is no such organisation.
    ///
    /// # Errors
    /// When the database does not take it.
    pub async fn set_plan(
        &self,
        organisation_id: &str,
        plan: Plan,
    ) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.app.set_plan(organisation_id, plan).await?)
    }

    /// Ends what runs in the background. A directory that is not published yet will be by the next start.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the control plane had failed");
            }
        }
        self.app.db.close().await;
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane").finish_non_exhaustive()
    }
}

/// Publishes the directory whenever the outbox says so: at once when a request of this process wrote there, and within
/// [`OUTBOX_INTERVAL`] when something else did.
async fn publish(
    app: Arc<App>,
    publisher: Arc<dyn DirectoryPublisher>,
    signer: DirectorySigner,
    stop: CancellationToken,
) {
    let mut failing = false;
    loop {
        let outcome = app.publish_directory(&*publisher, &signer).await;
        // Once when it begins and once when it ends, not each second.
        match &outcome {
            Ok(_) if failing => tracing::info!("the tenant directory can be published again"),
            Err(error) if !failing => {
                let error = error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "cannot publish the tenant directory; the published one stays in force"
                );
            }
            _ => {}
        }
        failing = outcome.is_err();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = app.directory_changed.notified(), if !failing => {}
            () = tokio::time::sleep(OUTBOX_INTERVAL) => {}
        }
    }
}

async fn deliver(postman: Postman, stop: CancellationToken) {
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = postman.run() => {}
    }
}

async fn clean_up(app: Arc<App>, stop: CancellationToken) {
    loop {
        if let Err(error) = app.clean_up().await {
            let error: &(dyn std::error::Error + 'static) = match &error {
                DbError::Unavailable(error) | DbError::Failed(error) => error,
                DbError::Document(error) => error,
            };
            tracing::warn!(error, "could not delete what has expired; it is tried again later");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(CLEANUP_INTERVAL) => {}
        }
    }
}

async fn settle_usage(app: &App, DataPlane { usage, data }: &DataPlane) -> Result<(), FoldError> {
    let counted = app.count_activity(&**usage).await;
    // What was seen lately is known only then.
    let ended = if counted.is_ok() { app.end_conflicts().await } else { Ok(()) };
    let folded = app.fold_usage(&**usage).await;
    // Whatever failed: what there is of usage is compared with limits.
    app.watch_spending().await?;
    both(counted, folded)?;
    ended?;
    // All ledgers were folded after the grace of what is due had ended.
    app.finalise_invoices().await?;
    app.erase_tenants(&**data).await?;
    Ok(())
}

/// The first error, when the other is in the log.
fn both(counted: Result<(), FoldError>, folded: Result<(), FoldError>) -> Result<(), FoldError> {
    if let (Err(_), Err(error)) = (&counted, &folded) {
        tracing::warn!(error = error as &dyn std::error::Error, "usage cannot be folded either");
    }
    counted.and(folded)
}

/// Keeps usage, spend limits and invoices current: what there is news of at once, and everything at intervals.
async fn bill(app: Arc<App>, plane: DataPlane, news: Arc<News>, stop: CancellationToken) {
    let usage = &*plane.usage;
    let mut failing = false;
    let (mut folded_at, mut counted_at) = (None, None);
    loop {
        let now = app.clock.monotonic();
        let is_past = |at: Option<Duration>, interval| at.is_none_or(|at| now.saturating_sub(at) >= interval);
        let is_due = is_past(folded_at, FOLD_INTERVAL);
        // Other processes report, too, and nobody says so.
        let reported = news.reports.swap(false, Ordering::Relaxed) || is_past(counted_at, ACTIVITY_INTERVAL);
        let round = async {
            if is_due {
                news.tenants.lock().clear();
                return settle_usage(&app, &plane).await;
            }
            let counted = if reported { app.count_activity(usage).await } else { Ok(()) };
            let tenants = std::mem::take(&mut *news.tenants.lock());
            let folded = app.fold_tenants(usage, tenants.iter().cloned()).await;
            let watched = app.watch_spending_of_tenants(&tenants).await;
            if folded.is_err() || watched.is_err() {
                news.tenants.lock().extend(tenants);
            }
            watched?;
            both(counted, folded)
        };
        let outcome = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            outcome = round => outcome,
        };
        if is_due {
            folded_at = Some(now);
        }
        if is_due || reported {
            counted_at = Some(now);
        }
        // Once when it begins and once when it ends, not each minute.
        match &outcome {
            Ok(()) if failing => tracing::info!("usage can be folded again"),
            Err(error) if !failing => {
                let error = error as &dyn std::error::Error;
                tracing::error!(error, "cannot fold usage; it is tried again, and nothing is lost");
            }
            _ => {}
        }
        failing = outcome.is_err();
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = news.came.notified(), if !failing => {}
            () = tokio::time::sleep(ACTIVITY_INTERVAL) => {}
        }
    }
}
