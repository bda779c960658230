//! Eight coefficients at a time with 52-bit multiply-add; every modulus is below 2^50.

use std::arch::x86_64::*;

use super::{Conversion, FRACTION_BITS, portable};
use crate::ring::Modulus;

/// The digits of eight coefficients are kept on the stack.
pub(super) const MAX_INPUTS: usize = 16;

const LANES: usize = 8;
const MASK: i64 = (1 << 52) - 1;

/// floor(w 2^52 / q): Shoup's companion for 52-bit products.
fn shoup52(w: u64, q: Modulus) -> i64 {
    ((u128::from(w) << 52) / u128::from(q.value())) as i64
}

#[derive(Clone, Copy)]
struct Reduction {
    modulus: __m512i,
    /// 2^52 - q, so that a 52-bit multiply-add subtracts
    minus_modulus: __m512i,
    /// floor(2^52 / q)
    ratio: __m512i,
    /// 2^52 mod q with its companion
    word: __m512i,
    word_companion: __m512i,
}

impl Reduction {
    #[target_feature(enable = "avx512f")]
    fn new(q: Modulus) -> Self {
        let word = q.reduce(1 << 52);
        Self {
            modulus: _mm512_set1_epi64(q.value() as i64),
            minus_modulus: _mm512_set1_epi64((1 << 52) - q.value() as i64),
            ratio: _mm512_set1_epi64(((1u64 << 52) / q.value()) as i64),
            word: _mm512_set1_epi64(word as i64),
            word_companion: _mm512_set1_epi64(shoup52(word, q)),
        }
    }

    /// x w mod q in [0, 2q), for x < 2^52 and a constant w with its companion.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn mul_lazy(&self, x: __m512i, w: __m512i, companion: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let quotient = _mm512_madd52hi_epu64(zero, x, companion);
        let r = _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(zero, x, w), quotient, self.minus_modulus);
        _mm512_and_si512(r, _mm512_set1_epi64(MASK))
    }

    /// lo + 2^52 hi mod q in [0, q), for lo < 2^64 and hi < 2^52 - 2^12.
    #[inline]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn reduce(&self, lo: __m512i, hi: __m512i) -> __m512i {
        let mask = _mm512_set1_epi64(MASK);
        let hi = _mm512_add_epi64(hi, _mm512_srli_epi64::<52>(lo));
        let lo = _mm512_and_si512(lo, mask);
        let high = self.mul_lazy(hi, self.word, self.word_companion);
        let quotient = _mm512_madd52hi_epu64(_mm512_setzero_si512(), lo, self.ratio);
        let low = _mm512_and_si512(_mm512_madd52lo_epu64(lo, quotient, self.minus_modulus), mask);
        let sum = _mm512_add_epi64(high, low);
        let sum = subtract_once(sum, _mm512_add_epi64(self.modulus, self.modulus));
        subtract_once(sum, self.modulus)
    }
}

/// x - m where x >= m, otherwise x.
#[inline]
#[target_feature(enable = "avx512f")]
fn subtract_once(x: __m512i, m: __m512i) -> __m512i {
    _mm512_min_epu64(x, _mm512_sub_epi64(x, m))
}

/// As the portable version.
///
/// # Panics
/// Where the slices are too short for the conversion's primes.
#[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
pub(super) fn apply(conversion: &Conversion, output: &mut [u64], input: &[u64]) {
    let (inputs, outputs) = (&conversion.inputs, &conversion.outputs);
    let degree = input.len() / inputs.len();
    if !degree.is_multiple_of(LANES) {
        return portable::apply(conversion, output, input);
    }
    assert!(
        inputs.len() <= MAX_INPUTS && input.len() == inputs.len() * degree && output.len() == outputs.len() * degree
    );
    let splat = |x: u64| _mm512_set1_epi64(x as i64);
    let zero = _mm512_setzero_si512();
    let companions: Vec<i64> = inputs.iter().map(|i| shoup52(i.factor, i.modulus)).collect();
    let from: Vec<Reduction> = inputs.iter().map(|i| Reduction::new(i.modulus)).collect();
    let to: Vec<Reduction> = outputs.iter().map(|o| Reduction::new(o.modulus)).collect();
    let mut digits = [zero; MAX_INPUTS];
    for at in (0..degree).step_by(LANES) {
        let mut quotient = _mm512_set1_pd(0.5);
        let mut fraction_lo = splat(1 << (FRACTION_BITS - 1));
        let mut fraction_hi = zero;
        for (i, (prime, digit)) in inputs.iter().zip(&mut digits).enumerate() {
            // SAFETY: i < inputs and at + 8 <= degree, a multiple of 8: within input, whose length was asserted.
            let x = unsafe { _mm512_loadu_si512(input.as_ptr().add(i * degree + at).cast()) };
            let y = from[i].mul_lazy(x, splat(prime.factor), _mm512_set1_epi64(companions[i]));
            *digit = subtract_once(y, from[i].modulus);
            let part = _mm512_mul_pd(_mm512_cvtepu64_pd(*digit), _mm512_set1_pd(prime.reciprocal));
            quotient = _mm512_add_pd(quotient, part);
            fraction_lo = _mm512_madd52lo_epu64(fraction_lo, *digit, splat(prime.fraction));
            fraction_hi = _mm512_madd52hi_epu64(fraction_hi, *digit, splat(prime.fraction));
        }
        let quotient = _mm512_cvttpd_epu64(quotient);
        let fraction = _mm512_add_epi64(fraction_hi, _mm512_srli_epi64::<FRACTION_BITS>(fraction_lo));
        for (j, (prime, reduction)) in outputs.iter().zip(&to).enumerate() {
            let minus_product = splat(prime.minus_product);
            let mut lo = _mm512_madd52lo_epu64(fraction, quotient, minus_product);
            let mut hi = _mm512_madd52hi_epu64(zero, quotient, minus_product);
            for (&digit, &factor) in digits.iter().zip(&prime.factors) {
                lo = _mm512_madd52lo_epu64(lo, digit, splat(factor));
                hi = _mm512_madd52hi_epu64(hi, digit, splat(factor));
            }
            // SAFETY: j < outputs and at + 8 <= degree, a multiple of 8: within output, whose length was asserted.
            unsafe { _mm512_storeu_si512(output.as_mut_ptr().add(j * degree + at).cast(), reduction.reduce(lo, hi)) };
        }
    }
}
