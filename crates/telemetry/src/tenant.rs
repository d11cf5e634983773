//! Tenant ids.

use std::fmt;
use std::sync::Arc;

/// The longest tenant id, in bytes. It is a part of object keys, so it stays short.
pub const MAX_TENANT_ID_BYTES: usize = 64;

/// A tenant's id: 1 to [`MAX_TENANT_ID_BYTES`] bytes of `a-z`, `0-9`, `-` and `_`, beginning with a letter or a digit.
///
/// The alphabet is that of an object key's path segment that needs no escaping anywhere. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// Why a text is no tenant id.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TenantIdError {
    /// Empty or longer than [`MAX_TENANT_ID_BYTES`].
    #[error("a tenant id has 1 to {MAX_TENANT_ID_BYTES} bytes, this one has {0}")]
    Length(usize),
    /// A character outside the alphabet, or a first character that is no letter or digit.
    #[error("a tenant id is made of a-z, 0-9, '-' and '_' and begins with a letter or digit: {0:?} is not")]
    Alphabet(String),
}

impl TenantId {
    /// Checks `text` and makes it a tenant id.
    ///
    /// # Errors
    /// [`TenantIdError`] when the length or a character is not allowed.
    pub fn new(text: &str) -> Result<Self, TenantIdError> {
        if text.is_empty() || text.len() > MAX_TENANT_ID_BYTES {
            return Err(TenantIdError::Length(text.len()));
        }
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
        let first = text.as_bytes()[0];
        if !text.bytes().all(allowed) || matches!(first, b'-' | b'_') {
            return Err(TenantIdError::Alphabet(text.to_owned()));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_path_safe_ids_only() {
        assert_eq!(TenantId::new("acme-prod_1").unwrap().as_str(), "acme-prod_1");
        assert_eq!(TenantId::new(""), Err(TenantIdError::Length(0)));
        assert_eq!(TenantId::new(&"a".repeat(65)), Err(TenantIdError::Length(65)));
        for bad in ["Acme", "a/b", "..", "-a", "_a", "a b", "ä"] {
            assert!(matches!(TenantId::new(bad), Err(TenantIdError::Alphabet(_))), "{bad}");
        }
    }
}
