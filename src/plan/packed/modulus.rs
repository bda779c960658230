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
    /// bits of the scale of images and of what lies between them and answers
    pub scale_bits: u32,
    /// bits of the scale of answers
    pub answer_bits: u32,
    /// the data primes, the one that is left at the end first, and the key-switching prime
    pub moduli: Vec<u64>,
}

/// Bits by which results may exceed the ranges seen in calibration.
const HEADROOM_BITS: u32 = 4;

/// The key-switching prime exceeds the others by this many bits, so that its noise stays below that of rounding.
const KEY_SWITCHING_BITS: u32 = 5;

/// The widest primes that every backend's fastest kernels take, in bits.
pub(super) const MOST_BITS: u32 = 49;

/// Scales grow into bits that would be left over up to here: primes of 32 bits are half a word in memory.
const HALF_WORD_BITS: u32 = 31;

/// The scale of answers grows by up to this many bits first: answers are sums over many slots, whose rounding errors add up,
/// and the reply is not to be much longer.
const ANSWER_BITS: u32 = 4;

/// Primes for `divisions` divisions by the scale in a ring of degree `degree`, `None` where they would exceed what is secure.
///
/// Every division rounds: the error has deviation sqrt((1 + 2N/3) / 12) a coefficient and N / sqrt(36) or so a slot.
/// A scale of 2N times the precision keeps it below. Where the ring has bits to spare, scales are larger.
///
/// # Errors
/// [`Error::InvalidArgument`] for an unknown level of security, [`Error::PrimesExhausted`].
pub fn choose(degree: usize, divisions: usize, options: PackedOptions) -> Result<Option<ModulusChoice>> {
    let limit = security::limit(degree, options.security).ok_or_else(|| Error::InvalidArgument {
        name: "security",
        reason: format!("{} bits; choose 128, 192 or 256", options.security),
    })?;
    let least = Least::new(degree, divisions, options.precision);
    let base = least.scale;
    let fits = |scale_bits: u32, answer_bits: u32| {
        modulus_bits(divisions, scale_bits, answer_bits) <= limit && special_bits(scale_bits, answer_bits) <= MOST_BITS
    };
    let Some(answer_bits) = (base..=base + ANSWER_BITS).rev().find(|&bits| fits(base, bits)) else {
        return Ok(None);
    };
    let larger = (base..=HALF_WORD_BITS).rev().find(|&bits| fits(bits, answer_bits));
    let scale_bits = larger.unwrap_or(base);
    let factor = 2 * degree as u64;
    let last = primes::largest(factor, last_bits(answer_bits), 1)?;
    let special = primes::largest(factor, special_bits(scale_bits, answer_bits), 1)?;
    let scales = primes::nearest(factor, scale_bits, divisions, &[last[0], special[0]])?;
    // The farthest primes are used first, where a drift of the scale matters least.
    Ok(Some(ModulusChoice { degree, scale_bits, answer_bits, moduli: [last, scales, special].concat() }))
}

/// The least bits with which a program can do, whatever is secure and whatever kernels take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Least {
    /// of a scale
    pub scale: u32,
    /// of the whole modulus
    pub modulus: u32,
    /// of the widest prime
    pub prime: u32,
}

impl Least {
    /// For `divisions` divisions by a scale that gives `precision` bits in a ring of degree `degree`. Near 2N there are few
    /// primes, so that many divisions take a larger scale than the precision does.
    pub fn new(degree: usize, divisions: usize, precision: u32) -> Self {
        let base = precision + degree.ilog2() + 1;
        let enough = |&bits: &u32| primes::nearest(2 * degree as u64, bits, divisions, &[]).is_ok();
        let scale = (base..=MOST_BITS).find(enough).unwrap_or(base);
        Self { scale, modulus: modulus_bits(divisions, scale, scale), prime: special_bits(scale, scale) }
    }

    /// Whether kernels take the widest prime.
    pub fn is_narrow(self) -> bool {
        self.prime <= MOST_BITS
    }
}

/// Bits of the prime that is left for the answer.
fn last_bits(answer_bits: u32) -> u32 {
    answer_bits + 1 + HEADROOM_BITS
}

/// Bits of the key-switching prime.
fn special_bits(scale_bits: u32, answer_bits: u32) -> u32 {
    last_bits(answer_bits).max(scale_bits) + KEY_SWITCHING_BITS
}

/// Bits of the whole modulus; primes on both sides of a scale may have a bit more together.
fn modulus_bits(divisions: usize, scale_bits: u32, answer_bits: u32) -> u32 {
    divisions as u32 * scale_bits + last_bits(answer_bits) + special_bits(scale_bits, answer_bits) + 1
}
