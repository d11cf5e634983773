//! Regular expressions as conditions that are cheaper than a regular expression, where they are no more than that.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind, Repetition};

use super::MatcherError;
use super::go_syntax;
use crate::limits::MAX_REGEX_BYTES;

/// At most so many texts does a pattern turn into before it stays a regular expression.
const MAX_LITERALS: usize = 1_024;
/// Character classes with more members than this are not spelled out.
const MAX_CLASS_MEMBERS: u32 = 32;
/// Regular expressions may not nest deeper than this.
const MAX_REGEX_NESTING: u32 = 250;

/// A condition on a whole text.
#[derive(Debug)]
pub(super) enum Pattern {
    /// The text is one of these; sorted, each once.
    Literals(Vec<String>),
    /// The text starts with `prefix`, then has at least `min_extra` (0 or 1) more characters with `contains` among
    /// them, and ends with `suffix`; the parts do not overlap.
    Parts { prefix: String, contains: String, suffix: String, min_extra: u8 },
    /// The text starts with `prefix` and the expression, anchored at both ends, matches it.
    Regex { prefix: String, regex: Regex },
}

/// Compiles a pattern of Go's syntax, anchored at both ends, with `.` matching newlines.
pub(crate) fn compile_anchored(pattern: &str) -> Result<Regex, MatcherError> {
    build(pattern, &anchored(pattern))
}

fn anchored(pattern: &str) -> String {
    format!("^(?s:{})$", go_syntax::to_rust(pattern))
}

fn build(original: &str, anchored: &str) -> Result<Regex, MatcherError> {
    RegexBuilder::new(anchored)
        .size_limit(MAX_REGEX_BYTES)
        .dfa_size_limit(MAX_REGEX_BYTES)
        .nest_limit(MAX_REGEX_NESTING)
        .build()
        .map_err(|error| MatcherError { pattern: original.to_owned(), reason: one_line(&error.to_string()) })
}

/// The last line of a regex error has the reason; those before draw the pattern, which the caller knows.
fn one_line(message: &str) -> String {
    let last = message.lines().last().unwrap_or(message);
    last.trim().trim_start_matches("error: ").to_owned()
}

impl Pattern {
    pub(super) fn literal(text: &str) -> Self {
        Self::Literals(vec![text.to_owned()])
    }

    pub(super) fn compile(pattern: &str) -> Result<Self, MatcherError> {
        let body = format!("(?s:{})", go_syntax::to_rust(pattern));
        let parsed = regex_syntax::ParserBuilder::new().nest_limit(MAX_REGEX_NESTING).build().parse(&body);
        let Ok(hir) = parsed else {
            // Compile the whole to have the error in one wording.
            let regex = compile_anchored(pattern)?;
            return Ok(Self::Regex { prefix: String::new(), regex });
        };
        if let Some(mut texts) = literals(&hir) {
            texts.sort_unstable();
            texts.dedup();
            return Ok(Self::Literals(texts));
        }
        if let Some(parts) = parts(&hir) {
            return Ok(parts);
        }
        Ok(Self::Regex { prefix: prefix(&hir), regex: compile_anchored(pattern)? })
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Literals(texts) => match texts.as_slice() {
                [one] => one == text,
                many => many.binary_search_by(|candidate| candidate.as_str().cmp(text)).is_ok(),
            },
            Self::Parts { prefix, contains, suffix, min_extra } => {
                let Some(rest) = text.strip_prefix(prefix.as_str()) else { return false };
                let Some(middle) = rest.strip_suffix(suffix.as_str()) else { return false };
                if contains.is_empty() {
                    return middle.len() >= usize::from(*min_extra);
                }
                middle.contains(contains.as_str())
            }
            Self::Regex { prefix, regex } => text.starts_with(prefix.as_str()) && regex.is_match(text),
        }
    }
}

/// All texts that `hir` matches, unless they are many.
fn literals(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![String::from_utf8(literal.0.to_vec()).ok()?]),
        HirKind::Class(Class::Unicode(class)) => {
            let members: u32 =
                class.iter().map(|range| u32::from(range.end()) - u32::from(range.start()) + 1).sum();
            if members > MAX_CLASS_MEMBERS || members == 0 {
                return None;
            }
            Some(class.iter().flat_map(|range| range.start()..=range.end()).map(String::from).collect())
        }
        HirKind::Capture(capture) => literals(&capture.sub),
        HirKind::Repetition(Repetition { min: 0, max: Some(1), sub, .. }) => {
            let mut texts = literals(sub)?;
            texts.push(String::new());
            Some(texts)
        }
        HirKind::Concat(parts) => {
            let mut texts = vec![String::new()];
            for part in parts {
                let tails = literals(part)?;
                if texts.len() * tails.len() > MAX_LITERALS {
                    return None;
                }
                texts = texts
                    .iter()
                    .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")))
                    .collect();
            }
            Some(texts)
        }
        HirKind::Alternation(branches) => {
            let mut texts = Vec::new();
            for branch in branches {
                texts.extend(literals(branch)?);
                if texts.len() > MAX_LITERALS {
                    return None;
                }
            }
            Some(texts)
        }
        _ => None,
    }
}

/// What a part of a concatenation is.
enum Piece {
    Text(String),
    /// `.*` (0) or `.+` (1).
    Anything(u8),
}

fn piece(hir: &Hir) -> Option<Piece> {
    match hir.kind() {
        HirKind::Literal(literal) => Some(Piece::Text(String::from_utf8(literal.0.to_vec()).ok()?)),
        HirKind::Empty => Some(Piece::Text(String::new())),
        HirKind::Capture(capture) => piece(&capture.sub),
        HirKind::Repetition(Repetition { min: min @ (0 | 1), max: None, sub, .. }) if is_any_char(sub) => {
            Some(Piece::Anything(*min as u8))
        }
        _ => None,
    }
}

fn is_any_char(hir: &Hir) -> bool {
    let HirKind::Class(Class::Unicode(class)) = hir.kind() else { return false };
    class.iter().eq(regex_syntax::hir::ClassUnicode::new([regex_syntax::hir::ClassUnicodeRange::new(
        '\0',
        char::MAX,
    )])
    .iter())
}

/// `prefix.*suffix`, `.*contains.*` and the like, with at most one `.+`, as [`Pattern::Parts`].
fn parts(hir: &Hir) -> Option<Pattern> {
    let pieces: Vec<Piece> = match hir.kind() {
        HirKind::Concat(parts) => parts.iter().map(piece).collect::<Option<_>>()?,
        _ => vec![piece(hir)?],
    };
    let mut prefix = String::new();
    let mut contains = String::new();
    let mut suffix = String::new();
    let mut wildcards: Vec<u8> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => match wildcards.len() {
                0 => prefix.push_str(&text),
                _ => suffix.push_str(&text),
            },
            Piece::Anything(min) => {
                if wildcards.len() == 2 {
                    return None;
                }
                if wildcards.len() == 1 {
                    contains = std::mem::take(&mut suffix);
                }
                wildcards.push(min);
            }
        }
    }
    match wildcards.as_slice() {
        [min] => Some(Pattern::Parts { prefix, contains, suffix, min_extra: *min }),
        [0, 0] if !contains.is_empty() => Some(Pattern::Parts { prefix, contains, suffix, min_extra: 0 }),
        _ => None,
    }
}

/// What every match starts with.
fn prefix(hir: &Hir) -> String {
    match hir.kind() {
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).unwrap_or_default(),
        HirKind::Capture(capture) => prefix(&capture.sub),
        HirKind::Concat(parts) => {
            let mut all = String::new();
            for part in parts {
                all.push_str(&prefix(part));
                if !is_literal(part) {
                    break;
                }
            }
            all
        }
        HirKind::Alternation(branches) => {
            let mut common: Option<String> = None;
            for branch in branches {
                let next = prefix(branch);
                common = Some(match common {
                    None => next,
                    Some(known) => {
                        known.chars().zip(next.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
                    }
                });
            }
            common.unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn is_literal(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(_) => true,
        HirKind::Capture(capture) => is_literal(&capture.sub),
        _ => false,
    }
}
