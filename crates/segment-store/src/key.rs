//! Names of objects: `fresh/{shard}/{time}-{unique}`, and the order that they give segments; and the ids of what compaction
//! writes.

use std::fmt;
use std::str::FromStr;

use rand::RngCore;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Digits of the time in a key: milliseconds since the Unix epoch until the year 5138.
const TIME_DIGITS: usize = 14;
/// The latest time that a key can hold, in milliseconds since the Unix epoch.
const MAX_TIME_MS: u64 = 10_u64.pow(TIME_DIGITS as u32) - 1;
/// Hexadecimal digits of the unique part.
const UNIQUE_DIGITS: usize = 16;

/// A shard: tenants that share fresh segments, their listing, the tail and compaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u32);

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl ShardId {
    /// The prefix of every key of this shard, with the slash at its end.
    #[must_use]
    pub fn fresh_prefix(self) -> String {
        format!("fresh/{self}/")
    }
}

/// The name of a fresh segment.
///
/// Its order is the segment order: by time, then by the unique part. Of samples with equal series and timestamp the one
/// in the later segment wins. As text it is the object's key, and text order within a shard is the same order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentKey {
    time_ms: u64,
    unique: u64,
    shard: ShardId,
}

impl SegmentKey {
    /// The key of these parts; times outside of what a key can hold become the nearest that it can.
    #[must_use]
    pub fn new(shard: ShardId, time_ms: i64, unique: u64) -> Self {
        Self { shard, time_ms: clamp_time(time_ms), unique }
    }

    /// The shard that the segment belongs to.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// When its writer named it, in milliseconds since the Unix epoch by the writer's clock (which may be wrong).
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.time_ms as i64
    }

    /// The first key of `shard` that a writer whose clock shows `time_ms` could make: a place to list from.
    #[must_use]
    pub fn earliest_at(shard: ShardId, time_ms: i64) -> Self {
        Self { shard, time_ms: clamp_time(time_ms), unique: 0 }
    }
}

impl fmt::Display for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fresh/{}/{:014}-{:016x}", self.shard, self.time_ms, self.unique)
    }
}

impl fmt::Debug for SegmentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not the key of a fresh segment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the key of a fresh segment (fresh/SHARD/TIME-UNIQUE): {0:?}")]
pub struct SegmentKeyError(String);

impl FromStr for SegmentKey {
    type Err = SegmentKeyError;

    fn from_str(text: &str) -> Result<Self, SegmentKeyError> {
        parse(text).filter(|key| key.to_string() == text).ok_or_else(|| SegmentKeyError(text.to_owned()))
    }
}

impl Serialize for SegmentKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SegmentKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Reads a key; leading zeros, signs and upper case are sorted out by the caller, who prints it again.
fn parse(text: &str) -> Option<SegmentKey> {
    let (shard, name) = text.strip_prefix("fresh/")?.split_once('/')?;
    let (time_ms, unique) = parse_name(name)?;
    Some(SegmentKey { shard: ShardId(shard.parse().ok()?), time_ms, unique })
}

fn parse_name(name: &str) -> Option<(u64, u64)> {
    let (time, unique) = name.split_once('-')?;
    if time.len() != TIME_DIGITS || unique.len() != UNIQUE_DIGITS {
        return None;
    }
    Some((time.parse().ok()?, u64::from_str_radix(unique, 16).ok()?))
}

/// What tells an object that compaction wrote from its neighbours: the last part of its key, `{time}-{unique}`. Its time says
/// when it was begun, by the clock of its writer, and decides nothing but when a look is worth while.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    time_ms: u64,
    unique: u64,
}

impl ObjectId {
    /// The id of these parts; times outside of what it can hold become the nearest that it can.
    #[must_use]
    pub fn new(time_ms: i64, unique: u64) -> Self {
        Self { time_ms: clamp_time(time_ms), unique }
    }

    /// When its writer named it, in milliseconds since the Unix epoch by the writer's clock (which may be wrong).
    #[must_use]
    pub fn time_ms(&self) -> i64 {
        self.time_ms as i64
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:014}-{:016x}", self.time_ms, self.unique)
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not the id of an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an object (TIME-UNIQUE): {0:?}")]
pub struct ObjectIdError(String);

impl FromStr for ObjectId {
    type Err = ObjectIdError;

    fn from_str(text: &str) -> Result<Self, ObjectIdError> {
        parse_name(text)
            .map(|(time_ms, unique)| Self { time_ms, unique })
            .filter(|id| id.to_string() == text)
            .ok_or_else(|| ObjectIdError(text.to_owned()))
    }
}

impl Serialize for ObjectId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn clamp_time(time_ms: i64) -> u64 {
    u64::try_from(time_ms).unwrap_or(0).min(MAX_TIME_MS)
}

/// Names the segments of one writer: strictly ascending, also when its clock stands still or goes back.
#[derive(Debug)]
pub struct KeyMaker {
    shard: ShardId,
    rng: ChaCha8Rng,
    last_time_ms: Option<u64>,
}

impl KeyMaker {
    /// Names segments of `shard`; `rng` must be this writer's own.
    #[must_use]
    pub fn new(shard: ShardId, rng: ChaCha8Rng) -> Self {
        Self { shard, rng, last_time_ms: None }
    }

    /// The next key, at `now_ms` or right after the last one, whichever is later.
    pub fn next_key(&mut self, now_ms: i64) -> SegmentKey {
        let earliest = self.last_time_ms.map_or(0, |last| last + 1);
        let time_ms = clamp_time(now_ms).max(earliest);
        self.last_time_ms = Some(time_ms);
        SegmentKey { shard: self.shard, time_ms, unique: self.rng.next_u64() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    #[test]
    fn text_and_key_are_one() {
        let key = SegmentKey { shard: ShardId(3), time_ms: 1_795_368_888_123, unique: 0xab };
        assert_eq!(key.to_string(), "fresh/3/01795368888123-00000000000000ab");
        assert_eq!(key.to_string().parse(), Ok(key));
        for bad in [
            "",
            "fresh/3/manifest",
            "fresh/03/01795368888123-00000000000000ab",
            "fresh/3/1795368888123-00000000000000ab",
            "fresh/3/01795368888123-00000000000000AB",
            "fresh/3/+1795368888123-00000000000000ab",
            "fresh/3/01795368888123-00000000000000ab/x",
            "t/3/01795368888123-00000000000000ab",
        ] {
            assert_eq!(bad.parse::<SegmentKey>(), Err(SegmentKeyError(bad.to_owned())));
        }
    }

    #[test]
    fn keys_of_a_writer_ascend_whatever_its_clock_does() {
        let mut maker = KeyMaker::new(ShardId(0), Seed::from_number(1).rng());
        let keys: Vec<_> =
            [50, 50, 50, 20, -9, 1_000, i64::MIN, 1_001].map(|now_ms| maker.next_key(now_ms)).to_vec();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
        assert!(keys.windows(2).all(|pair| pair[0].to_string() < pair[1].to_string()));
        assert_eq!(keys[5].time_ms(), 1_000);
    }

    #[test]
    fn the_manifest_sorts_after_every_segment() {
        let last = SegmentKey { shard: ShardId(7), time_ms: MAX_TIME_MS, unique: u64::MAX };
        assert!(last.to_string() < crate::ShardManifest::key(ShardId(7)));
        assert!(last.to_string().starts_with(&ShardId(7).fresh_prefix()));
    }
}
