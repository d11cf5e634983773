//! What is chosen, and what is said about it.

use super::*;

#[test]
fn a_placement_says_why() {
    let cells = [
        cell("eu-west-1", &[]),
        cell("eu-central-1", &[]),
        cell("eu-north-1", &["eu-west-1"]),
        cell("eu-south-2", &["aws"]),
        cell("europe-west3", &[]),
        cell("swedencentral", &[]),
        cell("us-east4", &[]),
    ];
    let placement = place(&needs(&["eu-west-1a", "eu-west-1b"], &["eu-central-1"], &["EU"]), &cells).unwrap();
    // Google's region in Frankfurt is nearer to Dublin, but a disaster there would reach it together with Amazon's.
    assert_eq!(ids(&placement), ("cell-swedencentral", Some("cell-europe-west3")));
    let said = |choice: &Choice| -> Vec<String> {
        choice.reasons.iter().map(|reason| format!("{:+} {}", reason.points, reason.fact)).collect()
    };
    assert_eq!(
        said(&placement.home),
        [
            "+0 in none of the 2 regions of yours, and depends on none",
            "+100 with azure, which you do not depend on",
            "+100 1288 km from aws:eu-central-1, your nearest region: fails by itself",
            "+0 in Gävle (SE), where data may be",
            "-24 about 24 ms there and back from aws:eu-west-1",
            "+20 40 % of it stay free",
            "+0 costs 100 % of the reference",
        ]
    );
    assert_eq!(
        said(placement.standby.as_ref().unwrap()),
        [
            "+0 in none of the 2 regions of yours, and depends on none",
            "+100 with gcp, which you do not depend on",
            "+0 only 0 km from aws:eu-central-1, your nearest region: a disaster may reach both",
            "+0 in Frankfurt (DE), where data may be",
            "-16 about 16 ms there and back from aws:eu-west-1",
            "+20 40 % of it stay free",
            "+0 costs 100 % of the reference",
            "+0 no region's outage reaches both it and the home cell",
            "+100 1288 km from the home cell: fails by itself",
            "-9 about 19 ms there and back from the home cell",
            "+50 with gcp, another provider than the home cell's",
        ]
    );
    assert_eq!(placement.home.score, 196);
    assert_eq!(placement.score, 2 * 196 + 245);
    let excluded: Vec<(String, Vec<String>)> = placement
        .excluded
        .iter()
        .map(|e| (e.cell.clone(), e.obstacles.iter().map(ToString::to_string).collect()))
        .collect();
    let because = |cell: &str, obstacle: &str| (cell.to_owned(), vec![obstacle.to_owned()]);
    assert_eq!(
        excluded,
        [
            because("cell-eu-central-1", "is in aws:eu-central-1, where production fails over to"),
            because("cell-eu-north-1", "depends on aws:eu-west-1, where production runs"),
            because("cell-eu-west-1", "is in aws:eu-west-1, where production runs"),
            because("cell-us-east4", "is in US, and data may only be in EU"),
        ]
    );
    assert_eq!(placement.runners_up.len(), 2);
    let json = serde_json::to_value(&placement).unwrap();
    assert_eq!(json["home"]["region"], "azure:swedencentral");
    assert_eq!(json["home"]["reasons"][1]["points"], 100);
    assert_eq!(json["excluded"][0]["obstacles"][0]["constraint"], "customer_standby");
}

/// Which of two cells becomes the home of a tenant in Paris, all else being equal.
#[track_caller]
fn assert_home(expected: &str, change: impl Fn(&mut Cell, &mut Cell, &mut Needs)) {
    let (mut a, mut b) = (cell("europe-west3", &[]), cell("germanywestcentral", &[]));
    // Two cells of one city, so that nothing differs but what `change` does. The third is no better home.
    let mut needs = Needs { without_standby: true, ..needs(&["eu-west-3"], &[], &[]) };
    change(&mut a, &mut b, &mut needs);
    assert_eq!(ids(&place(&needs, &[b.clone(), a.clone()]).unwrap()).0, expected);
    assert_eq!(ids(&place(&needs, &[a, b]).unwrap()).0, expected);
}

#[test]
fn soft_constraints_rank_what_hard_ones_leave() {
    const GCP: &str = "cell-europe-west3";
    const AZURE: &str = "cell-germanywestcentral";
    assert_home(GCP, |_, _, _| {});
    assert_home(AZURE, |gcp, _, _| gcp.cost_index = 110);
    assert_home(AZURE, |gcp, _, _| gcp.used = 700);
    // Moving must be worth it.
    assert_home(AZURE, |_, azure, needs| {
        azure.cost_index = 130;
        needs.current = vec![azure.id.clone()];
    });
    assert_home(AZURE, |gcp, _, _| gcp.region = region("us-east4"));
    // In Madrid it takes 8 ms longer; nearer than 300 km there would be too little independence.
    assert_home(AZURE, |gcp, _, _| gcp.region = region("europe-southwest1"));
    assert_home(GCP, |_, azure, _| azure.region = region("francecentral"));
    // Another provider is worth more than some milliseconds, also where the shared one is hidden.
    assert_home(AZURE, |gcp, _, _| gcp.depends_on = vec![Dependency::Provider(Provider::Aws)]);
    assert_home(AZURE, |gcp, _, _| gcp.depends_on = vec![Dependency::Region(region("us-east-1"))]);
    // A wish weighs much, and excludes nothing.
    let far = |gcp: &mut Cell, azure: &mut Cell| {
        gcp.region = region("us-east4");
        gcp.cost_index = 10;
        azure.cost_index = 1000;
        azure.used = 900;
    };
    assert_home(GCP, |gcp, azure, needs| {
        far(gcp, azure);
        needs.latency = None;
        azure.depends_on = vec![Dependency::Provider(Provider::Aws)];
    });
    for wish in [LatencyWish::Ms(40), LatencyWish::Km(1000)] {
        assert_home(AZURE, |gcp, azure, needs| {
            far(gcp, azure);
            azure.depends_on = vec![Dependency::Provider(Provider::Aws)];
            needs.latency = Some(wish);
        });
    }
    assert_home(GCP, |gcp, azure, needs| {
        far(gcp, azure);
        azure.used = 901;
        needs.latency = Some(LatencyWish::Ms(5));
    });
}

#[test]
fn the_capacity_that_is_set_aside_for_a_tenant_is_its_own() {
    let mut only = cell("europe-west3", &[]);
    only.used = 1000;
    let mut needs = Needs { without_standby: true, ..needs(&["eu-west-3"], &[], &[]) };
    assert_eq!(why(&needs, std::slice::from_ref(&only)).conflicts, [vec![Constraint::Capacity]]);
    needs.current = vec![only.id.clone()];
    assert_eq!(ids(&place(&needs, &[only]).unwrap()), ("cell-europe-west3", None));
}

#[test]
fn a_tenant_that_declares_nothing_is_told_so() {
    let placement =
        place(&needs(&[], &[], &[]), &[cell("europe-west3", &[]), cell("us-east4", &[])]).unwrap();
    assert_eq!(placement.home.reasons[0].fact, Fact::NothingDeclared);
}

#[test]
fn everything_that_cannot_be_read_is_named_at_once() {
    let request = PlacementRequest {
        production: vec!["eu-west-1".to_owned(), "eu-wst-2".to_owned(), "hetzner fsn1".to_owned()],
        standby: vec!["europ-west4".to_owned()],
        residency: vec!["EU".to_owned(), "Mordor".to_owned()],
        ..PlacementRequest::default()
    };
    let error = request.resolve().unwrap_err();
    assert_eq!((error.regions.len(), error.places.len()), (3, 1));
    let message = error.to_string();
    for part in ["did you mean aws:eu-west-2", "\"hetzner fsn1\"", "gcp:europe-west4", "\"Mordor\""] {
        assert!(message.contains(part), "{message}");
    }
    let many =
        PlacementRequest { production: vec!["eu-west-1".to_owned(); 501], ..PlacementRequest::default() };
    assert!(many.resolve().unwrap_err().too_many);
}

#[test]
fn cells_that_cannot_be_compared_are_refused() {
    let needs = needs(&[], &[], &[]);
    assert_eq!(place(&needs, &[]), Err(PlacementError::NoCells));
    let one = cell("europe-west3", &[]);
    assert_eq!(
        place(&needs, &[one.clone(), one.clone()]),
        Err(PlacementError::DuplicateCell("cell-europe-west3".to_owned()))
    );
    assert_eq!(place(&needs, &vec![one; 501]), Err(PlacementError::TooManyCells(501)));
}

#[test]
fn cells_are_written_as_text() {
    let json = r#"{"id": "c", "region": "europe-west3", "depends_on": ["aws", "gcp:us-central1"], "capacity": 5, "used": 1, "cost_index": 90}"#;
    let cell: Cell = serde_json::from_str(json).unwrap();
    assert_eq!(
        cell.depends_on,
        [Dependency::Provider(Provider::Aws), Dependency::Region(region("us-central1"))]
    );
    assert_eq!(serde_json::to_value(&cell).unwrap()["region"], "gcp:europe-west3");
    assert!(serde_json::from_str::<Cell>(&json.replace("europe-west3", "europe-west33")).is_err());
}
