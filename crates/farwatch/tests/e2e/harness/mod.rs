//! What the tests have in common.

pub(crate) mod compression;
pub(crate) mod customer;
pub(crate) mod farwatch;
#[path = "../../../../../control-plane/tests/suite/postgres.rs"]
pub(crate) mod postgres;
pub(crate) mod promapi;
pub(crate) mod protobuf;
pub(crate) mod remote_write;
pub(crate) mod tenants;
pub(crate) mod tools;

use std::sync::Mutex;
use std::time::Duration;

use segment_store::{Clock, SystemClock};

pub(crate) use farwatch::{Farwatch, Options};

/// Milliseconds since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    SystemClock::new().now_ms()
}

/// Asks `attempt` again and again until it gives something; panics with `what` and the last reason when it takes longer than
/// `within`.
pub(crate) async fn eventually<T, F: Future<Output = Result<T, String>>>(
    what: &str,
    within: Duration,
    mut attempt: impl FnMut() -> F,
) -> T {
    const PAUSE: Duration = Duration::from_millis(10);
    let clock = SystemClock::new();
    loop {
        let reason = match attempt().await {
            Ok(value) => return value,
            Err(reason) => reason,
        };
        assert!(clock.monotonic() < within, "gave up waiting for {what} after {within:?}: {reason}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The token of the first link to confirm an address: a server without mail writes the link to its log.
pub(crate) async fn signup_token(output: &Mutex<String>) -> String {
    eventually("the mail in the log", Duration::from_secs(30), async || {
        let said = output.lock().unwrap().clone();
        let (_, rest) = said.split_once("/verify#token=").ok_or("no link yet")?;
        Ok(rest.chars().take_while(|at| at.is_ascii_alphanumeric() || "-_".contains(*at)).collect())
    })
    .await
}
