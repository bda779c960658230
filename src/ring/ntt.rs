//! The negacyclic number-theoretic transform, with SEAL's root and output order.
//!
//! The root is the smallest primitive 2N-th root of unity modulo q; value i of the transform is the
//! polynomial at root^(2 rev(i) + 1), rev reversing log2 N bits.

use super::kernels::Kernels;
use super::modulus::Modulus;
use crate::error::{Error, Result};

/// Precomputed powers for one degree and one prime.
#[derive(Debug, Clone)]
pub struct NttTable {
    degree: usize,
    kernels: Kernels,
    root: u64,
    /// powers of the root in bit-reversed order, with their Shoup companions
    forward: Vec<(u64, u64)>,
    inverse: Vec<(u64, u64)>,
    degree_inverse: (u64, u64),
}

/// The smallest primitive 2N-th root of unity modulo a prime q = 1 (mod 2N).
fn smallest_root(degree: usize, q: Modulus) -> Option<u64> {
    let order = 2 * degree as u64;
    if !(q.value() - 1).is_multiple_of(order) {
        return None;
    }
    let exponent = (q.value() - 1) / order;
    let some = (2..q.value()).map(|g| q.pow(g, exponent)).find(|&r| q.pow(r, order / 2) == q.value() - 1)?;
    let square = q.mul(some, some);
    let mut power = some;
    let mut smallest = some;
    for _ in 0..degree {
        smallest = smallest.min(power);
        power = q.mul(power, square);
    }
    Some(smallest)
}

impl NttTable {
    /// Tables for polynomials of `degree` coefficients (a power of two) modulo a prime.
    ///
    /// # Errors
    /// [`Error::InvalidModulus`] where q is no prime congruent to 1 modulo 2N.
    pub fn new(degree: usize, modulus: Modulus) -> Result<Self> {
        let q = modulus;
        let root = super::primes::is_prime(q.value()).then(|| smallest_root(degree, q)).flatten().ok_or_else(|| {
            Error::InvalidModulus {
                value: q.value(),
                reason: format!("it must be a prime congruent to 1 modulo {}", 2 * degree),
            }
        })?;
        let with_companion = |w| (w, q.shoup(w));
        let bits = degree.trailing_zeros();
        let mut forward = vec![(0, 0); degree];
        let mut inverse = vec![(0, 0); degree];
        let inverse_root = q.pow(root, q.value() - 2);
        let (mut power, mut inverse_power) = (1, 1);
        for i in 0..degree {
            let at = i.reverse_bits() >> (usize::BITS - bits);
            forward[at] = with_companion(power);
            inverse[at] = with_companion(inverse_power);
            power = q.mul(power, root);
            inverse_power = q.mul(inverse_power, inverse_root);
        }
        let degree_inverse = with_companion(q.pow(degree as u64, q.value() - 2));
        Ok(Self { degree, kernels: Kernels::new(modulus)?, root, forward, inverse, degree_inverse })
    }

    /// The polynomial degree N.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The prime q.
    pub fn modulus(&self) -> Modulus {
        self.kernels.modulus()
    }

    /// Pointwise kernels for the prime.
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// The 2N-th root of unity.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Coefficients in `[0, q)` to values in `[0, q)`, in place.
    pub fn forward(&self, x: &mut [u64]) {
        let q = self.modulus();
        let mut half = self.degree / 2;
        let mut blocks = 1;
        while half > 0 {
            for (i, block) in x.chunks_exact_mut(2 * half).enumerate() {
                let (w, companion) = self.forward[blocks + i];
                let (low, high) = block.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    let t = q.mul_shoup(*b, w, companion);
                    (*a, *b) = (q.add(*a, t), q.sub(*a, t));
                }
            }
            blocks *= 2;
            half /= 2;
        }
    }

    /// Values in `[0, q)` to coefficients in `[0, q)`, in place.
    pub fn inverse(&self, x: &mut [u64]) {
        let q = self.modulus();
        let mut half = 1;
        let mut blocks = self.degree / 2;
        while blocks > 0 {
            for (i, block) in x.chunks_exact_mut(2 * half).enumerate() {
                let (w, companion) = self.inverse[blocks + i];
                let (low, high) = block.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    let difference = q.sub(*a, *b);
                    (*a, *b) = (q.add(*a, *b), q.mul_shoup(difference, w, companion));
                }
            }
            blocks /= 2;
            half *= 2;
        }
        let (w, companion) = self.degree_inverse;
        for a in x {
            *a = q.mul_shoup(*a, w, companion);
        }
    }
}
