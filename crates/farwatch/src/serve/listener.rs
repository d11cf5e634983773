//! A port: accepts connections, serves HTTP/1 and HTTP/2 on them, and lets requests end when it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;

use super::limits::{DRAIN_TIME, HEAD_TIMEOUT, MAX_CONNECTIONS, MAX_STREAMS, PING_INTERVAL, PING_TIMEOUT};

/// A bound port that does not serve yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// Why a port could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} (setting {setting})")]
pub struct BindError {
    /// The setting that names it.
    pub setting: &'static str,
    /// The address.
    pub address: String,
    /// Why.
    pub source: std::io::Error,
}

impl Listener {
    /// Binds `address`, which setting `setting` names.
    ///
    /// # Errors
    /// [`BindError`] when the address is taken or not this machine's.
    pub async fn bind(setting: &'static str, address: &str) -> Result<Self, BindError> {
        let error = |source| BindError { setting, address: address.to_owned(), source };
        let socket = TcpListener::bind(address).await.map_err(error)?;
        let address = socket.local_addr().map_err(error)?;
        Ok(Self { socket, address })
    }

    /// What was bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `stop`, then lets the requests that run end, for at most `DRAIN_TIME`.
    pub async fn serve(self, router: Router, stop: CancellationToken) {
        /// How long to wait when the system has no more file descriptors.
        const BREATHER: Duration = Duration::from_millis(100);
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
        server
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .max_concurrent_streams(MAX_STREAMS);
        let connections = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            // The semaphore is never closed.
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let (stream, peer) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = self.socket.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection");
                        tokio::time::sleep(BREATHER).await;
                        continue;
                    }
                }
            };
            // Answers are small and awaited; a socket that refuses this works all the same.
            let _ = stream.set_nodelay(true);
            let first_request = Arc::new(Notify::new());
            let service = {
                let first_request = Arc::clone(&first_request);
                MapRequest::new(router.clone(), move |mut request: Request<_>| {
                    request.extensions_mut().insert(ConnectInfo(peer));
                    first_request.notify_one();
                    request
                })
            };
            let connection =
                server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service)).into_owned();
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!(error, "connection ended");
                    },
                    () = silence(&first_request) => tracing::debug!("connection closed: no request came"),
                }
                drop(place);
            });
        }
        drop(self.socket);
        if tokio::time::timeout(DRAIN_TIME, connections.shutdown()).await.is_err() {
            tracing::warn!(waited_ms = DRAIN_TIME.as_millis() as u64, "gave up waiting for running requests");
        }
    }
}

/// Ends when no request came in time, and never after one came. Telling HTTP/1 from HTTP/2 waits without a bound of its
/// own, and so does HTTP/2 for the first headers.
async fn silence(first_request: &Notify) {
    if tokio::time::timeout(HEAD_TIMEOUT, first_request.notified()).await.is_ok() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests;
