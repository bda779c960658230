//! The transform in plain Rust, for every prime below 2^61.
//!
//! Forward values stay in `[0, 4q)` and inverse ones in `[0, 2q)` until the last level.

use super::Powers;
use crate::ring::modulus::Modulus;

/// A constant with its Shoup companion.
type Factor = (u64, u64);

#[derive(Debug, Clone)]
pub(super) struct Constants {
    modulus: Modulus,
    forward: Vec<Factor>,
    inverse: Vec<Factor>,
    degree_inverse: Factor,
    last_inverse: Factor,
}

/// x - m where x >= m, otherwise x.
#[inline(always)]
fn subtract_once(x: u64, m: u64) -> u64 {
    x.min(x.wrapping_sub(m))
}

/// x w mod q in `[0, 2q)`, for any word x.
#[inline(always)]
fn mul_lazy(q: u64, x: u64, (w, companion): Factor) -> u64 {
    let quotient = ((u128::from(x) * u128::from(companion)) >> 64) as u64;
    x.wrapping_mul(w).wrapping_sub(quotient.wrapping_mul(q))
}

impl Constants {
    pub(super) fn new(powers: &Powers) -> Self {
        let q = powers.modulus;
        let factor = |w: u64| (w, q.shoup(w));
        Self {
            modulus: q,
            forward: powers.forward.iter().copied().map(factor).collect(),
            inverse: powers.inverse.iter().copied().map(factor).collect(),
            degree_inverse: factor(powers.degree_inverse),
            last_inverse: factor(powers.last_inverse()),
        }
    }

    pub(super) fn forward(&self, x: &mut [u64]) {
        let q = self.modulus.value();
        let mut nodes = 1;
        while nodes < x.len() {
            let block = x.len() / nodes;
            for (block, &w) in x.chunks_exact_mut(block).zip(&self.forward[nodes..]) {
                let (low, high) = block.split_at_mut(block.len() / 2);
                for (a, b) in low.iter_mut().zip(high) {
                    let (u, v) = (subtract_once(*a, 2 * q), mul_lazy(q, *b, w));
                    (*a, *b) = (u + v, u + 2 * q - v);
                }
            }
            nodes *= 2;
        }
        for a in x {
            *a = subtract_once(subtract_once(*a, 2 * q), q);
        }
    }

    pub(super) fn inverse(&self, x: &mut [u64]) {
        let q = self.modulus.value();
        let mut nodes = x.len() / 2;
        while nodes > 1 {
            let block = x.len() / nodes;
            for (block, &w) in x.chunks_exact_mut(block).zip(&self.inverse[nodes..]) {
                let (low, high) = block.split_at_mut(block.len() / 2);
                for (a, b) in low.iter_mut().zip(high) {
                    let (u, v) = (*a, *b);
                    (*a, *b) = (subtract_once(u + v, 2 * q), mul_lazy(q, u + 2 * q - v, w));
                }
            }
            nodes /= 2;
        }
        let (low, high) = x.split_at_mut(x.len() / 2);
        for (a, b) in low.iter_mut().zip(high) {
            let (u, v) = (*a, *b);
            *a = subtract_once(mul_lazy(q, u + v, self.degree_inverse), q);
            *b = subtract_once(mul_lazy(q, u + 2 * q - v, self.last_inverse), q);
        }
    }
}
