//! The one secret of a control plane.
//!
//! Whoever has the database has hashes only; what must be recoverable is derived from this secret, which is kept elsewhere.
//! All processes of one control plane share it. A new one ends all sessions and makes every second factor void.

use std::fmt;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// 256 bits that only the control plane knows.
#[derive(Clone)]
pub struct RootSecret(Zeroizing<[u8; 32]>);

impl RootSecret {
    /// Takes over the bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// HMAC-SHA256 of `purpose` and `context`: a secret of its own for each pair.
    pub(crate) fn derive(&self, purpose: &str, context: &[u8]) -> Zeroizing<[u8; 32]> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_slice()).expect("any length");
        mac.update(purpose.as_bytes());
        // No purpose has a zero byte: where one ends cannot be mistaken.
        mac.update(&[0]);
        mac.update(context);
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for RootSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RootSecret(…)")
    }
}
