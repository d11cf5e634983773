//! The S3 bucket against a real server (moto, started by the test), and against answers that no good server gives.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use aws_sdk_s3::config::{Credentials, HttpClient, SharedHttpClient};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::testing::{S3Server, conformance};

const BUCKET: &str = "farwatch-test";

/// The product's own HTTP client, but for the names that it can resolve.
fn http() -> SharedHttpClient {
    let tls = Provider::Rustls(CryptoMode::Ring);
    Builder::new().tls_provider(tls).build_with_resolver(EveryNameIsLoopback)
}

#[derive(Clone, Debug)]
struct EveryNameIsLoopback;

impl ResolveDns for EveryNameIsLoopback {
    fn resolve_dns<'a>(&'a self, _name: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
    }
}

async fn connect(settings: &S3Settings, http: impl HttpClient + 'static) -> S3Bucket {
    let credentials = Credentials::new("key", "secret", None, None, "test");
    let loader = connect::loader(settings, http).credentials_provider(credentials);
    S3Bucket::new(connect::client_of(settings, loader).await, settings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms_on_moto_below_a_prefix_by_path() {
    let server = S3Server::moto(BUCKET);
    let settings = S3Settings::new(BUCKET, Some("some/prefix"), Some(&server.endpoint()));
    assert_eq!(settings.addressing, Addressing::Path);
    conformance::check(Arc::new(connect(&settings, http()).await), "all").await;

    let whole = connect(&S3Settings::new(BUCKET, None, Some(&server.endpoint())), http()).await;
    let page = whole.list("", None, 1_000).await.unwrap();
    assert!(!page.objects.is_empty(), "what is below the prefix is in the bucket");
    assert!(page.objects.iter().all(|object| object.key.starts_with("some/prefix/all/")));

    let unknown = connect(&S3Settings::new("no-such-bucket", None, Some(&server.endpoint())), http()).await;
    let put = unknown.put("k", Bytes::new(), PutCondition::IfAbsent, None).await.unwrap_err();
    let list = unknown.list("", None, 1).await.unwrap_err();
    for error in [put, list] {
        assert!(matches!(error, BucketError::Invalid { .. }), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn conforms_on_moto_by_virtual_host() {
    let server = S3Server::moto(BUCKET);
    let endpoint = format!("http://s3.test:{}", server.port());
    let settings =
        S3Settings { addressing: Addressing::VirtualHost, ..S3Settings::new(BUCKET, None, Some(&endpoint)) };
    conformance::check(Arc::new(connect(&settings, http()).await), "all").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs radosgw: see S3Server::radosgw"]
async fn conforms_on_radosgw() {
    let server = S3Server::radosgw(BUCKET);
    let settings = S3Settings::new(BUCKET, Some("some/prefix"), Some(&server.endpoint()));
    conformance::check(Arc::new(connect(&settings, http()).await), "all").await;
}

/// A bucket on a server that gives `answer` to every request, whatever it is, and closes.
async fn bucket_that_answers(answer: &'static str) -> S3Bucket {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            let _ = connection.read(&mut request).await;
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    connect(&S3Settings::new(BUCKET, None, Some(&endpoint)), http()).await
}

#[tokio::test]
async fn every_answer_to_a_put_is_understood() {
    type Expected = fn(&BucketError) -> bool;
    let unknown: Expected = BucketError::outcome_unknown;
    let known: Expected = |e| matches!(e, BucketError::Unavailable { .. }) && !e.outcome_unknown();
    let denied: Expected = |e| matches!(e, BucketError::Denied { .. });
    let invalid: Expected = |e| matches!(e, BucketError::Invalid { .. });
    let failed: Expected = |e| matches!(e, BucketError::PreconditionFailed { .. });
    let conflict: Expected = |e| matches!(e, BucketError::Conflict { .. });
    let cases = [
        ("", unknown),
        ("HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n", unknown),
        ("HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\n\r\n", unknown),
        ("HTTP/1.1 2", unknown),
        ("this is not HTTP\r\n\r\n", unknown),
        ("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n", known),
        (
            "HTTP/1.1 400 Bad\r\ncontent-length: 48\r\n\r\n<Error><Code>RequestTimeout</Code></Error>      ",
            known,
        ),
        ("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", denied),
        (
            "HTTP/1.1 400 Bad\r\ncontent-length: 48\r\n\r\n<Error><Code>ExpiredToken</Code></Error>        ",
            denied,
        ),
        ("HTTP/1.1 400 Bad\r\ncontent-length: 0\r\n\r\n", invalid),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", invalid),
        ("HTTP/1.1 409 Conflict\r\ncontent-length: 0\r\n\r\n", conflict),
        ("HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\n\r\n", failed),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", failed),
    ];
    for (answer, expected) in cases {
        let bucket = bucket_that_answers(answer).await;
        let body = Bytes::from_static(b"body");
        let error = bucket.put("k", body, PutCondition::IfAbsent, None).await.unwrap_err();
        assert!(expected(&error), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_bucket_as_a_whole_is_told_with_its_name_and_place() {
    let missing = bucket_that_answers(
        "HTTP/1.1 404 Not Found\r\ncontent-length: 39\r\n\r\n<Error><Code>NoSuchBucket</Code></Error>",
    )
    .await;
    let error = missing.get("k", GetRange::Full).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(!error.is_retryable());
    assert!(source.starts_with(&format!("bucket {BUCKET} at http://")), "{source}");
    assert!(source.ends_with("does not exist; create it first"), "{source}");

    let away = connect(&S3Settings::new(BUCKET, None, Some("http://127.0.0.1:1")), http()).await;
    let error = away.get("k", GetRange::Full).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.is_retryable());
    assert_eq!(source, format!("no answer from bucket {BUCKET} at http://127.0.0.1:1"));
}

#[tokio::test]
async fn an_answer_that_is_cut_short_is_no_object() {
    for answer in [
        "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 206 OK\r\netag: \"e\"\r\ncontent-range: bytes 0-9/10\r\ncontent-length: 4\r\n\r\nhalf",
    ] {
        let error = bucket_that_answers(answer).await.get("k", GetRange::Range(0..10)).await.unwrap_err();
        assert!(error.is_retryable(), "{answer:?}: {error:?}");
    }
    // A server without ranges gives everything: the part is cut out here.
    let answer = "HTTP/1.1 200 OK\r\netag: \"e\"\r\ncontent-length: 10\r\n\r\n0123456789";
    let object = bucket_that_answers(answer).await.get("k", GetRange::Range(3..5)).await.unwrap();
    assert_eq!((&object.body[..], object.len, object.etag), (&b"34"[..], 10, Etag::new("e")));
}

/// The time limit of an attempt holds; the request may have been done.
#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let bucket = connect(&S3Settings::new(BUCKET, None, Some(&endpoint)), http()).await;
    // What is larger may take longer, by its bytes.
    for (bytes, at_least_s, at_most_s) in [(0, 10, 12), (64 << 20, 74, 76)] {
        let started = tokio::time::Instant::now();
        let body = Bytes::from(vec![0; bytes]);
        let error = bucket.put("k", body, PutCondition::IfAbsent, None).await.unwrap_err();
        assert!(error.outcome_unknown(), "{error:?}");
        let took_s = started.elapsed().as_secs();
        assert!((at_least_s..=at_most_s).contains(&took_s), "{bytes} bytes: {took_s} s");
    }
}

/// A machine that can reach nothing, not even the metadata service that is asked for region and credentials.
#[derive(Debug)]
struct NoNetwork;

impl HttpConnector for NoNetwork {
    fn call(&self, _request: HttpRequest) -> HttpConnectorFuture {
        HttpConnectorFuture::ready(Err(ConnectorError::io("no network".into())))
    }
}

/// On AWS, the region may have to be asked for, too; without an answer there is an error, at the first request.
#[tokio::test(start_paused = true)]
async fn without_network_there_is_an_error_and_nothing_worse() {
    let http = http_client_fn(|_, _| SharedHttpConnector::new(NoNetwork));
    for endpoint in [None, Some("http://localhost:1")] {
        let settings = S3Settings::new(BUCKET, None, endpoint);
        let client = connect::client_of(&settings, connect::loader(&settings, http.clone())).await;
        let error = S3Bucket::new(client, &settings).head("k").await.unwrap_err();
        assert!(
            matches!(error, BucketError::Unavailable { .. } | BucketError::Invalid { .. }),
            "{endpoint:?}: {error:?}"
        );
    }
}
