//! The Galois automorphisms X -> X^g of Z_q\[X\]/(X^N + 1), g odd: they rotate the slots of a plaintext.

use super::backend::Backend;
use super::modulus::Modulus;
use crate::error::{Error, Result};

/// The element that generates the rotations of a row of slots (SEAL's).
const GENERATOR: u64 = 3;

/// One automorphism X -> X^g for one degree, as tables.
#[derive(Debug, Clone)]
pub struct Automorphism {
    element: u64,
    backend: Backend,
    /// value i of the image is value `ntt[i]` of the argument, in SEAL's order of values
    ntt: Vec<u32>,
}

/// out_i = values_(index_i), where each aligned block of eight comes from one such block: multiplying
/// 2 rev(i) + 1 by g keeps the class modulo N/4 of numbers that agree there.
fn permute_blocks(out: &mut [u64], values: &[u64], indices: &[u32]) {
    let (blocks, _) = values.as_chunks::<8>();
    for (out, indices) in out.as_chunks_mut::<8>().0.iter_mut().zip(indices.as_chunks::<8>().0) {
        let block = &blocks[indices[0] as usize / 8];
        for (out, &index) in out.iter_mut().zip(indices) {
            *out = block[index as usize % 8];
        }
    }
}

/// The Galois element that rotates the two rows of N/2 slots by `steps` to the left (to the right
/// where negative); `steps` is taken modulo N/2.
pub fn rotation_element(degree: usize, steps: i64) -> u64 {
    let order = (degree as i64 / 2).max(1);
    let mask = 2 * degree as u64 - 1;
    (0..steps.rem_euclid(order)).fold(1, |element, _| (element * GENERATOR) & mask)
}

/// The Galois element that swaps the two rows of slots: for CKKS, complex conjugation.
pub fn conjugation_element(degree: usize) -> u64 {
    2 * degree as u64 - 1
}

impl Automorphism {
    /// Tables for X -> X^`element` at `degree` coefficients, a power of two from 8 to 2^31, on the
    /// backend of this process.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for any other degree, and for an element that is even or not below
    /// 2N; [`Error::UnknownBackend`], see [`Backend::current`].
    pub fn new(degree: usize, element: u64) -> Result<Self> {
        Self::with_backend(degree, element, Backend::current()?)
    }

    /// As [`new`](Automorphism::new), on a backend of the caller's choice.
    ///
    /// # Errors
    /// As [`new`](Automorphism::new).
    pub fn with_backend(degree: usize, element: u64, backend: Backend) -> Result<Self> {
        let backend = backend.checked()?;
        if !degree.is_power_of_two() || !(8..=1 << 31).contains(&degree) {
            return Err(Error::InvalidArgument {
                name: "degree",
                reason: format!("{degree} is not a power of two from 8 to 2^31"),
            });
        }
        let order = 2 * degree as u64;
        if element.is_multiple_of(2) || element >= order {
            return Err(Error::InvalidArgument {
                name: "galois_element",
                reason: format!("{element} is not an odd number below 2N = {order}"),
            });
        }
        let shift = u32::BITS - degree.trailing_zeros();
        let reverse = |i: u32| i.reverse_bits() >> shift;
        let ntt = (0..degree as u32)
            .map(|i| {
                // Value i is taken at root^(2 rev(i) + 1); the image there is the argument at its g-th power.
                let exponent = (2 * u64::from(reverse(i)) + 1) * element % order;
                reverse((exponent / 2) as u32)
            })
            .collect();
        Ok(Self { element, backend, ntt })
    }

    /// The Galois element g.
    pub fn element(&self) -> u64 {
        self.element
    }

    /// The polynomial degree N.
    pub fn degree(&self) -> usize {
        self.ntt.len()
    }

    /// The image of a polynomial in NTT form: a permutation, the same for every prime.
    ///
    /// # Panics
    /// Where a slice does not hold N values.
    pub fn apply_ntt(&self, out: &mut [u64], values: &[u64]) {
        assert!(out.len() == self.degree() && values.len() == self.degree(), "N values in, N values out");
        match self.backend {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `with_backend` has found the backend's instruction sets on this machine.
            Backend::Avx512Ifma => unsafe { super::backend::ifma::permute_blocks(out, values, &self.ntt) },
            _ => permute_blocks(out, values, &self.ntt),
        }
    }

    /// The image of a polynomial in coefficient form modulo q: coefficient i goes to X^(g i), with a
    /// sign.
    ///
    /// # Panics
    /// Where a slice does not hold N coefficients.
    pub fn apply_coefficients(&self, modulus: Modulus, out: &mut [u64], coefficients: &[u64]) {
        let degree = self.degree();
        assert!(out.len() == degree && coefficients.len() == degree, "N coefficients in, N coefficients out");
        let mut exponent = 0;
        for &c in coefficients {
            if exponent < degree {
                out[exponent] = c;
            } else {
                out[exponent - degree] = modulus.neg(c);
            }
            exponent = (exponent + self.element as usize) & (2 * degree - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::{NttTable, primes};

    const DEGREE: usize = 1024;

    fn polynomial(modulus: Modulus) -> Vec<u64> {
        (0..DEGREE as u64).map(|i| modulus.pow(5, 977 * i + 1)).collect()
    }

    #[test]
    fn both_forms_agree_for_every_kind_of_element() {
        let modulus = Modulus::new(primes::largest(2 * DEGREE as u64, 45, 1).unwrap()[0]).unwrap();
        let table = NttTable::new(DEGREE, modulus).unwrap();
        let a = polynomial(modulus);
        let mut values = a.clone();
        table.forward(&mut values);
        for (element, backend) in
            [1, 3, 5, 1023, 1025, 2045, 2047].into_iter().flat_map(|g| Backend::ALL.map(|b| (g, b)))
        {
            let Ok(automorphism) = Automorphism::with_backend(DEGREE, element, backend) else {
                assert!(!backend.is_available());
                continue;
            };
            let (mut by_coefficients, mut by_values) = (vec![0; DEGREE], vec![0; DEGREE]);
            automorphism.apply_coefficients(modulus, &mut by_coefficients, &a);
            table.forward(&mut by_coefficients);
            automorphism.apply_ntt(&mut by_values, &values);
            assert_eq!(by_coefficients, by_values, "X -> X^{element} on {backend:?}");
        }
    }

    #[test]
    fn coefficients_move_with_their_signs() {
        let modulus = Modulus::new(97).unwrap();
        let automorphism = Automorphism::new(8, 3).unwrap();
        let mut out = [0; 8];
        automorphism.apply_coefficients(modulus, &mut out, &[1, 2, 3, 4, 5, 6, 7, 8]);
        // X^3i: 0 3 6 9 12 15 18 21, and X^8 = -1
        assert_eq!(out, [1, 97 - 4, 7, 2, 97 - 5, 8, 3, 97 - 6]);
    }

    #[test]
    fn rotations_compose() {
        assert_eq!(rotation_element(DEGREE, 0), 1);
        assert_eq!(rotation_element(DEGREE, 1), 3);
        let order = 2 * DEGREE as u64;
        for (a, b) in [(1, -1), (5, 7), (-100, 300), (511, 1)] {
            assert_eq!(
                rotation_element(DEGREE, a) * rotation_element(DEGREE, b) % order,
                rotation_element(DEGREE, a + b)
            );
        }
    }

    #[test]
    fn elements_that_are_no_automorphism_are_refused() {
        for (degree, element) in [(DEGREE, 0), (DEGREE, 2), (DEGREE, 2049), (1000, 3), (4, 3)] {
            assert!(Automorphism::new(degree, element).is_err(), "X -> X^{element} at {degree}");
        }
    }
}
