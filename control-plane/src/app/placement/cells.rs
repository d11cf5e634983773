//! The cells that there are when the operator has named none.

use crate::db::cells::CellRow;

/// Room of each, in samples a second.
const CAPACITY: i64 = 50_000_000;

/// Id, region, what it needs besides, cost in percent of the reference. The control planes of AWS's IAM and Route 53 are in
/// us-east-1, so no cell with AWS stands for itself when that region is down.
const DEFAULTS: [(&str, &str, &str, i64); 12] = [
    ("eu-dublin", "aws:eu-west-1", "aws:us-east-1", 100),
    ("eu-stockholm", "aws:eu-north-1", "aws:us-east-1", 95),
    ("eu-eemshaven", "gcp:europe-west4", "", 100),
    ("eu-warsaw", "gcp:europe-central2", "", 110),
    ("eu-gavle", "azure:swedencentral", "", 100),
    ("eu-paris", "azure:francecentral", "", 115),
    ("uk-london", "gcp:europe-west2", "", 115),
    ("ch-zurich", "azure:switzerlandnorth", "", 125),
    ("us-columbus", "aws:us-east-2", "aws:us-east-1", 90),
    ("us-council-bluffs", "gcp:us-central1", "", 90),
    ("us-quincy", "azure:westus2", "", 95),
    ("ap-singapore", "gcp:asia-southeast1", "", 115),
];

/// As rows.
pub(super) fn defaults() -> impl Iterator<Item = CellRow> {
    DEFAULTS.into_iter().map(|(id, region, depends_on, cost_index)| CellRow {
        id: id.to_owned(),
        region: region.to_owned(),
        depends_on: depends_on.to_owned(),
        capacity: CAPACITY,
        cost_index,
        closed_at_ms: None,
        used: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::placement::cell_of;

    #[test]
    fn every_cell_is_in_a_region_of_the_catalogue() {
        for row in defaults() {
            let cell = cell_of(&row).unwrap();
            assert_eq!(cell.region.to_string(), row.region);
            let dependencies = row.depends_on.split_ascii_whitespace().count();
            assert_eq!(cell.depends_on.len(), dependencies);
        }
    }
}
