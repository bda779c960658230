//! Conversion from one basis to another without big integers.
//!
//! Halevi, Polyakov, Shoup, "An improved RNS variant of the BFV homomorphic encryption scheme"
//! (2018), section 2.2: with y_i = x_i (Q/q_i)^-1 mod q_i the integer is sum y_i (Q/q_i) - v Q, where
//! v = round(sum y_i / q_i) is found in floating point.

use std::ops::Range;

use super::basis::{RnsBasis, residue};
use crate::error::Result;
use crate::ring::backend::Backend;
#[cfg(target_arch = "x86_64")]
use crate::ring::backend::ifma::Modulus52;
use crate::ring::modulus::Modulus;

/// The residues modulo {p_j} of integers x in (-Q/2, Q/2) given modulo {q_i}.
///
/// v is exact unless |x| lies within about k 2^-50 Q of Q/2, for k moduli q_i: there the result may
/// stand for x + Q or x - Q. All backends give the same result, bit for bit.
#[derive(Debug, Clone)]
pub struct BaseConverter {
    pub(super) from: Vec<Source>,
    pub(super) to: Vec<Target>,
    /// Q/q_i mod p_j, `[to][from]`
    pub(super) weights: Vec<u64>,
    implementation: Implementation,
}

/// What is known of one q_i.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) modulus: Modulus,
    /// (Q/q_i)^-1 times the converter's factor, modulo q_i, and its Shoup companion
    pub(super) factor: (u64, u64),
    /// 1 / q_i
    pub(super) reciprocal: f64,
}

/// What is known of one p_j.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) modulus: Modulus,
    /// -Q mod p_j
    pub(super) minus_product: u64,
}

#[derive(Debug, Clone)]
enum Implementation {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Ifma(super::ifma::Constants),
}

/// How many products below 2^122 a double word holds.
const LAZY_PRODUCTS: usize = 63;

impl BaseConverter {
    /// A converter on the backend of this process.
    ///
    /// # Errors
    /// As [`RnsBasis::new`] for `from`; [`Error::UnknownBackend`](crate::Error::UnknownBackend), see
    /// [`Backend::current`].
    pub fn new(from: &[Modulus], to: &[Modulus]) -> Result<Self> {
        Self::scaled(from, to, 1)
    }

    /// A converter that multiplies by a constant first: its results are the residues of
    /// `factor` x reduced to (-Q/2, Q/2).
    ///
    /// # Errors
    /// As [`new`](BaseConverter::new).
    pub fn scaled(from: &[Modulus], to: &[Modulus], factor: u64) -> Result<Self> {
        Self::with_backend(from, to, factor, Backend::current()?)
    }

    /// As [`scaled`](BaseConverter::scaled), on a backend of the caller's choice.
    ///
    /// # Errors
    /// As [`new`](BaseConverter::new).
    pub fn with_backend(from: &[Modulus], to: &[Modulus], factor: u64, backend: Backend) -> Result<Self> {
        let backend = backend.checked()?;
        let basis = RnsBasis::new(from)?;
        let sources: Vec<_> = from
            .iter()
            .enumerate()
            .map(|(i, &q)| {
                let factor = q.mul(basis.punctured_inverse(i), q.reduce(factor));
                Source { modulus: q, factor: (factor, q.shoup(factor)), reciprocal: 1.0 / q.value() as f64 }
            })
            .collect();
        let targets: Vec<_> =
            to.iter().map(|&p| Target { modulus: p, minus_product: p.neg(residue(basis.product(), p)) }).collect();
        let weights = to
            .iter()
            .flat_map(|&p| (0..from.len()).map(move |i| (p, i)))
            .map(|(p, i)| residue(basis.punctured_product(i), p))
            .collect();
        let implementation = Implementation::new(&sources, &targets, backend);
        Ok(Self { from: sources, to: targets, weights, implementation })
    }

    /// Converts polynomials in coefficient form: `input` holds `[from][N]` residues, `output` takes
    /// `[to][N]`.
    ///
    /// # Panics
    /// Where the lengths are not those of one N.
    pub fn convert(&self, input: &[u64], output: &mut [u64]) {
        let degree = input.len() / self.from.len();
        let fits = input.len() == degree * self.from.len() && output.len() == degree * self.to.len();
        assert!(
            fits,
            "{} residues for {} moduli, {} for {}",
            input.len(),
            self.from.len(),
            output.len(),
            self.to.len()
        );
        let done = match &self.implementation {
            Implementation::Portable => 0,
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `with_backend` makes this variant only after it has found the instruction sets
            // of the backend on this machine.
            Implementation::Ifma(constants) => unsafe { constants.convert(self, input, output) },
        };
        self.convert_range(input, output, degree, done..degree);
    }

    /// The oracle, and what is left over by vectors: the coefficients of a range.
    fn convert_range(&self, input: &[u64], output: &mut [u64], degree: usize, range: Range<usize>) {
        let mut digits = vec![0; self.from.len()];
        for i in range {
            let mut quotient = 0.0;
            for (j, (digit, source)) in digits.iter_mut().zip(&self.from).enumerate() {
                *digit = source.modulus.mul_shoup(input[j * degree + i], source.factor.0, source.factor.1);
                quotient += *digit as f64 * source.reciprocal;
            }
            let multiple = quotient.round_ties_even() as u64;
            for (j, (target, weights)) in self.to.iter().zip(self.weights.chunks_exact(self.from.len())).enumerate() {
                let p = target.modulus;
                let mut sum = p.mul(multiple, target.minus_product);
                for (digits, weights) in digits.chunks(LAZY_PRODUCTS).zip(weights.chunks(LAZY_PRODUCTS)) {
                    let products = digits.iter().zip(weights).map(|(&y, &w)| u128::from(y) * u128::from(w));
                    sum = p.reduce_wide(u128::from(sum) + products.sum::<u128>());
                }
                output[j * degree + i] = sum;
            }
        }
    }
}

impl Implementation {
    /// `backend` must be available.
    fn new(from: &[Source], to: &[Target], backend: Backend) -> Self {
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Ifma => {
                let fits =
                    |moduli: &mut dyn Iterator<Item = Modulus>| moduli.map(Modulus52::new).collect::<Option<Vec<_>>>();
                fits(&mut from.iter().map(|source| source.modulus))
                    .zip(fits(&mut to.iter().map(|target| target.modulus)))
                    .map(|(from, to)| Implementation::Ifma(super::ifma::Constants::new(from, to)))
            }
            _ => None,
        }
        .unwrap_or(Implementation::Portable)
    }
}
