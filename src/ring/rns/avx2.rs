//! Base conversion with AVX2 and FMA, for moduli below 2^50: four coefficients at a time.

use std::arch::x86_64::*;

use super::basis::RnsBasis;
use super::converter::{BaseConverter, FRACTION_BITS};
use crate::ring::backend::avx2::{Arithmetic, Lanes, Modulus50, constant, load, round, store, to_double};

/// How many products of at most 3/4 q are added to a residue and one more of them: the sum stays below
/// 2^53.
const LAZY_PRODUCTS: usize = 6;

/// Numbers below 2^52 are split into halves of so many bits, for 32-bit multiplications.
const HALF: u32 = FRACTION_BITS / 2;

/// The moduli of both bases, and a converter's weights as [`constant`]s.
#[derive(Debug, Clone)]
pub(super) struct Constants {
    from: Vec<Modulus50>,
    to: Vec<Modulus50>,
    /// `[to][from]`
    weights: Vec<(f64, f64)>,
}

/// Four residues out of a polynomial.
fn lanes(x: &[u64], at: usize) -> &Lanes {
    &x[at..at + 4].as_chunks().0[0]
}

#[inline]
#[target_feature(enable = "avx2,fma")]
fn broadcast((w, over_q): (f64, f64)) -> (__m256d, __m256d) {
    (_mm256_set1_pd(w), _mm256_set1_pd(over_q))
}

/// A sum of products of integers below 2^52, in units of 2^-52, by halves.
#[derive(Clone, Copy)]
struct FixedPoint {
    low: __m256i,
    middle: __m256i,
    high: __m256i,
}

impl FixedPoint {
    /// One half.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn half() -> Self {
        let zero = _mm256_setzero_si256();
        Self { low: _mm256_set1_epi64x(1 << (FRACTION_BITS - 1)), middle: zero, high: zero }
    }

    /// Adds x fraction.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn add_product(&mut self, x: __m256i, fraction: u64) {
        let mask = (1 << HALF) - 1;
        let (low, high) = (_mm256_and_si256(x, _mm256_set1_epi64x(mask)), _mm256_srli_epi64::<{ HALF as i32 }>(x));
        let fraction_low = _mm256_set1_epi64x(fraction as i64 & mask);
        let fraction_high = _mm256_set1_epi64x((fraction >> HALF) as i64);
        let cross = _mm256_add_epi64(_mm256_mul_epu32(low, fraction_high), _mm256_mul_epu32(high, fraction_low));
        self.low = _mm256_add_epi64(self.low, _mm256_mul_epu32(low, fraction_low));
        self.middle = _mm256_add_epi64(self.middle, cross);
        self.high = _mm256_add_epi64(self.high, _mm256_mul_epu32(high, fraction_high));
    }

    /// The integral part.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn floor(self) -> __m256i {
        let carry = _mm256_add_epi64(self.middle, _mm256_srli_epi64::<{ HALF as i32 }>(self.low));
        _mm256_add_epi64(self.high, _mm256_srli_epi64::<{ HALF as i32 }>(carry))
    }
}

impl Constants {
    pub(super) fn new(from: Vec<Modulus50>, to: Vec<Modulus50>, weights: &[u64]) -> Self {
        let rows = to.iter().zip(weights.chunks_exact(from.len()));
        let weights = rows.flat_map(|(p, row)| row.iter().map(|&w| constant(w, p.modulus()))).collect();
        Self { from, to, weights }
    }

    /// Converts whole vectors and tells how many coefficients that were.
    #[target_feature(enable = "avx2,fma")]
    pub(super) fn convert(&self, converter: &BaseConverter, output: &mut [u64], input: &[u64]) -> usize {
        let terms = self.from.len();
        let degree = input.len() / terms;
        let whole = degree / 4 * 4;
        // Constants are spread over lanes once, not once for each block.
        let sources: Vec<_> = self
            .from
            .iter()
            .zip(&converter.from)
            .map(|(q, source)| {
                let m = Arithmetic::new(q);
                (m, m.constant(q, source.inverse.0), _mm256_set1_pd(source.reciprocal), source.fraction)
            })
            .collect();
        let targets: Vec<_> = self
            .to
            .iter()
            .zip(&converter.to)
            .map(|(p, target)| {
                let m = Arithmetic::new(p);
                (m, m.constant(p, target.minus_product))
            })
            .collect();
        let mut digits = [_mm256_setzero_pd(); RnsBasis::MAX_MODULI];
        for at in (0..whole).step_by(4) {
            let mut multiple = _mm256_setzero_pd();
            let mut fraction = FixedPoint::half();
            for (j, (digit, &(ref m, inverse, reciprocal, part))) in digits.iter_mut().zip(&sources).enumerate() {
                let residue = m.mul_constant(load(lanes(input, j * degree + at)), inverse);
                *digit = to_double(residue);
                // Two roundings, as in the portable version: no fused multiply-add here.
                multiple = _mm256_add_pd(multiple, _mm256_mul_pd(*digit, reciprocal));
                if part != 0 {
                    fraction.add_product(residue, part);
                }
            }
            let (multiple, fraction) = (round(multiple), fraction.floor());
            for (j, (&(ref m, minus_product), weights)) in
                targets.iter().zip(self.weights.chunks_exact(terms)).enumerate()
            {
                let start = to_double(m.reduce(fraction));
                let mut sum = _mm256_add_pd(start, m.mul_constant_double(multiple, minus_product));
                for (digits, weights) in digits.chunks(LAZY_PRODUCTS).zip(weights.chunks(LAZY_PRODUCTS)) {
                    for (&digit, &weight) in digits.iter().zip(weights) {
                        sum = _mm256_add_pd(sum, m.mul_constant_double(digit, broadcast(weight)));
                    }
                    sum = m.center(sum);
                }
                let out = j * degree + at;
                let (block, _) = output[out..out + 4].as_chunks_mut();
                store(&mut block[0], m.residue(sum));
            }
        }
        whole
    }
}
