//! OpenTelemetry names → Prometheus names.
//!
//! The rules are those of the OpenTelemetry specification ("Prometheus and OpenMetrics Compatibility") in the reading of
//! Prometheus 3.5 (`prometheus/otlptranslator`).

use super::options::TranslationStrategy;

/// What suffixes depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameKind {
    MonotonicSum,
    Gauge,
    Other,
}

/// The name of the family that metric `name` with `unit` becomes; `None` when no name is left of it.
pub(super) fn family_name(
    name: &str,
    unit: &str,
    kind: NameKind,
    strategy: TranslationStrategy,
) -> Option<String> {
    let family = if strategy.escapes() {
        escaped_with_suffixes(name, unit, kind)
    } else if strategy.adds_suffixes() {
        with_suffixes(name, unit, kind)
    } else {
        name.to_owned()
    };
    let nothing_left = name.is_empty() || (family != name && family.bytes().all(|byte| byte == b'_'));
    (!nothing_left).then_some(family)
}

/// Words of the name, of the unit, and of the type, joined by single underscores.
fn escaped_with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut words: Vec<&str> = name.split(|c| !is_word(c)).filter(|word| !word.is_empty()).collect();
    let (main, per) = unit_words(unit);
    let main = clean_unit(&main);
    let per = clean_unit(&per);
    let per = per.trim_end_matches('_');
    let per = if per == "per" || words.contains(&per) { "" } else { per };
    let main = if words.contains(&main.as_str()) { "" } else { main.as_str() };
    let main = if per.is_empty() { main } else { main.trim_end_matches('_') };
    words.extend([main, per].into_iter().filter(|word| !word.is_empty()));
    if let Some(suffix) = type_suffix(unit, kind) {
        words.retain(|word| *word != suffix);
        words.push(suffix);
    }
    let joined = words.join("_");
    if joined.starts_with(|c: char| c.is_ascii_digit()) { format!("_{joined}") } else { joined }
}

/// The name as it is, with each suffix that it does not have yet.
fn with_suffixes(name: &str, unit: &str, kind: NameKind) -> String {
    let type_suffix = type_suffix(unit, kind);
    let (main, per) = unit_words(unit);
    let mut base = name;
    // From the outermost inwards; what is taken off here is put back below.
    for suffix in type_suffix.into_iter().chain((!per.is_empty()).then_some(per.as_str())) {
        if base.len() > suffix.len() + 1
            && let Some(before) = base.strip_suffix(suffix)
        {
            // The character before the suffix is taken for the delimiter, whatever it is.
            let delimiter = before.char_indices().next_back().map_or(0, |(at, _)| at);
            base = &before[..delimiter];
        }
    }
    let mut family = base.to_owned();
    let main = if base.ends_with(&main) { "" } else { main.as_str() };
    for suffix in [main, per.as_str(), type_suffix.unwrap_or_default()] {
        if !suffix.is_empty() {
            family.push('_');
            family.push_str(suffix);
        }
    }
    family
}

/// Counters end in `total`. Unit `1` makes a gauge a ratio, but not a counter: many of those misuse it for "things".
fn type_suffix(unit: &str, kind: NameKind) -> Option<&'static str> {
    match kind {
        NameKind::MonotonicSum => Some("total"),
        NameKind::Gauge if unit == "1" => Some("ratio"),
        _ => None,
    }
}

/// `unit` (UCUM) as words: the unit itself, and `per_…` when it is a rate. Annotations in braces are no unit.
fn unit_words(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let is_unit = |part: &&str| !part.is_empty() && !part.contains(['{', '}']);
    let main = Some(main.trim()).filter(is_unit).map(|main| main_unit(main).to_owned());
    let per = Some(per.trim()).filter(is_unit).map(|per| format!("per_{}", per_unit(per)));
    (main.unwrap_or_default(), per.unwrap_or_default())
}

fn main_unit(unit: &str) -> &str {
    match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        // Not a slip of ours: Prometheus's endpoint names it so, and dashboards rely on it.
        "TiBy" => "tibibytes",
        "KBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        other => other,
    }
}

fn per_unit(unit: &str) -> &str {
    match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        other => other,
    }
}

/// A unit as a part of a name: one underscore for each run of other characters, none in front.
fn clean_unit(unit: &str) -> String {
    let mut clean = String::with_capacity(unit.len());
    for c in unit.chars() {
        if c.is_ascii_alphanumeric() || c == ':' {
            clean.push(c);
        } else if !clean.is_empty() && !clean.ends_with('_') {
            clean.push('_');
        }
    }
    clean
}

/// Appends the label name that attribute `key` becomes.
pub(super) fn push_label_name(out: &mut String, key: &str, strategy: TranslationStrategy) {
    if !strategy.escapes() {
        out.push_str(key);
        return;
    }
    let start = out.len();
    let mut rest = key;
    // The first byte of a character beyond ASCII is no word character either: `at` is always a boundary.
    while let Some(at) = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric() && byte != b'_') {
        out.push_str(&rest[..at]);
        out.push('_');
        rest = &rest[at..];
        rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
    }
    out.push_str(rest);
    let name = &out[start..];
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert_str(start, "key_");
    } else if name.starts_with('_') && !name.starts_with("__") {
        // Two underscores in front are reserved names and stay; one would look too much like them.
        out.insert_str(start, "key");
    }
}

#[cfg(test)]
mod tests;
