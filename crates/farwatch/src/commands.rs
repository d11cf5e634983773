//! The commands other than `serve`: they do one thing and end.

pub mod account;
pub mod compact;
mod known;
pub mod query;
pub mod segment;
pub mod storage;
pub mod tenant;
pub mod usage;
pub mod verify_invoice;

use std::error::Error;
use std::fmt::Write as _;

/// Where a server is that was given no other address.
const DEFAULT_URL: &str = "http://127.0.0.1:9600";

/// An error with all its causes, in one line.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}
