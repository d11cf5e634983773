//! `label_replace` and `label_join`.

use telemetry::METRIC_NAME;

use super::series::{NameState, SeriesId, labels_of};
use crate::plan::LabelFunction;

/// At most so many bytes the label value has that the function makes: a replacement may name groups of its expression
/// again and again, and a list of labels may be long.
pub(crate) fn most_bytes(function: &LabelFunction, id: &SeriesId) -> usize {
    let len = |label: &String| id.get(label).map_or(0, str::len);
    match function {
        LabelFunction::Replace { replacement, source, .. } => {
            let groups = replacement.bytes().filter(|byte| *byte == b'$').count();
            groups.saturating_mul(len(source)).saturating_add(replacement.len())
        }
        LabelFunction::Join { separator, sources, .. } => {
            let texts: usize = sources.iter().map(len).sum();
            sources.len().saturating_mul(separator.len()).saturating_add(texts)
        }
    }
}

/// The identity after the function.
pub(crate) fn relabelled(function: &LabelFunction, id: &SeriesId) -> SeriesId {
    let (destination, value) = match function {
        LabelFunction::Replace { destination, replacement, source, regex } => {
            let Some(captures) = regex.captures(id.get(source).unwrap_or("")) else { return id.clone() };
            let mut value = String::new();
            captures.expand(replacement, &mut value);
            (destination, value)
        }
        LabelFunction::Join { destination, separator, sources } => {
            let values: Vec<&str> = sources.iter().map(|source| id.get(source).unwrap_or("")).collect();
            (destination, values.join(separator))
        }
    };
    let others = id.pairs().filter(|(name, _)| name != destination);
    let labels = labels_of(others.chain([(destination.as_str(), value.as_str())]));
    let state = match id.name_state() {
        NameState::Delayed if destination != METRIC_NAME => NameState::Delayed,
        _ => NameState::Kept,
    };
    SeriesId::with_state(labels, state)
}
