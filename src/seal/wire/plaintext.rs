//! Plaintexts: BFV's coefficients, CKKS's residues.

use super::ciphertext::{FOREIGN, put_array, put_words};
use super::envelope::{Compression, HEADER, Limits, buffer, open, seal};
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::ring::Residues;
use crate::scheme::{Context, ParmsId, Plaintext, Scheme};

/// Bytes of the members before the array: parms_id, count, scale.
const METADATA: usize = 32 + 2 * 8;
/// SEAL's parms_id of plaintexts in coefficient form.
const COEFFICIENT_FORM: ParmsId = [0; 4];

/// Bytes of an uncompressed plaintext object, header included.
pub(super) fn object_size(words: usize) -> usize {
    HEADER + METADATA + HEADER + 8 + 8 * words
}

/// Appends a plaintext's members.
pub(super) fn put_members(out: &mut Vec<u8>, parms_id: ParmsId, scale: f64, data: &[u64]) {
    put_words(out, &parms_id);
    put_words(out, &[data.len() as u64, scale.to_bits()]);
    put_array(out, data);
}

/// Reads a plaintext: coefficients below t for BFV, residues at any data level for CKKS.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`], [`Error::Unsupported`] for a BFV plaintext in NTT form.
pub fn read_plaintext(context: &Context, bytes: &[u8], limits: Limits) -> Result<Plaintext> {
    let mut reader = open("plaintext", bytes, limits)?;
    let parms_id = reader.parms_id()?;
    let plaintext = match context.parameters().scheme() {
        Scheme::Bfv if parms_id == COEFFICIENT_FORM => read_coefficients(&mut reader, context)?,
        Scheme::Bfv => {
            return Err(Error::Unsupported {
                operation: "reading a BFV plaintext in NTT form",
                reason: "save it in coefficient form".into(),
            });
        }
        Scheme::Ckks => read_residues(&mut reader, context, parms_id)?,
    };
    reader.finish()?;
    Ok(plaintext)
}

/// The rest of a BFV plaintext in coefficient form.
fn read_coefficients(reader: &mut Reader<'_>, context: &Context) -> Result<Plaintext> {
    let count = reader.u64()?;
    let count = usize::try_from(count).ok().filter(|&count| count <= context.degree());
    let count = count.ok_or_else(|| reader.malformed(8, format!("more than {} coefficients", context.degree())))?;
    reader.expect("scale, as bits,", 1f64.to_bits())?;
    reader.expect_array(count)?;
    let mut coefficients = vec![0; count];
    reader.bounded_words(&mut coefficients, context.parameters().plain_modulus())?;
    Ok(Plaintext::Bfv(coefficients))
}

/// The rest of a CKKS plaintext.
fn read_residues(reader: &mut Reader<'_>, context: &Context, parms_id: ParmsId) -> Result<Plaintext> {
    let level = context.primes_of(&parms_id).filter(|&primes| primes <= context.data_primes());
    let primes = level.ok_or_else(|| reader.malformed(32, FOREIGN.into()))?;
    let words = primes * context.degree();
    reader.expect("number of residues", words as u64)?;
    let scale = reader.f64()?;
    if !(scale.is_finite() && scale > 0.0) {
        return Err(reader.malformed(8, format!("scale {scale} is not positive and finite")));
    }
    reader.expect_array(words)?;
    let mut data = Residues::zeros(words);
    reader.residues(&mut data, context.degree(), (0..primes).map(|j| context.modulus(j)))?;
    Ok(Plaintext::Ckks { primes, scale, data })
}

/// Writes a plaintext as SEAL would.
///
/// # Errors
/// [`Error::ParametersMismatch`] where the plaintext does not fit the context.
pub fn write_plaintext(context: &Context, plaintext: &Plaintext, compression: Compression) -> Result<Vec<u8>> {
    if !plaintext.is_valid_for(context) {
        return Err(Error::ParametersMismatch { operation: "writing", object: "plaintext" });
    }
    let (parms_id, scale, data) = match plaintext {
        Plaintext::Bfv(coefficients) => (COEFFICIENT_FORM, 1.0, coefficients.as_slice()),
        Plaintext::Ckks { primes, scale, data } => (context.parms_id(*primes), *scale, &**data),
    };
    let mut out = buffer(object_size(data.len()) - HEADER);
    put_members(&mut out, parms_id, scale, data);
    Ok(seal(out, compression))
}
