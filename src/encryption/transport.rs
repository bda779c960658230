//! A compact binary form of ciphertext tensors, to store and to send.
//!
//! SEAL's format spends 64 bits on a residue; this one spends the bits of its prime, and a fresh
//! symmetric tensor carries one 32-byte seed in place of all second polynomials. All numbers are little-endian.
//!
//! | offset | bytes | field |
//! | --- | --- | --- |
//! | 0 | 8 | magic `pycrcnn` and the version, 1 |
//! | 8 | 1 | kind: 0 all polynomials, 1 first polynomials and a seed |
//! | 9 | 1 | form: 0 coefficients, 1 NTT |
//! | 10 | 1 | polynomials of each ciphertext, 2 to 16 (seeded: 2) |
//! | 11 | 1 | rank r of the shape, at most 32 |
//! | 12 | 4 | polynomial degree N |
//! | 16 | 8 | scale, a double (BFV: 1) |
//! | 24 | 32 | parms_id of the level, as SEAL computes it |
//! | 56 | 8 r | shape |
//! | | 32 | seed, of kind 1 |
//! | | | for each ciphertext, stored polynomial and prime q: N residues of bits(q) bits, without padding |
//!
//! The second polynomial of seeded ciphertext i (in row-major order) is expanded as
//! [`SeededCiphertexts`] says. There is no checksum: a changed residue is a wrong ciphertext, as with SEAL's
//! format, and the transport is expected to be authenticated.

use std::ops::Range;

use rayon::prelude::*;

use super::bits;
use super::sampling::Seed;
use super::seeded::{SeededCiphertexts, change_form};
use crate::error::{Error, Result};
use crate::ring::{Modulus, Residues};
use crate::scheme::{Ciphertext, Context, Form, Parameters, Scheme};

const MAGIC: [u8; 8] = *b"pycrcnn\x01";
/// Bytes before the shape.
const FIXED: usize = 56;
const MAX_RANK: usize = 32;
const OBJECT: &str = "ciphertext tensor";

/// A tensor of ciphertexts as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct CiphertextTensor {
    /// the shape of the tensor
    pub shape: Vec<usize>,
    /// its ciphertexts, in row-major order
    pub ciphertexts: Vec<Ciphertext>,
}

/// What a tensor's ciphertexts have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Header {
    seed: Option<Seed>,
    form: Form,
    size: usize,
    primes: usize,
    scale: f64,
}

impl Header {
    /// The polynomials that are stored of each ciphertext.
    fn stored(&self) -> usize {
        if self.seed.is_some() { 1 } else { self.size }
    }

    /// What the ciphertexts have in common, in words.
    fn description(&self) -> String {
        format!("{} polynomials, {} primes, {:?} form, scale {}", self.size, self.primes, self.form, self.scale)
    }

    /// The packed bytes of one ciphertext.
    fn stride(&self, context: &Context) -> usize {
        (0..self.primes).map(|j| bits::packed_len(context.modulus(j), context.degree())).sum::<usize>() * self.stored()
    }
}

/// The packed bytes of one polynomial over the first `primes` data primes.
pub fn polynomial_bytes(parameters: &Parameters, primes: usize) -> usize {
    packed_bytes(parameters, &parameters.data_moduli()[..primes])
}

/// The packed bytes of a seeded public key: one polynomial over all primes.
pub fn public_key_bytes(parameters: &Parameters) -> usize {
    packed_bytes(parameters, parameters.moduli())
}

fn packed_bytes(parameters: &Parameters, moduli: &[u64]) -> usize {
    let bits = |q: &u64| (u64::BITS - q.leading_zeros()) as usize;
    moduli.iter().map(bits).sum::<usize>() * parameters.degree() / 8
}

/// Packs ciphertexts of one size, level, form and scale.
///
/// # Errors
/// [`Error::ShapeMismatch`] where the shape does not hold as many values as there are ciphertexts,
/// [`Error::OperandMismatch`] where the ciphertexts differ, [`Error::ParametersMismatch`].
pub fn pack(context: &Context, ciphertexts: &[Ciphertext], shape: &[usize]) -> Result<Vec<u8>> {
    let header =
        |c: &Ciphertext| Header { seed: None, form: c.form(), size: c.size(), primes: c.primes(), scale: c.scale() };
    let first = ciphertexts.first().map_or_else(|| empty(context), header);
    for ciphertext in ciphertexts {
        if ciphertext.degree() != context.degree() || context.primes_of(&ciphertext.parms_id()) != Some(first.primes) {
            return Err(Error::ParametersMismatch { operation: "pack", object: "ciphertext" });
        }
        if header(ciphertext) != first {
            return Err(Error::OperandMismatch {
                operation: "pack",
                what: "ciphertexts of one tensor",
                left: first.description(),
                right: header(ciphertext).description(),
                remedy: "bring them to one size, level, form and scale",
            });
        }
    }
    write(context, &first, shape, ciphertexts.len(), |i| ciphertexts[i].data())
}

/// Packs seeded ciphertexts.
///
/// # Errors
/// [`Error::ShapeMismatch`] where the shape does not hold as many values as there are ciphertexts,
/// [`Error::ParametersMismatch`].
pub fn pack_seeded(context: &Context, ciphertexts: &SeededCiphertexts, shape: &[usize]) -> Result<Vec<u8>> {
    if context.primes_of(&ciphertexts.parms_id()) != Some(ciphertexts.primes()) {
        return Err(Error::ParametersMismatch { operation: "pack", object: "seeded ciphertexts" });
    }
    let header = Header {
        seed: Some(*ciphertexts.seed()),
        form: ciphertexts.form(),
        size: 2,
        primes: ciphertexts.primes(),
        scale: ciphertexts.scale(),
    };
    write(context, &header, shape, ciphertexts.len(), |i| &ciphertexts.first_polynomials()[i])
}

/// Reads a tensor of either kind; seeded ciphertexts are expanded. `form` asks for a representation,
/// `None` leaves that of the bytes. Bytes from anywhere are safe to read: memory is bounded by a small multiple of
/// the bytes given, and every residue that is returned is reduced.
///
/// # Errors
/// [`Error::TooLarge`] above `limit` bytes, [`Error::Malformed`] for anything but one whole tensor,
/// [`Error::ParametersMismatch`] for a tensor of other parameters.
pub fn unpack(context: &Context, bytes: &[u8], form: Option<Form>, limit: u64) -> Result<CiphertextTensor> {
    if bytes.len() as u64 > limit {
        return Err(Error::TooLarge { object: OBJECT, size: bytes.len() as u64, limit });
    }
    let (header, shape, count, payload_at) = read_header(context, bytes)?;
    let stride = header.stride(context);
    let payload = &bytes[payload_at..];
    let stored: Vec<Residues> = (0..count)
        .into_par_iter()
        .map(|i| unpack_polynomials(context, &header, &payload[i * stride..(i + 1) * stride], payload_at + i * stride))
        .collect::<Result<_>>()?;
    let form = form.unwrap_or(header.form);
    let ciphertexts = match header.seed {
        Some(seed) => {
            let seeded = SeededCiphertexts::new(context, header.primes, header.form, header.scale, seed, stored);
            (0..count).into_par_iter().map(|i| seeded.expand(context, i, form)).collect::<Result<_>>()?
        }
        None => stored
            .into_par_iter()
            .map(|mut data| {
                data.chunks_exact_mut(header.primes * context.degree())
                    .for_each(|polynomial| change_form(context, header.form, form, polynomial));
                let mismatch = Error::ParametersMismatch { operation: "unpack", object: OBJECT };
                let Header { size, primes, scale, .. } = header;
                Ciphertext::from_data(context, size, primes, form, scale, data).ok_or(mismatch)
            })
            .collect::<Result<_>>()?,
    };
    Ok(CiphertextTensor { shape, ciphertexts })
}

/// The header of an empty tensor.
fn empty(context: &Context) -> Header {
    Header { seed: None, form: Form::Coefficient, size: 2, primes: context.data_primes(), scale: 1.0 }
}

fn write<'a>(
    context: &Context,
    header: &Header,
    shape: &[usize],
    count: usize,
    polynomials: impl Fn(usize) -> &'a [u64] + Sync,
) -> Result<Vec<u8>> {
    if shape.len() > MAX_RANK || checked_product(shape) != Some(count) {
        return Err(Error::ShapeMismatch {
            operation: "pack",
            expected: format!("at most {MAX_RANK} dimensions whose product is {count}, the number of ciphertexts"),
            got: shape.to_vec(),
        });
    }
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    let form = u8::from(header.form == Form::Ntt);
    bytes.extend([u8::from(header.seed.is_some()), form, header.size as u8, shape.len() as u8]);
    bytes.extend((context.degree() as u32).to_le_bytes());
    bytes.extend(header.scale.to_le_bytes());
    bytes.extend(context.parms_id(header.primes).iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(shape.iter().flat_map(|&dimension| (dimension as u64).to_le_bytes()));
    bytes.extend(header.seed.iter().flatten());

    let (start, stride, degree) = (bytes.len(), header.stride(context), context.degree());
    bytes.resize(start + count * stride, 0);
    bytes[start..].par_chunks_exact_mut(stride).enumerate().for_each(|(i, mut out)| {
        for (k, row) in polynomials(i).chunks_exact(degree).enumerate() {
            let q = context.modulus(k % header.primes);
            let (packed, rest) = out.split_at_mut(bits::packed_len(q, degree));
            bits::pack(q, row, packed);
            out = rest;
        }
    });
    Ok(bytes)
}

fn read_header(context: &Context, bytes: &[u8]) -> Result<(Header, Vec<usize>, usize, usize)> {
    let malformed = |offset: usize, reason: &str| Error::Malformed { object: OBJECT, offset, reason: reason.into() };
    let field = |at: usize, len: usize| {
        at.checked_add(len)
            .and_then(|end| bytes.get(at..end))
            .ok_or_else(|| malformed(bytes.len(), "the bytes end early"))
    };
    let word = |at: usize| Ok(u64::from_le_bytes(field(at, 8)?.try_into().unwrap_or_default()));
    let fixed = field(0, FIXED)?;
    if fixed[..7] != MAGIC[..7] {
        return Err(malformed(0, "this is no ciphertext tensor"));
    }
    if fixed[7] != MAGIC[7] {
        return Err(malformed(7, "the version is unknown; update the package"));
    }
    let [seeded @ (0 | 1), form @ (0 | 1), size, rank, ..] = fixed[8..] else {
        return Err(malformed(8, "the kind or form is unknown"));
    };
    let size = usize::from(size);
    if !Ciphertext::SIZES.contains(&size) || (seeded == 1 && size != 2) {
        return Err(malformed(10, "no ciphertext has so many polynomials"));
    }
    if usize::from(rank) > MAX_RANK {
        return Err(malformed(11, "the shape has too many dimensions"));
    }
    let degree = u64::from(u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]));
    let parms_id = [word(24)?, word(32)?, word(40)?, word(48)?];
    let Some(primes) = context.primes_of(&parms_id).filter(|_| degree == context.degree() as u64) else {
        return Err(Error::ParametersMismatch { operation: "unpack", object: OBJECT });
    };
    let scale = f64::from_bits(word(16)?);
    let expected = match context.parameters().scheme() {
        Scheme::Bfv => scale == 1.0,
        Scheme::Ckks => scale.is_finite() && scale > 0.0,
    };
    if !expected {
        return Err(malformed(16, "the scale is not positive and finite, or not BFV's 1"));
    }
    let shape_end = FIXED + 8 * usize::from(rank);
    let shape = (FIXED..shape_end)
        .step_by(8)
        .map(|at| usize::try_from(word(at)?).map_err(|_| malformed(at, "the dimension is too large")))
        .collect::<Result<Vec<_>>>()?;
    let (seed, payload_at) = match seeded {
        0 => (None, shape_end),
        _ => {
            let mut seed = Seed::default();
            seed.copy_from_slice(field(shape_end, 32)?);
            (Some(seed), shape_end + 32)
        }
    };
    let form = if form == 1 { Form::Ntt } else { Form::Coefficient };
    let header = Header { seed, form, size, primes, scale };
    let count = checked_product(&shape);
    let expected = count.and_then(|count| count.checked_mul(header.stride(context)));
    match (count, expected) {
        (Some(count), Some(expected)) if expected == bytes.len() - payload_at => Ok((header, shape, count, payload_at)),
        _ => Err(malformed(FIXED, "the shape does not fit the number of bytes")),
    }
}

/// The stored polynomials of one ciphertext, row by row in parallel on the rayon pool of the caller.
fn unpack_polynomials(context: &Context, header: &Header, bytes: &[u8], offset: usize) -> Result<Residues> {
    let degree = context.degree();
    let mut at = 0;
    let place = |k: usize| {
        let q = context.modulus(k % header.primes);
        let start = at;
        at += bits::packed_len(q, degree);
        (q, start..at)
    };
    let places: Vec<(Modulus, Range<usize>)> = (0..header.stored() * header.primes).map(place).collect();
    let mut data = Residues::stale(places.len() * degree);
    data.par_chunks_exact_mut(degree).zip(places).try_for_each(|(row, (q, place))| {
        let start = place.start;
        bits::unpack(q, &bytes[place], row).then_some(()).ok_or_else(|| Error::Malformed {
            object: OBJECT,
            offset: offset + start,
            reason: format!("a residue is not below {}", q.value()),
        })
    })?;
    Ok(data)
}

fn checked_product(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &dimension| product.checked_mul(dimension))
}

#[cfg(test)]
mod tests;
