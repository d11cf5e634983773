use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use super::*;

fn key(seed: u64) -> ApiKey {
    ApiKey::generate(&mut ChaCha20Rng::seed_from_u64(seed))
}

#[test]
fn a_generated_key_parses_to_the_same_key() {
    for seed in 0..200 {
        let key = key(seed);
        let parsed = ApiKey::parse(key.expose().as_bytes()).unwrap();
        assert_eq!(parsed.id(), key.id());
        assert!(parsed.hash().matches(&key.hash()));
        assert_eq!(KeyId::parse(key.id().as_str()), Some(key.id()));
    }
}

#[test]
fn the_format_never_changes() {
    // Keys outlive releases: this one must parse for ever.
    let old = ApiKey::parse(b"fw_sSi26hqQPiwMr0Dglbdwclh2D2HYqfEjFxJ0rl6KJkXwhQBtb7tdX3V387E0C").unwrap();
    assert_eq!(old.id().as_str(), "sSi26hqQPiwM");
    assert_eq!(old.hash().to_hex(), "e80c87191bf823cecc6c008f7222373ca3e538f76c8d206c7bfa364771655206");
}

#[test]
fn different_keys_do_not_match() {
    assert!(!key(1).hash().matches(&key(2).hash()));
    assert_ne!(key(1).id(), key(2).id());
}

#[test]
fn every_changed_character_is_noticed() {
    let key = key(3);
    for at in 0..API_KEY_LEN {
        let mut text = key.expose().as_bytes().to_vec();
        text[at] = if text[at] == b'x' { b'y' } else { b'x' };
        assert!(ApiKey::parse(&text).is_err(), "character {at}");
    }
}

#[test]
fn debug_shows_the_id_alone() {
    let key = key(4);
    let shown = format!("{key:?}");
    assert!(shown.contains(key.id().as_str()));
    for at in PREFIX.len() + ID_LEN..API_KEY_LEN - 4 {
        assert!(!shown.contains(&key.expose()[at..at + 4]), "{shown}");
    }
}

#[test]
fn hashes_survive_hexadecimal() {
    let hash = key(5).hash();
    assert!(KeyHash::from_hex(&hash.to_hex()).unwrap().matches(&hash));
    for bad in ["", "00", &"0".repeat(65), &"G".repeat(64), &"ä".repeat(32)] {
        assert!(KeyHash::from_hex(bad).is_none(), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic(text in prop::collection::vec(any::<u8>(), 0..80)) {
        prop_assert!(ApiKey::parse(&text).is_err());
    }
}
