//! Pages: what the cache holds, and how they are written to disk.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use foyer::{Code, Error, ErrorKind};

/// What a page is of. The numbers are persisted on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PageKind {
    /// Footers and indexes: small pages, and a cache of their own, so that no data drives them out.
    Index = 0,
    /// Blocks of data: large pages, since a request takes as long for a megabyte as for a kilobyte.
    Data = 1,
}

impl PageKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Index, Self::Data];

    /// The length of a page in bytes; the last one of an object is shorter.
    pub(crate) const fn page_bytes(self) -> u64 {
        match self {
            Self::Index => 64 << 10,
            Self::Data => 1 << 20,
        }
    }

    /// The name in metrics, and of the directory on disk.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Data => "data",
        }
    }
}

/// Which page. Objects never change, so that it always stands for the same bytes; an object of one tenant has the tenant in
/// its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    pub(super) object: Arc<str>,
    pub(super) kind: PageKind,
    pub(super) number: u32,
}

/// A page's bytes, and at whose expense it is in memory.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) bytes: Bytes,
    /// Stands for the tenant whose query brought it here.
    pub(super) owner: u64,
    /// Whether it is counted as the owner's.
    counted: AtomicBool,
}

impl Page {
    /// A page with bytes of its own: a slice would keep all of what was read with it in memory.
    pub(super) fn copy_of(bytes: &[u8], owner: u64) -> Self {
        Self { bytes: Bytes::copy_from_slice(bytes), owner, counted: AtomicBool::new(false) }
    }

    /// Sets whether it is counted; returns whether that is news.
    pub(super) fn set_counted(&self, counted: bool) -> bool {
        self.counted.swap(counted, Ordering::Relaxed) != counted
    }
}

/// Longest key of an object that is read back from disk, in bytes.
const MAX_KEY_BYTES: usize = 1024;

fn corrupt(what: &'static str) -> Error {
    Error::new(ErrorKind::Parse, what)
}

fn read_u32(reader: &mut impl Read) -> foyer::Result<u32> {
    let mut number = [0; 4];
    reader.read_exact(&mut number).map_err(Error::io_error)?;
    Ok(u32::from_le_bytes(number))
}

fn read_bytes(reader: &mut impl Read, limit: usize) -> foyer::Result<Vec<u8>> {
    let len = read_u32(reader)? as usize;
    if len > limit {
        return Err(corrupt("a length beyond what is ever written"));
    }
    let mut bytes = vec![0; len];
    reader.read_exact(&mut bytes).map_err(Error::io_error)?;
    Ok(bytes)
}

fn write_bytes(writer: &mut impl Write, bytes: &[u8]) -> foyer::Result<()> {
    writer.write_all(&(bytes.len() as u32).to_le_bytes()).map_err(Error::io_error)?;
    writer.write_all(bytes).map_err(Error::io_error)
}

impl Code for PageKey {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        writer.write_all(&[self.kind as u8]).map_err(Error::io_error)?;
        writer.write_all(&self.number.to_le_bytes()).map_err(Error::io_error)?;
        write_bytes(writer, self.object.as_bytes())
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let mut kind = [0];
        reader.read_exact(&mut kind).map_err(Error::io_error)?;
        let kind = PageKind::ALL.into_iter().find(|each| *each as u8 == kind[0]);
        let kind = kind.ok_or_else(|| corrupt("a kind of page that does not exist"))?;
        let number = read_u32(reader)?;
        let object = String::from_utf8(read_bytes(reader, MAX_KEY_BYTES)?);
        let object = object.map_err(|_| corrupt("a key that is not text"))?.into();
        Ok(Self { object, kind, number })
    }

    fn estimated_size(&self) -> usize {
        1 + 4 + 4 + self.object.len()
    }
}

impl Code for Page {
    fn encode(&self, writer: &mut impl Write) -> foyer::Result<()> {
        writer.write_all(&self.owner.to_le_bytes()).map_err(Error::io_error)?;
        write_bytes(writer, &self.bytes)
    }

    fn decode(reader: &mut impl Read) -> foyer::Result<Self> {
        let mut owner = [0; 8];
        reader.read_exact(&mut owner).map_err(Error::io_error)?;
        let bytes = read_bytes(reader, PageKind::Data.page_bytes() as usize)?.into();
        Ok(Self { bytes, owner: u64::from_le_bytes(owner), counted: AtomicBool::new(false) })
    }

    fn estimated_size(&self) -> usize {
        8 + 4 + self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let key = PageKey { object: "t/acme/metrics/1".into(), kind: PageKind::Data, number: 7 };
        let page = Page::copy_of(b"bytes", 3);
        let (mut key_bytes, mut page_bytes) = (Vec::new(), Vec::new());
        key.encode(&mut key_bytes).unwrap();
        page.encode(&mut page_bytes).unwrap();
        assert_eq!((key_bytes.len(), page_bytes.len()), (key.estimated_size(), page.estimated_size()));
        assert_eq!(PageKey::decode(&mut &*key_bytes).unwrap(), key);
        let read = Page::decode(&mut &*page_bytes).unwrap();
        assert_eq!((read.bytes, read.owner), (page.bytes, page.owner));

        for cut in 0..key_bytes.len() {
            PageKey::decode(&mut &key_bytes[..cut]).unwrap_err();
        }
        page_bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        Page::decode(&mut &*page_bytes).unwrap_err();
        key_bytes[0] = 9;
        PageKey::decode(&mut &*key_bytes).unwrap_err();
    }
}
