//! Where data may be: jurisdictions and countries.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::RegionRef;

/// Members of the European Union (ISO 3166-1 alpha-2).
const EU: [&str; 27] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT",
    "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
];

/// Members of the European Economic Area that are not in the EU.
const EEA_ONLY: [&str; 3] = ["IS", "LI", "NO"];

/// Somewhere that a residency rule may allow. Written `EU`, `EEA`, or as a country's code (`GB` or `UK` for the United
/// Kingdom), in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Place {
    /// The European Union.
    Eu,
    /// The European Economic Area: the EU, Iceland, Liechtenstein and Norway.
    Eea,
    /// A country in which the catalogue has a region.
    Country(&'static str),
}

/// A text that names no place where data could be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no place with a cloud region; write EU, EEA, or the code of a country that has one: {countries}",
    text = .0,
    countries = countries()
)]
pub struct UnknownPlace(
    /// The text, cut where it is too long.
    pub String,
);

impl Place {
    /// Reads a place.
    ///
    /// # Errors
    /// [`UnknownPlace`] where the catalogue has no region in it.
    pub fn parse(text: &str) -> Result<Self, UnknownPlace> {
        let upper = text.trim().to_uppercase();
        let country = if upper == "UK" { "GB" } else { upper.as_str() };
        match upper.as_str() {
            "EU" => Ok(Self::Eu),
            "EEA" => Ok(Self::Eea),
            _ => RegionRef::all()
                .find(|region| region.country == country)
                .map(|region| Self::Country(region.country))
                .ok_or_else(|| UnknownPlace(text.chars().take(32).collect())),
        }
    }

    /// The country that a region lies in.
    #[must_use]
    pub fn of_country(region: RegionRef) -> Self {
        Self::Country(region.country)
    }

    /// Whether a region lies in it.
    #[must_use]
    pub fn contains(self, region: RegionRef) -> bool {
        match self {
            Self::Eu => EU.contains(&region.country),
            Self::Eea => EU.contains(&region.country) || EEA_ONLY.contains(&region.country),
            Self::Country(country) => region.country == country,
        }
    }
}

/// The codes of all countries in which the catalogue has a region, for people.
fn countries() -> String {
    let codes: BTreeSet<String> =
        RegionRef::all().map(|region| Place::of_country(region).to_string()).collect();
    codes.into_iter().collect::<Vec<_>>().join(", ")
}

/// Whose law holds in a region: `EU`, or the country's own; the United Kingdom's is written `UK`.
#[must_use]
pub fn jurisdiction(region: RegionRef) -> &'static str {
    match region.country {
        "GB" => "UK",
        country if EU.contains(&country) => "EU",
        country => country,
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eu => "EU",
            Self::Eea => "EEA",
            Self::Country("GB") => "UK",
            Self::Country(country) => country,
        })
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = UnknownPlace;

    fn try_from(text: String) -> Result<Self, UnknownPlace> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::normalise::resolve;
    use super::*;

    #[test]
    fn places_hold_the_regions_that_lie_in_them() {
        let within =
            |place: &str, region: &str| Place::parse(place).unwrap().contains(resolve(None, region).unwrap());
        assert!(
            within("eu", "eu-central-1") && within("EEA", "eu-central-1") && within("de", "eu-central-1")
        );
        assert!(!within("EU", "norwayeast") && within("EEA", "norwayeast") && within("NO", "norwayeast"));
        assert!(!within("EU", "eu-west-2") && within("UK", "eu-west-2") && within("GB", "eu-west-2"));
        assert!(!within("EEA", "eu-central-2") && !within("FR", "eu-central-1"));
        for (region, law) in
            [("uksouth", "UK"), ("europe-north1", "EU"), ("us-east1", "US"), ("norwayeast", "NO")]
        {
            assert_eq!(jurisdiction(resolve(None, region).unwrap()), law);
        }
        for wrong in ["", "Atlantis", "XX", "EU27"] {
            assert!(Place::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&Place::parse("uk").unwrap()).unwrap(), "\"UK\"");
    }
}
