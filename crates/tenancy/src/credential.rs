//! The API key in an `Authorization` header.
//!
//! `Bearer KEY`, or `Basic` with the key as password and any user name, which is what Grafana's data source and
//! Prometheus's `basic_auth` send.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::key::{ApiKey, ApiKeyError};
use crate::limits::MAX_AUTHORIZATION_BYTES;

/// Why there is no API key in a header. Never holds any of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The header is longer than any that holds a key.
    #[error("the Authorization header is longer than {MAX_AUTHORIZATION_BYTES} bytes")]
    TooLong,
    /// Neither Bearer nor Basic.
    #[error("the Authorization header is neither 'Bearer KEY' nor 'Basic' with the API key as password")]
    Scheme,
    /// Basic, but not Base64 of `user:password`.
    #[error("the Basic credentials are not Base64 of 'user:password'")]
    Basic,
    /// There is something in the key's place that is no key.
    #[error(transparent)]
    Key(#[from] ApiKeyError),
}

/// The key in the value of an `Authorization` header.
///
/// # Errors
/// [`CredentialError`] when there is none in it.
pub fn api_key_from_authorization(value: &[u8]) -> Result<ApiKey, CredentialError> {
    if value.len() > MAX_AUTHORIZATION_BYTES {
        return Err(CredentialError::TooLong);
    }
    let value = value.trim_ascii();
    let end = value.iter().position(|&byte| byte == b' ').ok_or(CredentialError::Scheme)?;
    let (scheme, rest) = value.split_at(end);
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(ApiKey::parse(rest)?);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(CredentialError::Scheme);
    }
    let decoded = Zeroizing::new(STANDARD.decode(rest).map_err(|_| CredentialError::Basic)?);
    let colon = decoded.iter().position(|&byte| byte == b':').ok_or(CredentialError::Basic)?;
    Ok(ApiKey::parse(&decoded[colon + 1..])?)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    #[test]
    fn bearer_and_basic_carry_a_key() {
        let key = ApiKey::generate(&mut ChaCha20Rng::seed_from_u64(1));
        let text = key.expose();
        let basic = |userinfo: String| format!("Basic {}", STANDARD.encode(userinfo));
        for good in [
            format!("Bearer {text}"),
            format!("bearer  {text} "),
            basic(format!("anybody:{text}")),
            basic(format!(":{text}")),
        ] {
            assert_eq!(api_key_from_authorization(good.as_bytes()).unwrap().id(), key.id(), "{good}");
        }
        let cases = [
            (String::new(), CredentialError::Scheme),
            ("Bearer".to_owned(), CredentialError::Scheme),
            (text.to_owned(), CredentialError::Scheme),
            (format!("Digest {text}"), CredentialError::Scheme),
            (format!("Bearer {}", &text[..63]), CredentialError::Key(ApiKeyError::Shape)),
            (format!("Bearer {}0", &text[..63]), CredentialError::Key(ApiKeyError::Checksum)),
            ("Basic !!!".to_owned(), CredentialError::Basic),
            (basic(text.to_owned()), CredentialError::Basic),
            (basic(format!("{text}:")), CredentialError::Key(ApiKeyError::Shape)),
            (format!("Bearer {}", "x".repeat(2000)), CredentialError::TooLong),
        ];
        for (bad, expected) in cases {
            assert_eq!(api_key_from_authorization(bad.as_bytes()).unwrap_err(), expected, "{bad}");
        }
    }
}
