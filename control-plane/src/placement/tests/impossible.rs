//! Why nothing fits, and what would.

use Constraint::{Capacity, CustomerStandby, IndependentStandby, Production, Residency};

use super::*;

/// What to give up, by way out.
fn ways_out(why: &Impossible) -> Vec<Vec<Constraint>> {
    why.relaxations.iter().map(|relaxation| relaxation.give_up.clone()).collect()
}

#[test]
fn a_residency_rule_that_leaves_only_the_footprint() {
    let cells = [cell("eu-central-1", &[]), cell("europe-west4", &[]), cell("francecentral", &[])];
    let why = why(&Needs { without_standby: true, ..needs(&["eu-central-1"], &[], &["DE"]) }, &cells);
    assert_eq!(why.conflicts, [vec![Production, Residency]]);
    assert_eq!(ways_out(&why), [vec![Production], vec![Residency]]);
    assert_eq!(why.relaxations[0].means, ["production would have to leave aws:eu-central-1"]);
    assert_eq!(why.relaxations[1].means, ["the residency rule would have to allow NL (gcp:europe-west4)"]);
    assert_eq!(
        why.to_string(),
        "no cell fits: these cannot be had together: not in a region that production runs in + only where the residency \
         rule allows. Possible would be: production would have to leave aws:eu-central-1; or: the residency rule would \
         have to allow NL (gcp:europe-west4)"
    );
}

#[test]
fn one_cell_cannot_stand_by_for_itself() {
    let cells = [cell("europe-west4", &[]), cell("europe-west3", &["europe-west4"])];
    let why = why(&needs(&["eu-central-1"], &[], &[]), &cells);
    assert_eq!(why.conflicts, [vec![IndependentStandby]]);
    assert_eq!(ways_out(&why), [vec![IndependentStandby]]);
    assert_eq!(
        why.relaxations[0].means,
        ["the tenant would have to do with the cell cell-europe-west4 alone"]
    );
}

#[test]
fn several_contradictions_are_all_named_and_a_way_out_resolves_all_of_them() {
    // Too small everywhere, and the only country that is allowed has one cell.
    let cells = [cell("eu-central-1", &[]), cell("us-east4", &[])];
    let needs = Needs { capacity: 501, ..needs(&[], &[], &["DE"]) };
    let why = why(&needs, &cells);
    assert_eq!(why.conflicts, [vec![Capacity], vec![Residency, IndependentStandby]]);
    assert_eq!(ways_out(&why), [vec![Residency, Capacity], vec![Capacity, IndependentStandby]]);
    assert_eq!(
        why.relaxations[1].means,
        [
            "the cell cell-eu-central-1 would need 1 more samples/s",
            "the tenant would have to do with the cell cell-eu-central-1 alone"
        ]
    );
}

#[test]
fn a_hidden_dependency_is_as_good_as_being_there() {
    let cells = [cell("europe-west4", &["us-east-1"]), cell("francecentral", &["eu-west-1"])];
    let why = why(&needs(&["us-east-1"], &["eu-west-1"], &[]), &cells);
    // Without both constraints there are two cells; with either, at most one, which cannot stand by for itself.
    assert_eq!(
        why.conflicts,
        [
            vec![Production, CustomerStandby],
            vec![Production, IndependentStandby],
            vec![CustomerStandby, IndependentStandby]
        ]
    );
    assert_eq!(
        ways_out(&why),
        [
            vec![Production, CustomerStandby],
            vec![Production, IndependentStandby],
            vec![CustomerStandby, IndependentStandby]
        ]
    );
}
