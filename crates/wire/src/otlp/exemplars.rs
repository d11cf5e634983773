//! Exemplars of data points.

use telemetry::{Exemplar, LabelsBuilder};

use super::attributes::Attribute;
use super::point::PointProblem;
use crate::limits::Limits;
use crate::protobuf::{Field, Reader};

const TRACE_ID: &str = "trace_id";
const SPAN_ID: &str = "span_id";

/// Reads an exemplar; `None` when it has no value or its labels make no label set. Attributes that would make its labels
/// longer than allowed are left out, trace and span ids stay.
pub(super) fn read(field: &Field<'_>, limits: &Limits) -> Result<Option<Exemplar>, PointProblem> {
    let mut reader = field.message("opentelemetry.Exemplar")?;
    let mut value = None;
    let mut timestamp_ms = 0;
    let (mut trace_id, mut span_id) = (String::new(), String::new());
    let attributes = reader;
    while let Some(field) = reader.next_field()? {
        match field.number {
            2 => timestamp_ms = millis(field.fixed64()?),
            3 => value = Some(field.double()?),
            6 => value = Some(field.fixed64()? as i64 as f64),
            4 => span_id = hex_id(field.bytes()?),
            5 => trace_id = hex_id(field.bytes()?),
            _ => {}
        }
    }
    let Some(value) = value else { return Ok(None) };
    let texts = read_attributes(attributes, limits)?;
    let mut labels = LabelsBuilder::default();
    let mut chars = 0;
    for (name, id) in [(TRACE_ID, &trace_id), (SPAN_ID, &span_id)] {
        if !id.is_empty() {
            chars += name.len() + id.len();
            labels.push(name, id);
        }
    }
    chars += texts.iter().map(|(key, text)| key.chars().count() + text.chars().count()).sum::<usize>();
    if chars <= limits.max_exemplar_label_chars {
        for (key, text) in &texts {
            labels.push(key, text);
        }
    }
    Ok(labels.build().ok().map(|labels| Exemplar { labels, value, timestamp_ms }))
}

/// The filtered attributes as text; those of an exemplar that has far too many are not looked at.
fn read_attributes<'a>(
    mut reader: Reader<'a>,
    limits: &Limits,
) -> Result<Vec<(&'a str, String)>, PointProblem> {
    let mut texts = Vec::new();
    while let Some(field) = reader.next_field()? {
        if field.number == 7 && texts.len() <= limits.max_exemplar_label_chars {
            let attribute = Attribute::read(&field)?;
            let mut text = String::new();
            attribute.push_value(&mut text)?;
            texts.push((attribute.key, text));
        }
    }
    Ok(texts)
}

/// An id in hexadecimal; empty when it is not one (all zero, or of a wrong length).
fn hex_id(id: &[u8]) -> String {
    use std::fmt::Write as _;
    if !matches!(id.len(), 8 | 16) || id.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    id.iter().fold(String::with_capacity(id.len() * 2), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Nanoseconds as milliseconds since the Unix epoch.
pub(super) fn millis(nanos: u64) -> i64 {
    (nanos / 1_000_000) as i64
}
