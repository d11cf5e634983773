//! Randomness, injected.

use std::fmt;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// Base 32 without letters that look like digits; lower case, so that ids can be a part of a tenant's object keys.
const ID_ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 20 characters are 100 bits: nobody guesses one, and two never meet.
const ID_CHARS: usize = 20;

/// A cryptographic generator that is shared by all requests.
pub(crate) struct Random(Mutex<StdRng>);

impl Random {
    pub(crate) fn from_seed(seed: [u8; 32]) -> Self {
        Self(Mutex::new(StdRng::from_seed(seed)))
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.lock().fill_bytes(&mut bytes);
        bytes
    }

    /// An id such as `org_4c90gbrkq1za…`.
    pub(crate) fn id(&self, kind: &str) -> String {
        let mut id = String::with_capacity(kind.len() + 1 + ID_CHARS);
        id.push_str(kind);
        id.push('_');
        id.extend(self.bytes::<ID_CHARS>().map(|byte| char::from(ID_ALPHABET[usize::from(byte & 31)])));
        id
    }

    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut StdRng) -> R) -> R {
        work(&mut self.0.lock())
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(…)")
    }
}
