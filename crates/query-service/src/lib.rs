//! Prometheus HTTP API over segments and the live tail.
