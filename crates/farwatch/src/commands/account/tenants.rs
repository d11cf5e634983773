//! The tenants of an account: `farwatch tenant`.

use std::io::Write;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::session::Session;
use super::{AccountError, choice, placement, show};
use crate::cli::account::{CreateTenantArgs, RenameTenantArgs, WhichOrganisation};

/// Shows the tenants of all organisations, or of one.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn list(
    which: &WhichOrganisation,
    session: &Session,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let organisations = match &which.organisation {
        Some(_) => vec![choice::organisation(session, which.organisation.as_deref()).await?],
        None => choice::organisations(session).await?,
    };
    let mut rows = Vec::new();
    let mut answers = Vec::new();
    for organisation in &organisations {
        let (tenants, answer) = choice::tenants_of(session, organisation).await?;
        let role = organisation.role.clone().unwrap_or_default();
        let row = |name: String, id: String| {
            [organisation.name.clone(), organisation.plan.clone(), role.clone(), name, id]
        };
        if tenants.is_empty() {
            rows.push(row("-".to_owned(), "-".to_owned()));
        }
        rows.extend(tenants.into_iter().map(|tenant| row(tenant.name, tenant.id)));
        answers.push(json!({
            "organisation": { "id": organisation.id, "name": organisation.name, "plan": organisation.plan, "role": organisation.role },
            "tenants": answer.get("tenants").unwrap_or(&Value::Null),
        }));
    }
    if which.json {
        return Ok(show::json(&Value::Array(answers), out)?);
    }
    if rows.is_empty() {
        writeln!(
            out,
            "You are in no organisation yet; `farwatch tenant create NAME` makes a first one, with a tenant in it."
        )?;
        return Ok(());
    }
    Ok(show::table(["ORGANISATION", "PLAN", "YOU ARE", "TENANT", "TENANT'S ID"], &rows, out)?)
}

#[derive(Deserialize)]
struct Made {
    id: String,
    name: String,
}

/// Makes a tenant, and the organisation that it belongs to where the account has none.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn create(
    args: &CreateTenantArgs,
    session: &Session,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let organisation = choice::organisation_for_tenant(session, args.which.organisation.as_deref()).await?;
    let path = ["organisations", &organisation.id, "tenants"];
    let mut body = json!({ "name": args.name });
    match placement::declaration(&args.declaration)? {
        Value::Null => {}
        declared => body["placement"] = declared,
    }
    let answer = session.send(Method::POST, &path, Some(&body)).await?;
    if args.which.json {
        return Ok(show::json(&answer, out)?);
    }
    let Made { id, name } = session.read(&answer)?;
    writeln!(
        out,
        "The tenant {name} is there; its id is {id}. `farwatch placement show` says where it is, and why."
    )?;
    Ok(())
}

/// Gives a tenant another name.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn rename(
    args: &RenameTenantArgs,
    session: &Session,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, Some(&args.tenant)).await?;
    session.send(Method::PATCH, &["tenants", &tenant.id], Some(&json!({ "name": args.name }))).await?;
    writeln!(out, "{} ({}) is named {} now", tenant.name, tenant.id, args.name)?;
    Ok(())
}

/// Deletes a tenant of the account.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn delete(wanted: &str, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, Some(wanted)).await?;
    session.send(Method::DELETE, &["tenants", &tenant.id], None).await?;
    writeln!(
        out,
        "{} ({}) is deleted: its API keys are refused everywhere within 5 seconds, and its data is deleted for good a day later. \
         Invoices and the usage in them stay.",
        tenant.name, tenant.id
    )?;
    Ok(())
}
