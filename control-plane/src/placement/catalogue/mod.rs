//! The cloud regions of the world that matter here: where they are and whose law holds there.
//!
//! A table in the code, since placing must not depend on anything that could be away, and since a region that is not known
//! must be an error and not a guess. Cities and coordinates are those of the metropolitan area that the provider names; a
//! distance is right to some ten kilometres.

mod aws;
mod azure;
mod gcp;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

use super::normalise::{UnknownRegion, resolve};

/// A cloud provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provider {
    /// Amazon Web Services.
    Aws,
    /// Google Cloud.
    Gcp,
    /// Microsoft Azure.
    Azure,
}

impl Provider {
    /// The name, as OpenTelemetry's `cloud.provider` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aws => "aws",
            Self::Gcp => "gcp",
            Self::Azure => "azure",
        }
    }

    /// Reads a name as people and OpenTelemetry write it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "aws" | "amazon" | "amazon web services" => Some(Self::Aws),
            "gcp" | "google" | "google cloud" | "gcloud" => Some(Self::Gcp),
            "azure" | "microsoft" | "microsoft azure" => Some(Self::Azure),
            _ => None,
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A region of a cloud provider.
#[derive(Debug)]
pub struct Region {
    /// The provider.
    pub provider: Provider,
    /// The provider's code: `eu-west-1`, `europe-west1`, `westeurope`.
    pub code: &'static str,
    /// The city, or the nearest one.
    pub city: &'static str,
    /// The country (ISO 3166-1 alpha-2).
    pub country: &'static str,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// A row of the table.
const fn region(
    provider: Provider,
    code: &'static str,
    city: &'static str,
    country: &'static str,
    latitude: f64,
    longitude: f64,
) -> Region {
    Region { provider, code, city, country, latitude, longitude }
}

/// A region of the table. Written `aws:eu-west-1`; ordered and compared by provider and code.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegionRef(&'static Region);

impl RegionRef {
    /// All regions, by provider and then in the table's order.
    pub fn all() -> impl Iterator<Item = Self> {
        [aws::REGIONS, gcp::REGIONS, azure::REGIONS].into_iter().flatten().map(Self)
    }

    /// What names it.
    fn key(self) -> (Provider, &'static str) {
        (self.0.provider, self.0.code)
    }
}

impl std::ops::Deref for RegionRef {
    type Target = Region;

    fn deref(&self) -> &Region {
        self.0
    }
}

impl PartialEq for RegionRef {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for RegionRef {}

impl PartialOrd for RegionRef {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RegionRef {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for RegionRef {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl fmt::Display for RegionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.provider, self.code)
    }
}

impl fmt::Debug for RegionRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<RegionRef> for String {
    fn from(region: RegionRef) -> Self {
        region.to_string()
    }
}

impl TryFrom<String> for RegionRef {
    type Error = UnknownRegion;

    fn try_from(text: String) -> Result<Self, UnknownRegion> {
        resolve(None, &text)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let all: Vec<RegionRef> = RegionRef::all().collect();
        assert!(all.len() > 140, "{}", all.len());
        let codes: BTreeSet<&str> = all.iter().map(|region| region.code).collect();
        assert_eq!(codes.len(), all.len(), "a code names one region, whoever's it is");
        for region in all {
            assert!((-60.0..=72.0).contains(&region.latitude) && region.longitude.abs() <= 180.0, "{region}");
            assert!(region.country.len() == 2 && region.country.bytes().all(|b| b.is_ascii_uppercase()));
            assert!(!region.city.is_empty());
            assert!(region.code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert_eq!(resolve(None, &region.to_string()).unwrap(), region);
            assert_eq!(resolve(None, region.code).unwrap(), region);
        }
    }

    #[test]
    fn regions_of_one_city_lie_together_and_countries_where_they_belong() {
        let all: Vec<RegionRef> = RegionRef::all().collect();
        for a in &all {
            for b in all.iter().filter(|b| b.city == a.city) {
                assert_eq!(
                    (a.country, a.latitude, a.longitude),
                    (b.country, b.latitude, b.longitude),
                    "{a} {b}"
                );
            }
        }
        // The continents that codes name.
        let europe = |region: &RegionRef| {
            (34.0..72.0).contains(&region.latitude) && (-12.0..35.0).contains(&region.longitude)
        };
        for region in all.iter().filter(|r| r.code.starts_with("eu-") || r.code.starts_with("europe-")) {
            assert!(europe(region), "{region}");
        }
        for region in all.iter().filter(|r| r.code.starts_with("us-") || r.code.ends_with("us")) {
            assert_eq!(region.country, "US", "{region}");
        }
    }
}
