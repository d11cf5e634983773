//! One HTTP/1.1 connection, kept open, with one request on it at a time.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST, HeaderName, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::limits::{REQUEST_TIMEOUT, RESPONSE_BYTES_MAX};

/// A server, and the credential for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `host:port`.
    authority: String,
    /// Comes before every path; empty or `/something`.
    path_prefix: String,
    /// Sent as a bearer token.
    key: Option<String>,
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint(http://{}{})", self.authority, self.path_prefix)
    }
}

/// A URL that no request can be sent to.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is not a URL like http://127.0.0.1:9090 (TLS is not supported: measure behind the proxy)")]
pub struct UrlError {
    url: String,
}

impl Endpoint {
    /// Takes a URL like `http://host:port/prefix`.
    ///
    /// # Errors
    /// When it is another scheme or no URL at all.
    pub fn parse(url: &str, key: Option<String>) -> Result<Self, UrlError> {
        let error = || UrlError { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| error())?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(error)?;
        let authority = format!("{host}:{}", uri.port_u16().unwrap_or(80));
        Ok(Self { authority, path_prefix: uri.path().trim_end_matches('/').to_owned(), key })
    }

    /// The same server with another credential.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same server without a credential.
    #[must_use]
    pub fn without_key(&self) -> Self {
        Self { key: None, ..self.clone() }
    }
}

/// An answer of any status.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Bytes,
}

/// No answer: it is unknown whether the server has done what was asked.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection; the request was not sent.
    #[error("no connection to {authority}")]
    Connect {
        /// `host:port`.
        authority: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke or the answer was not HTTP.
    #[error("the connection failed")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No complete answer in time.
    #[error("no answer in {} s", REQUEST_TIMEOUT.as_secs())]
    TimedOut,
    /// A key or path that cannot be sent.
    #[error("the request cannot be written as HTTP")]
    Unsendable(#[source] hyper::http::Error),
}

impl HttpError {
    fn broken(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Broken(source.into())
    }
}

/// A connection that is opened when it is needed, and again after it broke.
#[derive(Debug)]
pub struct Connection {
    endpoint: Endpoint,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    /// Does not connect yet.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, sender: None }
    }

    /// Sends one request and reads the whole answer.
    ///
    /// # Errors
    /// When there is no complete answer. The request is not sent again, since it may have been carried out.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(HeaderName, &str)],
        body: Bytes,
    ) -> Result<Response, HttpError> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.endpoint.path_prefix))
            .header(HOST, &self.endpoint.authority)
            .header(USER_AGENT, "farwatch-loadtest");
        if let Some(key) = &self.endpoint.key {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let request = request.body(Full::new(body)).map_err(HttpError::Unsendable)?;
        let outcome = tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(request)).await;
        let outcome = outcome.unwrap_or(Err(HttpError::TimedOut));
        if outcome.is_err() {
            self.sender = None;
        }
        outcome
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Response, HttpError> {
        let sender = match &mut self.sender {
            Some(sender) if !sender.is_closed() => sender,
            _ => self.sender.insert(connect(&self.endpoint.authority).await?),
        };
        sender.ready().await.map_err(HttpError::broken)?;
        let response = sender.send_request(request).await.map_err(HttpError::broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE_BYTES_MAX).collect().await;
        Ok(Response { status, body: body.map_err(HttpError::Broken)?.to_bytes() })
    }
}

async fn connect(authority: &str) -> Result<SendRequest<Full<Bytes>>, HttpError> {
    let no_connection = |source| HttpError::Connect { authority: authority.to_owned(), source };
    let stream = TcpStream::connect(authority).await.map_err(no_connection)?;
    stream.set_nodelay(true).map_err(no_connection)?;
    let (sender, driver) = handshake(TokioIo::new(stream)).await.map_err(HttpError::broken)?;
    // What goes wrong on the connection shows as an error of the request that is on it.
    tokio::spawn(async move {
        let _ = driver.await;
    });
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let parsed = |url: &str| Endpoint::parse(url, None).map(|e| (e.authority, e.path_prefix)).ok();
        let of = |authority: &str, prefix: &str| Some((authority.to_owned(), prefix.to_owned()));
        assert_eq!(parsed("http://127.0.0.1:9090"), of("127.0.0.1:9090", ""));
        assert_eq!(parsed("http://localhost/a/b/"), of("localhost:80", "/a/b"));
        assert_eq!(parsed("http://[::1]:9090/"), of("[::1]:9090", ""));
        for wrong in ["https://127.0.0.1:9090", "127.0.0.1:9090", "", "http://"] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_key_is_not_printed() {
        let endpoint = Endpoint::parse("http://localhost:1", Some("secret".to_owned())).unwrap();
        assert_eq!(format!("{endpoint:?}"), "Endpoint(http://localhost:1)");
    }
}
