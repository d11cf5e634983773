//! What stands before the body in an object's file.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | `FWOBJ` and a version: `\0\0\x01` |
//! | 8..24 | xxh3-128 of the body, big-endian: the etag |
//! | 24 | 1 when there is a put-id, else 0 |
//! | 25..41 | the put-id, or zeros |
//! | 41..48 | zeros |

use xxhash_rust::xxh3::xxh3_128;

use super::super::{Etag, PutId};

pub(super) const HEADER_BYTES: usize = 48;
const MAGIC: [u8; 8] = *b"FWOBJ\0\0\x01";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    content_hash: u128,
    pub(super) put_id: Option<PutId>,
}

impl Header {
    pub(super) fn of(body: &[u8], put_id: Option<PutId>) -> Self {
        Self { content_hash: xxh3_128(body), put_id }
    }

    pub(super) fn etag(&self) -> Etag {
        Etag::new(&format!("{:032x}", self.content_hash))
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(&self.content_hash.to_be_bytes());
        if let Some(id) = self.put_id {
            bytes[24] = 1;
            bytes[25..41].copy_from_slice(&id.0);
        }
        bytes
    }

    /// The header that `bytes` are, or `None` when they are none that this version writes.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let content_hash = u128::from_be_bytes(bytes[8..24].try_into().ok()?);
        let put_id = PutId(bytes[25..41].try_into().ok()?);
        let header = Self { content_hash, put_id: (bytes[24] == 1).then_some(put_id) };
        (header.encode() == *bytes).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_its_bytes_and_nothing_else_is_one() {
        for put_id in [None, Some(PutId([7; 16]))] {
            let header = Header::of(b"body", put_id);
            assert_eq!(Header::decode(&header.encode()), Some(header));
            // The hash and a present put-id may be anything; every other byte is fixed.
            for position in (0..8).chain(41..HEADER_BYTES).chain([24]) {
                let mut bytes = header.encode();
                bytes[position] ^= 0x40;
                assert_eq!(Header::decode(&bytes), None, "byte {position}");
            }
        }
    }
}
