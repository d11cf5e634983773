//! Prometheus's HTTP API, asked and compared.

use std::collections::BTreeMap;

use reqwest::RequestBuilder;
use serde_json::Value;

/// Labels in order.
pub(crate) type Labels = BTreeMap<String, String>;

/// Per series, (time in seconds, value) in ascending order. Native histograms stand as (time, their JSON).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    pub(crate) points: Vec<(f64, f64)>,
    pub(crate) histograms: Vec<(f64, String)>,
}

/// An answer: by labels, whatever the order of series. Scalars have no labels.
pub(crate) type Answer = BTreeMap<Labels, Series>;

/// Asks with `post`, a request to `query` or `query_range`.
pub(crate) async fn ask(post: RequestBuilder, form: &[(&str, String)]) -> Result<Answer, String> {
    let response = post.form(form).send().await.map_err(|error| format!("{error:?}"))?;
    let status = response.status();
    let text = response.text().await.map_err(|error| error.to_string())?;
    if !status.is_success() {
        return Err(format!("{status}: {text}"));
    }
    let json: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    parse(&json["data"]).ok_or(text)
}

fn parse(data: &Value) -> Option<Answer> {
    let result = &data["result"];
    let mut answer = Answer::new();
    match data["resultType"].as_str()? {
        "scalar" => {
            answer.insert(Labels::new(), Series { points: vec![point(result)?], histograms: Vec::new() });
        }
        "vector" | "matrix" => {
            for row in result.as_array()? {
                let labels: Labels = serde_json::from_value(row["metric"].clone()).ok()?;
                let list = |name: &str, plural: &str| {
                    let one = row.get(name).into_iter();
                    one.chain(row[plural].as_array().into_iter().flatten()).collect::<Vec<_>>()
                };
                let points = list("value", "values").into_iter().map(point).collect::<Option<_>>()?;
                let histograms = list("histogram", "histograms")
                    .into_iter()
                    .map(|pair| Some((pair[0].as_f64()?, pair[1].to_string())))
                    .collect::<Option<_>>()?;
                let previous = answer.insert(labels, Series { points, histograms });
                assert_eq!(previous, None, "the same labels twice: {data}");
            }
        }
        _ => return None,
    }
    Some(answer)
}

fn point(pair: &Value) -> Option<(f64, f64)> {
    let text = pair[1].as_str()?;
    let value = match text {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        _ => text.parse().ok()?,
    };
    Some((pair[0].as_f64()?, value))
}

/// What differs between two answers beyond a relative 1e-9, or nothing.
pub(crate) fn difference(expected: &Answer, found: &Answer) -> Option<String> {
    let missing: Vec<_> = expected.keys().filter(|labels| !found.contains_key(*labels)).collect();
    let extra: Vec<_> = found.keys().filter(|labels| !expected.contains_key(*labels)).collect();
    if !missing.is_empty() || !extra.is_empty() {
        return Some(format!("missing series {missing:?}, unexpected series {extra:?}"));
    }
    for (labels, expected) in expected {
        let found = &found[labels];
        let alike = expected.points.len() == found.points.len()
            && expected.points.iter().zip(&found.points).all(|(e, f)| e.0 == f.0 && same(e.1, f.1));
        if !alike || expected.histograms != found.histograms {
            return Some(format!("{labels:?}:\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    None
}

fn same(expected: f64, found: f64) -> bool {
    const TOLERANCE: f64 = 1e-9;
    expected == found
        || (expected.is_nan() && found.is_nan())
        || (expected - found).abs() <= TOLERANCE * expected.abs().max(found.abs())
}
