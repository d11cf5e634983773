//! What processes of the data plane report beside the ledger: when keys were used, what was counted by name, what it cost.
//!
//! A report has an id. It is counted in the transaction that notes the id, and then forgotten where it came from: each is counted
//! once, and one that gets lost costs a minute of statistics and no money. So one that cannot be counted is forgotten, too: it
//! stands in nobody's way.

use std::collections::{BTreeMap, HashSet};

use super::fold::FoldError;
use crate::app::App;
use crate::billing::{Attribution, Month};
use crate::db::{DbError, keys, usage};
use crate::error::AppError;
use crate::limits::{MAX_ATTRIBUTED_NAMES, MAX_INDEXED_BYTES, MAX_REPORTS};
use crate::placement::Observation;
use crate::ports::{Activity, ActivityReport, UsageSource};

impl App {
    /// Counts all reports there are.
    pub(crate) async fn count_activity(&self, source: &dyn UsageSource) -> Result<(), FoldError> {
        loop {
            let reports = source.reports(MAX_REPORTS).await?;
            if reports.is_empty() {
                return Ok(());
            }
            for report in &reports {
                match self.count_report(report).await {
                    Ok(()) => {}
                    Err(error @ FoldError::Db(DbError::Unavailable(_))) => return Err(error),
                    Err(error) => tracing::error!(
                        report = report.id,
                        error = &error as &dyn std::error::Error,
                        "a report of activity cannot be counted, and is dropped"
                    ),
                }
            }
            let ids: Vec<String> = reports.iter().map(|report| report.id.clone()).collect();
            source.forget(&ids).await?;
            if ids.len() < MAX_REPORTS {
                return Ok(());
            }
        }
    }

    async fn count_report(&self, report: &ActivityReport) -> Result<(), FoldError> {
        let now_ms = self.now_ms();
        let mut change = self.db.change().await?;
        if !usage::count_report(change.conn(), &report.id, now_ms).await? {
            return Ok(());
        }
        let activity = &report.activity;
        for used in &activity.keys {
            // A clock that is ahead does not make a key used in the future.
            keys::note_use(change.conn(), &used.id, used.at_ms.min(now_ms)).await?;
        }
        let month = Month::containing(activity.at_ms.min(now_ms).div_euclid(1000))?.to_string();
        let mut groups: BTreeMap<_, Vec<&Attribution>> = BTreeMap::new();
        for counted in &activity.counts {
            groups.entry((&counted.tenant, counted.signal, counted.dimension)).or_default().push(counted);
        }
        for ((tenant, signal, dimension), counts) in groups {
            let names = usage::attributed_names(change.conn(), tenant, &month, signal, dimension).await?;
            let mut names: HashSet<String> = names.into_iter().collect();
            for counted in counts {
                let mut counted = counted.clone();
                let is_one_too_many = names.len() >= MAX_ATTRIBUTED_NAMES && !names.contains(&counted.name);
                if is_one_too_many || !is_indexable(&counted.name) {
                    counted.name.clear();
                }
                usage::attribute(change.conn(), &month, &counted).await?;
                names.insert(counted.name);
            }
        }
        for used in &activity.resources {
            let tenant = used.tenant.as_deref().unwrap_or_default();
            let quantity = i64::try_from(used.quantity).unwrap_or(i64::MAX);
            usage::add_resource(change.conn(), &month, tenant, used.resource.as_str(), quantity).await?;
        }
        change.commit_silently().await?;
        self.note_tenants(activity).await;
        Ok(())
    }

    /// What a report says to the tenants themselves. It is counted already: what fails here is in the next one, if it still is so.
    async fn note_tenants(&self, activity: &Activity) {
        let mut places: BTreeMap<&str, Vec<Observation>> = BTreeMap::new();
        for footprint in &activity.footprints {
            let seen = &footprint.seen;
            if [&seen.provider, &seen.region, &seen.zone].into_iter().all(|text| is_indexable(text)) {
                places.entry(&footprint.tenant).or_default().push(seen.clone());
            }
        }
        for (tenant, seen) in places {
            warn_of(self.note_footprint(tenant, &seen).await);
        }
        for near in &activity.limits {
            warn_of(self.note_limit(near).await);
        }
    }
}

/// Whether a text from telemetry can stand in an index of both databases: PostgreSQL has no text with a NUL.
fn is_indexable(text: &str) -> bool {
    text.len() <= MAX_INDEXED_BYTES && !text.contains('\0')
}

fn warn_of(noted: Result<(), AppError>) {
    if let Err(error) = noted {
        tracing::warn!(error = &error as &dyn std::error::Error, "what a report said of a tenant got lost");
    }
}
