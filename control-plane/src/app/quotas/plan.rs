//! Quota plans. What they cost is billing's.

use serde::{Deserialize, Serialize};
use tenancy::limits::MAX_RATE;
use utoipa::ToSchema;

/// What limits an organisation's tenants have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    /// For trying out.
    Free,
    /// For teams that pay.
    Team,
    /// No limits but the machine's: for who runs Farwatch for themselves.
    Unlimited,
}

/// A limit of a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuotaName {
    /// Samples a second, as a long-term rate.
    SamplesPerSecond,
    /// Spans a second, as a long-term rate.
    SpansPerSecond,
    /// Bytes sent from midnight to midnight UTC, decompressed.
    BytesPerDay,
    /// Series that got samples lately: known ones go on above the limit, new ones are refused.
    ActiveSeries,
    /// Active series of one metric name.
    SeriesPerMetric,
    /// Queries that run at once.
    QueryConcurrency,
    /// Bytes of stored data that one query may read.
    QueryBytes,
}

impl QuotaName {
    /// Every limit.
    pub const ALL: [Self; 7] = [
        Self::SamplesPerSecond,
        Self::SpansPerSecond,
        Self::BytesPerDay,
        Self::ActiveSeries,
        Self::SeriesPerMetric,
        Self::QueryConcurrency,
        Self::QueryBytes,
    ];

    /// The name in the API, in the database, and in the answers of the data plane.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SamplesPerSecond => "samples_per_second",
            Self::SpansPerSecond => "spans_per_second",
            Self::BytesPerDay => "bytes_per_day",
            Self::ActiveSeries => "active_series",
            Self::SeriesPerMetric => "series_per_metric",
            Self::QueryConcurrency => "query_concurrency",
            Self::QueryBytes => "query_bytes",
        }
    }

    /// What it counts, for people.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::SamplesPerSecond => "samples a second",
            Self::SpansPerSecond => "spans a second",
            Self::BytesPerDay => "bytes a day",
            Self::ActiveSeries => "active series",
            Self::SeriesPerMetric => "active series of one metric name",
            Self::QueryConcurrency => "queries at once",
            Self::QueryBytes => "bytes read by a query",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// The highest value that can be enforced, whatever the plan; `None`: any that can be kept.
    const fn enforceable(self) -> Option<u64> {
        match self {
            Self::SamplesPerSecond | Self::SpansPerSecond => Some(MAX_RATE as u64),
            _ => None,
        }
    }
}

impl Plan {
    /// Every plan.
    pub const ALL: [Self; 3] = [Self::Free, Self::Team, Self::Unlimited];

    /// The name in the API and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Team => "team",
            Self::Unlimited => "unlimited",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|plan| plan.as_str() == text)
    }

    /// What holds where a tenant sets nothing; `None`: no limit.
    #[must_use]
    pub const fn default(self, name: QuotaName) -> Option<u64> {
        match self {
            // 10,000 series, scraped each 15 s, some change of them, and what a person does with them.
            Self::Free => Some(match name {
                QuotaName::SamplesPerSecond => 1_000,
                QuotaName::SpansPerSecond => 500,
                QuotaName::BytesPerDay => 5 << 30,
                QuotaName::ActiveSeries => 15_000,
                QuotaName::SeriesPerMetric => 5_000,
                QuotaName::QueryConcurrency => 4,
                QuotaName::QueryBytes => 1 << 30,
            }),
            Self::Team => Some(match name {
                QuotaName::SamplesPerSecond => 100_000,
                QuotaName::SpansPerSecond => 50_000,
                QuotaName::BytesPerDay => 500 << 30,
                QuotaName::ActiveSeries => 1_500_000,
                QuotaName::SeriesPerMetric => 200_000,
                QuotaName::QueryConcurrency => 20,
                QuotaName::QueryBytes => 16 << 30,
            }),
            Self::Unlimited => None,
        }
    }

    /// How high a tenant may set it by itself; `None`: as high as can be kept. The default leaves room for growth on
    /// plans that are paid for, so that nobody has to ask.
    #[must_use]
    pub const fn ceiling(self, name: QuotaName) -> Option<u64> {
        match (self, self.default(name)) {
            (Self::Free, default) => default,
            (_, Some(default)) => Some(default * 10),
            (_, None) => name.enforceable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_database_are_those_in_the_api() {
        for name in QuotaName::ALL {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
            assert_eq!(QuotaName::parse(name.as_str()), Some(name));
        }
        for plan in Plan::ALL {
            assert_eq!(serde_json::to_value(plan).unwrap(), plan.as_str());
            assert_eq!(Plan::parse(plan.as_str()), Some(plan));
        }
    }

    #[test]
    fn every_plan_can_be_enforced() {
        for plan in Plan::ALL {
            for name in QuotaName::ALL {
                let (default, ceiling) = (plan.default(name), plan.ceiling(name));
                let most = name.enforceable();
                assert!(most.is_none_or(|most| ceiling.is_some_and(|it| it <= most)), "{plan:?} {name:?}");
                assert!(default.is_none_or(|default| Some(default) <= ceiling), "{plan:?} {name:?}");
            }
        }
    }
}
