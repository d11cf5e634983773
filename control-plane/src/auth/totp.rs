//! Time-based one-time passwords: RFC 6238 with HMAC-SHA-1, six digits and 30 seconds, which is what every app knows.

use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::root::RootSecret;
use crate::secret::Secret;

/// How long a code is shown, in ms.
const STEP_MS: i64 = 30_000;
const DIGITS: usize = 6;
/// Codes of so many steps before and after now are good, too, for clocks that differ and fingers that are slow.
const SKEW_STEPS: i64 = 1;
/// RFC 4226 asks for 160 bits.
const SECRET_BYTES: usize = 20;
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// Codes that stand in for a lost telephone.
pub(crate) const RECOVERY_CODES: u32 = 8;
/// 50 bits: at 288 guesses a day nobody finds one.
const RECOVERY_CHARS: usize = 10;

/// An account's second factor. Never stored: it follows from the root secret and a nonce.
pub(crate) struct Totp {
    secret: Zeroizing<[u8; 32]>,
    recovery: Zeroizing<Vec<u8>>,
}

impl Totp {
    pub(crate) fn derive(root: &RootSecret, user_id: &str, nonce: &str) -> Self {
        let context = format!("{user_id}\0{nonce}");
        let recovery = (0..RECOVERY_CODES).flat_map(|number| {
            let bytes = root.derive("recovery code", format!("{context}\0{number}").as_bytes());
            std::array::from_fn::<u8, RECOVERY_CHARS, _>(|at| BASE32[usize::from(bytes[at] & 31)])
        });
        Self { secret: root.derive("totp", context.as_bytes()), recovery: Zeroizing::new(recovery.collect()) }
    }

    fn secret(&self) -> &[u8] {
        &self.secret[..SECRET_BYTES]
    }

    /// The secret in Base32, for typing it into an app.
    pub(crate) fn expose_base32(&self) -> Secret {
        // 20 bytes are 32 characters without padding.
        let characters = self.secret().as_chunks::<5>().0.iter().flat_map(|group| {
            let bits = group.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
            (0..8).rev().map(move |at| char::from(BASE32[(bits >> (5 * at) & 31) as usize]))
        });
        Secret::new(characters.collect())
    }

    /// The step at which `code` is the one to show, if it is one of the steps around `now_ms` and later than `after_step`.
    pub(crate) fn matching_step(&self, code: &str, now_ms: i64, after_step: i64) -> Option<i64> {
        let now = now_ms.div_euclid(STEP_MS);
        let mut found = None;
        // All of them are computed and compared, whichever it is.
        for step in now - SKEW_STEPS..=now + SKEW_STEPS {
            let good = bool::from(code_at(self.secret(), step).as_slice().ct_eq(code.as_bytes()));
            if good && step > after_step {
                found = Some(step);
            }
        }
        found
    }

    /// The recovery codes, to be shown once.
    pub(crate) fn expose_recovery_codes(&self) -> Vec<Secret> {
        let codes = self.recovery.chunks(RECOVERY_CHARS);
        codes.map(|code| Secret::new(code.iter().copied().map(char::from).collect())).collect()
    }

    /// Which recovery code `code` is. However it is written: letters count the same, and only letters and digits count.
    pub(crate) fn matching_recovery_code(&self, code: &str) -> Option<u32> {
        let typed: Zeroizing<Vec<u8>> = Zeroizing::new(
            code.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_uppercase()).collect(),
        );
        let mut found = None;
        for (number, code) in (0..).zip(self.recovery.chunks(RECOVERY_CHARS)) {
            if bool::from(code.ct_eq(&typed)) {
                found = Some(number);
            }
        }
        found
    }

    /// The code shown at `now_ms`.
    #[cfg(test)]
    pub(crate) fn code(&self, now_ms: i64) -> String {
        code_at(self.secret(), now_ms.div_euclid(STEP_MS)).iter().copied().map(char::from).collect()
    }
}

/// RFC 4226, 5.3.
fn code_at(secret: &[u8], step: i64) -> [u8; DIGITS] {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("any length");
    mac.update(&step.to_be_bytes());
    let hash: [u8; 20] = mac.finalize().into_bytes().into();
    let at = usize::from(hash[19] & 15);
    let mut rest = u32::from_be_bytes([hash[at] & 0x7f, hash[at + 1], hash[at + 2], hash[at + 3]]);
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, the last six of its eight digits.
        let secret = b"12345678901234567890";
        for (time_s, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code_at(secret, time_s / 30).as_slice(), code.as_bytes(), "{time_s}");
        }
    }

    #[test]
    fn a_code_is_good_around_its_time_and_once() {
        let totp = Totp::derive(&RootSecret::new([1; 32]), "usr_1", "nonce");
        let now = 1_790_000_000_000;
        let code = totp.code(now);
        let step = now / STEP_MS;
        for offset in [-STEP_MS, 0, STEP_MS] {
            assert_eq!(totp.matching_step(&code, now + offset, 0), Some(step), "{offset}");
        }
        for offset in [-2 * STEP_MS, 2 * STEP_MS] {
            assert_eq!(totp.matching_step(&code, now + offset, 0), None, "{offset}");
        }
        assert_eq!(totp.matching_step(&code, now, step), None, "used already");
        for bad in ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦"] {
            assert_eq!(totp.matching_step(bad, now, 0), None, "{bad}");
        }
    }

    #[test]
    fn the_text_for_apps_is_base32_of_160_bits() {
        let secret = Zeroizing::new(*b"12345678901234567890............");
        let totp = Totp { secret, recovery: Zeroizing::default() };
        assert_eq!(totp.expose_base32().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    }

    #[test]
    fn recovery_codes_differ_and_are_found_however_they_are_typed() {
        let totp = Totp::derive(&RootSecret::new([1; 32]), "usr_1", "nonce");
        let codes = totp.expose_recovery_codes();
        assert_eq!(codes.len(), 8);
        for (number, code) in (0..).zip(&codes) {
            let text = code.expose();
            assert_eq!(totp.matching_recovery_code(text), Some(number));
            let (one, other) = text.split_at(5);
            assert_eq!(
                totp.matching_recovery_code(&format!(" {one}-{} ", other.to_lowercase())),
                Some(number)
            );
            assert_eq!(totp.matching_recovery_code(one), None);
        }
        let next = Totp::derive(&RootSecret::new([1; 32]), "usr_1", "another");
        assert_eq!(next.matching_recovery_code(codes[0].expose()), None);
        assert_eq!(totp.matching_recovery_code(""), None);
    }

    #[test]
    fn accounts_and_nonces_have_secrets_of_their_own() {
        let root = RootSecret::new([1; 32]);
        let codes = [("a", "1"), ("b", "1"), ("a", "2")]
            .map(|(user, nonce)| Totp::derive(&root, user, nonce).expose_base32().expose().to_owned());
        assert!(codes[0] != codes[1] && codes[0] != codes[2] && codes[1] != codes[2]);
    }
}
