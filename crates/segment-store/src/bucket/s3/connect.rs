//! The client: where, how, with which time limits.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{HttpClient, RequestChecksumCalculation, ResponseChecksumValidation};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// How the bucket is named in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// `https://BUCKET.HOST/KEY`: AWS.
    VirtualHost,
    /// `https://HOST/BUCKET/KEY`: most other servers, since it needs no name of its own for each bucket.
    Path,
}

/// Which bucket, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// The bucket's name.
    pub bucket: String,
    /// The part of the bucket that is used, without slashes at its ends; `None` for all of it.
    pub prefix: Option<String>,
    /// The server's URL; `None` for AWS (or what `AWS_ENDPOINT_URL` and the profile say).
    pub endpoint: Option<String>,
    /// How the bucket is named in URLs.
    pub addressing: Addressing,
}

impl S3Settings {
    /// The settings for a bucket on AWS, or with an endpoint on another server, named by path there.
    #[must_use]
    pub fn new(bucket: &str, prefix: Option<&str>, endpoint: Option<&str>) -> Self {
        Self {
            bucket: bucket.to_owned(),
            prefix: prefix.map(str::to_owned),
            endpoint: endpoint.map(str::to_owned),
            addressing: if endpoint.is_some() { Addressing::Path } else { Addressing::VirtualHost },
        }
    }
}

/// The time to connect; within a region it takes some milliseconds.
const CONNECT_TIME: Duration = Duration::from_secs(3);
/// The time until an answer begins, but for what sending a large body takes. A put that hangs longer is tried again under its key.
const ATTEMPT_TIME: Duration = Duration::from_secs(10);
/// Bodies from here on, in bytes, are given more time: smaller ones are sent in that of any request.
const LARGE_BODY: u64 = 1 << 20;
/// The rate at which a large body is sent at the slowest, in bytes a second. One that is slower is given up.
const BODY_RATE: u64 = 1 << 20;
/// The region for servers that have none: it is signed, but means nothing.
const ANY_REGION: &str = "us-east-1";

/// The client for `settings`, with credentials from the environment.
pub(super) async fn client(settings: &S3Settings) -> Client {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring));
    client_of(settings, loader(settings, http.build_https())).await
}

/// Where the SDK's configuration is read, and our part of it.
pub(super) fn loader(settings: &S3Settings, http: impl HttpClient + 'static) -> ConfigLoader {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts(ATTEMPT_TIME))
        .retry_config(RetryConfig::disabled());
    if let Some(endpoint) = &settings.endpoint {
        // Off AWS there is nobody to ask for a region.
        let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new());
        loader = loader.endpoint_url(endpoint).region(region.or_else(Region::from_static(ANY_REGION)));
    }
    loader
}

fn timeouts(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIME).operation_attempt_timeout(attempt).build()
}

/// The time limits of a put of so many bytes, where they are not those of any request.
pub(super) fn timeouts_of_put(body_bytes: u64) -> Option<TimeoutConfig> {
    let sending = Duration::from_secs(body_bytes / BODY_RATE);
    (body_bytes >= LARGE_BODY).then(|| timeouts(ATTEMPT_TIME + sending))
}

pub(super) async fn client_of(settings: &S3Settings, loader: ConfigLoader) -> Client {
    let config = aws_sdk_s3::config::Builder::from(&loader.load().await)
        .force_path_style(settings.addressing == Addressing::Path)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Client::from_conf(config)
}
