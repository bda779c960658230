//! The header that every object starts with, and compression.

use std::borrow::Cow;
use std::io::{Read, Write};

use super::reader::Reader;
use crate::error::{Error, Result};

/// Size of a header in bytes.
pub(super) const HEADER: usize = 16;
const MAGIC: u16 = 0xA15E;
/// The version that this crate writes: SEAL 4.0.
const VERSION: [u8; 2] = [4, 0];
/// zstd frames may ask for a window of up to 2^this bytes: SEAL's own need 2^21.
const ZSTD_WINDOW_LOG: u32 = 23;

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

/// What a reader may take from outside.
///
/// Whatever this says, a reader never allocates more than a small multiple of the largest object
/// that the context allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// the largest object, in bytes, before and after decompression
    pub max_bytes: u64,
}

impl Limits {
    /// Only the context's own bounds.
    pub const CONTEXT: Limits = Limits { max_bytes: u64::MAX };
}

impl Default for Limits {
    fn default() -> Self {
        Self::CONTEXT
    }
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

/// Checks the outermost header and returns the members, decompressed where they are compressed.
///
/// `largest` is the size in bytes of the largest valid object, header included.
pub(super) fn open<'a>(object: &'static str, bytes: &'a [u8], largest: u64, limits: Limits) -> Result<Cow<'a, [u8]>> {
    let limit = largest.min(limits.max_bytes);
    if bytes.len() as u64 > limits.max_bytes {
        return Err(Error::TooLarge { object, size: bytes.len() as u64, limit: limits.max_bytes });
    }
    let mut reader = Reader::new(object, bytes);
    let header = Header::read(&mut reader)?;
    if header.size != bytes.len() as u64 {
        return Err(reader.malformed(8, format!("the header says {} bytes, {} are there", header.size, bytes.len())));
    }
    let members = &bytes[HEADER..];
    let room = limit.saturating_sub(HEADER as u64);
    match header.compression {
        0 if bytes.len() as u64 > limit => Err(Error::TooLarge { object, size: bytes.len() as u64, limit }),
        0 => Ok(Cow::Borrowed(members)),
        1 => inflate_zlib(object, members, room).map(Cow::Owned),
        2 => inflate_zstd(object, members, room).map(Cow::Owned),
        other => {
            let reason = format!("unknown compression {other}; 0 (none), 1 (zlib) and 2 (zstd) exist");
            Err(Error::Malformed { object, offset: 5, reason })
        }
    }
}

fn inflate_zlib(object: &'static str, members: &[u8], room: u64) -> Result<Vec<u8>> {
    let mut decoder = flate2::bufread::ZlibDecoder::new(members);
    let inflated = inflate(object, "zlib", &mut decoder, room)?;
    all_consumed(object, members, decoder.into_inner()).map(|()| inflated)
}

fn inflate_zstd(object: &'static str, members: &[u8], room: u64) -> Result<Vec<u8>> {
    let unusable =
        |error: std::io::Error| Error::Malformed { object, offset: HEADER, reason: format!("zstd: {error}") };
    let mut decoder = zstd::stream::read::Decoder::with_buffer(members).map_err(unusable)?.single_frame();
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(unusable)?;
    let inflated = inflate(object, "zstd", &mut decoder, room)?;
    all_consumed(object, members, decoder.finish()).map(|()| inflated)
}

/// Decompresses at most `room` bytes.
fn inflate(object: &'static str, name: &str, decoder: &mut impl Read, room: u64) -> Result<Vec<u8>> {
    let mut inflated = Vec::new();
    let outcome = decoder.take(room.saturating_add(1)).read_to_end(&mut inflated);
    outcome.map_err(|error| Error::Malformed {
        object,
        offset: HEADER + inflated.len(),
        reason: format!("{name} stream: {error}"),
    })?;
    let (size, limit) = (inflated.len() as u64, room);
    if size > room {
        return Err(Error::TooLarge { object, size: size + HEADER as u64, limit: limit + HEADER as u64 });
    }
    Ok(inflated)
}

fn all_consumed(object: &'static str, members: &[u8], rest: &[u8]) -> Result<()> {
    if rest.is_empty() {
        return Ok(());
    }
    let offset = HEADER + members.len() - rest.len();
    Err(Error::Malformed { object, offset, reason: format!("{} bytes follow the compressed data", rest.len()) })
}

/// Puts the header in front of members that were appended to `out` after [`HEADER`] bytes of room,
/// compressing them if asked to.
pub(super) fn seal(mut out: Vec<u8>, compression: Compression) -> Vec<u8> {
    let members = &out[HEADER..];
    let compressed = match compression {
        Compression::None => {
            let mut header = Vec::with_capacity(HEADER);
            put_header(&mut header, compression, out.len());
            out[..HEADER].copy_from_slice(&header);
            return out;
        }
        Compression::Zlib => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(members).and_then(|()| encoder.finish())
        }
        Compression::Zstd => zstd::bulk::compress(members, zstd::DEFAULT_COMPRESSION_LEVEL),
    }
    .expect("compression into memory does not fail");
    let mut sealed = Vec::with_capacity(HEADER + compressed.len());
    put_header(&mut sealed, compression, HEADER + compressed.len());
    sealed.extend_from_slice(&compressed);
    sealed
}

/// A buffer with room for the header and `members` bytes, to be finished by [`seal`].
pub(super) fn buffer(members: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + members);
    out.resize(HEADER, 0);
    out
}
