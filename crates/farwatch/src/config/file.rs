//! The configuration file: TOML whose keys are the names of settings.

use std::path::Path;

use super::setting::Given;
use super::{ConfigError, Origin, settings};

/// Reads the file at `path` and offers all its settings to `given`.
///
/// # Errors
/// [`ConfigError`] when the file cannot be read, is not TOML, or has a key or a value that no setting has.
pub(super) fn offer_all(path: &Path, given: &mut Given) -> Result<(), ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let table: toml::Table = text
        .parse()
        .map_err(|source| ConfigError::NotToml { path: path.to_owned(), source: Box::new(source) })?;
    for (key, value) in table {
        let Some(setting) = settings().find(|setting| setting.name() == key) else {
            return Err(ConfigError::UnknownKey { path: path.to_owned(), nearest: nearest(&key), key });
        };
        let text = as_text(&value).ok_or_else(|| ConfigError::Shape {
            path: path.to_owned(),
            key,
            kind: value.type_str(),
        })?;
        given.offer(setting, text, Origin::File(path.to_owned()));
    }
    Ok(())
}

/// The value the way a flag would have it.
fn as_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(flag.to_string()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            texts.map(|texts| texts.join(","))
        }
        toml::Value::Float(_) | toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}

/// The setting whose name is most like `key`, if one is much like it.
pub(super) fn nearest(key: &str) -> Option<String> {
    /// Names that differ in more single-character edits than this are not alike.
    const MAX_EDITS: usize = 3;
    let normalised = key.replace('_', "-").to_lowercase();
    settings()
        .map(|setting| (edits(&setting.name(), &normalised), setting.name()))
        .filter(|(edits, _)| *edits <= MAX_EDITS)
        .min()
        .map(|(_, name)| name)
}

/// Levenshtein's distance: how many insertions, deletions and replacements make one of the other.
fn edits(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_setting_that_was_meant() {
        assert_eq!(nearest("data_dir").as_deref(), Some("data-dir"));
        assert_eq!(nearest("lisen").as_deref(), Some("listen"));
        assert_eq!(nearest("something-else"), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
