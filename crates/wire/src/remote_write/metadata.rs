//! Metadata as the two versions send it.

use telemetry::MetricType;

use super::symbols::{ResolveError, Symbols};
use crate::limits::Limits;
use crate::metadata::MetadataRef;
use crate::protobuf::{Field, ProtobufError, Reader};

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
    Ok(MetadataRef::new(family, metric_type, help, unit, limits))
}

/// `io.prometheus.write.v2.Metadata`: its texts are references.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        Ok(MetadataRef::new(family, self.metric_type, help, unit, limits))
    }
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
