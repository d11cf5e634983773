//! Which tenants have segments of their own.

use std::collections::BTreeSet;

use telemetry::TenantId;

use crate::limits::LIST_PAGE_KEYS;
use crate::{Bucket, ReadError};

/// The tenants that have objects of their own, by listing them.
///
/// # Errors
/// [`ReadError::Bucket`].
pub async fn list_tenants(bucket: &dyn Bucket) -> Result<BTreeSet<TenantId>, ReadError> {
    const PREFIX: &str = "t/";
    let mut tenants = BTreeSet::new();
    let mut after: Option<String> = None;
    loop {
        let page = bucket.list(PREFIX, after.as_deref(), LIST_PAGE_KEYS).await?;
        for object in &page.objects {
            let tenant = object.key.strip_prefix(PREFIX).and_then(|rest| rest.split('/').next());
            tenants.extend(tenant.and_then(|tenant| TenantId::new(tenant).ok()));
        }
        match page.objects.into_iter().next_back() {
            Some(last) if page.truncated => after = Some(last.key),
            _ => return Ok(tenants),
        }
    }
}
