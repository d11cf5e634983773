//! `farwatch serve`: puts the services together in one process, and takes them apart again without losing anything.
//!
//! | module | what |
//! |---|---|
//! | [`node`] | the services, put together |
//! | [`control`] | the control plane, and how it reaches the world |
//! | `usage`, `activity` | what the control plane bills by, and what it is told of this process |
//! | `tenant_data` | deletes the data of deleted tenants |
//! | [`directory`] | the tenant directory: first start, and kept current |
//! | [`router`] | the routes |
//! | [`listener`] | a port |
//! | [`metrics`] | `/metrics` |
//! | [`exposition`] | Prometheus's text format |
//! | [`process`] | what the operating system says of this process |
//! | [`logging`] | log lines |
//! | `rejected` | a word about credentials that are no good |
//! | [`welcome`] | what is printed for the user |

mod activity;
pub mod control;
pub mod directory;
pub mod exposition;
mod leases;
mod limits;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod node;
pub mod process;
mod rejected;
pub mod router;
mod tenant_data;
pub(crate) mod usage;
pub mod welcome;

use std::env;
use std::io::{self, Write as _};
use std::net::ToSocketAddrs as _;
use std::sync::Arc;

use segment_store::{Clock, SystemClock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::topics::ListenSettings;
use crate::config::{Config, ConfigError, variables};
use listener::{BindError, Listener};
use node::{Node, NodeError};

/// Why `serve` could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Settings that are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Log lines cannot be written as asked for.
    #[error(transparent)]
    Logging(#[from] logging::LoggingError),
    /// A port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The services cannot be put together.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The operating system refuses something basic.
    #[error("cannot {what}")]
    System {
        /// What.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Told to stop a second time.
    #[error("told to stop twice: left without waiting for what was under way; nothing acknowledged is lost")]
    Impatient,
}

/// Runs until the process is told to stop (SIGTERM or SIGINT).
///
/// # Errors
/// [`ServeError`].
pub fn run(config: &Config) -> Result<(), ServeError> {
    refuse_anonymous_strangers(config)?;
    logging::start(&config.log)?;
    for (variable, nearest) in
        variables::unknown(env::vars_os().filter_map(|(name, _)| name.into_string().ok()))
    {
        tracing::warn!(
            variable,
            did_you_mean = nearest,
            "a variable of the environment is no setting and does nothing"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|source| ServeError::System { what: "start threads", source })?;
    let outcome = runtime.block_on(serve(config));
    // What still runs is not waited for: everything that matters has been.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: &Config) -> Result<(), ServeError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut signals =
        Signals::new().map_err(|source| ServeError::System { what: "listen to signals", source })?;
    let http = Listener::bind("listen", config.listen.listen.as_str()).await?;
    let grpc = match &config.listen.otlp_grpc_listen {
        Some(address) => Some(Listener::bind("otlp-grpc-listen", address.as_str()).await?),
        None => None,
    };
    let (node, hand_over) = Node::start(config, Arc::clone(&clock)).await?;
    let node = Arc::new(node);

    let mut text = welcome::listening(http.address(), grpc.as_ref().map(Listener::address));
    let anonymous = config.service.anonymous_tenant.as_ref();
    if let Some(anonymous) = anonymous {
        text.push_str(&welcome::anonymous(anonymous.as_str()));
    }
    if let Some(first) = &hand_over.first_key {
        let key = first.key.expose();
        text.push_str(&welcome::first_start(key, directory::FIRST_TENANT, anonymous, http.address()));
    }
    if let Some(path) = &hand_over.key_file {
        text.push_str(&welcome::key_file(path, directory::FIRST_TENANT));
    }
    print(&text).map_err(|source| ServeError::System { what: "print to standard output", source })?;
    if let Some(first) = hand_over.first_key {
        first
            .shown()
            .map_err(|source| ServeError::System { what: "remove the file of the first API key", source })?;
    }

    let stop = CancellationToken::new();
    let (http_address, grpc_address) = (http.address(), grpc.as_ref().map(Listener::address));
    let serve_http = http.serve(router::http(&node), stop.clone());
    let grpc_router = router::grpc(&node);
    let serve_grpc = async {
        if let Some(grpc) = grpc {
            grpc.serve(grpc_router, stop.clone()).await;
        }
    };
    tracing::info!(
        http = %http_address,
        grpc = grpc_address.map(tracing::field::display),
        took_ms = clock.monotonic().as_millis() as u64,
        "serving"
    );
    let work = async {
        tokio::select! {
            _ = async { tokio::join!(serve_http, serve_grpc) } => {}
            never = rejected::watch(&node.access) => match never {},
        }
        node.shut_down().await;
    };
    tokio::pin!(work);
    tokio::select! {
        () = &mut work => return Ok(()),
        name = signals.next() => tracing::info!(signal = name, "stopping"),
    }
    node.hurry();
    stop.cancel();
    tokio::select! {
        () = work => {
            tracing::info!("stopped");
            Ok(())
        }
        _ = signals.next() => Err(ServeError::Impatient),
    }
}

/// Whoever can reach a port may speak for the anonymous tenant, so nobody outside this machine may reach one.
fn refuse_anonymous_strangers(config: &Config) -> Result<(), ConfigError> {
    let Some(tenant) = &config.service.anonymous_tenant else { return Ok(()) };
    let ListenSettings { listen, otlp_grpc_listen } = &config.listen;
    for address in [Some(listen), otlp_grpc_listen.as_ref()].into_iter().flatten() {
        // A name that does not resolve is no loopback address either.
        let loopback = address
            .as_str()
            .to_socket_addrs()
            .is_ok_and(|mut addresses| addresses.all(|address| address.ip().is_loopback()));
        if !loopback {
            return Err(ConfigError::Contradiction(format!(
                "setting anonymous-tenant lets everybody act as tenant {tenant} who can reach {}; it is refused unless every \
                 listen address is a loopback address such as 127.0.0.1:9600",
                address.as_str()
            )));
        }
    }
    Ok(())
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// What tells a process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// The name of the next one.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
