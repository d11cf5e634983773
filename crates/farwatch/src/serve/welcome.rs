//! What `serve` prints for its user on standard output.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// What was bound, one line a port: scripts that gave port 0 read it.
#[must_use]
pub fn listening(http: SocketAddr, grpc: Option<SocketAddr>) -> String {
    let mut text = format!("listening on http://{http}\n");
    if let Some(grpc) = grpc {
        let _ = writeln!(text, "listening on grpc://{grpc}");
    }
    text
}

/// What the first start says, with the key that is shown once. `http` is what was bound.
#[must_use]
pub fn first_start(key: &str, tenant: &str, http: SocketAddr) -> String {
    let address = reachable(http);
    format!(
        r#"
This is the first start. Tenant "{tenant}" was made, and this is its API key. It is shown once; keep it:

  {key}

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
        let text = first_start("KEY", "default", "0.0.0.0:9600".parse().unwrap());
        assert!(text.contains("http://127.0.0.1:9600/api/v1/write") && !text.contains("0.0.0.0"), "{text}");
        let both = listening("[::1]:1".parse().unwrap(), Some("127.0.0.1:2".parse().unwrap()));
        assert_eq!(both, "listening on http://[::1]:1\nlistening on grpc://127.0.0.1:2\n");
    }
}
