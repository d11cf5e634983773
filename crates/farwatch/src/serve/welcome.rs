//! What `serve` prints for its user on standard output.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

use telemetry::TenantId;

/// What was bound, one line a port: scripts that gave port 0 read it.
#[must_use]
pub fn listening(http: SocketAddr, grpc: Option<SocketAddr>) -> String {
    let mut text = format!("listening on http://{http}\n");
    if let Some(grpc) = grpc {
        let _ = writeln!(text, "listening on grpc://{grpc}");
    }
    text
}

/// What every start says where requests need no credentials.
#[must_use]
pub fn anonymous(tenant: &str) -> String {
    format!("requests without credentials belong to tenant \"{tenant}\"\n")
}

/// What the first start says when the key went to the file `path`.
#[must_use]
pub fn key_file(path: &Path, tenant: &str) -> String {
    format!(
        "this is the first start: tenant \"{tenant}\" was made; the API key was written to {}\n",
        path.display()
    )
}

/// What the first start says, with the key that is shown once; `anonymous` is the tenant of requests without credentials.
/// `http` is what was bound.
#[must_use]
pub fn first_start(key: &str, tenant: &str, anonymous: Option<&TenantId>, http: SocketAddr) -> String {
    let address = reachable(http);
    let anonymous = anonymous.filter(|anonymous| anonymous.as_str() != tenant);
    let anonymous = anonymous.map_or_else(String::new, |anonymous| {
        format!(
            "\nRequests without credentials belong to tenant \"{anonymous}\": what is sent or asked with this key is not seen\n\
             without it, nor the other way round.\n"
        )
    });
    format!(
        r#"
This is the first start. Tenant "{tenant}" was made, and this is its API key. It is shown once; keep it:

  {key}
{anonymous}
Prometheus, in prometheus.yml:

  remote_write:
    - url: http://{address}/api/v1/write
      authorization:
        credentials: {key}

OpenTelemetry, in the environment of a program that uses an SDK:

  OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://{address}/v1/metrics
  OTEL_EXPORTER_OTLP_METRICS_PROTOCOL=http/protobuf
  OTEL_EXPORTER_OTLP_METRICS_HEADERS='Authorization=Bearer%20{key}'

Grafana, a data source of type Prometheus:

  URL http://{address} · Basic auth on · user "{tenant}" · password: the key

Here:

  FARWATCH_KEY={key} farwatch query --url http://{address} 'up'

Where next: README.md has a tour, `farwatch config reference` lists every setting.

"#
    )
}

/// The address to give to others: of "every address" only the local one is known.
fn reachable(bound: SocketAddr) -> SocketAddr {
    match bound {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => ([127, 0, 0, 1], v6.port()).into(),
        known => known,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_addresses_that_can_be_used() {
        let text = first_start("KEY", "default", None, "0.0.0.0:9600".parse().unwrap());
        assert!(text.contains("http://127.0.0.1:9600/api/v1/write") && !text.contains("0.0.0.0"), "{text}");
        let both = listening("[::1]:1".parse().unwrap(), Some("127.0.0.1:2".parse().unwrap()));
        assert_eq!(both, "listening on http://[::1]:1\nlistening on grpc://127.0.0.1:2\n");
    }

    #[test]
    fn says_whose_requests_without_credentials_are() {
        let guests = TenantId::new("guests").unwrap();
        let with = first_start("KEY", "default", Some(&guests), "127.0.0.1:1".parse().unwrap());
        assert!(with.contains("without credentials belong to tenant \"guests\""), "{with}");
        let without = first_start("KEY", "default", None, "127.0.0.1:1".parse().unwrap());
        assert!(!without.contains("credentials belong"), "{without}");
    }
}
