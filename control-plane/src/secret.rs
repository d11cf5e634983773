//! Texts that nobody but their owner may see: wiped when dropped, never shown by `Debug`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::random::Random;

/// A password, a code or a token on its way in or out.
#[derive(Clone, ToSchema)]
#[schema(value_type = String, format = Password)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over a text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// 256 random bits as 43 characters that need no escaping in a link.
    pub(crate) fn token(random: &Random) -> Self {
        let bytes = Zeroizing::new(random.bytes::<32>());
        Self::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
    }

    /// The text. Never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a text is this one, in a time that does not depend on where they differ.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// What is kept of a token: it has full entropy, so a slow hash would add nothing. Looking one up by its hash tells
    /// nothing by its time, since nobody can choose hashes.
    pub(crate) fn sha256(&self) -> String {
        hex(&Sha256::digest(self.0.as_bytes()))
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_long_differs_each_time_and_is_never_shown() {
        let random = Random::from_seed([7; 32]);
        let (one, other) = (Secret::token(&random), Secret::token(&random));
        assert_eq!(one.expose().len(), 43);
        assert_ne!(one.expose(), other.expose());
        assert_ne!(one.sha256(), other.sha256());
        assert!(!format!("{one:?}").contains(one.expose()));
        assert_eq!(hex(&[0x0f, 0xa0]), "0fa0");
    }
}
