//! The commands of an account: everything that a customer does with the control plane, over its public API.
//!
//! | module | what |
//! |---|---|
//! | `client` | requests to the control plane, and what it refuses |
//! | [`session`] | who is logged in: the file that `farwatch login` leaves |
//! | `prompt` | asks at the terminal |
//! | `choice` | which organisation and tenant is meant |
//! | `amount` | numbers of limits, as people write them |
//! | `show` | tables and times |
//! | [`signup`], [`login`], [`tenants`], [`keys`], [`quota`], [`usage`], [`invoice`], [`placement`] | the commands |

mod amount;
mod choice;
mod client;
pub mod invoice;
pub mod keys;
pub mod login;
pub mod placement;
mod prompt;
pub mod quota;
pub mod session;
pub(in crate::commands) mod show;
pub mod signup;
pub mod tenants;
pub mod usage;

use std::path::PathBuf;

/// Why a command of the account was not done.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The server's address is none.
    #[error("--url is {text:?}; it must be {expected}")]
    Url {
        /// What was given.
        text: String,
        /// What it must be.
        expected: String,
    },
    /// Nobody is logged in.
    #[error(
        "you are not logged in; do that with `farwatch login`, or make an account with `farwatch signup`"
    )]
    NotLoggedIn,
    /// The session has ended: by its age, a logout elsewhere, or a new password.
    #[error("your session is over; log in again with `farwatch login`")]
    SessionOver,
    /// What the environment names is not where somebody is logged in.
    #[error(
        "FARWATCH_URL is {wanted}, and you are logged in to {url}; log in there with `farwatch login --url {wanted}`, or unset \
         FARWATCH_URL"
    )]
    OtherServer {
        /// What the environment names.
        wanted: String,
        /// Where somebody is logged in.
        url: String,
    },
    /// There is no place for the session.
    #[error("there is no home directory to keep the session in; set FARWATCH_SESSION_FILE")]
    NoHome,
    /// The session's file cannot be used.
    #[error("cannot use the session in {}", path.display())]
    SessionFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The session's file holds something else.
    #[error("{} is not a session; log in again with `farwatch login`", path.display())]
    NotASession {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The password's file cannot be read.
    #[error("cannot read the password in {}", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What is needed was not given, and there is no terminal to ask at.
    #[error("{what} is missing; {how}")]
    Missing {
        /// What is needed.
        what: &'static str,
        /// How to give it.
        how: &'static str,
    },
    /// The new password was typed in two ways.
    #[error("the two passwords differ; nothing was done")]
    PasswordsDiffer,
    /// The request did not get through.
    #[error("cannot reach {url}; is `farwatch serve` running there?")]
    Unreachable {
        /// The server.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The control plane refused.
    #[error("{status}: {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What kind of problem it is, for programs.
        code: String,
        /// The control plane's reason.
        detail: String,
    },
    /// What answered is not the control plane.
    #[error("the answer is not the control plane's; is {url} the right address?")]
    NotTheControlPlane {
        /// The server.
        url: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Several are there, or none of that name.
    #[error("{0}")]
    Choice(String),
    /// A quota that is none.
    #[error("{0}")]
    Quota(String),
    /// The terminal went away.
    #[error("cannot use the terminal")]
    Terminal(#[from] std::io::Error),
}
