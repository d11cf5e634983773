//! The document's first line: format version and signature.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::DirectoryError;
use crate::limits::MAX_DIRECTORY_BYTES;

/// Of the version that is written.
const MAGIC: &str = "farwatch-directory 2";
/// Of the version before, which is still read.
const MAGIC_1: &str = "farwatch-directory 1";
/// Base64 of 64 bytes.
const SIGNATURE_CHARS: usize = 88;
const HEADER_BYTES: usize = MAGIC.len() + 1 + SIGNATURE_CHARS + 1;

/// The publisher's private key: a secret. `Debug` shows only the public half.
pub struct DirectorySigner(SigningKey);

/// The publisher's public key, by which readers know its documents.
#[derive(Clone)]
pub struct DirectoryVerifier(VerifyingKey);

impl DirectorySigner {
    /// A new key.
    #[must_use]
    pub fn generate(rng: &mut (impl CryptoRng + ?Sized)) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The key with this seed ([`DirectorySigner::expose_seed`]).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The secret seed, to be stored where only the publisher reads it.
    #[must_use]
    pub fn expose_seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> DirectoryVerifier {
        DirectoryVerifier(self.0.verifying_key())
    }

    pub(crate) fn sign_bytes(&self, bytes: &[u8]) -> [u8; 64] {
        self.0.sign(bytes).to_bytes()
    }

    pub(super) fn sign(&self, json: &[u8]) -> Vec<u8> {
        let signature = STANDARD.encode(self.0.sign(&signed_message(MAGIC, json)).to_bytes());
        let mut published = format!("{MAGIC} {signature}\n").into_bytes();
        published.extend_from_slice(json);
        published
    }
}

impl fmt::Debug for DirectorySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectorySigner(…, {:?})", self.verifier())
    }
}

impl DirectoryVerifier {
    /// The public key in these bytes; `None` when they are no point of the curve.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 32]) -> Option<Self> {
        VerifyingKey::from_bytes(bytes).ok().map(Self)
    }

    pub(crate) fn is_signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.0.verify_strict(bytes, &signature).is_ok())
    }

    /// The public key's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }
}

impl fmt::Debug for DirectoryVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DirectoryVerifier({})", STANDARD.encode(self.to_bytes()))
    }
}

/// The JSON of a published document, once its signature was found good.
pub(super) fn verified_payload<'a>(
    published: &'a [u8],
    verifier: &DirectoryVerifier,
) -> Result<&'a [u8], DirectoryError> {
    if published.len() > MAX_DIRECTORY_BYTES {
        return Err(DirectoryError::TooLarge(published.len()));
    }
    let (header, json) = published.split_at_checked(HEADER_BYTES).ok_or(DirectoryError::Header)?;
    let magic = [MAGIC, MAGIC_1].into_iter().find(|magic| header.starts_with(magic.as_bytes()));
    let magic = magic.ok_or(DirectoryError::Header)?;
    let signature = header[magic.len()..]
        .strip_prefix(b" ")
        .and_then(|rest| rest.strip_suffix(b"\n"))
        .ok_or(DirectoryError::Header)?;
    let signature = STANDARD.decode(signature).map_err(|_| DirectoryError::Header)?;
    let signature = Signature::from_slice(&signature).map_err(|_| DirectoryError::Header)?;
    // Strict: no signature that only some implementations take.
    verifier
        .0
        .verify_strict(&signed_message(magic, json), &signature)
        .map_err(|_| DirectoryError::Signature)?;
    Ok(json)
}

fn signed_message(magic: &str, json: &[u8]) -> Vec<u8> {
    [magic.as_bytes(), b"\n", json].concat()
}
