//! The bytes of a manifest.
//!
//! | at | field | |
//! |---|---|---|
//! | 0 | magic | `farwman` |
//! | 7 | version | `u8`, 1 |
//! | 8 | kind | `u8`: 1 shard, 2 tenant |
//! | 9 | raw length | `u64`, little-endian: bytes of the JSON; read before anything is allocated |
//! | 17 | contents | one zstd frame of JSON |
//! | −8 | checksum | `u64`, little-endian: xxh3-64 of all before it |
//!
//! JSON, because a manifest is small next to what it describes, and a person who has to look into one at night can.

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh3::xxh3_64;

use super::ManifestError;
use crate::limits::{MANIFEST_BYTES_PER_BYTE, MAX_MANIFEST_BYTES, MAX_SMALL_MANIFEST_BYTES};

const MAGIC: &[u8; 7] = b"farwman";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 17;
const CHECKSUM_BYTES: usize = 8;
/// The level at which zstd compresses: manifests are written some times a minute, and read more often.
const ZSTD_LEVEL: i32 = 3;

/// Which manifest it is. The numbers are persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ManifestKind {
    /// Of a shard.
    Shard = 1,
    /// Of a tenant.
    Tenant = 2,
}

/// The bytes of `manifest`.
pub(super) fn encode<M: Serialize>(kind: ManifestKind, manifest: &M) -> Result<Vec<u8>, ManifestError> {
    let raw =
        serde_json::to_vec(manifest).map_err(|error| ManifestError::Corrupt(format!("not JSON: {error}")))?;
    check_len(raw.len() as u64, MAX_MANIFEST_BYTES)?;
    let packed = zstd::bulk::compress(&raw, ZSTD_LEVEL)
        .map_err(|error| ManifestError::Corrupt(format!("compression failed: {error}")))?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + packed.len() + CHECKSUM_BYTES);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&(raw.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&packed);
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// The manifest in `bytes`. Takes no more memory than in proportion to their number.
pub(super) fn decode<M: DeserializeOwned>(kind: ManifestKind, bytes: &[u8]) -> Result<M, ManifestError> {
    let raw = unpack(kind, bytes)?;
    serde_json::from_slice(&raw).map_err(|error| ManifestError::Corrupt(error.to_string()))
}

fn unpack(kind: ManifestKind, bytes: &[u8]) -> Result<Vec<u8>, ManifestError> {
    check_len(bytes.len() as u64, MAX_MANIFEST_BYTES)?;
    let (checked, checksum) = bytes
        .split_last_chunk::<CHECKSUM_BYTES>()
        .filter(|(checked, _)| checked.len() >= HEADER_BYTES)
        .ok_or(ManifestError::NotAManifest("it is too short"))?;
    if !checked.starts_with(MAGIC) {
        return Err(ManifestError::NotAManifest("it begins otherwise"));
    }
    let (expected, found) = (u64::from_le_bytes(*checksum), xxh3_64(checked));
    if checked[7] != VERSION {
        return Err(ManifestError::Version { found: checked[7], known: VERSION });
    }
    if expected != found {
        return Err(ManifestError::Checksum { expected, found });
    }
    if checked[8] != kind as u8 {
        return Err(ManifestError::NotAManifest("it is one of another kind"));
    }
    let (header, packed) = checked.split_at(HEADER_BYTES);
    let raw_len = header.last_chunk::<8>().map_or(0, |len| u64::from_le_bytes(*len));
    let justified = (packed.len() as u64).saturating_mul(MANIFEST_BYTES_PER_BYTE);
    check_len(raw_len, justified.clamp(MAX_SMALL_MANIFEST_BYTES, MAX_MANIFEST_BYTES))?;
    let raw = zstd::bulk::decompress(packed, raw_len as usize)
        .map_err(|error| ManifestError::Corrupt(format!("it does not decompress: {error}")))?;
    if raw.len() as u64 != raw_len {
        return Err(ManifestError::Corrupt("its contents are shorter than it says".to_owned()));
    }
    Ok(raw)
}

fn check_len(bytes: u64, limit: u64) -> Result<(), ManifestError> {
    if bytes > limit { Err(ManifestError::TooLarge { bytes, limit }) } else { Ok(()) }
}
