//! The negacyclic number-theoretic transform, with SEAL's root and output order.
//!
//! The root is the smallest primitive 2N-th root of unity modulo q; value i of the transform is the
//! polynomial at root^(2 rev(i) + 1), rev reversing log2 N bits.
//!
//! The butterflies are Harvey's ("Faster arithmetic for number-theoretic transforms", 2014): each
//! level multiplies by constants with precomputed quotients and leaves its results partly reduced.
//! They form a binary tree: node 1 combines both halves of the polynomial, node k has the children
//! 2k and 2k + 1 on its own halves, and node k's constant is root^rev(k).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod portable;
#[cfg(test)]
mod tests;

use super::backend::Backend;
use super::kernels::Kernels;
use super::modulus::Modulus;
use crate::error::{Error, Result};

/// Precomputed powers for one degree and one prime, and the kernels for that prime.
#[derive(Debug, Clone)]
pub struct NttTable {
    degree: usize,
    kernels: Kernels,
    root: u64,
    constants: Constants,
}

/// The constants of the butterflies in the form that a backend wants.
#[derive(Debug, Clone)]
enum Constants {
    Portable(portable::Constants),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Constants),
    #[cfg(target_arch = "x86_64")]
    Ifma(ifma::Constants),
}

/// The powers of the root and of its inverse by tree node (index 0 is unused), and 1/N.
struct Powers {
    modulus: Modulus,
    forward: Vec<u64>,
    inverse: Vec<u64>,
    degree_inverse: u64,
}

impl Powers {
    fn new(degree: usize, modulus: Modulus, root: u64) -> Self {
        let q = modulus;
        let shift = usize::BITS - degree.trailing_zeros();
        let (mut forward, mut inverse) = (vec![0; degree], vec![0; degree]);
        let inverse_root = q.pow(root, q.value() - 2);
        let (mut power, mut inverse_power) = (1, 1);
        for i in 0..degree {
            let node = i.reverse_bits() >> shift;
            (forward[node], inverse[node]) = (power, inverse_power);
            power = q.mul(power, root);
            inverse_power = q.mul(inverse_power, inverse_root);
        }
        Self { modulus, forward, inverse, degree_inverse: q.pow(degree as u64, q.value() - 2) }
    }

    /// The constant of the last inverse butterflies, which divide by N as well.
    fn last_inverse(&self) -> u64 {
        self.modulus.mul(self.inverse[1], self.degree_inverse)
    }
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
    /// The largest degree for which tables are made.
    const MAX_DEGREE: usize = 1 << 17;

    /// Tables for polynomials of `degree` coefficients modulo a prime, on the backend of this process.
    ///
    /// # Errors
    /// [`Error::InvalidDegree`] where the degree is no power of two from 2 to 2^17,
    /// [`Error::InvalidModulus`] where q is no prime congruent to 1 modulo 2N,
    /// [`Error::UnknownBackend`], see [`Backend::current`].
    pub fn new(degree: usize, modulus: Modulus) -> Result<Self> {
        Self::with_backend(degree, modulus, Backend::current()?)
    }

    /// As [`new`](NttTable::new), on a backend of the caller's choice. A backend that has no kernels
    /// for a modulus or a degree uses the portable ones.
    ///
    /// # Errors
    /// As [`new`](NttTable::new); [`Error::UnknownBackend`] where this machine cannot run the backend.
    pub fn with_backend(degree: usize, modulus: Modulus, backend: Backend) -> Result<Self> {
        if !degree.is_power_of_two() || !(2..=Self::MAX_DEGREE).contains(&degree) {
            return Err(Error::InvalidDegree { degree, min: 2, max: Self::MAX_DEGREE });
        }
        let root = super::primes::is_prime(modulus.value())
            .then(|| smallest_root(degree, modulus))
            .flatten()
            .ok_or_else(|| Error::InvalidModulus {
                value: modulus.value(),
                reason: format!("it must be a prime congruent to 1 modulo {}", 2 * degree),
            })?;
        let kernels = Kernels::with_backend(modulus, backend)?;
        let constants = Constants::new(&Powers::new(degree, modulus, root), backend);
        Ok(Self { degree, kernels, root, constants })
    }

    /// The polynomial degree N.
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// The prime q.
    #[inline]
    pub fn modulus(&self) -> Modulus {
        self.kernels.modulus()
    }

    /// Pointwise kernels for the prime.
    #[inline]
    pub fn kernels(&self) -> &Kernels {
        &self.kernels
    }

    /// The 2N-th root of unity.
    pub fn root(&self) -> u64 {
        self.root
    }

    /// Coefficients in `[0, q)` to values in `[0, q)`, in place.
    ///
    /// # Panics
    /// Where `x` does not hold N coefficients.
    pub fn forward(&self, x: &mut [u64]) {
        assert_eq!(x.len(), self.degree, "a polynomial has N coefficients");
        match &self.constants {
            Constants::Portable(constants) => constants.forward(x),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Constants::new` makes this variant only after `Kernels::with_backend` has found
            // AVX2 and FMA on this machine.
            Constants::Avx2(constants) => unsafe { constants.forward(x) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `Constants::new` makes this variant only after `Kernels::with_backend` has found
            // AVX-512 F, DQ, VL and IFMA on this machine.
            Constants::Ifma(constants) => unsafe { constants.forward(x) },
        }
    }

    /// Coefficients modulo another prime, reduced and moved up by `offset`, a residue, to values in `[0, q)`.
    ///
    /// # Panics
    /// Where `out` or `words` does not hold N words.
    pub fn forward_from(&self, out: &mut [u64], words: &[u64], from: Modulus, offset: u64) {
        self.begin_forward(out, words, from, offset);
        for (i, block) in out.chunks_exact_mut(self.block_len()).enumerate() {
            self.finish_forward(i, block, [&[]; 2]);
        }
    }

    /// The length of a block of [`finish_forward`](Self::finish_forward).
    pub fn block_len(&self) -> usize {
        match &self.constants {
            #[cfg(target_arch = "x86_64")]
            Constants::Ifma(constants) if self.splits() => constants.block_len(),
            _ => self.degree,
        }
    }

    /// Whether the transform is done in two parts: on the other backends and at the smallest degrees the first does all.
    fn splits(&self) -> bool {
        self.degree >= 64
    }

    /// The first part of [`forward_from`](Self::forward_from): what is left is done block by block, so that what comes
    /// after the transform finds a block in the cache.
    ///
    /// # Panics
    /// Where `out` or `words` does not hold N words.
    pub fn begin_forward(&self, out: &mut [u64], words: &[u64], from: Modulus, offset: u64) {
        assert_eq!([out.len(), words.len()], [self.degree; 2], "a polynomial has N coefficients");
        match &self.constants {
            #[cfg(target_arch = "x86_64")]
            Constants::Ifma(constants) if self.splits() => {
                // SAFETY: as in `forward`.
                unsafe { constants.begin_forward(out, words, from.value(), offset) }
            }
            _ => {
                self.kernels.reduce(out, words);
                self.kernels.add_scalar_assign(out, offset);
                self.forward(out);
            }
        }
    }

    /// The second part of [`forward_from`](Self::forward_from), for block number `i`. What is read next can be named, as
    /// long as the block or empty, to be fetched from memory meanwhile.
    ///
    /// # Panics
    /// Where the block does not hold [`block_len`](Self::block_len) words, or the polynomial does not have it.
    pub fn finish_forward(&self, i: usize, block: &mut [u64], upcoming: [&[u64]; 2]) {
        assert!(block.len() == self.block_len() && i < self.degree / block.len(), "a block of the polynomial");
        match &self.constants {
            #[cfg(target_arch = "x86_64")]
            Constants::Ifma(constants) if self.splits() => {
                // SAFETY: as in `forward`.
                unsafe { constants.finish_forward(i, block, upcoming) }
            }
            _ => {}
        }
    }

    /// Values in `[0, q)` to coefficients in `[0, q)`, in place.
    ///
    /// # Panics
    /// Where `x` does not hold N values.
    pub fn inverse(&self, x: &mut [u64]) {
        assert_eq!(x.len(), self.degree, "a polynomial has N values");
        match &self.constants {
            Constants::Portable(constants) => constants.inverse(x),
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as in `forward`.
            Constants::Avx2(constants) => unsafe { constants.inverse(x) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as in `forward`.
            Constants::Ifma(constants) => unsafe { constants.inverse(x) },
        }
    }
}

impl Constants {
    /// `backend` must be available.
    fn new(powers: &Powers, backend: Backend) -> Self {
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => avx2::Constants::new(powers).map(Constants::Avx2),
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Ifma => ifma::Constants::new(powers).map(Constants::Ifma),
            _ => None,
        }
        .unwrap_or_else(|| Constants::Portable(portable::Constants::new(powers)))
    }
}
