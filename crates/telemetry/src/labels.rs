//! Label sets: a series' identity.
//!
//! A label set is one shared string in a canonical form, so that equality, hashing and copying cost one pass over one
//! allocation. The form is, for each pair in ascending order of names: length of the name, name, length of the value,
//! value. A length is a base-64 number, least significant digit first, in ASCII characters whose bit 6 says that more
//! digits follow; being ASCII, it keeps the whole a valid `str`, and no `unsafe` is needed to read it back.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// A sorted set of label pairs with unique names and without empty values. Cheap to clone.
///
/// Ordered like Prometheus orders label sets: pair by pair, by name and then by value; a prefix comes first. Since
/// `__name__` sorts before lower-case names, that clusters series by metric, which is the storage order.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    canonical: Arc<str>,
}

/// Why pairs do not make a label set, or bytes are not one in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The same name twice.
    #[error("label name {0:?} appears twice")]
    DuplicateName(String),
    /// A label without a name.
    #[error("a label has an empty name (its value is {0:?})")]
    EmptyName(String),
    /// Canonical text that is not in canonical form.
    #[error("not a canonical label set: {0}")]
    NotCanonical(&'static str),
}

impl Default for Labels {
    fn default() -> Self {
        Self { canonical: Arc::from("") }
    }
}

impl Labels {
    /// The empty label set.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// A label set of `pairs` in any order; pairs with an empty value are left out, as Prometheus does.
    ///
    /// # Errors
    /// [`LabelError::DuplicateName`] or [`LabelError::EmptyName`].
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, LabelError> {
        let owned: Vec<(N, V)> = pairs.into_iter().collect();
        let mut builder = LabelsBuilder::with_capacity(owned.len());
        for (name, value) in &owned {
            builder.push(name.as_ref(), value.as_ref());
        }
        builder.build()
    }

    /// A label set from text in canonical form (see the [module](self)), checked.
    ///
    /// # Errors
    /// [`LabelError::NotCanonical`] when the text is cut short, out of order, or has an empty name or value.
    pub fn from_canonical(text: &str) -> Result<Self, LabelError> {
        let mut rest = text;
        let mut previous: Option<&str> = None;
        while !rest.is_empty() {
            let (name, after_name) = try_take(rest).ok_or(LabelError::NotCanonical("cut short"))?;
            let (value, after) = try_take(after_name).ok_or(LabelError::NotCanonical("cut short"))?;
            if name.is_empty() || value.is_empty() {
                return Err(LabelError::NotCanonical("an empty name or value"));
            }
            if previous.is_some_and(|before| before >= name) {
                return Err(LabelError::NotCanonical("names that do not ascend"));
            }
            previous = Some(name);
            rest = after;
        }
        Ok(Self { canonical: Arc::from(text) })
    }

    /// The canonical text: equal for equal sets, and only for them.
    #[must_use]
    pub fn as_canonical(&self) -> &str {
        &self.canonical
    }

    /// The pairs, in ascending order of names.
    pub fn iter(&self) -> Pairs<'_> {
        Pairs { rest: &self.canonical }
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no pair.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.canonical.is_empty()
    }

    /// The value of label `name`, or `None` when there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        for (candidate, value) in self.iter() {
            match candidate.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The value of `__name__`, or `None`.
    #[must_use]
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// A fast hash of the canonical text, stable across processes. For look-up, not for integrity.
    #[must_use]
    pub fn hash64(&self) -> u64 {
        xxh3_64(self.canonical.as_bytes())
    }

    /// Memory held by the shared text, in bytes: what limits count.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        // Two reference counts lie before the text.
        self.canonical.len() + 2 * size_of::<usize>()
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.canonical, &other.canonical) {
            return Ordering::Equal;
        }
        let from = shared_pairs(&self.canonical, &other.canonical);
        Pairs { rest: &self.canonical[from..] }.cmp(Pairs { rest: &other.canonical[from..] })
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

impl fmt::Display for Labels {
    /// `name{a="b"}`, the way PromQL writes a series; names that PromQL cannot write bare are quoted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metric = self.metric_name();
        let bare_metric = metric.filter(|name| is_bare_name(name, true));
        if let Some(name) = bare_metric {
            f.write_str(name)?;
        }
        let quoted_metric = if bare_metric.is_none() { metric } else { None };
        let has_pairs = self.iter().any(|(name, _)| name != METRIC_NAME);
        if bare_metric.is_some() && !has_pairs {
            return Ok(());
        }
        f.write_str("{")?;
        let mut separator = "";
        if let Some(name) = quoted_metric {
            write!(f, "{name:?}")?;
            separator = ", ";
        }
        for (name, value) in self.iter().filter(|(name, _)| *name != METRIC_NAME) {
            if is_bare_name(name, false) {
                write!(f, "{separator}{name}={value:?}")?;
            } else {
                write!(f, "{separator}{name:?}={value:?}")?;
            }
            separator = ", ";
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether PromQL can write `name` without quotes: `[a-zA-Z_][a-zA-Z0-9_]*`, for metrics with `:` too.
#[must_use]
pub fn is_bare_name(name: &str, colon_allowed: bool) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colon_allowed && byte == b':');
    name.bytes().next().is_some_and(|first| !first.is_ascii_digit()) && name.bytes().all(good)
}

/// Iterator over the pairs of [`Labels`], in ascending order of names.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        // Both succeed for every pair: `Labels` is made from checked or freshly written canonical text only.
        let (name, rest) = try_take(self.rest)?;
        let (value, rest) = try_take(rest)?;
        self.rest = rest;
        Some((name, value))
    }
}

/// How many bytes of canonical text the pairs take with which both `a` and `b` begin. Label sets that are compared mostly
/// share some pairs, and what is equal need not be read.
fn shared_pairs(a: &str, b: &str) -> usize {
    let equal = common_prefix(a.as_bytes(), b.as_bytes());
    let mut end = 0;
    while let Some(next) = end_of_text(a, end).and_then(|end| end_of_text(a, end))
        && next <= equal
    {
        end = next;
    }
    end
}

/// How many bytes `a` and `b` begin with alike. Looks at eight bytes at a time.
#[must_use]
pub fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    let same = 8 * a_words.iter().zip(b_words).take_while(|(a, b)| a == b).count();
    same + a[same..].iter().zip(&b[same..]).take_while(|(a, b)| a == b).count()
}

/// Of how many label sets [`read_ahead`] is asked at once: so that all of them fit into a core's nearest cache.
pub const READ_AHEAD: usize = 32;

/// Reads a little of everything that `labels` take in memory. Label sets that are used one after the other lie anywhere, and each
/// is waited for when it is; read ahead, many of them are fetched at the same time, since none depends on another.
pub fn read_ahead<'a>(labels: impl Iterator<Item = &'a Labels>) {
    /// Bytes that are fetched together.
    const LINE: usize = 64;
    let first_of_each_line = |labels: &'a Labels| labels.canonical.as_bytes().iter().step_by(LINE);
    std::hint::black_box(labels.flat_map(first_of_each_line).fold(0, |all, byte| all ^ byte));
}

/// Where the length-prefixed text ends that begins at `at`, as its length says; `None` where that is cut short.
#[inline]
fn end_of_text(text: &str, mut at: usize) -> Option<usize> {
    let (mut length, mut shift) = (0_usize, 0_u32);
    loop {
        let byte = *text.as_bytes().get(at)?;
        at += 1;
        length |= usize::from(byte & DIGIT) << shift;
        if byte & CONTINUES == 0 {
            return at.checked_add(length);
        }
        shift = (shift + 6).min(24);
    }
}

const CONTINUES: u8 = 0x40;
const DIGIT: u8 = 0x3f;

/// Splits one length-prefixed text off the front; `None` when there is not one.
#[inline]
fn try_take(text: &str) -> Option<(&str, &str)> {
    let bytes = text.as_bytes();
    let mut length = 0_usize;
    let mut shift = 0_u32;
    let mut at = 0;
    loop {
        let byte = *bytes.get(at)?;
        if byte >= 0x80 || shift > 24 {
            return None;
        }
        at += 1;
        length |= usize::from(byte & DIGIT) << shift;
        if byte & CONTINUES == 0 {
            break;
        }
        shift += 6;
    }
    // A length that could have been written shorter would give one set two canonical forms.
    if at > 1 && bytes[at - 1] & DIGIT == 0 {
        return None;
    }
    let end = at.checked_add(length)?;
    Some((text.get(at..end)?, text.get(end..)?))
}

fn push_length_prefixed(out: &mut String, text: &str) {
    let mut length = text.len();
    while length > usize::from(DIGIT) {
        out.push(char::from((length & usize::from(DIGIT)) as u8 | CONTINUES));
        length >>= 6;
    }
    out.push(char::from(length as u8));
    out.push_str(text);
}

/// Takes the first pair off canonical text: name, value, and the text after them. `None` when there is no whole pair.
///
/// A pair's canonical text says itself where it ends, so two pairs are equal exactly when one's text starts with the
/// other's: that lets writers compare label sets pair by pair without reading them.
#[inline]
#[must_use]
pub fn split_canonical_pair(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = try_take(text)?;
    let (value, rest) = try_take(rest)?;
    Some((name, value, rest))
}

/// Appends a pair in canonical form. Both texts are at most [`MAX_LABEL_BYTES`] long.
///
/// Text put together this way becomes [`Labels`] by [`Labels::from_canonical`], which checks the order.
pub fn push_canonical_pair(out: &mut String, name: &str, value: &str) {
    debug_assert!(name.len() <= MAX_LABEL_BYTES && value.len() <= MAX_LABEL_BYTES);
    push_length_prefixed(out, name);
    push_length_prefixed(out, value);
}

/// Collects pairs in any order and makes [`Labels`] of them; reuse one to save allocations.
#[derive(Debug, Default)]
pub struct LabelsBuilder<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

/// The longest name or value, in bytes, that the canonical form can hold (its length prefix has at most five digits).
pub const MAX_LABEL_BYTES: usize = (1 << 30) - 1;

impl<'a> LabelsBuilder<'a> {
    /// An empty builder with room for `pairs` pairs.
    #[must_use]
    pub fn with_capacity(pairs: usize) -> Self {
        Self { pairs: Vec::with_capacity(pairs) }
    }

    /// Adds a pair. One with an empty value counts as absent; texts are at most [`MAX_LABEL_BYTES`] long.
    pub fn push(&mut self, name: &'a str, value: &'a str) {
        debug_assert!(name.len() <= MAX_LABEL_BYTES && value.len() <= MAX_LABEL_BYTES);
        self.pairs.push((name, value));
    }

    /// Removes all pairs.
    pub fn clear(&mut self) {
        self.pairs.clear();
    }

    /// Sorts and checks the pairs and makes a label set of them; the builder is empty afterwards.
    ///
    /// # Errors
    /// [`LabelError::DuplicateName`] or [`LabelError::EmptyName`].
    pub fn build(&mut self) -> Result<Labels, LabelError> {
        self.pairs.sort_unstable();
        let result = self.write_sorted();
        self.pairs.clear();
        result
    }

    fn write_sorted(&self) -> Result<Labels, LabelError> {
        let length = self.pairs.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        let mut canonical = String::with_capacity(length);
        let mut previous = None;
        for &(name, value) in &self.pairs {
            if name.is_empty() {
                return Err(LabelError::EmptyName(value.to_owned()));
            }
            if previous == Some(name) {
                return Err(LabelError::DuplicateName(name.to_owned()));
            }
            previous = Some(name);
            if !value.is_empty() {
                push_length_prefixed(&mut canonical, name);
                push_length_prefixed(&mut canonical, value);
            }
        }
        Ok(Labels { canonical: Arc::from(canonical) })
    }
}

#[cfg(test)]
mod tests;
