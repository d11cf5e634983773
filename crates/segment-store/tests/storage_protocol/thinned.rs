//! What thinned segments must say.

use std::collections::BTreeMap;

use telemetry::Omitted;

use crate::data::{Id, Kind, Value};

/// What is known of a series in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq)]
struct Stretch {
    /// How many floats there are, or were.
    floats: u64,
    least: f64,
    greatest: f64,
    sum: f64,
    histograms: Vec<(i64, Value)>,
    last: Option<(i64, Value)>,
}

impl Stretch {
    fn add(&mut self, at_ms: i64, value: Value) {
        self.last = Some((at_ms, value));
        match value {
            Value::Float(bits) if !telemetry::is_stale_nan(f64::from_bits(bits)) => {
                let value = f64::from_bits(bits);
                self.least = if self.floats == 0 { value } else { self.least.min(value) };
                self.greatest = if self.floats == 0 { value } else { self.greatest.max(value) };
                self.floats += 1;
                self.sum += value;
            }
            Value::Float(_) => {}
            of => self.histograms.push((at_ms, of)),
        }
    }

    /// Sums may differ by rounding.
    fn says_the_same_as(&self, raw: &Self) -> bool {
        (self.sum - raw.sum).abs() < 1e-9 && *self == Self { sum: self.sum, ..raw.clone() }
    }
}

/// By series and the number of the stretch. Stretches are (k·r, (k + 1)·r].
fn stretches(samples: &BTreeMap<Id, Value>, resolution_ms: i64) -> BTreeMap<(String, i64), Stretch> {
    let mut stretches: BTreeMap<(String, i64), Stretch> = BTreeMap::new();
    // By ascending time.
    for (id, value) in samples.iter().filter(|(id, _)| id.kind == Kind::Sample) {
        let stretch = (id.name.clone(), number(id.at_ms, resolution_ms));
        stretches.entry(stretch).or_default().add(id.at_ms, *value);
    }
    stretches
}

fn number(at_ms: i64, resolution_ms: i64) -> i64 {
    (at_ms - 1).div_euclid(resolution_ms)
}

/// Whether `thinned` samples of a tenant's day, and what was `left_out` of them, say what the `raw` ones say; how many were left
/// out, or what is wrong.
pub(crate) fn compare(
    raw: &BTreeMap<Id, Value>,
    thinned: &BTreeMap<Id, Value>,
    left_out: &[(String, Omitted)],
    resolution_ms: i64,
) -> Result<u64, String> {
    let mut samples = thinned.iter().filter(|(id, _)| id.kind == Kind::Sample);
    if let Some((id, value)) = samples.find(|(id, value)| raw.get(*id) != Some(*value)) {
        return Err(format!("{id:?} is {value:?}, which no raw sample is"));
    }
    let (expected, mut found) = (stretches(raw, resolution_ms), stretches(thinned, resolution_ms));
    for (name, of) in left_out {
        let stretch = found.entry((name.clone(), number(of.timestamp_ms, resolution_ms))).or_default();
        stretch.floats += of.count;
        stretch.sum += of.sum;
    }
    let all = expected.keys().chain(found.keys());
    let none = Stretch::default();
    for stretch in all {
        let of = |map: &BTreeMap<_, Stretch>| map.get(stretch).cloned().unwrap_or(none.clone());
        let (raw, thinned) = (of(&expected), of(&found));
        if !thinned.says_the_same_as(&raw) {
            return Err(format!("{stretch:?} is {thinned:?}, and {raw:?} before"));
        }
    }
    Ok(left_out.iter().map(|(_, of)| of.count).sum())
}
