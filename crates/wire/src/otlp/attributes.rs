//! Attributes: keys with values of any type, which become label values as text.
//!
//! Text is what the OpenTelemetry collector makes of a value: numbers and booleans as JSON has them, bytes as Base64,
//! lists and maps as JSON with sorted keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::point::PointProblem;
use crate::error::quoted_lossy;
use crate::limits::MAX_ATTRIBUTE_DEPTH;
use crate::protobuf::{Field, ProtobufErrorKind, Reader};

/// A key and its value, not decoded yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attribute<'a> {
    pub(super) key: &'a str,
    /// An `AnyValue` message; empty for no value.
    value: Reader<'a>,
}

impl<'a> Attribute<'a> {
    pub(super) fn read(field: &Field<'a>) -> Result<Self, PointProblem> {
        let mut reader = field.message("opentelemetry.KeyValue")?;
        let mut key = &[][..];
        let mut value = Reader::new(&[], ANY_VALUE);
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => key = field.bytes()?,
                2 => value = field.message(ANY_VALUE)?,
                _ => {}
            }
        }
        let key = simdutf8::basic::from_utf8(key)
            .map_err(|_| PointProblem::AttributeKeyNotUtf8 { key: quoted_lossy(key) })?;
        Ok(Self { key, value })
    }

    /// Appends the value as text.
    pub(super) fn push_value(&self, out: &mut String) -> Result<(), PointProblem> {
        match AnyValue::read(self.value)? {
            AnyValue::Text(bytes) => out.push_str(self.utf8(bytes)?),
            AnyValue::Bytes(bytes) => BASE64.encode_string(bytes, out),
            other => self.push_json(other, out, 0)?,
        }
        Ok(())
    }

    fn push_json(&self, value: AnyValue<'a>, out: &mut String, depth: usize) -> Result<(), PointProblem> {
        if depth > MAX_ATTRIBUTE_DEPTH {
            return Err(PointProblem::AttributeTooDeep {
                key: quoted_lossy(self.key.as_bytes()),
                limit: MAX_ATTRIBUTE_DEPTH,
            });
        }
        match value {
            AnyValue::None if depth == 0 => {}
            AnyValue::None => out.push_str("null"),
            AnyValue::Text(bytes) => push_json_string(self.utf8(bytes)?, out),
            AnyValue::Bool(value) => out.push_str(if value { "true" } else { "false" }),
            AnyValue::Int(value) => out.push_str(&value.to_string()),
            AnyValue::Double(value) => push_double(value, out),
            AnyValue::Bytes(bytes) => {
                out.push('"');
                BASE64.encode_string(bytes, out);
                out.push('"');
            }
            AnyValue::List(mut list) => {
                out.push('[');
                let mut separator = "";
                while let Some(field) = list.next_field()? {
                    if field.number == 1 {
                        out.push_str(separator);
                        separator = ",";
                        self.push_json(AnyValue::read(field.message(ANY_VALUE)?)?, out, depth + 1)?;
                    }
                }
                out.push(']');
            }
            AnyValue::Map(mut map) => {
                let mut entries = Vec::new();
                while let Some(field) = map.next_field()? {
                    if field.number == 1 {
                        entries.push(Attribute::read(&field)?);
                    }
                }
                entries.sort_by_key(|entry| entry.key);
                out.push('{');
                let mut separator = "";
                for entry in entries {
                    out.push_str(separator);
                    separator = ",";
                    push_json_string(entry.key, out);
                    out.push(':');
                    self.push_json(AnyValue::read(entry.value)?, out, depth + 1)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    fn utf8<'b>(&self, bytes: &'b [u8]) -> Result<&'b str, PointProblem> {
        simdutf8::basic::from_utf8(bytes)
            .map_err(|_| PointProblem::AttributeValueNotUtf8 { key: quoted_lossy(self.key.as_bytes()) })
    }
}

const ANY_VALUE: &str = "opentelemetry.AnyValue";

enum AnyValue<'a> {
    None,
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(Reader<'a>),
    Map(Reader<'a>),
    Bytes(&'a [u8]),
}

impl<'a> AnyValue<'a> {
    fn read(mut reader: Reader<'a>) -> Result<Self, PointProblem> {
        let mut value = Self::None;
        while let Some(field) = reader.next_field()? {
            value = match field.number {
                1 => Self::Text(field.bytes()?),
                2 => Self::Bool(field.varint()? != 0),
                3 => Self::Int(field.varint()? as i64),
                4 => Self::Double(field.double()?),
                5 => Self::List(field.message("opentelemetry.ArrayValue")?),
                6 => Self::Map(field.message("opentelemetry.KeyValueList")?),
                7 => Self::Bytes(field.bytes()?),
                _ => continue,
            };
        }
        Ok(value)
    }
}

fn push_json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends `value` in the shortest form that reads back the same; very small and very large ones with an exponent, as
/// JSON encoders write them.
pub(super) fn push_double(value: f64, out: &mut String) {
    let magnitude = value.abs();
    if value.is_infinite() {
        out.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let text = format!("{value:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                out.push_str(digits);
                out.push_str("e+");
                out.push_str(exponent);
            }
            _ => out.push_str(&text),
        }
    } else {
        out.push_str(&value.to_string());
    }
}

/// Keeps the one message that a field may hold; a second one would be lost silently.
pub(super) fn once<'a>(
    slot: &mut Option<Reader<'a>>,
    field: &Field<'a>,
    message: &'static str,
) -> Result<(), crate::protobuf::ProtobufError> {
    if slot.is_some() {
        return Err(field.error(ProtobufErrorKind::Repeated { field: field.number }));
    }
    *slot = Some(field.message(message)?);
    Ok(())
}

#[cfg(test)]
mod tests;
