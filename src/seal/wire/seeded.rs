//! Seeded ciphertexts: the second polynomial is given by the seed that it was drawn from, which
//! halves a fresh symmetric encryption.

use super::ciphertext::{Metadata, put_array, put_words, seeded_object_size};
use super::envelope::{Compression, HEADER, Limits, buffer, open, put_header, seal};
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::ring::{Modulus, Residues};
use crate::scheme::{Ciphertext, Context, Form, ParmsId};
use crate::seal::blake2xb;

/// Bytes of a seed's members: type and 64 bytes.
pub(super) const SEED_SIZE: usize = 1 + 64;
/// SEAL's numbers for its generators.
const BLAKE2XB: u8 = 1;
const SHAKE256: u8 = 2;

/// A seed of SEAL's default generator, Blake2xb.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u64; 8]);

impl Seed {
    /// The uniform polynomial that SEAL draws from this seed: `[primes][N]` residues.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`].
    pub fn expand(&self, degree: usize, moduli: impl Iterator<Item = Modulus>, out: &mut [u64]) -> Result<()> {
        blake2xb::sample_uniform(&self.0, degree, moduli, out)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let inner = reader.inner_header()?;
        match reader.u8()? {
            BLAKE2XB => {}
            SHAKE256 => {
                return Err(Error::Unsupported {
                    operation: "expanding a SHAKE-256 seed",
                    reason: "this library expands Blake2xb seeds, SEAL's default; save without seeds, or build SEAL with its default generator".into(),
                });
            }
            other => return Err(reader.malformed(1, format!("generator {other} is unknown"))),
        }
        let seed = reader.words()?;
        reader.end_inner(inner)?;
        Ok(Self(seed))
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_header(out, Compression::None, HEADER + SEED_SIZE);
        out.push(BLAKE2XB);
        put_words(out, &self.0);
    }
}

/// A fresh symmetric encryption as it travels: its first polynomial and the seed of its second.
#[derive(Debug, Clone, PartialEq)]
pub struct SeededCiphertext {
    /// the parms_id of its level
    pub parms_id: ParmsId,
    /// coefficient form for BFV, NTT form for CKKS; the expanded polynomial is in the same form
    pub form: Form,
    /// CKKS's scale; 1 for BFV
    pub scale: f64,
    /// the first polynomial, `[primes][N]`
    pub c0: Residues,
    /// what the second polynomial is drawn from
    pub seed: Seed,
}

impl SeededCiphertext {
    /// The whole ciphertext.
    ///
    /// # Errors
    /// [`Error::ParametersMismatch`] where it belongs to other parameters.
    pub fn expand(&self, context: &Context) -> Result<Ciphertext> {
        let mismatch = || Error::ParametersMismatch { operation: "expanding a seed", object: "seeded ciphertext" };
        let primes = context.primes_of(&self.parms_id).ok_or_else(mismatch)?;
        let per_polynomial = primes * context.degree();
        if self.c0.len() != per_polynomial {
            return Err(mismatch());
        }
        let mut data = Residues::zeros(2 * per_polynomial);
        let (c0, c1) = data.split_at_mut(per_polynomial);
        c0.copy_from_slice(&self.c0);
        self.seed.expand(context.degree(), (0..primes).map(|j| context.modulus(j)), c1)?;
        Ciphertext::from_data(context, 2, primes, self.form, self.scale, data).ok_or_else(mismatch)
    }
}

/// Reads a seeded ciphertext without expanding it.
///
/// # Errors
/// [`Error::Malformed`] with the offset, also for a ciphertext that is whole; [`Error::TooLarge`];
/// [`Error::Unsupported`] for a SHAKE-256 seed.
pub fn read_seeded_ciphertext(context: &Context, bytes: &[u8], limits: Limits) -> Result<SeededCiphertext> {
    let mut reader = open("seeded ciphertext", bytes, limits)?;
    let Metadata { parms_id, form, size, degree, primes, scale } =
        Metadata::read(&mut reader, context, context.data_primes())?;
    if size != 2 {
        return Err(reader.malformed(0, format!("{size} polynomials; a seeded ciphertext has two")));
    }
    reader.expect_array(primes * degree)?;
    let mut c0 = Residues::zeros(primes * degree);
    reader.residues(&mut c0, degree, (0..primes).map(|j| context.modulus(j)))?;
    let seed = Seed::read(&mut reader)?;
    reader.finish()?;
    Ok(SeededCiphertext { parms_id, form, scale, c0, seed })
}

/// Writes a seeded ciphertext as SEAL would; SEAL expands it when it loads it.
///
/// # Errors
/// [`Error::ParametersMismatch`] where it belongs to other parameters.
pub fn write_seeded_ciphertext(
    context: &Context,
    ciphertext: &SeededCiphertext,
    compression: Compression,
) -> Result<Vec<u8>> {
    let SeededCiphertext { parms_id, form, scale, ref c0, seed } = *ciphertext;
    let degree = context.degree();
    let primes = context.primes_of(&parms_id).filter(|primes| c0.len() == primes * degree);
    let primes = primes.ok_or(Error::ParametersMismatch { operation: "writing", object: "seeded ciphertext" })?;
    let mut out = buffer(seeded_object_size(primes, degree) - HEADER);
    Metadata { parms_id, form, size: 2, degree, primes, scale }.put(&mut out);
    put_array(&mut out, c0);
    seed.put(&mut out);
    Ok(seal(out, compression))
}
