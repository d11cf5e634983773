//! Which tenants have segments of their own, and which.

use std::collections::{BTreeMap, BTreeSet};

use telemetry::TenantId;

use crate::limits::LIST_PAGE_KEYS;
use crate::{Bucket, ObjectId, ReadError};

const PREFIX: &str = "t/";

/// The tenants that have objects of their own, by listing them.
///
/// # Errors
/// [`ReadError::Bucket`].
pub async fn list_tenants(bucket: &dyn Bucket) -> Result<BTreeSet<TenantId>, ReadError> {
    let mut tenants = BTreeSet::new();
    each_key(bucket, |key| {
        let tenant = key.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next());
        tenants.extend(tenant.and_then(|tenant| TenantId::new(tenant).ok()));
    })
    .await?;
    Ok(tenants)
}

/// The tenants that have objects of their own, each with its segments.
pub(super) async fn list_segments(
    bucket: &dyn Bucket,
) -> Result<BTreeMap<TenantId, Vec<ObjectId>>, ReadError> {
    let mut tenants: BTreeMap<TenantId, Vec<ObjectId>> = BTreeMap::new();
    each_key(bucket, |key| {
        let Some((tenant, name)) = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/')) else {
            return;
        };
        let Ok(tenant) = TenantId::new(tenant) else { return };
        let id = name.rsplit('/').next().and_then(|name| name.parse::<ObjectId>().ok());
        tenants.entry(tenant).or_default().extend(id);
    })
    .await?;
    Ok(tenants)
}

async fn each_key(bucket: &dyn Bucket, mut hear: impl FnMut(&str)) -> Result<(), ReadError> {
    let mut after: Option<String> = None;
    loop {
        let page = bucket.list(PREFIX, after.as_deref(), LIST_PAGE_KEYS).await?;
        page.objects.iter().for_each(|object| hear(&object.key));
        match page.objects.into_iter().next_back() {
            Some(last) if page.truncated => after = Some(last.key),
            _ => return Ok(()),
        }
    }
}
