//! Recomputing an invoice, and every difference from what it states.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::{BillingError, Invoice, InvoiceInput};

/// Something that an invoice states otherwise than it is computed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// What, such as `line "samples, tier 2" of scale v3 from 2026-11-01 …: amount_micros`.
    pub what: String,
    /// What the invoice states; `None` where it leaves this out.
    pub stated: Option<String>,
    /// What it should be; `None` where there should be nothing.
    pub computed: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        write!(f, "{}: stated {}, computed {}", self.what, shown(&self.stated), shown(&self.computed))
    }
}

/// Computes an invoice anew and lists every difference; none means that it is right to the last micro-unit. Whether it is
/// still a draft does not matter.
///
/// # Errors
/// [`BillingError`] where no invoice can be computed from the input.
pub fn verify(stated: &Invoice, input: &InvoiceInput) -> Result<Vec<Difference>, BillingError> {
    let computed = facts(&Invoice::compute(input)?);
    let stated = facts(stated);
    let mut whats: Vec<&String> = stated.keys().chain(computed.keys()).collect();
    whats.sort();
    whats.dedup();
    Ok(whats
        .into_iter()
        .filter(|what| stated.get(*what) != computed.get(*what))
        .map(|what| Difference {
            what: what.clone(),
            stated: stated.get(what).cloned(),
            computed: computed.get(what).cloned(),
        })
        .collect())
}

/// Everything that an invoice states, each under a name that does not depend on the order of lines.
fn facts(invoice: &Invoice) -> BTreeMap<String, String> {
    let mut facts = Facts::default();
    let Invoice {
        organisation,
        month,
        status: _,
        currency,
        lines,
        subtotal_micros,
        credits,
        carried_over_micros,
        rounding_micros,
        total_micros,
        unbilled,
        breakdown,
    } = invoice;
    facts.add("organisation", organisation);
    facts.add("month", month);
    facts.add("currency", currency);
    facts.add("subtotal_micros", subtotal_micros);
    facts.add("carried_over_micros", carried_over_micros);
    facts.add("rounding_micros", rounding_micros);
    facts.add("total_micros", total_micros);
    for line in lines {
        let name = format!(
            "line {:?} of {} v{} for {}",
            line.describe(),
            line.plan,
            line.plan_version,
            line.period.describe()
        );
        facts.add(&name, line);
    }
    for (number, credit) in (1..).zip(credits) {
        facts.add(&format!("credit {number}"), credit);
    }
    for usage in unbilled {
        facts.add(&format!("unbilled {}", usage.meter.unit()), usage);
    }
    for (dimension, parts) in [
        ("tenant", &breakdown.by_tenant),
        ("signal", &breakdown.by_signal),
        ("metric name", &breakdown.by_metric),
        ("API key", &breakdown.by_api_key),
    ] {
        for part in parts {
            facts.add(&format!("part of {dimension} {:?}", part.cause), part);
        }
    }
    facts.stated
}

/// Names and values.
#[derive(Default)]
struct Facts {
    /// What is stated, by name.
    stated: BTreeMap<String, String>,
    /// How often a name was given.
    given: BTreeMap<String, u32>,
}

impl Facts {
    /// Adds all that `fact` states. A name that is there already is numbered, so that a line that is stated twice shows.
    fn add(&mut self, name: &str, fact: &impl Serialize) {
        let given = self.given.entry(name.to_owned()).or_default();
        *given += 1;
        let unique = if *given == 1 { name.to_owned() } else { format!("{name} (again, {given})") };
        // A number, a text or a struct of such always has a value.
        match serde_json::to_value(fact).unwrap_or(Value::Null) {
            Value::Object(fields) => {
                let named = |(field, value)| (format!("{unique}: {field}"), plain(value));
                self.stated.extend(fields.into_iter().map(named));
            }
            value => {
                self.stated.insert(unique, plain(value));
            }
        }
    }
}

/// A value as text, without the quotes of a JSON string.
fn plain(value: Value) -> String {
    match value {
        Value::String(text) => text,
        value => value.to_string(),
    }
}
