//! Putting a series' samples together from several places.

use promql::SeriesSamples;

/// Adds `newer` to `out`. Both are in order; of samples with equal timestamps the newer one stays, whatever its kind.
pub(crate) fn merge_newer(out: &mut SeriesSamples, newer: &SeriesSamples) {
    if newer.is_empty() {
        return;
    }
    if last_ms(out) < first_ms(newer) {
        out.timestamps_ms.extend_from_slice(&newer.timestamps_ms);
        out.values.extend_from_slice(&newer.values);
        out.histograms.extend_from_slice(&newer.histograms);
        out.omitted.extend_from_slice(&newer.omitted);
        return;
    }
    let mut older = std::mem::take(out);
    merge_floats(out, &older, newer);
    // No two places have thinned samples of the same day.
    out.omitted = std::mem::take(&mut older.omitted);
    out.omitted.extend_from_slice(&newer.omitted);
    out.omitted.sort_by_key(|row| row.timestamp_ms);
    merge_histograms(out, older, newer);
}

fn first_ms(samples: &SeriesSamples) -> Option<i64> {
    let float = samples.timestamps_ms.first().copied();
    let histogram = samples.histograms.first().map(|(at, _)| *at);
    float.into_iter().chain(histogram).min()
}

/// `None`, which is less than any timestamp, where there is no sample.
fn last_ms(samples: &SeriesSamples) -> Option<i64> {
    samples.timestamps_ms.last().copied().max(samples.histograms.last().map(|(at, _)| *at))
}

fn has_histogram(samples: &SeriesSamples, at: i64) -> bool {
    samples.histograms.binary_search_by_key(&at, |(at, _)| *at).is_ok()
}

fn merge_floats(out: &mut SeriesSamples, older: &SeriesSamples, newer: &SeriesSamples) {
    let mut new = newer.timestamps_ms.iter().zip(&newer.values).peekable();
    for (&at, &value) in older.timestamps_ms.iter().zip(&older.values) {
        while let Some((&new_at, &new_value)) = new.next_if(|(new_at, _)| **new_at < at) {
            out.timestamps_ms.push(new_at);
            out.values.push(new_value);
        }
        let replaced = new.peek().is_some_and(|(new_at, _)| **new_at == at) || has_histogram(newer, at);
        if !replaced {
            out.timestamps_ms.push(at);
            out.values.push(value);
        }
    }
    for (&at, &value) in new {
        out.timestamps_ms.push(at);
        out.values.push(value);
    }
}

fn merge_histograms(out: &mut SeriesSamples, older: SeriesSamples, newer: &SeriesSamples) {
    if newer.histograms.is_empty() && older.histograms.is_empty() {
        return;
    }
    let mut new = newer.histograms.iter().cloned().peekable();
    for (at, histogram) in older.histograms {
        while let Some(sample) = new.next_if(|(new_at, _)| *new_at < at) {
            out.histograms.push(sample);
        }
        let replaced = new.peek().is_some_and(|(new_at, _)| *new_at == at)
            || newer.timestamps_ms.binary_search(&at).is_ok();
        if !replaced {
            out.histograms.push((at, histogram));
        }
    }
    out.histograms.extend(new);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;
    use telemetry::Histogram;

    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    enum Value {
        Float(u32),
        Histogram(u32),
    }

    fn to_samples(model: &BTreeMap<i64, Value>) -> SeriesSamples {
        let mut out = SeriesSamples::default();
        for (&at, value) in model {
            match value {
                Value::Float(number) => {
                    out.timestamps_ms.push(at);
                    out.values.push(f64::from(*number));
                }
                Value::Histogram(number) => {
                    let histogram = Histogram { count: f64::from(*number), ..Histogram::default() };
                    out.histograms.push((at, Arc::new(histogram)));
                }
            }
        }
        out
    }

    fn model() -> impl Strategy<Value = BTreeMap<i64, Value>> {
        let value = prop_oneof![any::<u32>().prop_map(Value::Float), any::<u32>().prop_map(Value::Histogram)];
        prop::collection::btree_map(0..30_i64, value, 0..20)
    }

    proptest! {
        /// Merging is what inserting the newer samples into a map is.
        #[test]
        fn newer_samples_win(older in model(), newer in model()) {
            let mut merged = to_samples(&older);
            merge_newer(&mut merged, &to_samples(&newer));
            let mut expected = older;
            expected.extend(newer);
            let expected = to_samples(&expected);
            prop_assert_eq!(merged.timestamps_ms, expected.timestamps_ms);
            prop_assert_eq!(merged.values, expected.values);
            prop_assert_eq!(merged.histograms, expected.histograms);
        }
    }
}
