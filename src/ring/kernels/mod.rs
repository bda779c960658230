//! Pointwise arithmetic on the residues of polynomials modulo one prime.
//!
//! [`Kernels`] holds a modulus, the constants that its backend needs, and the backend itself. Slices
//! are N residues in `[0, q)` unless a method says otherwise; results lie in `[0, q)` and are the
//! same on every backend, bit for bit.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vector;

use super::backend::Backend;
#[cfg(target_arch = "x86_64")]
use super::backend::{avx2::Modulus50, ifma::Modulus52};
use super::modulus::Modulus;
use super::rows::Word;
use crate::error::Result;

/// Pointwise kernels for one modulus on one backend.
///
/// All slices of one call must have the same length, which need not be a power of two.
#[derive(Debug, Clone)]
pub struct Kernels {
    modulus: Modulus,
    backend: Backend,
    implementation: Implementation,
}

/// Which kernels run, with the constants that they need.
#[derive(Debug, Clone, Copy)]
enum Implementation {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(Modulus50),
    #[cfg(target_arch = "x86_64")]
    Ifma(Modulus52),
}

impl Implementation {
    /// `backend` must be available.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "there is one implementation"))]
    fn new(modulus: Modulus, backend: Backend) -> Self {
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => Modulus50::new(modulus).map(Implementation::Avx2),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Ifma => Modulus52::new(modulus).map(Implementation::Ifma),
            _ => None,
        }
        .unwrap_or(Implementation::Portable)
    }
}

/// Calls the kernel of the implementation that `$self` holds.
macro_rules! dispatch {
    ($self:ident, $kernel:ident($($argument:expr),*)) => {
        match &$self.implementation {
            Implementation::Portable => portable::$kernel($self.modulus, $($argument),*),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Kernels::with_backend` makes the vector variants only where the backend is
            // available, that is, where this machine has the instruction sets that the kernel needs.
            Implementation::Avx2(q) => unsafe { avx2::$kernel(q, $($argument),*) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Implementation::Ifma(q) => unsafe { ifma::$kernel(q, $($argument),*) },
        }
    };
}

/// Stops a call whose slices differ in length: a kernel must not silently do less than it was asked.
#[track_caller]
fn same_length(expected: usize, lengths: &[usize]) {
    assert!(lengths.iter().all(|&len| len == expected), "kernel operands of {expected} and {lengths:?} residues");
}

impl Kernels {
    /// Kernels on the backend of this process.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`](crate::Error::UnknownBackend), see [`Backend::current`].
    pub fn new(modulus: Modulus) -> Result<Self> {
        Self::with_backend(modulus, Backend::current()?)
    }

    /// Kernels on a backend of the caller's choice.
    ///
    /// # Errors
    /// [`Error::UnknownBackend`](crate::Error::UnknownBackend) where this machine cannot run it.
    pub fn with_backend(modulus: Modulus, backend: Backend) -> Result<Self> {
        let implementation = Implementation::new(modulus, backend.checked()?);
        Ok(Self { modulus, backend, implementation })
    }

    /// The modulus.
    #[inline]
    pub fn modulus(&self) -> Modulus {
        self.modulus
    }

    /// The backend that was asked for; moduli that it has no kernels for use the portable ones.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// out = a + b.
    ///
    /// # Panics
    /// Where lengths differ, as all kernels.
    pub fn add(&self, out: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(out.len(), &[a.len(), b.len()]);
        dispatch!(self, add(out, a, b));
    }

    /// a += b.
    pub fn add_assign(&self, a: &mut [u64], b: &[u64]) {
        same_length(a.len(), &[b.len()]);
        dispatch!(self, add_assign(a, b));
    }

    /// a += scalar in each place, the scalar in `[0, q)`.
    pub fn add_scalar_assign(&self, a: &mut [u64], scalar: u64) {
        dispatch!(self, add_scalar_assign(a, scalar));
    }

    /// out = a - b.
    pub fn sub(&self, out: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(out.len(), &[a.len(), b.len()]);
        dispatch!(self, sub(out, a, b));
    }

    /// a -= b.
    pub fn sub_assign(&self, a: &mut [u64], b: &[u64]) {
        same_length(a.len(), &[b.len()]);
        dispatch!(self, sub_assign(a, b));
    }

    /// out = -a.
    pub fn negate(&self, out: &mut [u64], a: &[u64]) {
        same_length(out.len(), &[a.len()]);
        dispatch!(self, negate(out, a));
    }

    /// a = -a.
    pub fn negate_assign(&self, a: &mut [u64]) {
        dispatch!(self, negate_assign(a));
    }

    /// out = a b.
    pub fn mul(&self, out: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(out.len(), &[a.len(), b.len()]);
        dispatch!(self, mul(out, a, b));
    }

    /// a *= b.
    pub fn mul_assign(&self, a: &mut [u64], b: &[u64]) {
        same_length(a.len(), &[b.len()]);
        dispatch!(self, mul_assign(a, b));
    }

    /// sum += a b.
    pub fn mul_add(&self, sum: &mut [u64], a: &[u64], b: &[u64]) {
        same_length(sum.len(), &[a.len(), b.len()]);
        dispatch!(self, mul_add(sum, a, b));
    }

    /// out = a scalar, the scalar in `[0, q)`.
    pub fn mul_scalar(&self, out: &mut [u64], a: &[u64], scalar: u64) {
        same_length(out.len(), &[a.len()]);
        dispatch!(self, mul_scalar(out, a, scalar));
    }

    /// a *= scalar, the scalar in `[0, q)`.
    pub fn mul_scalar_assign(&self, a: &mut [u64], scalar: u64) {
        dispatch!(self, mul_scalar_assign(a, scalar));
    }

    /// sum += a scalar, the scalar in `[0, q)`.
    pub fn mul_scalar_add(&self, sum: &mut [u64], a: &[u64], scalar: u64) {
        same_length(sum.len(), &[a.len()]);
        dispatch!(self, mul_scalar_add(sum, a, scalar));
    }

    /// out = a mod q, for any words a < 2^61 (residues modulo another prime).
    pub fn reduce(&self, out: &mut [u64], a: &[u64]) {
        same_length(out.len(), &[a.len()]);
        dispatch!(self, reduce(out, a));
    }

    /// The square of a ciphertext (c0, c1), in NTT form: c0^2, 2 c0 c1, c1^2.
    pub fn square(&self, [out0, out1, out2]: [&mut [u64]; 3], [c0, c1]: [&[u64]; 2]) {
        same_length(c0.len(), &[c1.len(), out0.len(), out1.len(), out2.len()]);
        dispatch!(self, square([out0, out1, out2], [c0, c1]));
    }

    /// The product of two ciphertexts, in NTT form: a0 b0, a0 b1 + a1 b0, a1 b1.
    pub fn tensor(&self, [out0, out1, out2]: [&mut [u64]; 3], [a0, a1]: [&[u64]; 2], [b0, b1]: [&[u64]; 2]) {
        same_length(a0.len(), &[a1.len(), b0.len(), b1.len(), out0.len(), out1.len(), out2.len()]);
        dispatch!(self, tensor([out0, out1, out2], [a0, a1], [b0, b1]));
    }

    /// The inner products of key switching: out0 = sum of d_j k0_j and out1 = sum of d_j k1_j, with
    /// `digits` the d_j, any words < 2^50 for q < 2^50, otherwise residues, and `keys` the pairs
    /// (k0_j, k1_j). No digits give zero. Either may be half words.
    ///
    /// # Panics
    /// Where lengths, or the numbers of digits and keys, differ.
    pub fn inner_products<D: Word, K: Word>(&self, [out0, out1]: [&mut [u64]; 2], digits: &[&[D]], keys: &[[&[K]; 2]]) {
        assert_eq!(digits.len(), keys.len(), "one key for each digit");
        same_length(out0.len(), &[out1.len()]);
        for (d, [k0, k1]) in digits.iter().zip(keys) {
            same_length(out0.len(), &[d.len(), k0.len(), k1.len()]);
        }
        dispatch!(self, inner_products([out0, out1], digits, keys));
    }

    /// The last step of a division by a dropped prime: c = (c - t) factor, the factor in `[0, q)`.
    pub fn sub_mul_scalar_assign(&self, c: &mut [u64], t: &[u64], factor: u64) {
        same_length(c.len(), &[t.len()]);
        dispatch!(self, sub_mul_scalar_assign(c, t, factor));
    }
}
