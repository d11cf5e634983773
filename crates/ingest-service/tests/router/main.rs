//! The routers over a real group commit: requests in, answers and durable data out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod access;
mod footprint;
mod leases;
mod limits;
mod otlp;
mod remote_write;
mod support;
mod unavailable;
