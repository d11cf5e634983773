//! Compares two answers of the Prometheus query API.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Numbers that differ by less than this, relative to the larger one, are equal: sums may be taken in another order.
const RELATIVE_TOLERANCE: f64 = 1e-9;

/// How `theirs` (the reference) and `ours` differ, in words, or `None` when they say the same.
///
/// The order of series does not matter; annotations do, and so does whether a query fails at all.
#[must_use]
pub(super) fn difference(theirs: &Value, ours: &Value) -> Option<String> {
    let status = |answer: &Value| answer["status"].as_str().unwrap_or("none").to_owned();
    if status(theirs) != status(ours) {
        return Some(format!(
            "status {} ({}) ≠ {} ({})",
            status(theirs),
            theirs["error"],
            status(ours),
            ours["error"]
        ));
    }
    if status(theirs) == "error" {
        let kind = |answer: &Value| answer["errorType"].as_str().unwrap_or("none").to_owned();
        return (kind(theirs) != kind(ours)).then(|| {
            format!("error {} ({}) ≠ {} ({})", kind(theirs), theirs["error"], kind(ours), ours["error"])
        });
    }
    for field in ["warnings", "infos"] {
        let texts = |answer: &Value| -> BTreeSet<String> {
            let list = answer[field].as_array().cloned().unwrap_or_default();
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        if texts(theirs) != texts(ours) {
            return Some(format!("{field} {:?} ≠ {:?}", texts(theirs), texts(ours)));
        }
    }
    let (theirs, ours) = (&theirs["data"], &ours["data"]);
    if theirs["resultType"] != ours["resultType"] {
        return Some(format!("result type {} ≠ {}", theirs["resultType"], ours["resultType"]));
    }
    if theirs["resultType"] == "scalar" || theirs["resultType"] == "string" {
        return same(&theirs["result"], &ours["result"]);
    }
    let (Some(theirs), Some(ours)) = (by_labels(&theirs["result"]), by_labels(&ours["result"])) else {
        return Some("an answer is not a list of series with labels of their own".to_owned());
    };
    for (labels, value) in &theirs {
        match ours.get(labels) {
            None => return Some(format!("{labels} is missing")),
            Some(other) => {
                if let Some(how) = same(value, other) {
                    return Some(format!("{labels}: {how}"));
                }
            }
        }
    }
    ours.keys().find(|labels| !theirs.contains_key(*labels)).map(|labels| format!("{labels} is too much"))
}

/// Each series' samples by its labels; the labels are an object whose keys `serde_json` sorts.
fn by_labels(result: &Value) -> Option<BTreeMap<String, Value>> {
    let mut series = BTreeMap::new();
    for entry in result.as_array()? {
        let mut samples = entry.clone();
        let labels = samples.as_object_mut()?.remove("metric")?;
        if series.insert(labels.to_string(), samples).is_some() {
            return None;
        }
    }
    Some(series)
}

fn same(theirs: &Value, ours: &Value) -> Option<String> {
    let differ = || Some(format!("{theirs} ≠ {ours}"));
    match (theirs, ours) {
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).find_map(|(x, y)| same(x, y))
        }
        (Value::Object(a), Value::Object(b)) if a.len() == b.len() => {
            a.iter().find_map(|(key, x)| match b.get(key) {
                Some(y) => same(x, y).map(|how| format!("{key}: {how}")),
                None => Some(format!("{key} is missing")),
            })
        }
        (Value::String(a), Value::String(b)) => {
            let equal = a == b || matches!((a.parse(), b.parse()), (Ok(x), Ok(y)) if close(x, y));
            if equal { None } else { differ() }
        }
        (Value::Number(a), Value::Number(b)) => {
            let equal = matches!((a.as_f64(), b.as_f64()), (Some(x), Some(y)) if close(x, y));
            if equal { None } else { differ() }
        }
        _ if theirs == ours => None,
        _ => differ(),
    }
}

fn close(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    a == b || (a - b).abs() <= RELATIVE_TOLERANCE * a.abs().max(b.abs()) || a.abs().max(b.abs()) < 1e-250
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn vector(value: &str) -> Value {
        json!({"status": "success", "data": {"resultType": "vector", "result": [
            {"metric": {"a": "1"}, "value": [1.0, value]},
            {"metric": {"a": "2"}, "value": [1.0, "5"]},
        ]}})
    }

    #[test]
    fn tells_answers_apart() {
        assert_eq!(difference(&vector("1"), &vector("1.0000000000001")), None);
        assert_eq!(difference(&vector("NaN"), &vector("NaN")), None);
        assert!(difference(&vector("1"), &vector("1.001")).is_some());
        assert!(difference(&vector("NaN"), &vector("1")).is_some());
        let mut fewer = vector("1");
        fewer["data"]["result"].as_array_mut().unwrap().pop();
        assert!(difference(&vector("1"), &fewer).is_some());
        assert!(difference(&fewer, &vector("1")).is_some());
        let mut warned = vector("1");
        warned["warnings"] = json!(["careful"]);
        assert!(difference(&vector("1"), &warned).is_some());
        let failed = json!({"status": "error", "errorType": "execution", "error": "x"});
        assert!(difference(&vector("1"), &failed).is_some());
        assert_eq!(difference(&failed, &failed), None);
    }
}
