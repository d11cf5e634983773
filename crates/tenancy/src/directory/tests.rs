use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use super::*;
use crate::scope::Scope;
use crate::tenant::Limits;

const NOW_MS: i64 = 1_790_000_000_000;

/// Made by the last publisher of format version 1, with the seed of 32 ones. Never changed.
const GOLDEN_1: &str = include_str!("golden/version-1");

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(7)
}

fn entry(key: &ApiKey, scopes: &[Scope]) -> KeyEntry {
    KeyEntry::of(key, scopes.iter().copied())
}

fn tenant(id: &str, keys: Vec<KeyEntry>) -> TenantEntry {
    TenantEntry {
        id: id.to_owned(),
        shard: 3,
        retention_days: 30,
        limits: Limits::default(),
        home_cell: None,
        keys,
    }
}

fn document(tenants: Vec<TenantEntry>) -> DirectoryDocument {
    DirectoryDocument { version: 5, issued_at_ms: NOW_MS, tenants }
}

fn refusal(document: &DirectoryDocument) -> String {
    document.publish(&DirectorySigner::generate(&mut rng())).unwrap_err().to_string()
}

#[test]
fn a_published_directory_answers_who_a_key_is() {
    let mut rng = rng();
    let signer = DirectorySigner::generate(&mut rng);
    let (acme, other, stranger) =
        (ApiKey::generate(&mut rng), ApiKey::generate(&mut rng), ApiKey::generate(&mut rng));
    let published = document(vec![
        tenant("acme", vec![entry(&acme, &[Scope::MetricsWrite])]),
        tenant("other", vec![entry(&other, &[Scope::MetricsRead, Scope::Admin])]),
    ])
    .publish(&signer)
    .unwrap();
    let directory = Directory::open(&published, &signer.verifier()).unwrap();

    let principal = directory.authenticate(&acme, NOW_MS).unwrap();
    assert_eq!((principal.tenant.id.as_str(), principal.tenant.shard), ("acme", 3));
    assert_eq!(principal.key, Some(acme.id()));
    assert!(principal.scopes.allows(Scope::MetricsWrite) && !principal.scopes.allows(Scope::MetricsRead));
    assert_eq!(directory.authenticate(&other, NOW_MS).unwrap().tenant.id.as_str(), "other");
    assert_eq!(directory.authenticate(&stranger, NOW_MS).unwrap_err(), AuthError::Unknown);
    assert_eq!((directory.version(), directory.issued_at_ms()), (5, NOW_MS));
}

#[test]
fn the_id_of_a_key_with_another_secret_is_unknown() {
    let mut rng = rng();
    let (real, guess) = (ApiKey::generate(&mut rng), ApiKey::generate(&mut rng));
    let mut listed = entry(&real, &[Scope::MetricsWrite]);
    listed.id = guess.id().to_string();
    listed.revoked_at_ms = Some(1);
    let directory = document(vec![tenant("acme", vec![listed])]).into_directory().unwrap();
    assert_eq!(directory.authenticate(&guess, NOW_MS).unwrap_err(), AuthError::Unknown);
}

#[test]
fn expiry_and_revocation_end_a_key() {
    let mut rng = rng();
    let (expiring, revoked) = (ApiKey::generate(&mut rng), ApiKey::generate(&mut rng));
    let keys = vec![
        KeyEntry { expires_at_ms: Some(NOW_MS), ..entry(&expiring, &[Scope::MetricsWrite]) },
        // A publisher whose clock is ahead still revokes at once.
        KeyEntry { revoked_at_ms: Some(NOW_MS + 60_000), ..entry(&revoked, &[Scope::MetricsWrite]) },
    ];
    let directory = document(vec![tenant("acme", keys)]).into_directory().unwrap();
    assert!(directory.authenticate(&expiring, NOW_MS - 1).is_ok());
    assert_eq!(directory.authenticate(&expiring, NOW_MS).unwrap_err(), AuthError::Expired(expiring.id()));
    assert_eq!(directory.authenticate(&revoked, NOW_MS).unwrap_err(), AuthError::Revoked(revoked.id()));
}

#[test]
fn something_is_kept_for_higher_priorities_only_where_there_are_any() {
    let mut rng = rng();
    let keys: Vec<ApiKey> = (0..3).map(|_| ApiKey::generate(&mut rng)).collect();
    let write = [Scope::MetricsWrite];
    let with = |key: &ApiKey, priority| KeyEntry { priority, ..entry(key, &write) };
    let revoked = KeyEntry { revoked_at_ms: Some(1), ..with(&keys[2], Priority::High) };
    let above = |keys_of_tenant: &[KeyEntry], key: &ApiKey| {
        let directory = document(vec![tenant("acme", keys_of_tenant.to_vec())]).into_directory().unwrap();
        directory.authenticate(key, NOW_MS).unwrap().priorities_above()
    };
    let (low, normal) = (with(&keys[0], Priority::Low), with(&keys[1], Priority::Normal));
    assert_eq!(above(&[low.clone(), revoked.clone()], &keys[0]), 0);
    assert_eq!(above(&[low.clone(), normal.clone(), revoked.clone()], &keys[0]), 1);
    let high = KeyEntry { revoked_at_ms: None, ..revoked };
    assert_eq!(above(&[low.clone(), high.clone()], &keys[0]), 2);
    assert_eq!(above(&[low, normal, high], &keys[2]), 0);
}

#[test]
fn a_directory_that_contradicts_itself_is_not_published() {
    let key = ApiKey::generate(&mut rng());
    let listed = entry(&key, &[Scope::MetricsWrite]);
    let cases = [
        ("two tenants with the id acme", vec![tenant("acme", vec![]), tenant("acme", vec![])]),
        (
            "two keys with the id",
            vec![tenant("acme", vec![listed.clone()]), tenant("other", vec![listed.clone()])],
        ),
        ("no tenant id", vec![tenant("../acme", vec![])]),
        ("bad retention_days", vec![TenantEntry { retention_days: 0, ..tenant("acme", vec![]) }]),
        (
            "bad limits.samples_burst",
            vec![TenantEntry {
                limits: Limits { samples_burst: 0, ..Limits::default() },
                ..tenant("acme", vec![])
            }],
        ),
        ("bad key id", vec![tenant("acme", vec![KeyEntry { id: "short".to_owned(), ..listed.clone() }])]),
        (
            "bad key sha256",
            vec![tenant("acme", vec![KeyEntry { sha256: "00".to_owned(), ..listed.clone() }])],
        ),
        (
            "bad key network",
            vec![tenant(
                "acme",
                vec![KeyEntry { networks: vec!["10.1.1.1/8".to_owned()], ..listed.clone() }],
            )],
        ),
        (
            "101 networks of one key",
            vec![tenant("acme", vec![KeyEntry { networks: vec!["10.1.1.1".to_owned(); 101], ..listed }])],
        ),
        (
            "bad limits.spans_per_second",
            vec![TenantEntry {
                limits: Limits { spans_per_second: Some(u32::MAX), ..Limits::default() },
                ..tenant("acme", vec![])
            }],
        ),
    ];
    for (expected, tenants) in cases {
        let refused = refusal(&document(tenants));
        assert!(refused.contains(expected), "{refused:?} does not contain {expected:?}");
    }
}

#[test]
fn only_the_publishers_untouched_bytes_are_believed() {
    let mut rng = rng();
    let (signer, impostor) = (DirectorySigner::generate(&mut rng), DirectorySigner::generate(&mut rng));
    let published = document(vec![tenant("acme", vec![])]).publish(&signer).unwrap();
    assert!(Directory::open(&published, &signer.verifier()).is_ok());
    assert!(matches!(Directory::open(&published, &impostor.verifier()), Err(DirectoryError::Signature)));
    // Every byte of the first line, and of the payload as many as a debug build checks in a moment.
    let first_line = published.iter().position(|&byte| byte == b'\n').unwrap();
    for at in (0..=first_line).chain((first_line..published.len()).step_by(29)) {
        let mut touched = published.clone();
        touched[at] ^= 1;
        assert!(Directory::open(&touched, &signer.verifier()).is_err(), "byte {at}");
        assert!(Directory::open(&published[..at], &signer.verifier()).is_err(), "cut at {at}");
    }
}

#[test]
fn a_signed_payload_that_is_no_directory_is_an_error() {
    let signer = DirectorySigner::generate(&mut rng());
    for payload in ["", "null", "{}", "[[[[", r#"{"version":-1,"issued_at_ms":0,"tenants":[]}"#] {
        let opened = Directory::open(&signer.sign(payload.as_bytes()), &signer.verifier());
        assert!(matches!(opened, Err(DirectoryError::Payload(_))), "{payload}");
    }
    let deep = "[".repeat(1_000_000);
    assert!(Directory::open(&signer.sign(deep.as_bytes()), &signer.verifier()).is_err());
}

#[test]
fn a_published_document_can_be_opened_to_be_changed() {
    let signer = DirectorySigner::generate(&mut rng());
    let published = document(vec![]).publish(&signer).unwrap();
    assert_eq!(DirectoryDocument::open(&published, &signer.verifier()).unwrap(), document(vec![]));
    let other = DirectorySigner::from_seed(&[9; 32]).verifier();
    assert!(matches!(DirectoryDocument::open(&published, &other), Err(DirectoryError::Signature)));
}

#[test]
fn fields_of_later_publishers_are_ignored() {
    let signer = DirectorySigner::generate(&mut rng());
    let json =
        br#"{"version":1,"issued_at_ms":0,"new":{},"tenants":[{"id":"a","retention_days":1,"home":"x"}]}"#;
    let directory = Directory::open(&signer.sign(json), &signer.verifier()).unwrap();
    let tenant = directory.tenant(&TenantId::new("a").unwrap()).unwrap();
    assert_eq!((tenant.shard, &tenant.limits), (0, &Limits::default()));
}

#[test]
fn directories_of_format_version_1_are_still_read() {
    let signer = DirectorySigner::from_seed(&[1; 32]);
    let directory = Directory::open(GOLDEN_1.as_bytes(), &signer.verifier()).unwrap();
    let tenant = directory.tenant(&TenantId::new("acme").unwrap()).unwrap();
    assert_eq!((tenant.shard, tenant.retention_days, tenant.limits.samples_per_second), (3, 30, None));
    // Its signature is worth nothing in the format after it.
    let renamed = GOLDEN_1.replacen("directory 1", "directory 2", 1);
    assert!(matches!(
        Directory::open(renamed.as_bytes(), &signer.verifier()),
        Err(DirectoryError::Signature)
    ));
    let future = GOLDEN_1.replacen("directory 1", "directory 3", 1);
    assert!(matches!(Directory::open(future.as_bytes(), &signer.verifier()), Err(DirectoryError::Header)));
}

#[test]
fn keys_survive_being_stored() {
    let signer = DirectorySigner::generate(&mut rng());
    let again = DirectorySigner::from_seed(&signer.expose_seed());
    let verifier = DirectoryVerifier::from_bytes(&again.verifier().to_bytes()).unwrap();
    let published = document(vec![]).publish(&signer).unwrap();
    assert!(Directory::open(&published, &verifier).is_ok());
    assert!(!format!("{signer:?}").contains(&format!("{:?}", signer.expose_seed())));
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let verifier = DirectorySigner::from_seed(&[1; 32]).verifier();
        prop_assert!(Directory::open(&bytes, &verifier).is_err());
    }
}
