//! A cursor over uncompressed bytes that knows what it reads and where it is.

use std::io;

use super::envelope::{HEADER, Header, Limits};
use super::source::Source;
use crate::error::{Error, Result};
use crate::ring::Modulus;
use crate::scheme::ParmsId;

/// Words that are read at a time.
const CHUNK: usize = 512;

/// Reads little-endian fields; errors carry the object's name and the offset in the uncompressed object.
pub(super) struct Reader<'a> {
    object: &'static str,
    source: Source<'a>,
    at: u64,
    limits: Limits,
}

impl<'a> Reader<'a> {
    pub fn new(object: &'static str, source: Source<'a>, limits: Limits) -> Self {
        Self { object, source, at: 0, limits }
    }

    /// Goes on with other bytes.
    pub fn switch_to(&mut self, source: Source<'a>) {
        self.source = source;
    }

    /// The error for a field of `width` bytes that was just read.
    pub fn malformed(&self, width: usize, reason: String) -> Error {
        Error::Malformed { object: self.object, offset: self.at as usize - width, reason }
    }

    /// Checks that `len` more bytes are allowed and, where that is known, there.
    pub fn expect_bytes(&self, len: u64) -> Result<()> {
        let size = self.at.saturating_add(len);
        if size > self.limits.max_bytes {
            return Err(Error::TooLarge { object: self.object, size, limit: self.limits.max_bytes });
        }
        match self.source.left() {
            Some(left) if len > left as u64 => Err(self.malformed(0, format!("{len} bytes expected, {left} are left"))),
            _ => Ok(()),
        }
    }

    fn read(&mut self, out: &mut [u8]) -> Result<()> {
        self.expect_bytes(out.len() as u64)?;
        self.source.read_exact(out).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.malformed(0, format!("{} bytes expected, it ends", out.len())),
            _ => self.malformed(0, format!("it cannot be decompressed: {error}")),
        })?;
        self.at += out.len() as u64;
        Ok(())
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN]> {
        let mut array = [0; LEN];
        self.read(&mut array).map(|()| array)
    }

    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn f64(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    pub fn words<const LEN: usize>(&mut self) -> Result<[u64; LEN]> {
        let mut words = [0; LEN];
        for word in &mut words {
            *word = self.u64()?;
        }
        Ok(words)
    }

    pub fn parms_id(&mut self) -> Result<ParmsId> {
        self.words()
    }

    /// A field that can have one value only.
    pub fn expect(&mut self, what: &str, value: u64) -> Result<()> {
        match self.u64()? {
            found if found == value => Ok(()),
            found => Err(self.malformed(8, format!("{what} {found} instead of {value}"))),
        }
    }

    /// The header of an object inside another.
    pub fn inner_header(&mut self) -> Result<Inner> {
        let start = self.at;
        let header = Header::read(self)?;
        if header.compression != 0 {
            return Err(self.malformed(HEADER - 5, format!("compression {} inside an object", header.compression)));
        }
        Ok(Inner { start, size: header.size })
    }

    /// Checks that an inner object has the size that its header said.
    pub fn end_inner(&self, inner: Inner) -> Result<()> {
        let size = self.at - inner.start;
        if size == inner.size {
            return Ok(());
        }
        let reason = format!("an inner object of {size} bytes whose header says {}", inner.size);
        Err(Error::Malformed { object: self.object, offset: inner.start as usize + 8, reason })
    }

    /// The header and count of an array, whose words follow.
    pub fn array_header(&mut self) -> Result<u64> {
        let inner = self.inner_header()?;
        let count = self.u64()?;
        let size = count.checked_mul(8).and_then(|bytes| bytes.checked_add(HEADER as u64 + 8));
        if size != Some(inner.size) {
            return Err(self.malformed(8, format!("an array of {count} words in {} bytes", inner.size)));
        }
        Ok(count)
    }

    /// The header of an array of exactly `count` words; they are there, if that can be known, before
    /// memory is taken for them.
    pub fn expect_array(&mut self, count: usize) -> Result<()> {
        let found = self.array_header()?;
        if found != count as u64 {
            return Err(self.malformed(8, format!("an array of {found} words instead of {count}")));
        }
        self.expect_bytes(8 * found)
    }

    /// Words of an array, each below `bound`.
    pub fn bounded_words(&mut self, out: &mut [u64], bound: u64) -> Result<()> {
        let mut bytes = [0; 8 * CHUNK];
        for out in out.chunks_mut(CHUNK) {
            let bytes = &mut bytes[..8 * out.len()];
            self.read(bytes)?;
            let mut valid = true;
            for (word, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *word = u64::from_le_bytes(*bytes);
                valid &= *word < bound;
            }
            if !valid {
                let i = out.iter().position(|&word| word >= bound).unwrap_or(0);
                return Err(self.malformed(8 * (out.len() - i), format!("residue {} is not below {bound}", out[i])));
            }
        }
        Ok(())
    }

    /// Polynomials, each given by N residues for each of `moduli`.
    pub fn residues(&mut self, out: &mut [u64], degree: usize, moduli: impl Iterator<Item = Modulus>) -> Result<()> {
        let bounds: Vec<u64> = moduli.map(Modulus::value).collect();
        for (residues, &bound) in out.chunks_exact_mut(degree).zip(bounds.iter().cycle()) {
            self.bounded_words(residues, bound)?;
        }
        Ok(())
    }

    /// Checks that nothing is left.
    pub fn finish(mut self) -> Result<()> {
        match self.source.is_at_end() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.malformed(0, "bytes follow its end".into())),
            Err(error) => Err(self.malformed(0, format!("it cannot be decompressed: {error}"))),
        }
    }
}

/// An object inside another, between its header and its end.
pub(super) struct Inner {
    start: u64,
    size: u64,
}
