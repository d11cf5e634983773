//! What is written is read again, and whatever else the bytes are, reading them is an error and takes little memory.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use telemetry::{BatchCounts, TenantId};

use super::*;
use crate::{ObjectId, SegmentKey, ShardId};

fn id() -> impl Strategy<Value = ObjectId> {
    (0..4_000_000_000_000_i64, any::<u64>()).prop_map(|(time_ms, unique)| ObjectId::new(time_ms, unique))
}

fn key() -> impl Strategy<Value = SegmentKey> {
    (0..4_000_000_000_000_i64, any::<u64>())
        .prop_map(|(time_ms, unique)| SegmentKey::new(ShardId(7), time_ms, unique))
}

fn span() -> impl Strategy<Value = (SegmentKey, SegmentKey)> {
    (key(), key()).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

fn tenant() -> impl Strategy<Value = TenantId> {
    "[a-z0-9][a-z0-9_-]{0,8}".prop_map(|text| TenantId::new(&text).unwrap())
}

fn quarantined() -> impl Strategy<Value = Quarantined> {
    (".{0,20}", proptest::option::of(tenant()), ".{0,20}", any::<i64>())
        .prop_map(|(object, tenant, reason, since_ms)| Quarantined { object, tenant, reason, since_ms })
}

fn retired() -> impl Strategy<Value = Retired> {
    (id(), any::<i64>()).prop_map(|(id, since_ms)| Retired { id, since_ms })
}

fn shard_manifest() -> impl Strategy<Value = ShardManifest> {
    let merged = (any::<u64>(), 1..=u8::MAX, span(), any::<u64>(), any::<u64>());
    (
        (any::<u64>(), any::<u64>()),
        btree_map(id(), merged, 0..4),
        btree_map(key(), any::<i64>(), 0..4),
        (btree_set(key(), 0..3), vec(retired(), 0..3)),
        btree_set(id(), 0..3),
        btree_set(tenant(), 0..3),
        vec(quarantined(), 0..3),
    )
        .prop_map(
            |(
                (generation, epoch),
                merged,
                absorbed,
                (absorbed_to, retired),
                doomed,
                deleted_tenants,
                quarantined,
            )| {
                let merged = merged.into_iter().map(|(id, (len, tier, (first, last), samples, tenants))| {
                    Merged { id, len, tier, first, last, samples, tenants, fresh: samples / 2 }
                });
                let merged = merged.collect();
                ShardManifest {
                    generation,
                    epoch,
                    dividing: doomed.iter().take(1).copied().collect(),
                    merged,
                    swept: absorbed.len() as u64,
                    swept_to: absorbed.keys().next().copied(),
                    absorbed,
                    absorbed_to,
                    retired,
                    doomed,
                    deleted_tenants,
                    quarantined,
                }
            },
        )
}

fn segment() -> impl Strategy<Value = SegmentEntry> {
    let times = (any::<i64>(), any::<i64>(), any::<i64>());
    let level = prop_oneof![Just(Level::TwoHours), Just(Level::Day)];
    let resolution =
        prop_oneof![Just(Resolution::Raw), Just(Resolution::FiveMinutes), Just(Resolution::OneHour)];
    (id(), any::<(u64, u64)>(), level, times, span(), any::<[u64; 4]>(), resolution).prop_map(
        |(id, (a, b), level, (at, min_time_ms, max_time_ms), (first, last), counts, resolution)| {
            let [series, samples, exemplars, distinct] = counts;
            SegmentEntry {
                id,
                len: a.max(b),
                index_start: a.min(b),
                window: level.window_of(at),
                min_time_ms,
                max_time_ms,
                first,
                last,
                counts: BatchCounts { series, samples, exemplars },
                distinct,
                resolution,
            }
        },
    )
}

fn ledger() -> impl Strategy<Value = Ledger> {
    let usage =
        any::<[u64; 5]>().prop_map(|[samples, histogram_samples, active_series, exemplars, bytes]| {
            HourUsage { samples, histogram_samples, active_series, exemplars, bytes }
        });
    btree_map(any::<i64>().prop_map(Hour), usage, 0..4).prop_map(|hours| Ledger { hours })
}

fn tenant_manifest() -> impl Strategy<Value = TenantManifest> {
    (
        any::<u64>(),
        btree_set(id(), 0..3),
        vec(segment(), 0..4),
        vec(retired(), 0..3),
        btree_set(id(), 0..3),
        vec(quarantined(), 0..3),
        ledger(),
        any::<Option<i64>>(),
    )
        .prop_map(
            |(generation, absorbed, segments, retired, doomed, quarantined, ledger, dropped_before_ms)| {
                let segments: BTreeMap<ObjectId, SegmentEntry> =
                    segments.into_iter().map(|segment| (segment.id, segment)).collect();
                let segments = segments.into_values().collect();
                TenantManifest {
                    generation,
                    absorbed,
                    segments,
                    retired,
                    doomed,
                    quarantined,
                    ledger,
                    dropped_before_ms,
                }
            },
        )
}

proptest! {
    #[test]
    fn a_shard_manifest_is_its_bytes(manifest in shard_manifest()) {
        prop_assert_eq!(ShardManifest::decode(&manifest.encode().unwrap()), Ok(manifest));
    }

    #[test]
    fn a_tenant_manifest_is_its_bytes(manifest in tenant_manifest()) {
        prop_assert_eq!(TenantManifest::decode(&manifest.encode().unwrap()), Ok(manifest));
    }

    #[test]
    fn a_changed_byte_or_a_cut_is_noticed(
        manifest in tenant_manifest(), at in any::<prop::sample::Index>(), flip in 1..=u8::MAX,
    ) {
        let bytes = manifest.encode().unwrap();
        let at = at.index(bytes.len());
        let mut flipped = bytes.clone();
        flipped[at] ^= flip;
        prop_assert!(TenantManifest::decode(&flipped).is_err());
        prop_assert!(TenantManifest::decode(&bytes[..at]).is_err());
        prop_assert!(ShardManifest::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_an_error_and_no_more(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(ShardManifest::decode(&bytes).is_err());
        prop_assert!(TenantManifest::decode(&bytes).is_err());
    }
}

/// The bytes of a manifest with these contents, with sound checksum.
fn sealed(kind: u8, version: u8, raw_len: u64, contents: &[u8]) -> Vec<u8> {
    let mut bytes = b"farwman".to_vec();
    bytes.extend([version, kind]);
    bytes.extend(raw_len.to_le_bytes());
    bytes.extend(contents);
    let checksum = xxhash_rust::xxh3::xxh3_64(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

fn packed(text: &str) -> Vec<u8> {
    zstd::bulk::compress(text.as_bytes(), 3).unwrap()
}

#[test]
fn hostile_manifests_say_what_is_wrong() {
    let empty = packed("{}");
    assert_eq!(ShardManifest::decode(&sealed(1, 1, 2, &empty)), Ok(ShardManifest::default()));
    let later = ShardManifest::decode(&sealed(1, 2, 2, &empty)).unwrap_err();
    assert_eq!(later, ManifestError::Version { found: 2, known: 1 });

    // A length that a few bytes cannot stand for is refused before memory is taken for it.
    for raw_len in [u64::MAX, 1 << 40, 64 << 20] {
        let error = ShardManifest::decode(&sealed(1, 1, raw_len, &empty)).unwrap_err();
        assert!(matches!(error, ManifestError::TooLarge { .. }), "{error}");
    }
    let bomb = zstd::bulk::compress(&vec![b' '; 8 << 20], 3).unwrap();
    assert!(ShardManifest::decode(&sealed(1, 1, 2, &bomb)).is_err());
    let deep = format!("{{\"merged\":{}", "[".repeat(500_000));
    for (kind, text) in [
        (1, deep.as_str()),
        (1, r#"{"generation":-1}"#),
        (1, r#"{"generation":18446744073709551616}"#),
        (1, r#"{"unknown":1}"#),
        (1, r#"{"deleted_tenants":["a","a"]}"#),
        (1, r#"{"deleted_tenants":["../x"]}"#),
        (1, r#"{"doomed":["1-2"]}"#),
        (1, r#"{"absorbed":{"fresh/0/manifest":1}}"#),
        (2, r#"{"ledger":{"x":{}}}"#),
        (2, r#"{"segments":[{}]}"#),
        (1, "{} {}"),
    ] {
        let bytes = sealed(kind, 1, text.len() as u64, &packed(text));
        let error = match kind {
            1 => ShardManifest::decode(&bytes).unwrap_err(),
            _ => TenantManifest::decode(&bytes).unwrap_err(),
        };
        assert!(matches!(error, ManifestError::Corrupt(_)), "{text:.40}: {error}");
    }
}

#[test]
fn a_manifest_that_contradicts_itself_is_not_written() {
    let twice = ObjectId::new(5, 5);
    let key = SegmentKey::new(ShardId(0), 5, 5);
    let merged =
        Merged { id: twice, len: 1, tier: 1, first: key, last: key, samples: 1, tenants: 1, fresh: 1 };
    let mut manifest = ShardManifest { merged: vec![merged.clone(), merged], ..ShardManifest::default() };
    assert!(manifest.encode().is_err());
    manifest.merged.pop();
    assert!(manifest.encode().is_ok());
    assert!(manifest.names(&twice) && manifest.merged(&twice).is_some());
    manifest.doomed.insert(twice);
    assert!(manifest.encode().is_err());
}

/// A manifest of version 1, byte for byte: what was written once can be read for ever.
#[test]
fn version_1_is_read() {
    let text = r#"{"generation":3,"epoch":1,"merged":[{"id":"00000000000009-000000000000000a","len":700,"tier":2,
        "first":"fresh/0/00000000000001-0000000000000001","last":"fresh/0/00000000000008-0000000000000001",
        "samples":12,"tenants":2}],"absorbed":{"fresh/0/00000000000008-0000000000000001":1000},
        "retired":[{"id":"00000000000004-0000000000000001","since_ms":5}],"doomed":["00000000000002-0000000000000001"],
        "deleted_tenants":["gone"],"quarantined":[{"object":"fresh/0/00000000000003-0000000000000001","tenant":"a",
        "reason":"checksum","since_ms":6}]}"#;
    let manifest = ShardManifest::decode(&sealed(1, 1, text.len() as u64, &packed(text))).unwrap();
    assert_eq!((manifest.generation, manifest.epoch, manifest.merged[0].tier), (3, 1, 2));
    assert!(manifest.has_absorbed(&SegmentKey::new(ShardId(0), 8, 1)));
    assert_eq!(
        manifest.quarantined[0].to_string(),
        "fresh/0/00000000000003-0000000000000001 (tenant a): checksum"
    );

    let text = r#"{"generation":2,"absorbed":["00000000000009-000000000000000a"],"segments":[{
        "id":"00000000000011-0000000000000001","len":900,"index_start":600,
        "window":{"level":"two_hours","start_ms":1795363200000},"min_time_ms":1795363200001,"max_time_ms":1795363200009,
        "first":"fresh/0/00000000000001-0000000000000001","last":"fresh/0/00000000000008-0000000000000001",
        "counts":{"series":1,"samples":9,"exemplars":0},"distinct":9,"resolution":"raw"}],
        "ledger":{"498712":{"samples":9,"active_series":1,"bytes":144}}}"#;
    let manifest = TenantManifest::decode(&sealed(2, 1, text.len() as u64, &packed(text))).unwrap();
    assert!(manifest.has_absorbed(&ObjectId::new(9, 10)));
    assert_eq!(manifest.segments[0].window.end_ms(), 1_795_370_400_000);
    assert_eq!(manifest.ledger.hours[&Hour(498_712)].samples, 9);
    assert_eq!(Hour::of(1_795_363_200_001), Hour(498_712));
}

#[test]
fn windows_hold_every_time() {
    for at in [i64::MIN, -1, 0, 1, 7_200_000, i64::MAX] {
        for level in [Level::TwoHours, Level::Day] {
            let window = level.window_of(at);
            assert_eq!(window.start_ms.rem_euclid(level.ms()), 0, "{at}");
            assert!(at <= window.end_ms(), "{at}");
        }
    }
    assert_eq!(Level::TwoHours.window_of(-1).start_ms, -7_200_000);
}
