//! Ciphertexts, and the members that public and key-switching keys share with them.

use super::envelope::{Compression, HEADER, Limits, buffer, open, put_header, seal};
use super::reader::Reader;
use super::seeded::{SEED_SIZE, Seed};
use crate::error::Result;
use crate::ring::{Modulus, Residues};
use crate::scheme::{Ciphertext, Context, Form, ParmsId, Scheme};

/// Why a parms_id is refused.
pub(super) const FOREIGN: &str = "its parms_id belongs to other encryption parameters or another level";
/// Bytes of the members before the array: parms_id, form, five words.
const METADATA: usize = 32 + 1 + 5 * 8;

/// The fields in front of the residues.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Metadata {
    pub parms_id: ParmsId,
    pub form: Form,
    pub size: usize,
    pub degree: usize,
    pub primes: usize,
    pub scale: f64,
}

impl Metadata {
    /// Reads the fields and checks them against the context; `most_primes` is the highest level allowed.
    pub fn read(reader: &mut Reader<'_>, context: &Context, most_primes: usize) -> Result<Self> {
        let parms_id = reader.parms_id()?;
        let level = context.primes_of(&parms_id).filter(|&primes| primes <= most_primes);
        let primes = level.ok_or_else(|| reader.malformed(32, FOREIGN.into()))?;
        let form = match reader.u8()? {
            0 => Form::Coefficient,
            1 => Form::Ntt,
            other => return Err(reader.malformed(1, format!("NTT form {other} is neither 0 nor 1"))),
        };
        let size = reader.u64()?;
        let size = usize::try_from(size).ok().filter(|size| Ciphertext::SIZES.contains(size)).ok_or_else(|| {
            let (min, max) = (Ciphertext::SIZES.start(), Ciphertext::SIZES.end());
            reader.malformed(8, format!("{size} polynomials; {min} to {max} are possible"))
        })?;
        reader.expect("polynomial degree", context.degree() as u64)?;
        reader.expect("number of primes", primes as u64)?;
        let scale = reader.f64()?;
        let usable = match context.parameters().scheme() {
            Scheme::Bfv => scale == 1.0,
            Scheme::Ckks => scale.is_finite() && scale > 0.0,
        };
        if !usable {
            return Err(reader.malformed(8, format!("scale {scale}: 1 for BFV, positive and finite for CKKS")));
        }
        reader.expect("correction factor", 1)?;
        Ok(Self { parms_id, form, size, degree: context.degree(), primes, scale })
    }

    /// Appends the fields.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_words(out, &self.parms_id);
        out.push(u8::from(self.form == Form::Ntt));
        put_words(out, &[self.size as u64, self.degree as u64, self.primes as u64, self.scale.to_bits(), 1]);
    }

    /// Words of all polynomials.
    pub fn words(&self) -> usize {
        self.size * self.primes * self.degree
    }

    fn moduli<'a>(&self, context: &'a Context) -> impl Iterator<Item = Modulus> + use<'a> {
        (0..self.primes).map(|j| context.modulus(j))
    }

    /// A buffer for the residues, once so many bytes are there, if that can be known, that they may be.
    pub fn allocate(&self, reader: &Reader<'_>) -> Result<Residues> {
        let seeded = self.size == 2;
        let least = self.words() as u64 * 8 / (1 + u64::from(seeded));
        reader.expect_bytes(least).map(|()| Residues::zeros(self.words()))
    }

    /// Reads the array into a buffer of [`words`](Metadata::words); what is given by a seed is expanded.
    pub fn read_data(&self, reader: &mut Reader<'_>, context: &Context, out: &mut [u64]) -> Result<()> {
        let polynomial = self.primes * self.degree;
        let count = reader.array_header()?;
        if count == self.words() as u64 {
            return reader.residues(out, self.degree, self.moduli(context));
        }
        if count != polynomial as u64 || self.size != 2 {
            return Err(reader.malformed(8, format!("an array of {count} words instead of {}", self.words())));
        }
        let (first, second) = out.split_at_mut(polynomial);
        reader.residues(first, self.degree, self.moduli(context))?;
        Seed::read(reader)?.expand(self.degree, self.moduli(context), second)
    }

    /// Bytes of an uncompressed object with these metadata, header included.
    pub fn object_size(&self) -> usize {
        object_size(self.size, self.primes, self.degree)
    }
}

/// Bytes of an uncompressed ciphertext object, header included.
pub(super) fn object_size(size: usize, primes: usize, degree: usize) -> usize {
    HEADER + METADATA + HEADER + 8 + 8 * size * primes * degree
}

/// Bytes of an uncompressed seeded ciphertext object, header included.
pub(super) fn seeded_object_size(primes: usize, degree: usize) -> usize {
    object_size(1, primes, degree) + HEADER + SEED_SIZE
}

/// Appends words.
pub(super) fn put_words(out: &mut Vec<u8>, words: &[u64]) {
    out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
}

/// Appends an array: header, count, words.
pub(super) fn put_array(out: &mut Vec<u8>, words: &[u64]) {
    put_header(out, Compression::None, HEADER + 8 + 8 * words.len());
    put_words(out, &[words.len() as u64]);
    put_words(out, words);
}

/// Reads a ciphertext at any data level of the context; a seeded one is expanded.
///
/// # Errors
/// [`Error::Malformed`](crate::Error::Malformed) with the offset, [`Error::TooLarge`](crate::Error::TooLarge).
pub fn read_ciphertext(context: &Context, bytes: &[u8], limits: Limits) -> Result<Ciphertext> {
    const OBJECT: &str = "ciphertext";
    let mut reader = open(OBJECT, bytes, limits)?;
    let metadata = Metadata::read(&mut reader, context, context.data_primes())?;
    let mut data = metadata.allocate(&reader)?;
    metadata.read_data(&mut reader, context, &mut data)?;
    let Metadata { size, primes, form, scale, .. } = metadata;
    let ciphertext = Ciphertext::from_data(context, size, primes, form, scale, data)
        .ok_or_else(|| reader.malformed(0, "its array has the wrong length".into()))?;
    reader.finish()?;
    Ok(ciphertext)
}

/// Writes a ciphertext as SEAL would; read back, it is the same.
pub fn write_ciphertext(ciphertext: &Ciphertext, compression: Compression) -> Vec<u8> {
    let metadata = Metadata {
        parms_id: ciphertext.parms_id(),
        form: ciphertext.form(),
        size: ciphertext.size(),
        degree: ciphertext.degree(),
        primes: ciphertext.primes(),
        scale: ciphertext.scale(),
    };
    let mut out = buffer(metadata.object_size() - HEADER);
    metadata.put(&mut out);
    put_array(&mut out, ciphertext.data());
    seal(out, compression)
}
