//! Access tokens: JWTs, signed with Ed25519 and good for minutes. They prove a session; the database says whether it goes on.

use std::sync::Once;

use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::root::RootSecret;
use crate::limits::ACCESS_TOKEN_LIFE;
use crate::secret::Secret;

const ISSUER: &str = "farwatch";
/// A token is for this API and for no other.
const AUDIENCE: &str = "control-plane";

/// What a token says.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    /// The account.
    pub(crate) sub: String,
    /// The session.
    pub(crate) sid: String,
    /// Seconds since the Unix epoch.
    iat: i64,
    /// Seconds since the Unix epoch.
    exp: i64,
}

/// Makes and reads tokens.
pub(crate) struct AccessTokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl AccessTokens {
    pub(crate) fn new(root: &RootSecret) -> Self {
        install_ed25519();
        let seed = root.derive("access tokens", b"");
        let public = SigningKey::from_bytes(&seed).verifying_key();
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        // By the injected clock, in `verify`.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Both as raw bytes, which is what the provider below reads.
        Self {
            encoding: EncodingKey::from_ed_der(seed.as_slice()),
            decoding: DecodingKey::from_ed_der(public.as_bytes()),
            validation,
        }
    }

    pub(crate) fn issue(
        &self,
        user_id: &str,
        session_id: &str,
        now_ms: i64,
    ) -> Result<Secret, jsonwebtoken::errors::Error> {
        let iat = now_ms.div_euclid(1000);
        let claims = Claims {
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user_id.to_owned(),
            sid: session_id.to_owned(),
            iat,
            exp: iat + ACCESS_TOKEN_LIFE.as_secs() as i64,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &self.encoding).map(Secret::new)
    }

    /// What a token says, if it is one of ours and still good.
    pub(crate) fn verify(&self, token: &str, now_ms: i64) -> Option<Claims> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation).ok()?.claims;
        (now_ms.div_euclid(1000) < claims.exp).then_some(claims)
    }
}

/// The `jsonwebtoken` crate asks for one provider of cryptography a process. This one knows Ed25519 alone, over keys as raw
/// bytes; whoever installed another one first serves as well only if it reads the same keys, so nobody else does.
fn install_ed25519() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| match (algorithm, key.as_bytes().try_into()) {
            (Algorithm::EdDSA, Ok(seed)) => Ok(Box::new(Ed25519Signer(SigningKey::from_bytes(seed)))),
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        },
        verifier_factory: |algorithm, key| match (algorithm, key.try_get_as_bytes()?.try_into()) {
            (Algorithm::EdDSA, Ok(bytes)) => {
                let key = VerifyingKey::from_bytes(bytes).map_err(|_| ErrorKind::InvalidEddsaKey)?;
                Ok(Box::new(Ed25519Verifier(key)))
            }
            _ => Err(ErrorKind::InvalidAlgorithm.into()),
        },
        key_utils: KeyUtils::new_unimplemented(),
    };
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if PROVIDER.install_default().is_err() {
            tracing::error!("another provider of cryptography for JWTs is installed; sessions may not work");
        }
    });
}

struct Ed25519Signer(SigningKey);

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, ed25519_dalek::SignatureError> {
        Ok(self.0.try_sign(message)?.to_bytes().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(VerifyingKey);

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), ed25519_dalek::SignatureError> {
        self.0.verify_strict(message, &Signature::from_slice(signature)?)
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const NOW_MS: i64 = 1_790_000_000_000;

    #[test]
    fn a_token_is_good_for_ten_minutes_and_at_home_only() {
        let tokens = AccessTokens::new(&RootSecret::new([1; 32]));
        let token = tokens.issue("usr_1", "ses_1", NOW_MS).unwrap();
        let claims = tokens.verify(token.expose(), NOW_MS).unwrap();
        assert_eq!((claims.sub.as_str(), claims.sid.as_str()), ("usr_1", "ses_1"));
        assert!(tokens.verify(token.expose(), NOW_MS + 599_000).is_some());
        assert!(tokens.verify(token.expose(), NOW_MS + 600_000).is_none());
        let elsewhere = AccessTokens::new(&RootSecret::new([2; 32]));
        assert!(elsewhere.verify(token.expose(), NOW_MS).is_none());
    }

    #[test]
    fn forgeries_are_refused() {
        let tokens = AccessTokens::new(&RootSecret::new([1; 32]));
        let token = tokens.issue("usr_1", "ses_1", NOW_MS).unwrap();
        let parts: Vec<&str> = token.expose().split('.').collect();
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let other_claims =
            String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap().replace("usr_1", "usr_2");
        let none = encode(r#"{"alg":"none","typ":"JWT"}"#);
        let hmac = encode(r#"{"alg":"HS256","typ":"JWT"}"#);
        for forged in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{}.{}.{}", parts[0], encode(&other_claims), parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{hmac}.{}.{}", parts[1], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
        ] {
            assert_eq!(tokens.verify(&forged, NOW_MS), None, "{forged}");
        }
    }
}
