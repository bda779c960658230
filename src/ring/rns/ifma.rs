//! Base conversion with AVX-512 IFMA, for moduli of 12 to 50 bits: eight coefficients at a time.

use std::arch::x86_64::*;

use super::basis::RnsBasis;
use super::converter::{BaseConverter, FRACTION_BITS};
use crate::ring::backend::ifma::{Accumulator, Arithmetic, Lanes, Modulus52, broadcast, load, store};

/// The moduli of both bases.
#[derive(Debug, Clone)]
pub(super) struct Constants {
    from: Vec<Modulus52>,
    to: Vec<Modulus52>,
}

/// Eight residues out of a polynomial.
fn lanes(x: &[u64], at: usize) -> &Lanes {
    &x[at..at + 8].as_chunks().0[0]
}

impl Constants {
    pub(super) fn new(from: Vec<Modulus52>, to: Vec<Modulus52>) -> Self {
        Self { from, to }
    }

    /// Converts whole vectors and tells how many coefficients that were.
    #[target_feature(enable = "avx512f,avx512dq,avx512ifma")]
    pub(super) fn convert(&self, converter: &BaseConverter, output: &mut [u64], input: &[u64]) -> usize {
        let terms = self.from.len();
        let degree = input.len() / terms;
        let whole = degree / 8 * 8;
        // Constants are spread over lanes once, not once for each block.
        let sources: Vec<_> = self
            .from
            .iter()
            .zip(&converter.from)
            .map(|(q, source)| {
                let m = Arithmetic::new(q);
                (m, m.constant(q, source.inverse.0), _mm512_set1_pd(source.reciprocal), broadcast(source.fraction))
            })
            .collect();
        let targets: Vec<_> = self
            .to
            .iter()
            .zip(&converter.to)
            .map(|(p, target)| (Arithmetic::new(p), p.lazy_products(), broadcast(target.minus_product)))
            .collect();
        let rounds = converter.from.iter().any(|source| source.fraction != 0);
        let mut digits = [_mm512_setzero_si512(); RnsBasis::MAX_MODULI];
        for at in (0..whole).step_by(8) {
            let mut multiple = _mm512_setzero_pd();
            let mut fraction = Accumulator::new(broadcast(1 << (FRACTION_BITS - 1)));
            for (j, (digit, (m, inverse, reciprocal, part))) in digits.iter_mut().zip(&sources).enumerate() {
                *digit = m.mul_constant(load(lanes(input, j * degree + at)), *inverse);
                // Two roundings, as in the portable version: no fused multiply-add here.
                multiple = _mm512_add_pd(multiple, _mm512_mul_pd(_mm512_cvtepu64_pd(*digit), *reciprocal));
                if rounds {
                    fraction.add_product(*digit, *part);
                }
            }
            let (multiple, fraction) = (_mm512_cvtpd_epu64(multiple), fraction.high_word());
            let targets = targets.iter().zip(converter.weights.chunks_exact(terms));
            for (j, (&(ref m, group, minus_product), weights)) in targets.enumerate() {
                let mut sum = Accumulator::new(fraction);
                sum.add_product(multiple, minus_product);
                // The first group has one product already.
                let (first, rest) = weights.split_at(weights.len().min(group - 1));
                for (&digit, &weight) in digits.iter().zip(first) {
                    sum.add_product(digit, broadcast(weight));
                }
                for (digits, weights) in digits[first.len()..].chunks(group).zip(rest.chunks(group)) {
                    sum = Accumulator::new(sum.reduce(m));
                    for (&digit, &weight) in digits.iter().zip(weights) {
                        sum.add_product(digit, broadcast(weight));
                    }
                }
                let out = j * degree + at;
                let (block, _) = output[out..out + 8].as_chunks_mut();
                store(&mut block[0], sum.reduce(m));
            }
        }
        whole
    }
}
