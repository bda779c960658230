//! The smallest ring and the primes that a packed CKKS program needs.

use super::plan::PackedOptions;
use crate::error::{Error, Result};
use crate::ring::primes;
use crate::scheme::security;

/// Polynomial degree, scale and primes for one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModulusChoice {
    /// the polynomial degree N
    pub degree: usize,
    /// bits of the scale
    pub scale_bits: u32,
    /// the data primes, the one that is left at the end first, and the key-switching prime
    pub moduli: Vec<u64>,
}

/// Bits by which results may exceed the ranges seen in calibration.
const HEADROOM_BITS: u32 = 4;

/// The key-switching prime exceeds the others by this many bits, so that its noise stays below that of rounding.
const KEY_SWITCHING_BITS: u32 = 5;

/// The widest primes that every backend's fastest kernels take, in bits.
const MOST_BITS: u32 = 49;

/// Primes for `divisions` divisions by the scale in a ring of degree `degree`, `None` where they would exceed what is secure.
///
/// Every division rounds: the error has deviation sqrt((1 + 2N/3) / 12) a coefficient and N / sqrt(36) or so a slot.
/// A scale of 2N times the precision keeps it below.
///
/// # Errors
/// [`Error::InvalidArgument`] for an unknown level of security, [`Error::PrimesExhausted`].
pub fn choose(degree: usize, divisions: usize, options: PackedOptions) -> Result<Option<ModulusChoice>> {
    let limit = security::limit(degree, options.security).ok_or_else(|| Error::InvalidArgument {
        name: "security",
        reason: format!("{} bits; choose 128, 192 or 256", options.security),
    })?;
    let scale_bits = scale_bits(degree, options.precision);
    let bits = needed_bits(degree, divisions, options.precision);
    if bits > limit || scale_bits + 1 + HEADROOM_BITS + KEY_SWITCHING_BITS > MOST_BITS {
        return Ok(None);
    }
    let factor = 2 * degree as u64;
    let last = primes::largest(factor, scale_bits + 1 + HEADROOM_BITS, 1)?;
    let special = primes::largest(factor, scale_bits + 1 + HEADROOM_BITS + KEY_SWITCHING_BITS, 1)?;
    let scales = primes::nearest(factor, scale_bits, divisions, &[last[0], special[0]])?;
    // The farthest primes are used first, where a drift of the scale matters least.
    Ok(Some(ModulusChoice { degree, scale_bits, moduli: [last, scales, special].concat() }))
}

/// Bits of the scale that gives `precision` bits.
fn scale_bits(degree: usize, precision: u32) -> u32 {
    precision + degree.ilog2() + 1
}

/// Bits of the whole modulus.
pub fn needed_bits(degree: usize, divisions: usize, precision: u32) -> u32 {
    let scale = scale_bits(degree, precision);
    // primes on both sides of the scale may have a bit more
    divisions as u32 * scale + 2 * (scale + 1 + HEADROOM_BITS) + KEY_SWITCHING_BITS + 1
}
