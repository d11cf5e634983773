//! Tokens between the services of a cell: JWTs (RFC 7519) with Ed25519, good for a minute.
//!
//! They are signed with the key that signs the tenant directory, which every service of a cell has in its data directory. What
//! is signed here begins with `ey` and there with `farwatch-directory`, so neither is worth anything in the other's place.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::directory::{DirectorySigner, DirectoryVerifier};
use crate::limits::{MAX_SERVICE_TOKEN_BYTES, SERVICE_TOKEN_LIFE_S, SERVICE_TOKEN_SLACK_S};

/// The one header there is: nobody chooses another algorithm.
const HEADER: &str = r#"{"alg":"EdDSA","typ":"JWT"}"#;
const ISSUER: &str = "farwatch-service";
const AUDIENCE: &str = "farwatch-leases";

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    /// The process.
    sub: String,
    /// Seconds since the Unix epoch.
    iat: i64,
    /// Seconds since the Unix epoch.
    exp: i64,
}

/// A token of `process`, good for [`SERVICE_TOKEN_LIFE_S`] from `now_ms` on (milliseconds since the Unix epoch).
#[must_use]
pub fn issue(signer: &DirectorySigner, process: &str, now_ms: i64) -> String {
    let iat = now_ms.div_euclid(1000);
    let claims = Claims {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: process.to_owned(),
        iat,
        exp: iat.saturating_add(SERVICE_TOKEN_LIFE_S),
    };
    // Text and numbers always are JSON.
    let claims = serde_json::to_vec(&claims).unwrap_or_default();
    let mut token = URL_SAFE_NO_PAD.encode(HEADER);
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(claims, &mut token);
    let signature = signer.sign_bytes(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}

/// The process whose token this is, if it is one of this cell's and good at `now_ms`.
#[must_use]
pub fn verify(verifier: &DirectoryVerifier, token: &str, now_ms: i64) -> Option<String> {
    if token.len() > MAX_SERVICE_TOKEN_BYTES {
        return None;
    }
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    if !verifier.is_signed(signed.as_bytes(), &signature)
        || URL_SAFE_NO_PAD.decode(header).ok()? != HEADER.as_bytes()
    {
        return None;
    }
    let claims: Claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let now_s = now_ms.div_euclid(1000);
    let good = claims.iss == ISSUER
        && claims.aud == AUDIENCE
        && now_s < claims.exp
        && claims.iat <= now_s.saturating_add(SERVICE_TOKEN_SLACK_S)
        && claims.exp.saturating_sub(claims.iat) <= SERVICE_TOKEN_LIFE_S;
    good.then_some(claims.sub)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_790_000_000_000;

    #[test]
    fn a_token_is_good_for_a_minute_in_its_cell() {
        let signer = DirectorySigner::from_seed(&[1; 32]);
        let token = issue(&signer, "ingest-1", NOW_MS);
        let at = |after_ms| verify(&signer.verifier(), &token, NOW_MS + after_ms);
        assert_eq!(at(0).as_deref(), Some("ingest-1"));
        assert!(at(59_999).is_some() && at(60_000).is_none());
        assert!(at(-29_000).is_some() && at(-40_000).is_none(), "clocks differ, but not by so much");
        let other = DirectorySigner::from_seed(&[2; 32]).verifier();
        assert_eq!(verify(&other, &token, NOW_MS), None);
        assert!(token.starts_with("eyJ"), "no directory begins so");
    }

    #[test]
    fn forgeries_are_refused() {
        let signer = DirectorySigner::from_seed(&[1; 32]);
        let token = issue(&signer, "ingest-1", NOW_MS);
        let parts: Vec<&str> = token.split('.').collect();
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let signed = |header: &str, claims: &str| {
            let text = format!("{}.{}", encode(header), encode(claims));
            format!("{text}.{}", URL_SAFE_NO_PAD.encode(signer.sign_bytes(text.as_bytes())))
        };
        let now_s = NOW_MS / 1000;
        let claims = |iss: &str, aud: &str, exp: i64| {
            format!(r#"{{"iss":"{iss}","aud":"{aud}","sub":"x","iat":{now_s},"exp":{exp}}}"#)
        };
        let (good, long) = (claims(ISSUER, AUDIENCE, now_s + 60), claims(ISSUER, AUDIENCE, now_s + 61));
        assert!(verify(&signer.verifier(), &signed(HEADER, &good), NOW_MS).is_some());
        for forged in [
            String::new(),
            "a.b.c".to_owned(),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}.{}", parts[0], encode(&good), parts[2]),
            format!("{}.{}.{}", encode(r#"{"alg":"none"}"#), parts[1], parts[2]),
            signed(r#"{"alg":"none","typ":"JWT"}"#, &good),
            signed(HEADER, &long),
            signed(HEADER, &claims("farwatch", AUDIENCE, now_s + 60)),
            signed(HEADER, &claims(ISSUER, "control-plane", now_s + 60)),
            signed(HEADER, "{}"),
            "x".repeat(100_000),
        ] {
            assert_eq!(verify(&signer.verifier(), &forged, NOW_MS), None, "{forged}");
        }
    }
}
