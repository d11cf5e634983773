//! `farwatch signup`: from an address to an account, an organisation and a session.

use std::io::Write;
use std::sync::Arc;

use reqwest::Method;
use segment_store::Clock;
use serde_json::json;

use super::client::ControlPlane;
use super::login::{begin, email};
use super::session::SessionFile;
use super::{AccountError, choice, prompt};
use crate::cli::account::SignUpArgs;
use crate::commands::DEFAULT_URL;

/// Signs up; with the link of the mail, makes the account.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn run(
    args: &SignUpArgs,
    file: &SessionFile,
    clock: Arc<dyn Clock>,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let url = args.who.url.as_deref().unwrap_or(DEFAULT_URL);
    let control_plane = ControlPlane::at(url)?;
    let email = email(args.who.email.as_deref())?;
    let password_file = args.who.password_file.as_deref();
    let (password, link) = match &args.confirm {
        Some(link) => (prompt::password("Password that you chose: ", password_file)?, link.clone()),
        None => {
            let password = prompt::new_password("Password (10 characters or more): ", password_file)?;
            let body = json!({ "email": email, "password": *password });
            control_plane.send(control_plane.request(Method::POST, &["accounts"]).json(&body)).await?;
            writeln!(
                out,
                "A mail is on its way to {email}. (A server that sends no mail writes the link to its log.)"
            )?;
            if !prompt::somebody_is_there() {
                writeln!(
                    out,
                    "Open the link in it, or: farwatch signup --url {url} --email {email} --confirm LINK"
                )?;
                return Ok(());
            }
            let missing = AccountError::Missing {
                what: "the link",
                how: "go on with `farwatch signup --confirm LINK` when you have it",
            };
            (password, prompt::line("The link in it: ", missing)?)
        }
    };
    let body = json!({ "token": token(&link), "password": *password });
    control_plane.send(control_plane.request(Method::POST, &["accounts", "verify"]).json(&body)).await?;
    let session = begin(url, &email, &password, None, file, clock).await?;
    writeln!(out, "Your account is there, and you are logged in as {email}.")?;
    if choice::organisations(&session).await?.is_empty() {
        let body = json!({ "name": args.organisation });
        session.send(Method::POST, &["organisations"], Some(&body)).await?;
        writeln!(out, "You own the organisation {:?}.", args.organisation)?;
    }
    writeln!(
        out,
        "\nNext, a tenant (an environment) and a key to write with:\n\n  \
         farwatch tenant create production\n  \
         farwatch keys create prometheus --scope metrics:write"
    )?;
    Ok(())
}

/// What stands behind `#token=` in a link, or the text itself.
fn token(link: &str) -> &str {
    link.rsplit_once("#token=").map_or(link, |(_, token)| token).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_or_its_token_is_taken() {
        assert_eq!(token("http://h/verify#token=a-b_c\n"), "a-b_c");
        assert_eq!(token("a-b_c"), "a-b_c");
    }
}
