//! `farwatch keys`.

use std::io::Write;

use reqwest::Method;
use segment_store::Clock;
use serde::Deserialize;
use serde_json::{Value, json};

use super::choice::Tenant;
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

/// All keys of a tenant, newest first, and the answers that they were read from.
async fn all(session: &Session, tenant: &Tenant) -> Result<(Vec<Key>, Vec<Value>), AccountError> {
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
            return Ok((keys, answers));
        }
    }
}

/// The key that is meant: by its id, or by the name that one good key alone has.
fn one(mut keys: Vec<Key>, wanted: &str, tenant: &Tenant) -> Result<Key, AccountError> {
    if let Some(at) = keys.iter().position(|key| key.id == wanted) {
        return Ok(keys.swap_remove(at));
    }
    let named = keys.iter().filter(|key| key.name == wanted).count();
    keys.retain(|key| key.name == wanted && key.state == "live");
    let name = &tenant.name;
    match keys.len() {
        1 => Ok(keys.swap_remove(0)),
        0 if named > 0 => Err(AccountError::Choice(format!(
            "the key {wanted:?} of {name} has expired or was revoked; `farwatch keys create` makes a new one"
        ))),
        0 => Err(AccountError::Choice(format!(
            "{name} has no key {wanted:?}; `farwatch keys list --tenant {name:?}` shows those it has"
        ))),
        _ => {
            let ids: Vec<String> = keys
                .into_iter()
                .map(|key| {
                    format!("{} (until {})", key.id, show::time_or(key.expires_at_ms, "it is revoked"))
                })
                .collect();
            Err(AccountError::Choice(format!(
                "several keys of {name} are named {wanted:?}; give the id of one: {}",
                ids.join(", ")
            )))
        }
    }
}

async fn list(which: &WhichTenant, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, which.tenant.as_deref()).await?;
    let (keys, answers) = all(session, &tenant).await?;
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
    let old = one(all(session, &tenant).await?.0, &args.key, &tenant)?;
    let body = json!({ "overlap_s": args.overlap.as_secs() });
    let path = ["tenants", &tenant.id, "keys", &old.id, "rotate"];
    let made = session.send(Method::POST, &path, Some(&body)).await?;
    show_made(&made, args.which.json, session, out)?;
    if args.which.json {
        return Ok(());
    }
    let Key { id, name, .. } = old;
    if args.overlap.is_zero() {
        writeln!(out, "It replaces {name} ({id}), which is refused everywhere within 5 seconds.")?;
        return Ok(());
    }
    let old: Key = session.read(&session.get(&["tenants", &tenant.id, "keys", &id]).await?)?;
    let until = show::time_or(old.expires_at_ms, "it is revoked");
    writeln!(out, "It replaces {name} ({id}), which is good, too, until {until}: change over before that.")?;
    Ok(())
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
        "Good for {} until {}. It takes up to 5 seconds until it is known everywhere.",
        key.scopes.join(", "),
        show::time_or(key.expires_at_ms, "it is revoked")
    )?;
    Ok(())
}

async fn revoke(args: &RevokeKeyArgs, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, args.which.tenant.as_deref()).await?;
    let Key { id, name, .. } = one(all(session, &tenant).await?.0, &args.key, &tenant)?;
    session.send(Method::DELETE, &["tenants", &tenant.id, "keys", &id], None).await?;
    if args.which.json {
        return Ok(show::json(&json!({ "revoked": id }), out)?);
    }
    writeln!(out, "{name} ({id}) is revoked: it is refused everywhere within 5 seconds")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_meant_by_its_id_or_by_a_name_that_is_its_alone() {
        let key = |id: &str, name: &str, state: &str| Key {
            id: id.to_owned(),
            name: name.to_owned(),
            state: state.to_owned(),
            scopes: Vec::new(),
            priority: String::new(),
            expires_at_ms: Some(0),
            last_used_at_ms: None,
        };
        let tenant = Tenant { id: "t".to_owned(), name: "production".to_owned() };
        let pick = |wanted: &str| {
            let keys = vec![
                key("k-1", "a", "live"),
                key("k-2", "a", "revoked"),
                key("k-3", "b", "live"),
                key("k-4", "b", "live"),
                key("k-5", "c", "expired"),
            ];
            one(keys, wanted, &tenant).map(|key| key.id).map_err(|error| error.to_string())
        };
        assert_eq!(pick("a").unwrap(), "k-1", "what is revoked is not meant");
        assert_eq!(pick("k-2").unwrap(), "k-2", "unless its id is given");
        let several = pick("b").unwrap_err();
        assert!(several.contains("k-3") && several.contains("k-4"), "{several}");
        assert!(pick("c").unwrap_err().contains("keys create"));
        assert!(pick("d").unwrap_err().contains("keys list"));
    }
}
