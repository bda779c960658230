//! The ring, its primes and the plaintext moduli of a packed BFV program.

use super::noise::{Forecast, Ring, Terms};
use crate::error::{Error, Result};
use crate::ring::primes;
use crate::scheme::security;

/// The widest primes that every backend's fastest kernels take, in bits.
const MOST_BITS: u32 = 49;

/// The narrowest primes tried, in bits.
const LEAST_BITS: u32 = 20;

/// The most plaintext moduli tried.
const MOST_PLAIN_MODULI: u32 = 10;

/// Bits, with the sign, of the longest integers that plaintext moduli have room for.
pub(super) const LONGEST_BITS: u32 = MOST_PLAIN_MODULI * MOST_BITS - 1;

/// The most data primes tried.
const MOST_PRIMES: usize = 20;

/// Parameters for one program.
#[derive(Debug, Clone, PartialEq)]
pub struct ExactModuli {
    /// the polynomial degree N
    pub degree: usize,
    /// the data primes, and the key-switching prime
    pub moduli: Vec<u64>,
    /// the plaintext moduli
    pub plain_moduli: Vec<u64>,
    /// how the noise grows
    pub forecast: Forecast,
}

impl ExactModuli {
    /// What the noise of these parameters depends on.
    pub fn ring(degree: usize, moduli: &[u64], plain_moduli: &[u64]) -> Ring {
        let special = moduli.last().copied().unwrap_or(1) as f64;
        let data = &moduli[..moduli.len().saturating_sub(1)];
        let largest = plain_moduli.iter().max().copied().unwrap_or(1);
        Ring { degree, plain_modulus: largest as f64, moduli: data.iter().map(|&q| q as f64).collect(), special }
    }
}

/// For each number of plaintext moduli that works, the fewest primes with which a ring of degree `degree` computes `steps` on
/// answers up to `bound`; none where the ring has no room at this security.
///
/// # Errors
/// [`Error::InvalidArgument`] for an unknown level of security.
pub fn choices(degree: usize, steps: &[Terms], bound: f64, security: u32) -> Result<Vec<ExactModuli>> {
    let limit = security::limit(degree, security).ok_or_else(|| Error::InvalidArgument {
        name: "security",
        reason: format!("{security} bits; choose 128, 192 or 256"),
    })?;
    let plain_moduli = (1..=MOST_PLAIN_MODULI).filter_map(|count| plain_moduli(degree, count as usize, bound));
    Ok(plain_moduli.filter_map(|plain| smallest(degree, steps, &plain, limit)).collect())
}

/// Bits of modulus that the steps need in a ring of degree `degree` with the plaintext moduli that need least, and how many
/// these are; whatever is secure.
pub fn needed_bits(degree: usize, steps: &[Terms], bound: f64) -> Option<(u32, usize)> {
    let plain_moduli = (1..=MOST_PLAIN_MODULI).filter_map(|count| plain_moduli(degree, count as usize, bound));
    let needed = plain_moduli.filter_map(|plain| {
        let found = smallest(degree, steps, &plain, u32::MAX)?;
        Some((bits(&found.moduli).ceil() as u32, plain.len()))
    });
    needed.min()
}

/// The smallest `count` primes of one size that have batching and whose product exceeds four times `bound`: answers stay
/// within half of the range, so that a client sees most of those that do not.
fn plain_moduli(degree: usize, count: usize, bound: f64) -> Option<Vec<u64>> {
    let needed = bound.log2() + 2.0;
    let first = (needed / count as f64).ceil().max(2.0) as u32;
    (first..=MOST_BITS).find_map(|size| {
        let found = primes::largest(2 * degree as u64, size, count).ok()?;
        (bits(&found) > needed).then_some(found)
    })
}

/// The fewest primes, and the shortest of these, with which everything decrypts.
fn smallest(degree: usize, steps: &[Terms], plain_moduli: &[u64], limit: u32) -> Option<ExactModuli> {
    (1..=MOST_PRIMES).find_map(|count| {
        let most = MOST_BITS.min(limit / (count as u32 + 1));
        // No prime is as long as its bits say, so this is an upper bound.
        let enough = |size: u32| {
            let ring = Ring { moduli: vec![2f64.powi(size as i32); count], ..of_size(degree, plain_moduli, size) };
            ring.forecast(steps).decrypts()
        };
        let first = (LEAST_BITS..=most).find(|&size| enough(size))?;
        (first..=most).find_map(|size| {
            let moduli = distinct(degree, size, count + 1, plain_moduli)?;
            let forecast = ExactModuli::ring(degree, &moduli, plain_moduli).forecast(steps);
            let decrypts = forecast.decrypts();
            decrypts.then(|| ExactModuli { degree, moduli, plain_moduli: plain_moduli.to_vec(), forecast })
        })
    })
}

fn of_size(degree: usize, plain_moduli: &[u64], size: u32) -> Ring {
    ExactModuli::ring(degree, &[1 << size], plain_moduli)
}

/// Primes of one size, the largest of them last, none of which is a plaintext modulus.
fn distinct(degree: usize, size: u32, count: usize, plain_moduli: &[u64]) -> Option<Vec<u64>> {
    let found = primes::largest(2 * degree as u64, size, count + plain_moduli.len()).ok()?;
    let mut left: Vec<u64> = found.into_iter().filter(|prime| !plain_moduli.contains(prime)).take(count).collect();
    left.reverse();
    Some(left)
}

/// Bits of the product.
pub fn bits(moduli: &[u64]) -> f64 {
    moduli.iter().map(|&q| (q as f64).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [Terms; 3] = [
        Terms::Linear { still: 1, rotated: 24, giants: 4 },
        Terms::Square,
        Terms::Linear { still: 1, rotated: 15, giants: 3 },
    ];

    #[test]
    fn parameters_are_secure_and_decrypt() {
        let found = choices(8192, &STEPS, 2f64.powi(40), 128).unwrap();
        assert!(!found.is_empty());
        for choice in found {
            assert!(choice.forecast.decrypts());
            assert!(bits(&choice.moduli) <= 214.0);
            assert!(bits(&choice.plain_moduli) > 42.0);
            assert!(choice.plain_moduli.iter().all(|t| t % 16384 == 1 && !choice.moduli.contains(t)));
            assert!(choice.moduli.iter().all(|&q| q <= choice.moduli[choice.moduli.len() - 1]));
        }
    }

    #[test]
    fn no_room_is_no_choice() {
        assert_eq!(choices(2048, &STEPS, 2f64.powi(40), 128).unwrap(), []);
        let (needed, _) = needed_bits(2048, &STEPS, 2f64.powi(40)).unwrap();
        assert!(needed > 53);
        assert!(choices(8192, &STEPS, 1.0, 100).is_err());
    }
}
