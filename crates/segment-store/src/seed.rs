//! Randomness, injected: every generator starts from a [`Seed`] that its owner was given.

use std::fmt;

use rand::SeedableRng;
use rand::TryRngCore;
use rand_chacha::ChaCha8Rng;

/// What a generator starts from. Two writers must never share one: their keys and put-ids would be the same, and one
/// could take the other's object for its own. So it is as wide as a key, and comes from the operating system in production.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from the operating system.
    ///
    /// # Errors
    /// When the operating system gives no randomness: a process cannot start without it.
    pub fn from_os() -> Result<Self, std::io::Error> {
        let mut bytes = [0; 32];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(bytes))
    }

    /// The seed of this number, for tests and simulations that must be repeatable.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        Self(bytes)
    }

    /// The generator that starts here. Equal seeds give equal streams on every machine.
    #[must_use]
    pub fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::from_seed(self.0)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}
