//! API keys.
//!
//! A key is 64 ASCII characters:
//!
//! | at | length | what |
//! |---|---|---|
//! | 0 | 3 | `fw_`, by which secret scanners find it |
//! | 3 | 12 | the key's id in Base62: public, names the key in the directory and in logs |
//! | 15 | 43 | the secret in Base62: 43 uniform characters are 256.03 bits |
//! | 58 | 6 | CRC-32 (IEEE) of the 58 characters before, in Base62, most significant digit first, padded with `0` |
//!
//! The checksum lets garbage and typing errors be refused without a look-up. At rest there is only the SHA-256 of the
//! whole text: the secret has full entropy, so a slow hash would add nothing.

use std::fmt;

use rand::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

const PREFIX: &[u8] = b"fw_";
const ID_LEN: usize = 12;
const SECRET_LEN: usize = 43;
const CHECKSUM_LEN: usize = 6;
const CHECKSUM_AT: usize = PREFIX.len() + ID_LEN + SECRET_LEN;
/// Length of a key in characters, all of them ASCII.
pub const API_KEY_LEN: usize = CHECKSUM_AT + CHECKSUM_LEN;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A whole API key: a secret. `Debug` shows only its id, and its memory is wiped when it is dropped.
pub struct ApiKey([u8; API_KEY_LEN]);

/// Why a text is no API key. Never holds any of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// It does not look like one.
    #[error("an API key is 'fw_' and 61 letters and digits")]
    Shape,
    /// It looks like one, but the checksum says that it was changed.
    #[error("the API key's checksum does not match: was it copied in full?")]
    Checksum,
}

impl ApiKey {
    /// A new key. The caller shows [`ApiKey::expose`] once and keeps [`ApiKey::id`] and [`ApiKey::hash`].
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut text = [0; API_KEY_LEN];
        text[..PREFIX.len()].copy_from_slice(PREFIX);
        for character in &mut text[PREFIX.len()..CHECKSUM_AT] {
            *character = uniform_base62(rng);
        }
        let checksum = checksum_of(&text[..CHECKSUM_AT]);
        text[CHECKSUM_AT..].copy_from_slice(&checksum);
        Self(text)
    }

    /// Checks shape and checksum of `text`.
    ///
    /// # Errors
    /// [`ApiKeyError`] when `text` cannot be a key that was ever given out.
    pub fn parse(text: &[u8]) -> Result<Self, ApiKeyError> {
        let text: [u8; API_KEY_LEN] = text.try_into().map_err(|_| ApiKeyError::Shape)?;
        let key = Self(text);
        if !key.0.starts_with(PREFIX) || !key.0[PREFIX.len()..].iter().all(u8::is_ascii_alphanumeric) {
            return Err(ApiKeyError::Shape);
        }
        if key.0[CHECKSUM_AT..] != checksum_of(&key.0[..CHECKSUM_AT]) {
            return Err(ApiKeyError::Checksum);
        }
        Ok(key)
    }

    /// The secret text, to be shown to its owner once. Never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        // Both ways to make a key leave ASCII in it.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The public part that names the key.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&self.0[PREFIX.len()..PREFIX.len() + ID_LEN]);
        KeyId(id)
    }

    /// What is kept of the key.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0).into())
    }
}

impl Drop for ApiKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.id())
    }
}

/// The public name of a key: [`ApiKey::id`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_LEN]);

impl KeyId {
    /// The id written as `text`, or `None` when it is not 12 letters and digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id: [u8; ID_LEN] = text.as_bytes().try_into().ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Self(id))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Every way to make an id checks that it is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// SHA-256 of a key's text. Compared in constant time; has no `==`, so that it cannot be compared otherwise.
#[derive(Clone, Copy, Debug)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Whether both are the hash of the same key, in time that says nothing about where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect()
    }

    /// Reads what [`KeyHash::to_hex`] writes; `None` for anything else.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let mut hash = [0; 32];
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = from_hex_digit(*high)? << 4 | from_hex_digit(*low)?;
        }
        Some(Self(hash))
    }
}

fn hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 })
}

fn from_hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn uniform_base62(rng: &mut (impl CryptoRng + ?Sized)) -> u8 {
    loop {
        let mut byte = [0];
        rng.fill_bytes(&mut byte);
        // 248 is the largest multiple of 62 in a byte; what lies above would favour the first digits.
        if byte[0] < 248 {
            return BASE62[usize::from(byte[0] % 62)];
        }
    }
}

fn checksum_of(text: &[u8]) -> [u8; CHECKSUM_LEN] {
    let mut rest = crc32fast::hash(text);
    let mut digits = [b'0'; CHECKSUM_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = BASE62[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests;
