//! The limits of tenants: what their organisation's plan says, and what they set themselves below its ceiling.

pub(crate) mod plan;

use std::collections::BTreeMap;

use serde_json::json;
use tenancy::Limits;
use tenancy::limits::{BURST_SECONDS, MAX_RATE};

use super::App;
use super::access::Actor;
use crate::db::change::{Entry, Scope};
use crate::db::quotas::{self, OverrideRow};
use crate::db::{members, organisations, tenants};
use crate::error::AppError;
use crate::limits::LIMIT_NOTICE_PAUSE_MS;
use crate::ports::LimitNear;
use crate::role::{Permission, Role};
use plan::{Plan, QuotaName};

/// One limit of a tenant. `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) name: QuotaName,
    /// What holds.
    pub(crate) value: Option<u64>,
    /// What the plan says where nothing is set.
    pub(crate) default: Option<u64>,
    /// The highest value that may be set.
    pub(crate) ceiling: Option<u64>,
    /// What is set.
    pub(crate) set: Option<u64>,
}

/// All limits of a tenant on this plan with these overrides.
pub(crate) fn quotas_of(plan: Plan, overrides: &BTreeMap<QuotaName, u64>) -> Vec<Quota> {
    let quotas = QuotaName::ALL.into_iter().map(|name| {
        let (default, ceiling) = (plan.default(name), plan.ceiling(name));
        let set = overrides.get(&name).copied();
        // After a change to a smaller plan, what was set may be above the ceiling.
        let held = set.map(|set| ceiling.map_or(set, |ceiling| set.min(ceiling)));
        Quota { name, value: held.or(default), default, ceiling, set }
    });
    quotas.collect()
}

/// The same as the data plane enforces them.
pub(crate) fn limits_of(plan: Plan, overrides: &BTreeMap<QuotaName, u64>) -> Limits {
    let mut limits = Limits::unlimited();
    for quota in quotas_of(plan, overrides) {
        let small = quota.value.map(|value| u32::try_from(value).unwrap_or(u32::MAX));
        match quota.name {
            QuotaName::SamplesPerSecond => {
                limits.samples_per_second = small;
                if let Some(rate) = quota.value {
                    let burst = rate.saturating_mul(BURST_SECONDS).clamp(1, u64::from(MAX_RATE));
                    limits.samples_burst = u32::try_from(burst).unwrap_or(MAX_RATE);
                }
            }
            QuotaName::SpansPerSecond => limits.spans_per_second = small,
            QuotaName::BytesPerDay => limits.bytes_per_day = quota.value,
            QuotaName::ActiveSeries => limits.active_series = quota.value,
            QuotaName::SeriesPerMetric => limits.series_per_metric = quota.value,
            QuotaName::QueryConcurrency => limits.query_concurrency = small,
            QuotaName::QueryBytes => limits.query_bytes = quota.value,
        }
    }
    limits
}

/// Overrides as the database has them. Names that this version does not know are left alone.
pub(crate) fn overrides_of<'a>(rows: impl IntoIterator<Item = &'a OverrideRow>) -> BTreeMap<QuotaName, u64> {
    let known = rows
        .into_iter()
        .filter_map(|row| Some((QuotaName::parse(&row.name)?, u64::try_from(row.value).ok()?)));
    known.collect()
}

impl App {
    /// The limits of a tenant, and its organisation's plan.
    pub(crate) async fn quotas(
        &self,
        actor: &Actor,
        tenant_id: &str,
    ) -> Result<(Plan, Vec<Quota>), AppError> {
        let tenant = self.tenant_for(actor, tenant_id, Permission::ReadQuotas).await?;
        let plan = self.plan_of(&tenant.organisation_id).await?;
        let rows = quotas::of_tenant(self.db.pool(), tenant_id).await?;
        Ok((plan, quotas_of(plan, &overrides_of(&rows))))
    }

    /// Sets a tenant's own limits, all at once: what is not named is what the plan says.
    pub(crate) async fn set_quotas(
        &self,
        actor: &Actor,
        tenant_id: &str,
        overrides: &BTreeMap<QuotaName, u64>,
    ) -> Result<(), AppError> {
        let (mut change, tenant) = self.change_tenant(actor, tenant_id, Permission::ManageQuotas).await?;
        let organisation = organisations::by_id(change.conn(), &tenant.organisation_id).await?;
        let plan = plan_named(&organisation.ok_or(AppError::NotFound("tenant"))?.plan)?;
        for (name, value) in overrides {
            let ceiling = plan.ceiling(*name).unwrap_or(i64::MAX as u64);
            if *value > ceiling {
                let name = name.as_str();
                return Err(AppError::invalid(
                    name,
                    format!("is {ceiling} at most on the plan {}", plan.as_str()),
                ));
            }
        }
        let rows: Vec<_> = overrides
            .iter()
            .map(|(name, value)| (name.as_str(), i64::try_from(*value).unwrap_or(i64::MAX)))
            .collect();
        quotas::replace(change.conn(), tenant_id, &rows).await?;
        let now_ms = self.now_ms();
        change.touch_directory(&self.random, now_ms).await?;
        let named: BTreeMap<&str, u64> =
            overrides.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let entry = Entry {
            at_ms: now_ms,
            actor: actor.name(),
            action: "quotas.set",
            subject: tenant_id,
            details: json!(named),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        self.directory_changed.notify_one();
        Ok(())
    }

    /// Tells who may change a tenant's limits that one is nearly reached, and that it is: each once in [`LIMIT_NOTICE_PAUSE_MS`].
    pub(super) async fn note_limit(&self, near: &LimitNear) -> Result<(), AppError> {
        let Some(name) = QuotaName::parse(&near.limit) else { return Ok(()) };
        let Some(tenant) = tenants::by_id(self.db.pool(), &near.tenant).await? else { return Ok(()) };
        let now_ms = self.now_ms();
        let is_reached = near.used >= near.allowed;
        let notice = if is_reached { format!("{} reached", name.as_str()) } else { name.as_str().to_owned() };
        let told = quotas::told_at(self.db.pool(), &tenant.id, &notice).await?;
        if told.is_some_and(|told| now_ms.saturating_sub(told) < LIMIT_NOTICE_PAUSE_MS) {
            return Ok(());
        }
        let mut change = self.db.change().await?;
        change.lock(Scope::Organisation(&tenant.organisation_id)).await?;
        quotas::note_told(change.conn(), &tenant.id, &notice, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: "operator".to_owned(),
            action: if is_reached { "quota.reached" } else { "quota.nearly_reached" },
            subject: &tenant.id,
            details: json!({ "name": name.as_str(), "limit": near.allowed, "used": near.used }),
        };
        change.commit(Scope::Organisation(&tenant.organisation_id), entry).await?;
        for member in members::all(self.db.pool(), &tenant.organisation_id).await? {
            if Role::parse(&member.role).is_some_and(|role| role.may(Permission::ManageQuotas)) {
                self.post.limit_near(&member.email, &tenant.name, name, near.used, near.allowed);
            }
        }
        Ok(())
    }

    async fn plan_of(&self, organisation_id: &str) -> Result<Plan, AppError> {
        let organisation = organisations::by_id(self.db.pool(), organisation_id).await?;
        plan_named(&organisation.ok_or(AppError::NotFound("tenant"))?.plan)
    }
}

fn plan_named(name: &str) -> Result<Plan, AppError> {
    Plan::parse(name).ok_or_else(|| {
        tracing::error!(plan = name, "an organisation has a plan that this version does not know");
        AppError::Internal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_holds_up_to_the_ceiling_and_the_plan_elsewhere() {
        let set = BTreeMap::from([
            (QuotaName::SamplesPerSecond, 500),
            (QuotaName::ActiveSeries, u64::MAX),
            (QuotaName::QueryConcurrency, 0),
        ]);
        let limits = limits_of(Plan::Free, &set);
        assert_eq!((limits.samples_per_second, limits.samples_burst), (Some(500), 5_000));
        assert_eq!(limits.active_series, Plan::Free.ceiling(QuotaName::ActiveSeries));
        assert_eq!(limits.query_concurrency, Some(0));
        assert_eq!(limits.query_bytes, Plan::Free.default(QuotaName::QueryBytes));
    }

    #[test]
    fn a_stopped_tenant_has_a_burst_that_the_directory_takes() {
        let limits = limits_of(Plan::Free, &BTreeMap::from([(QuotaName::SamplesPerSecond, 0)]));
        assert_eq!((limits.samples_per_second, limits.samples_burst), (Some(0), 1));
    }

    #[test]
    fn the_plan_without_limits_has_none() {
        assert_eq!(limits_of(Plan::Unlimited, &BTreeMap::new()), Limits::unlimited());
    }
}
