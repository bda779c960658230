//! A cursor over uncompressed bytes that knows what it reads and where it is.

use super::envelope::{HEADER, Header};
use crate::error::{Error, Result};
use crate::ring::{Modulus, Residues, zeros};
use crate::scheme::ParmsId;

/// Reads little-endian fields; errors carry the object's name and the offset.
pub(super) struct Reader<'a> {
    object: &'static str,
    bytes: &'a [u8],
    at: usize,
    /// where `bytes` starts in the uncompressed object
    base: usize,
}

impl<'a> Reader<'a> {
    /// A reader over a whole object.
    pub fn new(object: &'static str, bytes: &'a [u8]) -> Self {
        Self { object, bytes, at: 0, base: 0 }
    }

    /// A reader over what follows an object's header.
    pub fn members(object: &'static str, bytes: &'a [u8]) -> Self {
        Self { object, bytes, at: 0, base: HEADER }
    }

    /// The error for a field of `width` bytes that was just read.
    pub fn malformed(&self, width: usize, reason: String) -> Error {
        Error::Malformed { object: self.object, offset: self.base + self.at - width, reason }
    }

    /// The next `len` bytes.
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        if len > rest.len() {
            return Err(self.malformed(0, format!("{len} bytes expected, {} are left", rest.len())));
        }
        self.at += len;
        Ok(&rest[..len])
    }

    fn array<const LEN: usize>(&mut self) -> Result<[u8; LEN]> {
        let mut array = [0; LEN];
        array.copy_from_slice(self.take(LEN)?);
        Ok(array)
    }

    pub fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
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

    /// The header of an object inside another: uncompressed, its size at most what is left.
    pub fn inner_header(&mut self) -> Result<Inner> {
        let start = self.at;
        let header = Header::read(self)?;
        if header.compression != 0 {
            return Err(self.malformed(HEADER - 5, format!("compression {} inside an object", header.compression)));
        }
        let left = (self.bytes.len() - start) as u64;
        if header.size > left {
            return Err(self.malformed(8, format!("an inner object of {} bytes, {left} are left", header.size)));
        }
        Ok(Inner { start, size: header.size })
    }

    /// Checks that an inner object had the size that its header said.
    pub fn end_inner(&self, inner: Inner) -> Result<()> {
        let size = (self.at - inner.start) as u64;
        if size == inner.size {
            return Ok(());
        }
        let reason = format!("an inner object of {size} bytes whose header says {}", inner.size);
        Err(Error::Malformed { object: self.object, offset: self.base + inner.start + 8, reason })
    }

    /// The header and count of an array; the words themselves follow.
    pub fn array_header(&mut self) -> Result<usize> {
        let inner = self.inner_header()?;
        let count = self.u64()?;
        let size = count.checked_mul(8).and_then(|bytes| bytes.checked_add(HEADER as u64 + 8));
        if size != Some(inner.size) {
            return Err(self.malformed(8, format!("an array of {count} words in {} bytes", inner.size)));
        }
        // The header's size was at most what is left, so this fits a usize.
        Ok(count as usize)
    }

    /// Words of an array, each below `bound`, into `out`.
    pub fn bounded_words(&mut self, out: &mut [u64], bound: u64) -> Result<()> {
        let start = self.at;
        let bytes = self.take(8 * out.len())?;
        let mut valid = true;
        for (word, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
            valid &= *word < bound;
        }
        if valid {
            return Ok(());
        }
        let i = out.iter().position(|&word| word >= bound).unwrap_or(0);
        let reason = format!("residue {} is not below {bound}", out[i]);
        Err(Error::Malformed { object: self.object, offset: self.base + start + 8 * i, reason })
    }

    /// `polynomials` times N residues for each of `moduli`, to the front of a buffer with room for
    /// `room` polynomials.
    pub fn residues(
        &mut self,
        polynomials: usize,
        room: usize,
        degree: usize,
        moduli: impl Iterator<Item = Modulus> + Clone,
    ) -> Result<Residues> {
        let per_polynomial = degree * moduli.clone().count();
        let left = (self.bytes.len() - self.at) / 8;
        if polynomials * per_polynomial > left {
            let reason = format!("{} words expected, {left} are left", polynomials * per_polynomial);
            return Err(self.malformed(0, reason));
        }
        let mut data = zeros(room * per_polynomial);
        for polynomial in data.chunks_exact_mut(per_polynomial).take(polynomials) {
            for (residues, q) in polynomial.chunks_exact_mut(degree).zip(moduli.clone()) {
                self.bounded_words(residues, q.value())?;
            }
        }
        Ok(data)
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<()> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            left => Err(self.malformed(0, format!("{left} bytes too many"))),
        }
    }
}

/// An object inside another, between its header and its end.
pub(super) struct Inner {
    start: usize,
    size: u64,
}
