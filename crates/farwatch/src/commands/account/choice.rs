//! Which organisation and tenant is meant: by name or id, or the only one that there is.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::AccountError;
use super::session::Session;

/// An organisation that the account belongs to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Organisation {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) plan: String,
    pub(super) role: Option<String>,
}

/// A tenant that the account may see.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Tenant {
    pub(super) id: String,
    pub(super) name: String,
}

#[derive(Deserialize)]
struct OrganisationList {
    organisations: Vec<Organisation>,
}

#[derive(Deserialize)]
struct TenantList {
    tenants: Vec<Tenant>,
}

/// The name of the tenant with this id; of one that is deleted nothing but the id is known.
pub(super) fn name_of<'a>(tenants: &'a [Tenant], id: &str) -> &'a str {
    tenants.iter().find(|tenant| tenant.id == id).map_or("(deleted)", |tenant| tenant.name.as_str())
}

/// All organisations of the account.
pub(super) async fn organisations(session: &Session) -> Result<Vec<Organisation>, AccountError> {
    let list: OrganisationList = session.read(&session.get(&["organisations"]).await?)?;
    Ok(list.organisations)
}

/// The organisation that is meant.
pub(super) async fn organisation(
    session: &Session,
    wanted: Option<&str>,
) -> Result<Organisation, AccountError> {
    let all = organisations(session).await?;
    one("organisation", "--organisation", all, wanted, |one| (&one.id, &one.name))
}

/// The organisation that a new tenant is for: the one that is meant, or a first one where the account has none.
pub(super) async fn organisation_for_tenant(
    session: &Session,
    wanted: Option<&str>,
) -> Result<Organisation, AccountError> {
    let all = organisations(session).await?;
    if all.is_empty() && wanted.is_none() {
        let body = json!({ "name": "default" });
        return session.read(&session.send(Method::POST, &["organisations"], Some(&body)).await?);
    }
    one("organisation", "--organisation", all, wanted, |one| (&one.id, &one.name))
}

/// The tenants of an organisation, and the answer that they were read from.
pub(super) async fn tenants_of(
    session: &Session,
    organisation: &Organisation,
) -> Result<(Vec<Tenant>, Value), AccountError> {
    let answer = session.get(&["organisations", &organisation.id, "tenants"]).await?;
    let list: TenantList = session.read(&answer)?;
    Ok((list.tenants, answer))
}

/// The tenant that is meant, of all organisations.
pub(super) async fn tenant(session: &Session, wanted: Option<&str>) -> Result<Tenant, AccountError> {
    let mut all = Vec::new();
    for organisation in organisations(session).await? {
        all.extend(tenants_of(session, &organisation).await?.0);
    }
    one("tenant", "--tenant", all, wanted, |one| (&one.id, &one.name))
}

fn one<T>(
    kind: &str,
    flag: &str,
    mut all: Vec<T>,
    wanted: Option<&str>,
    names: impl for<'a> Fn(&'a T) -> (&'a String, &'a String),
) -> Result<T, AccountError> {
    if let Some(wanted) = wanted {
        // An id is of one; a name may be of several.
        if let Some(at) = all.iter().position(|one| names(one).0 == wanted) {
            return Ok(all.swap_remove(at));
        }
        all.retain(|one| names(one).1 == wanted);
    }
    let listed = || {
        let shown = all.iter().map(|one| format!("{} ({})", names(one).1, names(one).0));
        shown.collect::<Vec<_>>().join(", ")
    };
    match (all.len(), wanted) {
        (1, _) => Ok(all.swap_remove(0)),
        (0, Some(wanted)) => Err(AccountError::Choice(format!(
            "you have no {kind} {wanted:?}; `farwatch tenant list` shows those you have"
        ))),
        (0, None) => Err(AccountError::Choice(format!(
            "you have no {kind} yet; make one with `farwatch tenant create`"
        ))),
        (_, Some(_)) => {
            Err(AccountError::Choice(format!("several have that name; give {flag} an id: {}", listed())))
        }
        (_, None) => Err(AccountError::Choice(format!("say which {kind} with {flag}: {}", listed()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_meant_is_found_and_doubt_is_said() {
        let pick = |all: &[(&str, &str)], wanted: Option<&str>| {
            let all = all.iter().map(|(id, name)| ((*id).to_owned(), (*name).to_owned())).collect();
            one("tenant", "--tenant", all, wanted, by_name)
                .map(|(id, _)| id)
                .map_err(|error| error.to_string())
        };
        let two = [("t-1", "production"), ("t-2", "staging")];
        assert_eq!(pick(&two[..1], None).unwrap(), "t-1");
        assert_eq!(pick(&two, Some("staging")).unwrap(), "t-2");
        assert_eq!(pick(&two, Some("t-1")).unwrap(), "t-1");
        assert!(pick(&two, None).unwrap_err().contains("production (t-1), staging (t-2)"));
        assert!(pick(&two, Some("dev")).unwrap_err().contains("\"dev\""));
        assert!(pick(&[], None).unwrap_err().contains("tenant create"));
        let same = [("t-1", "a"), ("t-2", "a"), ("a", "b")];
        assert!(pick(&same[..2], Some("a")).unwrap_err().contains("t-1"));
        // An id wins over names.
        assert_eq!(pick(&same, Some("a")).unwrap(), "a");
    }

    fn by_name(one: &(String, String)) -> (&String, &String) {
        (&one.0, &one.1)
    }
}
