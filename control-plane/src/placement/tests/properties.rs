//! What holds for every tenant and all cells.

use proptest::prelude::*;

use super::*;

/// Any region, of a dozen that collide often.
fn some_region() -> impl Strategy<Value = RegionRef> {
    const OFTEN: [&str; 12] = [
        "eu-west-1",
        "eu-central-1",
        "eu-west-3",
        "europe-west3",
        "europe-west4",
        "europe-west9",
        "westeurope",
        "northeurope",
        "us-east-1",
        "us-east4",
        "eastus",
        "switzerlandnorth",
    ];
    let all: Vec<RegionRef> = RegionRef::all().collect();
    prop_oneof![4 => prop::sample::select(OFTEN.to_vec()).prop_map(region), 1 => prop::sample::select(all)]
}

fn cells() -> impl Strategy<Value = Vec<Cell>> {
    let dependency = prop_oneof![
        3 => some_region().prop_map(Dependency::Region),
        1 => prop::sample::select(vec![Provider::Aws, Provider::Gcp, Provider::Azure]).prop_map(Dependency::Provider),
    ];
    let one = (some_region(), prop::collection::vec(dependency, 0..2), 0..2000_u64, 0..2000_u64, 50..200_u32);
    prop::collection::vec(one, 1..8).prop_map(|cells| {
        let cell = |(index, (region, depends_on, capacity, used, cost_index))| Cell {
            id: format!("c{index}"),
            region,
            depends_on,
            capacity,
            used,
            cost_index,
        };
        cells.into_iter().enumerate().map(cell).collect()
    })
}

fn some_needs() -> impl Strategy<Value = Needs> {
    let places = ["EU", "EEA", "UK", "US", "DE", "NL", "CH"];
    (
        prop::collection::btree_set(some_region(), 0..4),
        prop::collection::btree_set(some_region(), 0..3),
        prop::collection::vec(prop::sample::select(places.to_vec()), 0..3),
        prop::option::of(prop_oneof![
            (0..200_u32).prop_map(LatencyWish::Ms),
            (0..9000_u32).prop_map(LatencyWish::Km)
        ]),
        prop_oneof![Just(0_u64), 0..1500_u64],
        prop::bool::weighted(0.2),
        prop::collection::vec((0..8_u8).prop_map(|index| format!("c{index}")), 0..2),
    )
        .prop_map(|(production, standby, residency, latency, capacity, without_standby, current)| {
            Needs {
                production,
                standby,
                residency: residency.into_iter().map(|place| Place::parse(place).unwrap()).collect(),
                latency,
                capacity,
                without_standby,
                current,
            }
        })
}

/// The needs without some constraints.
fn relaxed(needs: &Needs, give_up: &[Constraint]) -> Needs {
    let mut needs = needs.clone();
    for constraint in give_up {
        match constraint {
            Constraint::Production => needs.production.clear(),
            Constraint::CustomerStandby => needs.standby.clear(),
            Constraint::Residency => needs.residency.clear(),
            Constraint::Capacity => needs.capacity = 0,
            Constraint::IndependentStandby => needs.without_standby = true,
        }
    }
    needs
}

/// Whether a cell may hold a tenant, told apart from how the solver tells it.
fn may_hold(cell: &Cell, needs: &Needs) -> bool {
    let mut touched = vec![cell.region];
    for dependency in &cell.depends_on {
        if let Dependency::Region(region) = dependency {
            touched.push(*region);
        }
    }
    let own = if needs.current.contains(&cell.id) { i128::from(needs.capacity) } else { 0 };
    let used = (i128::from(cell.used) - own).max(0);
    touched.iter().all(|region| !needs.production.contains(region) && !needs.standby.contains(region))
        && (needs.residency.is_empty() || needs.residency.iter().any(|place| place.contains(cell.region)))
        && (needs.capacity == 0 || used + i128::from(needs.capacity) <= i128::from(cell.capacity))
}

/// Every subset of `set` that lacks one.
fn all_but_one(set: &[Constraint]) -> Vec<Vec<Constraint>> {
    set.iter().map(|left_out| set.iter().filter(|kept| *kept != left_out).copied().collect()).collect()
}

/// Constraints that are not in `set`.
fn others(set: &[Constraint]) -> Vec<Constraint> {
    Constraint::ALL.into_iter().filter(|constraint| !set.contains(constraint)).collect()
}

/// Checks an explanation by asking the solver about changed needs.
fn check_explanation(why: &Impossible, needs: &Needs, cells: &[Cell]) -> Result<(), TestCaseError> {
    prop_assert!(!why.conflicts.is_empty() && !why.relaxations.is_empty());
    for relaxation in &why.relaxations {
        let given_up = &relaxation.give_up;
        prop_assert!(!relaxation.means.is_empty() && !given_up.is_empty());
        prop_assert!(place(&relaxed(needs, given_up), cells).is_ok(), "{given_up:?} are enough to give up");
        for less in all_but_one(given_up) {
            prop_assert!(place(&relaxed(needs, &less), cells).is_err(), "{less:?} are not enough to give up");
        }
        for conflict in &why.conflicts {
            prop_assert!(conflict.iter().any(|constraint| given_up.contains(constraint)));
        }
    }
    for conflict in &why.conflicts {
        prop_assert!(
            place(&relaxed(needs, &others(conflict)), cells).is_err(),
            "{conflict:?} contradict each other"
        );
        for less in all_but_one(conflict) {
            prop_assert!(place(&relaxed(needs, &others(&less)), cells).is_ok(), "{less:?} do not");
        }
    }
    for excluded in &why.excluded {
        prop_assert!(!excluded.obstacles.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn no_tenant_is_placed_in_its_footprint_and_every_answer_explains_itself(needs in some_needs(), cells in cells()) {
        let find = |id: &str| cells.iter().find(|cell| cell.id == id).unwrap();
        match place(&needs, &cells) {
            Ok(placement) => {
                let home = find(&placement.home.cell);
                prop_assert!(may_hold(home, &needs));
                prop_assert_eq!(placement.standby.is_none(), needs.without_standby);
                if let Some(chosen) = &placement.standby {
                    let standby = find(&chosen.cell);
                    prop_assert!(may_hold(standby, &needs));
                    prop_assert!(standby.id != home.id && standby.region != home.region);
                    prop_assert!(standby.is_independent_of(home));
                }
                for choice in std::iter::once(&placement.home).chain(&placement.standby) {
                    prop_assert!(!choice.reasons.is_empty());
                    prop_assert_eq!(choice.score, choice.reasons.iter().map(|reason| reason.points).sum::<i32>());
                    prop_assert!(choice.reasons.iter().all(|reason| !reason.fact.to_string().is_empty()));
                }
                prop_assert!(placement.runners_up.iter().all(|other| other.score <= placement.score));
                // Each cell is possible or excluded, and with a reason.
                for cell in &cells {
                    let excluded = placement.excluded.iter().find(|excluded| excluded.cell == cell.id);
                    prop_assert_eq!(excluded.is_none(), may_hold(cell, &needs));
                    prop_assert!(excluded.is_none_or(|excluded| !excluded.obstacles.is_empty()));
                }
                let mut shuffled = cells.clone();
                shuffled.reverse();
                prop_assert_eq!(place(&needs, &shuffled), Ok(placement));
            }
            Err(PlacementError::Impossible(why)) => {
                let possible: Vec<&Cell> = cells.iter().filter(|cell| may_hold(cell, &needs)).collect();
                let pair = possible.iter().any(|a| possible.iter().any(|b| a.is_independent_of(b)));
                let nothing_fits = if needs.without_standby { possible.is_empty() } else { !pair };
                prop_assert!(nothing_fits);
                check_explanation(&why, &needs, &cells)?;
            }
            Err(other) => prop_assert!(false, "{other}"),
        }
    }
}

proptest! {
    #[test]
    fn no_text_is_read_wrongly_or_does_harm(text in "\\PC{0,40}|[a-z]{2}[- ]?[a-z]{4,9}[- ]?[0-9]{1,2}[a-z]?") {
        if let Ok(region) = resolve(None, &text) {
            let letters = |text: &str| -> String { text.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect() };
            prop_assert!(letters(&text).contains(&letters(region.code)) || text.contains("-az"));
        }
    }

    #[test]
    fn proposals_are_away_from_all_that_was_seen(
        needs in some_needs(),
        cells in cells(),
        seen in prop::collection::vec((some_region(), 0..1_000_000_u64), 0..5),
        home in any::<prop::sample::Index>(),
    ) {
        let observations: Vec<Observation> = seen
            .iter()
            .map(|(region, samples)| Observation {
                provider: region.provider.as_str().to_owned(),
                region: region.code.to_owned(),
                zone: String::new(),
                samples: *samples,
                first_seen_ms: 0,
                last_seen_ms: 0,
            })
            .collect();
        let home = &cells[home.index(cells.len())];
        let placed = Placed { home: home.id.clone(), standby: None };
        let report = review(&observations, &needs, &placed, &cells, NoiseThreshold::default()).unwrap();
        let overlaps = home.regions().any(|region| report.seen.iter().any(|seen| seen.region == region));
        prop_assert_eq!(overlaps, !report.conflicts.is_empty());
        prop_assert_eq!(overlaps, report.proposal.is_some());
        if let Some(Proposal::Move(placement)) = &report.proposal {
            for choice in std::iter::once(&placement.home).chain(&placement.standby) {
                let cell = cells.iter().find(|cell| cell.id == choice.cell).unwrap();
                let touches = |seen: &Seen| cell.regions().any(|region| region == seen.region);
                prop_assert!(!report.seen.iter().any(touches));
            }
        }
    }
}
