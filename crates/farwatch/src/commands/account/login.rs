//! `farwatch login` and `farwatch logout`.

use std::io::Write;
use std::sync::Arc;

use reqwest::Method;
use segment_store::Clock;
use serde_json::json;

use super::AccountError;
use super::client::ControlPlane;
use super::prompt;
use super::session::{Session, SessionFile};
use crate::cli::account::LogInArgs;
use crate::commands::{DEFAULT_URL, chain};

/// What the control plane calls a login that lacks the code.
const CODE_NEEDED: &str = "second_factor_needed";

/// Logs in and keeps the session.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn log_in(
    args: &LogInArgs,
    file: &SessionFile,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let email = email(args.who.email.as_deref())?;
    let password = prompt::password("Password: ", args.who.password_file.as_deref())?;
    let url = args.who.url.as_deref().unwrap_or(DEFAULT_URL);
    begin(url, &email, &password, args.code.clone(), file, clock).await?;
    writeln!(out, "logged in to {url} as {email}")?;
    Ok(())
}

/// Logs in, with the code of the second factor if it takes one.
pub(super) async fn begin(
    url: &str,
    email: &str,
    password: &str,
    code: Option<String>,
    file: &SessionFile,
    clock: Arc<dyn Clock>,
) -> Result<Session, AccountError> {
    let control_plane = ControlPlane::at(url)?;
    let attempt = async |code: Option<&str>| {
        let body = json!({ "email": email, "password": password, "code": code });
        control_plane.send(control_plane.request(Method::POST, &["sessions"]).json(&body)).await
    };
    let answer = match attempt(code.as_deref()).await {
        Err(needed @ AccountError::Refused { .. }) if code.is_none() && is_for_code(&needed) => {
            attempt(Some(&prompt::line("Code of the second factor: ", needed)?)).await?
        }
        other => other?,
    };
    Session::begin(file, clock, url, email, &answer)
}

fn is_for_code(error: &AccountError) -> bool {
    matches!(error, AccountError::Refused { code, .. } if code == CODE_NEEDED)
}

/// The account's address, as it was given or is typed in.
pub(super) fn email(given: Option<&str>) -> Result<String, AccountError> {
    match given {
        Some(email) => Ok(email.to_owned()),
        None => prompt::line(
            "E-mail: ",
            AccountError::Missing { what: "the e-mail address", how: "give it with --email" },
        ),
    }
}

/// Ends the session: here in any case, and there if the control plane can be told.
///
/// # Errors
/// [`AccountError::NotLoggedIn`]; others when the session's file cannot be removed.
pub async fn log_out(
    file: &SessionFile,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let session = match Session::open(file, None, clock) {
        Ok(session) => session,
        Err(error @ AccountError::NotLoggedIn) => return Err(error),
        Err(error) => {
            file.forget()?;
            writeln!(
                out,
                "logged out here; no server was told, since the session could not be read ({})",
                chain(&error)
            )?;
            return Ok(());
        }
    };
    let told = session.send(Method::DELETE, &["sessions", "current"], None).await;
    file.forget()?;
    match told {
        Ok(_) | Err(AccountError::SessionOver) => writeln!(out, "logged out {}", session.email())?,
        Err(error) => writeln!(
            out,
            "logged out {} here; {} could not be told and knows the session until its time is up ({})",
            session.email(),
            session.url(),
            chain(&error)
        )?,
    }
    Ok(())
}
