//! Metadata of metric families, borrowed from a request.

use telemetry::{Metadata, MetricType};

use super::symbols::{ResolveError, Symbols};
use crate::limits::Limits;
use crate::protobuf::{Field, ProtobufError, Reader};

/// What a request says about a metric family. Text that is not UTF-8 is left out, long text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataRef<'a> {
    /// The family's name; not empty.
    pub family: &'a str,
    /// The metric's type.
    pub metric_type: MetricType,
    /// A sentence for people.
    pub help: &'a str,
    /// The unit; empty when not said.
    pub unit: &'a str,
}

impl MetadataRef<'_> {
    /// The same, owned.
    #[must_use]
    pub fn to_metadata(self) -> Metadata {
        Metadata { metric_type: self.metric_type, help: self.help.to_owned(), unit: self.unit.to_owned() }
    }
}

/// Reads `prometheus.MetricMetadata` (remote write 1.0); `None` when it names no family.
pub(super) fn read_v1<'a>(
    message: &'a [u8],
    limits: &Limits,
) -> Result<Option<MetadataRef<'a>>, ProtobufError> {
    let mut reader = Reader::new(message, "prometheus.MetricMetadata");
    let mut metric_type = MetricType::Unknown;
    let (mut family, mut help, mut unit) = (&[][..], &[][..], &[][..]);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => metric_type = metric_type_of(field.varint()?),
            2 => family = field.bytes()?,
            4 => help = field.bytes()?,
            5 => unit = field.bytes()?,
            _ => {}
        }
    }
    Ok(checked(family, metric_type, help, unit, limits))
}

/// `io.prometheus.write.v2.Metadata`: its texts are references.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MetadataReferences {
    pub(super) metric_type: MetricType,
    help: u32,
    unit: u32,
}

impl MetadataReferences {
    pub(super) fn read(field: &Field<'_>) -> Result<Self, ProtobufError> {
        let mut reader = field.message("io.prometheus.write.v2.Metadata")?;
        let mut references = Self { metric_type: MetricType::Unknown, help: 0, unit: 0 };
        while let Some(field) = reader.next_field()? {
            match field.number {
                1 => references.metric_type = metric_type_of(field.varint()?),
                3 => references.help = field.varint()? as u32,
                4 => references.unit = field.varint()? as u32,
                _ => {}
            }
        }
        Ok(references)
    }

    /// The metadata of `family`; `None` when that is no name that a series could have.
    pub(super) fn resolve<'a>(
        self,
        family: &'a [u8],
        symbols: &mut Symbols<'a>,
        limits: &Limits,
    ) -> Result<Option<MetadataRef<'a>>, ResolveError> {
        let (help, unit) = (symbols.get(self.help)?, symbols.get(self.unit)?);
        symbols.spend(help.len() + unit.len())?;
        Ok(checked(family, self.metric_type, help, unit, limits))
    }
}

/// Metadata of these parts; `None` when `family` is no name that a series could have.
fn checked<'a>(
    family: &'a [u8],
    metric_type: MetricType,
    help: &'a [u8],
    unit: &'a [u8],
    limits: &Limits,
) -> Option<MetadataRef<'a>> {
    let family = std::str::from_utf8(family).ok()?;
    if family.is_empty() || family.len() > limits.max_label_value_bytes {
        return None;
    }
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let cut = |text: &'a str| &text[..text.floor_char_boundary(limits.max_help_bytes)];
    Some(MetadataRef { family, metric_type, help: cut(text(help)), unit: cut(text(unit)) })
}

/// The type with this number; one that a later version may add counts as not said.
fn metric_type_of(number: u64) -> MetricType {
    u8::try_from(number).ok().and_then(MetricType::from_persisted).unwrap_or_default()
}

/// The name of the family of a series named `series_name`: remote write 2.0 sends metadata with each series.
pub(super) fn family_of(series_name: &[u8], metric_type: MetricType) -> &[u8] {
    let suffixes: &[&[u8]] = match metric_type {
        MetricType::Histogram | MetricType::GaugeHistogram => &[b"_bucket", b"_count", b"_sum"],
        MetricType::Summary => &[b"_count", b"_sum"],
        _ => &[],
    };
    let stripped = suffixes.iter().find_map(|suffix| series_name.strip_suffix(*suffix));
    stripped.filter(|family| !family.is_empty()).unwrap_or(series_name)
}
