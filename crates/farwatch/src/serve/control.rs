//! The control plane in this process, and how it reaches the rest of the world: its database may come and go, and nothing that
//! writes or asks notices.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use control_plane::billing::CostTable;
use control_plane::billing::render::Party;
use control_plane::mail::{LogMailer, SmtpError, SmtpMailer};
use control_plane::payments::{Manual, PaymentProvider, Stripe, StripeError, StripeSettings};
use control_plane::ports::{DirectoryPublisher, Mailer, PublishError, Published};
use control_plane::{ControlPlane, Parts, PasswordCost, RootSecret, Secret, Settings};
use parking_lot::Mutex;
use rand::{CryptoRng, RngCore as _};
use segment_store::{Bucket, BucketError, Clock, Etag, GetRange, PutCondition, Seed};
use telemetry::TenantId;
use tenancy::DirectorySigner;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use super::directory::{DIRECTORY_KEY, DirectorySetupError, secret_of};
use super::tenant_data::BucketData;
use super::usage::BucketUsage;
use crate::config::Config;
use crate::config::topics::ListenSettings;

/// A database that is away is tried again so often.
const REOPEN_INTERVAL: Duration = Duration::from_secs(2);
/// A request waits so long for the database to be opened for the first time.
const OPENING_TIME: Duration = Duration::from_secs(10);
/// The database of who names no other, in the data directory.
pub(crate) const DATABASE_FILE: &str = "control-plane.sqlite";
const ROOT_SECRET_FILE: &str = "control-plane.key";
/// What the operator's requests are sent with, as 64 hexadecimal digits.
const OPERATOR_TOKEN_FILE: &str = "operator.token";

/// Why a control plane cannot be had with these settings.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The database's URL is none.
    #[error("setting database-url: the URL begins with neither sqlite:// nor postgres://")]
    DatabaseUrl,
    /// The mail settings are wrong.
    #[error("settings smtp-url and mail-from")]
    Mail(#[from] SmtpError),
    /// Stripe cannot be used.
    #[error("payments by Stripe cannot be set up")]
    Stripe(#[from] StripeError),
    /// One of two settings that belong together.
    #[error("settings stripe-api-key and stripe-webhook-secret: set both, or none for payments by hand")]
    HalfOfStripe,
    /// A secret of the data directory cannot be read or made.
    #[error(transparent)]
    Secret(#[from] DirectorySetupError),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Randomness(#[from] io::Error),
}

/// Whether there is a control plane.
#[derive(Clone, Debug)]
enum Phase {
    /// Its database is being opened for the first time.
    Opening,
    /// Its database cannot be opened; it is tried again.
    Away,
    /// It runs.
    Running(Arc<ControlPlane>, Router),
}

/// The control plane, once its database could be opened.
#[derive(Debug)]
pub struct Control {
    phase: watch::Receiver<Phase>,
    stop: CancellationToken,
    opening: Mutex<Option<JoinHandle<()>>>,
}

/// Tells the control plane of this process what happened. While its database cannot be opened, nobody listens, and it finds out later.
#[derive(Clone, Debug)]
pub struct ControlNews(watch::Receiver<Phase>);

impl ControlNews {
    /// A tenant's ledger has changed.
    pub fn usage_changed(&self, tenant: &TenantId) {
        if let Phase::Running(control_plane, _) = &*self.0.borrow() {
            control_plane.usage_changed(tenant.as_str());
        }
    }

    /// There is a report of activity.
    pub fn activity_reported(&self) {
        if let Phase::Running(control_plane, _) = &*self.0.borrow() {
            control_plane.activity_reported();
        }
    }
}

/// What it is started with.
struct Opener {
    settings: Settings,
    root: RootSecret,
    signer_seed: [u8; 32],
    clock: Arc<dyn Clock>,
    bucket: Arc<dyn Bucket>,
    payments: Arc<dyn PaymentProvider>,
    operator_token: Secret,
    mailer: Arc<dyn Mailer>,
}

impl Control {
    /// Opens the database in the background, and again while it cannot be opened.
    ///
    /// # Errors
    /// [`ControlError`] when no waiting would help.
    pub fn start(
        config: &Config,
        bucket: Arc<dyn Bucket>,
        clock: Arc<dyn Clock>,
        rng: &mut impl CryptoRng,
    ) -> Result<Self, ControlError> {
        let data_dir = &config.storage.data_dir;
        let (settings, mailer, payments) = (settings(config)?, mailer(config)?, payments(config)?);
        let operator_token = secret_of(&data_dir.join(OPERATOR_TOKEN_FILE), rng)?;
        let operator_token = operator_token.iter().map(|byte| format!("{byte:02x}")).collect();
        let opener = Opener {
            settings,
            root: RootSecret::new(*secret_of(&data_dir.join(ROOT_SECRET_FILE), rng)?),
            signer_seed: *secret_of(&data_dir.join(super::directory::SIGNING_KEY_FILE), rng)?,
            clock,
            bucket,
            payments,
            operator_token: Secret::new(operator_token),
            mailer,
        };
        let (sender, phase) = watch::channel(Phase::Opening);
        let stop = CancellationToken::new();
        let opening = tokio::spawn(opener.open(sender, stop.clone()));
        Ok(Self { phase, stop, opening: Mutex::new(Some(opening)) })
    }

    /// Whether its database could be opened.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Running(..))
    }

    /// Where the rest of this process tells it what happened.
    #[must_use]
    pub fn news(&self) -> ControlNews {
        ControlNews(self.phase.clone())
    }

    /// Its routes: 503 while the database cannot be opened.
    pub fn router(&self) -> Router {
        let base = control_plane::BASE_PATH;
        let pages = control_plane::PAGES.into_iter();
        pages
            .fold(Router::new(), |router, page| router.route(page, any(pass_on)))
            .route(base, any(pass_on))
            .route(&format!("{base}/"), any(pass_on))
            .route(&format!("{base}/{{*rest}}"), any(pass_on))
            .with_state(self.phase.clone())
    }

    /// Ends it. Takes bounded time.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        let opening = self.opening.lock().take();
        if let Some(opening) = opening
            && let Err(error) = opening.await
        {
            tracing::error!(%error, "opening the control plane had failed");
        }
        let phase = self.phase.borrow().clone();
        if let Phase::Running(control_plane, _) = phase {
            control_plane.shut_down().await;
        }
    }
}

impl Opener {
    async fn open(self, phase: watch::Sender<Phase>, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let opened = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                opened = self.start() => opened,
            };
            match opened {
                Ok(control_plane) => {
                    if failing {
                        tracing::info!("the control plane's database can be used again");
                    }
                    let router = control_plane.router();
                    phase.send_replace(Phase::Running(Arc::new(control_plane), router));
                    return;
                }
                // Once when it begins, not every two seconds.
                Err(error) if !failing => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the control plane's database cannot be used; writes, queries and known API keys go on, and it is \
                         tried again"
                    );
                    failing = true;
                    phase.send_replace(Phase::Away);
                }
                Err(_) => {}
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(REOPEN_INTERVAL) => {}
            }
        }
    }

    async fn start(&self) -> Result<ControlPlane, StartError> {
        let mut seed = [0; 32];
        Seed::from_os().map_err(StartError::Randomness)?.rng().fill_bytes(&mut seed);
        let parts = Parts {
            settings: self.settings.clone(),
            clock: Arc::new(Time(Arc::clone(&self.clock))),
            publisher: Arc::new(Place(Arc::clone(&self.bucket))),
            usage: Arc::new(BucketUsage(Arc::clone(&self.bucket))),
            data: Arc::new(BucketData { bucket: Arc::clone(&self.bucket), clock: Arc::clone(&self.clock) }),
            payments: Arc::clone(&self.payments),
            mailer: Arc::clone(&self.mailer),
            signer: DirectorySigner::from_seed(&self.signer_seed),
            root: self.root.clone(),
            operator_token: self.operator_token.clone(),
            seed,
        };
        Ok(ControlPlane::start(parts).await?)
    }
}

/// Why it could not be started this time.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("the operating system gives no randomness")]
    Randomness(#[source] io::Error),
    #[error(transparent)]
    ControlPlane(#[from] control_plane::StartError),
}

async fn pass_on(State(mut phase): State<watch::Receiver<Phase>>, mut request: Request) -> Response {
    let opened = phase.wait_for(|phase| !matches!(phase, Phase::Opening));
    // Neither time that is up nor a sender that is gone changes what there is.
    let _ = tokio::time::timeout(OPENING_TIME, opened).await;
    let router = match &*phase.borrow() {
        Phase::Running(_, router) => Some(router.clone()),
        Phase::Opening | Phase::Away => None,
    };
    // The part of the path that the routes here have matched is none of the control plane's parameters.
    let peer = request.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
    request.extensions_mut().clear();
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    match router {
        Some(router) => match router.oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => {
            const BODY: &str = r#"{"status":503,"code":"unavailable","detail":"the control plane's database cannot be used; try again later"}"#;
            (StatusCode::SERVICE_UNAVAILABLE, [(header::CONTENT_TYPE, "application/problem+json")], BODY)
                .into_response()
        }
    }
}

/// Refuses settings that no waiting would make good, before a start makes anything.
///
/// # Errors
/// [`ControlError`].
pub fn check(config: &Config) -> Result<(), ControlError> {
    settings(config)?;
    mailer(config)?;
    payments(config)?;
    Ok(())
}

fn settings(config: &Config) -> Result<Settings, ControlError> {
    let control = &config.control;
    let database_url = match &control.database_url {
        Some(url) => url.expose().to_owned(),
        None => sqlite_url(&config.storage.data_dir.join(DATABASE_FILE)),
    };
    if !control_plane::is_database_url(&database_url) {
        return Err(ControlError::DatabaseUrl);
    }
    let public_url = match &control.public_url {
        Some(url) => url.as_str().to_owned(),
        None => own_url(&config.listen),
    };
    Ok(Settings {
        database_url,
        public_url,
        default_plan: control.default_plan,
        password_cost: PasswordCost::default(),
        seller: Party { name: control.invoice_from.as_str().to_owned(), details: String::new() },
        costs: CostTable::aws(),
    })
}

fn payments(config: &Config) -> Result<Arc<dyn PaymentProvider>, ControlError> {
    let control = &config.control;
    match (&control.stripe_api_key, &control.stripe_webhook_secret) {
        (Some(api_key), Some(webhook_secret)) => Ok(Arc::new(Stripe::new(StripeSettings {
            url: control.stripe_url.as_str().to_owned(),
            api_key: Secret::new(api_key.expose().to_owned()),
            webhook_secret: Secret::new(webhook_secret.expose().to_owned()),
        })?)),
        (None, None) => {
            Ok(Arc::new(Manual { instructions: control.payment_instructions.as_str().to_owned() }))
        }
        _ => Err(ControlError::HalfOfStripe),
    }
}

fn mailer(config: &Config) -> Result<Arc<dyn Mailer>, ControlError> {
    Ok(match &config.control.smtp_url {
        Some(url) => Arc::new(SmtpMailer::new(url.expose(), config.control.mail_from.as_str())?),
        None => Arc::new(LogMailer),
    })
}

/// The URL of a database file.
pub(crate) fn sqlite_url(file: &Path) -> String {
    // What has a meaning in URLs.
    let path = file.display().to_string().replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    format!("sqlite://{path}")
}

/// Where the HTTP port is, as far as the settings say it.
fn own_url(listen: &ListenSettings) -> String {
    format!("http://{}", listen.listen.as_str())
}

/// The control plane's clock is this process's.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl control_plane::ports::Clock for Time {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// The directory's place in the bucket.
#[derive(Debug)]
struct Place(Arc<dyn Bucket>);

#[async_trait]
impl DirectoryPublisher for Place {
    async fn current(&self) -> Result<Option<Published>, PublishError> {
        match self.0.get(DIRECTORY_KEY, GetRange::Full).await {
            Ok(object) => {
                let (document, tag) = (object.body.to_vec(), object.etag.as_str().to_owned());
                Ok(Some(Published { document, tag }))
            }
            Err(BucketError::NotFound { .. }) => Ok(None),
            Err(error) => Err(PublishError(Box::new(error))),
        }
    }

    async fn publish(&self, document: Vec<u8>, replaces: Option<&str>) -> Result<bool, PublishError> {
        let condition = match replaces {
            Some(tag) => PutCondition::IfMatch(Etag::new(tag)),
            None => PutCondition::IfAbsent,
        };
        match self.0.put(DIRECTORY_KEY, document.into(), condition, None).await {
            Ok(_) => Ok(true),
            Err(BucketError::PreconditionFailed { .. } | BucketError::Conflict { .. }) => Ok(false),
            Err(error) => Err(PublishError(Box::new(error))),
        }
    }
}
