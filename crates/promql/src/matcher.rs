//! Label matchers, with regular expressions rewritten to what an index can answer.

use std::fmt;
use std::sync::Arc;

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// As PromQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }

    /// Whether the matcher holds where its text does not match.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        matches!(self, Self::NotEqual | Self::NotRegex)
    }
}

/// A condition on one label. A label that a series does not have counts as the empty string.
///
/// Regular expressions have Go's RE2 syntax and are anchored at both ends; `.` matches newlines, too. They are compiled
/// once, and where they say no more than "one of these texts", "starts with" or the like, nothing is left to compile.
/// Cheap to clone.
#[derive(Clone)]
pub struct Matcher {
    name: Arc<str>,
    op: MatchOp,
    value: Arc<str>,
    pattern: Arc<Pattern>,
}

/// A regular expression that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}: `{pattern}`")]
pub struct MatcherError {
    /// The expression.
    pub pattern: String,
    /// What is wrong with it, on one line.
    pub reason: String,
}

impl Matcher {
    /// A matcher of label `name` with the text or regular expression `value`.
    ///
    /// # Errors
    /// [`MatcherError`] for a regular expression that is invalid or too large.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, MatcherError> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => Pattern::literal(value),
            MatchOp::Regex | MatchOp::NotRegex => Pattern::compile(value)?,
        };
        Ok(Self { name: name.into(), op, value: value.into(), pattern: Arc::new(pattern) })
    }

    /// `name="value"`.
    #[must_use]
    pub fn equal(name: &str, value: &str) -> Self {
        let pattern = Arc::new(Pattern::literal(value));
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), pattern }
    }

    /// The label's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    #[must_use]
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The text or regular expression, as written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether the condition holds for a label with this value; for an absent label ask with `""`.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        self.pattern.is_match(value) != self.op.is_negative()
    }

    /// Whether the condition holds for a series without the label.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// All texts that the matcher's pattern matches, sorted, when they are few enough to list. For a negative matcher
    /// ([`MatchOp::is_negative`]) these are all the texts for which the condition does *not* hold.
    #[must_use]
    pub fn as_literals(&self) -> Option<&[String]> {
        match &*self.pattern {
            Pattern::Literals(texts) => Some(texts),
            _ => None,
        }
    }

    /// What every text that the matcher's pattern matches starts with; empty when nothing is known. Negative matchers
    /// as for [`as_literals`](Self::as_literals).
    #[must_use]
    pub fn prefix(&self) -> &str {
        match &*self.pattern {
            Pattern::Literals(texts) if texts.len() == 1 => &texts[0],
            Pattern::Parts { prefix, .. } | Pattern::Regex { prefix, .. } => prefix,
            Pattern::Literals(_) => "",
        }
    }

    /// Whether the pattern matches every text (`.*`), so that the condition says nothing (or, negated, never holds).
    #[must_use]
    pub fn matches_everything(&self) -> bool {
        matches!(&*self.pattern, Pattern::Parts { prefix, contains, suffix, min_extra: 0 }
            if prefix.is_empty() && contains.is_empty() && suffix.is_empty())
    }

    /// Whether the pattern matches every text but the empty one (`.+`).
    #[must_use]
    pub fn matches_everything_but_empty(&self) -> bool {
        matches!(&*self.pattern, Pattern::Parts { prefix, contains, suffix, min_extra: 1 }
            if prefix.is_empty() && contains.is_empty() && suffix.is_empty())
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.op == other.op && self.name == other.name && self.value == other.value
    }
}

impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = crate::quote(&self.value);
        if telemetry::labels::is_bare_name(&self.name, false) {
            write!(f, "{}{}{quoted}", self.name, self.op.as_str())
        } else {
            write!(f, "{}{}{quoted}", crate::quote(&self.name), self.op.as_str())
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

mod go_syntax;
mod pattern;
use pattern::Pattern;
pub(crate) use pattern::compile_anchored;

#[cfg(test)]
mod tests;
