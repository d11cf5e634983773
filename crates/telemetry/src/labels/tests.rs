use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn pairs() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-c_A\u{e4}]{1,70}", "[x-z\u{1F600}]{0,200}", 0..8)
}

proptest! {
    /// What goes in comes out, sorted, without empty values, whatever the order it went in.
    #[test]
    fn pairs_round_trip(pairs in pairs(), rotation in 0_usize..8) {
        let mut shuffled: Vec<_> = pairs.clone().into_iter().collect();
        let by = rotation.min(shuffled.len());
        shuffled.rotate_left(by);
        let labels = Labels::from_pairs(shuffled).unwrap();
        let expected: Vec<_> = pairs.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.as_str(), v.as_str())).collect();
        prop_assert_eq!(labels.iter().collect::<Vec<_>>(), expected);
        for (name, value) in &pairs {
            prop_assert_eq!(labels.get(name), Some(value.as_str()).filter(|v| !v.is_empty()));
        }
        prop_assert_eq!(Labels::from_canonical(labels.as_canonical()).unwrap(), labels);
    }

    /// The order is that of the lists of pairs.
    #[test]
    fn order_is_that_of_the_pairs(mut a in pairs(), mut b in pairs(), shared in pairs()) {
        a.extend(shared.clone());
        b.extend(shared);
        let (left, right) = (Labels::from_pairs(&a).unwrap(), Labels::from_pairs(&b).unwrap());
        let present = |m: &BTreeMap<String, String>| -> Vec<(String, String)> {
            m.iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| (n.clone(), v.clone())).collect()
        };
        prop_assert_eq!(left.cmp(&right), present(&a).cmp(&present(&b)));
        prop_assert_eq!(left == right, left.cmp(&right).is_eq());
    }

    /// Any text is either refused or the one canonical form of what it decodes to.
    #[test]
    fn canonical_form_is_unique(text in "[\\x00-\\x7f]{0,12}|[\\x01\\x02a-c]{0,12}") {
        if let Ok(labels) = Labels::from_canonical(&text) {
            let again = Labels::from_pairs(labels.iter()).unwrap();
            prop_assert_eq!(again.as_canonical(), text.as_str());
        }
    }
}

#[test]
fn refuses_duplicates_and_empty_names() {
    assert_eq!(
        Labels::from_pairs([("a", "1"), ("b", "2"), ("a", "3")]),
        Err(LabelError::DuplicateName("a".to_owned()))
    );
    assert_eq!(Labels::from_pairs([("", "1")]), Err(LabelError::EmptyName("1".to_owned())));
}

#[test]
fn prints_as_promql_writes_it() {
    let show = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap().to_string();
    assert_eq!(show(&[]), "{}");
    assert_eq!(show(&[("__name__", "up")]), "up");
    assert_eq!(show(&[("__name__", "a:b"), ("job", "x\"y")]), r#"a:b{job="x\"y"}"#);
    assert_eq!(show(&[("__name__", "http.requests"), ("a.b", "c")]), r#"{"http.requests", "a.b"="c"}"#);
}

#[test]
fn canonical_text_is_taken_apart_and_put_together_pair_by_pair() {
    let long = "v".repeat(200);
    let labels = Labels::from_pairs([("__name__", "up"), ("a", long.as_str())]).unwrap();
    let (name, value, rest) = split_canonical_pair(labels.as_canonical()).unwrap();
    assert_eq!((name, value), ("__name__", "up"));
    assert_eq!(split_canonical_pair(rest), Some(("a", long.as_str(), "")));
    assert_eq!(split_canonical_pair(&rest[..rest.len() - 1]), None);
    let mut text = String::new();
    for (name, value) in &labels {
        push_canonical_pair(&mut text, name, value);
    }
    assert_eq!(text, labels.as_canonical());
}
