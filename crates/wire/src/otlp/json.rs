//! OTLP/JSON, rewritten as protobuf.
//!
//! The rules are those of the OTLP specification ("JSON Protobuf Encoding"): field names in lowerCamelCase, unknown fields
//! ignored, 64-bit integers as decimal strings or numbers, enums as numbers, trace and span ids in hexadecimal, other bytes
//! in Base64, non-finite doubles as strings; `null` counts as absent.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{RequestError, quoted};
use crate::limits::Limits;
use crate::protobuf::push_varint;

mod schema;
use schema::{Field, Kind, Message};

/// The JSON of an `ExportMetricsServiceRequest` as binary protobuf, at most as large as a decompressed body may be.
///
/// # Errors
/// [`RequestError`]: malformed JSON, a value of a wrong type, or too much of it.
pub fn metrics_to_protobuf(body: &[u8], limits: &Limits) -> Result<Vec<u8>, RequestError> {
    let mut output = Output { bytes: Vec::new(), limit: limits.max_decompressed_bytes, full: false };
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let seed = MessageSeed { message: &schema::EXPORT_METRICS, output: &mut output };
    let result = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    match result {
        Ok(()) => Ok(output.bytes),
        Err(_) if output.full => Err(RequestError::TooMany { what: "bytes", limit: output.limit }),
        Err(error) => Err(RequestError::Json(error.to_string())),
    }
}

/// Protobuf being written, up to a limit.
struct Output {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Output {
    /// Checks that there is room for what was written.
    fn check<E: Error>(&mut self) -> Result<(), E> {
        if self.bytes.len() > self.limit {
            self.full = true;
            return Err(E::custom("too large"));
        }
        Ok(())
    }

    fn push_tag(&mut self, number: u8, wire_type: u8) {
        self.bytes.push(number << 3 | wire_type);
    }

    fn push_bytes<E: Error>(&mut self, number: u8, bytes: &[u8]) -> Result<(), E> {
        self.push_tag(number, 2);
        push_varint(&mut self.bytes, bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
        self.check()
    }

    fn push_varint<E: Error>(&mut self, number: u8, value: u64) -> Result<(), E> {
        self.push_tag(number, 0);
        push_varint(&mut self.bytes, value);
        self.check()
    }

    fn push_fixed64<E: Error>(&mut self, number: u8, value: u64) -> Result<(), E> {
        self.push_tag(number, 1);
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self.check()
    }

    /// Opens a nested message, whose length is not known yet; returns what [`close`](Self::close) needs.
    fn open(&mut self, number: u8) -> usize {
        self.push_tag(number, 2);
        self.bytes.extend_from_slice(&[0; LENGTH_BYTES]);
        self.bytes.len()
    }

    fn close(&mut self, start: usize) {
        // A varint of a fixed width: every digit but the last says that more follow.
        let length = self.bytes.len() - start;
        for (index, byte) in self.bytes[start - LENGTH_BYTES..start].iter_mut().enumerate() {
            let more = if index + 1 < LENGTH_BYTES { 0x80 } else { 0 };
            *byte = (length >> (7 * index)) as u8 & 0x7f | more;
        }
    }
}

/// Width of a nested message's length: 35 bits, more than any body has.
const LENGTH_BYTES: usize = 5;

struct MessageSeed<'o> {
    message: &'static Message,
    output: &'o mut Output,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(KeySeed { message: self.message })? {
            match field {
                Some(field) => {
                    map.next_value_seed(FieldSeed { field, listed: false, output: self.output })?
                }
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }
}

/// Finds the field that a key names.
struct KeySeed {
    message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<&'static Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a field name")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.message.0.iter().find(|field| field.name == key))
    }
}

/// Writes the value of one field, or one element of a repeated one.
struct FieldSeed<'o> {
    field: &'static Field,
    /// Whether this is an element of a list.
    listed: bool,
    output: &'o mut Output,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl FieldSeed<'_> {
    fn integer<E: Error>(self, value: i128) -> Result<(), E> {
        let Field { name, number, kind, .. } = *self.field;
        let range = |_| E::custom(format_args!("{name} is out of range"));
        match kind {
            Kind::Int32 => {
                let value = i32::try_from(value).map_err(range)?;
                self.output.push_varint(number, i64::from(value) as u64)
            }
            Kind::Uint32 => self.output.push_varint(number, u32::try_from(value).map_err(range)?.into()),
            Kind::Sint32 => {
                let value = i32::try_from(value).map_err(range)?;
                self.output.push_varint(number, (value << 1 ^ value >> 31) as u32 as u64)
            }
            Kind::Int64 => self.output.push_varint(number, i64::try_from(value).map_err(range)? as u64),
            Kind::Uint64 => self.output.push_varint(number, u64::try_from(value).map_err(range)?),
            Kind::Fixed64 => self.output.push_fixed64(number, u64::try_from(value).map_err(range)?),
            Kind::Sfixed64 => self.output.push_fixed64(number, i64::try_from(value).map_err(range)? as u64),
            Kind::Double => self.output.push_fixed64(number, (value as f64).to_bits()),
            Kind::Text | Kind::Base64 | Kind::Hex | Kind::Bool | Kind::Message(_) => Err(self.wrong_type()),
        }
    }

    fn wrong_type<E: Error>(&self) -> E {
        E::custom(format_args!("{} must be {}", self.field.name, self.field.kind.expected()))
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.field.repeated && !self.listed { "a list" } else { self.field.kind.expected() })
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.listed {
            return Err(E::custom(format_args!("{} has null in its list", self.field.name)));
        }
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.refuse_bare()?;
        match self.field.kind {
            Kind::Bool => self.output.push_varint(self.field.number, value.into()),
            _ => Err(self.wrong_type()),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.refuse_bare()?;
        self.integer(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.refuse_bare()?;
        self.integer(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.refuse_bare()?;
        match self.field.kind {
            Kind::Double => self.output.push_fixed64(self.field.number, value.to_bits()),
            // Such as 1.0 or 1e3; beyond 2^53 a double no longer says which integer was meant.
            _ if value.trunc() == value && value.abs() < 9e15 => self.integer(value as i128),
            _ => Err(self.wrong_type()),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.refuse_bare()?;
        let Field { name, number, kind, .. } = *self.field;
        let bad = || E::custom(format_args!("{name} must be {}, found {:?}", kind.expected(), quoted(value)));
        match kind {
            Kind::Text => self.output.push_bytes(number, value.as_bytes()),
            Kind::Base64 => self.output.push_bytes(number, &decode_base64(value).ok_or_else(bad)?),
            Kind::Hex => self.output.push_bytes(number, &decode_hex(value).ok_or_else(bad)?),
            Kind::Double => {
                let value = match value {
                    "NaN" => f64::NAN,
                    "Infinity" => f64::INFINITY,
                    "-Infinity" => f64::NEG_INFINITY,
                    // Rust would also take "inf" and "nan".
                    _ if value.ends_with(|c: char| c.is_ascii_digit()) => value.parse().map_err(|_| bad())?,
                    _ => return Err(bad()),
                };
                self.output.push_fixed64(number, value.to_bits())
            }
            Kind::Int64 | Kind::Uint64 | Kind::Fixed64 | Kind::Sfixed64 | Kind::Uint32 | Kind::Sint32 => {
                self.integer(value.parse().map_err(|_| bad())?)
            }
            // Enums are numbers in OTLP/JSON, never names.
            Kind::Int32 | Kind::Bool | Kind::Message(_) => Err(bad()),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if !self.field.repeated || self.listed {
            return Err(self.wrong_type());
        }
        let Self { field, output, .. } = self;
        while list.next_element_seed(FieldSeed { field, listed: true, output: &mut *output })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.refuse_bare()?;
        let Kind::Message(message) = self.field.kind else { return Err(self.wrong_type()) };
        let start = self.output.open(self.field.number);
        MessageSeed { message, output: &mut *self.output }.visit_map(map)?;
        self.output.close(start);
        self.output.check()
    }
}

impl FieldSeed<'_> {
    /// Refuses a value of a repeated field that is not in a list.
    fn refuse_bare<E: Error>(&self) -> Result<(), E> {
        if self.field.repeated && !self.listed {
            return Err(E::custom(format_args!("{} must be a list", self.field.name)));
        }
        Ok(())
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// Both alphabets, with or without padding, as protobuf's JSON mapping has it.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests;
