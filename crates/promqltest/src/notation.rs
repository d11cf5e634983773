//! Series as the scripts write them: `metric{label="value"} 1 2+3x4 _ stale {{count:1 …}}x5`.

use std::collections::BTreeMap;

use telemetry::histogram::CUSTOM_BUCKETS_SCHEMA;
use telemetry::{CounterResetHint, Histogram, Labels, METRIC_NAME, Span, stale_nan};

/// One value of a sequence.
#[derive(Clone, Debug)]
pub(crate) enum SequenceValue {
    /// `_`
    Omitted,
    Float(f64),
    Histogram {
        histogram: Histogram,
        hint_is_set: bool,
    },
}

/// Labels and the values behind them.
pub(crate) fn series(line: &str) -> Result<(Labels, Vec<SequenceValue>), String> {
    let (labels, rest) = labels(line)?;
    Ok((labels, values(rest)?))
}

fn labels(line: &str) -> Result<(Labels, &str), String> {
    let name_end = line.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(line.len());
    let (name, mut rest) = line.split_at(name_end);
    let mut pairs: Vec<(String, String)> = Vec::new();
    if !name.is_empty() {
        pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
    }
    if rest.starts_with('{') && !(name.is_empty() && rest.starts_with("{{")) {
        rest = &rest[1..];
        loop {
            rest = rest.trim_start_matches([' ', '\t', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let label;
            if rest.starts_with(['"', '\'']) {
                (label, rest) = quoted(rest)?;
            } else {
                let end = rest.find(['=', ' ', '}', ',']).ok_or("a label without an end")?;
                label = rest[..end].to_owned();
                rest = &rest[end..];
            }
            rest = rest.trim_start();
            match rest.strip_prefix('=') {
                Some(after) => {
                    let value;
                    (value, rest) = quoted(after.trim_start())?;
                    pairs.push((label, value));
                }
                None => pairs.push((METRIC_NAME.to_owned(), label)),
            }
        }
    }
    let labels = Labels::from_pairs(pairs).map_err(|error| format!("{line}: {error}"))?;
    Ok((labels, rest))
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let quote = text.chars().next().ok_or("a quoted text is missing")?;
    let mut out = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            _ if character == quote => return Ok((out, &text[at + 1..])),
            '\\' => match characters.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, other)) => out.push(other),
                None => break,
            },
            other => out.push(other),
        }
    }
    Err(format!("an unterminated text: {text}"))
}

fn values(text: &str) -> Result<Vec<SequenceValue>, String> {
    let mut values = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let next = item(rest)?;
        values.extend(next.0);
        rest = next.1.trim_start();
    }
    Ok(values)
}

/// One item of a sequence, with its repetitions, and what follows it.
fn item(text: &str) -> Result<(Vec<SequenceValue>, &str), String> {
    if let Some(rest) = text.strip_prefix('_') {
        let (times, rest) = repetitions(rest)?;
        return Ok((vec![SequenceValue::Omitted; times.unwrap_or(1)], rest));
    }
    if let Some(rest) = text.strip_prefix("stale") {
        return Ok((vec![SequenceValue::Float(stale_nan())], rest));
    }
    if text.starts_with("{{") {
        return histogram_item(text);
    }
    let (start, rest) = number(text)?;
    let (step, rest) = if rest.starts_with(['+', '-']) { number(rest)? } else { (0.0, rest) };
    let (times, rest) = repetitions(rest)?;
    let mut values = Vec::new();
    let mut value = start;
    for _ in 0..=times.unwrap_or(0) {
        values.push(SequenceValue::Float(value));
        value += step;
    }
    Ok((values, rest))
}

fn repetitions(text: &str) -> Result<(Option<usize>, &str), String> {
    let Some(rest) = text.strip_prefix('x') else { return Ok((None, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let times = rest[..end].parse().map_err(|error| format!("{text}: {error}"))?;
    Ok((Some(times), &rest[end..]))
}

fn number(text: &str) -> Result<(f64, &str), String> {
    let unsigned = text.trim_start_matches(['+', '-']);
    let sign_length = text.len() - unsigned.len();
    let lower = unsigned.to_ascii_lowercase();
    let length = if lower.starts_with("inf") || lower.starts_with("nan") {
        3
    } else {
        let bytes = unsigned.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let digit = bytes[at].is_ascii_digit() || bytes[at] == b'.';
            let exponent = matches!(bytes[at], b'e' | b'E');
            let sign = matches!(bytes[at], b'+' | b'-') && at > 0 && matches!(bytes[at - 1], b'e' | b'E');
            if !(digit || exponent || sign) {
                break;
            }
            at += 1;
        }
        at
    };
    let (digits, rest) = unsigned.split_at(length);
    let value: f64 = digits.parse().map_err(|error| format!("{text:?} is not a number: {error}"))?;
    let negative = text[..sign_length].matches('-').count() % 2 == 1;
    Ok((if negative { -value } else { value }, rest))
}

fn histogram_item(text: &str) -> Result<(Vec<SequenceValue>, &str), String> {
    let (base, hint_is_set, rest) = histogram(text)?;
    let value = |histogram: Histogram, hint_is_set| SequenceValue::Histogram { histogram, hint_is_set };
    if let Some(after) = rest.strip_prefix(['+', '-']) {
        let sign = if rest.starts_with('-') { -1.0 } else { 1.0 };
        let (step, hint_is_set, rest) = histogram(after)?;
        let (times, rest) = repetitions(rest)?;
        let mut values = vec![value(base.clone(), hint_is_set)];
        let mut current = base;
        for _ in 0..times.unwrap_or(0) {
            current = sum(&current, &step, sign);
            values.push(value(current.clone(), hint_is_set));
        }
        return Ok((values, rest));
    }
    let (times, rest) = repetitions(rest)?;
    Ok((vec![value(base, hint_is_set); times.map_or(1, |times| times + 1)], rest))
}

/// `a + sign × b`, where `b` has at least the resolution of `a` and both the same zero bucket.
fn sum(a: &Histogram, b: &Histogram, sign: f64) -> Histogram {
    let shift = if a.schema == CUSTOM_BUCKETS_SCHEMA { 0 } else { b.schema - a.schema };
    assert!(shift >= 0, "cannot add a histogram of lower resolution");
    let side = |spans_a: &[Span], a: &[f64], spans_b: &[Span], b: &[f64]| {
        let mut sums: BTreeMap<i32, f64> = BTreeMap::new();
        for (spans, buckets, sign, shift) in [(spans_a, a, 1.0, 0), (spans_b, b, sign, shift)] {
            let mut index = 0;
            let mut buckets = buckets.iter();
            for span in spans {
                index += span.offset;
                for count in buckets.by_ref().take(span.length as usize) {
                    *sums.entry(((index - 1) >> shift) + 1).or_default() += sign * count;
                    index += 1;
                }
            }
        }
        let Some(first) = sums.keys().next().copied() else { return (Vec::new(), Vec::new()) };
        let last = sums.keys().next_back().copied().unwrap();
        let counts = (first..=last).map(|index| sums.get(&index).copied().unwrap_or(0.0)).collect();
        (vec![Span { offset: first, length: (last - first + 1) as u32 }], counts)
    };
    let (positive_spans, positive_buckets) =
        side(&a.positive_spans, &a.positive_buckets, &b.positive_spans, &b.positive_buckets);
    let (negative_spans, negative_buckets) =
        side(&a.negative_spans, &a.negative_buckets, &b.negative_spans, &b.negative_buckets);
    let counter_reset_hint = match (a.counter_reset_hint, b.counter_reset_hint) {
        (a, b) if a == b => a,
        (CounterResetHint::Gauge, _) | (_, CounterResetHint::Gauge) => CounterResetHint::Gauge,
        _ => CounterResetHint::Unknown,
    };
    Histogram {
        counter_reset_hint,
        schema: a.schema,
        zero_threshold: a.zero_threshold.max(b.zero_threshold),
        zero_count: a.zero_count + sign * b.zero_count,
        count: a.count + sign * b.count,
        sum: a.sum + sign * b.sum,
        positive_spans,
        negative_spans,
        positive_buckets,
        negative_buckets,
        custom_values: a.custom_values.clone(),
    }
}

/// `{{key:value …}}`: the histogram, whether its hint was written, and what follows.
fn histogram(text: &str) -> Result<(Histogram, bool, &str), String> {
    let body = text.strip_prefix("{{").ok_or_else(|| format!("not a histogram: {text}"))?;
    let (body, rest) = body.split_once("}}").ok_or_else(|| format!("an unterminated histogram: {text}"))?;
    let mut histogram = Histogram::default();
    let (mut offset, mut negative_offset) = (0, 0);
    let mut hint_is_set = false;
    let mut fields = body.trim();
    while !fields.is_empty() {
        let (key, after) =
            fields.split_once(':').ok_or_else(|| format!("a field without a value: {fields}"))?;
        let (value, after) = match after.strip_prefix('[') {
            Some(list) => list.split_once(']').ok_or("an unterminated list")?,
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        let one = || number(value).map(|(number, _)| number);
        let list = || {
            value.split_whitespace().map(|text| number(text).map(|(n, _)| n)).collect::<Result<Vec<f64>, _>>()
        };
        match key {
            "schema" => histogram.schema = one()? as i8,
            "sum" => histogram.sum = one()?,
            "count" => histogram.count = one()?,
            "z_bucket" => histogram.zero_count = one()?,
            "z_bucket_w" => histogram.zero_threshold = one()?,
            "offset" => offset = one()? as i32,
            "n_offset" => negative_offset = one()? as i32,
            "buckets" => histogram.positive_buckets = list()?,
            "n_buckets" => histogram.negative_buckets = list()?,
            "custom_values" => histogram.custom_values = list()?,
            "counter_reset_hint" => {
                hint_is_set = true;
                histogram.counter_reset_hint = match value {
                    "gauge" => CounterResetHint::Gauge,
                    "reset" => CounterResetHint::CounterReset,
                    "not_reset" => CounterResetHint::NotCounterReset,
                    _ => CounterResetHint::Unknown,
                };
            }
            other => return Err(format!("an unknown field: {other}")),
        }
        fields = after.trim_start();
    }
    for (spans, buckets, offset) in [
        (&mut histogram.positive_spans, &histogram.positive_buckets, offset),
        (&mut histogram.negative_spans, &histogram.negative_buckets, negative_offset),
    ] {
        if !buckets.is_empty() {
            spans.push(Span { offset, length: buckets.len() as u32 });
        }
    }
    Ok((histogram, hint_is_set, rest))
}
