//! Prometheus's own test scripts (see the `promqltest` crate) against a real `farwatch serve`: loaded by remote write,
//! asked and answered over the HTTP API.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test without libtest's harness is a test all the same"
)]

#[path = "../e2e/harness/mod.rs"]
#[allow(dead_code, reason = "this test needs less of it than the others")]
mod harness;

mod answer;
mod histogram;
mod served;

use std::process::ExitCode;

fn main() -> ExitCode {
    promqltest::main(include_str!("known_failures.txt"), served::Served::new)
}
