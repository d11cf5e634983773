//! End to end: the real binary, real clients, over real ports. Every server that a test starts takes a port of the
//! system's choice and a directory of its own, and is gone when the test is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may")]

mod harness;

mod account;
mod bad_input;
mod bill;
mod command_line;
mod compaction;
mod control_plane;
mod costs;
mod drills;
mod first_start;
mod object_store;
mod openapi;
mod opentelemetry;
mod operator;
mod prometheus;
mod readiness;
mod routes;
mod shutdown;
