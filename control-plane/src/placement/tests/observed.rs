//! Conflicts that telemetry shows.

use super::*;

fn observation(provider: &str, region: &str, zone: &str, samples: u64, seen_ms: (i64, i64)) -> Observation {
    Observation {
        provider: provider.to_owned(),
        region: region.to_owned(),
        zone: zone.to_owned(),
        samples,
        first_seen_ms: seen_ms.0,
        last_seen_ms: seen_ms.1,
    }
}

fn cells() -> Vec<Cell> {
    vec![cell("europe-west3", &[]), cell("westeurope", &["eu-west-3"]), cell("swedencentral", &[])]
}

/// A tenant of Dublin, placed in Frankfurt with a standby in Amsterdam.
fn reviewed(observations: &[Observation]) -> FootprintReport {
    let placed = Placed { home: "cell-europe-west3".to_owned(), standby: Some("cell-westeurope".to_owned()) };
    let needs = needs(&["eu-west-1"], &[], &[]);
    review(observations, &needs, &placed, &cells(), NoiseThreshold::default()).unwrap()
}

#[test]
fn production_that_moved_in_with_its_cell_is_noticed_with_evidence() {
    let report = reviewed(&[
        observation("aws", "eu-west-1", "eu-west-1a", 900_000, (5, 90)),
        observation("gcp", "europe-west3", "europe-west3-b", 60_000, (30, 80)),
        // The region follows from the zone, and the provider from the region.
        observation("", "", "europe-west3-a", 40_000, (20, 70)),
    ]);
    assert_eq!(report.conflicts.len(), 1);
    let conflict = &report.conflicts[0];
    assert_eq!(
        (conflict.role, conflict.cell.as_str(), conflict.hidden),
        (Role::Home, "cell-europe-west3", false)
    );
    let evidence = &conflict.evidence;
    assert_eq!((evidence.samples, evidence.per_mille), (100_000, 100));
    assert_eq!((evidence.first_seen_ms, evidence.last_seen_ms), (20, 80));
    assert!(!evidence.declared && report.seen[0].declared);
    let zones: Vec<&str> = evidence.zones.iter().map(String::as_str).collect();
    assert_eq!(zones, ["europe-west3-a", "europe-west3-b"]);
    // The standby is free of conflicts and stays; the home is not proposed again.
    let Some(Proposal::Move(placement)) = report.proposal else { panic!("{:?}", report.proposal) };
    assert_eq!(ids(&placement), ("cell-swedencentral", Some("cell-westeurope")));
}

#[test]
fn hidden_dependencies_conflict_and_a_proposal_may_be_impossible() {
    let report = reviewed(&[
        observation("gcp", "europe-west3", "", 5_000, (0, 1)),
        observation("aws", "eu-west-3", "", 5_000, (0, 1)),
    ]);
    let conflicts: Vec<(Role, bool)> = report.conflicts.iter().map(|c| (c.role, c.hidden)).collect();
    assert_eq!(conflicts, [(Role::Home, false), (Role::Standby, true)]);
    let Some(Proposal::Impossible(why)) = report.proposal else { panic!("{:?}", report.proposal) };
    assert_eq!(why.conflicts, [vec![Constraint::Production, Constraint::IndependentStandby]]);
}

#[test]
fn noise_and_what_names_no_region_are_listed_and_do_no_harm() {
    let report = reviewed(&[
        observation("aws", "eu-west-1", "", 10_000_000, (0, 9)),
        // Enough samples, but less than a thousandth of all.
        observation("gcp", "europe-west3", "", 9_000, (0, 9)),
        observation("alibaba_cloud", "eu-central-1", "", 7_000, (0, 9)),
        observation("aws", "basement", "", 800_000, (0, 9)),
    ]);
    assert!(report.conflicts.is_empty() && report.proposal.is_none());
    let noise: Vec<String> = report.noise.iter().map(|seen| seen.region.to_string()).collect();
    assert_eq!(noise, ["gcp:europe-west3"]);
    let unknown: Vec<&str> = report.unknown.iter().map(|observation| observation.region.as_str()).collect();
    assert_eq!(unknown, ["basement", "eu-central-1"]);
    // All there is, but too little of it.
    assert!(reviewed(&[observation("gcp", "europe-west3", "", 999, (0, 9))]).conflicts.is_empty());
    assert_eq!(reviewed(&[observation("gcp", "europe-west3", "", 1_000, (0, 9))]).conflicts.len(), 1);
}

#[test]
fn a_tenant_in_a_cell_that_is_not_there_is_an_error() {
    let placed = Placed { home: "gone".to_owned(), standby: None };
    let report = review(&[], &needs(&[], &[], &[]), &placed, &cells(), NoiseThreshold::default());
    assert_eq!(report, Err(PlacementError::UnknownCell("gone".to_owned())));
}

#[test]
fn evidence_names_a_bounded_number_of_zones() {
    let many: Vec<Observation> =
        (0..100).map(|n| observation("aws", "eu-west-1", &format!("zone-{n}"), u64::MAX, (n, n))).collect();
    let report = reviewed(&many);
    assert_eq!(report.seen[0].zones.len(), 16);
    assert_eq!((report.seen[0].samples, report.seen[0].per_mille), (u64::MAX, 10));
}
