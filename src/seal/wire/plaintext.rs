//! Plaintexts: BFV's coefficients, CKKS's residues.

use super::ciphertext::{put_array, put_words};
use super::envelope::{Compression, HEADER, Limits, buffer, open, seal};
use super::reader::Reader;
use crate::error::{Error, Result};
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
    const OBJECT: &str = "plaintext";
    let degree = context.degree();
    let most_words = match context.parameters().scheme() {
        Scheme::Bfv => degree,
        Scheme::Ckks => degree * context.data_primes(),
    };
    let members = open(OBJECT, bytes, object_size(most_words) as u64, limits)?;
    let mut reader = Reader::members(OBJECT, &members);
    let parms_id = reader.parms_id()?;
    let plaintext = match context.parameters().scheme() {
        Scheme::Bfv if parms_id == COEFFICIENT_FORM => {
            let count = reader.u64()?;
            let scale = reader.f64()?;
            if scale != 1.0 {
                return Err(reader.malformed(8, format!("scale {scale} of a BFV plaintext instead of 1")));
            }
            let words = reader.array_header()?;
            if words as u64 != count || words > degree {
                return Err(reader.malformed(8, format!("{words} coefficients; {count} declared, {degree} possible")));
            }
            let mut coefficients = vec![0; words];
            reader.bounded_words(&mut coefficients, context.parameters().plain_modulus())?;
            Plaintext::Bfv(coefficients)
        }
        Scheme::Bfv => {
            return Err(Error::Unsupported {
                operation: "reading a BFV plaintext in NTT form",
                reason: "save it in coefficient form".into(),
            });
        }
        Scheme::Ckks => {
            let level = context.primes_of(&parms_id).filter(|&primes| primes <= context.data_primes());
            let primes = level.ok_or_else(|| {
                reader.malformed(32, "its parms_id belongs to other encryption parameters or another level".into())
            })?;
            reader.expect("number of residues", (primes * degree) as u64)?;
            let scale = reader.f64()?;
            if !(scale.is_finite() && scale > 0.0) {
                return Err(reader.malformed(8, format!("scale {scale} is not positive and finite")));
            }
            let words = reader.array_header()?;
            if words != primes * degree {
                return Err(reader.malformed(8, format!("an array of {words} words instead of {}", primes * degree)));
            }
            let data = reader.residues(1, 1, degree, (0..primes).map(|j| context.modulus(j)))?;
            Plaintext::Ckks { primes, scale, data }
        }
    };
    reader.finish()?;
    Ok(plaintext)
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
        Plaintext::Ckks { primes, scale, data } => (context.parms_id(*primes), *scale, data.as_slice()),
    };
    let mut out = buffer(object_size(data.len()) - HEADER);
    put_members(&mut out, parms_id, scale, data);
    Ok(seal(out, compression))
}
