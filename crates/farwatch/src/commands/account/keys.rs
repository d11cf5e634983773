//! `farwatch keys`.

use std::io::Write;

use reqwest::Method;
use segment_store::Clock;
use serde::Deserialize;
use serde_json::{Value, json};

use super::session::Session;
use super::{AccountError, choice, show};
use crate::cli::account::{CreateKeyArgs, KeysCommand, RevokeKeyArgs, RotateKeyArgs, WhichTenant};

/// Keys a request; the control plane gives no more.
const PAGE: usize = 200;

#[derive(Deserialize)]
struct Key {
    id: String,
    name: String,
    state: String,
    scopes: Vec<String>,
    priority: String,
    expires_at_ms: Option<i64>,
    last_used_at_ms: Option<i64>,
}

/// Does what `farwatch keys` was asked.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn run(
    command: &KeysCommand,
    session: &Session,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    match command {
        KeysCommand::List(which) => list(which, session, out).await,
        KeysCommand::Create(args) => create(args, session, clock, out).await,
        KeysCommand::Rotate(args) => rotate(args, session, out).await,
        KeysCommand::Revoke(args) => revoke(args, session, out).await,
    }
}

async fn list(which: &WhichTenant, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, which.tenant.as_deref()).await?;
    let mut answers: Vec<Value> = Vec::new();
    let mut keys: Vec<Key> = Vec::new();
    loop {
        let mut parameters = vec![("limit", PAGE.to_string())];
        parameters.extend(keys.last().map(|last| ("before", last.id.clone())));
        let answer = session.ask(&["tenants", &tenant.id, "keys"], &parameters).await?;
        let page: Vec<Value> = session.read(answer.get("keys").unwrap_or(&Value::Null))?;
        let last = page.len() < PAGE;
        for key in &page {
            keys.push(session.read(key)?);
        }
        answers.extend(page);
        if last {
            break;
        }
    }
    if which.json {
        return Ok(show::json(&json!({ "keys": answers }), out)?);
    }
    if keys.is_empty() {
        writeln!(out, "{} has no keys; make one with `farwatch keys create`", tenant.name)?;
        return Ok(());
    }
    let rows: Vec<_> = keys
        .into_iter()
        .map(|key| {
            let expires = show::time_or(key.expires_at_ms, "never");
            let used = show::time_or(key.last_used_at_ms, "never");
            [key.id, key.name, key.state, key.scopes.join(" "), key.priority, expires, used]
        })
        .collect();
    let headings = ["KEY", "NAME", "STATE", "SCOPES", "PRIORITY", "EXPIRES", "LAST USED"];
    Ok(show::table(headings, &rows, out)?)
}

async fn create(
    args: &CreateKeyArgs,
    session: &Session,
    clock: &dyn Clock,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, args.which.tenant.as_deref()).await?;
    let life_ms = args.expires_in.map(|life| i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
    let body = json!({
        "name": args.name,
        "scopes": args.scopes,
        "expires_at_ms": life_ms.map(|life_ms| clock.now_ms().saturating_add(life_ms)),
        "priority": args.priority,
        "networks": args.networks,
    });
    let made = session.send(Method::POST, &["tenants", &tenant.id, "keys"], Some(&body)).await?;
    show_made(&made, args.which.json, session, out)
}

async fn rotate(args: &RotateKeyArgs, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, args.which.tenant.as_deref()).await?;
    let body = json!({ "overlap_s": args.overlap.as_secs() });
    let path = ["tenants", &tenant.id, "keys", &args.key, "rotate"];
    let made = session.send(Method::POST, &path, Some(&body)).await?;
    show_made(&made, args.which.json, session, out)
}

#[derive(Deserialize)]
struct Made {
    secret: String,
    key: Key,
}

/// Prints a key that was made. Alone on its line, so that scripts can take it from the terminal's output.
fn show_made(
    answer: &Value,
    as_json: bool,
    session: &Session,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    if as_json {
        return Ok(show::json(answer, out)?);
    }
    let Made { secret, key } = session.read(answer)?;
    writeln!(out, "This is the key {} ({}). It is shown once; keep it:\n\n  {secret}\n", key.name, key.id)?;
    writeln!(
        out,
        "Good for {} until {}.",
        key.scopes.join(", "),
        show::time_or(key.expires_at_ms, "it is revoked")
    )?;
    Ok(())
}

async fn revoke(args: &RevokeKeyArgs, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, args.which.tenant.as_deref()).await?;
    session.send(Method::DELETE, &["tenants", &tenant.id, "keys", &args.key], None).await?;
    if args.which.json {
        return Ok(show::json(&json!({ "revoked": args.key }), out)?);
    }
    writeln!(out, "{} is revoked: it is refused everywhere within 5 seconds", args.key)?;
    Ok(())
}
