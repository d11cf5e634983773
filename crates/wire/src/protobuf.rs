//! A zero-copy reader of protobuf messages.
//!
//! It walks the fields of one message; nested messages are read with a reader of their own, so depth is bounded by the
//! code that calls it and not by the input. Nothing is allocated. Every malformed input is an error: cut short, a varint
//! longer than ten bytes, a field number of 0, groups (which no supported message has), a field of another wire type
//! than its meaning has. Unknown fields are skipped.

use std::fmt;

/// What is wrong with a protobuf message, and in which message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed protobuf message {message}: {kind}")]
pub struct ProtobufError {
    /// Name of the innermost message.
    pub message: &'static str,
    /// What is wrong.
    pub kind: ProtobufErrorKind,
}

/// What is wrong with a protobuf message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtobufErrorKind {
    /// It ends inside a field.
    Truncated,
    /// A varint does not fit 64 bits.
    VarintTooLong,
    /// A field number is 0 or above 2²⁹ - 1.
    FieldNumber,
    /// A wire type that does not exist, or a group.
    WireType(u8),
    /// The field has another wire type than the schema says.
    UnexpectedWireType {
        /// The field's number.
        field: u32,
    },
    /// A packed field whose length is no multiple of its elements' size.
    Packed {
        /// The field's number.
        field: u32,
    },
    /// A string field that is not UTF-8.
    NotUtf8 {
        /// The field's number.
        field: u32,
    },
    /// A message field that may be there once, twice.
    Repeated {
        /// The field's number.
        field: u32,
    },
}

impl fmt::Display for ProtobufErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("it is cut short"),
            Self::VarintTooLong => f.write_str("a varint does not fit 64 bits"),
            Self::FieldNumber => f.write_str("a field number is out of range"),
            Self::WireType(number) => write!(f, "wire type {number} is not supported"),
            Self::UnexpectedWireType { field } => write!(f, "field {field} has an unexpected wire type"),
            Self::Packed { field } => write!(f, "packed field {field} has a bad length"),
            Self::NotUtf8 { field } => write!(f, "string field {field} is not UTF-8"),
            Self::Repeated { field } => write!(f, "field {field} appears twice"),
        }
    }
}

/// Reads the fields of one message, in order.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    message: &'static str,
}

/// A field as it is on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// The field's number.
    pub number: u32,
    value: Value<'a>,
    message: &'static str,
}

#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, a message of the type `message` (which only errors tell).
    #[must_use]
    #[inline]
    pub fn new(bytes: &'a [u8], message: &'static str) -> Self {
        Self { rest: bytes, message }
    }

    /// What is not read yet.
    #[must_use]
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field, or `None` at the end of the message. Always inlined: the field then never exists in memory, which
    /// more than halves the time a remote-write series takes.
    ///
    /// # Errors
    /// [`ProtobufError`]; do not go on reading after one.
    #[inline(always)]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number >= 1 << 29 {
            return Err(self.error(ProtobufErrorKind::FieldNumber));
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = self.varint()?;
                let length = usize::try_from(length).map_err(|_| self.error(ProtobufErrorKind::Truncated))?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            other => return Err(self.error(ProtobufErrorKind::WireType(other as u8))),
        };
        Ok(Some(Field { number: number as u32, value, message: self.message }))
    }

    /// Reads past the length-delimited fields with the one-byte tag `tag` that come next, and returns their bytes.
    ///
    /// It stops at any other field, at one of 128 bytes or more, and at one that is cut short: [`next_field`] goes on from
    /// there and tells errors. It is only faster than that: most of a remote-write request are such runs.
    ///
    /// [`next_field`]: Self::next_field
    #[inline]
    pub fn skip_short_run(&mut self, tag: u8) -> &'a [u8] {
        let mut end = 0;
        while let Some([found, length, ..]) = self.rest.get(end..)
            && *found == tag
            && *length < 0x80
            && let next = end + 2 + usize::from(*length)
            && next <= self.rest.len()
        {
            end = next;
        }
        let (run, rest) = self.rest.split_at(end);
        self.rest = rest;
        run
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0_u64;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        let short = self.rest.len() < 10;
        Err(self.error(if short { ProtobufErrorKind::Truncated } else { ProtobufErrorKind::VarintTooLong }))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtobufError> {
        match self.rest.split_first_chunk() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(self.error(ProtobufErrorKind::Truncated)),
        }
    }

    #[inline(always)]
    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.error(ProtobufErrorKind::Truncated)),
        }
    }

    #[cold]
    fn error(&self, kind: ProtobufErrorKind) -> ProtobufError {
        ProtobufError { message: self.message, kind }
    }
}

impl<'a> Field<'a> {
    /// The value of a `bytes` or message field.
    ///
    /// # Errors
    /// The field has another wire type.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], ProtobufError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.unexpected()),
        }
    }

    /// A reader of a nested message of the type `message`.
    ///
    /// # Errors
    /// The field has another wire type.
    #[inline]
    pub fn message(&self, message: &'static str) -> Result<Reader<'a>, ProtobufError> {
        Ok(Reader::new(self.bytes()?, message))
    }

    /// The value of a `string` field.
    ///
    /// # Errors
    /// The field has another wire type, or is not UTF-8.
    #[inline]
    pub fn str(&self) -> Result<&'a str, ProtobufError> {
        let bytes = self.bytes()?;
        simdutf8::basic::from_utf8(bytes)
            .map_err(|_| self.error(ProtobufErrorKind::NotUtf8 { field: self.number }))
    }

    /// The value of an `int64`, `uint64`, `int32`, `uint32`, `bool` or enum field, not yet cut to its width.
    ///
    /// # Errors
    /// The field has another wire type.
    #[inline]
    pub fn varint(&self) -> Result<u64, ProtobufError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.unexpected()),
        }
    }

    /// The value of a `sint32` or `sint64` field.
    ///
    /// # Errors
    /// The field has another wire type.
    #[inline]
    pub fn zigzag(&self) -> Result<i64, ProtobufError> {
        self.varint().map(zigzag)
    }

    /// The value of a `fixed64` or `sfixed64` field.
    ///
    /// # Errors
    /// The field has another wire type.
    #[inline]
    pub fn fixed64(&self) -> Result<u64, ProtobufError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(self.unexpected()),
        }
    }

    /// The value of a `double` field, with its NaN bits.
    ///
    /// # Errors
    /// The field has another wire type.
    #[inline]
    pub fn double(&self) -> Result<f64, ProtobufError> {
        self.fixed64().map(f64::from_bits)
    }

    /// Calls `each` with the elements of a repeated varint field, packed or not.
    ///
    /// # Errors
    /// The field has another wire type or a malformed element, or what `each` returns.
    #[inline]
    pub fn each_varint<E: From<ProtobufError>>(
        &self,
        mut each: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.value {
            Value::Varint(value) => each(value),
            Value::Bytes(bytes) => {
                let mut packed = Reader::new(bytes, self.message);
                while !packed.rest.is_empty() {
                    each(packed.varint()?)?;
                }
                Ok(())
            }
            _ => Err(self.unexpected().into()),
        }
    }

    /// Calls `each` with the elements of a repeated `fixed64` or `double` field (as bits), packed or not.
    ///
    /// # Errors
    /// The field has another wire type or a bad length, or what `each` returns.
    pub fn each_fixed64<E: From<ProtobufError>>(
        &self,
        mut each: impl FnMut(u64) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.value {
            Value::Fixed64(value) => each(value),
            Value::Bytes(bytes) => {
                let (chunks, rest) = bytes.as_chunks();
                if !rest.is_empty() {
                    return Err(self.error(ProtobufErrorKind::Packed { field: self.number }).into());
                }
                chunks.iter().try_for_each(|chunk| each(u64::from_le_bytes(*chunk)))
            }
            _ => Err(self.unexpected().into()),
        }
    }

    /// An error about this field.
    #[cold]
    #[must_use]
    pub fn error(&self, kind: ProtobufErrorKind) -> ProtobufError {
        ProtobufError { message: self.message, kind }
    }

    #[cold]
    fn unexpected(&self) -> ProtobufError {
        self.error(ProtobufErrorKind::UnexpectedWireType { field: self.number })
    }
}

/// The signed number that `value` stands for in `sint32` and `sint64` fields.
#[inline]
#[must_use]
pub fn zigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Appends `value` as a varint.
#[inline]
pub fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`push_varint`] appends.
#[inline]
#[must_use]
pub fn varint_len(value: u64) -> usize {
    // 64 - leading zeros bits in groups of seven, at least one group.
    ((63 - (value | 1).leading_zeros() as usize) * 9 + 73) / 64
}

/// Appends a length-delimited field; `number` is at most 15, so that the tag is one byte.
#[inline]
pub fn push_bytes_field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    debug_assert!((1..=15).contains(&number));
    out.push(number << 3 | 2);
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a varint field; `number` is at most 15, so that the tag is one byte.
#[inline]
pub fn push_varint_field(out: &mut Vec<u8>, number: u8, value: u64) {
    debug_assert!((1..=15).contains(&number));
    out.push(number << 3);
    push_varint(out, value);
}

#[cfg(test)]
mod tests;
