//! Requests to the control plane.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::AccountError;
use crate::config::value::{ServerUrl, SettingValue as _};

/// How long to wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What every path begins with.
const BASE: [&str; 3] = ["api", "control", "v1"];

/// The control plane of one server.
#[derive(Debug)]
pub(super) struct ControlPlane {
    client: reqwest::Client,
    url: Url,
}

/// The body of an error, as far as it is shown.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    field: Option<String>,
}

/// What the API calls otherwise than who types a command.
const TYPED: [(&str, &str); 8] = [
    ("email", "--email"),
    ("expires_at_ms", "--expires-in"),
    ("month", "the month"),
    ("networks", "--network"),
    ("overlap_s", "--overlap"),
    ("password", "the password"),
    ("residency", "--residency"),
    ("scopes", "--scope"),
];

/// A reason that begins with a field's name, beginning with what was typed for it.
fn as_typed(detail: String, field: Option<&str>) -> String {
    let typed = TYPED.iter().find(|(name, _)| Some(*name) == field);
    match typed.and_then(|(name, typed)| Some((typed, detail.strip_prefix(name)?))) {
        Some((typed, rest)) => format!("{typed}{rest}"),
        None => detail,
    }
}

impl ControlPlane {
    /// The control plane at `url`.
    pub(super) fn at(url: &str) -> Result<Self, AccountError> {
        let wrong = |expected| AccountError::Url { text: url.to_owned(), expected };
        let text = ServerUrl::parse(url).map_err(wrong)?;
        let url = Url::parse(text.as_str()).map_err(|error| wrong(error.to_string()))?;
        // A second call finds a provider installed, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(TIMEOUT).build();
        let client = client.map_err(|source| AccountError::Unreachable { url: url.to_string(), source })?;
        Ok(Self { client, url })
    }

    /// Where it is.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// A request; `segments` of its path are escaped where they need to be.
    pub(super) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        // Only URLs without a host have no segments, and those are refused when this is made.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(BASE).extend(segments);
        }
        self.client.request(method, url)
    }

    /// The answer's text, if it is a success.
    pub(super) async fn text(&self, request: RequestBuilder) -> Result<String, AccountError> {
        let unreachable = |source| AccountError::Unreachable { url: self.url.to_string(), source };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.text().await.map_err(unreachable)?;
        if status.is_success() { Ok(body) } else { Err(self.refused(status, &body)) }
    }

    /// The answer; null when it is empty.
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Value, AccountError> {
        let body = self.text(request).await?;
        if body.is_empty() { Ok(Value::Null) } else { self.parsed(serde_json::from_str(&body)) }
    }

    /// An answer as a type.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: &Value) -> Result<T, AccountError> {
        self.parsed(T::deserialize(answer))
    }

    fn parsed<T>(&self, parsed: Result<T, serde_json::Error>) -> Result<T, AccountError> {
        parsed.map_err(|source| AccountError::NotTheControlPlane { url: self.url.to_string(), source })
    }

    fn refused(&self, status: StatusCode, body: &str) -> AccountError {
        match serde_json::from_str::<Problem>(body) {
            Ok(Problem { code, detail, field }) => {
                let detail = as_typed(detail, field.as_deref());
                AccountError::Refused { status: status.as_u16(), code, detail }
            }
            Err(source) => AccountError::NotTheControlPlane { url: self.url.to_string(), source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_name_what_was_typed() {
        let typed = |detail: &str, field| as_typed(detail.to_owned(), field);
        assert_eq!(typed("overlap_s is 0 to 9", Some("overlap_s")), "--overlap is 0 to 9");
        assert_eq!(typed("name has 1 to 80 characters", Some("name")), "name has 1 to 80 characters");
        assert_eq!(typed("the key has expired", None), "the key has expired");
    }

    #[test]
    fn paths_are_put_behind_the_address_and_escaped() {
        for (url, whole) in [
            ("http://h:1", "http://h:1/api/control/v1/tenants/a%2Fb"),
            ("http://h:1/", "http://h:1/api/control/v1/tenants/a%2Fb"),
            ("https://h/under/", "https://h/under/api/control/v1/tenants/a%2Fb"),
        ] {
            let request = ControlPlane::at(url).unwrap().request(Method::GET, &["tenants", "a/b"]);
            assert_eq!(request.build().unwrap().url().as_str(), whole);
        }
        assert!(
            ControlPlane::at("127.0.0.1:9600").unwrap_err().to_string().contains("http://127.0.0.1:9600")
        );
    }
}
