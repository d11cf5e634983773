//! What a server answered, in a form in which answers of different servers can be compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::shapes::{Agreement, Ask};
use crate::api::{ApiError, QueriedSeries, SeriesKey, parse_answer, parse_json};

/// Values may differ by so much relative to their size: servers add the same numbers up in different orders, and
/// VictoriaMetrics drops the last digits of long ones.
const TOLERANCE: f64 = 1e-6;

/// An answer without its punctuation.
#[derive(Debug)]
pub enum Answer {
    /// Of a query.
    Series(BTreeMap<SeriesKey, Vec<(i64, f64)>>),
    /// Of a look-up: sorted texts.
    Texts(Vec<String>),
    /// Of something that every server words in its own way.
    Opaque,
}

/// How much an answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Series, or texts of a look-up.
    pub series: usize,
    /// Points of all series.
    pub points: usize,
    /// Bytes of the body.
    pub bytes: usize,
}

#[derive(Deserialize)]
struct Texts {
    data: Vec<String>,
}

#[derive(Deserialize)]
struct LabelSets {
    data: Vec<BTreeMap<String, String>>,
}

impl Answer {
    /// Reads the body of an answer to `ask`.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(ask: &Ask, body: &[u8]) -> Result<Self, ApiError> {
        match ask {
            Ask::Range(_) | Ask::Instant(_) => {
                let series = parse_answer(body)?;
                let pairs = series.into_iter().map(|QueriedSeries { key, samples }| (key, samples));
                Ok(Self::Series(pairs.collect()))
            }
            Ask::Labels(_) | Ask::Values(..) => {
                let mut texts = parse_json::<Texts>(body)?.data;
                texts.sort_unstable();
                Ok(Self::Texts(texts))
            }
            Ask::Series(..) => {
                let sets = parse_json::<LabelSets>(body)?.data;
                let mut texts: Vec<String> = sets.iter().map(|set| format!("{set:?}")).collect();
                texts.sort_unstable();
                Ok(Self::Texts(texts))
            }
            Ask::Cardinality => Ok(Self::Opaque),
        }
    }

    /// How much it is; `bytes` of body.
    #[must_use]
    pub fn size(&self, bytes: usize) -> Size {
        match self {
            Self::Series(series) => {
                Size { series: series.len(), points: series.values().map(Vec::len).sum(), bytes }
            }
            Self::Texts(texts) => Size { series: texts.len(), points: 0, bytes },
            Self::Opaque => Size { bytes, ..Size::default() },
        }
    }

    /// Without points that are no numbers, and without series that have no others: VictoriaMetrics leaves these out.
    #[must_use]
    pub fn numbers_only(&self) -> Option<Self> {
        let Self::Series(series) = self else { return None };
        let numbers = series.iter().map(|(key, points)| {
            let numbers = points.iter().filter(|(_, value)| !value.is_nan()).copied();
            (key.clone(), numbers.collect::<Vec<_>>())
        });
        Some(Self::Series(numbers.filter(|(_, points)| !points.is_empty()).collect()))
    }

    /// What is different in `other`, as far as it must agree. `None` when nothing is.
    #[must_use]
    pub fn difference(&self, other: &Self, agreement: Agreement) -> Option<String> {
        if agreement == Agreement::Nothing {
            return None;
        }
        match (self, other) {
            (Self::Series(own), Self::Series(others)) => {
                if let Some(missing) = own.keys().find(|key| !others.contains_key(*key)) {
                    return Some(format!(
                        "{} against {} series; {missing} only here",
                        own.len(),
                        others.len()
                    ));
                }
                if let Some(more) = others.keys().find(|key| !own.contains_key(*key)) {
                    return Some(format!("{} against {} series; {more} only there", own.len(), others.len()));
                }
                if agreement == Agreement::Series {
                    return None;
                }
                own.iter().zip(others.values()).find_map(|((key, points), other)| {
                    different_points(points, other).map(|text| format!("{key}: {text}"))
                })
            }
            (Self::Texts(own), Self::Texts(others)) if own != others => {
                let only =
                    |a: &[String], b: &[String]| a.iter().find(|it| b.binary_search(it).is_err()).cloned();
                Some(format!(
                    "{} against {} texts; only here {:?}, only there {:?}",
                    own.len(),
                    others.len(),
                    only(own, others),
                    only(others, own)
                ))
            }
            _ => None,
        }
    }
}

fn different_points(own: &[(i64, f64)], others: &[(i64, f64)]) -> Option<String> {
    if own.len() != others.len() {
        return Some(format!("{} against {} points", own.len(), others.len()));
    }
    own.iter().zip(others).find_map(|((at, value), (other_at, other))| {
        let same = at == other_at && is_close(*value, *other);
        (!same).then(|| format!("{value} at {at} against {other} at {other_at}"))
    })
}

fn is_close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(json: &str) -> Answer {
        Answer::parse(&Ask::Instant(""), json.as_bytes()).unwrap()
    }

    fn one(value: &str) -> Answer {
        series(&format!(r#"{{"data":{{"result":[{{"metric":{{"a":"b"}},"value":[1,"{value}"]}}]}}}}"#))
    }

    #[test]
    fn values_agree_within_a_tolerance() {
        for (a, b, same) in
            [("1", "1.0000001", true), ("1", "1.001", false), ("NaN", "NaN", true), ("NaN", "1", false)]
        {
            assert_eq!(one(a).difference(&one(b), Agreement::Values).is_none(), same, "{a} {b}");
            assert_eq!(one(a).difference(&one(b), Agreement::Series), None);
        }
        let none = series(r#"{"data":{"result":[]}}"#);
        assert!(one("1").difference(&none, Agreement::Series).is_some());
        assert!(none.difference(&one("1"), Agreement::Series).is_some());
        assert_eq!(none.difference(&one("1"), Agreement::Nothing), None);
        let longer = series(r#"{"data":{"result":[{"metric":{"a":"b"},"values":[[1,"1"],[2,"1"]]}]}}"#);
        assert!(one("1").difference(&longer, Agreement::Values).is_some());
        assert_eq!(longer.size(7), Size { series: 1, points: 2, bytes: 7 });
        let numbers = one("NaN").numbers_only().unwrap();
        assert_eq!(numbers.difference(&none, Agreement::Values), None);
        assert!(one("1").numbers_only().unwrap().difference(&none, Agreement::Values).is_some());
    }

    #[test]
    fn texts_agree_in_any_order() {
        let texts = |json: &str| Answer::parse(&Ask::Labels(None), json.as_bytes()).unwrap();
        let (a, b) = (texts(r#"{"data":["x","y"]}"#), texts(r#"{"data":["y","x"]}"#));
        assert_eq!(a.difference(&b, Agreement::Values), None);
        assert!(a.difference(&texts(r#"{"data":["x"]}"#), Agreement::Values).is_some());
        let sets = |json: &str| Answer::parse(&Ask::Series("", 0), json.as_bytes()).unwrap();
        let (a, b) = (sets(r#"{"data":[{"b":"1","a":"2"}]}"#), sets(r#"{"data":[{"a":"2","b":"1"}]}"#));
        assert_eq!(a.difference(&b, Agreement::Values), None);
        assert!(Answer::parse(&Ask::Labels(None), b"[]").is_err());
    }
}
