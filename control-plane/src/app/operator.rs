//! What the operator sees: revenue beside cost, by tenant.

use super::App;
use super::access::Actor;
use super::invoices::InvoiceError;
use crate::billing::{BillingError, CostTable, Invoice, Month, Resource, ResourceUse, TenantMargin, margins};
use crate::db::organisations::{self, StandingRow};
use crate::db::usage::{self, ResourceRow};
use crate::error::AppError;

/// Revenue and cost of a month.
#[derive(Debug)]
pub(crate) struct Margins {
    pub(crate) costs: CostTable,
    pub(crate) tenants: Vec<TenantMargin>,
    pub(crate) uses: Vec<ResourceUse>,
    /// Organisations that are billed in another currency than the costs are in: not in `tenants`.
    pub(crate) left_out: Vec<String>,
}

impl App {
    /// Revenue beside cost in a month, from final invoices and drafts.
    pub(crate) async fn margins(&self, actor: &Actor, month: Month) -> Result<Margins, AppError> {
        actor.operator()?;
        if month > self.this_month()? {
            return Err(AppError::invalid("month", "is this one at the latest"));
        }
        let costs = self.costs.clone();
        let (mut invoices, mut left_out): (Vec<Invoice>, Vec<String>) = Default::default();
        for id in organisations::ids(self.db.pool()).await? {
            match self.bill_of(&id, month).await? {
                Some(bill) if bill.invoice.currency == costs.currency => invoices.push(bill.invoice),
                Some(_) => left_out.push(id),
                None => {}
            }
        }
        let uses: Vec<ResourceUse> = usage::resources(self.db.pool(), &month.to_string())
            .await?
            .into_iter()
            .filter_map(use_of)
            .collect();
        let tenants = margins(&invoices, &uses, &costs)
            .map_err(|error: BillingError| AppError::from(InvoiceError::from(error)))?;
        Ok(Margins { costs, tenants, uses, left_out })
    }

    /// Every organisation, with its plan.
    pub(crate) async fn standings(&self, actor: &Actor) -> Result<Vec<StandingRow>, AppError> {
        actor.operator()?;
        Ok(organisations::standings(self.db.pool()).await?)
    }
}

fn use_of(row: ResourceRow) -> Option<ResourceUse> {
    Some(ResourceUse {
        resource: Resource::ALL.into_iter().find(|resource| resource.as_str() == row.resource)?,
        tenant: (!row.tenant_id.is_empty()).then_some(row.tenant_id),
        quantity: u64::try_from(row.quantity).unwrap_or_default(),
    })
}
