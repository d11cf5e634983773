//! Passwords at rest: Argon2id, in PHC format, so that a later cost can stand beside today's.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};

use crate::limits::{MAX_PASSWORD_BYTES, MIN_PASSWORD_BYTES};
use crate::secret::Secret;

/// What one hash costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// Memory in KiB, at least 8.
    pub memory_kib: u32,
    /// Passes over it, at least 1.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// OWASP's recommendation: 19 MiB, two passes.
    fn default() -> Self {
        Self { memory_kib: Params::DEFAULT_M_COST, passes: Params::DEFAULT_T_COST }
    }
}

/// The cost is out of Argon2's range, or hashing failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot hash a password")]
pub(crate) struct HashError;

/// Hashes and verifies. Each call takes a core for tens of milliseconds: not for threads that serve requests.
#[derive(Clone, Debug)]
pub(crate) struct PasswordHasher {
    argon2: Argon2<'static>,
    /// Verified in the place of the hash that nobody has, so that an unknown account takes as long as a known one.
    nobody: String,
}

impl PasswordHasher {
    pub(crate) fn new(cost: PasswordCost, salt: [u8; 16]) -> Result<Self, HashError> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(|_| HashError)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let nobody = argon2.hash_password_with_salt(b"", &salt).map_err(|_| HashError)?.to_string();
        Ok(Self { argon2, nobody })
    }

    pub(crate) fn hash(&self, password: &Secret, salt: [u8; 16]) -> Result<String, HashError> {
        let hash = self.argon2.hash_password_with_salt(password.expose().as_bytes(), &salt);
        hash.map(|hash| hash.to_string()).map_err(|_| HashError)
    }

    /// Whether `password` is the one behind `hash`. Without a hash there is the same work, and `false`.
    pub(crate) fn verify(&self, password: &Secret, hash: Option<&str>) -> bool {
        let Ok(parsed) = PasswordHash::new(hash.unwrap_or(&self.nobody)) else {
            return false;
        };
        let matches = self.argon2.verify_password(password.expose().as_bytes(), &parsed).is_ok();
        matches && hash.is_some()
    }
}

/// What is wrong with a new password, in words for its owner.
pub(crate) fn weakness(password: &Secret, email: &str) -> Option<String> {
    let text = password.expose();
    if !(MIN_PASSWORD_BYTES..=MAX_PASSWORD_BYTES).contains(&text.len()) {
        return Some(format!("has {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes"));
    }
    if text.eq_ignore_ascii_case(email) {
        return Some("is not the e-mail address".to_owned());
    }
    let first = text.as_bytes()[0];
    if text.bytes().all(|byte| byte == first) {
        return Some("is not one character repeated".to_owned());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn only_the_password_itself_is_good() {
        let hasher = PasswordHasher::new(PasswordCost { memory_kib: 8, passes: 1 }, [1; 16]).unwrap();
        let hash = hasher.hash(&secret("correct horse"), [2; 16]).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert!(hasher.verify(&secret("correct horse"), Some(&hash)));
        assert!(!hasher.verify(&secret("correct house"), Some(&hash)));
        assert!(!hasher.verify(&secret("correct horse"), None));
        assert!(!hasher.verify(&secret(""), None), "nobody's password is nobody's");
        assert!(!hasher.verify(&secret("correct horse"), Some("not a hash")));
        // A hash that was made at another cost stays good.
        let dearer = PasswordHasher::new(PasswordCost { memory_kib: 16, passes: 2 }, [1; 16]).unwrap();
        assert!(dearer.verify(&secret("correct horse"), Some(&hash)));
    }

    #[test]
    fn the_default_cost_is_what_owasp_recommends() {
        assert_eq!(PasswordCost::default(), PasswordCost { memory_kib: 19 * 1024, passes: 2 });
    }

    #[test]
    fn weak_passwords_are_named() {
        for weak in ["short", "aaaaaaaaaaaaaa", "ada@example.com", "ADA@example.com", &"x y".repeat(100)] {
            assert!(weakness(&secret(weak), "ada@example.com").is_some(), "{weak}");
        }
        assert_eq!(weakness(&secret("correct horse"), "ada@example.com"), None);
    }
}
