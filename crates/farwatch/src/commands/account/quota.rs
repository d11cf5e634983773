//! `farwatch quota`.

use std::io::Write;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::session::Session;
use super::{AccountError, amount, choice, show};
use crate::cli::account::{QuotaCommand, SetQuotaArgs, WhichTenant};

#[derive(Deserialize)]
struct Quotas {
    plan: String,
    quotas: Vec<Quota>,
}

#[derive(Deserialize)]
struct Quota {
    name: String,
    value: Option<u64>,
    default: Option<u64>,
    ceiling: Option<u64>,
    set: Option<u64>,
    at_once: Option<u64>,
}

impl Quota {
    fn show(&self, value: Option<u64>, none: &str) -> String {
        value.map_or_else(|| none.to_owned(), |value| amount::show(value, is_of_bytes(&self.name)))
    }

    /// What is set, as it may be set again: on a smaller plan than then, what holds of it.
    fn kept(&self) -> Option<u64> {
        self.set.map(|set| set.min(self.ceiling.unwrap_or(u64::MAX)))
    }
}

/// Does what `farwatch quota` was asked.
///
/// # Errors
/// [`AccountError`], which says what to do.
pub async fn run(command: &QuotaCommand, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    match command {
        QuotaCommand::Show(which) => show_quotas(which, session, out).await,
        QuotaCommand::Set(args) => set(args, session, out).await,
    }
}

async fn show_quotas(
    which: &WhichTenant,
    session: &Session,
    out: &mut dyn Write,
) -> Result<(), AccountError> {
    let tenant = choice::tenant(session, which.tenant.as_deref()).await?;
    let answer = session.get(&["tenants", &tenant.id, "quotas"]).await?;
    if which.json {
        return Ok(show::json(&answer, out)?);
    }
    let Quotas { plan, quotas } = session.read(&answer)?;
    let rows: Vec<_> = quotas
        .iter()
        .map(|quota| {
            [
                quota.name.clone(),
                quota.show(quota.value, "no limit"),
                quota.show(quota.set, "-"),
                quota.show(quota.default, "no limit"),
                quota.show(quota.ceiling, "no bound"),
                quota.show(quota.at_once, "-"),
            ]
        })
        .collect();
    writeln!(out, "Limits of {}, on the plan {plan}:\n", tenant.name)?;
    Ok(show::table(
        ["LIMIT", "IN FORCE", "SET", "OF THE PLAN", "CAN BE SET UP TO", "AT MOST AT ONCE"],
        &rows,
        out,
    )?)
}

async fn set(args: &SetQuotaArgs, session: &Session, out: &mut dyn Write) -> Result<(), AccountError> {
    let changes: Vec<(String, Option<u64>)> =
        args.limits.iter().map(|text| change(text)).collect::<Result<_, _>>()?;
    let tenant = choice::tenant(session, args.which.tenant.as_deref()).await?;
    let path = ["tenants", &tenant.id, "quotas"];
    let Quotas { plan, quotas } = session.read(&session.get(&path).await?)?;
    let mut body: Map<String, Value> =
        quotas.iter().filter_map(|quota| Some((quota.name.clone(), quota.kept()?.into()))).collect();
    for (name, value) in changes {
        let Some(quota) = quotas.iter().find(|quota| quota.name == name) else {
            let known: Vec<_> = quotas.iter().map(|quota| quota.name.as_str()).collect();
            return Err(AccountError::Quota(format!(
                "there is no limit {name:?}; there are {}",
                known.join(", ")
            )));
        };
        if let (Some(value), Some(ceiling)) = (value, quota.ceiling)
            && value > ceiling
        {
            let [value, ceiling] = [value, ceiling].map(|number| quota.show(Some(number), ""));
            return Err(AccountError::Quota(format!(
                "{name}={value} is more than the plan {plan} allows: {ceiling} at most"
            )));
        }
        match value {
            Some(value) => body.insert(name, value.into()),
            None => body.remove(&name),
        };
    }
    session.send(Method::PUT, &path, Some(&Value::Object(body))).await?;
    show_quotas(&args.which, session, out).await
}

/// A limit's name and number; none for what the plan says.
fn change(text: &str) -> Result<(String, Option<u64>), AccountError> {
    let wrong = || {
        AccountError::Quota(format!(
            "{text:?} is no limit; write it as samples_per_second=50000, =50k or =1.5M, bytes_per_day=5GiB, or =default for what the \
             plan says"
        ))
    };
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let name = name.replace('-', "_");
    let value = match value {
        "default" => None,
        _ => Some(amount::parse(value, is_of_bytes(&name)).ok_or_else(wrong)?),
    };
    Ok((name, value))
}

/// Whether the limit of that name counts bytes.
fn is_of_bytes(name: &str) -> bool {
    name.contains("bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_set_on_a_larger_plan_does_not_stand_in_the_way_of_other_limits() {
        let quota = |set, ceiling| Quota {
            name: String::new(),
            value: None,
            default: None,
            ceiling,
            set,
            at_once: None,
        };
        assert_eq!(quota(Some(500_000), Some(1_000)).kept(), Some(1_000));
        assert_eq!(quota(Some(500), Some(1_000)).kept(), Some(500));
        assert_eq!(quota(Some(500_000), None).kept(), Some(500_000));
        assert_eq!(quota(None, Some(1_000)).kept(), None);
    }

    #[test]
    fn limits_are_written_as_people_write_them() {
        let read = |text: &str| change(text).ok();
        let of = |name: &str, value| Some((name.to_owned(), value));
        assert_eq!(read("samples_per_second=50000"), of("samples_per_second", Some(50_000)));
        assert_eq!(read("samples-per-second=50k"), of("samples_per_second", Some(50_000)));
        assert_eq!(read("bytes_per_day=2T"), of("bytes_per_day", Some(2_000_000_000_000)));
        assert_eq!(read("query-bytes=1.5GiB"), of("query_bytes", Some(3 << 29)));
        assert_eq!(read("active_series=default"), of("active_series", None));
        for wrong in
            ["active_series", "active_series=", "active_series=-1", "active_series=5GiB", "a=1.5", "a=k"]
        {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }
}
