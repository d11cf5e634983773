//! What a member of an organisation may do.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A member's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, the owners among it. An organisation has one at least.
    Owner,
    /// Everything but owners, money, and who has to do with it.
    Admin,
    /// Makes and revokes API keys, but for those that administer.
    Member,
    /// Sees and settles bills, sets the spend limit; sees no keys.
    Billing,
    /// Looks on.
    Viewer,
}

/// One thing a role may allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Permission {
    /// See the organisation, its members' roles and its tenants.
    ReadOrganisation,
    /// Rename the organisation.
    ManageOrganisation,
    /// Invite, remove, and give the roles that not only owners give.
    ManageMembers,
    /// Make, rename and delete tenants.
    ManageTenants,
    /// List a tenant's API keys.
    ReadKeys,
    /// Make, rotate and revoke a tenant's API keys; for those with the scope `admin` that takes [`Self::ManageQuotas`].
    ManageKeys,
    /// See a tenant's limits.
    ReadQuotas,
    /// Change a tenant's limits.
    ManageQuotas,
    /// See how much was written.
    ReadUsage,
    /// See what is spent, invoices, and the spend limit.
    ReadBilling,
    /// Set the spend limit, and pay.
    ManageBilling,
    /// Read the audit log.
    ReadAudit,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Owner, Self::Admin, Self::Member, Self::Billing, Self::Viewer];

    /// The name in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Billing => "billing",
            Self::Viewer => "viewer",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }

    /// Whether only an owner gives or takes it: an admin may not settle bills, nor get there by way of another's role.
    pub(crate) const fn is_owners_to_give(self) -> bool {
        matches!(self, Self::Owner | Self::Billing)
    }

    pub(crate) const fn may(self, permission: Permission) -> bool {
        use Permission as P;
        match self {
            Self::Owner => true,
            Self::Admin => !matches!(permission, P::ManageBilling),
            Self::Member => {
                matches!(
                    permission,
                    P::ReadOrganisation | P::ReadKeys | P::ManageKeys | P::ReadQuotas | P::ReadUsage
                )
            }
            Self::Billing => {
                matches!(
                    permission,
                    P::ReadOrganisation | P::ReadQuotas | P::ReadUsage | P::ReadBilling | P::ManageBilling
                )
            }
            Self::Viewer => {
                matches!(permission, P::ReadOrganisation | P::ReadKeys | P::ReadQuotas | P::ReadUsage)
            }
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Permission {
    /// What an API key with the scope `admin` may do, for its own tenant.
    pub(crate) const fn is_for_admin_keys(self) -> bool {
        matches!(
            self,
            Self::ReadKeys | Self::ManageKeys | Self::ReadQuotas | Self::ManageQuotas | Self::ReadUsage
        )
    }

    /// The roles that allow it, for who lacks one.
    pub(crate) fn roles(self) -> String {
        let names: Vec<&str> =
            Role::ALL.into_iter().filter(|role| role.may(self)).map(Role::as_str).collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_database_are_those_in_the_api() {
        for role in Role::ALL {
            assert_eq!(serde_json::to_value(role).unwrap(), role.as_str());
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Owner"), None);
    }

    #[test]
    fn money_is_for_owners_and_billing_only_and_keys_not_for_billing() {
        assert_eq!(Permission::ManageBilling.roles(), "owner, billing");
        assert_eq!(Permission::ManageKeys.roles(), "owner, admin, member");
        assert_eq!(Permission::ReadKeys.roles(), "owner, admin, member, viewer");
        assert_eq!(Permission::ManageMembers.roles(), "owner, admin");
        assert_eq!(Permission::ReadAudit.roles(), "owner, admin");
    }
}
