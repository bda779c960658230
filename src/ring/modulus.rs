//! Arithmetic modulo one word-sized integer.

use crate::error::{Error, Result};

/// A modulus 2 <= q < 2^61 with its Barrett constant.
///
/// Operands are residues in `[0, q)` unless a method says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Modulus {
    value: u64,
    /// floor(2^128 / q), low and high words
    ratio: (u64, u64),
}

impl Modulus {
    /// The largest number of bits that a modulus may have (SEAL's limit).
    pub const MAX_BITS: u32 = 61;

    /// # Errors
    /// [`Error::InvalidModulus`] outside 2 <= q < 2^61.
    pub fn new(value: u64) -> Result<Self> {
        if !(2..1 << Self::MAX_BITS).contains(&value) {
            return Err(Error::InvalidModulus {
                value,
                reason: format!("it must lie between 2 and 2^{}", Self::MAX_BITS),
            });
        }
        // floor(2^128 / q) from floor((2^128 - 1) / q): they differ only where q divides 2^128.
        let mut ratio = u128::MAX / u128::from(value);
        if value.is_power_of_two() {
            ratio += 1;
        }
        Ok(Self { value, ratio: (ratio as u64, (ratio >> 64) as u64) })
    }

    /// The modulus itself.
    #[inline(always)]
    pub const fn value(self) -> u64 {
        self.value
    }

    /// Its number of significant bits.
    pub const fn bits(self) -> u32 {
        u64::BITS - self.value.leading_zeros()
    }

    /// a + b mod q.
    #[inline(always)]
    pub const fn add(self, a: u64, b: u64) -> u64 {
        let sum = a + b;
        if sum >= self.value { sum - self.value } else { sum }
    }

    /// a - b mod q.
    #[inline(always)]
    pub const fn sub(self, a: u64, b: u64) -> u64 {
        if a >= b { a - b } else { a + self.value - b }
    }

    /// -a mod q.
    #[inline(always)]
    pub const fn neg(self, a: u64) -> u64 {
        if a == 0 { 0 } else { self.value - a }
    }

    /// a b mod q.
    #[inline(always)]
    pub const fn mul(self, a: u64, b: u64) -> u64 {
        self.reduce_wide(a as u128 * b as u128)
    }

    /// Any word mod q.
    #[inline(always)]
    pub const fn reduce(self, a: u64) -> u64 {
        let quotient = ((a as u128 * self.ratio.1 as u128) >> 64) as u64;
        let r = a.wrapping_sub(quotient.wrapping_mul(self.value));
        if r >= self.value { r - self.value } else { r }
    }

    /// Any double word mod q (Barrett).
    #[inline(always)]
    pub const fn reduce_wide(self, a: u128) -> u64 {
        let (lo, hi) = (a as u64, (a >> 64) as u64);
        let (r0, r1) = self.ratio;
        // floor(a * ratio / 2^128), exact up to one
        let carry = ((lo as u128 * r0 as u128) >> 64) as u64;
        let mid = lo as u128 * r1 as u128 + carry as u128;
        let mid2 = hi as u128 * r0 as u128 + (mid as u64) as u128;
        let quotient = hi.wrapping_mul(r1).wrapping_add((mid >> 64) as u64).wrapping_add((mid2 >> 64) as u64);
        let r = lo.wrapping_sub(quotient.wrapping_mul(self.value));
        if r >= self.value { r - self.value } else { r }
    }

    /// A signed integer mod q.
    #[inline(always)]
    pub const fn reduce_signed(self, a: i64) -> u64 {
        let r = self.reduce(a.unsigned_abs());
        if a < 0 { self.neg(r) } else { r }
    }

    /// The representative of a in (-q/2, q/2].
    #[inline(always)]
    pub const fn center(self, a: u64) -> i64 {
        if a > self.value / 2 { a as i64 - self.value as i64 } else { a as i64 }
    }

    /// base^exponent mod q.
    pub const fn pow(self, mut base: u64, mut exponent: u64) -> u64 {
        let mut result = 1 % self.value;
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = self.mul(result, base);
            }
            base = self.mul(base, base);
            exponent >>= 1;
        }
        result
    }

    /// The inverse of a, if a and q are coprime (extended Euclid: q need not be prime).
    pub fn inv(self, a: u64) -> Option<u64> {
        let (mut r0, mut r1) = (i128::from(self.value), i128::from(self.reduce(a)));
        let (mut t0, mut t1) = (0i128, 1i128);
        while r1 != 0 {
            let quotient = r0 / r1;
            (r0, r1) = (r1, r0 - quotient * r1);
            (t0, t1) = (t1, t0 - quotient * t1);
        }
        (r0 == 1).then(|| t0.rem_euclid(i128::from(self.value)) as u64)
    }

    /// floor(w 2^64 / q): Shoup's companion of a constant factor w < q.
    #[inline(always)]
    pub const fn shoup(self, w: u64) -> u64 {
        (((w as u128) << 64) / self.value as u128) as u64
    }

    /// a w mod q for a constant w with its Shoup companion; a may be any word, the result lies in [0, q).
    #[inline(always)]
    pub const fn mul_shoup(self, a: u64, w: u64, companion: u64) -> u64 {
        let quotient = ((a as u128 * companion as u128) >> 64) as u64;
        let r = a.wrapping_mul(w).wrapping_sub(quotient.wrapping_mul(self.value));
        if r >= self.value { r - self.value } else { r }
    }
}
