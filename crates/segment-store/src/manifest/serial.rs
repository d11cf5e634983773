//! How types of other crates are written in a manifest.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use telemetry::{BatchCounts, TenantId};

fn parse<E: serde::de::Error>(text: &str) -> Result<TenantId, E> {
    TenantId::new(text).map_err(E::custom)
}

/// A tenant or none.
pub(super) mod optional_tenant {
    use super::*;

    pub(in crate::manifest) fn serialize<S: Serializer>(
        tenant: &Option<TenantId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        tenant.as_ref().map(TenantId::as_str).serialize(serializer)
    }

    pub(in crate::manifest) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<TenantId>, D::Error> {
        let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
        text.map(|text| parse(&text)).transpose()
    }
}

/// Tenants.
pub(super) mod tenants {
    use super::*;

    pub(in crate::manifest) fn serialize<S: Serializer>(
        tenants: &BTreeSet<TenantId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(tenants.iter().map(TenantId::as_str))
    }

    pub(in crate::manifest) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeSet<TenantId>, D::Error> {
        let texts = Vec::<Cow<'de, str>>::deserialize(deserializer)?;
        let count = texts.len();
        let tenants: BTreeSet<TenantId> = texts.iter().map(|text| parse(text)).collect::<Result<_, _>>()?;
        if tenants.len() < count {
            return Err(D::Error::custom("a tenant twice"));
        }
        Ok(tenants)
    }
}

/// [`BatchCounts`], field by field.
#[derive(Serialize, Deserialize)]
#[serde(remote = "BatchCounts", deny_unknown_fields)]
pub(super) struct Counts {
    series: u64,
    samples: u64,
    exemplars: u64,
}
