//! Shares of tenants' limits, asked for at the cell's control plane.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use ingest_service::leases::{LeaseError, LeaseServer};
use segment_store::Clock;
use tenancy::lease::{LeaseAnswer, LeaseRequest};
use tenancy::{DirectorySigner, service_token};

use super::limits::MAX_LEASE_ANSWER_BYTES;
use crate::config::value::ServerUrl;

/// The lease server at a URL.
pub(super) struct HttpLeases {
    client: reqwest::Client,
    url: String,
    signer: DirectorySigner,
    clock: Arc<dyn Clock>,
}

/// Why it did not answer.
#[derive(Debug, thiserror::Error)]
enum HttpLeaseError {
    #[error("the answer has the status {0}")]
    Status(u16),
    #[error("the answer has more than {MAX_LEASE_ANSWER_BYTES} bytes")]
    TooLarge,
    #[error("the answer is none of a lease server")]
    Answer(#[source] serde_json::Error),
    #[error("the request went wrong")]
    Request(#[source] reqwest::Error),
}

impl HttpLeases {
    /// Asks the control plane at `server`, with tokens that the key of the tenant directory signs.
    ///
    /// # Errors
    /// When there is no TLS to be had.
    pub(super) fn new(
        server: &ServerUrl,
        signer: DirectorySigner,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        // Whoever was first serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let base = server.as_str().trim_end_matches('/');
        let url = format!("{base}{}/data-plane/leases", control_plane::BASE_PATH);
        Ok(Self { client: reqwest::Client::builder().build()?, url, signer, clock })
    }

    async fn ask(&self, request: &LeaseRequest) -> Result<LeaseAnswer, HttpLeaseError> {
        let token = service_token::issue(&self.signer, &request.process, self.clock.now_ms());
        let sent = self.client.post(&self.url).bearer_auth(token).json(request).send();
        let mut response = sent.await.map_err(HttpLeaseError::Request)?;
        if !response.status().is_success() {
            return Err(HttpLeaseError::Status(response.status().as_u16()));
        }
        let mut answer = Vec::new();
        while let Some(some) = response.chunk().await.map_err(HttpLeaseError::Request)? {
            if answer.len() + some.len() > MAX_LEASE_ANSWER_BYTES {
                return Err(HttpLeaseError::TooLarge);
            }
            answer.extend_from_slice(&some);
        }
        serde_json::from_slice(&answer).map_err(HttpLeaseError::Answer)
    }
}

#[async_trait]
impl LeaseServer for HttpLeases {
    async fn lease(&self, request: &LeaseRequest) -> Result<LeaseAnswer, LeaseError> {
        self.ask(request).await.map_err(|error| LeaseError(Box::new(error)))
    }
}

impl fmt::Debug for HttpLeases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpLeases").field("url", &self.url).finish_non_exhaustive()
    }
}
