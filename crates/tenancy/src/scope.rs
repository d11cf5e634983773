//! Scopes: what a key allows.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One thing a key may allow. Scopes are independent: [`Scope::Admin`] does not include reading or writing data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    /// Send metrics.
    #[serde(rename = "metrics:write")]
    MetricsWrite,
    /// Query metrics.
    #[serde(rename = "metrics:read")]
    MetricsRead,
    /// Send traces.
    #[serde(rename = "traces:write")]
    TracesWrite,
    /// Query traces.
    #[serde(rename = "traces:read")]
    TracesRead,
    /// Manage the tenant's keys, limits and account.
    #[serde(rename = "admin")]
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] =
        [Self::MetricsWrite, Self::MetricsRead, Self::TracesWrite, Self::TracesRead, Self::Admin];

    /// The name in the directory and in messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MetricsWrite => "metrics:write",
            Self::MetricsRead => "metrics:read",
            Self::TracesWrite => "traces:write",
            Self::TracesRead => "traces:read",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Reading and writing of every signal, without [`Scope::Admin`].
    pub const DATA: Self = Self(
        Scope::MetricsWrite.bit()
            | Scope::MetricsRead.bit()
            | Scope::TracesWrite.bit()
            | Scope::TracesRead.bit(),
    );

    /// Whether `scope` is in the set.
    #[must_use]
    pub const fn allows(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// The scopes in the set, in the order of [`Scope::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.allows(*scope))
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl fmt::Debug for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Scope::as_str)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_allows_its_members_and_nothing_else() {
        for scope in Scope::ALL {
            let alone: Scopes = [scope].into_iter().collect();
            assert_eq!(alone.iter().collect::<Vec<_>>(), [scope]);
        }
        assert!(!Scopes::DATA.allows(Scope::Admin));
        assert!(!Scopes::default().allows(Scope::MetricsRead));
    }

    #[test]
    fn persisted_names_are_the_displayed_ones() {
        for scope in Scope::ALL {
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
    }
}
