//! The header that every object starts with, and compression.

use std::io::Write;

use super::reader::Reader;
use super::source::Source;
use crate::error::{Error, Result};

/// Size of a header in bytes.
pub(super) const HEADER: usize = 16;
const MAGIC: u16 = 0xA15E;
/// The version that this crate reads and writes: SEAL 4.0.
const VERSION: [u8; 2] = [4, 0];

/// How an object is compressed; the numbers are SEAL's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// not at all: the fastest, and byte-identical to SEAL
    None = 0,
    /// zlib
    Zlib = 1,
    /// zstd, SEAL's default: residues of 36 of 64 bits shrink to little more than 36 bits
    Zstd = 2,
}

impl Compression {
    /// All of them.
    pub const ALL: [Compression; 3] = [Compression::None, Compression::Zlib, Compression::Zstd];
}

/// What a reader may take from outside.
///
/// Apart from these limits a reader allocates no more than the object that it returns, whose size the
/// context bounds, and what decompressors need (about 8 MiB). Only Galois keys can be really large:
/// a context allows N of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// the largest object in bytes, as given and decompressed
    pub max_bytes: u64,
}

impl Limits {
    /// Only the context's own bounds: for bytes that one made oneself.
    pub const CONTEXT: Limits = Limits { max_bytes: u64::MAX };
}

/// The fields of a header that vary.
pub(super) struct Header {
    pub compression: u8,
    pub size: u64,
}

impl Header {
    /// Reads and checks a header.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let magic = reader.u16()?;
        if magic != MAGIC {
            return Err(reader.malformed(2, format!("magic number {magic:#06x} instead of {MAGIC:#06x}")));
        }
        let header_size = reader.u8()?;
        if usize::from(header_size) != HEADER {
            return Err(reader.malformed(1, format!("header of {header_size} bytes instead of {HEADER}")));
        }
        let [major, minor] = [reader.u8()?, reader.u8()?];
        if [major, minor] != VERSION {
            let reason = format!("written by SEAL {major}.{minor}; only {}.{} is read", VERSION[0], VERSION[1]);
            return Err(reader.malformed(2, reason));
        }
        let compression = reader.u8()?;
        let reserved = reader.u16()?;
        if reserved != 0 {
            return Err(reader.malformed(2, format!("reserved field {reserved:#06x} instead of zero")));
        }
        let size = reader.u64()?;
        Ok(Self { compression, size })
    }
}

/// Appends a header for an object of `size` bytes, header included.
pub(super) fn put_header(out: &mut Vec<u8>, compression: Compression, size: usize) {
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&[HEADER as u8, VERSION[0], VERSION[1], compression as u8, 0, 0]);
    out.extend_from_slice(&(size as u64).to_le_bytes());
}

/// Checks the outermost header; the reader returned stands at the first member.
pub(super) fn open<'a>(object: &'static str, bytes: &'a [u8], limits: Limits) -> Result<Reader<'a>> {
    let size = bytes.len() as u64;
    if size > limits.max_bytes {
        return Err(Error::TooLarge { object, size, limit: limits.max_bytes });
    }
    let mut reader = Reader::new(object, Source::Plain(bytes), limits);
    let header = Header::read(&mut reader)?;
    if header.size != size {
        return Err(reader.malformed(8, format!("the header says {} bytes, {size} are there", header.size)));
    }
    let members = &bytes[HEADER..];
    match header.compression {
        0 => {}
        1 => reader.switch_to(Source::zlib(members)),
        2 => {
            let source = Source::zstd(members).map_err(|error| reader.malformed(0, format!("zstd: {error}")))?;
            reader.switch_to(source);
        }
        other => {
            let reason = format!("unknown compression {other}; 0 (none), 1 (zlib) and 2 (zstd) exist");
            return Err(reader.malformed(HEADER - 5, reason));
        }
    }
    Ok(reader)
}

/// Puts the header in front of members that were appended to a [`buffer`], compressing them if asked to.
pub(super) fn seal(mut out: Vec<u8>, compression: Compression) -> Vec<u8> {
    let compressed = compress(&out[HEADER..], compression);
    let size = HEADER + compressed.as_ref().map_or(out.len() - HEADER, Vec::len);
    let mut header = Vec::with_capacity(size);
    put_header(&mut header, compression, size);
    match compressed {
        None => {
            out[..HEADER].copy_from_slice(&header);
            out
        }
        Some(compressed) => {
            header.extend_from_slice(&compressed);
            header
        }
    }
}

/// The members as zlib or zstd; `None` for no compression.
fn compress(members: &[u8], compression: Compression) -> Option<Vec<u8>> {
    let compressed = match compression {
        Compression::None => return None,
        Compression::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(members).and_then(|()| encoder.finish())
        }
        Compression::Zstd => zstd::bulk::compress(members, zstd::DEFAULT_COMPRESSION_LEVEL),
    };
    Some(compressed.expect("compression from memory to memory does not fail"))
}

/// A buffer for `members` bytes with room for the header, to be finished by [`seal`].
pub(super) fn buffer(members: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + members);
    out.resize(HEADER, 0);
    out
}
