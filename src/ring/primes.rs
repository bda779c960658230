//! NTT-friendly primes: SEAL's choices, found the way SEAL finds them.

use super::modulus::Modulus;
use crate::error::{Error, Result};

/// Whether a word is prime (Miller-Rabin with the twelve bases that are exact below 2^64).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    for p in BASES {
        if n.is_multiple_of(p) {
            return n == p;
        }
    }
    let mul = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(n)) as u64;
    let pow = |mut b: u64, mut e: u64| {
        let mut r = 1;
        while e > 0 {
            if e & 1 == 1 {
                r = mul(r, b);
            }
            b = mul(b, b);
            e >>= 1;
        }
        r
    };
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    BASES.iter().all(|&base| {
        let mut x = pow(base, odd);
        if x == 1 || x == n - 1 {
            return true;
        }
        for _ in 1..twos {
            x = mul(x, x);
            if x == n - 1 {
                return true;
            }
        }
        false
    })
}

/// The `count` largest primes of exactly `bits` bits congruent to 1 modulo `factor`, descending, as
/// SEAL's `get_primes` finds them.
///
/// # Errors
/// [`Error::PrimesExhausted`] where there are fewer.
pub fn largest(factor: u64, bits: u32, count: usize) -> Result<Vec<u64>> {
    let mut found = Vec::with_capacity(count);
    if (2..=Modulus::MAX_BITS).contains(&bits) {
        let floor = 1u64 << (bits - 1);
        let mut candidate = ((1u64 << bits) - 1) / factor * factor + 1;
        while candidate > floor && found.len() < count {
            if candidate < 1 << bits && is_prime(candidate) {
                found.push(candidate);
            }
            candidate = candidate.saturating_sub(factor);
        }
    }
    if found.len() < count {
        return Err(Error::PrimesExhausted { found: found.len(), wanted: count, bits, factor });
    }
    Ok(found)
}

/// The `count` primes nearest to `2^bits` on either side that are congruent to 1 modulo `factor`, nearest first, none of
/// `taken`: primes by which a scale of `2^bits` is divided with little drift.
///
/// # Errors
/// [`Error::PrimesExhausted`] where there are fewer within a factor of two.
pub fn nearest(factor: u64, bits: u32, count: usize, taken: &[u64]) -> Result<Vec<u64>> {
    let mut found = Vec::with_capacity(count);
    if (2..Modulus::MAX_BITS).contains(&bits) {
        let centre = (1u64 << bits) / factor;
        for distance in 0..=centre / 2 {
            let above = (centre + distance) * factor + 1;
            let below = (centre - distance) * factor + 1;
            let pair = if distance == 0 { &[above][..] } else { &[below, above][..] };
            for &candidate in pair {
                if found.len() < count && !taken.contains(&candidate) && is_prime(candidate) {
                    found.push(candidate);
                }
            }
            if found.len() == count {
                return Ok(found);
            }
        }
    }
    Err(Error::PrimesExhausted { found: found.len(), wanted: count, bits, factor })
}

/// One prime for each bit size, as SEAL's `CoeffModulus::Create`: within one size, the first asked
/// for is the smallest of the primes taken.
///
/// # Errors
/// [`Error::PrimesExhausted`] where there are too few.
pub fn create(degree: usize, bit_sizes: &[u32]) -> Result<Vec<u64>> {
    let factor = 2 * degree as u64;
    let mut pools = std::collections::BTreeMap::new();
    for &bits in bit_sizes {
        if let std::collections::btree_map::Entry::Vacant(slot) = pools.entry(bits) {
            slot.insert(largest(factor, bits, bit_sizes.iter().filter(|&&b| b == bits).count())?);
        }
    }
    Ok(bit_sizes.iter().filter_map(|bits| pools.get_mut(bits)?.pop()).collect())
}

/// SEAL's default coefficient modulus for BFV (`CoeffModulus::BFVDefault`) at 128, 192 or 256 bits
/// of security, the key-switching prime last.
pub fn bfv_default(degree: usize, security: u32) -> Option<&'static [u64]> {
    Some(match (security, degree) {
        (128, 1024) => &[0x7e00001],
        (128, 2048) => &[0x3fffffff000001],
        (128, 4096) => &[0xffffee001, 0xffffc4001, 0x1ffffe0001],
        (128, 8192) => &[0x7fffffd8001, 0x7fffffc8001, 0xfffffffc001, 0xffffff6c001, 0xfffffebc001],
        (128, 16384) => &[
            0xfffffffd8001,
            0xfffffffa0001,
            0xfffffff00001,
            0x1fffffff68001,
            0x1fffffff50001,
            0x1ffffffee8001,
            0x1ffffffea0001,
            0x1ffffffe88001,
            0x1ffffffe48001,
        ],
        (128, 32768) => &[
            0x7fffffffe90001,
            0x7fffffffbf0001,
            0x7fffffffbd0001,
            0x7fffffffba0001,
            0x7fffffffaa0001,
            0x7fffffffa50001,
            0x7fffffff9f0001,
            0x7fffffff7e0001,
            0x7fffffff770001,
            0x7fffffff380001,
            0x7fffffff330001,
            0x7fffffff2d0001,
            0x7fffffff170001,
            0x7fffffff150001,
            0x7ffffffef00001,
            0xfffffffff70001,
        ],
        (192, 1024) => &[0x7f001],
        (192, 2048) => &[0x1ffffc0001],
        (192, 4096) => &[0x1ffc001, 0x1fce001, 0x1fc0001],
        (192, 8192) => &[0x3ffffac001, 0x3ffff54001, 0x3ffff48001, 0x3ffff28001],
        (192, 16384) => {
            &[0x3ffffffdf0001, 0x3ffffffd48001, 0x3ffffffd20001, 0x3ffffffd18001, 0x3ffffffcd0001, 0x3ffffffc70001]
        }
        (192, 32768) => &[
            0x3fffffffd60001,
            0x3fffffffca0001,
            0x3fffffff6d0001,
            0x3fffffff5d0001,
            0x3fffffff550001,
            0x7fffffffe90001,
            0x7fffffffbf0001,
            0x7fffffffbd0001,
            0x7fffffffba0001,
            0x7fffffffaa0001,
            0x7fffffffa50001,
        ],
        (256, 1024) => &[0x3001],
        (256, 2048) => &[0x1ffc0001],
        (256, 4096) => &[0x3ffffffff040001],
        (256, 8192) => &[0x7ffffec001, 0x7ffffb0001, 0xfffffdc001],
        (256, 16384) => &[0x7ffffffc8001, 0x7ffffff00001, 0x7fffffe70001, 0xfffffffd8001, 0xfffffffa0001],
        (256, 32768) => &[
            0xffffffff00001,
            0x1fffffffe30001,
            0x1fffffffd80001,
            0x1fffffffd10001,
            0x1fffffffc50001,
            0x1fffffffbf0001,
            0x1fffffffb90001,
            0x1fffffffb60001,
            0x1fffffffa50001,
        ],
        _ => return None,
    })
}
