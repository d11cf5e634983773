//! The narrow view of an object store that everything stands on.
//!
//! What every implementation promises, and the conformance suite holds it to:
//! - a put is atomic: a reader sees the whole object or none of it, also after a crash; when the call returns `Ok`, it is
//!   durable and every later call by anyone sees it;
//! - conditions are decided by the bucket, not by look-then-write: of many concurrent `IfAbsent` puts of a key, or
//!   `IfMatch` puts with the same etag, one wins;
//! - a listing shows every object that was there all the time it took, in ascending order of the keys' bytes;
//! - deleting what is not there is no error.
//!
//! Implementations do not retry puts: whoever asked knows what a second attempt means.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub mod counted;
mod error;
pub mod local;
pub mod retrying;
pub mod s3;

pub use error::{BucketError, Operation, PutOutcome};

/// An object store, or the part of one under a prefix. Keys are relative to it; see [`check_key`] for what a key may be.
#[async_trait]
pub trait Bucket: Send + Sync + fmt::Debug + 'static {
    /// Stores `body` as `key`, if `condition` holds. The put-id is kept with the object; [`Bucket::head`] gives it back.
    ///
    /// # Errors
    /// [`BucketError::PreconditionFailed`] when the condition does not hold (for `IfMatch` also when there is no object),
    /// [`BucketError::Conflict`] when the bucket was busy with another conditional put of the key, and the common ones.
    /// Whether it may have been stored all the same, [`BucketError::outcome_unknown`] says.
    async fn put(
        &self,
        key: &str,
        body: Bytes,
        condition: PutCondition,
        put_id: Option<PutId>,
    ) -> Result<Etag, BucketError>;

    /// Reads an object or a part of it.
    ///
    /// # Errors
    /// [`BucketError::NotFound`]; [`BucketError::Invalid`] for a range that is empty or begins at or after the object's
    /// end (a range that only ends after it is cut); the common ones.
    async fn get(&self, key: &str, range: GetRange) -> Result<Object, BucketError>;

    /// Reads a whole object unless its etag is `known`; `None` means that it is.
    ///
    /// # Errors
    /// [`BucketError::NotFound`] and the common ones.
    async fn get_if_changed(&self, key: &str, known: Option<&Etag>) -> Result<Option<Object>, BucketError>;

    /// What is known of an object without reading it.
    ///
    /// # Errors
    /// [`BucketError::NotFound`] and the common ones.
    async fn head(&self, key: &str) -> Result<ObjectMeta, BucketError>;

    /// One page of the objects whose key begins with `prefix` and sorts after `start_after`, by ascending key. `max_keys`
    /// is at least 1; the bucket may give less than that (S3: never more than 1,000) and then says that the page is
    /// truncated: the next one starts after its last key.
    ///
    /// # Errors
    /// The common ones.
    async fn list(
        &self,
        prefix: &str,
        start_after: Option<&str>,
        max_keys: usize,
    ) -> Result<ListPage, BucketError>;

    /// Deletes objects; those that are not there are not missed. After an error any of them may be gone or not; it can be
    /// called again.
    ///
    /// # Errors
    /// The common ones.
    async fn delete_many(&self, keys: &[String]) -> Result<(), BucketError>;
}

/// On what condition a put stores its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutCondition {
    /// Whatever is there is replaced.
    Always,
    /// Only when there is no object of that key.
    IfAbsent,
    /// Only when the object of that key has this etag.
    IfMatch(Etag),
}

/// A version of an object's content, as the bucket names it. Opaque; equal tags of one key mean equal content.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Etag(Arc<str>);

impl Etag {
    /// An etag, without quotes.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The text, without quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Etag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Etag({})", self.0)
    }
}

/// Who put an object: by it a writer whose put had no answer finds out whether the object that is there is its own.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PutId(pub [u8; 16]);

impl fmt::Display for PutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for PutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PutId({self})")
    }
}

impl PutId {
    /// The id that [`fmt::Display`] wrote as `text`, or `None` when it did not.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let number = u128::from_str_radix(text, 16).ok()?;
        let id = Self(number.to_be_bytes());
        (id.to_string() == text).then_some(id)
    }
}

/// Which bytes of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GetRange {
    /// All.
    Full,
    /// From `start` up to but without `end`, counted in bytes from the object's beginning.
    Range(Range<u64>),
    /// The last so many bytes, or all when there are less.
    Suffix(u64),
}

impl GetRange {
    /// The bytes that are meant in an object of `len` bytes, or `None` where there is no byte to give (HTTP's 416).
    #[must_use]
    pub fn resolve(&self, len: u64) -> Option<Range<u64>> {
        match self {
            Self::Full => Some(0..len),
            Self::Range(range) => (range.start < range.end.min(len)).then(|| range.start..range.end.min(len)),
            Self::Suffix(bytes) => (*bytes > 0 && len > 0).then(|| len.saturating_sub(*bytes)..len),
        }
    }
}

/// Bytes of an object, and of which object.
#[derive(Clone, Debug)]
pub struct Object {
    /// The bytes asked for.
    pub body: Bytes,
    /// The object's version.
    pub etag: Etag,
    /// The length of the whole object in bytes.
    pub len: u64,
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The length in bytes.
    pub len: u64,
    /// The object's version.
    pub etag: Etag,
    /// What it was put with.
    pub put_id: Option<PutId>,
}

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The key.
    pub key: String,
    /// The length in bytes.
    pub len: u64,
}

/// A part of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The objects, by ascending key.
    pub objects: Vec<ListedObject>,
    /// Whether there may be more after the last one. Then `objects` is not empty.
    pub truncated: bool,
}

/// The longest key, in bytes, with room for a bucket's own prefix before it (S3 allows 1,024 together).
pub const MAX_KEY_BYTES: usize = 512;

/// Checks what every bucket can hold: 1 to [`MAX_KEY_BYTES`] bytes of `A-Z a-z 0-9 - _ .` in parts divided by `/`, no part
/// empty or beginning with a dot. A key must not be another one's directory (`a` beside `a/b`).
///
/// # Errors
/// [`BucketError::Invalid`].
pub fn check_key(operation: Operation, key: &str) -> Result<(), BucketError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good_part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.bytes().all(allowed);
    if key.len() <= MAX_KEY_BYTES && key.split('/').all(good_part) {
        Ok(())
    } else {
        Err(BucketError::invalid(operation, key, "this is not a valid key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_inside_the_bucket() {
        for good in ["a", "fresh/0/manifest", "t/acme_1/metrics/01-AB.x", &"k".repeat(MAX_KEY_BYTES)] {
            assert!(check_key(Operation::Get, good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "../a",
            "a/..",
            "a/.b",
            "a b",
            "ä",
            "a\\b",
            &"k".repeat(MAX_KEY_BYTES + 1),
        ] {
            assert!(matches!(check_key(Operation::Get, bad), Err(BucketError::Invalid { .. })), "{bad}");
        }
    }

    #[test]
    fn a_put_id_is_its_text() {
        let id = PutId([0x0f; 16]);
        assert_eq!(PutId::parse(&id.to_string()), Some(id));
        assert_eq!(PutId::parse("f"), None);
        assert_eq!(PutId::parse(&"G".repeat(32)), None);
    }
}
