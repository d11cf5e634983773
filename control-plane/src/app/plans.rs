//! Price plans: their versions, and which one an organisation is on.

use serde_json::json;

use super::App;
use super::access::Actor;
use super::quotas::plan::Plan;
use crate::billing::{Currency, Meter, MeterPrice, PlanVersion, Term, Tier};
use crate::db::change::{Entry, Scope};
use crate::db::{DbError, organisations, plans};
use crate::error::AppError;
use crate::role::Permission;

/// The prices that a new control plane begins with. The operator adds versions.
pub(crate) fn built_in() -> Vec<PlanVersion> {
    let free_of_charge = |plan: Plan| PlanVersion {
        plan: plan.as_str().to_owned(),
        version: 1,
        currency: Currency::Usd,
        effective_from_s: 0,
        base_fee_micros: 0,
        minimum_micros: 0,
        // A price of zero, so that an invoice shows what was used.
        prices: Meter::ALL.map(|meter| tiered(meter, &[], 0)).to_vec(),
    };
    let team = PlanVersion {
        prices: vec![
            tiered(Meter::Samples, &[(100_000_000, 0), (10_000_000_000, 80_000)], 50_000),
            tiered(Meter::Spans, &[(10_000_000, 0), (1_000_000_000, 400_000)], 250_000),
        ],
        ..free_of_charge(Plan::Team)
    };
    vec![free_of_charge(Plan::Free), team, free_of_charge(Plan::Unlimited)]
}

/// Prices of a million in micro-units: of each tier with an end, and of the last one.
fn tiered(meter: Meter, tiers: &[(u64, u64)], last_micros: u64) -> MeterPrice {
    let tier = |up_to, price_micros| Tier { up_to, price_micros, per: 1_000_000 };
    let ended = tiers.iter().map(|(up_to, price_micros)| tier(Some(*up_to), *price_micros));
    MeterPrice { meter, tiers: ended.chain([tier(None, last_micros)]).collect() }
}

impl App {
    /// Makes the plans that there are from the beginning. Doing it again does nothing.
    pub(crate) async fn make_built_in_plans(&self) -> Result<(), DbError> {
        let mut change = self.db.change().await?;
        for version in built_in() {
            plans::add(change.conn(), &version).await?;
        }
        change.commit_silently().await
    }

    /// Every version of every plan: what is published.
    pub(crate) async fn price_plans(&self) -> Result<Vec<PlanVersion>, AppError> {
        Ok(plans::all(self.db.pool()).await?)
    }

    /// When an organisation was on which plan.
    pub(crate) async fn plan_terms(
        &self,
        actor: &Actor,
        organisation_id: &str,
    ) -> Result<Vec<Term>, AppError> {
        self.role_in(actor, organisation_id, Permission::ReadBilling).await?;
        Ok(plans::terms(self.db.pool(), organisation_id).await?)
    }

    /// A new version of a plan. It comes into force later than now: what was used is never priced anew.
    pub(crate) async fn add_price_plan(&self, actor: &Actor, version: &PlanVersion) -> Result<(), AppError> {
        actor.operator()?;
        let plan = Plan::parse(&version.plan)
            .ok_or_else(|| AppError::invalid("plan", "is one of free, team and unlimited"))?;
        version.validate().map_err(|error| AppError::invalid("prices", format!("cannot be: {error}")))?;
        if version.effective_from_s <= self.now_ms().div_euclid(1000) {
            return Err(AppError::invalid("effective_from_s", "is later than now, in Unix seconds"));
        }
        let mut change = self.db.change().await?;
        change.lock(Scope::Operator).await?;
        let all = plans::all(change.conn()).await?;
        let latest = all.iter().filter(|other| other.plan == plan.as_str()).max_by_key(|other| other.version);
        if let Some(latest) = latest {
            let next = latest.version + 1;
            if version.version != next {
                return Err(AppError::invalid("version", format!("is {next}: versions have no gap")));
            }
            if version.effective_from_s <= latest.effective_from_s {
                return Err(AppError::invalid(
                    "effective_from_s",
                    "is later than that of the version before",
                ));
            }
            if version.currency != latest.currency {
                let currency = latest.currency;
                return Err(AppError::invalid(
                    "currency",
                    format!("is {currency}, as in the version before"),
                ));
            }
        }
        if !plans::add(change.conn(), version).await? {
            return Err(AppError::Conflict("there is a version with this number already".to_owned()));
        }
        let subject = format!("{} v{}", version.plan, version.version);
        let entry = Entry {
            at_ms: self.now_ms(),
            actor: actor.name(),
            action: "price_plan.add",
            subject: &subject,
            details: json!({ "version": version }),
        };
        change.commit(Scope::Operator, entry).await?;
        Ok(())
    }

    /// Puts an organisation on another plan: its limits at once, its prices from this second on. `false` when there is no such
    /// organisation.
    pub(crate) async fn set_plan(&self, id: &str, plan: Plan) -> Result<bool, DbError> {
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        if !change.lock(Scope::Organisation(id)).await? {
            return Ok(false);
        }
        organisations::set_plan(change.conn(), id, plan.as_str()).await?;
        plans::begin_term(change.conn(), id, plan.as_str(), now_ms.div_euclid(1000)).await?;
        change.touch_directory(&self.random, now_ms).await?;
        let entry = Entry {
            at_ms: now_ms,
            actor: "operator".to_owned(),
            action: "plan.set",
            subject: id,
            details: json!({ "plan": plan.as_str() }),
        };
        change.note(Scope::Organisation(id), &entry).await?;
        // Other prices may be within the spend limit, or beyond it.
        let decided = self.decide_spending_too(&mut change, id).await?;
        change.commit_silently().await?;
        self.directory_changed.notify_one();
        self.tell_spending(id, decided).await;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plans_of_the_beginning_are_good_and_each_limit_plan_has_one() {
        let plans = built_in();
        for plan in Plan::ALL {
            assert!(plans.iter().any(|version| version.plan == plan.as_str()));
        }
        for version in plans {
            version.validate().unwrap();
        }
    }
}
