//! E-mail addresses.

use crate::error::AppError;
use crate::limits::MAX_EMAIL_BYTES;

/// The form in which an address is kept and compared: lower case, since no provider in use tells cases apart and people do
/// not remember them. Whether mail arrives there, only a mail can say; what is checked is that nothing else is in the field.
pub(crate) fn normalised(text: &str) -> Result<String, AppError> {
    let email = text.trim().to_lowercase();
    let parts = email.rsplit_once('@');
    let good = email.len() <= MAX_EMAIL_BYTES
        && email.chars().all(|character| !character.is_whitespace() && !character.is_control())
        && !email.contains([',', ';', '<', '>', '"', '(', ')', '[', ']', '\\', ':'])
        && parts.is_some_and(|(local, domain)| {
            let dotted = domain.contains('.') || domain == "localhost";
            !local.is_empty()
                && !local.contains('@')
                && dotted
                && domain.split('.').all(|label| !label.is_empty())
        });
    if good {
        Ok(email)
    } else {
        Err(AppError::invalid("email", "is an e-mail address such as ada@example.com"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_is_none() {
        assert_eq!(normalised(" Ada.L+x@Example.COM ").unwrap(), "ada.l+x@example.com");
        assert_eq!(normalised("root@localhost").unwrap(), "root@localhost");
        let long = format!("{}@example.com", "a".repeat(250));
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "ada@example",
            "a@b@example.com",
            "a b@example.com",
            "a@.com",
            "a@com.",
            "ada@example.com\nBcc: x@example.com",
            "a,b@example.com",
            "<a@example.com>",
            &long,
        ] {
            assert!(normalised(bad).is_err(), "{bad}");
        }
    }
}
