//! `label_replace` and `label_join`.

use telemetry::METRIC_NAME;

use super::series::{NameState, SeriesId, labels_of};
use crate::plan::LabelFunction;

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
