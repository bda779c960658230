//! Conversion from one basis to another without big integers.
//!
//! Halevi, Polyakov, Shoup, "An improved RNS variant of the BFV homomorphic encryption scheme"
//! (ePrint 2018/117). Section 2.2: with y_i = x (Q/q_i)^-1 mod q_i the integer x is
//! sum y_i (Q/q_i) - v Q, where v = round(sum y_i / q_i) is found in floating point. Section 2.3: the
//! same sum with r Q in the place of Q multiplies by a rational r on the way; each y_i then carries
//! a fixed-point fraction of r Q / q_i, and the sum of these is rounded.

use num_bigint::BigUint;
use num_traits::{CheckedDiv, One};

use super::basis::{RnsBasis, residue};
use crate::error::{Error, Result};
use crate::ring::backend::Backend;
#[cfg(target_arch = "x86_64")]
use crate::ring::backend::{avx2::Modulus50, ifma::Modulus52};
use crate::ring::modulus::Modulus;

/// Fractions are summed with so many bits after the point.
pub(super) const FRACTION_BITS: u32 = 52;

/// The residues modulo {p_j} of round(r x), for integers x in (-Q/2, Q/2) given modulo {q_i} and one
/// rational number r.
///
/// Where |x| lies within about k 2^-50 Q of Q/2, for k moduli q_i, the result may be that for x + Q or
/// x - Q. Products by r = 1 are otherwise exact; other r round to an integer within
/// 1/2 + k/8 of r x. All backends give the same result, bit for bit.
#[derive(Debug, Clone)]
pub struct BaseConverter {
    pub(super) from: Vec<Source>,
    pub(super) to: Vec<Target>,
    /// floor(r Q / q_i) mod p_j, `[to][from]`
    pub(super) weights: Vec<u64>,
    /// bits of the sources' fractions: more where y_i may have more than 50 bits
    fraction_bits: u32,
    implementation: Implementation,
}

/// What is known of one q_i.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) modulus: Modulus,
    /// (Q/q_i)^-1 mod q_i and its Shoup companion
    pub(super) inverse: (u64, u64),
    /// 1 / q_i
    pub(super) reciprocal: f64,
    /// the fractional part of r Q / q_i, in units of 2^-fraction_bits
    pub(super) fraction: u64,
}

/// What is known of one p_j.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) modulus: Modulus,
    /// -r Q mod p_j
    pub(super) minus_product: u64,
}

#[derive(Debug, Clone)]
enum Implementation {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2(super::avx2::Constants),
    #[cfg(target_arch = "x86_64")]
    Ifma(super::ifma::Constants),
}

/// How many products below 2^122 a double word holds beside one more residue.
const LAZY_PRODUCTS: usize = 63;

impl BaseConverter {
    /// The converter that keeps x as it is, on the backend of this process.
    ///
    /// # Errors
    /// As [`RnsBasis::new`] for `from`; [`Error::UnknownBackend`], see [`Backend::current`].
    pub fn new(from: &[Modulus], to: &[Modulus]) -> Result<Self> {
        Self::scaled(from, to, [&BigUint::one(), &BigUint::one()])
    }

    /// The converter for r = numerator / denominator, where the denominator divides Q times the
    /// numerator.
    ///
    /// # Errors
    /// As [`new`](BaseConverter::new); [`Error::InvalidArgument`] for another denominator.
    pub fn scaled(from: &[Modulus], to: &[Modulus], ratio: [&BigUint; 2]) -> Result<Self> {
        Self::with_backend(from, to, ratio, Backend::current()?)
    }

    /// As [`scaled`](BaseConverter::scaled), on a backend of the caller's choice.
    ///
    /// # Errors
    /// As [`scaled`](BaseConverter::scaled).
    pub fn with_backend(from: &[Modulus], to: &[Modulus], ratio: [&BigUint; 2], backend: Backend) -> Result<Self> {
        let backend = backend.checked()?;
        let basis = RnsBasis::new(from)?;
        let [numerator, denominator] = ratio;
        let scaled = (basis.product() * numerator)
            .checked_div(denominator)
            .filter(|scaled| scaled * denominator == basis.product() * numerator)
            .ok_or_else(|| Error::InvalidArgument {
                name: "denominator",
                reason: format!("{denominator} does not divide the numerator times the product of the moduli"),
            })?;
        // Digits of 50 bits leave the sum of fractions room in two words; wider ones take more bits.
        let fraction_bits = if from.iter().all(|q| q.bits() <= 50) { FRACTION_BITS } else { u64::BITS };
        let from: Vec<_> = from
            .iter()
            .enumerate()
            .map(|(i, &q)| {
                let inverse = basis.punctured_inverse(i);
                let nearest = ((u128::from(residue(&scaled, q)) << fraction_bits) + u128::from(q.value() / 2))
                    / u128::from(q.value());
                let fraction = nearest.min((1 << fraction_bits) - 1) as u64;
                Source {
                    modulus: q,
                    inverse: (inverse, q.shoup(inverse)),
                    reciprocal: 1.0 / q.value() as f64,
                    fraction,
                }
            })
            .collect();
        let to: Vec<_> = to.iter().map(|&p| Target { modulus: p, minus_product: p.neg(residue(&scaled, p)) }).collect();
        let parts: Vec<_> = from.iter().map(|source| &scaled / source.modulus.value()).collect();
        let weights: Vec<u64> =
            to.iter().flat_map(|target| parts.iter().map(|part| residue(part, target.modulus))).collect();
        let implementation = Implementation::new(&from, &to, &weights, backend);
        Ok(Self { from, to, weights, fraction_bits, implementation })
    }

    /// Converts polynomials in coefficient form: `input` holds `[from][N]` residues, `output` takes
    /// `[to][N]`.
    ///
    /// # Panics
    /// Where the lengths are not those of one N.
    pub fn convert(&self, output: &mut [u64], input: &[u64]) {
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
            // SAFETY: as below.
            Implementation::Avx2(constants) => unsafe { constants.convert(self, output, input) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `with_backend` makes this variant only after it has found the instruction sets
            // of the backend on this machine.
            Implementation::Ifma(constants) => unsafe { constants.convert(self, output, input) },
        };
        self.convert_from(done, output, input);
    }

    /// The oracle, and what vectors leave over: the coefficients from index `start` on.
    fn convert_from(&self, start: usize, output: &mut [u64], input: &[u64]) {
        let degree = input.len() / self.from.len();
        let mut digits = vec![0; self.from.len()];
        for i in start..degree {
            let mut multiple = 0.0;
            let mut fraction = 1u128 << (FRACTION_BITS - 1);
            for (j, (digit, source)) in digits.iter_mut().zip(&self.from).enumerate() {
                *digit = source.modulus.mul_shoup(input[j * degree + i], source.inverse.0, source.inverse.1);
                multiple += *digit as f64 * source.reciprocal;
                fraction += (u128::from(*digit) * u128::from(source.fraction)) >> (self.fraction_bits - FRACTION_BITS);
            }
            let (multiple, fraction) = (f64::round_ties_even(multiple) as u64, fraction >> FRACTION_BITS);
            for (j, (target, weights)) in self.to.iter().zip(self.weights.chunks_exact(self.from.len())).enumerate() {
                let p = target.modulus;
                let mut sum = p.reduce_wide(u128::from(multiple) * u128::from(target.minus_product) + fraction);
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
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables, reason = "there is one implementation"))]
    fn new(from: &[Source], to: &[Target], weights: &[u64], backend: Backend) -> Self {
        match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::Avx2 => {
                let moduli = both(from, to, Modulus50::new);
                moduli.map(|(from, to)| Implementation::Avx2(super::avx2::Constants::new(from, to, weights)))
            }
            #[cfg(target_arch = "x86_64")]
            Backend::Avx512Ifma => {
                let moduli = both(from, to, Modulus52::new);
                moduli.map(|(from, to)| Implementation::Ifma(super::ifma::Constants::new(from, to)))
            }
            _ => None,
        }
        .unwrap_or(Implementation::Portable)
    }
}

/// The moduli of both bases as a backend takes them, where it takes all of them.
#[cfg(target_arch = "x86_64")]
fn both<M>(from: &[Source], to: &[Target], new: impl Fn(Modulus) -> Option<M>) -> Option<(Vec<M>, Vec<M>)> {
    let from = from.iter().map(|source| new(source.modulus)).collect::<Option<_>>()?;
    Some((from, to.iter().map(|target| new(target.modulus)).collect::<Option<_>>()?))
}
