//! How far sums of products may run before they must be reduced.
//!
//! Between steps a residue is *balanced*: an integer x with |x| <= 3q/4 that stands for x mod q. Signed
//! numbers are half as large as residues in `[0, q)`, so twice as many products fit a 64-bit sum.
//! A kernel adds up products exactly and reduces the sum only where the next product might carry
//! it past 2^63; those places depend on the weights and the prime alone and are found once.

use super::matrix::Block;
use crate::ring::Modulus;

/// A prime with what the kernels need of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prime {
    pub modulus: Modulus,
    pub value: i64,
    /// 1 / q, rounded: quotients below 2^43 come out right to 1/100
    pub inverse: f64,
}

impl Prime {
    /// The vector kernels find quotients in double precision, which takes primes of this size or more.
    pub const VECTOR_MIN: i64 = 1 << 20;
    /// The vector kernels multiply balanced residues of primes below this.
    pub const SQUARE_LIMIT: i64 = 1 << 50;

    pub fn new(modulus: Modulus) -> Self {
        Self { modulus, value: modulus.value() as i64, inverse: 1.0 / modulus.value() as f64 }
    }

    /// The largest absolute value of a balanced residue.
    fn magnitude(&self) -> u64 {
        self.modulus.value() / 4 * 3 + 3
    }

    /// The representative of a residue in `[-q/2, q/2]`.
    pub fn balance(&self, residue: u64) -> i64 {
        self.modulus.center(residue)
    }

    /// The representative of an integer below 2^127 in absolute value, in `[-q/2, q/2]`.
    pub fn reduce(&self, x: i128) -> i64 {
        let r = self.balance(self.modulus.reduce_wide(x.unsigned_abs()));
        if x < 0 { -r } else { r }
    }
}

/// How a kernel forms the products of a block.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Products {
    /// weights, residues and sums are whole numbers below 2^53: one multiply-add in double precision. The sum is
    /// reduced after each of these numbers of taps, the last of which is the number of taps; then the weights,
    /// `[tap][row]`
    Doubles(Vec<u32>, Vec<f64>),
    /// weight times residue fits 64 bits: one multiplication. Reductions as above
    Whole(Vec<u32>),
    /// the residue is split as high 2^32 + low, low in `[-2^31, 2^31)`: two multiplications, two sums
    Halves(Vec<u32>),
}

impl Products {
    /// The numbers of taps after which sums are reduced.
    pub fn ends(&self) -> &[u32] {
        match self {
            Products::Doubles(ends, _) | Products::Whole(ends) | Products::Halves(ends) => ends,
        }
    }

    /// The largest absolute value of the halves: the low one's.
    const HALF: u64 = 1 << 31;

    /// One multiply-add in double precision, where the sizes of weights and prime leave room for `worthwhile` products
    /// between reductions.
    pub fn doubles(block: Block<'_>, prime: &Prime, worthwhile: usize) -> Option<Self> {
        if prime.value >= Prime::SQUARE_LIMIT {
            return None;
        }
        let ends = seldom(reductions(block, prime.magnitude(), prime, 1 << 53), worthwhile)?;
        Some(Products::Doubles(ends, block.weights.iter().map(|&weight| weight as f64).collect()))
    }

    /// One multiplication of 64 bits, where there is room as above.
    pub fn whole(block: Block<'_>, prime: &Prime, worthwhile: usize) -> Option<Self> {
        seldom(reductions(block, prime.magnitude(), prime, i64::MAX as u64), worthwhile).map(Products::Whole)
    }

    /// Two multiplications.
    pub fn halves(block: Block<'_>, prime: &Prime) -> Self {
        let ends = reductions(block, Self::HALF, prime, i64::MAX as u64);
        // (2^63 - 2^61) / 2^31 > MAX_WEIGHT
        Products::Halves(ends.expect("a product of a weight and half a residue fits 64 bits"))
    }
}

/// Reductions, if those before the last are `worthwhile` taps apart.
fn seldom(ends: Option<Vec<u32>>, worthwhile: usize) -> Option<Vec<u32>> {
    ends.filter(|ends| ends.last().is_none_or(|&taps| taps as usize >= worthwhile * (ends.len() - 1)))
}

/// The numbers of taps after which sums of weights times integers up to `magnitude` are to be
/// reduced so that no partial sum exceeds `limit`, given that one starts with an integer below q in
/// absolute value. `None` where a single product is too large.
fn reductions(block: Block<'_>, magnitude: u64, prime: &Prime, limit: u64) -> Option<Vec<u32>> {
    let budget = limit.checked_sub(prime.modulus.value())? / magnitude;
    let mut ends = Vec::new();
    let mut used = vec![0u64; block.rows.len()];
    for (tap, weights) in block.weights.chunks_exact(block.rows.len()).enumerate() {
        if used.iter().zip(weights).any(|(used, weight)| used + weight.unsigned_abs() > budget) {
            if weights.iter().any(|weight| weight.unsigned_abs() > budget) {
                return None;
            }
            if tap > 0 {
                ends.push(tap as u32);
            }
            used.fill(0);
        }
        for (used, weight) in used.iter_mut().zip(weights) {
            *used += weight.unsigned_abs();
        }
    }
    ends.push(block.taps.len() as u32);
    Some(ends)
}
