//! Programs as bytes: what stands around every file of this crate's plans.
//!
//! ```text
//! magic "pycrcnn" and 0    8 bytes
//! version                  u16
//! kind                     u16, a [`Kind`]
//! length of what follows   u64, uncompressed
//! checksum of that         u32, CRC-32
//! postcard, compressed     zstd
//! ```
//! Integers are little-endian. Sizes are checked before memory is taken; what the body says is checked by its reader.

use std::io::Read;

use blake2::digest::{Update, VariableOutput};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::encryption::checksum::checksum;
use crate::error::{Error, Result};

const MAGIC: [u8; 8] = *b"pycrcnn\0";
const VERSION: u16 = 3;
const HEADER: usize = 24; // bytes before the compressed body
const OBJECT: &str = "program file";

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// a network in clear
    Network = 1,
    /// a server's packed program
    PackedProgram = 2,
    /// the client's part of one
    PackedClient = 3,
    /// a server's batched program
    BatchedProgram = 4,
    /// the client's part of one
    BatchedClient = 5,
    /// a server's per-value program
    PerValueProgram = 6,
    /// the client's part of one
    PerValueClient = 7,
    /// a server's packed program of BFV
    ExactProgram = 8,
    /// the client's part of one
    ExactClient = 9,
}

impl Kind {
    const ALL: [(Self, &str); 9] = [
        (Self::Network, "a network"),
        (Self::PackedProgram, "a server's packed program"),
        (Self::PackedClient, "a client's part of a packed program"),
        (Self::BatchedProgram, "a server's batched program"),
        (Self::BatchedClient, "a client's part of a batched program"),
        (Self::PerValueProgram, "a server's per-value program"),
        (Self::PerValueClient, "a client's part of a per-value program"),
        (Self::ExactProgram, "a server's packed program of BFV"),
        (Self::ExactClient, "a client's part of a packed program of BFV"),
    ];

    fn name(number: u64) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind as u64 == number).map_or("something unknown", |(_, name)| name)
    }
}

/// Bytes that tell one program from another.
pub type Identity = [u8; 32];

/// BLAKE2b-256 of a value as it is written.
pub fn identity(value: &impl Serialize) -> Identity {
    let mut hash = blake2::Blake2bVar::new(32).expect("32 bytes is a BLAKE2b output size");
    hash.update(&encoded(value));
    let mut identity = Identity::default();
    hash.finalize_variable(&mut identity).expect("the buffer has the output's size");
    identity
}

fn malformed(offset: usize, reason: impl Into<String>) -> Error {
    Error::Malformed { object: OBJECT, offset, reason: reason.into() }
}

/// The error of a file whose body contradicts itself, where something does not hold.
///
/// # Errors
/// [`Error::Malformed`] with `otherwise`.
pub fn ensure(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(malformed(HEADER, otherwise)) }
}

fn encoded(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("numbers and sequences are always encoded")
}

/// A value as a file.
pub fn seal(kind: Kind, value: &impl Serialize) -> Vec<u8> {
    enclose(kind, &encoded(value))
}

pub(super) fn enclose(kind: Kind, body: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend((kind as u16).to_le_bytes());
    bytes.extend((body.len() as u64).to_le_bytes());
    bytes.extend(checksum(body).to_le_bytes());
    bytes.extend(zstd::encode_all(body, 3).expect("compressing in memory does not fail"));
    bytes
}

/// What a file says that it holds.
///
/// # Errors
/// [`Error::Malformed`] for a file that is none of this crate's, of another version, or of an unknown kind.
pub fn kind(bytes: &[u8]) -> Result<Kind> {
    let number = header(bytes)?.kind;
    let kind = Kind::ALL.iter().find(|(kind, _)| *kind as u64 == number);
    kind.map(|(kind, _)| *kind).ok_or_else(|| malformed(10, format!("it is of the unknown kind {number}")))
}

struct Header {
    kind: u64,
    length: u64,
    checksum: u64,
}

fn header(bytes: &[u8]) -> Result<Header> {
    let header: &[u8; HEADER] =
        bytes.first_chunk().ok_or_else(|| malformed(bytes.len(), "it ends within its header"))?;
    let number =
        |from: usize, len: usize| header[from..from + len].iter().rev().fold(0u64, |n, &b| n << 8 | u64::from(b));
    if header[..8] != MAGIC {
        return Err(malformed(0, "this is no program of pycrcnn"));
    }
    if number(8, 2) != u64::from(VERSION) {
        let reason =
            format!("it has version {}, this library reads version {VERSION}; compile the model again", number(8, 2));
        return Err(malformed(8, reason));
    }
    Ok(Header { kind: number(10, 2), length: number(12, 8), checksum: number(20, 4) })
}

/// A value from a file, which may have `limit` bytes once it is expanded.
///
/// # Errors
/// [`Error::Malformed`] for a file that is damaged, of another version or kind; [`Error::TooLarge`].
pub fn open<T: DeserializeOwned>(kind: Kind, bytes: &[u8], limit: u64) -> Result<T> {
    let header = header(bytes)?;
    if header.kind != kind as u64 {
        let (wanted, found) = (Kind::name(kind as u64), Kind::name(header.kind));
        return Err(malformed(10, format!("it holds {found}, where {wanted} is needed")));
    }
    let length = header.length;
    if length > limit {
        return Err(Error::TooLarge { object: OBJECT, size: length, limit });
    }
    let mut body = Vec::new();
    let broken = |error: std::io::Error| malformed(HEADER, format!("it cannot be expanded ({error}); copy it again"));
    let decoder = zstd::Decoder::new(&bytes[HEADER..]).map_err(broken)?;
    decoder.take(length + 1).read_to_end(&mut body).map_err(broken)?;
    if body.len() as u64 != length || u64::from(checksum(&body)) != header.checksum {
        return Err(malformed(HEADER, "its checksum does not fit: it was damaged; copy it again"));
    }
    postcard::from_bytes(&body).map_err(|error| malformed(HEADER, error.to_string()))
}
