//! Exemplars. The versions differ in how labels are sent only.

use telemetry::{Exemplar, Labels, LabelsBuilder};

use super::symbols::Symbols;
use crate::error::{SeriesProblem, quoted, quoted_lossy};
use crate::limits::Limits;
use crate::protobuf::Reader;
use crate::series_key::{label_problem, read_label};

/// Reads an exemplar; `symbols` are those of a 2.0 request, `None` stands for 1.0.
pub(super) fn read(
    message: &[u8],
    symbols: Option<&Symbols<'_>>,
    limits: &Limits,
) -> Result<Exemplar, SeriesProblem> {
    let mut reader = Reader::new(message, "prometheus.Exemplar");
    let mut labels = ExemplarLabels::new(limits);
    let mut pending_name = None;
    let mut references = 0;
    let (mut value, mut timestamp_ms) = (0.0, 0);
    while let Some(field) = reader.next_field()? {
        match (field.number, symbols) {
            (1, None) => {
                let (name, value) = read_label(field.bytes()?)?;
                labels.push(name, value)?;
            }
            (1, Some(symbols)) => field.each_varint(|reference| {
                references += 1;
                let symbol = symbols.get(reference as u32)?;
                match pending_name.take() {
                    None => pending_name = Some(symbol),
                    Some(name) => labels.push(name, symbol)?,
                }
                Ok::<_, SeriesProblem>(())
            })?,
            (2, _) => value = field.double()?,
            (3, _) => timestamp_ms = field.varint()? as i64,
            _ => {}
        }
    }
    if pending_name.is_some() {
        return Err(SeriesProblem::OddReferences { count: references });
    }
    Ok(Exemplar { labels: labels.build()?, value, timestamp_ms })
}

/// Collects an exemplar's labels within the limit on their length.
struct ExemplarLabels<'a> {
    builder: LabelsBuilder<'a>,
    chars: usize,
    limit: usize,
}

impl<'a> ExemplarLabels<'a> {
    fn new(limits: &Limits) -> Self {
        Self { builder: LabelsBuilder::default(), chars: 0, limit: limits.max_exemplar_label_chars }
    }

    fn push(&mut self, name: &'a [u8], value: &'a [u8]) -> Result<(), SeriesProblem> {
        // A character has at most four bytes: what is much too long need not be counted, or checked to be text.
        let bytes = name.len().saturating_add(value.len());
        if bytes / 4 > self.limit {
            return Err(SeriesProblem::ExemplarTooLong { chars: bytes / 4, limit: self.limit });
        }
        let name = std::str::from_utf8(name)
            .map_err(|_| SeriesProblem::LabelNameNotUtf8 { name: quoted_lossy(name) })?;
        let value = std::str::from_utf8(value)
            .map_err(|_| SeriesProblem::LabelValueNotUtf8 { name: quoted(name) })?;
        self.chars += name.chars().count() + value.chars().count();
        if self.chars > self.limit {
            return Err(SeriesProblem::ExemplarTooLong { chars: self.chars, limit: self.limit });
        }
        self.builder.push(name, value);
        Ok(())
    }

    fn build(mut self) -> Result<Labels, SeriesProblem> {
        self.builder.build().map_err(label_problem)
    }
}
