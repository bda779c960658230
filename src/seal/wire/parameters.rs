//! Encryption parameters.

use super::ciphertext::put_words;
use super::envelope::{Compression, HEADER, Limits, buffer, open, put_header, seal};
use super::reader::Reader;
use crate::error::{Error, Result};
use crate::scheme::{Parameters, Scheme};

/// Bytes of a modulus object.
const MODULUS: usize = HEADER + 8;

fn object_size(primes: usize) -> usize {
    HEADER + 1 + 2 * 8 + (primes + 1) * MODULUS
}

/// Reads BFV or CKKS parameters. SEAL always sets the last of several primes aside for key
/// switching, so `key_switching` is true unless there is one prime only.
///
/// # Errors
/// [`Error::Malformed`] with the offset, [`Error::TooLarge`], and what [`Parameters::bfv`] and
/// [`Parameters::ckks`] say of unusable values.
pub fn read_parameters(bytes: &[u8], limits: Limits) -> Result<Parameters> {
    let mut reader = open("encryption parameters", bytes, limits)?;
    let scheme = match reader.u8()? {
        1 => Scheme::Bfv,
        2 => Scheme::Ckks,
        other => {
            return Err(Error::Unsupported {
                operation: "reading encryption parameters",
                reason: format!("scheme {other} is neither BFV (1) nor CKKS (2)"),
            });
        }
    };
    let degree = reader.u64()?;
    let degree = usize::try_from(degree).ok().filter(|&degree| degree <= Parameters::MAX_DEGREE);
    let degree = degree.ok_or_else(|| reader.malformed(8, "the polynomial degree is too large".into()))?;
    let primes = reader.u64()?;
    if primes > Parameters::MAX_PRIMES as u64 {
        return Err(reader.malformed(8, format!("{primes} primes; at most {} are possible", Parameters::MAX_PRIMES)));
    }
    let moduli = (0..primes).map(|_| read_modulus(&mut reader)).collect::<Result<Vec<_>>>()?;
    let plain_modulus = read_modulus(&mut reader)?;
    let key_switching = moduli.len() > 1;
    let parameters = match scheme {
        Scheme::Bfv => Parameters::bfv(degree, moduli, key_switching, plain_modulus)?,
        Scheme::Ckks if plain_modulus != 0 => {
            return Err(reader.malformed(8, format!("plaintext modulus {plain_modulus} of CKKS instead of 0")));
        }
        Scheme::Ckks => Parameters::ckks(degree, moduli, key_switching)?,
    };
    reader.finish()?;
    Ok(parameters)
}

fn read_modulus(reader: &mut Reader<'_>) -> Result<u64> {
    let inner = reader.inner_header()?;
    let value = reader.u64()?;
    reader.end_inner(inner)?;
    Ok(value)
}

/// Writes parameters as SEAL would. SEAL's format does not say whether a prime is set aside for
/// key switching: SEAL, and [`read_parameters`], take it that the last of several is.
pub fn write_parameters(parameters: &Parameters, compression: Compression) -> Vec<u8> {
    let moduli = parameters.moduli();
    let mut out = buffer(object_size(moduli.len()) - HEADER);
    out.push(parameters.scheme().seal_id() as u8);
    put_words(&mut out, &[parameters.degree() as u64, moduli.len() as u64]);
    for &modulus in moduli.iter().chain([&parameters.plain_modulus()]) {
        put_header(&mut out, Compression::None, MODULUS);
        put_words(&mut out, &[modulus]);
    }
    seal(out, compression)
}
