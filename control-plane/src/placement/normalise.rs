//! Regions as people, cloud consoles and telemetry write them.

use std::fmt;

use super::limits::{MAX_REGION_TEXT_CHARS, MAX_SUGGESTIONS};
use super::{Provider, RegionRef};

/// A text that names no region of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownRegion {
    /// The text, cut where it is too long.
    pub text: String,
    /// What may have been meant, best first. Empty where nothing is near.
    pub suggestions: Vec<RegionRef>,
}

impl std::error::Error for UnknownRegion {}

impl fmt::Display for UnknownRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no region of AWS, GCP or Azure", self.text)?;
        for (index, region) in self.suggestions.iter().enumerate() {
            let before = if index == 0 { "; did you mean " } else { " or " };
            write!(f, "{before}{region} ({})", region.city)?;
        }
        if self.suggestions.is_empty() {
            f.write_str("; write it as in aws:eu-west-1, gcp:europe-west1 or azure:westeurope")?;
        }
        Ok(())
    }
}

/// The region that a text names: its code (`eu-west-1`, `europe-west1`, `westeurope`), Azure's display name (`West Europe`,
/// `(Europe) West Europe`), an availability zone (`eu-west-1a`, `europe-west1-b`, `westeurope-2`), an AWS zone id
/// (`euw1-az2`) or a local zone (`us-west-2-lax-1a`), in any case; each also after a provider (`aws:eu-west-1`, `gcp
/// europe-west1`). `provider` limits it to that provider's.
///
/// # Errors
/// [`UnknownRegion`] with what may have been meant.
pub fn resolve(provider: Option<Provider>, text: &str) -> Result<RegionRef, UnknownRegion> {
    let named = Named::read(provider, text);
    named.find().ok_or_else(|| UnknownRegion {
        suggestions: suggestions(named.regions(), &named.joined),
        text: named.text,
    })
}

/// As [`resolve`], for telemetry: nobody is there to read suggestions.
pub(crate) fn find(provider: Option<Provider>, text: &str) -> Option<RegionRef> {
    Named::read(provider, text).find()
}

/// A text, taken apart.
struct Named {
    /// The text, cut where it is too long.
    text: String,
    /// The provider that the region must have, if any.
    provider: Option<Provider>,
    /// The name in lower case without spaces and underscores: `West Europe` as `westeurope`.
    joined: String,
    /// The name in lower case with dashes for spaces and underscores: `us west 2` as `us-west-2`.
    dashed: String,
}

impl Named {
    /// Takes a text apart.
    fn read(provider: Option<Provider>, text: &str) -> Self {
        let text: String = text.trim().chars().take(MAX_REGION_TEXT_CHARS).collect();
        let (provider, name) = match split_provider(&text) {
            Some((named, rest)) if provider.is_none_or(|provider| provider == named) => (Some(named), rest),
            _ => (provider, text.as_str()),
        };
        let name = without_continent(name).to_lowercase();
        let joined = name.chars().filter(|c| !matches!(c, ' ' | '_')).collect();
        let dashed = name.split([' ', '_']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
        Self { text, provider, joined, dashed }
    }

    /// The regions that may be meant.
    fn regions(&self) -> impl Iterator<Item = RegionRef> {
        let provider = self.provider;
        RegionRef::all().filter(move |region| provider.is_none_or(|provider| region.provider == provider))
    }

    /// The region of this name, or with a zone of this name; of several the one with the longest code (`us-east-1` and not
    /// what begins like it).
    fn find(&self) -> Option<RegionRef> {
        let zones = || self.regions().filter(|region| is_zone_of(&self.joined, *region));
        self.regions()
            .find(|region| region.code == self.joined || region.code == self.dashed)
            .or_else(|| zones().max_by_key(|region| region.code.len()))
    }
}

/// `aws:eu-west-1`, `AWS/eu-west-1` or `aws eu-west-1` as provider and rest.
fn split_provider(text: &str) -> Option<(Provider, &str)> {
    let (provider, rest) = text.split_once([':', '/', ' '])?;
    Some((Provider::parse(provider)?, rest.trim()))
}

/// `(Europe) West Europe` without what is in parentheses.
fn without_continent(name: &str) -> &str {
    name.strip_prefix('(').and_then(|rest| rest.split_once(')')).map_or(name, |(_, rest)| rest.trim())
}

/// Whether a text names an availability zone, a local zone or the like of a region.
fn is_zone_of(zone: &str, region: RegionRef) -> bool {
    let after_code = zone.strip_prefix(region.code);
    let behind_dash = after_code.and_then(|rest| rest.strip_prefix('-')).is_some_and(|rest| !rest.is_empty());
    match region.provider {
        Provider::Aws => {
            let letter =
                after_code.is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_lowercase());
            letter || behind_dash || is_aws_zone_id_of(zone, region)
        }
        Provider::Gcp | Provider::Azure => behind_dash,
    }
}

/// Whether a text is an AWS zone id, which abbreviates the region: `apne1-az4` for `ap-northeast-1`.
fn is_aws_zone_id_of(zone: &str, region: RegionRef) -> bool {
    let Some((region_id, number)) = zone.split_once("-az") else { return false };
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let mut abbreviated = String::new();
    for (index, word) in region.code.split('-').enumerate() {
        match word {
            _ if index == 0 => abbreviated.push_str(word),
            "northeast" => abbreviated.push_str("ne"),
            "northwest" => abbreviated.push_str("nw"),
            "southeast" => abbreviated.push_str("se"),
            "southwest" => abbreviated.push_str("sw"),
            word if word.len() > 1 => abbreviated.push_str(&word[..1]),
            number => abbreviated.push_str(number),
        }
    }
    abbreviated == region_id
}

/// The regions whose code, city or country is nearest to a text.
fn suggestions(regions: impl Iterator<Item = RegionRef>, text: &str) -> Vec<RegionRef> {
    let length = text.chars().count();
    let mut near: Vec<(usize, RegionRef)> = regions
        .filter_map(|region| {
            let city: String = region.city.to_lowercase().chars().filter(|c| *c != ' ').collect();
            let distance = edit_distance(text, region.code).min(edit_distance(text, &city));
            let distance = if text == region.country.to_lowercase() { 0 } else { distance };
            // Half of the text and more being different is no likeness.
            (distance * 2 < length.max(1)).then_some((distance, region))
        })
        .collect();
    near.sort();
    near.into_iter().take(MAX_SUGGESTIONS).map(|(_, region)| region).collect()
}

/// How many characters to insert, delete or replace to turn one text into another (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_read_as_people_write_them() {
        for (text, expected) in [
            ("eu-west-1", "aws:eu-west-1"),
            (" EU-West-1 ", "aws:eu-west-1"),
            ("aws:eu-west-1", "aws:eu-west-1"),
            ("AWS/eu-west-1", "aws:eu-west-1"),
            ("amazon eu-west-1", "aws:eu-west-1"),
            ("eu_west_1", "aws:eu-west-1"),
            ("us west 2", "aws:us-west-2"),
            ("gcp us_west2", "gcp:us-west2"),
            ("eu-west-1a", "aws:eu-west-1"),
            ("euw1-az2", "aws:eu-west-1"),
            ("apne1-az4", "aws:ap-northeast-1"),
            ("usgw1-az1", "aws:us-gov-west-1"),
            ("cnnw1-az1", "aws:cn-northwest-1"),
            ("us-west-2-lax-1a", "aws:us-west-2"),
            ("us-east-1-wl1-bos-wlz-1", "aws:us-east-1"),
            ("europe-west1", "gcp:europe-west1"),
            ("europe-west1-b", "gcp:europe-west1"),
            ("europe-west12-a", "gcp:europe-west12"),
            ("google:us-central1-ai1a", "gcp:us-central1"),
            ("westeurope", "azure:westeurope"),
            ("West Europe", "azure:westeurope"),
            ("(Europe) West Europe", "azure:westeurope"),
            ("azure:East US 2", "azure:eastus2"),
            ("eastus2-1", "azure:eastus2"),
            ("eastus-2", "azure:eastus"),
            ("westeurope-az3", "azure:westeurope"),
        ] {
            assert_eq!(resolve(None, text).unwrap().to_string(), expected, "{text}");
        }
        assert_eq!(resolve(Some(Provider::Aws), "eu-west-1b").unwrap().to_string(), "aws:eu-west-1");
        assert!(resolve(Some(Provider::Gcp), "aws:eu-west-1").is_err());
    }

    #[test]
    fn what_is_not_known_is_an_error_with_what_may_have_been_meant() {
        let message = |text| resolve(None, text).unwrap_err().to_string();
        assert_eq!(
            message("eu-west-11"),
            "\"eu-west-11\" is no region of AWS, GCP or Azure; did you mean aws:eu-west-1 (Dublin) or aws:eu-west-2 \
             (London) or aws:eu-west-3 (Paris)"
        );
        assert_eq!(
            message("Frankfurt"),
            "\"Frankfurt\" is no region of AWS, GCP or Azure; did you mean aws:eu-central-1 (Frankfurt) or \
             gcp:europe-west3 (Frankfurt) or azure:germanywestcentral (Frankfurt)"
        );
        assert!(message("westeurop").contains("azure:westeurope"));
        assert!(message("gcp:us-east-1").contains("gcp:us-east1"));
        assert_eq!(
            message("my basement rack 7"),
            "\"my basement rack 7\" is no region of AWS, GCP or Azure; write it as in aws:eu-west-1, gcp:europe-west1 \
             or azure:westeurope"
        );
        for text in ["", "-", "aws:", "a", "eu-west-1-", "eu-west-1é", "é-az1", &"x".repeat(100_000)] {
            assert!(resolve(None, text).is_err(), "{text}");
        }
    }
}
