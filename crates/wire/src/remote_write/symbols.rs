//! The symbols table of remote write 2.0.

use telemetry::METRIC_NAME;

use crate::budget::Budget;
use crate::error::{RequestError, SeriesProblem};
use crate::limits::Limits;
use crate::protobuf::{Field, ProtobufError};
use crate::series_key::push_label;

/// Strings that labels and metadata refer to, not checked, and how many bytes may still be resolved through it.
#[derive(Debug)]
pub(super) struct Symbols<'a> {
    strings: Vec<&'a [u8]>,
    resolved_bytes: Budget,
}

/// Why references could not be resolved: a bad series, or a request that is bad or too much.
#[derive(Debug)]
pub(super) enum ResolveError {
    Series(SeriesProblem),
    Request(RequestError),
}

impl From<ProtobufError> for ResolveError {
    fn from(error: ProtobufError) -> Self {
        Self::Request(error.into())
    }
}

impl From<RequestError> for ResolveError {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<SeriesProblem> for ResolveError {
    fn from(problem: SeriesProblem) -> Self {
        Self::Series(problem)
    }
}

impl<'a> Symbols<'a> {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            strings: Vec::new(),
            resolved_bytes: Budget::new("bytes of labels", limits.max_resolved_bytes),
        }
    }

    pub(super) fn push(&mut self, symbol: &'a [u8], limits: &Limits) -> Result<(), RequestError> {
        if self.strings.is_empty() && !symbol.is_empty() {
            return Err(RequestError::Protocol(
                "the first entry of the symbols table must be the empty string",
            ));
        }
        if self.strings.len() == limits.max_symbols {
            return Err(RequestError::TooMany { what: "symbols", limit: limits.max_symbols });
        }
        self.strings.push(symbol);
        Ok(())
    }

    #[inline]
    pub(super) fn get(&self, reference: u32) -> Result<&'a [u8], SeriesProblem> {
        self.strings
            .get(reference as usize)
            .copied()
            .ok_or(SeriesProblem::SymbolReference { reference, symbols: self.strings.len() })
    }

    /// Counts `bytes` as resolved.
    pub(super) fn spend(&mut self, bytes: usize) -> Result<(), RequestError> {
        self.resolved_bytes.spend(bytes)
    }
}

/// Resolves the label references of one series, which come in pairs, possibly in several fields.
#[derive(Debug, Default)]
pub(super) struct LabelReferences<'a> {
    pending_name: Option<&'a [u8]>,
    count: usize,
    metric_name: &'a [u8],
}

impl<'a> LabelReferences<'a> {
    /// Appends the labels that the elements of `field` refer to to `key`.
    pub(super) fn resolve(
        &mut self,
        field: &Field<'a>,
        symbols: &mut Symbols<'a>,
        key: &mut Vec<u8>,
    ) -> Result<(), ResolveError> {
        field.each_varint(|reference| {
            self.count += 1;
            let symbol = symbols.get(reference as u32)?;
            match self.pending_name.take() {
                None => self.pending_name = Some(symbol),
                Some(name) => {
                    symbols.spend(name.len() + symbol.len())?;
                    push_label(key, name, symbol);
                    if name == METRIC_NAME.as_bytes() {
                        self.metric_name = symbol;
                    }
                }
            }
            Ok(())
        })
    }

    /// The value of `__name__`, empty when there was none.
    pub(super) fn metric_name(&self) -> &'a [u8] {
        self.metric_name
    }

    /// Checks that every name has its value.
    pub(super) fn check(&self) -> Result<(), SeriesProblem> {
        match self.pending_name {
            None => Ok(()),
            Some(_) => Err(SeriesProblem::OddReferences { count: self.count }),
        }
    }
}
