//! Metadata of metric families, borrowed from a request.

use telemetry::{Metadata, MetricType};

use crate::limits::Limits;

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

impl<'a> MetadataRef<'a> {
    /// Metadata of these parts; `None` when `family` is no name that a series could have.
    pub(crate) fn new(
        family: &'a [u8],
        metric_type: MetricType,
        help: &'a [u8],
        unit: &'a [u8],
        limits: &Limits,
    ) -> Option<Self> {
        let family = std::str::from_utf8(family).ok()?;
        if family.is_empty() || family.len() > limits.max_label_value_bytes {
            return None;
        }
        let text = |bytes: &'a [u8]| {
            let text = std::str::from_utf8(bytes).unwrap_or_default();
            &text[..text.floor_char_boundary(limits.max_help_bytes)]
        };
        Some(Self { family, metric_type, help: text(help), unit: text(unit) })
    }

    /// The same, owned.
    #[must_use]
    pub fn to_metadata(self) -> Metadata {
        Metadata { metric_type: self.metric_type, help: self.help.to_owned(), unit: self.unit.to_owned() }
    }
}
