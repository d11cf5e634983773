//! The two ends of every segment: magic and version, and at the back the way to the footer.
//!
//! The back comes first for a reader: one suffix read brings it, and usually the whole footer with it.

use xxhash_rust::xxh3::xxh3_64;

use crate::cursor::Reader;
use crate::error::FormatError;
use crate::limits::MAX_FOOTER_BYTES;

/// The version of the format that this code writes; it reads all up to it.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 7] = *b"farwseg";

/// Bytes before the first block: magic, version.
pub(crate) const HEADER_BYTES: usize = 8;
/// Bytes after the footer: its length (u32), the kind, three zeros, its checksum (u64), magic, version.
pub(crate) const TRAILER_BYTES: usize = 24;

/// What a segment is. The numbers are persisted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// What one flush holds, of one or many tenants.
    Fresh = 1,
    /// One tenant, one signal, written by compaction.
    Tenant = 2,
}

pub(crate) fn put_header(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
}

pub(crate) fn check_header(bytes: &[u8]) -> Result<(), FormatError> {
    check_magic(&mut Reader::new(bytes, "header"))
}

/// Appends the trailer to a segment whose footer begins at `footer_start` of `out`.
pub(crate) fn put_trailer(out: &mut Vec<u8>, footer_start: usize, kind: SegmentKind) {
    let footer_bytes = (out.len() - footer_start) as u32;
    out.extend_from_slice(&footer_bytes.to_le_bytes());
    out.extend_from_slice(&[kind as u8, 0, 0, 0]);
    let checksum = xxh3_64(&out[footer_start..]);
    out.extend_from_slice(&checksum.to_le_bytes());
    put_header(out);
}

fn check_magic(reader: &mut Reader<'_>) -> Result<(), FormatError> {
    if reader.array::<7>()? != MAGIC {
        return Err(FormatError::NotASegment("the magic bytes are not there"));
    }
    match reader.u8()? {
        VERSION => Ok(()),
        found => Err(FormatError::Version { found, known: VERSION }),
    }
}

/// What the end of a segment says.
#[derive(Debug)]
pub(crate) enum End<'a> {
    /// The footer, its checksum checked, and where it begins in the object.
    Footer { kind: SegmentKind, bytes: &'a [u8], start: u64 },
    /// The footer is longer than the suffix: read this many bytes.
    NeedSuffix(u64),
}

/// Finds the footer in the last bytes of an object of `object_len` bytes.
pub(crate) fn find_footer(suffix: &[u8], object_len: u64) -> Result<End<'_>, FormatError> {
    let Some((before, trailer)) = suffix.split_last_chunk::<TRAILER_BYTES>() else {
        if object_len < (HEADER_BYTES + TRAILER_BYTES) as u64 {
            return Err(FormatError::NotASegment("it is shorter than the shortest segment"));
        }
        return Ok(End::NeedSuffix(TRAILER_BYTES as u64));
    };
    if suffix.len() as u64 > object_len {
        return Err(FormatError::NotASegment("it is shorter than its own suffix"));
    }
    let mut reader = Reader::new(trailer, "trailer");
    let footer_bytes = reader.u32()?;
    let kind = reader.u8()?;
    let zeros = reader.array::<3>()?;
    let expected = reader.u64()?;
    check_magic(&mut reader)?;
    if zeros != [0; 3] {
        return Err(reader.corrupt("reserved bytes are not zero"));
    }
    let kind = match kind {
        1 => SegmentKind::Fresh,
        2 => SegmentKind::Tenant,
        _ => return Err(reader.corrupt("a kind of segment that does not exist")),
    };
    let needed = u64::from(footer_bytes) + TRAILER_BYTES as u64;
    if u64::from(footer_bytes) > MAX_FOOTER_BYTES || needed + HEADER_BYTES as u64 > object_len {
        return Err(reader.corrupt("a footer longer than the segment"));
    }
    let Some(start) = before.len().checked_sub(footer_bytes as usize) else {
        return Ok(End::NeedSuffix(needed));
    };
    let bytes = &before[start..];
    let found = xxh3_64(&suffix[start..suffix.len() - 16]);
    if found != expected {
        return Err(FormatError::Checksum { what: "footer", expected, found });
    }
    Ok(End::Footer { kind, bytes, start: object_len - needed })
}
