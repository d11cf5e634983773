//! A series' labels as one borrowed byte string.
//!
//! The bytes are the labels as remote write 1.0 sends them: a sequence of protobuf fields with number 1, each a message of
//! name (field 1) and value (field 2). For remote write 1.0 they are borrowed from the body as they are; for other protocols
//! they are written into a scratch buffer in the shortest encoding. So a series looks the same from every protocol, and a
//! receiver that hashes the bytes needs to decode the labels of new series only.
//!
//! Equal keys mean equal labels. Equal labels may have several keys, since a sender may order or encode them as it likes.

use telemetry::{LabelError, Labels, LabelsBuilder, METRIC_NAME};

use crate::error::{SeriesError, SeriesProblem, quoted, quoted_lossy};
use crate::limits::Limits;
use crate::protobuf::{ProtobufError, Reader, push_bytes_field, push_varint, varint_len};

/// A series' labels, not decoded yet. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesKey<'a>(&'a [u8]);

/// Room for the labels of nearly every series.
const USUAL_LABELS: usize = 24;

const LABEL_FIELD: u32 = 1;
const LABEL_TAG: u8 = 1 << 3 | 2;
const NAME_TAG: u8 = 1 << 3 | 2;
const VALUE_TAG: u8 = 2 << 3 | 2;

impl<'a> SeriesKey<'a> {
    /// The key whose bytes these are.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes: what to hash and to compare.
    #[must_use]
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The labels, checked and sorted: names that are not empty, no name twice, UTF-8 throughout, a metric name, within
    /// the label limits. Labels with an empty value count as absent.
    ///
    /// # Errors
    /// [`SeriesError`], which names the series and the label.
    pub fn to_labels(self, limits: &Limits) -> Result<Labels, SeriesError> {
        self.check(limits).map_err(|problem| self.error(problem))
    }

    /// An error about this series.
    #[cold]
    #[must_use]
    pub fn error(self, problem: SeriesProblem) -> SeriesError {
        SeriesError { series: self.describe(), problem }
    }

    fn check(self, limits: &Limits) -> Result<Labels, SeriesProblem> {
        let mut builder = LabelsBuilder::with_capacity(USUAL_LABELS);
        let mut count = 0;
        let mut has_name = false;
        for pair in self.raw_pairs() {
            let (name, value) = pair?;
            count += 1;
            if count > limits.max_labels {
                return Err(SeriesProblem::TooManyLabels { limit: limits.max_labels });
            }
            if name.len() > limits.max_label_name_bytes {
                return Err(SeriesProblem::LabelNameTooLong {
                    name: quoted_lossy(name),
                    bytes: name.len(),
                    limit: limits.max_label_name_bytes,
                });
            }
            if value.len() > limits.max_label_value_bytes {
                return Err(SeriesProblem::LabelValueTooLong {
                    name: quoted_lossy(name),
                    bytes: value.len(),
                    limit: limits.max_label_value_bytes,
                });
            }
            let name = std::str::from_utf8(name)
                .map_err(|_| SeriesProblem::LabelNameNotUtf8 { name: quoted_lossy(name) })?;
            let value = std::str::from_utf8(value)
                .map_err(|_| SeriesProblem::LabelValueNotUtf8 { name: quoted(name) })?;
            has_name |= name == METRIC_NAME && !value.is_empty();
            builder.push(name, value);
        }
        if !has_name {
            return Err(SeriesProblem::NoMetricName);
        }
        builder.build().map_err(label_problem)
    }

    /// The pairs in the order in which they were sent, not checked.
    fn raw_pairs(self) -> impl Iterator<Item = Result<(&'a [u8], &'a [u8]), ProtobufError>> {
        let mut reader = Reader::new(self.0, "prometheus.TimeSeries");
        std::iter::from_fn(move || match reader.next_field() {
            Ok(Some(field)) if field.number == LABEL_FIELD => Some(field.bytes().and_then(read_label)),
            // Keys are cut out of messages field by field: there is nothing but labels in them.
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
    }

    /// The series as far as it can be told, for error messages.
    fn describe(self) -> String {
        let mut name = String::new();
        let mut rest = String::new();
        for (label, value) in self.raw_pairs().map_while(Result::ok) {
            if label == METRIC_NAME.as_bytes() && name.is_empty() {
                name = quoted_lossy(value);
            } else if rest.len() < crate::limits::QUOTED_BYTES {
                if !rest.is_empty() {
                    rest.push_str(", ");
                }
                rest.push_str(&quoted_lossy(label));
                rest.push('=');
                rest.push_str(&format!("{:?}", quoted_lossy(value)));
            } else if !rest.ends_with('…') {
                rest.push_str(", …");
            }
        }
        format!("{name}{{{rest}}}")
    }
}

pub(crate) fn read_label(message: &[u8]) -> Result<(&[u8], &[u8]), ProtobufError> {
    let mut reader = Reader::new(message, "prometheus.Label");
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => name = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((name, value))
}

pub(crate) fn label_problem(error: LabelError) -> SeriesProblem {
    match error {
        LabelError::EmptyName(value) => SeriesProblem::EmptyLabelName { value: quoted(&value) },
        LabelError::DuplicateName(name) => SeriesProblem::DuplicateLabel { name: quoted(&name) },
        LabelError::NotCanonical(_) => SeriesProblem::NoMetricName,
    }
}

/// Appends a label to the bytes of a key.
#[inline]
pub(crate) fn push_label(key: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let (name_length, value_length) = (name.len() as u64, value.len() as u64);
    let length = 2 + varint_len(name_length) + name.len() + varint_len(value_length) + value.len();
    if length < 0x80 {
        // All lengths are one byte: nearly every label is so.
        key.reserve(length + 2);
        key.extend_from_slice(&[LABEL_TAG, length as u8, NAME_TAG, name_length as u8]);
        key.extend_from_slice(name);
        key.extend_from_slice(&[VALUE_TAG, value_length as u8]);
        key.extend_from_slice(value);
        return;
    }
    key.push(LABEL_TAG);
    push_varint(key, length as u64);
    push_bytes_field(key, 1, name);
    push_bytes_field(key, 2, value);
}
